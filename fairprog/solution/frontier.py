"""What a program's optimum costs at every bound: a curve, its slope, bands over samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fairprog.labels import Array
from fairprog.pictures import Drawn

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Frontier(Drawn):
    """The optimum as a function of one bound; convex and falling where the program is convex.

    Attributes
    ----------
    bounds : Array, shape (n,)
        In the order asked for.
    risks : Array, shape (n,)
        The optimum: the risk of a fair classifier, or KL in nats.
    prices : Array, shape (n,)
        Minus its slope (plus, for a bound that asks for more): a valid multiplier at every bound,
        where the curve has a kink one of many.
    bound_name, risk_name : str
    bands : (Array, Array) or None
        Lower and upper percentiles of the frontier over bootstrap samples.
    samples : Array, shape (B, n), or None
        The bootstrap frontiers themselves.
    confidence : float or None
        Of the bands.
    compilations, solves : int
        How often a program was canonicalised and a solver ran, without the bootstrap.
    seconds : float
    quantity : {"risk", "kl"}
        Name of the optimum in :meth:`to_frame`.
    upward : bool
        Whether a larger bound asks for more (ratios, lower bounds), so that the curve rises.

    Examples
    --------
    >>> import fairprog as fp
    >>> D = fp.Categorical.from_scores([.2, .8, .4, .9], sensitive_features=list("aabb"))
    >>> fc = fp.FairClassifier(D, fp.ErrorRate(), [fp.EqualOpportunity()])
    >>> fc.frontier([0, .05, .2]).risks.round(4)
    array([0.2425, 0.2344, 0.225 ])
    """

    bounds: Array
    risks: Array
    prices: Array
    bound_name: str
    risk_name: str
    bands: tuple[Array, Array] | None = None
    samples: Array | None = None
    confidence: float | None = None
    compilations: int = 0
    solves: int = 0
    seconds: float = field(default=0.0, compare=False)
    quantity: str = "risk"
    upward: bool = False

    def __repr__(self) -> str:
        text = f"Frontier({self.quantity}, {len(self.bounds)} values of {self.bound_name!r}"
        if len(self.bounds):
            text += f" in [{self.bounds.min():g}, {self.bounds.max():g}]"
        if self.samples is not None:
            text += f", {self.confidence:.0%} bands of {len(self.samples)} samples"
        return text + ")"

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame: bound, risk (or kl), price, and the band if there is one."""
        import pandas as pd

        name = self.quantity
        columns = {"bound": self.bounds, name: self.risks, "price": self.prices}
        if self.bands is not None:
            columns |= {f"{name}_low": self.bands[0], f"{name}_high": self.bands[1]}
        return pd.DataFrame(columns)
