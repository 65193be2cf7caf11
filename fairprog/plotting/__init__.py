"""Pictures: one style for every figure; the only module that imports matplotlib.

Groups are told apart by colour (Okabe and Ito's palette, safe for colour-blind readers), classes
by line style and depth of fill, so that a figure survives a black-and-white printer. Every
function takes ``ax=`` or makes a figure of its own, and returns ``(figure, axes)``. Nothing is
shown and nothing is closed here, except by :func:`save_figure` and the reports.
"""

from fairprog.plotting.audit_picture import plot_audit, plot_class_rates
from fairprog.plotting.bars import plot_bounds, plot_certificate, plot_prices
from fairprog.plotting.comparison_picture import plot_comparison
from fairprog.plotting.curves import plot_curves, plot_gaps
from fairprog.plotting.frontier_picture import plot_classifier, plot_frontier
from fairprog.plotting.maps_picture import plot_maps
from fairprog.plotting.movement_picture import plot_movement
from fairprog.plotting.population_picture import plot_population
from fairprog.plotting.posteriors_picture import plot_posteriors
from fairprog.plotting.rates_picture import plot_rates
from fairprog.plotting.score_picture import plot_score, plot_score_price
from fairprog.plotting.solution_picture import plot_solution
from fairprog.plotting.style import COLORS, LINES, MARKERS, save_figure, style
from fairprog.plotting.weights import plot_atoms, plot_weights

__all__ = [
    "COLORS",
    "LINES",
    "MARKERS",
    "plot_atoms",
    "plot_audit",
    "plot_bounds",
    "plot_certificate",
    "plot_class_rates",
    "plot_classifier",
    "plot_comparison",
    "plot_curves",
    "plot_frontier",
    "plot_gaps",
    "plot_maps",
    "plot_movement",
    "plot_population",
    "plot_posteriors",
    "plot_prices",
    "plot_rates",
    "plot_score",
    "plot_score_price",
    "plot_solution",
    "plot_weights",
    "save_figure",
    "style",
]
