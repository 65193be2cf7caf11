"""What is said of a fair score, in plain text."""

from __future__ import annotations

import numpy as np

from fairprog.labels import printable
from fairprog.solution.score_solution import ScoreSolution

ADVICE = (
    "ONE common threshold on the released score is fair; Bayes rules group by group are not, "
    "where base rates differ."
)


def score_summary(sol: ScoreSolution) -> str:
    """Return gap, risk, levelling down, lots, price and certificate, line by line."""
    notion, cert = sol.notion, sol.certificate
    costs = "all costs" if sol.settings["costs"] is None else f"{len(sol.settings['costs'])} costs"
    lines = [
        f"Fair score: {notion.name}, worst gap {sol.gap:.4g} over all thresholds "
        f"(bound {notion.difference_bound:g})",
        f"  risk {sol.risk:.6g}, mean over {costs}   ({sol.solver}, {sol.seconds:.2g} s)",
        f"  {'group':20} {'AUC before':>10} {'after':>8} {'drawn at 0.5':>13} {'rank moved':>12}",
    ]
    lots, moved = sol.lot_at(0.5), sol.movement
    for g, (before, after) in sol.auc.items():
        stays = "   stays" if g in sol.settings["staying"] else ""
        lines.append(
            f"  {g!s:20} {before:10.4f} {after:8.4f} {lots[g]:13.4f} {moved[g]:12.4f}{stays}"
        )
    lines.append(f"  {levelling(sol)}")
    lines.append(f"  {ADVICE}")
    lines += [
        f"  price of {name}: {price:.4g} of risk per unit of its bound"
        for name, price in sol.price.items()
    ]
    lines.append(f"  without lots (mean levels) the worst gap would be {sol.mean_gap:.4f}")
    lines.append(
        f"  certificate: {'ok' if cert.ok else 'NOT ok'}; duality gap {cert.duality_gap:.1e}, "
        f"violation {cert.violation:.1e}, rank keeping {cert.rank_keeping:.1e}"
    )
    return printable("\n".join(lines), (*sol.classes, *sol.groups))


def levelling(sol: ScoreSolution) -> str:
    """Return which group exactness costs most, in a sentence."""
    lost = {g: before - after for g, (before, after) in sol.auc.items()}
    worst = max(lost, key=lambda g: lost[g])
    if not lost[worst] > 1e-4:
        return "No group levels down: none is told apart less well than before."
    before, after = sol.auc[worst]
    share = float(np.max(sol.lot[worst]))
    return (
        f"It levels down: {worst} is told apart less well, AUC {before:.3f} -> {after:.3f}, with "
        f"up to {share:.0%} of its decisions randomised."
    )
