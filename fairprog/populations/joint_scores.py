"""Scores of label and group together, P(Y=i, A=a | x): what is known where the group is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError
from fairprog.labels import Array, check_finite
from fairprog.populations.support import Support


def check_joint(proba: ArrayLike) -> Array:
    """Return laws of (Y, A) per row, shape (n, K, G), summing to one.

    Raises
    ------
    DataError
        For NaN, negative entries (beyond 1e-9) or rows that do not sum to one (to 1e-6).
    """
    joint = check_finite(proba, "proba", rows=True)
    total = joint.sum(axis=(1, 2)) if joint.ndim == 3 else np.zeros(0)
    if not len(total) or joint.min() < -1e-9:
        raise DataError(
            "`proba` of label and group must have shape (n, K, G) and be nonnegative; its shape "
            f"is {joint.shape}, its smallest entry {joint.min(initial=np.inf):.6g}.",
            argument="proba",
        )
    worst = int(np.argmax(np.abs(total - 1.0)))
    if abs(total[worst] - 1.0) > 1e-6:
        raise DataError(
            "`proba[n]` must sum to one over labels and groups; row "
            f"{worst} sums to {total[worst]:.9g}.",
            argument="proba",
        )
    return np.clip(joint, 0.0, None) / total[:, None, None]


def joint_support(joint: Array, weight: Array) -> Support:
    """Return the support of rows with weights: every row an atom, in every group it may be of."""
    mass = weight[:, None] * joint.sum(axis=1)
    atom, group = np.nonzero(mass > 0)
    pairs = mass[atom, group]
    posterior = joint[atom, :, group] * (weight[atom] / pairs)[:, None]
    score = posterior[:, 1].copy() if joint.shape[1] == 2 else posterior
    return Support(atom, group, pairs, score)
