"""What a normal population's scales and null directions rule out before anything is solved."""

from __future__ import annotations

import numpy as np

from fairprog.errors import ModelError
from fairprog.populations import Normal
from fairprog.programs.geometries.frame import make_frame
from fairprog.transports import Affine, Transport, Whitened

LIMIT = 1e8  # of the condition of R~: conjugate gradients reach it, and not 1e10
DESCENT_LIMIT = 3e5  # the same where all groups descend: proven at 2e5, not at 2e6
BALANCED_LIMIT = 1e25  # the same where R~ is diagonal: reached to 15 digits at 1e24
APART = {Affine: 1e15, Whitened: 1e7}  # of the features' scales, as far as maps can be computed


def check_diagonal(D: Normal, transport: Transport) -> None:
    """Refuse diagonal maps where a null direction mixes features."""
    mixed = np.flatnonzero((np.abs(D.support_basis) > 1e-8).sum(axis=1) > 1)
    if mixed.size:
        raise ModelError(
            f"{transport!r} cannot keep the linear dependence among features "
            f"{mixed.tolist()}; drop one of them or use Monotone().",
            argument="transport",
        )


def check_scales(D: Normal, transport: Transport, everyone: bool) -> None:
    """Refuse metrics in whose units the features differ by more than can be resolved.

    `everyone`: whether all groups are steered.
    """
    most = APART.get(type(transport))
    if most is not None and (apart := _apart(D)) > most:
        raise ModelError(
            f"The standard deviations of the features differ by a factor of up to {apart:.3g}: "
            f"{transport!r} cannot be computed so far apart. Standardise the columns.",
            argument="transport",
            details={"scales": apart},
        )
    if not transport.depends_on_units:
        return
    cells = D.support_mean[:, 0], D.support_cov_of(0)
    frame = make_frame(D, transport, 0, D.prior[:, 0], cells)
    limit = DESCENT_LIMIT if everyone else LIMIT
    if frame.is_balanced and not isinstance(transport, Whitened):  # its R is a root of a cell's
        limit = BALANCED_LIMIT
    condition = frame.root_condition
    if condition <= limit:
        return
    apart = _apart(D)
    raise ModelError(
        f"`transport` {transport!r:.60} depends on the units of the features, whose standard "
        f"deviations differ by a factor of up to {apart:.3g}: the pooled "
        f"covariance in this metric has condition number {condition:.3g}, and {limit:.0e} is as "
        f"far as answers in {frame.size} dimensions can be proven. Standardise the columns, or "
        "use Monotone(), which does not depend on units.",
        argument="transport",
        details={"condition": condition, "scales": apart},
    )


def _apart(D: Normal) -> float:
    """Return by what factor the standard deviations of the features differ."""
    units = np.sqrt(np.diagonal(D.pooled_cov))
    return float(units.max() / units.min())
