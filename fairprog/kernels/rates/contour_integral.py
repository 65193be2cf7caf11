r"""Tail of a generalised chi-square by a contour integral (the numerics of `quadratic_form`).

``P(Q > y) = (1 / 2 pi i) int exp(K(s) - s y) / s ds`` over a path from -i inf to +i inf that
crosses the real axis between 0 and the first branch point ``1 / (2 max w)``. The cuts of
``(1 - 2 w s)^(-1/2)`` lie on the real axis beyond the branch points, so that a hyperbola which
crosses at the saddle point and bends to the side where ``exp(-s y)`` decays meets none of them.
In ``u`` of ``s = t + width (sin(angle) (cosh u - 1) + i cos(angle) sinh u)`` the integrand decays
at least exponentially, and the trapezoidal rule converges geometrically.

Source: Lugannani and Rice (1980), Adv. Appl. Prob. 12, for the saddle point; Weideman and
Trefethen (2007), Math. Comp. 76, for hyperbolic contours.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from fairprog.labels import Array

# Of the hyperbola's ends from the vertical; beyond pi/4 exp(sigma^2 s^2 / 2) would grow. The
# second and third are tried where the first did not converge.
ANGLES = (np.pi / 8, np.pi / 14, np.pi / 24)
FAR = 1e4  # squared distance of a term's vertex beyond which its spectral form is kept
FIRST_NODES, LAST_NODES = 8, 2**13
COARSE = np.arange(FIRST_NODES) / FIRST_NODES
PEAK = 100.0  # tolerated size of the integrand on the contour; at the saddle it is below 1
FEW = 64  # weights not worth a power series
SMALL, TERMS = 0.5, 52  # 2^-52 is rounding
BLOCK = 2**17  # numbers per temporary array


Form = tuple[Array, Array, Array, Array, float]  # see `merged_form`


def merged_form(weights: Array, slopes: Array) -> Form:
    r"""Collect equal weights of ``sum_j (weights_j z_j^2 + slopes_j z_j)``.

    Terms with moderate ``shift = slopes^2 / (4 weight)`` are integrated in canonical form, which
    is exact far out on the contour; the others (shift set to 0) in spectral form.

    Parameters
    ----------
    weights, slopes : (d,) arrays.

    Returns
    -------
    weight, count, square, shift : (m,) arrays
        Distinct weights, their multiplicities, sums of slopes^2 and of slopes^2 / (4 weight).
    flat : float
        Sum of slopes^2 where the weight is negligible (1e-15) beside the spread of the form.

    Examples
    --------
    >>> merged_form(np.array([1.0, 1.0, 0.0]), np.array([0.0, 2.0, 3.0]))
    (array([1.]), array([2.]), array([4.]), array([1.]), 9.0)
    """
    spread = np.sqrt(np.sum(2 * weights**2 + slopes**2))
    curved = np.abs(weights) > 1e-15 * spread
    weight, index, repeats = np.unique(weights[curved], return_inverse=True, return_counts=True)
    count = np.asarray(repeats, dtype=np.float64)
    square = np.zeros(weight.size)
    np.add.at(square, index, slopes[curved] ** 2)
    shift = np.where(square <= FAR * 4 * weight**2, square / (4 * weight), 0.0)
    return weight, count, square, shift, float(np.sum(slopes[~curved] ** 2))


def _saddle(y: Array, form: Form) -> tuple[Array, Array]:
    """Minimiser t > 0 of ``K(t) - t y - log t`` and ``1/sqrt`` of its second derivative there.

    Any t before the first branch point will do: of many weights only the first and the last of y,
    which ascend, are solved for, and the others lie between.
    """
    weight, count, square, _, flat = form
    spread = np.sqrt(np.sum(2 * count * weight**2 + square) + flat)
    top = weight.max()

    def point(v: Array) -> Array:
        return np.exp(v) / spread if top <= 0 else 1 / (2 * top) / (1 + np.exp(-v))

    known = y if y.size * weight.size <= BLOCK // FIRST_NODES else y[:: max(1, y.size - 1)]
    low, high = np.full(known.shape, -100.0), np.full(known.shape, 80.0 if top <= 0 else 33.0)
    for _ in range(24):
        middle = (low + high) / 2
        t = point(middle)[:, None]
        z = 1 - 2 * weight * t
        slope = np.sum(count * weight / z + square * t * (1 - weight * t) / z**2, axis=1)
        below = slope + flat * t[:, 0] - known < 1 / t[:, 0]
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    t = point(np.interp(y, known, (low + high) / 2) if known is not y else (low + high) / 2)
    z = 1 - 2 * weight * t[:, None]
    curvature = np.sum(2 * count * (weight / z) ** 2 + square / z**3, axis=1) + flat + t**-2.0
    return t, 1 / np.sqrt(curvature)


def upper_tail(y: Array, edge: Array, form: Form, tol: float) -> tuple[Array, Array]:
    r"""P(Q > y) for ``Q = sum_j (weights_j z_j^2 + slopes_j z_j)``, y at or above its mean.

    Parameters
    ----------
    y : (T,) array, inside the support of Q.
    edge : (T,) array
        y plus the sum of the shifts of the form (passed, since it may be known more exactly).
    form : tuple
        Of `merged_form`.
    tol : float
        Absolute accuracy asked for.

    Returns
    -------
    tail, error : (T,) arrays
        Probabilities and an estimate of their absolute error.

    Examples
    --------
    >>> form = merged_form(np.ones(2), np.zeros(2))  # chi-square with 2 degrees
    >>> tail, error = upper_tail(np.array([4.0]), np.array([4.0]), form, 1e-11)
    >>> bool(abs(tail[0] - np.exp(-2)) < 1e-11)
    True
    """
    step = max(16, BLOCK // (FIRST_NODES * form[0].size))
    tail, error = np.zeros(y.size), np.full(y.size, np.inf)
    for angle in ANGLES:
        rows = np.flatnonzero(error > 10 * tol)
        if rows.size == 0:
            break
        rows = rows[np.argsort(y[rows], kind="stable")]
        for part in np.split(rows, range(step, rows.size, step)):
            new, doubt = _contour_integral(y[part], edge[part], form, tol, angle)
            tail[part] = np.where(doubt < error[part], new, tail[part])
            error[part] = np.minimum(doubt, error[part])
            if new[-1] == 0:  # by Chernoff's bound, and further out there is less
                beyond = y > y[part[-1]]
                tail[beyond], error[beyond] = 0.0, error[part[-1]]
                break
    return tail, error


def _chernoff(y: Array, t: Array, form: Form) -> Array:
    """Return Chernoff's bound on P(Q > y), ``exp(K(t) - t y)``."""
    weight, count, square, _, flat = form
    z = 1 - 2 * weight * t[:, None]
    K = (square * t[:, None] ** 2 / z - count * np.log(z)).sum(axis=1) / 2 + flat * t**2 / 2
    return np.exp(np.minimum(K - t * y, 0.0))


def _curved(s: NDArray[np.complex128], form: Form) -> NDArray[np.complex128]:
    """Return what the weights add to the exponent at s (T, n).

    In canonical form ``shift / (2 weight) (1/z - 1)``, else ``square s^2 / (2 z)``, each less
    ``count / 2 log z``, ``z = 1 - 2 weight s``. The many weights for which z stays close to one
    are summed once, as power series in s.
    """
    weight, count, square, shift = form[:4]
    factor = np.where(shift != 0, shift / (2 * weight), 0.0)
    halved = np.where(shift != 0, 0.0, square / 2)
    radius = float(np.abs(s).max(initial=0.0))
    small = np.abs(2 * weight * radius) <= SMALL
    small &= small.sum() > FEW
    out = np.zeros(s.shape, dtype=np.complex128)
    if small.any():
        x, power = 2 * weight[small] * radius, np.ones(int(small.sum()))
        logs, flats = [0.0], []
        for k in range(1, TERMS + 1):
            flats.append(halved[small] @ power)
            power = power * x
            logs.append((count[small] / (2 * k) + factor[small]) @ power)
        out += polyval(s / radius, logs) + s * s * polyval(s / radius, flats)
    w, n, f, h = (part[~small, None, None] for part in (weight, count, factor, halved))
    together = max(1, BLOCK // max(1, s.size))
    for start in range(0, len(w), together):
        j = slice(start, start + together)
        z = 1 - 2 * w[j] * s
        out += (f[j] * (1 / z - 1) + h[j] * (s * s) / z - n[j] / 2 * np.log(z)).sum(axis=0)
    return out


def _contour_integral(
    y: Array, edge: Array, form: Form, tol: float, bend: float
) -> tuple[Array, Array]:
    """Trapezoidal rule on the hyperbola of every y; nodes doubled where still needed.

    A tail that Chernoff's bound keeps below `tol` is zero.
    """
    flat = form[-1]
    t, width = _saddle(y, form)
    error = np.pi * _chernoff(y, t, form)
    angle = np.where(edge >= 0, bend, -bend)

    def integrand(u: Array, rows: NDArray[np.intp]) -> NDArray[np.complex128]:
        sine, cosine = np.sin(angle[rows, None]), np.cos(angle[rows, None])
        sinh, cosh = np.sinh(u), np.cosh(u)
        s = t[rows, None] + width[rows, None] * (sine * (cosh - 1) + 1j * cosine * sinh)
        exponent = flat * s * s / 2 - s * edge[rows, None] - np.log(s)
        exponent += _curved(s, form)
        speed = width[rows, None] * (sine * sinh + 1j * cosine * cosh)
        exponent.real = np.minimum(exponent.real, 300.0)  # far beyond PEAK, still finite
        return np.asarray(np.exp(exponent) * speed, dtype=np.complex128)

    reach, cut = np.full(y.size, 2.0), np.zeros(y.size)
    first = np.zeros((y.size, FIRST_NODES), dtype=np.complex128)
    active = every = np.flatnonzero(error > np.pi * tol)
    for angle_factor in (0.25, 0.25, 0.0, 0.0):
        rows, reach[active] = active, 2.0
        while rows.size:  # the integrand decays at least exponentially in u
            cut[rows] = np.abs(integrand(reach[rows, None], rows)[:, 0])
            rows = rows[(cut[rows] > 1e-3 * min(tol, 1e-12)) & (reach[rows] < 150)]
            reach[rows] *= 1.15
        first[active] = integrand(reach[active, None] * COARSE, active)
        # On the vertical the integrand peaks at the saddle. Bent, it may rise where small weights
        # with large slopes pull the other way: then bend less.
        active = active[np.max(np.abs(first[active]), axis=1) > PEAK]
        if active.size == 0:
            break
        angle[active] *= angle_factor

    first[:, 0] /= 2
    total, size = np.sum(first.imag, axis=1), np.sum(np.abs(first), axis=1)
    nodes, value = FIRST_NODES, total * reach / FIRST_NODES
    error[every] = np.inf
    active = every
    while active.size and nodes < LAST_NODES:
        middle = reach[active, None] * (np.arange(nodes) + 0.5) / nodes
        terms = integrand(middle, active)
        total[active] += np.sum(terms.imag, axis=1)
        size[active] += np.sum(np.abs(terms), axis=1)
        nodes *= 2
        new = total[active] * reach[active] / nodes
        before, error[active] = error[active], np.abs(new - value[active])
        rounding = 4 * np.finfo(float).eps * size[active] * reach[active] / nodes
        value[active] = new
        # Convergence squares the error: one small change after a large one is an accident.
        done = (error[active] <= tol * np.pi) & (before <= 0.1 * np.sqrt(tol))
        error[active] += rounding + cut[active]
        active = active[~done]
    return value / np.pi, error / np.pi
