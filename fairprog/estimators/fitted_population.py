"""The population of rows: a family in its own coordinates, and what its cells weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fairprog.door import Rows
from fairprog.errors import DataError, ModelError
from fairprog.labels import Array
from fairprog.populations import (
    Bijection,
    LogNormal,
    Moments,
    Normal,
    QuantileNormal,
    Transformed,
    YeoJohnson,
)
from fairprog.programs.base_rates import steered_prior

FAMILIES: dict[str, type[Normal]] = {"normal": Normal, "lognormal": LogNormal}
BIJECTIONS: dict[str, Any] = {"yeo-johnson": YeoJohnson.fit, "quantile": QuantileNormal.fit}


def check_options(family: Any, class_weight: Any) -> None:
    """Refuse what is neither the name of a family nor a bijection, and other class weights."""
    known = [*FAMILIES, *BIJECTIONS]
    if not isinstance(family, Bijection) and family not in known:
        raise ModelError(
            f"`family` must be one of {known} or a Bijection such as fp.Power(0.5); found "
            f"{family!r}.",
            argument="family",
        )
    if class_weight not in (None, "uniform"):
        raise ModelError(
            f"`class_weight` must be None or 'uniform'; found {class_weight!r}.",
            argument="class_weight",
        )


def fit_population(
    X: Array,
    rows: Rows,
    kind: str | Bijection,
    covariance: str,
    shrinkage: float | str,
    names: Sequence[str],
    named: bool,
) -> Normal | Transformed:
    """Estimate the population from moments in the family's own coordinates.

    Where columns were `named`, and not counted, it keeps their names.

    Raises
    ------
    DataError
        Also for columns that vary in some cells and not in others, named by `names`.
    """
    g = kind if isinstance(kind, Bijection) else None
    if g is None and kind in BIJECTIONS:
        g = BIJECTIONS[str(kind)](X, sample_weight=rows.weight)
    family = Normal if g is not None else FAMILIES[str(kind)]
    Z = family._forward(family.check_domain(X)) if g is None else g.forward(g.check_domain(X))
    moments = Moments(covariance).partial_fit(
        Z, rows.label, sensitive_features=rows.group, sample_weight=rows.weight
    )
    try:
        D = moments.population(shrinkage=shrinkage)
    except DataError as error:
        few = len(X) < X.shape[1] + rows.cells.size
        if error.argument != "cov" and not (error.argument == "mean" and few):
            raise
        raise _with_the_columns(error, X, rows, names) from error
    if family is not Normal:
        D = family.from_dict({k: v for k, v in D.to_dict().items() if k != "population"})
    D._set_feature_names(names if named else None)
    return D if g is None else Transformed(D, g)


def _with_the_columns(error: DataError, X: Array, rows: Rows, names: Sequence[str]) -> DataError:
    """Say which columns make a cell's covariance singular, and what to do."""
    y, a = rows.y, rows.a
    if len(X) < X.shape[1] + rows.cells.size:
        return DataError(
            f"There are {len(X)} rows for {X.shape[1]} features and {rows.cells.size} cells: "
            "covariances need more rows than that. Give covariance='diagonal', which needs "
            "variances only, or fewer features (for instance their principal components).",
            argument="X",
        )
    varies = np.ptp(X, axis=0) > 0
    for i, c in enumerate(rows.classes):
        for k, g in enumerate(rows.groups):
            still = np.flatnonzero(varies & (np.ptp(X[(y == i) & (a == k)], axis=0) == 0))
            everywhere = still[np.ptp(X[a == k][:, still], axis=0) == 0]
            still = everywhere if everywhere.size else still
            if still.size:
                where, also = f"class {c!r}, group {g!r} but not elsewhere", "raise `shrinkage`, "
                if everywhere.size:
                    where, also = f"every class of group {g!r}", ""
                named = ", ".join(names[j] for j in still[:3])
                more = f" and {still.size - 3} more" if still.size > 3 else ""
                return DataError(
                    f"Constant in {where}: {named}{more}. No map with a finite divergence moves "
                    f"such columns. Drop them (rare categories first), {also}or steer scores by "
                    "ScoreSteering, the tool for tables that are mostly categories.",
                    argument="X",
                    cell=(c, g),
                )
    return DataError(
        f"{error} Columns depend linearly on others there: drop some, raise `shrinkage`, or steer "
        "scores by ScoreSteering.",
        argument="X",
        cell=error.cell,
    )


def weigh_classes_equally(D: Normal | Transformed) -> Normal | Transformed:
    """Return the population with the same prior for every class of a group."""
    return D.with_prior(np.tile(D.group_mass / D.n_classes, (D.n_classes, 1)))


def base_rate_weights(
    D: Normal | Transformed, rows: Rows, stay: Sequence[int], base_rates: str | ArrayLike
) -> Array:
    """Return the rows' weights times q~ / q: they carry the steered base rates."""
    ratio = steered_prior(D, stay, base_rates) / D.prior
    return np.asarray(rows.weight * ratio[rows.y, rows.a])
