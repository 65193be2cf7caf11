"""Intervals for what a solution says: plain numbers, kept with it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairprog.fields import either, least, read
from fairprog.labels import Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number, or an array of them, with its standard error and interval.

    Attributes
    ----------
    value, se : float or Array
    low, high : float or Array
        value - bias, two-sided at the confidence asked for.
    bias : float, Array or None
        Of the value, to second order; None where it is not estimated.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> E = fp.Normal.fit(X, y, sensitive_features=a)
    >>> kl = fp.NearestIdeal(E, steer=[1]).solve().inference().kl
    >>> bool(kl.low < kl.value < kl.high)
    True
    """

    value: Any
    se: Any
    low: Any
    high: Any
    bias: Any = None

    def __repr__(self) -> str:
        if np.ndim(self.value):
            return f"Estimate(shape={np.shape(self.value)})"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


class Deferred(Mapping[Hashable, Estimate]):
    """Estimates by name, each computed when it is first read.

    Parameters
    ----------
    names : sequence of hashable
    compute : callable
        Returns the estimate of a name.

    Examples
    --------
    >>> found = Deferred(["b"], lambda name: Estimate(1.0, 0.1, 0.8, 1.2))
    >>> list(found), found["b"]
    (['b'], 1 (0.8 to 1.2))
    """

    def __init__(self, names: Sequence[Hashable], compute: Callable[[Hashable], Estimate]) -> None:
        self._names, self._compute = tuple(names), compute
        self._found: dict[Hashable, Estimate] = {}

    def __getitem__(self, name: Hashable) -> Estimate:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = self._compute(name)
        return self._found[name]

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@dataclass(frozen=True, eq=False)
class Inference:
    """How sure a solution is; returned by ``Solution.inference()``.

    Attributes
    ----------
    confidence : float
    method : {"delta", "bootstrap", "parametric bootstrap"}
        The last: replicates are drawn from the fitted laws, so that it is as good as the family.
    n : int
        Rows behind the population.
    kl : Estimate
        Corrected for its bias: a divergence estimated from rows is too large on average.
    price : dict of name to Estimate
        Of normal laws corrected for its bias, too.
    matrix, offset : dict of group to Estimate
        Of the maps, in the family's own coordinates, entry by entry. By the delta method of normal
        laws they are corrected for their bias, take one linear system per entry, and are computed
        when they are first read (or saved).
    gap : Estimate or None
        The ideality gap (demographic parity) before, where it is exact: one feature, two classes.
    bounds : dict of name to Estimate
        Of ``Solution.bounds``.
    pvalue : float or None
        Of the test of ideality with these options, where there is one.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> X, y, a = D.sample(4000, random_state=0)
    >>> E = fp.Normal.fit(X, y, sensitive_features=a)
    >>> fp.NearestIdeal(E, steer=[1]).solve().inference().valid
    True
    """

    confidence: float
    method: str
    n: int
    kl: Estimate
    price: Mapping[str, Estimate]
    matrix: Mapping[Hashable, Estimate]
    offset: Mapping[Hashable, Estimate]
    gap: Estimate | None
    bounds: Mapping[str, Estimate]
    pvalue: float | None

    @property
    def valid(self) -> bool:
        """Whether intervals mean something: far enough from ideal, and KL less its bias."""
        return self.corrected and (self.pvalue is None or self.pvalue < 1e-3)

    @property
    def corrected(self) -> bool:
        """Whether KL is corrected for its bias."""
        return self.kl.bias is not None

    @property
    def named(self) -> dict[str, Estimate]:
        """The numbers that are no arrays, by what they are called."""
        named = {"KL divergence": self.kl, **{f"price of {k}": v for k, v in self.price.items()}}
        if self.gap is not None:
            named["ideality gap before"] = self.gap
        named |= {f"bound on {k.replace('_', ' ')}": v for k, v in self.bounds.items()}
        return named

    def __str__(self) -> str:
        """Say the intervals, or why they say nothing."""
        level, named = f"{self.confidence:.0%}", self.named
        lines = [f"From {self.n:,} rows, {level} intervals ({self.method}):"]
        width = max(map(len, named))
        lines += [
            f"  {name:{width}} {e.value:10.4g}   {e.low:.4g} to {e.high:.4g}"
            + ("" if e.low <= e.value <= e.high else f", less its bias of {e.bias:.2g}")
            for name, e in named.items()
        ]
        lines += [f"  {remark}" for remark in self.remarks]
        return "\n".join(lines)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to read first."""
        said = []
        if self.pvalue is not None and self.pvalue >= 1e-3:
            said.append(
                "The population may be ideal (test of ideality with the solution's maps: p = "
                f"{self.pvalue:.2g}): so near to it intervals for KL and prices are not valid; go "
                "by the test."
            )
        if not self.corrected:
            said.append(
                "KL is not corrected for its bias here: estimated from rows it is too large on "
                'average, and its interval too high. inference(method="bootstrap") corrects it.'
            )
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        out = dict(vars(self))
        for name in ("price", "matrix", "offset", "bounds"):
            out[name] = {k: tuple(vars(e).values()) for k, e in out[name].items()}
        out["kl"] = tuple(vars(self.kl).values())
        out["gap"] = None if self.gap is None else tuple(vars(self.gap).values())
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Inference:
        """Rebuild from :meth:`to_dict`."""
        out = read(data, "inference", FIELDS)
        for name in ("price", "matrix", "offset", "bounds"):
            out[name] = {k: Estimate(*v) for k, v in out[name].items()}
        out["kl"] = Estimate(*out["kl"])
        out["gap"] = None if out["gap"] is None else Estimate(*out["gap"])
        return cls(**out)


def estimate(value: Any, se: Any, z: float, bias: Any = None, floor: float = -np.inf) -> Estimate:
    """Return a normal interval about a value, less its bias where that is known."""
    middle: Array = np.asarray(value) - (0.0 if bias is None else bias)
    low, high = np.maximum(middle - z * se, floor), np.maximum(middle + z * se, floor)
    kind = np.asarray if np.ndim(value) else float
    return Estimate(
        *(None if part is None else kind(part) for part in (value, se, low, high, bias))
    )


FIELDS: dict[str, Any] = {
    "confidence": least(0, 1),
    "method": frozenset(["delta", "bootstrap", "parametric bootstrap"]),
    "n": int,
    "kl": tuple,
    "price matrix offset bounds": Mapping,
    "gap": either(None, tuple),
    "pvalue": either(None, least(0, 1)),
}
