"""The options of `NearestIdeal`, checked and resolved to positions."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fairprog.errors import DataError, InfeasibleError, ModelError
from fairprog.kernels.common_map import common_map
from fairprog.labels import address, index_of
from fairprog.populations import Normal, Population
from fairprog.programs.base_rates import EQUAL
from fairprog.transports import AffineMap, Transport

__all__ = [
    "CONIC",
    "Conic",
    "allowed_orientation",
    "check_addresses",
    "no_common_map",
    "reference_group",
    "refuse_bound",
    "sign_choices",
    "staying_maps",
    "steered_groups",
]


CONIC = ("CLARABEL", "SCS")


@dataclass(frozen=True)
class Conic:
    """What the user said to the conic solvers."""

    time_limit: float | None
    verbose: bool
    options: dict[str, Any]


def steered_groups(D: Population, steer: str | Iterable[Any]) -> list[int]:
    """Return the positions of the groups that may move."""
    groups = D.groups
    if isinstance(steer, str):
        if steer != "all":
            hint = f"; write steer=[{steer!r}]" if steer in groups else ""
            raise ModelError(
                f"`steer` must be 'all' or a list of groups; found {steer!r}{hint}.",
                argument="steer",
            )
        return list(range(len(groups)))
    if not isinstance(steer, Iterable):
        raise ModelError(
            f"`steer` must be 'all' or a list of groups; found {steer!r}.", argument="steer"
        )
    chosen = [index_of(groups, g, "steer") for g in steer]
    if not chosen or len(set(chosen)) < len(chosen):
        raise DataError(
            f"`steer` must name at least one group, each once; known are {list(groups)}.",
            argument="steer",
        )
    return sorted(chosen)


def reference_group(D: Population, staying: Sequence[int], reference: Any) -> int | None:
    """Return the position of the group whose coordinates are the common ones."""
    if not staying:
        if reference is not None:
            raise ModelError(
                "steer='all' has no reference group: the common law is free.",
                argument="reference",
            )
        return None
    if reference is None:
        return staying[0]
    index = index_of(D.groups, reference, "reference")
    if index not in staying:
        raise ModelError(
            f"`reference` {reference!r} is steered; it must be one of the groups that stay: "
            f"{[D.groups[a] for a in staying]}.",
            argument="reference",
        )
    return index


def refuse_bound(groups: Sequence[Hashable]) -> NoReturn:
    """Raise a ModelError that says what to steer instead of all groups under a `map_bound`."""
    raise ModelError(
        "steer='all' takes no `map_bound`: the common coordinates are then free, and in smaller "
        "ones any two maps are as near as you like. Let one group stay, whose coordinates measure "
        f"the distance: steer={list(groups[1:])!r}; in a grid search write two grids, "
        "[{'steer': ['all']}, "
        f"{{'steer': [{list(groups[1:])!r}], 'map_bound': [0.0, 0.1]}}].",
        argument="map_bound",
    )


def allowed_orientation(D: Population, transport: Transport, orientation: str) -> str:
    """Return the orientation, if the class of maps has mirror images where they are asked for."""
    if orientation not in ("preserve", "any"):
        raise ModelError(
            f"`orientation` must be 'preserve' or 'any'; found {orientation!r}.",
            argument="orientation",
        )
    mirrors = transport.kind not in ("identity", "fixed") and D.n_features == 1
    if orientation == "any" and not (mirrors or transport.may_mirror):
        raise ModelError(
            f"orientation='any' needs a single feature, Scaling() or Affine(); {transport!r} in "
            f"{D.n_features} dimension(s) has no mirror images.",
            argument="orientation",
        )
    return orientation


def sign_choices(frames: Sequence[Any], orientation: str) -> list[tuple[Any, ...]]:
    """Return the frames; with orientation "any" every choice between them and mirror images."""
    if orientation != "any":
        return [tuple(frames)]
    return list(itertools.product(*([f, f.mirrored()] for f in frames)))


def check_addresses(D: Population) -> None:
    """Refuse labels with commas that make two cells share an address, such as "b" and "b,1"."""
    cells = [address("", g, c) for g in D.groups for c in D.classes]
    double = sorted({where for where in cells if cells.count(where) > 1})
    if double:
        raise ModelError(
            f"Two cells share the address {double[0]!r}; rename a class or a group.",
            argument="population",
        )


def staying_maps(D: Normal, r: int | None, staying: Sequence[int]) -> dict[int, AffineMap]:
    """Return the maps from the reference to the groups that stay, which must exist."""
    if r is None:
        return {}
    out = {r: AffineMap.identity(D.n_features)}
    U = D.support_basis
    for a in staying:
        if a == r:
            continue
        A, b, residual = common_map(
            D.support_mean[:, r],
            D.support_cov[:, r],
            D.support_mean[:, a],
            D.support_cov[:, a],
        )
        if residual > EQUAL:
            names = [D.groups[r], D.groups[a]]
            raise no_common_map(names, "affine map", f"whitened residual {residual:.3g}")
        out[a] = AffineMap(U @ A @ U.T + np.eye(len(U)) - U @ U.T, U @ b)
    return out


def no_common_map(groups: Sequence[Any], what: str, apart: str) -> InfeasibleError:
    """Return the error about two groups that stay and are not images of each other."""
    first, second = groups
    return InfeasibleError(
        f"Groups {[first, second]} both stay but are not ideal among themselves: no {what} "
        f"carries the cells of {first!r} to those of {second!r} ({apart}; needed is {EQUAL:g}). "
        "Steer all groups but one.",
        argument="steer",
        cell=(None, second),
        details={"conditions": ["class_conditionals"], "groups": [first, second]},
    )
