"""Named programs whose answers are written down, and the writer of that file.

``python -m tests.golden --write`` writes tests/golden.json.gz: of every program what `save` puts
into a file (without seconds), and what rows become. tests/programs/test_golden.py compares, as
closely as the kind of a program allows. Programs speak of public names only, and inputs are sums
and products of a generator whose numbers Python promises, so that every machine asks the same
questions.
"""

import argparse
import gzip
import json
import tempfile
import warnings
from pathlib import Path

import cvxpy as cp
import numpy as np

import fairprog as fp
from tests.fixed_populations import (
    diagonal,
    finite,
    labels,
    line,
    normal,
    normal1,
    positive,
    prior,
    scores,
    tied,
    two_that_agree,
    uniform,
    with_constant_feature,
)

FILE = Path(__file__).with_name("golden.json.gz")
PROGRAMS = {}  # name -> (kind, function that returns an answer)

# Kinds, and what may change of the optimum, of the answer, of the multipliers: relative to one and
# to the largest entry. Two runs agree to the bit; an input changed in its last bit changes the
# optimum by less than a tenth of the first number, and near an optimum, which is flat, what is
# found by descent or by a conic solver by about the root of its accuracy.
EXACT = "exact"  # closed forms, Newton, sorting
DESCENT = "descent"  # a local search, a search over base rates
POOLED = "pooled"  # a closed form whose multipliers are Clarabel's
CONIC = "conic"  # a conic solver's answer
TOLERANCES = {
    EXACT: (1e-12, 1e-12, 1e-12),
    DESCENT: (1e-12, 1e-7, 1e-7),
    POOLED: (1e-12, 1e-12, 1e-5),
    CONIC: (1e-8, 1e-5, 1e-5),
}


# ------------------------------------------------------------------------------- the conditions


@fp.constraint
def small_shift(view, population):
    """A condition of normal populations of one feature: an inequality."""
    return cp.abs(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.02


@fp.constraint
def near_offset(view, population):
    """A condition of several features: a second-order cone."""
    return cp.norm(view.mean[1, "b"] - population.mean[1, "b"]) <= 0.1


@fp.constraint
def small_gain(view, population):
    """A condition of a location-scale family."""
    return view.std[0, "b"] <= 0.9 * population.std[0, "b"]


@fp.constraint
def first_atom(view, population):
    """A condition of finite populations."""
    return view.law[1, "b"][0] <= 0.1


# ---------------------------------------------------------------------------------- the programs


def nearest(name, kind, population, steer="all", solver="auto", **options):
    """List a program of `NearestIdeal`."""

    def answer():
        with warnings.catch_warnings():  # a constant feature is set aside, and says so
            warnings.simplefilter("ignore", fp.FairprogWarning)
            return fp.NearestIdeal(population, steer, **options).solve(solver)

    PROGRAMS[name] = (kind, answer)


def classifier(name, kind, population, risk, constraints=(), solver="auto", **options):
    """List a program of `FairClassifier`."""
    PROGRAMS[name] = (
        kind,
        lambda: fp.FairClassifier(population, risk, constraints, **options).solve(solver),
    )


B, BC = ["b"], ["b", "c"]

nearest("normal-1", EXACT, normal1(), B)
nearest("normal-1 all", EXACT, normal1())
nearest("normal-1 3 classes", EXACT, normal1(2, 3), B)
nearest("normal-1 3 groups", EXACT, normal1(3, 3, 3), BC)
nearest("normal-1 3 groups all", DESCENT, normal1(4, 2, 3))
nearest("normal-1 reference", EXACT, two_that_agree(), ["c"], reference="b")
nearest("normal-1 translation", EXACT, normal1(), B, transport=fp.Translation())
nearest("normal-1 mirror", EXACT, normal1(4), B, orientation="any", base_rates="keep")
nearest("normal-1 mirror all", EXACT, normal1(31), orientation="any")
nearest("normal-1 rates", EXACT, normal1(), base_rates=[0.3, 0.7])
nearest("normal-1 joint", DESCENT, normal1(), base_rates="joint")
nearest("normal-1 closed form", EXACT, normal1(), B, solver="closed-form")
nearest("normal-1 newton", EXACT, normal1(), B, solver="newton")
nearest("normal-1 clarabel", CONIC, normal1(), B, solver="CLARABEL")
nearest("normal-1 scs", CONIC, normal1(), B, solver="SCS")
nearest("normal-1 bound", CONIC, normal1(), B, map_bound=0.1)
nearest("normal-1 bound mirror", CONIC, normal1(4), B, map_bound=0.1, orientation="any")
nearest("normal-1 condition", CONIC, normal1(), B, constraints=[small_shift])
nearest("normal-1 piecewise", EXACT, normal1(), B, transport=fp.PiecewiseLinear(8))

for transport in (
    fp.Translation(),
    fp.Scaling(),
    fp.Diagonal(),
    fp.Monotone(),
    fp.Monotone("identity"),
    fp.Monotone([[2.0, 0.5], [0.5, 1.0]]),
    fp.Whitened(0),
    fp.Affine(),
):
    kind = DESCENT if transport == fp.Affine() else EXACT
    nearest(f"normal-2 {transport!r}", kind, normal(2), B, transport=transport)
    if transport != fp.Monotone():
        nearest(f"normal-2 all {transport!r}", DESCENT, normal(2), transport=transport)
nearest("normal-2 all", DESCENT, normal(2))
nearest("normal-2 mirror", EXACT, normal(2), B, transport=fp.Scaling(), orientation="any")
nearest("normal-2 keep", EXACT, normal(2), B, base_rates="keep")
nearest("normal-2 newton", EXACT, normal(2), B, solver="newton")
nearest("normal-2 clarabel", CONIC, normal(2), B, solver="CLARABEL")
nearest("normal-2 bound", CONIC, normal(2), B, map_bound=0.1)
nearest("normal-2 condition", CONIC, normal(2), B, constraints=[near_offset])
nearest("normal-3", EXACT, normal(3, 2, 3, 3), BC)
nearest("normal-3 all", DESCENT, normal(3, 2, 3, 3))
nearest("normal-3 constant feature", EXACT, with_constant_feature(normal(2, 3)), B)
nearest("tied-2", EXACT, tied(2, 1, 3), B)
nearest("tied-2 all", DESCENT, tied(2))
nearest("diagonal-3", EXACT, diagonal(3), B)
nearest("diagonal-3 all", EXACT, diagonal(3))
nearest("diagonal-3 3 groups", EXACT, diagonal(3, 2, 3, 3), BC, transport=fp.Scaling())
nearest("diagonal-3 3 groups all", DESCENT, diagonal(3, 2, 3, 3))
nearest("diagonal-3 translation", EXACT, diagonal(3), B, transport=fp.Translation())
nearest("diagonal-2 monotone", EXACT, diagonal(2), B, transport=fp.Monotone())
nearest("diagonal-2 bound", CONIC, diagonal(2), B, map_bound=0.1)
nearest("diagonal-2 clarabel", CONIC, diagonal(2), B, solver="CLARABEL")
nearest("log-normal-1", EXACT, normal1(5, family=fp.LogNormal), B)
nearest("log-normal-2", EXACT, normal(2, 5, family=fp.LogNormal), B)
nearest("log-normal diagonal", EXACT, diagonal(2, 5, family=fp.LogNormal), B)

for family in (fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin, fp.ShiftedExponential):
    nearest(family.__name__, EXACT, line(family), B)
for family in (fp.Laplace, fp.Logistic):
    nearest(
        f"{family.__name__} all",
        EXACT,
        line(family, 3, 3, 3, one_scale=True),
        transport=fp.Translation(),
    )

nearest("Exponential", EXACT, fp.Exponential(prior(7), positive(300), **labels()), B)
nearest("Gamma", EXACT, fp.Gamma(prior(7), positive(300), positive(301), **labels()), B)
nearest(
    "Gamma all",
    EXACT,
    fp.Gamma(prior(7, 3, 3), np.full((3, 3), 1.5), positive(301, 3, 3), **labels(3, 3)),
)
nearest("Weibull", EXACT, fp.Weibull(prior(7), positive(300), positive(301), **labels()), B)
nearest("Laplace translation", EXACT, line(fp.Laplace), B, transport=fp.Translation())
nearest("Logistic 3 groups", EXACT, line(fp.Logistic, 3, 3, 3), BC, base_rates="keep")
nearest("Logistic mirror", EXACT, line(fp.Logistic, 13), B, orientation="any")
nearest(
    "Logistic joint",
    DESCENT,
    line(fp.Logistic, one_scale=True),
    transport=fp.Translation(),
    base_rates="joint",
)
nearest("Logistic clarabel", CONIC, line(fp.Logistic), B, solver="CLARABEL")
nearest("Gumbel condition", CONIC, line(fp.Gumbel), B, constraints=[small_gain])

nearest("logit of normal-1", EXACT, fp.Transformed(normal1(6), "logit"), B)
nearest("power of normal-2", EXACT, fp.Transformed(normal(2, 6), fp.YeoJohnson([0.5, 1.5])), B)
nearest("log of Logistic", EXACT, fp.Transformed(line(fp.Logistic, 6), "log"), B)
nearest("power of Gumbel", EXACT, fp.Transformed(line(fp.Gumbel, 6), fp.Power(0.5)), B)
nearest("log of diagonal-2", EXACT, fp.Transformed(diagonal(2, 6), fp.Log()), B)
nearest("log of normal-1 bound", CONIC, fp.Transformed(normal1(6), "log"), B, map_bound=0.1)

nearest("finite", POOLED, finite(), B)
nearest("finite all", POOLED, finite(5, 2, 3, 3))
nearest("finite joint", POOLED, finite(), base_rates="joint")
nearest("finite bound", CONIC, finite(), B, map_bound=0.1)
nearest("finite condition", CONIC, finite(), constraints=[first_atom])
nearest("finite scs", CONIC, finite(), B, solver="SCS")

COST = [[0.0, 1.0], [3.0, 0.0]]
ODDS, SOME = [fp.EqualizedOdds()], [fp.EqualizedOdds(difference_bound=0.05)]
classifier("error, no notion", EXACT, scores(), fp.ErrorRate())
classifier("error, equalized odds", EXACT, scores(), fp.ErrorRate(), ODDS)
classifier("cost, equalized odds, bound", EXACT, scores(), fp.CostSensitiveRisk(COST), SOME)
classifier("error, parity, ratio", EXACT, scores(), None, [fp.DemographicParity(ratio_bound=0.9)])
classifier(
    "error, opportunity", EXACT, scores(), None, [fp.EqualOpportunity(difference_bound=0.02)]
)
classifier("error, odds, HIGHS", CONIC, scores(), None, SOME, "HIGHS")
classifier("error, odds, CLARABEL", CONIC, scores(), None, SOME, "CLARABEL")
classifier(
    "error, two notions",
    EXACT,
    scores(),
    None,
    [fp.DemographicParity(difference_bound=0.1), fp.PredictiveEquality(difference_bound=0.1)],
)
classifier("worst group, parity", CONIC, scores(), fp.WorstGroupRisk(COST), SOME)
classifier("variance of groups", CONIC, scores(), fp.ErrorRate() + 0.5 * fp.GroupRiskVariance())
classifier("tail", CONIC, scores(), fp.CVaR(level=0.8), [fp.DemographicParity()])
classifier("three classes", CONIC, finite(6, 3, 3, 3), None, ODDS, uses_group=False)
classifier(
    "robust", CONIC, scores(), None, [fp.Robust(fp.EqualOpportunity(difference_bound=0.2), 0.02)]
)
classifier("precision", CONIC, scores(), None, [fp.PredictiveParity(difference_bound=0.05)])


# what is no solution: its numbers


def program(name, kind):
    """List a function that returns plain numbers (decorator)."""

    def listed(function):
        PROGRAMS[name] = (kind, function)
        return function

    return listed


def points(frontier):
    return {
        "bounds": frontier.bounds,
        "risks": frontier.risks,
        "prices": frontier.prices,
        "names": [frontier.bound_name, frontier.risk_name, frontier.quantity],
    }


@program("frontier of normal-2", CONIC)
def _():
    return points(fp.NearestIdeal(normal(2), B).frontier([0.0, 0.1, 0.3]))


@program("frontier of a finite population", CONIC)
def _():
    return points(fp.NearestIdeal(finite(), B).frontier([0.0, 0.2]))


@program("frontier of classifiers", EXACT)
def _():
    fc = fp.FairClassifier(scores(), fp.ErrorRate(), ODDS)
    return points(fc.frontier([0.0, 0.02, 0.1], progress=False))


@program("a sample as reference", EXACT)
def _():
    y = [0, 1] * 10
    X = uniform(8, 20, low=-1.0, high=1.0) + y
    fit = fp.Empirical(X, y).fit_map(line(fp.Logistic), "b")
    return {"matrix": fit.map.matrix, "offset": fit.map.offset, "criterion": fit.criterion}


@program("a sample as reference, piecewise", EXACT)
def _():
    y = [0, 1] * 20
    X = uniform(8, 40, low=-1.0, high=1.0) + y
    return fp.fit_piecewise_linear(X, y, [0.0, 2.0], [1.0, 0.7], n_knots=4).to_dict()


# ------------------------------------------------------------------------------------ the numbers


def moved(solution):
    """Return what rows become: aligned and steered, in the user's units."""
    D = solution.original
    y = [D.classes[k % D.n_classes] for k in range(6)]
    a = [D.groups[k // 2 % D.n_groups] for k in range(6)]
    X = np.outer([0.25, 0.5, 0.75, 0.75, 0.25, 0.5], np.ones(D.n_features))
    return {
        "rows": X,
        "aligned": solution.align(X, sensitive_features=a),
        "steered": solution.steer(X, y, sensitive_features=a),
        "weights": solution.sample_weight(y, sensitive_features=a),
    }


def plain(value):
    """Return arrays, numbers and labels as JSON has them."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def record(name):
    """Solve a program and return what is written down about it."""
    answer = PROGRAMS[name][1]()
    if isinstance(answer, dict):
        return {"numbers": plain(answer)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.json"
        answer.save(path)
        saved = json.loads(path.read_text(encoding="utf-8"))
    saved["data"]["seconds"] = 0.0
    out = {"saved": saved, "ok": answer.certificate.ok}
    if isinstance(answer, fp.Solution):
        out |= {"cell_kl": plain(answer.bounds.cell_kl)}
        if not isinstance(answer, fp.ReweightedSolution):  # rows of these stay where they are
            out |= plain(moved(answer))
    return out


def read():
    """Return what is written down, by name."""
    return json.loads(gzip.decompress(FILE.read_bytes()))


def write(names=()):
    """Write the answers of the named programs, or of all: the same bytes for the same numbers."""
    known = read() if names else {}
    again = {
        name: record(name) if name in (names or PROGRAMS) else known[name] for name in PROGRAMS
    }
    text = json.dumps(again, separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", nargs="*", metavar="NAME", required=True)
    names = parser.parse_args().write
    from tests import golden  # conditions are saved as `tests.golden:...`, not `__main__:...`

    golden.write(names)
