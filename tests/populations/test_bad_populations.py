"""Bad populations: parameters, rows and questions are refused by name and cell."""

import numpy as np
import pytest

import fairprog as fp
from tests.bad_input import (
    COV,
    D1,
    D2,
    DATA,
    EITHER,
    MEAN,
    MEAN2,
    MODEL,
    PRIOR,
    STD,
    cases,
    cell,
    check,
    normal,
    normal2,
)
from tests.instances import univariate

YES_B = ("yes", "b")
NAMED = r"class 'yes', group 'b'"
INDEFINITE = [[1.0, 2.0], [2.0, 1.0]]


@cases(
    ("nan prior", lambda: normal(prior=cell(PRIOR, (0, 1), np.nan)), DATA,
     r"`prior` must be finite; found nan at position \(0, 1\)", "prior"),
    ("prior sum", lambda: normal(prior=[[0.3, 0.3], [0.3, 0.2]]), DATA,
     r"`prior` must sum to one.*1\.1", "prior"),
    ("empty cell", lambda: normal(prior=[[0.3, 0.3], [0.4, 0.0]]), DATA,
     rf"positive in every cell; {NAMED} has 0", "prior", YES_B),
    ("negative cell", lambda: normal(prior=[[0.3, 0.4], [0.4, -0.1]]), DATA,
     rf"{NAMED} has -0\.1", "prior", YES_B),
    ("prior shape", lambda: normal(prior=[0.5, 0.5]), DATA, r"shape \(K, G\).*\(2,\)", "prior"),
    ("text prior", lambda: normal(prior="half"), DATA, r"array of numbers", "prior"),
    ("no prior", lambda: normal(prior=None), DATA, r"`prior`", "prior"),
    ("empty prior", lambda: normal(prior=np.zeros((0, 0)), mean=np.zeros((0, 0)), classes=[],
     groups=[], std=np.zeros((0, 0))), DATA, r"`prior`", "prior"),
    ("nan mean", lambda: normal(mean=cell(MEAN, (1, 0), np.nan)), DATA,
     r"`mean` must be finite; found nan at position \(1, 0\)", "mean"),
    ("inf mean", lambda: normal2(mean=cell(MEAN2, (1, 0, 1), np.inf)), DATA,
     r"`mean` must be finite; found inf at position \(1, 0, 1\) \(1 such", "mean"),
    ("mean shape", lambda: normal(mean=[0.0, 1.0]), DATA,
     r"`mean` has shape \(2,\); with `std` it must be \(2, 2\)", "mean"),
    ("mean without d", lambda: normal2(mean=MEAN), DATA,
     r"`mean` has shape \(2, 2\); with `cov` it must be \(2, 2, d\)", "mean"),
    ("zero std", lambda: normal(std=cell(STD, (1, 1), 0)), DATA,
     rf"`std` of {NAMED} must be positive; found 0", "std", YES_B),
    ("negative std", lambda: normal(std=cell(STD, (1, 1), -2)), DATA,
     rf"`std` of {NAMED} must be positive; found -2", "std", YES_B),
    ("nan std", lambda: normal(std=cell(STD, (1, 1), np.nan)), DATA, r"`std` must be finite",
     "std"),
    ("std shape", lambda: normal(std=[1.0, 1.0]), DATA,
     r"`std` has shape \(2,\); needed is \(2, 2\)", "std"),
    ("inf cov", lambda: normal2(cov=cell(COV, (1, 1, 0, 0), np.inf)), DATA,
     r"`cov` must be finite; found inf at position \(1, 1, 0, 0\)", "cov"),
    ("cov shape", lambda: normal2(cov=np.ones((2, 2))), DATA,
     r"`cov` has shape \(2, 2\); needed is \(2, 2, 2, 2\)", "cov"),
    ("cov not symmetric", lambda: normal2(cov=cell(COV, (1, 1, 0, 1), 0.5)), DATA,
     rf"`cov` of {NAMED} must be symmetric; its largest asymmetry is 0\.5", "cov", YES_B),
    ("cov indefinite", lambda: normal2(cov=cell(COV, (1, 1), INDEFINITE)), DATA,
     rf"`cov` of {NAMED} must be positive definite; its smallest eigenvalue.* is -1\.", "cov",
     YES_B),
    ("cov singular", lambda: normal2(cov=cell(COV, (1, 1), np.ones((2, 2)))), DATA,
     rf"`cov` of {NAMED} must be positive definite; its smallest eigenvalue", "cov", YES_B),
    ("cov zero", lambda: normal2(cov=cell(COV, (1, 1), 0.0)), DATA,
     rf"`cov` of {NAMED} must be positive definite; .* is 0", "cov", YES_B),
    ("cov negative", lambda: normal2(cov=cell(COV, (1, 1), -np.eye(2))), DATA,
     rf"`cov` of {NAMED} must be positive definite; .* is -1", "cov", YES_B),
    ("cov very negative", lambda: normal2(cov=cell(COV, (1, 1), -9 * np.eye(2))), DATA,
     rf"`cov` of {NAMED} must be positive definite; .* is -", "cov", YES_B),
    ("cov indefinite in every cell, means alike",
     lambda: normal2(cov=np.broadcast_to(INDEFINITE, (2, 2, 2, 2)), mean=np.zeros((2, 2, 2))),
     DATA, r"`cov` of class 'no', group 'a' must be positive definite; .* is -1", "cov",
     ("no", "a")),
    ("cov indefinite in every cell",
     lambda: normal2(cov=np.broadcast_to(INDEFINITE, (2, 2, 2, 2)), mean=MEAN2 * [1, -1]),
     DATA, r"`cov` of class 'no', group 'a' must be positive definite; .* is -1", "cov",
     ("no", "a")),
    ("cov zero everywhere", lambda: normal2(cov=0 * COV), DATA, r"`cov`.*positive", "cov"),
    ("no features", lambda: normal2(mean=np.zeros((2, 2, 0)), cov=np.zeros((2, 2, 0, 0))), EITHER,
     r"feature|`mean`", "mean"),
    ("constant within, different between",
     lambda: normal2(cov=COV * [[1, 0], [0, 0]]), DATA, r"\[1\].*constant within every cell",
     "mean"),
    ("both spreads", lambda: normal(cov=COV), MODEL, r"exactly one of `std`.*`cov`", "std"),
    ("no spread", lambda: normal(std=None), MODEL, r"exactly one of `std`.*`cov`", "std"),
    ("labels too few", lambda: normal(groups=["a"]), DATA,
     r"`groups` lists 1 labels \['a'\] but the arrays have 2", "groups"),
    ("label twice", lambda: normal(classes=["x", "x"]), DATA, r"`classes` lists a label twice",
     "classes"),
    ("labels alike", lambda: normal(groups=[1, "1"]), MODEL,
     r"`groups` has two labels that print alike: \['1', \"'1'\"\]", "groups"),
    ("labels equal across types", lambda: normal(groups=[1, 1.0]), DATA,
     r"`groups` lists a label twice", "groups"),
    ("labels not hashable", lambda: normal(classes=[[0], [1]]), EITHER, r"`classes`.*hashable",
     "classes"),
    ("labels no list", lambda: normal(classes=2), EITHER, r"`classes`", "classes"),
    ("log-normal std", lambda: fp.LogNormal(PRIOR, MEAN, std=cell(STD, (1, 1), 0)), DATA,
     r"`std` of class 1, group 1 must be positive", "std", (1, 1)),
)  # fmt: skip
def test_populations(row):
    check(*row)


N = 40
Y, A = np.tile([0, 1], N // 2), np.tile(["a", "a", "b", "b"], N // 4)
X = np.random.default_rng(1).normal(size=(N, 2))


def fit(**change):
    """Fit a population, arguments changed."""
    good = {"X": X, "y": Y, "sensitive_features": A}
    return fp.Normal.fit(**(good | change))


def test_fit_of_the_good_input():
    assert fit().n_features == 2


ROWS = np.flatnonzero((Y == 1) & (A == "b"))  # the cell (1, "b")
ALONE = np.delete(np.arange(N), ROWS[1:])  # one row of it is left


@cases(
    ("nan X", lambda: fit(X=cell(X, (5, 1), np.nan)), DATA,
     r"`X` must be finite; found nan at position \(5, 1\)", "X"),
    ("inf X", lambda: fit(X=cell(X, (5, 1), -np.inf)), DATA, r"found -inf", "X"),
    ("text X", lambda: fit(X=[["a", "b"]] * N), DATA, r"`X` must be an array of numbers", "X"),
    ("no X", lambda: fit(X=None), DATA, r"`X`", "X"),
    ("3-d X", lambda: fit(X=np.zeros((N, 2, 2))), DATA, r"`X` must have shape \(n, d\)", "X"),
    ("X without columns", lambda: fit(X=np.zeros((N, 0))), EITHER, r"`X`.*feature", "X"),
    ("no rows", lambda: fit(X=np.zeros((0, 2)), y=[], sensitive_features=[]), DATA, r"row", "X"),
    ("short y", lambda: fit(y=Y[:-1]), DATA, r"`y` has 39 entries but there are 40 rows", "y"),
    ("no y", lambda: fit(y=None), DATA, r"`y` is required", "y"),
    ("missing y", lambda: fit(y=[None, *Y[1:]]), DATA, r"`y` has 1 missing value.*row 0", "y"),
    ("nan y", lambda: fit(y=cell(Y, 3, np.nan)), DATA, r"`y` has 1 missing value.*row 3", "y"),
    ("2-d y", lambda: fit(y=np.zeros((N, 2))), DATA, r"`y` must be one-dimensional", "y"),
    ("no sensitive_features", lambda: fit(sensitive_features=None), DATA,
     r"`sensitive_features` is required", "sensitive_features"),
    ("short sensitive_features", lambda: fit(sensitive_features=A[:7]), DATA,
     r"`sensitive_features` has 7 entries but there are 40 rows", "sensitive_features"),
    ("class not given", lambda: fit(classes=[0]), DATA, r"`y` has label\(s\) \[1\].*\[0\]", "y"),
    ("group not given", lambda: fit(groups=["a", "c"]), DATA,
     r"`sensitive_features` has label\(s\) \['b'\].*row 2.*\['a', 'c'\]", "sensitive_features"),
    ("label given twice", lambda: fit(classes=[0, 1, 1]), DATA, r"`classes` lists a label twice",
     "classes"),
    ("one row in a cell",
     lambda: fit(X=X[ALONE], y=Y[ALONE], sensitive_features=A[ALONE]), DATA,
     r"Class 1, group 'b' has 1 row\(s\); at least 2", "X", (1, "b")),
    ("no row in a cell",
     lambda: fit(X=X[:3], y=[0, 0, 1], sensitive_features=["a", "a", "b"]), DATA,
     r"has 0 row\(s\); at least 2", "X", (0, "b")),
    ("class without rows", lambda: fit(classes=[0, 1, 2]), DATA, r"Class 2, group 'a' has 0 row",
     "X", (2, "a")),
    ("no weight in a cell",
     lambda: fit(sample_weight=np.where((Y == 1) & (A == "b"), 0.0, 1.0)), DATA,
     r"Class 1, group 'b' has 0 row\(s\)", "X", (1, "b")),
    ("negative weight", lambda: fit(sample_weight=cell(np.ones(N), 4, -1)), DATA,
     r"`sample_weight` must be nonnegative; the smallest entry is -1", "sample_weight"),
    ("nan weight", lambda: fit(sample_weight=cell(np.ones(N), 4, np.nan)), DATA,
     r"`sample_weight` must be finite", "sample_weight"),
    ("short weight", lambda: fit(sample_weight=[1.0]), DATA,
     r"`sample_weight` has shape \(1,\); needed is \(40,\)", "sample_weight"),
    ("constant in a cell", lambda: fit(X=np.where((Y == 1) & (A == "b"), 3.0, X[:, 0])), DATA,
     r"`std` of class 1, group 'b' must be positive; found 0", "std", (1, "b")),
    ("collinear in a cell",
     lambda: fit(X=np.where(((Y == 1) & (A == "b"))[:, None], X[:, :1], X)), DATA,
     r"`cov` of class 1, group 'b' must be positive definite", "cov", (1, "b")),
    ("not positive, log-normal",
     lambda: fp.LogNormal.fit(X, Y, sensitive_features=A), DATA,
     r"`X` must be positive for a lognormal population; row \d+, feature \d is -", "X"),
)  # fmt: skip
def test_fit(row):
    # a small cell is warned about before a singular one is refused
    check(*row)


def test_fewer_rows_than_features():
    rng = np.random.default_rng(2)
    y, a = (
        np.repeat([0, 0, 1, 1], [50, 50, 50, 3]),
        np.repeat(["a", "b", "a", "b"], [50, 50, 50, 3]),
    )
    call = lambda: fit(X=rng.normal(size=(153, 5)), y=y, sensitive_features=a)  # noqa: E731
    check(call, DATA, r"Class 1, group 'b' has 3 rows for 5 features.*at least 6", "X", (1, "b"))


@cases(
    ("kl of nothing", lambda: D1.kl(None), MODEL, r"`other` is a NoneType; needed is a Normal",
     "other"),
    ("kl, other d", lambda: D1.kl(D2), MODEL, r"`other` has 2 features; needed are 1", "other"),
    ("kl, other groups", lambda: D1.kl(normal(groups=["a", "z"])), MODEL,
     r"`other` has groups \['a', 'z'\]; needed are \['a', 'b'\] in any order", "other"),
    ("kl, other classes", lambda: D1.kl(normal(classes=[0, 1])), MODEL,
     r"`other` has classes \[0, 1\]; needed are \['no', 'yes'\]", "other"),
    ("rule of another d", lambda: D1.evaluate(rule_of=D2), MODEL, r"`rule_of`.*2 features",
     "rule_of"),
    ("rule of a word", lambda: D1.evaluate(rule_of="D"), MODEL,
     r"`rule_of` is a str; needed is a Normal", "rule_of"),
    ("rule of other labels", lambda: D1.evaluate(rule_of=normal(groups=[0, 1])), MODEL,
     r"`rule_of` has groups \[0, 1\]", "rule_of"),
    ("cost shape", lambda: D1.evaluate(cost=np.zeros((3, 3))), DATA,
     r"`cost` has shape \(3, 3\); needed is \(2, 2\)", "cost"),
    ("one row of costs", lambda: D1.evaluate(cost=[[0, 1]]), DATA,
     r"`cost` has shape \(1, 2\); needed is \(2, 2\)", "cost"),
    ("cost a number", lambda: D1.evaluate(cost=5), DATA, r"`cost`.*\(2, 2\)", "cost"),
    ("nan cost", lambda: D1.evaluate(cost=[[0, np.nan], [1, 0]]), DATA, r"`cost` must be finite",
     "cost"),
    ("cost mapping", lambda: D1.evaluate(cost={"fp": 1}), DATA, r"'fp' and 'fn'", "cost"),
    ("cost mapping, three classes",
     lambda: univariate(np.random.default_rng(3), 3).evaluate(cost={"fp": 1, "fn": 1}), DATA,
     r"binary|\(2, 2\); needed is \(3, 3\)", "cost"),
    ("sample", lambda: D1.sample(-1), EITHER, r"`n`", "n"),
    ("unknown positive class",
     lambda: D1.ideality_gap(fp.EqualOpportunity(positive="maybe")), DATA,
     r"`positive` names 'maybe', which is not one of \['no', 'yes'\]", "positive"),
)  # fmt: skip
def test_questions_to_a_population(row):
    check(*row)


def test_scores_that_are_predictions_are_noticed():
    groups = list("aabb")
    for hard in ([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0], np.eye(2)[[0, 1, 0, 1]]):
        with pytest.warns(fp.FairprogWarning, match="`predict_proba` returns, not `predict`"):
            fp.Categorical.from_scores(hard, sensitive_features=groups)
    fp.Categorical.from_scores([0, 1, 0.5, 1], sensitive_features=groups)  # warns of nothing
    for bins in ("auto", 0, 2.5, np.nan, "50"):
        with pytest.raises(fp.DataError, match="`bins` must be a whole number >= 1"):
            fp.Categorical.from_scores([0.1, 0.9] * 2, bins=bins, sensitive_features=groups)


def test_a_constant_label_is_noticed():
    x, a = np.random.default_rng(0).normal(size=40), list("ab") * 20
    with pytest.warns(fp.FairprogWarning, match=r"one class \(1\): labels are ignored"):
        noticed = fp.Normal.fit(x, np.ones(40, int), sensitive_features=a)
    meant = fp.Normal.fit(x, np.ones(40, int), sensitive_features=a, classes=[1])
    assert np.array_equal(noticed.mean, meant.mean)
    assert fp.NearestIdeal(meant, steer=["b"]).solve().kl == pytest.approx(0, abs=1e-12)
