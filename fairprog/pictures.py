"""The door to pictures: which function draws a result, or writes its page, by name.

Pictures are made from results, so `fairprog.plotting` lies below, and importing matplotlib takes
its time: results offer pictures as methods, which find the function here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from fairprog.codec import write_text

PICTURES = {  # result: what draws it
    "Audit": "plot_audit",
    "Bounds": "plot_bounds",
    "Categorical": "plot_atoms",
    "Checked": "plot_certificate",
    "ClassifierSolution": "plot_classifier",
    "Comparison": "plot_comparison",
    "Evaluation": "plot_rates",
    "Frontier": "plot_frontier",
    "NearestFairSolution": "plot_posteriors",
    "OutcomeTable": "plot_rates",
    "Population": "plot_population",
    "ReweightedSolution": "plot_weights",
    "ScoreSolution": "plot_score",
    "Solution": "plot_solution",
}
REPORTS = {  # result: what makes its page, and a part of it for notebooks
    "Audit": "audit_report",
    "ClassifierSolution": "classifier_report",
    "Comparison": "comparison_report",
    "Frontier": "frontier_report",
    "NearestFairSolution": "fair_report",
    "OutcomeTable": "table_report",
    "ScoreSolution": "score_report",
    "Solution": "solution_report",
}
HOMES = {  # function: the module that defines it
    **dict.fromkeys(PICTURES.values(), "fairprog.plotting"),
    "plot_drift": "fairprog.plotting.drift_picture",
    "audit_report": "fairprog.plotting.audit_picture",
    "classifier_report": "fairprog.plotting.classifier_report",
    "comparison_report": "fairprog.plotting.comparison_picture",
    "fair_report": "fairprog.plotting.fair_report",
    "frontier_report": "fairprog.plotting.notebook",
    "score_report": "fairprog.plotting.score_report",
    "solution_report": "fairprog.plotting.solution_report",
    "table_report": "fairprog.plotting.notebook",
}


def picture(name: str) -> Any:
    """Return the function of that name."""
    return getattr(import_module(HOMES[name]), name)


def _of(result: object, table: dict[str, Any]) -> Any:
    """Return the entry of a result's class, or of the nearest one it derives from, or None."""
    known = (table[c.__name__] for c in type(result).__mro__ if c.__name__ in table)
    return next(known, None)


class Drawn:
    """A result with a picture."""

    def plot(self, ax: Any = None) -> Any:
        """Draw it; what is drawn says the function that :data:`PICTURES` names.

        Parameters
        ----------
        ax : matplotlib Axes, or a sequence of them where the picture has several, optional
            Default: a new figure.

        Returns
        -------
        (figure, axes)
        """
        return picture(_of(self, PICTURES))(self, ax=ax)

    def _repr_html_(self) -> str | None:
        """Return a short report for notebooks, in a style of its own that leaves theirs alone."""
        report = _of(self, REPORTS)
        return None if report is None else picture(report)(self).part()


class Reported(Drawn):
    """A result with a picture and a page."""

    def to_html(self, path: str | os.PathLike[str] | None = None, title: str | None = None) -> str:
        """Return a report as one self-contained HTML page, and write it if a path is given.

        Parameters
        ----------
        path : path-like, optional
            Written atomically.
        title : str, optional

        Returns
        -------
        str
        """
        return self._page(path, title=title)

    def _page(self, path: str | os.PathLike[str] | None, *args: Any, title: str | None) -> str:
        page: str = picture(_of(self, REPORTS))(self, *args).page(title)
        if path is not None:
            write_text(path, page)
        return page
