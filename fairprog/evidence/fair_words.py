"""What the nearest fair population says, in plain text and in sentences."""

from __future__ import annotations

import numpy as np

from fairprog.labels import Array, printable
from fairprog.solution.nearest_fair import NearestFairSolution

MOST = 6  # thresholds and conditions that are listed
MOVES = {
    "both": "labels and masses move",
    "labels": "labels move, rows stay",
    "masses": "masses move, posteriors stay",
}


def fair_headline(sol: NearestFairSolution) -> str:
    """Return in one line what the population is fair for, and what moved."""
    asked, steer = sol.settings, sol.settings["steer"]
    if asked["rule"]:
        at = "under the given rule"
    elif asked["cost"] is not None:
        at = "for the given costs"
    elif asked["threshold_range"] is not None:
        at = "at every threshold from {:g} to {:g}".format(*asked["threshold_range"])
    elif asked["thresholds"] == "all":
        at = "at every threshold"
    else:
        shown = ", ".join(f"{t:g}" for t in asked["thresholds"][:MOST])
        at = f"at threshold{'s' * (len(asked['thresholds']) > 1)} {shown}"
    who = "all groups" if steer == "all" else ", ".join(map(str, steer))
    return f"Nearest population, of any family, fair ({asked['notion'].name}) {at}: {who} moved"


def rates_by_rule(sol: NearestFairSolution) -> tuple[list[float], Array, Array]:
    """Return thresholds, and shares above them before and after by group, (T, G) each."""
    given = sol.settings["thresholds"]
    if given == "all" or not given:
        low, high = sol.settings["threshold_range"] or (0.0, 1.0)
        given = low + (high - low) * np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    out = []
    for D in (sol.original, sol.population):
        s = D.support
        above = [np.bincount(s.group, s.weight * (s.score > t), D.n_groups) for t in given]
        out.append(np.array(above) / D.group_mass)
    return [float(t) for t in given], out[0], out[1]


def fair_summary(sol: NearestFairSolution) -> str:
    """Return divergence, rates, prices and certificate in plain text."""
    D, cert = sol.original, sol.certificate
    lines = [
        fair_headline(sol),
        "",
        f"  KL divergence            {sol.kl:.6g} nats   ({sol.solver}, {sol.seconds:.2g} s)",
        f"  {MOVES[sol.settings['move']]}; {sol.settings['base_rates']} base rates",
    ]
    plain = D.n_classes == 2 and not sol.settings["rule"] and sol.settings["cost"] is None
    if plain and sol.settings["uses_group"]:
        thresholds, before, after = rates_by_rule(sol)
        for t, b, a in list(zip(thresholds, before, after, strict=True))[:MOST]:
            said = ", ".join(
                f"{g} {x:.3f} -> {y:.3f}" for g, x, y in zip(D.groups, b, a, strict=True)
            )
            lines.append(f"  above {t:<5g} {said}")
    for name, price in sol.price.items():
        lines.append(f"  price of {name:20} {price:.4f}   nats per unit of its bound")
    ranked = sorted(sol.sensitivity.items(), key=lambda item: -float(np.abs(item[1]).max()))
    for where, value in ranked[:MOST]:
        lines.append(f"    {where:32} {float(np.ravel(value)[0]):+.4f}")
    lines += ["", *(f"  {line}" for line in certificate_lines(sol))]
    lines[-1] += f" (margin {cert.margin:g})"
    return printable("\n".join(lines), (*D.classes, *D.groups))


def certificate_lines(sol: NearestFairSolution) -> list[str]:
    """Return what proves the answer."""
    cert = sol.certificate
    lines = [
        f"certificate: {'ok' if cert.ok else 'NOT ok'}, nearest of all populations with these "
        "group masses",
        f"lower bound {cert.dual_value:.6g}, gap {cert.duality_gap:.1e}; with no margin "
        f"{cert.lower_bound:.6g}",
        f"Bayes rules of the population miss the notion by {cert.fairness_violation:.1e}",
    ]
    if cert.grid:
        lines[1] = (
            f"lower bound {cert.lower_bound:.6g}, of all thresholds; a grid stands for them, its "
            f"gap {cert.duality_gap:.1e}"
        )
    return lines
