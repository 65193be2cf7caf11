"""Solved maps of one steered group, from whichever solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fairprog.kernels.normal import symmetrize
from fairprog.kernels.one_group import closed_form
from fairprog.labels import Array, address
from fairprog.programs.frames import Frame, dual_norms
from fairprog.transports import AffineMap

if TYPE_CHECKING:
    from fairprog.programs.compile import Compiled

__all__ = ["GroupMaps", "closed_form_maps", "read_maps"]


@dataclass(eq=False)
class GroupMaps:
    """Maps of one steered group in whitened coordinates: common, and one per class if relaxed.

    ``multipliers`` are the gradients (N (K, k, k), n (K, k)) of the optimum in the targets of
    the consensus conditions; None means the cell gradients.
    """

    frame: Frame
    S: Array
    beta: Array
    S_cells: Array | None = None
    beta_cells: Array | None = None
    multipliers: tuple[Array, Array] | None = None

    @classmethod
    def from_user(cls, frame: Frame, T: AffineMap) -> GroupMaps:
        """Read (S~, beta) off a map in the user's coordinates."""
        U, inverse = frame.basis, frame.inverse
        A, b = U.T @ T.matrix @ U, U.T @ T.offset
        B = inverse @ A @ frame.C
        if frame.kind == "scalar" and B[0, 0] < 0:
            frame = frame.mirrored()
        S = B @ np.linalg.inv(frame.root)
        beta = inverse @ (b - frame.target_center + A @ frame.center)
        return cls(frame, S if frame.kind == "full" else symmetrize(S), beta)

    @cached_property
    def common(self) -> AffineMap:
        """The common map in the user's coordinates."""
        return self.frame.user_map(self.S, self.beta)

    def cost(self) -> float:
        """Return the group's part of KL at the maps of the cells."""
        if self.S_cells is None or self.beta_cells is None:
            return self.frame.cost(self.S, self.beta)
        return self.frame.cost(self.S_cells, self.beta_cells)

    def gradients(self) -> tuple[Array, Array]:
        """Return the weighted cell gradients at the maps of the cells."""
        if self.S_cells is None or self.beta_cells is None:
            return self.frame.gradients(self.S, self.beta)
        return self.frame.gradients(self.S_cells, self.beta_cells)

    @cached_property
    def totals(self) -> tuple[list[tuple[float, float]], float]:
        """Prices (linear, offset) of every class, and the decrement of the multipliers' sum.

        One pass over the classes: the dual norms, whose sum is the price of consensus, and the
        norm of a sum that vanishes at an optimum.
        """
        if self.multipliers is None and self.S_cells is None:
            pairs = self.frame.class_gradients(self.S, self.beta, self.common)
        else:
            pairs = zip(*self.prices(), strict=True)
        agreed = len(self.frame.w) == 1  # one class always agrees with itself
        if self.frame.kind == "symmetric" and not agreed:
            self.frame.root_spectrum  # noqa: B018 - before the pass, which needs the memory
        N, n = np.zeros_like(self.S), np.zeros_like(self.beta)
        prices = []
        for own_N, own_n in pairs:
            N += own_N
            n += own_n
            prices.append((0.0, 0.0) if agreed else dual_norms(self.frame, own_N, own_n))
        return prices, self.frame.decrement(self.S, N, n)

    def common_decrement(self) -> float:
        """Return the Newton decrement of the cost in the common (S~, beta)."""
        if self.multipliers is None and self.S_cells is None:
            return self.totals[1]
        N, n = self.frame.gradients(self.S, self.beta)
        return self.frame.decrement(self.S, N.sum(axis=0), n.sum(axis=0))

    def class_prices(self, i: int) -> tuple[Array, Array]:
        """Return the multipliers of one class."""
        if self.multipliers is not None or self.S_cells is not None or not self.frame.is_large:
            N, n = self.prices()
            return N[i], n[i]
        one = self.frame.only(i)
        return next(one.class_gradients(self.S, self.beta, self.common))

    def prices(self) -> tuple[Array, Array]:
        """Return the multipliers of the consensus conditions."""
        return self.gradients() if self.multipliers is None else self.multipliers


def closed_form_maps(frame: Frame) -> tuple[Array, Array]:
    """Return (S~, beta) by the closed form, d = 1."""
    m, s = frame.m[:, 0], np.sqrt(frame.Gamma[:, 0, 0])
    mu, sigma = frame.mu[:, 0], np.sqrt(frame.Sigma[:, 0, 0])
    if frame.kind == "fixed":
        u = frame.w / sigma**2
        return np.eye(1), np.array([u @ (mu - m) / u.sum()])
    gamma, b = closed_form(frame.w, m, s, mu, sigma, mirror=frame.sign < 0)
    return np.array([[abs(gamma)]]), np.array([b])


def read_maps(compiled: Compiled) -> list[GroupMaps]:
    """Return the groups' maps, one per class, with the multipliers of the consensus."""
    out = []
    for cell in compiled.cells:
        S, beta = cell.value(cell.theta, cell.beta)
        own = [cell.value(t, b) for t, b in zip(cell.thetas, cell.betas, strict=True)]
        k = len(cell.frame.root)
        N, n = [], []
        for c in compiled.classes:
            where = address("linear", str(cell.frame.group), c)
            dual = compiled.consensus[where].dual_value if where in compiled.consensus else None
            N.append(np.zeros((k, k)) if dual is None else -np.tensordot(dual, cell.basis, 1))
            n.append(-compiled.consensus[address("offset", str(cell.frame.group), c)].dual_value)
        out.append(
            GroupMaps(
                cell.frame,
                S,
                beta,
                np.stack([s for s, _ in own]),
                np.stack([b for _, b in own]),
                (np.stack(N), np.stack(n)),
            )
        )
    return out
