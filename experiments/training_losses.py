"""`fairprog.torch.notion_loss` beside fairret's norm loss: one small network, Adult, five splits.

Both penalise differences of true positive rates in mini-batches; fairret (Buyl, Defrance and De
Bie, 2024) those to the overall rate. Needs FAIRPROG_DATA, torch and fairret.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import fairprog as fp
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .claims import Claim, Unavailable, judged, rst_table, write_csv
from .measured import Measured
from .pictures import save_picture
from .protocol import Split, adult_case, data_folder, gaps, split_case, worst_gaps

__all__ = ["run", "trained"]

SEEDS = (0, 1, 2, 3, 4)
STRENGTHS = (0.03, 0.1, 0.3, 1.0)
HIDDEN, EPOCHS, BATCH = 32, 8, 512
HEADER = ["loss", "strength", "split", "accuracy", "TPR gap at 0.5", "worst TPR gap"]
Penalty = Callable[[Any, Any, Any], Any]


def penalties() -> dict[str, Penalty]:
    """Return every loss as a function of logits, labels and groups (tensors)."""
    import fairret.loss
    import fairret.statistic
    import torch

    from fairprog.torch import notion_loss

    norm = fairret.loss.NormLoss(fairret.statistic.TruePositiveRate())

    def of_fairret(logits: Any, y: Any, a: Any) -> Any:
        group = torch.nn.functional.one_hot(a, 2).float()
        return norm(logits[:, None], group, y[:, None].float())

    how: dict[str, Any] = {"classes": [0, 1], "groups": [0, 1]}
    ours = {kind: notion_loss(fp.EqualOpportunity(), kind, **how) for kind in ("max", "squared")}
    return {
        "fairret, norm": of_fairret,
        **{f"notion_loss, {kind}": loss for kind, loss in ours.items()},
    }


def trained(split: Split, seed: int, penalty: Penalty | None, strength: float) -> Array:
    """Return scores of the test rows of a network trained with a penalty."""
    import torch

    torch.manual_seed(seed)
    X, y, a = (torch.as_tensor(v) for v in (split.fit.X, split.fit.y, split.fit.group))
    X = X.float()
    network = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
    )
    steps = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            logits = network(X[rows])[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows].float())
            if penalty is not None:
                loss = loss + strength * penalty(logits, y[rows], a[rows])
            steps.zero_grad()
            loss.backward()
            steps.step()
    with torch.no_grad():
        score = network(torch.as_tensor(split.test.X).float())[:, 0]
    return np.asarray(score.double().numpy())


def _measure(split: Split, seed: int, penalty: Penalty | None, strength: float) -> list[float]:
    score = trained(split, seed, penalty, strength)
    chosen = (score > 0).astype(float)
    accuracy = float(np.mean(chosen == split.test.y))
    return [accuracy, abs(gaps(split.test, chosen)[0]), worst_gaps(split.test, score)[0]]


def run(out: Path, quick: bool) -> list[Claim]:
    """Write losses.csv, losses.inc and losses.png; one claim per kind of loss."""
    for package in ("torch", "fairret"):
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"it needs the package {package}")
    case, measured = adult_case(data_folder()), Measured(out)
    seeds, strengths = (SEEDS[:1], STRENGTHS[2:3]) if quick else (SEEDS, STRENGTHS)
    found: dict[tuple[str, float], list[list[float]]] = {}
    for seed in seeds:
        split = split_case(case, seed, held_share=0.0)
        for name, penalty in {"none": None, **penalties()}.items():
            for t in strengths if penalty else (0.0,):
                key = (name, f"{t:g}", seed)
                value = measured.get(key, partial(_measure, split, seed, penalty, t))
                found.setdefault((name, t), []).append(value)
    rows: list[list[object]] = [
        [name, t, seed, *value]
        for (name, t), values in found.items()
        for seed, value in zip(seeds, values, strict=True)
    ]
    write_csv(out / "losses.csv", HEADER, rows)
    table = [["loss", "strength", "accuracy", "TPR gap", "worst TPR gap"]]
    for (name, t), values in found.items():
        mean, error = _mean(values)
        cells = (f"{m:.3f} ({e:.3f})" for m, e in zip(mean, error, strict=True))
        table.append([name, f"{t:g}" if t else "–", *cells])
    (out / "losses.inc").write_text(rst_table(table), encoding="utf-8")
    draw(found, out / "losses.png")
    return _claims(found)


def _mean(values: list[list[float]]) -> tuple[Array, Array]:
    n = len(values)
    error = np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(3, np.nan)
    return np.mean(values, axis=0), error


def _claims(found: dict[tuple[str, float], list[list[float]]]) -> list[Claim]:
    """Return whether each kind of ours reaches what fairret reaches at its best strength."""
    theirs = {t: np.array(v) for (name, t), v in found.items() if name.startswith("fairret")}
    best = min(theirs, key=lambda t: theirs[t][:, 1].mean())
    claims = []
    for kind in dict.fromkeys(name for name, _ in found if name.startswith("notion_loss")):
        ours = {t: np.array(v) for (name, t), v in found.items() if name == kind}
        t = min(ours, key=lambda t: ours[t][:, 1].mean())
        change, error = _mean((ours[t] - theirs[best]).tolist())
        noise = np.nan_to_num(2.0 * error)
        claims.append(
            judged(
                f"{kind}: no larger gap and no less accurate than fairret's norm loss, within two "
                "standard errors, each at the strength with its smallest gap",
                f"gap {change[1]:+.4f} (s.e. {error[1]:.4f}), accuracy {change[0]:+.4f} (s.e. "
                f"{error[0]:.4f}); strengths {t:g} and {best:g}",
                bool(change[1] <= noise[1] and -change[0] <= noise[0]),
                "the losses trade accuracy for the gap at different strengths",
            )
        )
    return claims


def draw(found: dict[tuple[str, float], list[list[float]]], path: Path) -> None:
    """Draw accuracy against the gap, a line of strengths per loss."""
    with style():
        fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
        names = dict.fromkeys(name for name, _ in found)
        start = np.mean(found["none", 0.0], axis=0)
        for k, name in enumerate(n for n in names if n != "none"):
            points = [np.mean(v, axis=0) for (n, _), v in found.items() if n == name]
            line = np.array([start, *points])
            ax.plot(line[:, 1], line[:, 0], "o-", color=COLORS[k], markersize=4, label=name)
        ax.plot(start[1], start[0], "ko", label="no penalty")
        ax.set(xlabel="gap of true positive rates at 0.5, new rows", ylabel="accuracy, new rows")
        ax.set_xlim(left=0.0)
        ax.legend()
    save_picture(fig, path)
