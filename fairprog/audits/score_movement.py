"""What a score tells about the group, and how far steering moved whose scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri

from fairprog.audits.audit_rows import AuditRows
from fairprog.audits.result import Leakage, ScoreMovement
from fairprog.kernels.statistics.gap_bands import spearman
from fairprog.kernels.statistics.ranking import auc_and_error, auc_interval
from fairprog.labels import Indices

FEW = 50  # rows, of which DeLong's standard error says too little
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def leakage(rows: AuditRows, name: str) -> tuple[Leakage, ...]:
    """Return the area under the curve of each group against the others, within each class.

    DeLong's interval; Newcombe's where one side has few rows.
    """
    z = float(ndtri(0.5 + 0.5 * rows.confidence))
    S, out = rows.scores[name], []
    told = range(1, 2) if len(rows.groups) == 2 else range(len(rows.groups))
    for i, c in enumerate(rows.classes):
        own = (rows.y == i) & (rows.weight > 0)
        s = S[own, 0 if S.shape[1] == 1 else i]
        for g in told:
            member = rows.a[own] == g
            found, error = auc_and_error(s, member, rows.weight[own])
            reach = z * error
            low, high = max(0.0, found - reach), min(1.0, found + reach)
            sides = int(member.sum()), int((~member).sum())
            if min(sides) < FEW:
                low, high = auc_interval(found, *sides, rows.confidence)
            out.append(Leakage(c, rows.groups[g], found, low, high))
    return tuple(out)


def movement(rows: AuditRows, guesses: Mapping[str, Indices]) -> ScoreMovement:
    """Return how far scores moved; of more than two classes each row's own class's score."""
    before, after = rows.scores["before"], rows.scores["after"]
    column = np.zeros(rows.y.size, dtype=np.intp) if before.shape[1] == 1 else rows.y
    take = np.arange(rows.y.size)
    s, t = before[take, column], after[take, column]
    K, G = len(rows.classes), len(rows.groups)
    quantiles, rms, flipped = np.zeros((5, K, G)), np.zeros((K, G)), np.zeros((K, G))
    changed = guesses["before"] != guesses["after"]
    for i in range(K):
        for g in range(G):
            own = (rows.y == i) & (rows.a == g)
            step = t[own] - s[own]
            quantiles[:, i, g] = np.quantile(step, LEVELS)
            rms[i, g] = np.sqrt((step**2).mean())
            flipped[i, g] = changed[own].mean()
    rank = np.array([spearman(s[rows.a == g], t[rows.a == g]) for g in range(G)])
    return ScoreMovement(quantiles, rms, flipped, rank)
