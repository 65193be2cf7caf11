"""Affine maps and the classes of maps (transports) a program may choose from.

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

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, ModelError
from fairprog.labels import Array, check_features, check_finite, check_number
from fairprog.tables.templates import Template

__all__ = [
    "Affine",
    "AffineMap",
    "ConjugatedMap",
    "Diagonal",
    "Identity",
    "Kind",
    "Monotone",
    "PiecewiseLinear",
    "PiecewiseLinearMap",
    "Scaling",
    "Translation",
    "Transport",
    "Whitened",
]

Kind = Literal["identity", "fixed", "scalar", "diagonal", "symmetric", "full", "piecewise"]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """The map x -> matrix x + offset.

    Parameters
    ----------
    matrix : array_like, shape (d, d)
        Invertible.
    offset : array_like, shape (d,)
        In the units of the features.

    Raises
    ------
    DataError
        For non-finite entries or shapes that do not fit; on ``inverse()`` of a singular matrix.

    Examples
    --------
    >>> import fairprog as fp
    >>> T = fp.AffineMap([[2.0]], [1.0])
    >>> T([0.0, 1.0])
    array([1., 3.])
    >>> T.inverse()(T([0.0, 1.0]))
    array([0., 1.])
    """

    matrix: Array
    offset: Array

    def __post_init__(self) -> None:
        offset = np.atleast_1d(check_finite(self.offset, "offset"))
        matrix = check_finite(self.matrix, "matrix", (offset.size, offset.size))
        for array in (matrix, offset):
            array.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "offset", offset)

    @classmethod
    def identity(cls, dim: int) -> AffineMap:
        """Return x -> x in `dim` dimensions."""
        return cls(np.eye(dim), np.zeros(dim))

    def __call__(self, X: ArrayLike) -> Array:
        """Map rows: shape (n, d) to (n, d); shape (n,) stays (n,) where d = 1."""
        array = check_features(X, dim=self.offset.size)
        out: Array = array @ self.matrix.T + self.offset
        return out[:, 0] if np.ndim(X) == 1 else out

    def inverse(self) -> AffineMap:
        """Return the inverse map."""
        try:
            inverse = np.linalg.inv(self.matrix)
        except np.linalg.LinAlgError:
            raise DataError("The map is singular and has no inverse.", argument="matrix") from None
        return AffineMap(inverse, -inverse @ self.offset)

    def __matmul__(self, other: AffineMap) -> AffineMap:
        """Return the composition x -> self(other(x))."""
        return AffineMap(self.matrix @ other.matrix, self.matrix @ other.offset + self.offset)


@dataclass(frozen=True, eq=False)
class ConjugatedMap:
    """An affine map seen through a bijection: x -> backward(affine(forward(x))).

    For a log-normal population this is x -> exp(b) x^gamma, feature by feature where A is
    diagonal; ``affine`` is the map in g-space.
    """

    affine: AffineMap
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]

    def __call__(self, X: ArrayLike) -> Array:
        """Map rows in the user's units: (n, d) to (n, d), (n,) to (n,) where d = 1."""
        out = self.backward(self.affine(self.forward(check_features(X))))
        return out[:, 0] if np.ndim(X) == 1 else out

    def inverse(self) -> ConjugatedMap:
        """Return the inverse map."""
        return ConjugatedMap(self.affine.inverse(), self.forward, self.backward)


@dataclass(frozen=True, eq=False)
class PiecewiseLinearMap:
    """An increasing map of the line, linear between knots and beyond them.

    Parameters
    ----------
    knots, values : array_like, shape (n,)
        T(knots[k]) = values[k]; both strictly increasing, n >= 2.
    left, right : float, optional
        Slopes below the first and above the last knot, positive; default those of the first and
        last segment.

    Raises
    ------
    DataError
        If knots or values do not increase strictly or a slope is not positive.

    Examples
    --------
    >>> import fairprog as fp
    >>> T = fp.PiecewiseLinearMap([0., 1., 2.], [0., 2., 3.])
    >>> T([-1.0, 0.5, 1.5, 3.0])
    array([-2. ,  1. ,  2.5,  4. ])
    >>> T.inverse()(T([-1.0, 0.5, 1.5, 3.0]))
    array([-1. ,  0.5,  1.5,  3. ])
    """

    knots: Array
    values: Array
    left: float = 0.0
    right: float = 0.0

    def __post_init__(self) -> None:
        knots = np.atleast_1d(check_finite(self.knots, "knots"))
        values = np.atleast_1d(check_finite(self.values, "values", knots.shape))
        for name, array in (("knots", knots), ("values", values)):
            if array.ndim != 1 or len(array) < 2 or not (np.diff(array) > 0).all():
                raise DataError(
                    f"`{name}` must be at least two strictly increasing numbers.", argument=name
                )
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        slopes = np.diff(values) / np.diff(knots)
        for name, end in (("left", slopes[0]), ("right", slopes[-1])):
            slope = check_number(getattr(self, name), name)
            object.__setattr__(self, name, slope if slope > 0 else float(end))

    def __call__(self, X: ArrayLike) -> Array:
        """Map points: shape (n, 1) to (n, 1); shape (n,) stays (n,)."""
        x = check_features(X, dim=1)[:, 0]
        out = np.interp(x, self.knots, self.values)
        out = np.where(x < self.knots[0], self.values[0] + self.left * (x - self.knots[0]), out)
        last = self.values[-1] + self.right * (x - self.knots[-1])
        out = np.where(x > self.knots[-1], last, out)
        return out if np.ndim(X) == 1 else out[:, None]

    def slope(self, x: Array) -> Array:
        """Return T'(x) at points (n,); at a knot the slope of the piece on its left."""
        piece = np.searchsorted(self.knots, np.asarray(x, dtype=float))
        inner = np.diff(self.values) / np.diff(self.knots)
        return np.concatenate([[self.left], inner, [self.right]])[piece]

    def as_affine(self, rtol: float = 1e-9) -> AffineMap | None:
        """Return the map as an affine one where its slopes agree to `rtol`, else None."""
        slopes = self.slope(np.append(self.knots, np.inf))
        rise = float((self.values[-1] - self.values[0]) / (self.knots[-1] - self.knots[0]))
        if np.abs(slopes - rise).max() > rtol * rise:
            return None
        shift = float(self.values[0] - rise * self.knots[0])
        return AffineMap(np.array([[rise]]), np.array([shift]))

    @property
    def theta(self) -> Array:
        """The numbers T is linear in: left slope, values, right slope, shape (n + 2,)."""
        return np.concatenate([[self.left], self.values, [self.right]])

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return dict(vars(self))

    def __matmul__(self, other: PiecewiseLinearMap) -> PiecewiseLinearMap:
        """Return the composition x -> self(other(x))."""
        knots = np.unique(np.concatenate([other.knots, other.inverse()(self.knots)]))
        return PiecewiseLinearMap(
            knots, self(other(knots)), self.left * other.left, self.right * other.right
        )

    def inverse(self) -> PiecewiseLinearMap:
        """Return the inverse map."""
        return PiecewiseLinearMap(self.values, self.knots, 1.0 / self.left, 1.0 / self.right)


@dataclass(frozen=True, repr=False)
class Transport(Template):
    """A class of maps that may move one group, all its Y-classes together."""

    kind: ClassVar[Kind] = "fixed"
    may_mirror: ClassVar[bool] = False

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

    Notes
    -----
    Source: theory.md section 4.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Monotone(metric="identity")
    Monotone('identity')
    """

    metric: Any = "pooled"
    kind: ClassVar[Kind] = "symmetric"

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

    Parameters
    ----------
    class_ : hashable, optional
        The class k whose reference covariance is whitened by its symmetric root; default the
        last. The answer depends on the units of the features.

    Notes
    -----
    Source: the paper, Prop. 3.2 and Thm 4.1; theory.md section 4.

    Examples
    --------
    >>> import fairprog as fp
    >>> fp.Whitened(class_=0)
    Whitened(0)
    """

    class_: Any = None
    kind: ClassVar[Kind] = "symmetric"

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
        out: Array = (vectors / np.sqrt(values)) @ vectors.T
        return out


@dataclass(frozen=True, repr=False)
class Affine(Transport):
    """Maps x -> A x + b with any invertible A: rotations and shears included.

    ``orientation="preserve"`` asks for det A > 0 (between any two groups, where all are steered);
    ``orientation="any"`` allows mirror images as well. The nearest ideal population of this class
    is often far nearer than that of any convex class, but the program is not convex: the answer is
    the best of many local optima, never worse than that of `Monotone` (pooled or identity
    metric), `Whitened` (any class) or `Diagonal`, and labelled local unless nothing can be nearer.
    Equivariant under every affine change of coordinates of the features.

    Notes
    -----
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
        if isinstance(self.n_knots, bool) or check_number(self.n_knots, "n_knots", 2) % 1:
            raise DataError(
                f"`n_knots` must be a whole number >= 2; found {self.n_knots!r}.",
                argument="n_knots",
            )
        object.__setattr__(self, "n_knots", int(self.n_knots))
