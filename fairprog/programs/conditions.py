"""Custom conditions: anything convex in the steered parameters, written as a function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fairprog.errors import ModelError

__all__ = ["Condition", "checked_conditions", "constraint"]


@dataclass(frozen=True)
class Condition:
    """A named function ``(view, population) -> constraint or list of constraints``."""

    function: Callable[[Any, Any], Any]

    @property
    def name(self) -> str:
        """The function's name: the address of its constraints."""
        return str(getattr(self.function, "__name__", "constraint"))

    def __call__(self, view: Any, population: Any) -> Any:
        """Evaluate the function."""
        return self.function(view, population)

    def __repr__(self) -> str:
        return f"fp.constraint({self.name})"

    def qualified_name(self) -> str:
        """Return ``module:qualified.name``; ModelError if that cannot be imported."""
        module, name = self.function.__module__, getattr(self.function, "__qualname__", "")
        found: Any = None
        try:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            found = None
        if found is not self and found is not self.function:
            raise ModelError(
                f"The constraint {self.name!r} cannot be saved: {module}:{name} cannot be "
                "imported. Define it at the top level of a module.",
                argument="constraints",
            )
        return f"{module}:{name}"


def checked_conditions(constraints: Any) -> tuple[Condition, ...]:
    """Return the conditions of a program; ModelError for anything else than functions."""
    if not isinstance(constraints, Iterable) or isinstance(constraints, str):
        raise ModelError(
            f"`constraints` must be a list of conditions; found {constraints!r}.",
            argument="constraints",
        )
    out = []
    for item in constraints:
        if not callable(item):
            raise ModelError(
                f"`constraints` holds {item!r}, which is not a function (view, population) -> "
                "CVXPY constraints; see fp.constraint.",
                argument="constraints",
            )
        condition = item if isinstance(item, Condition) else Condition(item)
        out.append(condition)
    return tuple(out)


def constraint(function: Callable[[Any, Any], Any]) -> Condition:
    """Declare a condition of a program (decorator).

    Parameters
    ----------
    function : callable
        ``function(view, population)`` returns a CVXPY constraint or a list of them. ``view``
        offers the steered parameters ``mean``, ``std`` (univariate), ``factor`` (cov = F F'),
        ``matrix`` and ``offset`` as CVXPY expressions, ``population`` the original ``mean``,
        ``std``, ``factor`` and ``cov`` as numbers; all are indexed ``[class, group]``. Means and
        factors are those of the normal coordinates (of log X for log-normal populations).

    Returns
    -------
    Condition

    Examples
    --------
    >>> import cvxpy as cp
    >>> import fairprog as fp
    >>> @fp.constraint
    ... def small_shift(view, population):
    ...     return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.1
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]],
    ...               groups=["a", "b"])
    >>> free = fp.NearestIdeal(D, steer=["b"]).solve()
    >>> tied = fp.NearestIdeal(D, steer=["b"], constraints=[small_shift]).solve()
    >>> free.kl < tied.kl and tied.price["small_shift"] > 0
    True
    """
    return Condition(function)
