"""Target base rates: fixed before the maps, so that every weight of the program is a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fairprog.errors import DataError, InfeasibleError, ModelError
from fairprog.labels import Array, check_finite
from fairprog.populations import Population

EQUAL = 1e-6


def steered_prior(D: Population, stay: Sequence[int], base_rates: str | ArrayLike) -> Array:
    """Return the prior of the steered population, shape (K, G); group masses are kept.

    ``"equalize"`` gives every group the base rates of the groups that stay, or without any the
    KL-nearest common rate rho(i) proportional to exp(sum_a p_a log rho_a(i)); ``"keep"`` changes
    nothing; a vector is that rate; ``"joint"`` begins as "equalize" (no group may stay).

    Source: theory.md section 3.

    Raises
    ------
    ModelError
        For another word.
    DataError
        For a vector that is not a positive law on the classes.
    InfeasibleError
        If groups that stay have base rates that differ, or differ from the vector.
    """
    rates, mass = D.base_rates, D.group_mass
    if isinstance(base_rates, str):
        if base_rates == "keep":
            return D.prior
        if base_rates == "joint":
            if stay:
                names = [D.groups[a] for a in stay]
                raise ModelError(
                    f"base_rates='joint' needs steer='all': groups {names} stay with the base "
                    "rates they have, which an ideal population has in every group, so there is "
                    "nothing to choose. Use base_rates='equalize'.",
                    argument="base_rates",
                )
            base_rates = "equalize"  # where the search begins
        if base_rates != "equalize":
            raise ModelError(
                f"`base_rates` must be 'equalize', 'keep', 'joint' or a vector; found "
                f"{base_rates!r}.",
                argument="base_rates",
            )
        if stay:
            rho = rates[:, stay[0]]
            _check_stay(D, stay, rho, "equal to each other")
        else:
            log_rho = np.log(rates) @ mass
            rho = np.exp(log_rho - log_rho.max())
            rho = rho / rho.sum()
            if np.ptp(rates, axis=1).max() < 1e-12:  # equal rates stay as they are, to the bit
                return D.prior
    else:
        rho = check_finite(base_rates, "base_rates", (D.n_classes,))
        if np.any(rho <= 0) or abs(rho.sum() - 1.0) > 1e-8:
            raise DataError(
                f"`base_rates` must be positive and sum to one; found {rho.tolist()}.",
                argument="base_rates",
            )
        rho = rho / rho.sum()
        _check_stay(D, stay, rho, "equal to the requested ones")
    prior = rho[:, None] * mass[None, :]
    for a in stay:  # stays exactly as it is
        prior[:, a] = D.prior[:, a]
    return prior


def _check_stay(D: Population, stay: Sequence[int], rho: Array, needed: str) -> None:
    off = np.abs(D.base_rates[:, list(stay)] - rho[:, None]).max(axis=0)
    if off.size and off.max() > EQUAL:
        worst = D.groups[stay[int(np.argmax(off))]]
        names = [D.groups[a] for a in stay]
        raise InfeasibleError(
            f"Groups {names} stay as they are, so their base rates must be {needed}; those of "
            f"group {worst!r} are off by {off.max():.3g}. Steer all groups but one, or choose "
            "base_rates='keep' to make only the class conditionals fair.",
            argument="steer",
            cell=(None, worst),
            details={"conditions": ["base_rates"], "groups": names},
        )


def base_rate_residual(
    before: Population,
    after: Population,
    groups: Sequence[int],
    reference: int | None,
    base_rates: str | ArrayLike,
) -> float:
    """Return how far the base rates of some groups are from those they must have.

    Those of before with "keep", else those of the reference (of the first group without one).
    """
    rates = after.base_rates
    keep = isinstance(base_rates, str) and base_rates == "keep"
    target = before.base_rates if keep else rates[:, [reference or 0]]
    off = np.abs(rates - target)[:, list(groups)]
    return float(off.max(initial=0.0))
