"""Every group steered at once: the certified polynomial, else descent from several starts.

The common laws R_i are free, so the program is not convex. For given R every group's map is a
convex problem (theory.md section 4); for given maps R is a precision-weighted average in closed
form. A start takes one step of each kind; then L-BFGS descends on the maps with R eliminated, all
the way only from starts that may come below the best and not where another ended (above 64
dimensions from the one that leads after a few steps). The best is returned, labelled local, except
for K = G = 2, d = 1, where the stationary points are the roots of a polynomial.

Common coordinates. The maps A_a -> A_a G give the same population, so a class of maps needs a rule
that fixes G. Translations, scalings and diagonal maps are groups: any G of the class will do, and
`normalised` takes the one whose logarithms average to nothing.
`Whitened` gives the common law the identity as covariance of its class. For `Monotone` the common
coordinates are those of one group, the best one, and every other group's map is monotone as seen
from there, so that the answer is never worse than with that group staying. Without such a rule
the products S_a S_b^{-1} of positive definite matrices fill a set that is not closed, and KL
falls towards a bound that no population attains.
"""

from __future__ import annotations

import itertools

import numpy as np

from fairprog.kernels.algebra.null_directions import extend
from fairprog.kernels.algebra.threads import one_blas_thread
from fairprog.kernels.line.scale_ratio_polynomial import best_scale_ratio, two_group_cells
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.geometries.frame import Frame, make_frame
from fairprog.programs.geometries.map_space import MapSpace
from fairprog.transports import AffineMap, Monotone, Transport, Whitened

EQUALLY_GOOD = 1e-9  # nats, relative to max(1, cost)
BRIEF = 12  # steps, twice, from every start
AHEAD = 4.0  # times what the second dozen of steps gained: as much as the others may gain
CLOSE = 1e-3  # of the least cost: starts that are nearer to it go on whatever they gained
LONGER = 50  # steps from starts where another has ended, which is the end of most of them
NEAR = 0.1  # between their matrices, relative, Frobenius (offsets depend on the origin)
End = tuple[float, Array, MapSpace]  # cost and coordinates


def nearest_two_groups(
    D: Normal, prior: Array, mirror: bool
) -> tuple[list[AffineMap], tuple[Array, Array]]:
    """Return maps and common cells for d = 1, K = G = 2: the global optimum (Theorem C)."""
    mean, std = D.support_mean[..., 0], np.sqrt(D.support_cov[..., 0, 0])
    gamma, _ = best_scale_ratio(prior, mean, std, mirror)
    steered_mean, steered_std = two_group_cells(gamma, prior, mean, std)
    # common coordinates: those of group 1
    offset = steered_mean[0, 0] - gamma * steered_mean[0, 1]
    maps = [_lift(D, np.array([[gamma]]), np.array([offset])), AffineMap.identity(D.n_features)]
    return maps, (steered_mean[:, 1:], steered_std[:, 1:, None] ** 2)


def _lift(D: Normal, A: Array, b: Array) -> AffineMap:
    """Turn a map of support coordinates into one of all features."""
    U = D.support_basis
    return AffineMap(extend(A, U), U @ b)


def nearest_all(
    D: Normal, prior: Array, transport: Transport, mirror: bool, log_rates: Array | None = None
) -> tuple[list[AffineMap], tuple[Array, Array], int | None]:
    """Return maps, common cells (support coordinates) and the anchor: the best optimum found.

    With `log_rates` (K, G) the common base rates are chosen with the maps.
    """
    frames, fixed = _frames(D, prior, transport)
    signs = [(1.0,) * D.n_groups]
    if mirror:  # one overall mirror image changes nothing
        signs = [(1.0, *s) for s in itertools.product((1.0, -1.0), repeat=D.n_groups - 1)]
    anchors: list[int | None] = [None]
    large = frames[0].is_large
    if isinstance(transport, Monotone) and frames[0].kind == "symmetric":
        # two groups: S_a S_b^{-1} and its inverse, the same population from either side
        anchors = [0] if large and D.n_groups == 2 else list(range(D.n_groups))
    tasks: list[tuple[MapSpace, Array]] = []
    for combination in signs:
        own = [f if s > 0 else f.mirrored() for f, s in zip(frames, combination, strict=True)]
        spaces = [MapSpace(own, fixed, anchor, log_rates=log_rates) for anchor in anchors]
        # in hundreds of dimensions a descent takes a minute, and random starts find nothing better
        starts = spaces[0].starts()[: D.n_groups + 1 if large else None]  # whatever the anchor
        tasks += itertools.product(spaces, starts)
    with one_blas_thread():
        ends = _ends(tasks, large)
    # the first of equally good ends: with two groups both anchors of `Monotone` give the same
    # population, and rounding must not choose the common coordinates
    least = min(value for value, _, _ in ends)
    enough = least + EQUALLY_GOOD * max(1.0, abs(least))
    x, space = next((x, space) for value, x, space in ends if value <= enough)
    Ss, betas = space.maps(x)
    m, M = space.common_cells(Ss, betas)
    C = frames[0].C
    maps = [f.user_map((S, beta)) for f, S, beta in zip(space.frames, Ss, betas, strict=True)]
    return maps, (m @ C.T, C @ M @ C.T), space.anchor


def _ends(tasks: list[tuple[MapSpace, Array]], large: bool) -> list[End]:
    """Descend all the way from the starts that may come to the best; return the ends in order."""
    from tqdm import tqdm

    begun: list[End] = []
    hopes: list[float] = []  # what each start may come to
    # silent for the first seconds: most programs are done by then
    for space, start in tqdm(tasks, desc="starts", disable=None, delay=3.0, leave=False):
        first, x = space.descend(start, BRIEF)
        value, x = space.descend(x, BRIEF)
        begun.append((value, x, space))
        hopes.append(value - AHEAD * (first - value))
    equal = EQUALLY_GOOD * max(1.0, abs(min(value for value, _, _ in begun)))
    order = sorted(range(len(begun)), key=lambda k: round(begun[k][0] / equal))  # ties: the first
    least, ends = np.inf, dict[int, End]()
    for k in order[:1] if large else order:
        _, x, space = begun[k]
        if hopes[k] > (1.0 + CLOSE) * least:
            continue
        there = [space.maps(end)[0] for _, end, other in ends.values() if other is space]
        if there:  # a chance to come near
            S = space.maps(space.descend(x, LONGER)[1])[0]
            if min(float(np.linalg.norm(S - T) / np.linalg.norm(T)) for T in there) <= NEAR:
                continue
        # from the start itself: an interrupted descent has other last digits
        ends[k] = (*space.descend(x if large else tasks[k][1]), space)
        least = min(least, ends[k][0])
    return [ends[k] for k in sorted(ends)]


def _frames(
    D: Normal, prior: Array, transport: Transport
) -> tuple[list[Frame], tuple[int, Array] | None]:
    """Return the groups' frames with the origin as reference point, and the rule of Whitened.

    For `Whitened` the common covariance of the whitened class is the identity by choice of
    coordinates, so that R = I and A = S.
    """
    K, k = D.n_classes, D.support_basis.shape[1]
    anonymous = np.zeros((K, k)), np.broadcast_to(np.eye(k), (K, k, k))
    frames = [make_frame(D, transport, a, prior[:, a], anonymous) for a in range(D.n_groups)]
    fixed = None
    if isinstance(transport, Whitened) and frames[0].kind == "symmetric":
        inverse = np.linalg.inv(frames[0].C)
        fixed = transport.class_index(D.classes), inverse @ inverse.T
    return frames, fixed
