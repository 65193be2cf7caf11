"""What a normal population's scales and null directions rule out before anything is solved."""

from __future__ import annotations

import numpy as np

from fairprog.errors import ModelError
from fairprog.populations import Normal
from fairprog.programs.geometries.frame import make_frame
from fairprog.transports import Transport

LIMIT = 1e8  # of the condition of R~: conjugate gradients reach it, and not 1e10
DESCENT_LIMIT = 3e5  # the same where all groups descend: proven at 2e5, not at 2e6
BALANCED_LIMIT = 1e25  # the same where R~ is diagonal: reached to 15 digits at 1e24


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
    if not transport.depends_on_units:
        return
    cells = D.support_mean[:, 0], D.support_cov_of(0)
    frame = make_frame(D, transport, 0, D.prior[:, 0], cells)
    limit = BALANCED_LIMIT if frame.is_balanced else DESCENT_LIMIT if everyone else LIMIT
    condition = frame.root_condition
    if condition <= limit:
        return
    units = np.sqrt(np.diagonal(D.pooled_cov))
    raise ModelError(
        f"`transport` {transport!r:.60} depends on the units of the features, whose standard "
        f"deviations differ by a factor of up to {units.max() / units.min():.3g}: the pooled "
        f"covariance in this metric has condition number {condition:.3g}, and {limit:.0e} is as "
        f"far as answers in {frame.size} dimensions can be proven. Standardise the columns, or "
        "use Monotone(), which does not depend on units.",
        argument="transport",
        details={"condition": condition, "scales": float(units.max() / units.min())},
    )
