"""Bias in Bios: steering sentence embeddings so that occupations are told equally well.

MiniLM embeddings of biographies (De-Arteaga et al., 2019), occupation, gender; the occupations
with the most rows in their smaller gender. Embeddings enter as principal components of the
training rows, a multinomial logistic model predicts, and what is measured is the difference of
true-positive rates (TPR), men minus women, per occupation and as a root mean square (RMS). Needs
FAIRPROG_DATA.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import fairprog as fp
from fairprog.errors import FairprogError, FairprogWarning
from fairprog.labels import Array
from fairprog.plotting import COLORS, style

from .baselines import LEACE, CovarianceMatching, MeanMatching, Step
from .claims import Claim, Unavailable, judged, write_csv
from .measured import Measured
from .pictures import mark_chance, save_picture
from .protocol import TEST_SHARE, data_folder
from .tabular import standard_error

SPLITS = tuple(range(5))
COMPONENTS = 256  # of 381 that vary; the rest add condition number and no accuracy
PERMUTATIONS = 50
MEN, WOMEN = "M", "F"
Labels = NDArray[np.str_]
Prepared = tuple[Array, NDArray[np.integer], NDArray[np.integer]]  # components, train, test
MAIN = "ideal steering, women moved"


def _steering(**options: Any) -> Callable[[], Step]:
    """Return a maker of the main variant with some options changed."""
    main: dict[str, Any] = {
        "steer": [WOMEN],
        "transport": fp.Monotone(metric="identity"),
        "class_weight": "uniform",
        "shrinkage": 0.5,
        "snap": False,
    }
    return lambda: fp.IdealSteering(**(main | options))


BASELINES: dict[str, Callable[[], Step] | None] = {
    "none": None,
    "mean matching": lambda: MeanMatching(MEN),
    "MiMiC": lambda: CovarianceMatching(MEN),
    "LEACE": LEACE,
}
VARIANTS: dict[str, Callable[[], Step]] = {
    MAIN: _steering(),
    "ideal steering, men moved": _steering(steer=[MEN]),
    "women moved, pooled metric": _steering(transport=fp.Monotone()),
    "women moved, diagonal maps": _steering(transport=fp.Diagonal()),
    "women moved, little shrunk": _steering(shrinkage=0.1),
    "women moved, much shrunk": _steering(shrinkage=0.9),
    "women moved, tied covariances": _steering(covariance="tied"),
    "women moved, classes weigh by prior": _steering(class_weight=None),
    "women moved, half the weight on all rows": _steering(marginal_weight=0.5),
    "women moved, nine tenths on all rows": _steering(marginal_weight=0.9),
}
BOTH = {
    "ideal steering, both moved": _steering(steer="all"),
    "any invertible map (Affine)": _steering(transport=fp.Affine()),
}
SMALL = 16  # components, for programs that alternate or search: minutes with more
FEW = (MAIN, "women moved, much shrunk", "women moved, tied covariances")


@dataclass(frozen=True)
class Biographies:
    """Embeddings, occupations, genders."""

    X: Array
    y: Labels
    gender: Labels

    @property
    def occupations(self) -> list[str]:
        """The names, sorted."""
        return sorted(set(self.y.tolist()))


@dataclass(frozen=True)
class Found:
    """Accuracy and TPR gaps of a method: shapes (splits,), (splits, K); or why there is none."""

    accuracy: Array
    gaps: Array
    reason: str = ""

    @property
    def rms(self) -> Array:
        """Root mean square gap of every split."""
        out: Array = np.sqrt((self.gaps**2).mean(axis=1))
        return out


def most_common(n: int) -> Biographies:
    """Return the n occupations with the most rows in their smaller gender, duplicates left out."""
    path = data_folder() / "bios" / "bios_minilm.npz"
    if not path.is_file():
        raise Unavailable("it needs bios/bios_minilm.npz in the folder FAIRPROG_DATA")
    with np.load(path, allow_pickle=False) as stored:
        keep = (stored["dup_of"] < 0) & (stored["gender"] != "unknown")
        X = stored["X"][keep].astype(float)
        y, gender = stored["occupation"][keep], stored["gender"][keep]
    smaller = {
        c: min(int(((y == c) & (gender == g)).sum()) for g in (MEN, WOMEN))
        for c in sorted(set(y.tolist()))
    }
    kept = np.isin(y, sorted(smaller, key=lambda c: -smaller[c])[:n])
    return Biographies(X[kept], y[kept], gender[kept])


def tpr_gaps(y: Labels, predicted: Labels, gender: Labels) -> Array:
    """Return P(hit | occupation, men) - P(hit | occupation, women), occupations sorted."""
    hit = predicted == y

    def rate(c: str, g: str) -> float:
        return float(hit[(y == c) & (gender == g)].mean())

    return np.array([rate(c, MEN) - rate(c, WOMEN) for c in sorted(set(y.tolist()))])


def floor(y: Labels, predicted: Labels, gender: Labels, seed: int) -> float:
    """Return the mean RMS gap when genders are permuted within occupations: pure chance."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(PERMUTATIONS):
        mixed = gender.copy()
        for c in sorted(set(y.tolist())):
            rows = y == c
            mixed[rows] = rng.permutation(mixed[rows])
        found.append(np.sqrt((tpr_gaps(y, predicted, mixed) ** 2).mean()))
    return float(np.mean(found))


def measure(
    data: Biographies,
    methods: dict[str, Callable[[], Step] | None],
    seeds: tuple[int, ...],
    components: int = COMPONENTS,
    measured: Measured | None = None,
) -> tuple[dict[str, Found], float]:
    """Return what every method gives, and the floor of the RMS gap."""
    measured = Measured() if measured is None else measured
    accuracy: dict[str, list[float]] = {name: [] for name in methods}
    gaps: dict[str, list[list[float]]] = {name: [] for name in methods}
    reasons: dict[str, str] = {}
    floors = []
    prepared = lru_cache(maxsize=1)(partial(_prepare, data, components))
    tasks = [(seed, name) for seed in seeds for name in methods]
    for seed, name in tqdm(tasks, desc="bios", disable=None, leave=False):
        value = measured.get(
            (f"{len(data.occupations)} occupations, {components} components", seed, name),
            partial(_figures, data, methods[name], seed, prepared),
        )
        if isinstance(value, str):
            reasons[name] = value
            continue
        accuracy[name].append(value["accuracy"])
        gaps[name].append(value["gaps"])
        if "floor" in value:
            floors.append(value["floor"])
    found = {
        name: Found(np.array(accuracy[name]), np.array(gaps[name]), reasons.get(name, ""))
        for name in methods
    }
    return found, float(np.mean(floors))


def _prepare(data: Biographies, components: int, seed: int) -> Prepared:
    """Return principal components of all rows, and which rows train and test."""
    from sklearn.model_selection import train_test_split

    cells = np.char.add(np.char.add(data.y, "/"), data.gender)
    train, test = train_test_split(
        np.arange(len(data.y)), test_size=TEST_SHARE, random_state=seed, stratify=cells
    )
    centre = data.X[train].mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(data.X[train], rowvar=False))
    return (data.X - centre) @ axes[:, ::-1][:, :components], train, test


def _figures(
    data: Biographies,
    make: Callable[[], Step] | None,
    seed: int,
    prepared: Callable[[int], Prepared],
) -> dict[str, Any] | str:
    """Return accuracy and gaps of one method (of none: and the floor), or why there are none."""
    from sklearn.linear_model import LogisticRegression

    Z, train, test = prepared(seed)
    if make is not None:
        try:
            Z = _moved(make(), Z, data, train)
        except FairprogError as error:  # what a method cannot do is a finding, not a crash
            return str(error)
    y, gender = data.y[test], data.gender[test]
    model = LogisticRegression(max_iter=500, tol=1e-3).fit(Z[train], data.y[train])
    predicted = model.predict(Z[test])
    out = {
        "accuracy": float(np.mean(predicted == y)),
        "gaps": tpr_gaps(y, predicted, gender).tolist(),
    }
    return out if make is not None else out | {"floor": floor(y, predicted, gender, seed)}


def _moved(step: Step, Z: Array, data: Biographies, train: NDArray[np.integer]) -> Array:
    with warnings.catch_warnings():  # small cells: the shrinkage is chosen, not forgotten
        warnings.simplefilter("ignore", FairprogWarning)
        step.fit(Z[train], data.y[train], sensitive_features=data.gender[train])
    out: Array = np.asarray(step.transform(Z, sensitive_features=data.gender))
    return out


def run(out: Path, quick: bool) -> list[Claim]:
    """Write methods.csv, gaps.csv, bios.png; claims on six occupations, figures on nineteen."""
    data = most_common(6)
    methods = BASELINES | ({MAIN: VARIANTS[MAIN]} if quick else VARIANTS)
    seeds, components = (SPLITS[:2], 64) if quick else (SPLITS, COMPONENTS)
    measured = Measured(out)
    found, chance = measure(data, methods, seeds, components, measured)
    tables = [(data, components, found, chance)]
    if not quick:
        small = BASELINES | {name: VARIANTS[name] for name in list(VARIANTS)[:2]} | BOTH
        tables.append((data, SMALL, *measure(data, small, SPLITS, SMALL, measured)))
        many = most_common(19)  # the twentieth has two men, one of them in the training rows
        few = BASELINES | {name: VARIANTS[name] for name in FEW}
        tables.append((many, COMPONENTS, *measure(many, few, SPLITS, measured=measured)))
    _write(tables, out)
    _draw(data, found, chance, out / "bios.png")
    return _claims(found, chance)


def _write(tables: list[tuple[Biographies, int, dict[str, Found], float]], out: Path) -> None:
    header = ["occupations", "components", "method", "splits"]
    header += ["accuracy", "standard error of accuracy", "RMS TPR gap"]
    header += ["standard error of RMS TPR gap", "permutation floor", "why not"]
    rows: list[list[object]] = []
    bars: list[list[object]] = []
    for data, components, found, chance in tables:
        names = data.occupations
        for method, f in found.items():
            row: list[object] = [len(names), components, method, len(f.accuracy)]
            row += [*_summary(f.accuracy), *_summary(f.rms)] if len(f.accuracy) else [""] * 4
            rows.append([*row, chance, f.reason])
            if len(f.gaps):
                bars += [
                    [len(names), components, method, name, *_summary(f.gaps[:, k])]
                    for k, name in enumerate(names)
                ]
    write_csv(out / "methods.csv", header, rows)
    header = ["occupations", "components", "method", "occupation"]
    header += ["TPR gap, men minus women", "standard error"]
    write_csv(out / "gaps.csv", header, bars)


def _summary(values: Array) -> tuple[float, float]:
    return float(values.mean()), standard_error(values)


def _claims(found: dict[str, Found], chance: float) -> list[Claim]:
    ours = found[MAIN]
    rms, rms_error = _summary(ours.rms)
    accuracy, _ = _summary(ours.accuracy)
    none = found["none"]
    claims = [
        judged(
            f"bios, six occupations: {MAIN}: RMS TPR gap at most 0.085",
            f"{none.rms.mean():.4f} -> {rms:.4f} (s.e. {rms_error:.4f}, floor {chance:.4f}), "
            f"accuracy {none.accuracy.mean():.4f} -> {accuracy:.4f}, {len(ours.rms)} splits",
            rms <= 0.085,
            "some occupations' genders differ in more than an affine map can undo",
        )
    ]
    for name in ("LEACE", "mean matching"):
        rival = found[name]
        more = accuracy - float(rival.accuracy.mean())
        claims.append(
            judged(
                f"bios, six occupations: at least 3 points more accurate than {name} at no larger "
                "RMS TPR gap",
                f"{accuracy:.4f} / {rms:.4f} against {rival.accuracy.mean():.4f} / "
                f"{rival.rms.mean():.4f}",
                more >= 0.03 and rms <= rival.rms.mean(),
                "the advantage lies in the occupations that gender tells apart",
            )
        )
    return claims


# -- the picture --


LABELS = {  # of methods that are named in the picture: colour, and where the name stands
    "none": ("0.1", (-8, 0), "right"),
    "mean matching": ("0.5", (0, 10), "center"),
    "LEACE": ("0.5", (8, -3), "left"),
    "MiMiC": ("0.5", (8, 0), "left"),
    MAIN: (COLORS[1], (4, -16), "left"),
}


def _draw(data: Biographies, found: dict[str, Found], chance: float, path: Path) -> None:
    shown = ("none", "mean matching", "LEACE", MAIN)
    colours = ("0.25", COLORS[4], COLORS[2], COLORS[1])
    with style():
        fig, (left, right) = plt.subplots(
            1, 2, figsize=(8.6, 3.4), layout="constrained", width_ratios=(1, 1.35)
        )
        for name, f in found.items():
            if not len(f.accuracy):
                continue
            colour, shift, side = LABELS.get(name, (COLORS[0], (0, 0), "left"))
            point = float(f.rms.mean()), float(f.accuracy.mean())
            left.errorbar(
                *point,
                xerr=standard_error(f.rms),
                yerr=standard_error(f.accuracy),
                color=colour,
                marker="o",
                markersize=7 if name == MAIN else 4.5,
                elinewidth=0.8,
                linestyle="none",
                zorder=3 if name == MAIN else 2,
            )
            if name in LABELS:
                look: dict[str, Any] = {"color": colour, "ha": side, "va": "center", "fontsize": 8}
                left.annotate(name, point, shift, textcoords="offset points", **look)
        left.annotate(
            "its variants", (0.125, 0.846), color=COLORS[0], fontsize=8, va="center", ha="left"
        )
        mark_chance(left, chance)
        left.set(xlabel="RMS TPR gap", ylabel="accuracy on test rows")
        left.set_xlim(0.0, 0.26)
        x = np.arange(len(data.occupations))
        for k, (name, colour) in enumerate(zip(shown, colours, strict=True)):
            f = found[name]
            errors = np.array([standard_error(f.gaps[:, j]) for j in range(len(x))])
            right.bar(
                x + 0.2 * (k - 1.5),
                f.gaps.mean(axis=0),
                0.18,
                yerr=errors,
                color=colour,
                error_kw={"elinewidth": 0.7},
                label=name,
            )
        right.axhline(0.0, color="0.3", linewidth=0.8)
        right.set_xticks(x, data.occupations, rotation=20)
        right.set(ylabel="TPR gap, men minus women")
        right.grid(visible=False, axis="x")
        right.legend(fontsize=7, ncols=2)
    save_picture(fig, path)
