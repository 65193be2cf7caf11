"""The nearest ideal population over all invertible affine maps: starts, search, descent.

One group given the common laws: the search of `kernels.multivariate.affine_search`, begun from
every convex answer and from the structure of the covariances. All groups: the same search for
every group as seen from each other one, and the all-groups answers of the convex classes, are the
starts of quasi-Newton descent on all maps with the common laws eliminated; then every group's map
is searched for once more given the common laws, until none gets better. No step raises KL, so the
answer is never worse than those of the convex classes it starts from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprog.kernels.algebra.threads import one_blas_thread
from fairprog.kernels.multivariate.affine_search import best_offset, search
from fairprog.kernels.multivariate.common_map import common_map
from fairprog.labels import Array
from fairprog.populations import Normal
from fairprog.programs.geometries.frame import Frame, Map, make_frame
from fairprog.programs.geometries.group_map import GroupMaps
from fairprog.programs.geometries.map_space import MapSpace
from fairprog.programs.geometries.normal_all import free_frames, nearest_all
from fairprog.transports import Affine, AffineMap, Diagonal, Monotone, Transport, Whitened

ROUNDS = 5
GAIN = 1e-10  # a round that gains less, relative to max(1, KL), is the last


def nearest_one_affine(D: Normal, frame: Frame, mirror: bool) -> GroupMaps:
    """Return the best map found for one steered group; `mirror` allows det A < 0."""
    cells = frame.center + frame.mean, frame.cov
    group = D.groups.index(frame.group)
    starts = []
    for transport in _convex(D):
        f = make_frame(D, transport, group, frame.w, cells)
        starts.append(frame.from_user(f.user_map(f.best(False)))[1][0])
    exact, _, _ = common_map(*frame.args)  # where one exists this is it
    if mirror or np.linalg.slogdet(exact)[0] > 0:
        starts.append(exact)
    _, B = search(frame.w, *frame.args, starts, mirror)
    return GroupMaps(frame, (B, best_offset(B, frame.w, frame.m, frame.mu, frame.Sigma)))


def _convex(D: Normal) -> list[Transport]:
    whitened = [Whitened(c) for c in D.classes]
    return [Monotone(), Monotone("identity"), Diagonal(), *whitened]


def nearest_all_affine(
    D: Normal, prior: Array, mirror: bool, log_rates: Array | None = None
) -> tuple[list[AffineMap], tuple[Array, Array]]:
    """Return maps and common cells (support coordinates): the best optimum found.

    The common coordinates are those of the largest group, up to scale and shift. With `log_rates`
    (K, G) the common base rates are chosen with the maps.
    """
    from tqdm import tqdm

    frames, _ = free_frames(D, prior, Affine())
    mass = D.group_mass  # the first of groups of equal size, whatever rounding says
    anchor = int(np.flatnonzero(mass >= mass.max() * (1.0 - 1e-9))[0])
    with one_blas_thread():
        starts = [_as_seen_from(D, prior, frames, r, mirror) for r in range(D.n_groups)]
        for transport in (Monotone(), *(Whitened(c) for c in D.classes)):
            maps, _, _ = nearest_all(D, prior, transport, False, log_rates)
            starts.append([f.from_user(T)[1] for f, T in zip(frames, maps, strict=True)])
        ends = [
            _descend(frames, start, anchor, log_rates)
            for start in tqdm(starts, desc="starts", disable=None, delay=3.0, leave=False)
        ]
        value, best = min(ends, key=lambda end: end[0])
        for _ in range(ROUNDS):
            again = _search_again(frames, best, mirror)
            lower, found = _descend(frames, again, anchor, log_rates)
            gained, value = value - lower, min(value, lower)
            best = found if gained > 0 else best
            if gained <= GAIN * max(1.0, value):
                break
    space, x = _coordinates(frames, best, anchor)
    S, betas = space.maps(x)
    m, M = space.common_cells(S, betas)
    own = S[anchor]
    back, to_own = np.linalg.inv(own), frames[0].C @ own
    maps = [f.user_map((A @ back, beta)) for f, A, beta in zip(frames, S, betas, strict=True)]
    return maps, (m @ to_own.T, to_own @ M @ to_own.T)


def least_nearby_affine(D: Normal, prior: Array, maps: Sequence[AffineMap]) -> float:
    """Return the least cost near given maps of all groups; see `normal_all.least_nearby`."""
    frames, _ = free_frames(D, prior, Affine())
    own = [f.from_user(T)[1] for f, T in zip(frames, maps, strict=True)]
    return _descend(frames, own, 0)[0]


def _as_seen_from(
    D: Normal, prior: Array, frames: Sequence[Frame], r: int, mirror: bool
) -> list[Map]:
    """Return every group's best map from the laws of group r."""
    cells = D.support_mean[:, r], D.support_cov[:, r]
    out = []
    for a, f in enumerate(frames):
        T = AffineMap.identity(D.n_features)
        if a != r:
            T = nearest_one_affine(
                D, make_frame(D, Affine(), a, prior[:, a], cells), mirror
            ).user_map
        out.append(f.from_user(T)[1])
    return out


def _search_again(frames: Sequence[Frame], best: Sequence[Map], mirror: bool) -> list[Map]:
    """Return the groups' maps, searched for anew given the common laws of all maps."""
    space, x = _coordinates(frames, best, 0)
    m, M = space.common_cells(*space.maps(x))
    out = []
    for f, (S, _) in zip(frames, best, strict=True):
        _, B = search(f.w, m, M, f.mu, f.Sigma, [S], mirror)
        out.append((B, best_offset(B, f.w, m, f.mu, f.Sigma)))
    return out


def _coordinates(
    frames: Sequence[Frame], maps: Sequence[Map], anchor: int, log_rates: Array | None = None
) -> tuple[MapSpace, Array]:
    """Return the space of maps on the same sides of det = 0, and the point in it."""
    own = np.linalg.inv(maps[anchor][0])
    S = np.stack([A @ own for A, _ in maps])
    space = MapSpace(frames, None, anchor, sides=np.linalg.slogdet(S)[0], log_rates=log_rates)
    betas = np.stack([beta for _, beta in maps])
    return space, np.concatenate([S.reshape(len(S), -1), betas], axis=1).ravel()


def _descend(
    frames: Sequence[Frame], maps: Sequence[Map], anchor: int, log_rates: Array | None = None
) -> tuple[float, list[Map]]:
    """Return (cost, maps) of the local optimum below a start."""
    space, x = _coordinates(frames, maps, anchor, log_rates)
    value, x = space.descend(x)
    return value, list(zip(*space.maps(x), strict=True))
