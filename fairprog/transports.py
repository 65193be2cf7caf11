"""The classes of maps (transports) a program may choose from.

Every class is written A = S R with S in a set of matrices and R a fixed root:

============ =============================== ==========================
transport    S                               R
============ =============================== ==========================
Identity     the identity, and b = 0         I
Translation  the identity                    I
Scaling      g I, g > 0                      I
Diagonal     positive diagonal               I
Monotone     positive definite               the metric M
Whitened     positive definite               S_kr^{-1/2}, class k
Affine       any invertible matrix           I
============ =============================== ==========================

and `PiecewiseLinear`, increasing but not affine, of one feature. For all but the last two
-log|det A| = -log det S + const is convex (theory.md, Theorem B).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_count, check_finite
from fairprog.maps import AffineMap, ConjugatedMap, DiagonalMap, PiecewiseLinearMap
from fairprog.tables.templates import Template

__all__ = [
    "Affine",
    "AffineMap",
    "ConjugatedMap",
    "Diagonal",
    "DiagonalMap",
    "Identity",
    "Kind",
    "Monotone",
    "Pattern",
    "PiecewiseLinear",
    "PiecewiseLinearMap",
    "Scaling",
    "Translation",
    "Transport",
    "Whitened",
]


@dataclass(frozen=True)
class Pattern:
    """Symmetric matrices that are zero between features of different blocks.

    A class of maps whose `kind` is a pattern needs nothing else to be solved: see
    :class:`Transport`.

    Parameters
    ----------
    blocks : tuple of tuples of int
        Positions of the features; every feature is in one block.
    """

    blocks: tuple[tuple[int, ...], ...]

    def mask(self, d: int) -> Array:
        """Return ones within blocks and zeros between them, shape (d, d)."""
        out = np.zeros((d, d))
        for block in self.blocks:
            out[np.ix_(block, block)] = 1.0
        return out


Kind = (
    Literal["identity", "fixed", "scalar", "diagonal", "symmetric", "full", "piecewise"] | Pattern
)


@dataclass(frozen=True, repr=False)
class Transport(Template):
    """A class of maps that may move one group, all its Y-classes together.

    A class of your own is a subclass, a frozen dataclass. It says what S is by its `kind`, a word
    of the table above or a :class:`Pattern` (which may be a property of its fields), and what R is
    by `root`.
    """

    kind: ClassVar[Any] = "fixed"
    may_mirror: ClassVar[bool] = False

    @property
    def depends_on_units(self) -> bool:
        """Whether other units of the features lead to another answer."""
        return isinstance(self.kind, Pattern)

    def check_fields(self, n_features: int, classes: tuple[Hashable, ...]) -> None:
        """Raise a DataError where fields do not fit the features or classes of a population."""
        if isinstance(self.kind, Pattern):
            named = sorted(j for block in self.kind.blocks for j in block)
            if named != list(range(n_features)):
                raise DataError(
                    f"The blocks of {self!r} must hold each of the {n_features} features once; "
                    f"they hold {named}.",
                    argument="transport",
                )

    def root(
        self, pooled: Array, reference_cov: Array, classes: tuple[Hashable, ...], basis: Array
    ) -> Array:
        """Return R in A = S R.

        Parameters
        ----------
        pooled : Array, shape (k, k)
            Pooled within-cell covariance of the population, in support coordinates.
        reference_cov : Array, shape (K, k, k)
            Class covariances of the reference, in the same coordinates.
        classes : tuple
            Class labels.
        basis : Array, shape (d, k)
            Orthonormal columns: features = basis @ support coordinates (+ a constant).
        """
        return np.eye(pooled.shape[0])


@dataclass(frozen=True, repr=False)
class Identity(Transport):
    """The map x -> x alone: all cells of a class get one common law, whatever the group.

    For exponential families and finite alphabets (theory.md section 5).

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Identity()
    Identity()
    """

    kind: ClassVar[Kind] = "identity"


@dataclass(frozen=True, repr=False)
class Translation(Transport):
    """Maps x -> x + b.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Translation()
    Translation()
    """


@dataclass(frozen=True, repr=False)
class Scaling(Transport):
    """Maps x -> g x + b with g > 0 (any g != 0 under ``orientation="any"``).

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Scaling()
    Scaling()
    """

    kind: ClassVar[Kind] = "scalar"
    may_mirror: ClassVar[bool] = True


@dataclass(frozen=True, repr=False)
class Diagonal(Transport):
    """Maps x -> diag(g) x + b with g > 0, in the user's features.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Diagonal()
    Diagonal()
    """

    kind: ClassVar[Kind] = "diagonal"


@dataclass(frozen=True, repr=False)
class Monotone(Transport):
    """Maps x -> S M x + b with S positive definite: gradients of convex functions in the metric M.

    Source: theory.md section 4.

    Parameters
    ----------
    metric : {"pooled", "identity"} or array_like (d, d), default "pooled"
        ``"pooled"`` takes M^{-1} = sum_ia q_ia S_ia, which makes the answer equivariant under
        every affine change of coordinates. ``"identity"`` (A itself positive definite) and a
        matrix of your own depend on units.

    Raises
    ------
    ModelError
        For another word; DataError for a matrix that is not symmetric positive definite.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Monotone(metric="identity")
    Monotone('identity')
    """

    metric: Any = "pooled"
    kind: ClassVar[Kind] = "symmetric"

    @property
    def depends_on_units(self) -> bool:
        """Whether the metric is another than the pooled one."""
        return bool(self.metric != "pooled")

    def check_fields(self, n_features: int, classes: tuple[Hashable, ...]) -> None:
        """Raise a DataError for a metric of other features."""
        if not isinstance(self.metric, str):
            check_finite(self.metric, "metric", (n_features, n_features))

    def __post_init__(self) -> None:
        if isinstance(self.metric, str):
            if self.metric not in ("pooled", "identity"):
                raise ModelError(
                    f"`metric` must be 'pooled', 'identity' or a matrix; found {self.metric!r}.",
                    argument="metric",
                )
            return
        M = np.atleast_2d(check_finite(self.metric, "metric"))
        if M.ndim != 2 or M.shape[0] != M.shape[1] or not np.allclose(M, M.T):
            raise DataError("`metric` must be a symmetric matrix.", argument="metric")
        smallest = float(np.linalg.eigvalsh(M)[0])
        if smallest <= 0:
            raise DataError(
                f"`metric` must be positive definite; its smallest eigenvalue is {smallest:.3g}.",
                argument="metric",
            )
        object.__setattr__(self, "metric", tuple(tuple(float(v) for v in row) for row in M))

    def root(
        self, pooled: Array, reference_cov: Array, classes: tuple[Hashable, ...], basis: Array
    ) -> Array:
        """Return the metric M in support coordinates."""
        if self.metric == "pooled":
            return np.asarray(np.linalg.inv(pooled))
        if self.metric == "identity":
            return np.eye(pooled.shape[0])
        return basis.T @ check_finite(self.metric, "metric", (len(basis), len(basis))) @ basis


@dataclass(frozen=True, repr=False)
class Whitened(Transport):
    """Maps x -> S S_kr^{-1/2} x + b: the form of the paper's Theorem 4.1.

    Source: the paper, Prop. 3.2 and Thm 4.1; theory.md section 4.

    Parameters
    ----------
    class_ : hashable, optional
        The class k whose reference covariance is whitened by its symmetric root; default the
        last. The answer depends on the units of the features.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Whitened(class_=0)
    Whitened(0)
    """

    class_: Any = None
    kind: ClassVar[Kind] = "symmetric"
    depends_on_units: ClassVar[bool] = True

    def check_fields(self, n_features: int, classes: tuple[Hashable, ...]) -> None:
        """Raise a DataError for a class that is none."""
        self.class_index(classes)

    def class_index(self, classes: tuple[Hashable, ...]) -> int:
        """Return the position of the whitened class."""
        if self.class_ is None:
            return len(classes) - 1
        if self.class_ not in classes:
            raise DataError(
                f"`class_` names {self.class_!r}, which is not one of {list(classes)}.",
                argument="class_",
            )
        return classes.index(self.class_)

    def root(
        self, pooled: Array, reference_cov: Array, classes: tuple[Hashable, ...], basis: Array
    ) -> Array:
        """Return the inverse symmetric root of the whitened class covariance."""
        values, vectors = np.linalg.eigh(reference_cov[self.class_index(classes)])
        return (vectors / np.sqrt(values)) @ vectors.T


@dataclass(frozen=True, repr=False)
class Affine(Transport):
    """Maps x -> A x + b with any invertible A: rotations and shears included.

    ``orientation="preserve"`` asks for det A > 0 (between any two groups, where all are steered);
    ``orientation="any"`` allows mirror images as well. The nearest ideal population of this class
    is often far nearer than that of any convex class, but the program is not convex: the answer is
    the best of many local optima, never worse than that of `Monotone` (pooled or identity
    metric), `Whitened` (any class) or `Diagonal`, and labelled local unless nothing can be nearer.
    Equivariant under every affine change of coordinates of the features.

    Source: theory.md section 4.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Affine()
    Affine()
    """

    kind: ClassVar[Kind] = "full"
    may_mirror: ClassVar[bool] = True


@dataclass(frozen=True, repr=False)
class PiecewiseLinear(Transport):
    """Increasing maps of one feature, linear between knots at quantiles of the reference.

    Parameters
    ----------
    n_knots : int, default 32
        The knots are the quantiles (k + 1/2) / n_knots of the reference group, its classes
        weighted as in the program. Beyond the end knots the map is linear as well, with slopes
        of its own. The class contains every increasing affine map.

    Notes
    -----
    The name is the field's for functions of this form (Boyd & Vandenberghe, section 3.2); a
    quadratic plus logarithms of slopes makes the program an exponential-cone program. Source:
    theory.md section 4.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.PiecewiseLinear(n_knots=16)
    PiecewiseLinear(16)
    """

    n_knots: int = 32
    kind: ClassVar[Kind] = "piecewise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_knots", check_count(self.n_knots, "n_knots", 2))
