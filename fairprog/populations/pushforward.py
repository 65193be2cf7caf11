"""Normal populations seen through an increasing piecewise-linear map per group."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fairprog.errors import ModelError
from fairprog.kernels.line.piecewise_linear import (
    map_divergence,
    normal_moments,
    quadratic_forms,
    shifted,
)
from fairprog.labels import Array, Indices
from fairprog.populations.base import Population
from fairprog.populations.normal import Normal
from fairprog.tables import Notion, OutcomeTable
from fairprog.transports import AffineMap, PiecewiseLinearMap


def _as_piecewise(T: AffineMap | PiecewiseLinearMap) -> PiecewiseLinearMap:
    if isinstance(T, PiecewiseLinearMap):
        return T
    gain, shift = float(T.matrix[0, 0]), float(T.offset[0])
    if gain < 0:
        raise ModelError("A Pushforward has increasing maps; this one mirrors.", argument="maps")
    return PiecewiseLinearMap(np.array([0.0, 1.0]), np.array([shift, shift + gain]))


class Pushforward(Population):
    """Law of maps[a](Z) with Z | Y=i, A=a normal: what a nonlinear map makes of a population.

    A map is a bijection, so Bayes rules, their rates and ideality are those of the normal
    population `base`, to the bit; only divergences and moments see the map. Divergences from a
    normal population and from another pushforward are exact: normal moments on segments.

    Source: theory.md section 4, nonlinear monotone maps.

    Parameters
    ----------
    base : Normal
        One feature.
    maps : mapping of group to PiecewiseLinearMap
        Groups that are not named are not moved.

    Raises
    ------
    ModelError
        For a base of several features, or an unknown group.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 0.], [2., 2.]], std=[[1., 1.], [1., 1.]],
    ...               groups=["a", "b"])
    >>> E = fp.Pushforward(D, {"b": fp.PiecewiseLinearMap([0., 1., 2.], [0., 2., 3.])})
    >>> E.is_ideal(), round(E.kl(D), 6)
    (True, 0.228044)
    """

    family: ClassVar[str] = "pushforward"

    def __init__(self, base: Normal, maps: Mapping[Hashable, PiecewiseLinearMap]) -> None:
        if type(base) is not Normal or base.n_features != 1:
            raise ModelError("`base` must be a Normal population of one feature.", argument="base")
        unknown = [g for g in maps if g not in base.groups]
        if unknown:
            raise ModelError(
                f"`maps` names {unknown}, not among the groups {list(base.groups)}.",
                argument="maps",
            )
        self.base, self.maps = base, dict(maps)
        self.prior, self.classes, self.groups = base.prior, base.classes, base.groups
        self.feature_names = base.feature_names

    @classmethod
    def of_laws(
        cls,
        D: Normal,
        prior: Array,
        laws: tuple[Array, Array],
        maps: Mapping[Hashable, PiecewiseLinearMap],
    ) -> Self:
        """Return the population whose group g is maps[g] # laws, the others as D has them."""
        stay = AffineMap.identity(1)
        return cls(D.pushed(prior, laws, dict.fromkeys(maps, stay)), maps)

    def map_residual(self, T: Any, laws: tuple[Array, Array], a: int) -> float:
        """Return the base's, of the map back from the group at `a`; infinite if that bends."""
        own = self.maps.get(self.groups[a])
        back = T if own is None else (own.inverse() @ _as_piecewise(T)).as_affine()
        return float("inf") if back is None else self.base.map_residual(back, laws, a)

    def _cells(self) -> list[tuple[int, int, float, float]]:
        mean, std = self.base.location[..., 0], np.sqrt(self.base.cov[..., 0, 0])
        return [
            (i, a, float(mean[i, a]), float(std[i, a]))
            for i in range(self.n_classes)
            for a in range(self.n_groups)
        ]

    def _mean_and_std(self) -> Array:
        """Return means and standard deviations (2, K, G), by moments about T(mean)."""
        out = np.empty((2, *self.prior.shape))
        for i, a, m, s in self._cells():
            T = self.maps.get(self.groups[a])
            out[:, i, a] = m, s
            if T is not None:
                center = float(T([m])[0])
                M, b = quadratic_forms(T.knots, normal_moments(T.knots, m, s))
                about = shifted(T.theta, -center)
                rise = float(b @ about)
                out[:, i, a] = center + rise, np.sqrt(about @ M @ about - rise**2)
        return out

    @property
    def mean(self) -> Array:
        """Cell means, shape (K, G)."""
        return np.asarray(self._mean_and_std()[0])

    @property
    def std(self) -> Array:
        """Cell standard deviations, shape (K, G)."""
        return np.asarray(self._mean_and_std()[1])

    def sample(
        self, n: int, random_state: int | np.random.Generator | None = None
    ) -> tuple[Array, NDArray[Any], NDArray[Any]]:
        """Draw n rows: features (n, 1), classes, groups."""
        X, y, a = self.base.sample(n, random_state)
        for g, T in self.maps.items():
            X[a == g] = T(X[a == g])
        return X, y, a

    def cell_divergences(self, other: Any) -> Array:
        """Return V_ia = KL(P_ia || P'_ia) in nats, shape (K, G), P' the cells of `other`."""
        both = isinstance(other, Pushforward)
        target, theirs = (other.base, other.maps) if both else (other, {})
        order_i, order_a = self.base._order_of(target, "other")
        out = np.empty(self.prior.shape)
        mean, std = target.location[..., 0], np.sqrt(target.cov[..., 0, 0])
        for i, a, m, s in self._cells():
            j, b = order_i[i], order_a[a]
            T, S = self.maps.get(self.groups[a]), theirs.get(self.groups[a])
            if S is not None:  # carry both back by the other's map
                T = S.inverse() if T is None else S.inverse() @ T
            goal = float(mean[j, b]), float(std[j, b])
            if T is None:
                ratio = s / goal[1]
                shift = 0.5 * ((m - goal[0]) / goal[1]) ** 2
                out[i, a] = 0.5 * (ratio**2 - 1.0) - np.log(ratio) + shift
            else:
                out[i, a] = map_divergence(T.knots, T.theta, (m, s), goal)
        return out

    def kl(self, other: Any) -> float:
        """Return KL(self || other) of the joint laws, nats; `other` is normal or a pushforward.

        Raises
        ------
        ModelError
            If `other` is of another family or has other labels.
        """
        target = other.base if isinstance(other, Pushforward) else other
        order_i, order_a = self.base._order_of(target, "other")
        prior = target.prior[np.ix_(order_i, order_a)]
        value = float((self.prior * np.log(self.prior / prior)).sum())
        return value + float((self.prior * self.cell_divergences(other)).sum())

    def cell_maps_from(self, original: Any) -> Mapping[tuple[int, int], Callable[[Array], Array]]:
        """Return the increasing map of every cell of a normal population to this one's."""
        inner = original.cell_maps(self.base)

        def then(first: Callable[[Array], Array], T: Any) -> Callable[[Array], Array]:
            return first if T is None else lambda X: np.asarray(T(first(X)))

        return {
            (i, a): then(move, self.maps.get(self.groups[a])) for (i, a), move in inner.items()
        }

    # -- its cells, in x --

    def mapped(self, maps: Mapping[Hashable, AffineMap | PiecewiseLinearMap]) -> Any:
        """Return the population whose group g is moved once more, by maps[g].

        Where every map undoes that of its group to rounding, this is a normal population.
        """
        bent: dict[Hashable, PiecewiseLinearMap] = {}
        straight: dict[Hashable, AffineMap] = {}
        for g in self.groups:
            T, S = self.maps.get(g), maps.get(g, AffineMap.identity(1))
            if T is None and isinstance(S, AffineMap):
                straight[g] = S
                continue
            line = (_as_piecewise(S) if T is None else _as_piecewise(S) @ T).as_affine()
            if line is None:
                bent[g] = _as_piecewise(S) if T is None else _as_piecewise(S) @ T
            straight[g] = AffineMap.identity(1) if line is None else line
        base = self.base.mapped(straight)
        return type(self)(base, bent) if bent else base

    @property
    def coordinate_std(self) -> Array:
        """Standard deviations of the cells, shape (K, G, 1)."""
        return self.std[..., None]

    def _moved(self, values: Array) -> Array:
        """Return T_a of values (..., G) of the base."""
        out = np.array(values, dtype=float)
        for a, g in enumerate(self.groups):
            if g in self.maps:
                out[..., a] = self.maps[g](out[..., a].ravel()).reshape(out.shape[:-1])
        return out

    def _back(self, z: Array) -> Array:
        """Return points z (n,) in the base of every group, shape (n, G)."""
        columns = [self.maps[g].inverse()(z) if g in self.maps else z for g in self.groups]
        return np.stack(columns, axis=-1)

    def log_posterior(self, Z: Array, group: Indices) -> Array:
        """Return log P(Y=i | x, a), shape (n, K): that of `base` where the map comes from."""
        rows = np.arange(len(Z))
        return self.base.log_posterior(self._back(Z[:, 0])[rows, group][:, None], group)

    def log_odds_cdf(self, thresholds: Array) -> Array:
        """Return P(log odds <= t | i, a), shape (T, 2, G): that of `base`."""
        return self.base.log_odds_cdf(thresholds)

    def cell_quantiles(self, scores: Array) -> Array:
        """Return T_a(mean + score std), shape (n, K, G)."""
        return self._moved(self.base.cell_quantiles(scores))

    def cell_density(self, z: Array) -> Array:
        """Return p(T_a^{-1}(x)) / T_a'(T_a^{-1}(x)) at x (n,), shape (n, K, G)."""
        back = self._back(np.asarray(z, dtype=float))
        out = np.empty((len(back), *self.prior.shape))
        for a, g in enumerate(self.groups):
            slope = self.maps[g].slope(back[:, a])[:, None] if g in self.maps else 1.0
            out[..., a] = self.base.cell_density(back[:, a])[..., a] / slope
        return out

    def cell_masses(self, edges: Array) -> Array:
        """Return P(edges[k-1] < X <= edges[k] | i, a): normal, between edges taken back."""
        back = self._back(edges)
        by_group = [self.base.cell_masses(back[:, a])[..., a] for a in range(self.n_groups)]
        return np.stack(by_group, axis=-1)

    def density_breaks(self) -> Array:
        """Return the images of the knots: densities jump there."""
        return np.unique(np.concatenate([[], *(T.values for T in self.maps.values())]))

    def decision_regions(self, cost: Array, a: int) -> tuple[Array, Indices]:
        """Return points and the Bayes actions between them, of the group at `a`."""
        points, actions = self.base.decision_regions(cost, a)
        T = self.maps.get(self.groups[a])
        return points if T is None or not points.size else T(points), actions

    def with_prior(self, prior: Array) -> Self:
        """Return the population with the same cells and another prior (K, G)."""
        return type(self)(self.base.with_prior(prior), self.maps)

    def _table_of_rule(
        self, cost: Array, rule: Any, n_samples: int, random_state: int | np.random.Generator
    ) -> tuple[OutcomeTable, float]:
        if rule is not self:
            raise ModelError(
                "A Pushforward evaluates its own Bayes rule only; for another one, sample it.",
                argument="rule_of",
            )
        return self.base._table_of_rule(cost, self.base, n_samples, random_state)

    def _worst_threshold(self, notion: Notion) -> float:
        return self.base._worst_threshold(notion)

    def is_ideal(self, atol: float = 1e-8) -> bool:
        """Return whether `base` is ideal, which a bijection per group does not change."""
        return self.base.is_ideal(atol)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the family's name."""
        maps = {g: T.to_dict() for g, T in self.maps.items()}
        return {"population": type(self).__name__, "base": self.base.to_dict(), "maps": maps}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a population from :meth:`to_dict`."""
        base = {k: v for k, v in data["base"].items() if k != "population"}
        maps = {g: PiecewiseLinearMap.from_dict(T) for g, T in data["maps"].items()}
        return cls(Normal(**base), maps)

    def __repr__(self) -> str:
        return f"Pushforward({self.base!r}, maps of {list(self.maps)})"
