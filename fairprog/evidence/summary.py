"""A solution in plain text."""

from __future__ import annotations

from fairprog.evidence.words import (
    costly_conditions,
    family_free_words,
    headline,
    scope_words,
)
from fairprog.labels import printable
from fairprog.solution import Solution
from fairprog.tables import DemographicParity, EqualOpportunity

WIDTH = 88


def summary_text(sol: Solution) -> str:
    """Return divergence, gaps, prices, bounds and certificate, at most 88 columns wide."""
    parts = [headline(sol), _before_and_after(sol), _prices(sol), _bounds(sol), _certificate(sol)]
    parts += [] if sol.inferred is None else ["  " + str(sol.inferred).replace("\n", "\n  ")]
    D = sol.original
    names = (*D.classes, *D.groups, *(D.feature_names or ()))
    lines = printable("\n\n".join(part for part in parts if part), names).split("\n")
    return "\n".join(x if len(x) <= WIDTH else x[: WIDTH - 4] + " ..." for x in lines)


def _before_and_after(sol: Solution) -> str:
    """Return error and gaps of the Bayes rules; with base rates kept these still differ."""
    before, after = (P.evaluate(n_samples=2**12) for P in (sol.original, sol.population))
    positive = sol.original.classes[-1]
    lines = [
        f"  {'KL divergence':24} {sol.kl:.6g} nats   ({sol.solver}, {sol.seconds:.2g} s)",
        f"  {'':24} {'before':>10} {'after':>10}",
        f"  {'Bayes error':24} {before.error:10.4f} {after.error:10.4f}",
    ]
    for name, notion, note in (
        ("demographic parity gap", DemographicParity(), ""),
        ("equal opportunity gap", EqualOpportunity(), f"   of class {positive}"),
    ):
        lines.append(f"  {name:24} {before.gap(notion):10.4f} {after.gap(notion):10.4f}{note}")
    error = max(before.standard_error, after.standard_error)
    if error > 0:
        lines.append(f"  (sampled: rates have a standard error of up to {error:.4f})")
    return "\n".join(lines)


def _prices(sol: Solution) -> str:
    lines = []
    for name, price in sol.price.items():
        unit = "map_bound" if name == "consensus" else "its bound"
        lines.append(f"  price of {name:15} {price:10.4f}   nats of KL per unit of {unit}")
    title, top = costly_conditions(sol)
    if any(cost > 1e-9 for _, cost in top):
        lines.append(f"  {title}")
        width = max(22, *(len(where) for where, _ in top))
        lines += [f"    {where:{width}} {cost:10.4f}" for where, cost in top]
    return "\n".join(lines)


def _bounds(sol: Solution) -> str:
    """Return what holds on the original population, where it says anything."""
    gap, risk = sol.bounds.equal_opportunity(), sol.bounds.risk()
    lines = []
    if gap < 1:
        lines.append(f"    an equal opportunity gap of at most  {gap:.4f}")
    if risk < 1:
        lines.append(f"    an error rate that differs by at most {risk:.4f}")
    if not lines or sol.settings["map_bound"]:
        return ""
    title = "  A classifier that is fair on the steered population has, on the original one,"
    return "\n".join([title, *lines])


def _certificate(sol: Solution) -> str:
    cert = sol.certificate
    lines = [
        f"  certificate: {'ok' if cert.ok else 'NOT ok'}, {scope_words(cert)}",
        f"    KKT residual {cert.kkt_residual:.1e}, "
        f"ideality residual {cert.ideality_residual:.1e}",
    ]
    if cert.conic_gap is not None:
        lines[-1] += f", conic against exact {cert.conic_gap:.1e}"
    lines += [f"  {said}" for said in family_free_words(sol)]
    if sol.null_dimension:
        lines.append(f"  {sol.null_dimension} null direction(s) were set aside.")
    return "\n".join(lines)
