"""`FairClassifier` under a KL penalty and linear templates: a tilt of the reference."""

from __future__ import annotations

import time

import numpy as np

from fairprog.kernels.atoms.tilt import tilt
from fairprog.labels import Array
from fairprog.programs.classifier.question import ClassifierQuestion
from fairprog.solution.classifier import RandomizedClassifier
from fairprog.solution.classifier_solution import (
    ClassifierCertificate,
    ClassifierSolution,
)
from fairprog.tables import Divergence, ErrorRate, Risk, WeightedRisk
from fairprog.tables.rate_rows import CellView, NotLinear, rate_rows

ZERO = 1e-9  # prices below this are rounding
FEATURES = 5e7  # numbers in the largest array that is formed


def solve_by_tilting(question: ClassifierQuestion, started: float) -> ClassifierSolution | None:
    """Return the proven solution, or None where a solver must decide."""
    D, constraints = question.population, question.constraints
    s, K, parts = D.support, D.n_classes, _parts(question.risk, D.classes)
    if parts is None or question.free is not None:
        return None
    try:
        rows = rate_rows(
            D.prior.T, D.classes, D.groups, ErrorRate(), list(constraints.values()),
            D.attributes, CellView,
        )  # fmt: skip
    except NotLinear:
        return None
    r, n = len(rows.A), len(s.atom) if question.uses_group else D.n_atoms
    if n * K * max(r, 1) > FEATURES:
        return None
    penalty, beta, C = parts
    unit = np.arange(n) if question.uses_group else s.atom
    weight = np.asarray(np.bincount(unit, s.weight, n), dtype=float)
    share, atom = s.weight / weight[unit], s.atom.astype(np.intp)

    def by_unit(values: Array) -> Array:
        out = np.zeros((n, *values.shape[1:]))
        np.add.at(out, unit, (values.T * share).T)
        return out

    cells = D.n_groups * K * K
    Z, B = rows.A[:, :cells].reshape(r, D.n_groups, K, K), rows.A[:, cells:]
    features = by_unit(np.einsum("mi,rmij->mjr", s.posterior, Z[:, s.group], optimize=True))
    cost, log_pi = by_unit(s.posterior @ C), by_unit(np.log(penalty.rows(atom, K)))
    laws, y, reached = tilt(log_pi, cost, weight, features, B, rows.low, rows.high, beta)
    y = np.where(np.isinf(rows.low), np.maximum(y, 0.0), y)
    y = np.where(np.isinf(rows.high), np.minimum(y, 0.0), y)
    table = D.table(laws[unit])
    levels = np.linalg.lstsq(B, reached - rows.A[:, :cells] @ table.Z.ravel(), rcond=None)[0]
    v = np.concatenate([table.Z.ravel(), levels])
    reached = rows.A @ v
    outside = np.maximum(reached - rows.high, rows.low - reached)
    binds = np.where(y > 0, rows.high, np.where(y < 0, rows.low, 0.0))
    z = log_pi - (cost + features @ y) / beta
    dual = float(-beta * weight @ np.log(np.exp(z).sum(axis=1)) - y @ binds)
    risk = question.risk.evaluate(table)
    certificate = ClassifierCertificate(
        violation=max([0.0, *(t.violation(table) for t in constraints.values())]),
        risk_gap=0.0,
        primal_residual=float(outside.max(initial=0.0)),
        dual_residual=float(np.abs(B.T @ y).max(initial=0.0)),
        slackness=float(np.abs(np.where(y == 0.0, 0.0, y * (reached - binds))).max(initial=0.0)),
        duality_gap=abs(risk - dual) / max(1.0, abs(risk)),
    )
    if not certificate.ok:
        return None
    per = np.abs(y) * rows.price_weight(v) / rows.units
    sums = np.bincount(rows.owner.astype(int), per, len(constraints))
    price = {
        key: float(p * (p > ZERO))
        for (key, c), p in zip(constraints.items(), sums, strict=True)
        if c.bound is not None
    }
    own = y / rows.units
    two_sided = np.isfinite(rows.low) & np.isfinite(rows.high) & (rows.low < rows.high)
    duals = np.where(two_sided, np.abs(own), own)
    ruled = question.uses_group or not D.group_known
    costs = C + np.einsum("r,raij->aij", y, Z) if ruled else None
    return ClassifierSolution(
        risk=risk,
        table=table,
        classifier=RandomizedClassifier(D, laws[unit], question.uses_group, costs, beta),
        price=price,
        price_interval={},
        duals={w: np.array(d) for w, d in zip(rows.addresses, duals, strict=True)},
        sensitivity={w: np.array(-d) for w, d in zip(rows.addresses, own, strict=True)},
        certificate=certificate,
        settings=question.settings(),
        solver="tilt",
        seconds=time.perf_counter() - started,
    )


def _parts(risk: Risk, classes: tuple[object, ...]) -> tuple[Divergence, float, Array] | None:
    """Return the one KL penalty, its weight, and the cost matrix of the rest, if it is such."""
    pairs = [(1.0, risk)]
    if isinstance(risk, WeightedRisk):
        pairs = list(zip(risk.weights, risk.risks, strict=True))
    far = [(w, part) for w, part in pairs if isinstance(part, Divergence)]
    rest = [(w, part) for w, part in pairs if not isinstance(part, Divergence)]
    if len(far) != 1 or far[0][0] <= 0 or far[0][1].kind != "kl":
        return None
    if not all(part.is_expected_cost for _, part in rest):
        return None
    K = len(classes)
    C = sum((w * part.matrix(classes) for w, part in rest), start=np.zeros((K, K)))
    return far[0][1], far[0][0], C
