"""Run experiments, resume them, and write down which claims hold.

Every experiment is a module of this folder with ``run(out, quick) -> list[Claim]``. It works in
a hidden folder that is moved to ``out/NAME`` when it is done, together with ``done.json``; an
interrupted run therefore leaves nothing half-written, and the next run goes on with the rest. Of
an interrupted experiment only the figures of :mod:`experiments.measured` stay, hidden.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib
import json
import shutil
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

import fairprog
from fairprog.errors import ModelError
from fairprog.versions import __version__

from .claims import Claim, Unavailable
from .measured import FILE as MEASURED

__all__ = ["Claim", "Unavailable", "names", "run"]

NO_ROOM = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES}
HERE = Path(__file__).resolve().parent
EXPERIMENTS = (
    "univariate_table",
    "thresholds",
    "sweeps",
    "three_stationary_points",
    "ellipses",
    "dimensions",
    "log_normal",
    "sample_size",
    "misspecification",
    "frontier",
    "transfer_bounds",
    "nearest_fair",
    "real_tables",
    "zero_prices",
    "notions_compared",
    "peers",
    "unknown_group",
)
REAL = (
    "compas",
    "adult",
    "law_school",
    "bios",
    "compared",
    "fit_choices",
    "fair_score",
    "fair_training",
    "training_losses",
)  # minutes each, and they need the real data sets
MADE_BY = "made_by.json"  # in a hidden folder: the fingerprint of what writes there
LANGUAGE = ("concept_steering",)  # half an hour, and it needs torch and transformers
WITH_MODEL = ("smollm2",)  # the same, and a model on disk, which `options` name
GROUPS = {"real": REAL, "language": LANGUAGE}


def names() -> list[str]:
    """Return the names of all experiments, in the order in which they run."""
    return [*EXPERIMENTS, *REAL, *LANGUAGE, *WITH_MODEL]


def chosen_names(only: list[str] | None) -> list[str]:
    """Return what to run: a group stands for its members, None for `EXPERIMENTS`.

    Raises
    ------
    ModelError
        For an unknown name.
    """
    if only is None:
        return list(EXPERIMENTS)
    unknown = [name for name in only if name not in names() and name not in GROUPS]
    if unknown:
        raise ModelError(
            f"Unknown experiment(s) {unknown}; known are {[*names(), *GROUPS]}.", argument="only"
        )
    return list(dict.fromkeys(n for name in only for n in GROUPS.get(name, (name,))))


def run(
    only: list[str] | None, out: Path, quick: bool, options: dict[str, Any] | None = None
) -> int:
    """Run experiments into ``out`` and write ``out/CLAIMS.md``.

    Parameters
    ----------
    only : list of str or None
        Which, "real" for those on real data, "language" for those on language models; None means
        all others. Those that are done already are not run again.
    out : Path
        Created if need be; every experiment has its folder in it.
    quick : bool
        Smaller grids and fewer random instances: for a look, not for a paper.
    options : dict, optional
        For the experiments on a model on disk: model, gguf_file, dtype, batch.

    Returns
    -------
    int
        0 if every claim holds or says why not; 1 if an experiment crashed (the others still
        run) or a claim fails without a reason.

    Raises
    ------
    ModelError
        For an unknown name.
    """
    chosen = chosen_names(only)
    out.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    missing: dict[str, str] = {}
    progress = tqdm(chosen, disable=None, unit="experiment")
    for name in progress:
        progress.set_description(name)
        given = (options or {}) if name in WITH_MODEL else {}
        if _is_done(name, out, quick, given):
            continue
        try:
            _run_one(name, out, quick, given)
        except Unavailable as reason:
            missing[name] = str(reason)
        except Exception as error:  # one experiment must not stop the others
            if getattr(error, "errno", None) in NO_ROOM:  # nor can they be written
                raise
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"Experiment {name} failed:", file=sys.stderr)
            traceback.print_exc()
    text, unexplained = _report(out, failures, missing)
    _write_text(out / "CLAIMS.md", text)
    print(_closing_line(out, chosen, failures, missing))
    return 1 if failures or unexplained else 0


def _sources(name: str, seen: dict[str, str] | None = None) -> dict[str, str]:
    """Return the text of an experiment and of the modules of this folder that it imports."""
    seen = {} if seen is None else seen
    if name not in seen:
        seen[name] = (HERE / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(seen[name])):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                for other in [node.module] if node.module else [a.name for a in node.names]:
                    _sources(other, seen)
    return seen


def _fingerprint(name: str, quick: bool, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the outputs depend on: the experiment, the package, the mode, the model."""
    package = Path(fairprog.__file__).parent
    core = sorted(p for p in package.rglob("*.py") if "experiments" not in p.parts[-2:])
    texts = {str(p.relative_to(package)): p.read_text(encoding="utf-8") for p in core}
    texts |= _sources(name)
    text = "\0".join(f"{k}\0{v}" for k, v in sorted(texts.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()
    out = {"source": digest, "quick": quick, "version": __version__}
    return out | ({"options": options} if options else {})


def _is_done(name: str, out: Path, quick: bool, options: dict[str, Any]) -> bool:
    done = _read_done(name, out)
    return done is not None and done["fingerprint"] == _fingerprint(name, quick, options)


def _read_done(name: str, out: Path) -> dict[str, Any] | None:
    try:
        done = json.loads((out / name / "done.json").read_text(encoding="utf-8"))
        claims = [Claim(**claim) for claim in done["claims"]]
        return {"fingerprint": done["fingerprint"], "claims": claims}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)


def _run_one(name: str, out: Path, quick: bool, options: dict[str, Any]) -> None:
    """Run into a hidden folder and put it in place only when everything is there."""
    part, old = out / f".{name}.part", out / f".{name}.old"
    shutil.rmtree(old, ignore_errors=True)
    fingerprint = _fingerprint(name, quick, options)
    _keep_measured(part, fingerprint)
    part.mkdir(exist_ok=True)
    made_by = part / MADE_BY
    made_by.write_text(json.dumps(fingerprint), encoding="utf-8")
    try:
        experiment = _load(name)
        started = time.perf_counter()
        claims: list[Claim] = experiment.run(part, quick, **options)
        done = {
            "fingerprint": _fingerprint(name, quick, options),
            "seconds": round(time.perf_counter() - started, 2),
            "claims": [asdict(claim) for claim in claims],
        }
        (part / "done.json").write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
        made_by.unlink()
        if (out / name).exists():
            (out / name).replace(old)
        part.replace(out / name)
    finally:
        shutil.rmtree(old, ignore_errors=True)
        _keep_measured(part, fingerprint)


def _keep_measured(part: Path, fingerprint: dict[str, Any]) -> None:
    """Empty a hidden folder but for the figures that were measured by the same sources."""
    measured, made_by = part / MEASURED, part / MADE_BY
    kept = measured.is_file() and made_by.is_file()
    if kept:
        try:
            kept = json.loads(made_by.read_text(encoding="utf-8")) == fingerprint
        except ValueError:
            kept = False
    if not kept:
        shutil.rmtree(part, ignore_errors=True)
        return
    for other in part.iterdir():
        if other not in (measured, made_by):
            other.unlink() if other.is_file() else shutil.rmtree(other)


# -- the page of claims --


def _closing_line(
    out: Path, chosen: list[str], failures: dict[str, str], missing: dict[str, str]
) -> str:
    """Return what was made, in a sentence or two."""
    done = [d for d in (_read_done(name, out) for name in chosen if name not in failures) if d]
    claims = [claim for d in done for claim in d["claims"]]
    held = sum(claim.holds for claim in claims)
    text = (
        f"Wrote {out / 'CLAIMS.md'} and the figures beside it: {held} of {len(claims)} claims hold"
    )
    text += ", the others say why not." if held < len(claims) else "."
    for name, reason in missing.items():
        text += f"\nNot run: {name}; {reason}."
    for name, reason in failures.items():
        text += f"\nFAILED: {name}; {reason}."
    return text


def _report(out: Path, failures: dict[str, str], missing: dict[str, str]) -> tuple[str, bool]:
    """Return CLAIMS.md, made from all that is done, and whether a failure is unexplained."""
    parts = [
        "# Claims",
        "Made by the experiments of fairprog; the numbers behind each line are in the folder "
        "that bears the experiment's name.",
    ]
    unexplained = False
    for name in names():
        done = _read_done(name, out)
        if name in failures:
            parts += [f"## {name}", f"Did not run to its end: {failures[name]}"]
        elif name in missing:
            parts += [f"## {name}", f"Not run: {missing[name]}"]
        elif done is not None:
            mode = done["fingerprint"].get("quick")
            heading = f"## {name}" + (" (quick)" if mode else "")
            options = done["fingerprint"].get("options")
            if done["fingerprint"] != _fingerprint(name, bool(mode), options):
                heading += " (made by another version)"
            parts += [heading, _table(done["claims"])]
            unexplained |= any(not c.holds and not c.note for c in done["claims"])
    return "\n\n".join(parts) + "\n", unexplained


def _table(claims: list[Claim]) -> str:
    """Return an aligned Markdown table."""
    rows = [["claim", "measured", "holds"]]
    for claim in claims:
        verdict = "yes" if claim.holds else "no"
        note = claim.note or ("" if claim.holds else "no reason given")
        rows.append([claim.text, claim.measured, f"{verdict}: {note}" if note else verdict])
    rows = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |" for r in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return "\n".join(lines)


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
