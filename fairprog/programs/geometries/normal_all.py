"""Every group steered at once: the certified polynomial, else descent from several starts.

The common laws R_i are free, so the program is not convex. For given R every group's map is a
convex problem (theory.md section 4); for given maps R is a precision-weighted average in closed
form. A start takes one step of each kind; then L-BFGS descends on the maps with R eliminated: a
few steps from some starts in every choice of common coordinates, more where one may come to the
best, all the way only from starts that may come below the best and not where another ended (above
64 dimensions from the one that leads). The best is returned, labelled local, except for
K = G = 2, d = 1, where the stationary points are the roots of a polynomial.

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
from collections.abc import Sequence
from typing import NamedTuple

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
SHARED = 3  # starts that are begun in every space: those that lead in their own
BRIEF = 12  # steps, twice, from every start
AHEAD = 4.0  # times what the last steps gained: as much as all further ones may gain
CLOSE = 1e-3  # of the least cost: starts that are nearer to it go on whatever they gained
LONGER = 50  # steps that tell which space leads, and whether a start ends where another has
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
    frames, fixed = free_frames(D, prior, transport)
    signs = [(1.0,) * D.n_groups]
    if mirror:  # one overall mirror image changes nothing
        signs = [(1.0, *s) for s in itertools.product((1.0, -1.0), repeat=D.n_groups - 1)]
    anchors: list[int | None] = [None]
    large = frames[0].is_large
    if isinstance(transport, Monotone) and frames[0].kind == "symmetric":
        # two groups: S_a S_b^{-1} and its inverse, the same population from either side
        anchors = [0] if large and D.n_groups == 2 else list(range(D.n_groups))
    fields: list[tuple[MapSpace, list[Array]]] = []
    for combination in signs:
        own = [f if s > 0 else f.mirrored() for f, s in zip(frames, combination, strict=True)]
        spaces = [MapSpace(own, fixed, anchor, log_rates=log_rates) for anchor in anchors]
        # in hundreds of dimensions a descent takes a minute, and random starts find nothing better
        starts = spaces[0].starts()[: D.n_groups + 1 if large else None]  # whatever the anchor
        fields += [(space, starts) for space in spaces]
    with one_blas_thread():
        ends = _ends(fields, large)
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


def least_nearby(
    D: Normal, prior: Array, transport: Transport, maps: Sequence[AffineMap]
) -> float:
    """Return the least cost near given maps of all groups, answers for a population close by."""
    frames, fixed = free_frames(D, prior, transport)
    own = []
    for k, T in enumerate(maps):
        frames[k], theta = frames[k].from_user(T)
        if np.trace(theta[0]) < 0:
            frames[k], theta = frames[k].mirrored(), (-theta[0], theta[1])
        own.append(theta)
    space = MapSpace(frames, fixed, None)
    if frames[0].kind == "symmetric" and fixed is None:
        # the anchor is moved alike in all directions; its matrix is I where maps are sought
        A = np.stack([T.matrix for T in maps])
        size = np.trace(A, axis1=1, axis2=2) / len(A[0])
        off = np.linalg.norm(A - size[:, None, None] * np.eye(len(A[0])), axis=(1, 2))
        anchor = int((off / np.abs(size)).argmin())
        own = [(S / size[anchor], beta) for S, beta in own]
        space = MapSpace(frames, fixed, anchor)
    return space.descend(space.coordinates(own))[0]


class _Descent(NamedTuple):
    """A descent on its way: where it is, what it may come to, where it came from."""

    value: float
    x: Array
    hope: float
    space: MapSpace
    start: Array

    def further(self, steps: int) -> _Descent:
        value, x = self.space.descend(self.x, steps)
        return self._replace(value=value, x=x, hope=value - AHEAD * (self.value - value))

    def is_behind(self, least: float) -> bool:
        return self.hope > (1.0 + CLOSE) * least

    def is_near(self, matrices: list[Array]) -> bool:
        S = self.space.maps(self.x)[0]
        return min(float(np.linalg.norm(S - T) / np.linalg.norm(T)) for T in matrices) <= NEAR


def _ends(fields: list[tuple[MapSpace, list[Array]]], large: bool) -> list[End]:
    """Descend all the way from the starts that may come to the best; return the ends in order."""
    begun = _begun(fields)
    equal = EQUALLY_GOOD * max(1.0, abs(min(run.value for run in begun.values())))
    order = sorted(begun, key=lambda k: (round(begun[k].value / equal), k))  # ties: the first
    least, ends = np.inf, dict[tuple[int, int], End]()
    for k in order[:1] if large else order:
        run = begun[k]
        if run.is_behind(least):
            continue
        there = [run.space.maps(end)[0] for _, end, space in ends.values() if space is run.space]
        if there and (run.is_near(there) or run.further(LONGER).is_near(there)):
            continue
        # from the start itself: an interrupted descent has other last digits
        ends[k] = (*run.space.descend(run.x if large else run.start), run.space)
        least = min(least, ends[k][0])
    return [ends[k] for k in sorted(ends)]


def _begun(fields: list[tuple[MapSpace, list[Array]]]) -> dict[tuple[int, int], _Descent]:
    """Begin descents: one in every space, the best starts in all, then all starts where it pays.

    The starts that lead in their own space are begun in every other one. Where descents part
    from others of their space every start is begun in all; else in those spaces whose best
    descent may come to the best of all.
    """
    from tqdm import tqdm

    spaces = range(len(fields))
    begun: dict[tuple[int, int], _Descent] = {}

    def begin(keys: list[tuple[int, int]]) -> None:
        # silent for the first seconds: most programs are done by then
        new = [k for k in keys if k not in begun]
        for i, k in tqdm(new, desc="starts", disable=None, delay=3.0, leave=False):
            space, starts = fields[i]
            run = _Descent(np.inf, starts[k], -np.inf, space, starts[k])
            begun[i, k] = run.further(BRIEF).further(BRIEF)

    begin([(i, space.anchor or 0) for i, (space, _) in enumerate(fields)])
    order = sorted(begun, key=lambda key: begun[key].value)
    begin([(i, k) for k in list(dict.fromkeys(k for _, k in order))[:SHARED] for i in spaces])
    least_of = [min(run.value for (j, _), run in begun.items() if j == i) for i in spaces]
    if any(run.is_behind(least_of[i]) for (i, _), run in begun.items()):
        begin([(i, k) for i in spaces for k in range(len(fields[i][1]))])  # several optima
    leaders = [min((k for k in begun if k[0] == i), key=lambda k: begun[k].value) for i in spaces]
    steps = BRIEF
    while True:
        least = min(begun[k].value for k in leaders)
        leaders = [k for k in leaders if not begun[k].is_behind(least)]
        if len(leaders) == 1 or steps >= LONGER:
            break
        steps *= 2
        for key in leaders:
            begun[key] = begun[key].further(steps)
    ahead = sorted({i for i, _ in leaders})
    begin([(i, k) for i in ahead for k in range(len(fields[i][1]))])
    return {key: run for key, run in begun.items() if key[0] in ahead}


def free_frames(
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
