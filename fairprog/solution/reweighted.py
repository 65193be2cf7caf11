"""The answer of `NearestIdeal` on a finite alphabet: weights per (x, y, a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from fairprog.codec import register
from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, Indices, encode, plain
from fairprog.solution.solution import Solution


@dataclass(frozen=True, eq=False, repr=False)
class ReweightedSolution(Solution):
    """The nearest ideal finite population; rows are reweighted, never moved.

    Attributes and methods: see :class:`Solution`.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical([[[.3, .1], [.1, .1]], [[.1, .1], [.1, .1]]], groups=["a", "b"])
    >>> sol = fp.NearestIdeal(D).solve()
    >>> sol.sample_weight([0, 1], X=[0, 0], sensitive_features=["a", "b"]).round(3)
    array([0.794, 0.795])
    """

    _kind: ClassVar[str] = "reweighted_solution"
    moves_rows: ClassVar[bool] = False

    @property
    def aligned(self) -> Any:
        """The steered population: atoms are common coordinates already."""
        return self.population

    def weights(self) -> Array:
        """Return D~(x, y, a) / D(x, y, a), shape (X, K, G); 0 where both are."""
        old, new = self.original.joint, self.population.joint
        return np.divide(new, old, out=np.zeros_like(new), where=old > 0)

    def sample_weight(
        self, y: ArrayLike, *, sensitive_features: ArrayLike, X: ArrayLike | None = None
    ) -> Array:
        """Return the weight of each row: D~(x, y, a) / D(x, y, a).

        Parameters
        ----------
        y, sensitive_features : array_like, shape (n,)
        X : array_like, shape (n,) or (n, d), optional
            Values of the population. Without it the weights are q~_ia / q_ia, those that ignore
            X: with ``base_rates`` = P(Y) these are Kamiran and Calders' (2012).

        Returns
        -------
        Array, shape (n,)

        Raises
        ------
        DataError
            For unknown labels or values.
        """
        if X is None:
            return super().sample_weight(y, sensitive_features=sensitive_features)
        label = encode(y, self.original.classes, "y")
        group = self._by_group(sensitive_features, len(label))
        return self.weights()[self._atoms(X, len(label)), label, group]

    def _atoms(self, X: ArrayLike, n: int) -> Indices:
        values = np.asarray(self.original.values)
        rows = np.asarray(X)
        keys = _keys(rows, values.ndim)
        if len(keys) != n:
            raise DataError(f"`X` has {len(keys)} rows; `y` has {n}.", argument="X")
        position = {key: k for k, key in enumerate(_keys(values, values.ndim))}
        unknown = [key for key in keys if key not in position]
        if unknown:
            raise DataError(
                f"`X` holds {unknown[0]!r}, which is no atom of the population ({len(unknown)} "
                "such rows). Atoms are `population.values`, such as "
                f"{values[0].tolist()!r}; of discretized features or of rows they are positions, "
                "and new rows have none.",
                argument="X",
            )
        return np.array([position[key] for key in keys], dtype=np.intp)

    def align(
        self, X: ArrayLike, *, sensitive_features: ArrayLike, dtype: Any = None, out: Any = None
    ) -> Any:
        """Return X: the common coordinates are the user's own (ModelError for `dtype`, `out`)."""
        if dtype is not None or out is not None:
            raise ModelError(
                "Categorical populations are steered by weights: rows stay as they are, so there "
                "is nothing to convert or to write.",
                argument="out" if dtype is None else "dtype",
            )
        self._by_group(sensitive_features, len(np.asarray(X)))
        given: Any = X
        return given.copy() if hasattr(given, "iloc") else np.array(given)

    def steer(self, X: ArrayLike, y: ArrayLike, *, sensitive_features: ArrayLike) -> Any:
        """Refuse: atoms are reweighted, not moved (ModelError)."""
        raise ModelError(
            "Categorical populations are steered by weights, not by moving rows; use "
            "sample_weight(y, X=X, sensitive_features=...).",
            argument="X",
        )


def _keys(rows: Any, ndim: int) -> list[Any]:
    if ndim == 2:
        return [tuple(row.tolist()) for row in np.atleast_2d(rows)]
    return [plain(v) for v in rows.reshape(len(rows), -1)[:, 0]]


register("reweighted_solution", ReweightedSolution.from_dict)
