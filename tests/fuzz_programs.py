"""Random programs of every family, transport, option and classifier, at extreme scales.

Every answer is checked by :mod:`tests.fuzz_checks` or :mod:`tests.fuzz_classifiers`, which share
nothing with the package's code. ``make fuzz MINUTES=60``, or ``python -m tests.fuzz_programs
--minutes 60 [--seed 0] [--only Gumbel]``; a failing seed prints a program that shows it. A small
fixed part is in the tests.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fairprog as fp
from tests.fuzz_checks import check_nearest
from tests.fuzz_classifiers import check_classifier

LINE = ("Laplace", "Logistic", "Gumbel", "GumbelMin", "ShiftedExponential", "Weibull")
POSITIVE = ("Weibull", "Gamma", "Exponential", "LogNormal")
FAMILIES = ("Normal", "normal", "diagonal", *LINE, "Gamma", "Exponential", "LogNormal")
KINDS = (*FAMILIES, "bent", "Transformed", "Categorical", "classifier", "scores")
AFFINE = ("Translation", "Scaling", "Diagonal", "Monotone", "Whitened")
SLOW = 10.0  # seconds of processor time, so that other work on the machine does not count


@dataclass
class Case:
    """One program: how it is written, what it is made of, and whether it is of moderate size."""

    kind: str
    population: str
    program: str
    parts: dict[str, Any] = field(default_factory=dict)
    moderate: bool = True

    def code(self) -> str:
        """Return a program that can be run."""
        lines = ["import numpy as np", "from numpy import array", "import fairprog as fp"]
        return "\n".join([*lines, f"D = {self.population}", f"sol = {self.program}.solve()"])

    def solve(self) -> tuple[Any, Any]:
        """Return the population and the solution."""
        names = {"fp": fp, "np": np, "array": np.array}
        names["D"] = eval(self.population, names)
        return names["D"], eval(self.program, names).solve()


class Draw:
    """Random parameters: most of them ordinary, some at the ends of what is promised."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.wild = self.often(0.1)  # beyond what is promised: an error will do, a lie will not

    def often(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def power(self, low: float, high: float) -> float:
        return float(10.0 ** self.rng.uniform(low, high))

    def prior(self, K: int, G: int) -> np.ndarray:
        q = self.rng.dirichlet(np.full(K * G, 3.0)).reshape(K, G)
        if self.often(0.3):  # small cells
            q.flat[self.rng.integers(K * G)] *= self.power(-12 if self.wild else -8, 0)
        if self.often(0.3):  # equal base rates
            q = np.outer(q.sum(axis=1), q.sum(axis=0))
        return np.maximum(q / q.sum(), 1e-14 if self.wild else 1e-9)

    def scales(self, shape: tuple[int, ...]) -> np.ndarray:
        wide = 0.3 if self.often(0.7) else (3.0 if self.wild else 1.9)
        s = 10.0 ** self.rng.uniform(-wide, wide, size=shape)
        if self.often(0.15):
            s[:] = s.flat[0]  # the same in every cell
        return s

    def places(self, scale: np.ndarray) -> np.ndarray:
        far = self.power(0, 4 if self.wild else 2.7) if self.often(0.3) else 2.0
        x = self.rng.normal(size=scale.shape) * far * np.median(scale)
        if self.often(0.15):
            x[..., 1:] = x[..., :1]
        if self.often(0.1):
            x += self.one([-1, 1]) * self.power(2, 6) * np.median(scale)
        return x

    def unit(self) -> float:
        return self.power(-9, 9) if self.often(0.4) else 1.0


def text(x: Any) -> str:
    """Return an array as code that rebuilds it to the bit."""
    return repr(np.asarray(x).tolist())


def draw(seed: int, only: str | None = None) -> Case:
    """Return the program of a seed."""
    d = Draw(seed)
    kind = d.one(KINDS) if only is None else only
    K, G = int(d.one([2, 2, 2, 3, 1])), int(d.one([2, 2, 3]))
    if kind in ("classifier", "scores"):
        return _classifier(d, kind, int(d.one([2, 3])) if kind == "classifier" else 2, G)
    q = d.prior(K, G)
    q /= q.sum()
    parts: dict[str, Any] = {"prior": q}
    if kind == "Categorical":
        X = int(d.rng.integers(2, 7))
        laws = d.rng.dirichlet(np.full(X, 1.0 if d.often(0.7) else 0.1), size=(K, G))
        laws = np.maximum(laws, 1e-9)
        joint = np.moveaxis(laws / laws.sum(axis=-1, keepdims=True), -1, 0) * q
        parts["joint"] = joint / joint.sum()
        population = f"fp.Categorical({text(parts['joint'])})"
    else:
        population = _continuous(d, kind, K, G, parts)
    program, options = _options(d, kind, G, parts)
    parts.update(options)
    moderate = not d.wild and q.min() >= 1e-9
    return Case(kind, population, program, parts, moderate)


def _continuous(d: Draw, kind: str, K: int, G: int, parts: dict[str, Any]) -> str:
    q = text(parts["prior"])
    dim = int(d.rng.integers(2, 5)) if kind in ("normal", "diagonal") else 1
    scale = d.scales((K, G) if dim == 1 else (K, G, dim))
    place, unit = d.places(scale), d.unit()
    if kind in LINE or kind in ("Gamma", "Exponential"):  # all are steered where shapes agree
        parts["shared"] = d.often(0.35)
        if parts["shared"]:
            scale[:] = scale[:, :1]
    parts["dim"] = dim
    if kind in ("Gamma", "Exponential"):
        mean = unit * np.exp(np.clip(place / np.median(scale), -20, 20))
        if kind == "Exponential":
            parts["shape"], parts["mean"] = np.ones((K, G)), mean
            return f"fp.Exponential({q}, {text(mean)})"
        shape = np.clip(scale * d.power(-1, 3), 1e-2, 1e6)
        parts["shape"], parts["mean"] = shape, mean
        return f"fp.Gamma({q}, {text(shape)}, {text(mean)})"
    if kind == "Weibull":
        shape, size = 1.0 / np.clip(scale, 0.02, 50), unit * np.exp(np.clip(place, -20, 20))
        parts["loc"], parts["scale"] = np.log(size), 1.0 / shape
        return f"fp.Weibull({q}, {text(shape)}, {text(size)})"
    if kind in LINE:
        parts["loc"], parts["scale"] = unit * place, unit * scale
        return f"fp.{kind}({q}, {text(unit * place)}, {text(unit * scale)})"
    if kind == "LogNormal":
        scale, place = np.clip(scale, 0.01, 10), np.clip(place, -50, 50)
    elif kind == "Transformed":
        place, scale, unit = place / np.abs(place).max() * 3, np.clip(scale, 0.05, 3), 1.0
    else:
        place, scale = unit * place, unit * scale
    if dim == 1:
        parts["mean"], parts["cov"] = place[..., None], (scale**2)[..., None, None]
        name = {"bent": "Normal", "Transformed": "Normal"}.get(kind, kind)
        normal = f"fp.{name}({q}, {text(place)}, std={text(scale)})"
        return f"fp.Transformed({normal}, fp.Log())" if kind == "Transformed" else normal
    cov = (scale**2)[..., None] * np.eye(dim)
    if kind == "diagonal":
        parts["mean"], parts["cov"] = place, cov
        return f"fp.Normal({q}, {text(place)}, cov={text(scale**2)}, covariance='diagonal')"
    turn = np.linalg.qr(d.rng.normal(size=(K, G, dim, dim)))[0]
    if d.often(0.15):
        turn[:] = turn[0, 0]
    cov = turn @ cov @ np.swapaxes(turn, -1, -2)
    parts["mean"], parts["cov"] = place, 0.5 * (cov + np.swapaxes(cov, -1, -2))
    return f"fp.Normal({q}, {text(place)}, cov={text(parts['cov'])})"


def _options(d: Draw, kind: str, G: int, parts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    one = parts.get("dim", 1) == 1
    everyone = parts.get("shared", d.often(0.35) and kind != "bent")
    transport = "Monotone" if d.often(0.4) else d.one(AFFINE)
    if (kind in LINE and everyone) or kind in ("Gamma", "Exponential"):
        transport = "Translation"
    elif kind in LINE:
        transport = d.one(AFFINE[:-1])
    elif kind == "diagonal":
        transport = d.one(["Diagonal", "Translation"])
    elif kind == "Categorical":
        transport = "Identity"
    elif kind == "bent":
        transport = f"PiecewiseLinear({int(d.rng.integers(3, 20))})"
    elif kind in ("Normal", "normal") and not everyone and d.often(0.1):
        transport = "Affine"
    said = f"{transport}()" if "(" not in transport else transport
    steer = "'all'" if everyone else repr(list(range(1, G)) if d.often(0.95) else [G - 1])
    words = {"steer": steer, "transport": f"fp.{said}"}
    options: dict[str, Any] = {"transport": transport.split("(")[0], "everyone": everyone}
    if d.often(0.2):
        words["base_rates"] = "'keep'"
    bounded = d.often(0.25) and not everyone and kind in ("Normal", "normal", "diagonal")
    if bounded and transport != "Affine":
        options["map_bound"] = d.power(-4, 0)
        words["map_bound"] = repr(options["map_bound"])
    elif d.often(0.1) and not everyone and one and kind in ("Normal", "Laplace", "Logistic"):
        words["orientation"] = "'any'"
    options["base_rates"] = words.get("base_rates", "'equalize'").strip("'")
    options["orientation"] = words.get("orientation", "'preserve'").strip("'")
    said = ", ".join(f"{k}={v}" for k, v in words.items())
    return f"fp.NearestIdeal(D, {said})", options


def _classifier(d: Draw, kind: str, K: int, G: int) -> Case:
    q = d.prior(K, G)
    X = int(d.rng.integers(2, 9))
    laws = d.rng.dirichlet(np.full(X, 1.0 if d.often(0.7) else 0.15), size=(K, G))
    joint = np.moveaxis(laws, -1, 0) * q
    joint /= joint.sum()
    if kind == "scores":
        n = int(d.rng.integers(10, 60))
        s = np.clip(d.rng.beta(0.5, 0.5, size=n), 1e-12, 1 - 1e-12)
        a = np.concatenate([np.arange(G), d.rng.integers(G, size=n - G)])
        population = f"fp.Categorical.from_scores({text(s)}, sensitive_features={text(a)})"
    else:
        population = f"fp.Categorical({text(joint)})"
    notion = d.one(
        ["DemographicParity", "EqualOpportunity", "PredictiveEquality", "EqualizedOdds"]
    )
    if K > 2:
        notion = d.one(["DemographicParity", "EqualizedOdds"])
    bound = 0.0 if d.often(0.4) else d.power(-6, 0)
    cost = (1 - np.eye(K)) * d.rng.uniform(0.1, 2, size=(K, K))
    cost *= d.power(-6, 6) if d.often(0.2) else 1.0
    program = (
        f"fp.FairClassifier(D, fp.CostSensitiveRisk({text(cost)}), "
        f"[fp.{notion}(difference_bound={bound!r})])"
    )
    parts = {"notion": notion, "bound": bound, "cost": cost}
    return Case(kind, population, program, parts, not d.wild)


class _TooSlow(BaseException):
    pass


def run(case: Case, limit: float = 60.0) -> tuple[str, str]:
    """Return the outcome of a program, in a word, and what was found.

    Outcomes: answered, refused, infeasible, SolverError; and what must not be: uncertified,
    wrong, foreign, warned, slow.
    """

    def stop(signum: int, frame: Any) -> None:
        raise _TooSlow

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", fp.FairprogWarning)
            D, sol = case.solve()
        seconds = time.process_time() - started
        if not sol.certificate.ok:
            return "uncertified", repr(sol.certificate)
        check = check_classifier if case.kind in ("classifier", "scores") else check_nearest
        wrong = check(D, sol, case.parts)
        if wrong:
            return "wrong", wrong
    except _TooSlow:
        return "slow", f"more than {limit:g} s"
    except fp.InfeasibleError as error:
        return "infeasible", str(error)
    except fp.SolverError as error:
        return "SolverError", str(error)
    except fp.FairprogError as error:
        return "refused", str(error)
    except Warning as error:
        return "warned", f"{type(error).__name__}: {error}"
    except Exception as error:
        return "foreign", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ("slow", f"{seconds:.1f} s") if seconds > SLOW else ("answered", "")


BAD = ("uncertified", "wrong", "foreign", "warned", "slow")


def main() -> int:
    """Run programs for some minutes; exit code 1 where one of them went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--programs", type=int, default=sys.maxsize, help="at most so many")
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument(
        "--errors", action="store_true", help="show SolverErrors and refusals, too"
    )
    options = parser.parse_args()
    end, seed = time.monotonic() + 60.0 * options.minutes, options.seed
    counts: Counter[tuple[str, str]] = Counter()
    moderate: Counter[str] = Counter()
    while time.monotonic() < end and seed < options.seed + options.programs:
        case = draw(seed, options.only)
        outcome, said = run(case)
        counts[case.kind, outcome] += 1
        if case.moderate:
            moderate[outcome] += 1
        show = outcome in BAD or (options.errors and outcome != "answered")
        if show or (outcome == "SolverError" and case.moderate):
            print(f"--- seed {seed}, {case.kind}: {outcome}: {said:.300}")
            print(case.code() + "\n", flush=True)
        seed += 1
    words = sorted({outcome for _, outcome in counts})
    print(f"{'':20}" + "".join(f"{word:>13}" for word in words))
    for kind in KINDS:
        row = [counts[kind, word] for word in words]
        if any(row):
            print(f"{kind:20}" + "".join(f"{n:13}" for n in row))
    total, tried = sum(counts.values()), sum(moderate.values())
    failed = moderate["SolverError"]
    print(f"{total} programs; of {tried} of moderate size {failed} ended in a SolverError "
          f"({failed / max(tried, 1):.2%})")  # fmt: skip
    return int(any(counts[kind, word] for kind in KINDS for word in BAD))


if __name__ == "__main__":
    sys.exit(main())
