"""The error tree: one root, leaves by whose move is next.

============================ ======================== ==================================
error                        also a                   does a retry help?
============================ ======================== ==================================
:class:`DataError`           ``ValueError``           after mending the data
:class:`ModelError`          ``ValueError``           after changing the model or options
:class:`InfeasibleError`     ``RuntimeError``         after relaxing the named conditions
:class:`SolverError`         ``RuntimeError``         with another solver or tolerance
:class:`MissingExtraError`   ``ImportError``          after installing the extra it names
============================ ======================== ==================================
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

__all__ = [
    "DataError",
    "FairprogError",
    "FairprogWarning",
    "InfeasibleError",
    "MissingExtraError",
    "ModelError",
    "SolverError",
]


class FairprogWarning(UserWarning):
    """Something the user should know about an answer that is nevertheless valid."""


class FairprogError(Exception):
    """Root of all errors raised by fairprog.

    Parameters
    ----------
    message : str
        What was found and what is needed, in full sentences.
    argument : str, optional
        Name of the offending argument.
    cell : tuple, optional
        ``(class label, group label)`` concerned; either may be None.
    status : str, optional
        Status a solver reported.
    details : mapping, optional
        Anything else worth keeping: residuals, last iterate, clashing conditions.
    """

    def __init__(
        self,
        message: str,
        *,
        argument: str | None = None,
        cell: tuple[Hashable, Hashable] | None = None,
        status: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.argument = argument
        self.cell = cell
        self.status = status
        self.details: dict[str, Any] = dict(details or {})


class DataError(FairprogError, ValueError):
    """The numbers cannot be used: NaN, wrong shape, empty cell, unknown label, ..."""


class ModelError(FairprogError, ValueError):
    """The question is not one fairprog can answer: options that clash, not convex, ..."""


class InfeasibleError(FairprogError, RuntimeError):
    """No population satisfies the conditions; ``details["conditions"]`` names them."""


class SolverError(FairprogError, RuntimeError):
    """Every rung of the solver ladder failed; ``status`` and ``details`` say how."""


class MissingExtraError(FairprogError, ImportError):
    """An optional library is not installed; ``details["extra"]`` names what brings it."""
