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


class FairprogWarning(UserWarning):
    """Something the user should know about an answer that is nevertheless valid.

    Examples
    --------
    >>> import fairprog as fp, warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", fp.FairprogWarning)  # or "ignore"
    """


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

    Examples
    --------
    >>> import fairprog as fp
    >>> try:
    ...     fp.Normal([[.5, .5]], [[0., 1.]], std=[[1., -1.]])
    ... except fp.FairprogError as error:
    ...     print(type(error).__name__, error.argument, error.cell)
    DataError std (0, 1)
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
    """The numbers cannot be used: NaN, wrong shape, empty cell, unknown label, ...

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.EqualOpportunity(difference_bound=2)
    Traceback (most recent call last):
    fairprog.errors.DataError: `difference_bound` must be in [0, 1]; found 2.0.
    """


class ModelError(FairprogError, ValueError):
    """The question is not one fairprog can answer: options that clash, not convex, ...

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Parity("P(y=1)")
    Traceback (most recent call last):
    fairprog.errors.ModelError: `rate` cannot be read: 'P(y=1)'. ...
    """


class InfeasibleError(FairprogError, RuntimeError):
    """No population, or no classifier, satisfies the conditions in ``details["conditions"]``.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> try:
    ...     fp.FairClassifier(D, fp.ErrorRate(), [fp.RiskBound(fp.ErrorRate(), .1)]).solve()
    ... except fp.InfeasibleError as error:
    ...     print(error.details["conditions"])
    ['bound_error_rate']
    """


class SolverError(FairprogError, RuntimeError):
    """Every rung of the solver ladder failed; ``status`` and ``details`` say how.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> try:
    ...     fp.NearestIdeal(D, [1], map_bound=.1).solve(solver="CLARABEL", max_iter=3)
    ... except fp.SolverError as error:
    ...     print(error.status)
    user_limit
    """


class MissingExtraError(FairprogError, ImportError):
    """An optional library is not installed; ``details["extra"]`` names what brings it.

    Examples
    --------
    >>> import fairprog as fp
    >>> error = fp.MissingExtraError("Install fairprog[torch].", details={"extra": "torch"})
    >>> isinstance(error, ImportError), error.details["extra"]
    (True, 'torch')
    """
