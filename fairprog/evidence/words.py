"""What a solution says, in sentences: its certificate, its bounds, and what to read first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from fairprog.evidence.held_out import GapCurve
from fairprog.evidence.movement import Movement
from fairprog.kernels.statistics.sample_size import rows_for_gap
from fairprog.populations import Categorical, Evaluation
from fairprog.solution import Solution
from fairprog.solution.certificate import Certificate, Checked
from fairprog.tables import DemographicParity, EqualizedOdds, EqualOpportunity
from fairprog.transports import PiecewiseLinearMap

GREW = 0.01  # of a gap on rows: more is said
SCOPE = "in this family and class of maps"


def headline(sol: Solution) -> str:
    """Return in one line what the population is and how it was reached."""
    steered, bound = sol.settings["steer"], sol.settings["map_bound"]
    who = "all groups" if steered == "all" else ", ".join(map(str, steered))
    what = "Nearest ideal population"
    if sol.settings["base_rates"] == "keep" and not sol.population.is_ideal():
        what = "Nearest population with ideal class conditionals, base rates kept"
    if bound:
        what = f"Nearest population within map_bound = {bound:g} of ideal"
    how = f"steered by {sol.settings['transport']!r}" if sol.moves_rows else "reweighted"
    return f"{what}: {who} {how}"


def conditions_words(sol: Solution) -> str:
    """Return what the conditions are whose sensitivities are reported, and in which units."""
    if not sol.moves_rows:
        return (
            "The conditions are those asked for; a map_bound bounds the total variation between "
            "the law of a cell and the common one of its class."
        )
    bent = any(isinstance(T, PiecewiseLinearMap) for T in sol.affine.values())
    parts = "the values at the knots and the outer slopes" if bent else "linear parts and offsets"
    said = f"The conditions say that the classes of a group move by one map: {parts} agree."
    where = sol.original.coordinate
    return said if where == "x" else f"{said} Maps act on {where}: units are those of {where}."


def costly_conditions(sol: Solution, most: int = 4) -> tuple[str, list[tuple[str, float]]]:
    """Return a title and figures by condition: the largest parts of the price of consensus.

    These have no units of features, so they can be ranked. Where there are none the first norms
    of sensitivities are returned, which cannot.
    """
    if sol.price_by_condition:
        ranked = sorted(  # parts that differ by rounding only stay in the order of addresses
            sol.price_by_condition.items(), key=lambda item: (-float(f"{item[1]:.6g}"), item[0])
        )
        return "most costly conditions (parts of the price of consensus)", ranked[:most]
    first = [(where, float(np.linalg.norm(v))) for where, v in sol.sensitivity.items()][:most]
    return "sensitivities (norms, in your units; not ranked)", first


def certificate_words(certificate: Certificate) -> list[str]:
    """Return what the certificate says.

    Examples
    --------
    >>> import fairprog as fp
    >>> from fairprog.evidence.words import certificate_words
    >>> D = fp.Normal([[.3, .2], [.3, .2]], [[0., 1.], [2., 2.]], std=[[1., 1.], [1., 2.]])
    >>> certificate_words(fp.NearestIdeal(D, steer=[1]).solve().certificate)[0]
    'The answer is verified: every residual is within its tolerance.'
    """
    said = [verified_words(certificate)]
    said.append(
        "It is a global optimum in this family and class of maps: the program is convex, or all "
        "its stationary points were found."
        if certificate.globally_optimal
        else "It is a local optimum, the best of several starts: a nearer ideal population may "
        "exist."
    )
    said.append(
        "Residuals are computed from the answer itself, not taken from a solver: how far it is "
        "from stationary (KKT), how far its cells are from common laws moved by one map per group "
        "(ideality), how far the groups that stay are from ideal among themselves, and how far "
        "conditions are violated."
    )
    if certificate.conic_gap is not None:
        said.append("A conic solver solved the same program; its answer is compared as well.")
    if not certificate.requires_ideality:
        said.append(
            "With a map_bound the population is not meant to be ideal: its ideality residual is "
            f"{certificate.ideality_residual:.3g}."
        )
    return said


def verified_words(certificate: Checked) -> str:
    """Return whether an answer of any kind is verified, and which residuals are too large."""
    failed = [(n, v, t) for n, v, t in certificate.checks() if not v <= t]
    if not failed:
        return "The answer is verified: every residual is within its tolerance."
    parts = [f"{n.replace('_', ' ')} is {v:.2g}, allowed is {t:.2g}" for n, v, t in failed]
    return f"The answer is NOT verified: {'; '.join(parts)}."


def scope_words(certificate: Certificate, local: str = "LOCAL optimum") -> str:
    """Return what the answer is the optimum of."""
    return f"global optimum {SCOPE}" if certificate.globally_optimal else local


def family_free_words(sol: Solution) -> list[str]:
    """Return how near any ideal population could be, where that was computed."""
    bound = sol.best_known_bound
    if bound is None:
        return []
    said = f"No ideal population whatever is nearer than {bound:.4f} nats"
    if bound <= 0:
        return [f"{said}."]
    return [f"{said}:", f"this one is at most {sol.kl / bound:.1f} times as far."]


def bounds_words(sol: Solution) -> list[str]:
    """Return what fairness on the steered population guarantees on the original one."""
    bounds = sol.bounds
    gap, risk = bounds.equal_opportunity(), bounds.risk()
    if sol.settings["map_bound"]:
        return [
            "With a map_bound the steered population is not ideal, so that no classifier is fair "
            "on it to begin with; the figure says how far each rate of any classifier can differ "
            "between the two populations."
        ]
    said = [
        "A classifier that is fair on the steered population is nearly fair on the original one: "
        "each rate P(prediction | class, group) of any classifier differs between the two by at "
        "most the length of its bar."
    ]
    positive = sol.original.classes[-1]
    said.append(
        f"An equal opportunity gap (class {positive}) of at most {gap:.4f} on the original "
        "population follows."
        if gap < 1
        else f"For the equal opportunity gap (class {positive}) nothing follows: the populations "
        "are too far apart."
    )
    said.append(
        f"Its error rate differs by at most {risk:.4f}."
        if risk < 1
        else "For its error rate nothing follows."
    )
    return said


def settings_rows(sol: Solution) -> list[tuple[str, str]]:
    """Return the program and the size of the population as (name, value)."""
    D, s = sol.original, sol.settings
    steer = s["steer"] if s["steer"] == "all" else ", ".join(map(str, s["steer"]))
    rows = [
        ("population", _family(D)),
        ("classes", ", ".join(map(str, D.classes))),
        ("groups", ", ".join(map(str, D.groups))),
        ("steer", steer),
    ]
    for name, value in s.items():
        if name == "steer":
            continue
        if name == "constraints":
            text = ", ".join(c if isinstance(c, str) else c.name for c in value) or "none"
        elif name == "reference" and value is None:
            text = "none"
        else:
            text = value if isinstance(value, str) else _plain(value)
        rows.append((name, text))
    return [*rows, ("solver", sol.solver), ("seconds", f"{sol.seconds:.2g}")]


def _family(D: Any) -> str:
    """Return the family and the size of a population."""
    name = type(D.core).__name__
    if D.core is not D:
        name += f" seen as {D.coordinate}" + f" ({D.bijection!r})" * ("g(" in D.coordinate)
    size = f"{D.n_atoms} atoms" if isinstance(D, Categorical) else f"{D.n_features} feature(s)"
    return f"{name}, {size}"


def grown_gaps(before: Evaluation, after: Evaluation) -> list[str]:
    """Return a sentence where the 0-1 rule is less fair after steering than before, or nothing.

    On ideal populations it never is; with a ``map_bound`` or base rates kept it may be.
    """
    notions = {
        "equal opportunity": EqualOpportunity(),
        "demographic parity": DemographicParity(),
        "equalized odds": EqualizedOdds(),
    }
    error = 4.0 * max(before.standard_error, after.standard_error)
    grown = [
        f"{name} {before.gap(notion):.3f} to {after.gap(notion):.3f}"
        for name, notion in notions.items()
        if after.gap(notion) > before.gap(notion) + max(error, 1e-6)
    ]
    return [f"Some gaps of the 0-1 rule GREW: {'; '.join(grown)}."] if grown else []


def unlike_rows(bayes: float, real: float | None) -> list[str]:
    """Return a sentence where a model's error on rows is far from what the population says."""
    if real is None or abs(real - bayes) <= max(0.03, 0.5 * real):
        return []
    return [
        f"The fitted population is not like the rows: its Bayes error is {bayes:.4f}, a model's "
        f"error on rows held out is {real:.4f}. What is said below of populations, gaps and costs "
        "among it, need not hold for the rows: go by the figures held out."
    ]


def _plain(value: object) -> str:
    if isinstance(value, np.ndarray):
        return ", ".join(f"{v:.6g}" for v in value.ravel())
    return f"{value:g}" if isinstance(value, float) else str(value)


def warnings_of(
    sol: Solution,
    movement: Movement | None = None,
    curves: Sequence[GapCurve] = (),
    ranks: Mapping[Hashable, float] | None = None,
    one_of_many: bool = False,
) -> list[str]:
    """Return what a reader has to know first, in sentences; empty where nothing is.

    Parameters
    ----------
    sol : Solution
    movement : Movement, optional
    curves : sequence of GapCurve
        The first score of each is the one before.
    ranks : mapping of group to float, optional
        Rank correlation of the score before and after.
    one_of_many : bool
        Whether the curves are those of one split of several, which judge whether gaps grew.
    """
    return [
        *_of_the_answer(sol),
        *_of_the_maps(movement),
        *_of_the_scores(ranks or {}),
        *([] if one_of_many else _grown_on_rows(curves)),
        *_few_rows(curves),
    ]


def _of_the_answer(sol: Solution) -> list[str]:
    said = []
    if not sol.certificate.ok:
        said.append(certificate_words(sol.certificate)[0])
    if not sol.certificate.globally_optimal:
        said.append(certificate_words(sol.certificate)[1])
    change = np.abs(sol.population.base_rates - sol.original.base_rates)
    apart = float(np.ptp(sol.population.base_rates, axis=1).max())
    if change.max() > 1e-9:
        i, a = (int(k) for k in np.unravel_index(int(change.argmax()), change.shape))
        said.append(
            f"Base rates change, most that of class {sol.original.classes[i]} in group "
            f"{sol.original.groups[a]}: {sol.original.base_rates[i, a]:.3f} to "
            f"{sol.population.base_rates[i, a]:.3f}."
            + (
                " No map of features can do that; it takes the weights of sample_weight()."
                if sol.moves_rows
                else ""
            )
        )
    if apart > 1e-9:
        said.append(
            f"Base rates were kept and differ between groups (by up to {apart:.3f}): the "
            "population is not ideal. Classifiers "
            + ("in common coordinates" if sol.moves_rows else "that are blind to the group")
            + " have equal true and false positive rates on it, but group-aware Bayes rules and "
            "demographic parity still differ."
        )
    if sol.settings["map_bound"]:
        said.append(
            f"A map_bound of {sol.settings['map_bound']:g} was allowed: the population is near to "
            "ideal, not ideal."
        )
    if sol.moves_rows and sol.bounds.equal_opportunity() > 0.1:
        said.append(
            "Aligning rows as they are, without labels, is exact on rows of the steered "
            "population only. The populations are far enough apart that the bound on the equal "
            f"opportunity gap is {min(sol.bounds.equal_opportunity(), 1.0):.2f}: go by held-out "
            "gaps."
        )
    if sol.null_dimension:
        said.append(
            f"{sol.null_dimension} direction(s) in which no cell varies were set aside; the maps "
            "leave them alone."
        )
    return said


def _of_the_maps(movement: Movement | None) -> list[str]:
    if movement is None:
        return []
    said = []
    for a, group in enumerate(movement.groups):
        rank = movement.rank[a]
        low = [j for j in range(rank.size) if rank[j] < 0.99]
        if low and rank.max() < -0.99:
            said.append(f"Group {group} is mirrored: the order of people in it is reversed.")
        elif low:
            worst = min(low, key=lambda j: rank[j])
            said.append(
                f"Within group {group} ranks are not kept in {len(low)} feature(s), least in "
                f"{movement.features[worst]} (rank correlation {rank[worst]:.2f}; "
                "ties that are broken count)."
            )
    rms = np.nan_to_num(movement.rms)
    if rms.max() > 1.0:
        i, a = (int(k) for k in np.unravel_index(int(rms.argmax()), rms.shape))
        said.append(
            f"Rows of class {movement.classes[i]}, group {movement.groups[a]} move by "
            f"{rms[i, a]:.2f} pooled standard deviations"
            + ("" if movement.coordinate == "x" else f" of {movement.coordinate}")
            + " (root mean square)."
        )
    return said


def _of_the_scores(ranks: Mapping[Hashable, float]) -> list[str]:
    low = [f"{group} ({r:.2f})" for group, r in ranks.items() if r < 0.95]
    if not low:
        return []
    return [
        "The score orders people of the same group differently than before; rank correlation by "
        f"group: {', '.join(low)}."
    ]


def _grown_on_rows(curves: Sequence[GapCurve]) -> list[str]:
    said = []
    for curve in curves:
        first, *others = curve.worst
        for name in others:
            before, after = curve.worst[first], curve.worst[name]
            if after > before + GREW:
                said.append(
                    f"The gap at the worst threshold GREW ({curve.title}): {before:.3f} "
                    f"{first}, {after:.3f} {name}, each within {curve.half_width:.3f}."
                )
    return said


def _few_rows(curves: Sequence[GapCurve]) -> list[str]:
    widest = max(curves, key=lambda c: c.half_width, default=None)
    if widest is None or widest.half_width <= 0.15:
        return []
    return [
        f"There are few rows: gaps are known to within {widest.half_width:.2f} only "
        f"({widest.title}: {', '.join(str(n) for n in widest.counts)} rows by group); to see a "
        f"gap of 0.1 each cell needs {rows_for_gap(0.1, 0.95, 0.8)}."
    ]
