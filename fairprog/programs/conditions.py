"""Custom conditions: anything convex in the steered parameters, written as a function."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fairprog.errors import FairprogError, ModelError
from fairprog.tables import Notion


@dataclass(frozen=True)
class Condition:
    """A named function ``(view, population) -> constraint or list of constraints``."""

    function: Callable[[Any, Any], Any]

    @property
    def name(self) -> str:
        """The function's name: the address of its constraints."""
        return str(getattr(self.function, "__name__", "constraint"))

    def __call__(self, view: Any, population: Any) -> Any:
        """Evaluate the function.

        Raises
        ------
        ModelError
            If it takes other arguments, or CVXPY refuses what it does with an expression. Other
            errors of the function are its own, and get a note with its name.
        """
        try:
            inspect.signature(self.function).bind(view, population)
        except TypeError as error:
            raise ModelError(
                f"The condition {self!r} must take two arguments, (view, population): {error}.",
                argument="constraints",
            ) from None
        except ValueError:
            pass  # a built-in function, which tells no signature
        try:
            return self.function(view, population)
        except FairprogError:
            raise
        except Exception as error:
            if not _raised_by_cvxpy(error):
                error.add_note(f"This happened in the condition {self!r}.")
                raise
            raise ModelError(
                f"CVXPY refuses what the condition {self!r} does with an expression: "
                f"{' '.join(str(error).split())} Use CVXPY's functions (cp.abs, not np.abs), and "
                "return several conditions as a list.",
                argument="constraints",
            ) from error

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


def _raised_by_cvxpy(error: Exception) -> bool:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and str(at.tb_frame.f_globals.get("__name__")).startswith("cvxpy")


def as_list(constraints: Any) -> list[Any]:
    """Return constraints as a list; ModelError for a single one, saying how to write it."""
    if isinstance(constraints, Iterable) and not isinstance(constraints, str):
        return list(constraints)
    name = getattr(constraints, "__name__", None) or repr(constraints)
    raise ModelError(
        f"`constraints` must be a list; found {constraints!r}. For a single one write "
        f"constraints=[{name}].",
        argument="constraints",
    )


def checked_conditions(constraints: Any) -> tuple[Condition, ...]:
    """Return the conditions of a program; ModelError for anything else than functions."""
    out = []
    for item in as_list(constraints):
        if not callable(item):
            if isinstance(item, Notion):
                raise ModelError(
                    f"`constraints` holds {item!r}, but the steered population satisfies every "
                    "notion for every cost, between all its groups; one notion, on one attribute "
                    "or inside strata, is a matter for fp.FairClassifier.",
                    argument="constraints",
                )
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
