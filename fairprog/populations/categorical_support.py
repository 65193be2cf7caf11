"""What a finite population stores: its support; dense tables are made where they are asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError
from fairprog.fields import fits, refuse
from fairprog.labels import Array, check_finite, plain
from fairprog.populations.base import Population
from fairprog.populations.score_bins import ScoreBins
from fairprog.populations.support import Support, checked_values, support_prior


class CategoricalSupport(Population):
    """The support of a finite population, its dense tables, and its plain data."""

    def __init__(
        self,
        joint: ArrayLike,
        *,
        values: Any = None,
        classes: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
    ) -> None:
        table = check_finite(joint, "joint")
        if table.ndim != 3 or not table.size:
            raise DataError(
                f"`joint` must have shape (X, K, G): atoms, classes, groups; its shape is "
                f"{table.shape}.",
                argument="joint",
            )
        if table.min() < 0:
            at = tuple(int(k) for k in np.argwhere(table < 0)[0])
            raise DataError(
                f"`joint` must be nonnegative; found {table[at]:.6g} at position {at}.",
                argument="joint",
            )
        self._start(table.sum(axis=0), classes, groups)
        total = table.sum()
        table = table if abs(total - 1.0) <= 1e-12 else table / total
        weight = table.sum(axis=1)  # (X, G)
        atom, group = np.nonzero(weight > 0)
        posterior = table[atom, :, group] / weight[atom, group][:, None]
        score = posterior[:, 1].copy() if self.n_classes == 2 else posterior
        self._support(Support(atom, group, weight[atom, group], score), len(table), values)
        table.setflags(write=False)
        self.__dict__["joint"] = table  # to the bit as given

    def _support(self, support: Support, n_atoms: int, values: Any) -> None:
        self.support = support
        self.n_atoms = n_atoms
        self._values = None if values is None else checked_values(values, n_atoms)
        #: largest change of a table's entry that a discretisation may cause; 0.0 where exact
        self.discretization_error = 0.0
        #: number of rows it was counted from, the effective one where they have weights
        self.effective_rows: int | None = None
        #: the bins of scores that are its atoms, where it was counted in bins
        self.score_bins: ScoreBins | None = None
        #: whether rows told their group, not the probability of each
        self.group_known = True
        #: names of the sensitive attributes that its groups cross, where they had names
        self.attributes: tuple[str, ...] = ()
        #: whether the posteriors are scores that were given, not shares of labels counted
        self.scores_given = False
        for array in (support.weight, support.score, support.group, support.atom):
            array.setflags(write=False)

    @classmethod
    def _from_support(
        cls,
        support: Support,
        n_atoms: int,
        values: Any,
        classes: Sequence[Hashable],
        groups: Sequence[Hashable],
    ) -> Self:
        """Build from the support alone (weights sum to one), without a dense table."""
        out = cls.__new__(cls)
        out._start(support_prior(support, len(classes), len(groups)), classes, groups)
        out._support(support, n_atoms, values)
        return out

    # -- the same law as dense tables --

    @property
    def values(self) -> Any:
        """What the atoms are: (X,) labels or numbers, or (X, d)."""
        return np.arange(self.n_atoms) if self._values is None else self._values

    @cached_property
    def mass(self) -> Array:
        """P(X=x, A=a), shape (X, G)."""
        out = np.zeros((self.n_atoms, self.n_groups))
        out[self.support.atom, self.support.group] = self.support.weight
        out.setflags(write=False)
        return out

    @cached_property
    def eta(self) -> Array:
        """P(Y=i | x, a), shape (X, K, G); base rates where P(X=x, A=a) = 0."""
        out = np.repeat(self.base_rates[None], self.n_atoms, axis=0)
        out[self.support.atom, :, self.support.group] = self.support.posterior
        out.setflags(write=False)
        return out

    @cached_property
    def joint(self) -> Array:
        """P(X=x, Y=i, A=a), shape (X, K, G)."""
        s = self.support
        out = np.zeros((self.n_atoms, self.n_classes, self.n_groups))
        out[s.atom, :, s.group] = s.weight[:, None] * s.posterior
        out.setflags(write=False)
        return out

    @property
    def reveals_group(self) -> bool:
        """Whether every atom belongs to one group, so that X tells the group."""
        return len(self.support.atom) == len(np.unique(self.support.atom))

    # -- plain data --

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments and what it was made from, with the family's name."""
        out, bins = super().to_dict(), self.score_bins
        del out["prior"], out["feature_names"]
        origin = {
            "effective_rows": self.effective_rows,
            "scores_given": self.scores_given or None,
            "attributes": self.attributes or None,
            "group_known": None if self.group_known else False,
            "score_bins": None if bins is None else bins.to_dict(),
        }
        return out | {key: value for key, value in origin.items() if value is not None}

    def _parameters(self) -> dict[str, Any]:
        values: Any = self._values
        if values is not None and values.dtype.kind not in "fiu":
            values = tuple(plain(v) for v in values)
        return {"joint": self.joint, "values": values}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a population from what `to_dict` returned."""
        arguments = dict(data)
        bins, given = arguments.pop("score_bins", None), arguments.pop("scores_given", False)
        rows, names = arguments.pop("effective_rows", None), arguments.pop("attributes", ())
        known = bool(arguments.pop("group_known", True))
        if isinstance(arguments.get("n_rows"), int):  # files of version 0.1.0 call it so
            rows = arguments.pop("n_rows")
        out = super().from_dict(arguments)
        out.score_bins = None if bins is None else ScoreBins.from_dict(bins)
        out.effective_rows, out.scores_given = rows, bool(given)
        if not fits(names, [str]):
            raise refuse("`population.attributes` are no names")
        out.attributes, out.group_known = tuple(names), known
        return out

    def _sizes(self) -> dict[str, Any]:
        return {"X": self.n_atoms} | super()._sizes()
