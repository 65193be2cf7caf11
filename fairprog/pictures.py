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
    "Certificate": "plot_certificate",
    "ClassifierSolution": "plot_classifier",
    "Comparison": "plot_comparison",
    "Evaluation": "plot_rates",
    "FairCertificate": "plot_certificate",
    "Frontier": "plot_frontier",
    "NearestFairSolution": "plot_posteriors",
    "OutcomeTable": "plot_rates",
    "Population": "plot_population",
    "ReweightedSolution": "plot_weights",
    "ScoreSolution": "plot_score",
    "Solution": "plot_solution",
}
PAGES = {  # result: what writes its page, and a part of it for notebooks
    "Audit": ("audit_html", "audit_notebook_html"),
    "ClassifierSolution": ("classifier_html", "classifier_notebook_html"),
    "Comparison": ("comparison_html", "comparison_notebook_html"),
    "Frontier": ("", "frontier_notebook_html"),
    "OutcomeTable": ("", "table_notebook_html"),
    "ScoreSolution": ("score_html", "score_notebook_html"),
    "NearestFairSolution": ("fair_html", "fair_notebook_html"),
    "Solution": ("report_html", "notebook_html"),
}
HOMES = {  # function: the module that defines it
    **dict.fromkeys(PICTURES.values(), "fairprog.plotting"),
    "plot_drift": "fairprog.plotting.drift_picture",
    "audit_html": "fairprog.plotting.audit_picture",
    "audit_notebook_html": "fairprog.plotting.audit_picture",
    "frontier_notebook_html": "fairprog.plotting.notebook",
    "table_notebook_html": "fairprog.plotting.notebook",
    "classifier_html": "fairprog.plotting.classifier_report",
    "classifier_notebook_html": "fairprog.plotting.classifier_report",
    "comparison_html": "fairprog.plotting.comparison_picture",
    "comparison_notebook_html": "fairprog.plotting.comparison_picture",
    "fair_html": "fairprog.plotting.fair_report",
    "fair_notebook_html": "fairprog.plotting.fair_report",
    "notebook_html": "fairprog.plotting.solution_report",
    "report_html": "fairprog.plotting.solution_report",
    "score_html": "fairprog.plotting.score_report",
    "score_notebook_html": "fairprog.plotting.score_report",
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
        pages = _of(self, PAGES)
        return None if pages is None else picture(pages[1])(self)


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
        page: str = picture(_of(self, PAGES)[0])(self, *args, title=title)
        if path is not None:
            write_text(path, page)
        return page
