"""Bad input: the right error, about the right argument and cell, saying what is needed."""

from functools import partial

import cvxpy as cp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from tests.instances import multivariate, univariate

PRIOR = [[0.3, 0.2], [0.3, 0.2]]
MEAN = [[0.0, 1.0], [2.0, 2.0]]
STD = [[1.0, 1.0], [1.0, 2.0]]
LABELS = {"classes": ["no", "yes"], "groups": ["a", "b"]}
COV = np.broadcast_to(np.eye(2), (2, 2, 2, 2))
MEAN2 = np.arange(8.0).reshape(2, 2, 2)


def normal(**change):
    """Return a univariate population, arguments changed."""
    return fp.Normal(**({"prior": PRIOR, "mean": MEAN, "std": STD} | LABELS | change))


def normal2(**change):
    """Return a population of two features, arguments changed."""
    return fp.Normal(**({"prior": PRIOR, "mean": MEAN2, "cov": COV} | LABELS | change))


def cell(array, at, value):
    """Return a copy with one entry (or block) replaced."""
    out = np.array(array, dtype=float)
    out[at] = value
    return out


D1, D2 = normal(), normal2(cov=COV * np.array([[1, 2], [3, 1]])[..., None, None])
D3 = univariate(np.random.default_rng(0), 2, 3)
SOLUTION = fp.NearestIdeal(D1, steer=["b"]).solve()
SOLUTION2 = fp.NearestIdeal(D2, steer=["b"]).solve()


def check(call, kind, match, argument=None, where=None):
    """Assert the error's class (or one of several) and roots, message, argument and cell."""
    with pytest.raises(fp.FairprogError, match=match) as caught:
        call()
    error = caught.value
    assert type(error) in (kind if isinstance(kind, tuple) else (kind,))
    assert isinstance(error, ValueError) == (type(error) in (fp.DataError, fp.ModelError))
    assert isinstance(error, RuntimeError) == (type(error) in (fp.InfeasibleError, fp.SolverError))
    assert argument is ... or error.argument == argument
    assert error.cell == where
    return error


def cases(*rows):
    """Parametrise by (name, call, kind, match, argument[, cell])."""
    return pytest.mark.parametrize("row", [r[1:] for r in rows], ids=[r[0] for r in rows])


def test_the_good_input_the_cases_are_made_from_is_good():
    assert normal().n_groups == normal2().n_groups == 2
    assert SOLUTION.certificate.ok
    assert SOLUTION2.certificate.ok


def test_the_tree_of_errors():
    for kind in (fp.DataError, fp.ModelError, fp.InfeasibleError, fp.SolverError):
        assert issubclass(kind, fp.FairprogError)
        error = kind("what", argument="x", cell=(1, "a"), status="s", details={"k": 1})
        assert (error.argument, error.cell, error.status) == ("x", (1, "a"), "s")
        assert error.details == {"k": 1}
        assert str(error) == "what"
        assert kind("bare").cell is None
    assert issubclass(fp.FairprogWarning, UserWarning)


# -- populations --

DATA, MODEL = fp.DataError, fp.ModelError
EITHER = DATA, MODEL  # a matter of taste
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


# -- notions --


@pytest.mark.parametrize(
    "kind",
    [
        fp.DemographicParity,
        fp.EqualOpportunity,
        fp.PredictiveEquality,
        fp.EqualizedOdds,
        fp.AccuracyParity,
        lambda **b: fp.Parity("P(yhat=1)", **b),
    ],
)
def test_bounds_of_notions_out_of_range(kind):
    for bound in (-0.01, 1.01, np.nan, np.inf):
        check(
            lambda b=bound: kind(difference_bound=b),
            DATA,
            rf"`difference_bound` must be in \[0, 1\]; found {bound}",
            "difference_bound",
        )
    for bound in (0.0, -0.5, 1.01, np.nan):
        check(
            lambda b=bound: kind(ratio_bound=b),
            DATA,
            rf"`ratio_bound` must be in \(0, 1\]; found {bound}",
            "ratio_bound",
        )
    check(lambda: kind(difference_bound=0.1, ratio_bound=0.8), DATA, r"not both", "ratio_bound")
    for bound in ("a", None):
        check(
            lambda b=bound: kind(difference_bound=b),
            DATA,
            r"`difference_bound` must be",
            "difference_bound",
        )
    check(lambda: kind(ratio_bound="a"), DATA, r"`ratio_bound` must be", "ratio_bound")
    kind(difference_bound=0.0)  # the ends are allowed
    kind(difference_bound=1.0)
    kind(ratio_bound=1.0)  # fmt: skip


# -- transports --


@cases(
    ("metric word", lambda: fp.Monotone("euclidean"), MODEL,
     r"`metric` must be 'pooled', 'identity' or a matrix; found 'euclidean'", "metric"),
    ("metric not symmetric", lambda: fp.Monotone([[1, 1], [0, 1]]), DATA, r"symmetric", "metric"),
    ("metric indefinite", lambda: fp.Monotone([[1, 2], [2, 1]]), DATA,
     r"positive definite; its smallest eigenvalue is -1", "metric"),
    ("metric nan", lambda: fp.Monotone([[np.nan]]), DATA, r"`metric` must be finite", "metric"),
    ("metric size",
     lambda: fp.NearestIdeal(D2, steer=["b"], transport=fp.Monotone(np.eye(3))).solve(), DATA,
     r"`metric` has shape \(3, 3\); needed is \(2, 2\)", "metric"),
    ("whitened class, d = 2",
     lambda: fp.NearestIdeal(D2, steer=["b"], transport=fp.Whitened("maybe")).solve(), DATA,
     r"`class_` names 'maybe', which is not one of \['no', 'yes'\]", "class_"),
    ("whitened class, d = 1",
     lambda: fp.NearestIdeal(D1, steer=["b"], transport=fp.Whitened("maybe")).solve(), DATA,
     r"`class_` names 'maybe', which is not one of \['no', 'yes'\]", "class_"),
    ("singular map", lambda: fp.AffineMap(np.zeros((2, 2)), np.zeros(2)).inverse(), DATA,
     r"singular", "matrix"),
    ("map shapes", lambda: fp.AffineMap(np.eye(2), np.zeros(3)), DATA,
     r"`matrix` has shape \(2, 2\); needed is \(3, 3\)", "matrix"),
    ("map of other d", lambda: fp.AffineMap(np.eye(2), np.zeros(2))(np.zeros((4, 3))), DATA,
     r"`X` has 3 features; the population has 2", "X"),
)  # fmt: skip
def test_transports(row):
    check(*row)


# -- programs --


def program(D=D1, steer=("b",), **options):
    """Return a program, options changed."""
    return fp.NearestIdeal(D, steer=list(steer), **options)


@fp.constraint
def small_shift(view, population):
    return cp.abs(view.mean["yes", "b"] - population.mean["yes", "b"]) <= 0.1


@cases(
    ("population", lambda: fp.NearestIdeal(PRIOR), MODEL,
     r"`population` must be a population of one of the families .*found list", "population"),
    ("one group", lambda: fp.NearestIdeal(fp.Normal([[0.5], [0.5]], [[0.0], [1.0]],
     std=[[1.0], [1.0]])), MODEL, r"at least two groups", "population"),
    ("steer a name", lambda: fp.NearestIdeal(D1, steer="b"), MODEL,
     r"must be 'all' or a list of groups; found 'b'; write steer=\['b'\]", "steer"),
    ("steer another word", lambda: fp.NearestIdeal(D1, steer="both"), MODEL,
     r"must be 'all' or a list of groups; found 'both'\.", "steer"),
    ("steer nothing", lambda: fp.NearestIdeal(D1, steer=[]), DATA,
     r"`steer` must name at least one group.*\['a', 'b'\]", "steer"),
    ("steer twice", lambda: fp.NearestIdeal(D1, steer=["b", "b"]), DATA, r"each once", "steer"),
    ("steer unknown", lambda: fp.NearestIdeal(D1, steer=["b", "z"]), DATA,
     r"`steer` names 'z', which is not one of \['a', 'b'\]", "steer"),
    ("steer a number", lambda: fp.NearestIdeal(D1, steer=1), EITHER,
     r"`steer` must be 'all' or a list of groups; found 1", "steer"),
    ("steer None", lambda: fp.NearestIdeal(D1, steer=None), EITHER,
     r"`steer` must be 'all' or a list of groups; found None", "steer"),
    ("reference steered", lambda: program(reference="b"), MODEL,
     r"`reference` 'b' is steered; it must be one of the groups that stay: \['a'\]", "reference"),
    ("reference unknown", lambda: program(reference="z"), DATA,
     r"`reference` names 'z', which is not one of \['a', 'b'\]", "reference"),
    ("reference with all", lambda: fp.NearestIdeal(D1, reference="a"), MODEL,
     r"steer='all' has no reference group", "reference"),
    ("reference with everyone listed", lambda: program(steer="ab", reference="a"), MODEL,
     r"no reference group", "reference"),
    ("orientation", lambda: program(orientation="up"), MODEL,
     r"`orientation` must be 'preserve' or 'any'; found 'up'", "orientation"),
    ("orientation, d = 2", lambda: program(D2, orientation="any"), MODEL,
     r"orientation='any' needs a single feature, Scaling\(\) or Affine\(\); Monotone\(\) in 2 dim",
     "orientation"),
    ("orientation, translation",
     lambda: program(orientation="any", transport=fp.Translation()), MODEL,
     r"orientation='any'.*Translation\(\)", "orientation"),
    ("base rates word", lambda: program(base_rates="same"), MODEL,
     r"`base_rates` must be 'equalize', 'keep'.* or a vector; found 'same'", "base_rates"),
    ("base rates sum", lambda: fp.NearestIdeal(D1, base_rates=[0.5, 0.6]), DATA,
     r"`base_rates` must be positive and sum to one; found \[0\.5, 0\.6\]", "base_rates"),
    ("base rates zero", lambda: fp.NearestIdeal(D1, base_rates=[1.0, 0.0]), DATA,
     r"`base_rates` must be positive", "base_rates"),
    ("base rates shape", lambda: fp.NearestIdeal(D1, base_rates=[0.2, 0.3, 0.5]), DATA,
     r"`base_rates` has shape \(3,\); needed is \(2,\)", "base_rates"),
    ("base rates nan", lambda: fp.NearestIdeal(D1, base_rates=[0.5, np.nan]), DATA,
     r"`base_rates` must be finite", "base_rates"),
    ("base rates number", lambda: fp.NearestIdeal(D1, base_rates=0.5), EITHER,
     r"`base_rates`.*vector|`base_rates` has shape \(\); needed is \(2,\)", "base_rates"),
    ("base rates None", lambda: fp.NearestIdeal(D1, base_rates=None), EITHER,
     r"`base_rates`", "base_rates"),
    ("map bound", lambda: program(map_bound=-0.1), DATA,
     r"`map_bound` must be a finite number >= 0; found -0\.1", "map_bound"),
    ("map bound nan", lambda: program(map_bound=np.nan), DATA, r"found nan", "map_bound"),
    ("map bound inf", lambda: program(map_bound=np.inf), DATA, r"found inf", "map_bound"),
    ("map bound text", lambda: program(map_bound="wide"), EITHER,
     r"`map_bound` must be a finite number >= 0; found 'wide'", "map_bound"),
    ("map bound None", lambda: program(map_bound=None), EITHER,
     r"`map_bound` must be a finite number >= 0; found None", "map_bound"),
    ("transport name", lambda: program(transport="monotone"), MODEL,
     r"`transport` must be a Transport such as Monotone\(\); found 'monotone'", "transport"),
    ("transport class", lambda: program(transport=fp.Monotone), MODEL,
     r"`transport` must be a Transport such as Monotone\(\)", "transport"),
    ("notion as transport", lambda: program(transport=fp.EqualOpportunity()), MODEL,
     r"`transport` must be a Transport", "transport"),
    ("all with constraints", lambda: fp.NearestIdeal(D1, constraints=[small_shift]), MODEL,
     r"steer='all' is not one convex program.*steer all groups but one", "constraints"),
    ("all with map_bound", lambda: fp.NearestIdeal(D1, map_bound=0.1), MODEL,
     r"takes no `map_bound`: the common coordinates are then free.*steer=\[", "map_bound"),
    ("all has no problem", lambda: fp.NearestIdeal(D1).problem, MODEL,
     r"not one convex problem", "steer"),
    ("solver name", lambda: program().solve(solver="MOSEK"), MODEL,
     r"`solver` must be 'auto', .*'SCS'; found 'MOSEK'", "solver"),
    ("closed form, d = 2", lambda: program(D2).solve(solver="closed-form"), MODEL,
     r"'closed-form' exists for one feature; the population has 2", "solver"),
    ("closed form, constraints",
     lambda: program(constraints=[small_shift]).solve(solver="closed-form"), MODEL,
     r"'closed-form' knows neither custom constraints nor a `map_bound`", "solver"),
    ("newton, map_bound", lambda: program(map_bound=0.1).solve(solver="newton"), MODEL,
     r"'newton' knows neither custom constraints nor a `map_bound`", "solver"),
    ("closed form, all, d = 2", lambda: fp.NearestIdeal(D2).solve(solver="closed-form"), MODEL,
     r"does not apply to steer='all'.*one feature, two classes, two groups", "solver"),
    ("closed form, all, three groups",
     lambda: fp.NearestIdeal(D3).solve(solver="closed-form"), MODEL,
     r"does not apply to steer='all'", "solver"),
    ("conic, all", lambda: fp.NearestIdeal(D1).solve(solver="CLARABEL"), MODEL,
     r"does not apply to steer='all': it is not one convex problem", "solver"),
    ("not a function", lambda: program(constraints=["small"]).solve(), EITHER,
     r"`?constraints`?.*'small'", "constraints"),
    ("not in a list", lambda: program(constraints=small_shift), EITHER, r"`constraints`.*list",
     "constraints"),
    ("unknown solver option", lambda: program().solve(solver="CLARABEL", colour="red"), EITHER,
     r"colour", ...),
    ("unknown solver option, SCS", lambda: program().solve(solver="SCS", colour="red"), EITHER,
     r"colour", ...),
    ("negative time", lambda: program().solve(solver="CLARABEL", time_limit=-1), EITHER,
     r"`time_limit`", "time_limit"),
    ("negative time, SCS", lambda: program().solve(solver="SCS", time_limit=-1), EITHER,
     r"`time_limit`", "time_limit"),
    ("time no number", lambda: program().solve(solver="CLARABEL", time_limit="soon"), EITHER,
     r"`time_limit`", "time_limit"),
)  # fmt: skip
def test_programs(row):
    check(*row)


def test_everyone_by_list_is_all():
    for D in (D1, D3):
        here, there = fp.NearestIdeal(D, steer=D.groups).solve(), fp.NearestIdeal(D).solve()
        assert here.kl == there.kl
        assert here.settings["steer"] == there.settings["steer"] == "all"


def test_groups_that_stay_must_be_ideal_among_themselves():
    def refused(prior, mean, words):
        D = fp.Normal(prior, mean, std=np.ones((2, 3)), groups=["a", "b", "c"])
        program = partial(fp.NearestIdeal, D, steer=["c"])
        return check(program, fp.InfeasibleError, words, "steer", (None, "b")), program

    error, _ = refused(
        np.full((2, 3), 1 / 6),
        [[0.0, 0.0, 1.0], [2.0, 3.0, 1.0]],
        r"Groups \['a', 'b'\] both stay but are not ideal among themselves: no affine map.*"
        r"residual .*needed is 1e-06\). Steer all groups but one",
    )
    assert error.details["groups"] == ["a", "b"]
    assert error.details["conditions"] == ["class_conditionals"]
    # base rates alone
    error, program = refused(
        [[0.2, 0.1, 0.2], [0.1, 0.2, 0.2]],
        [[0.0, 0.0, 1.0], [2.0, 2.0, 1.0]],
        r"Groups \['a', 'b'\] stay.*equal to each other; those of group 'b' are off by 0\.333.*"
        r"base_rates='keep'",
    )
    assert error.details == {"conditions": ["base_rates"], "groups": ["a", "b"]}
    assert program(base_rates="keep").solve().certificate.ok
    check(
        lambda: fp.NearestIdeal(D1, steer=["b"], base_rates=[0.3, 0.7]),
        fp.InfeasibleError,
        r"\['a'\] stay.*equal to the requested ones; those of group 'a' are off by 0\.2",
        "steer",
        (None, "a"),
    )


def test_groups_that_stay_may_differ_by_less_than_one_part_in_a_million():
    """ "Ideal among themselves to 1e-6": what the program accepts it must be able to solve."""
    mean = [[0.0, 0.0, 1.0], [2.0, 2.0 + 1e-7, 1.0]]
    D = fp.Normal(np.full((2, 3), 1 / 6), mean, std=np.ones((2, 3)))
    assert fp.NearestIdeal(D, steer=[2]).solve().certificate.ok


# -- time limits --


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("solver", ["auto", "CLARABEL", "SCS"])
@pytest.mark.parametrize("options", [{}, {"map_bound": 0.1}, {"constraints": [small_shift]}])
def test_no_time_gives_a_valid_answer_or_a_solver_error(solver, options):
    """(The warnings of numpy on unfinished iterates have a test of their own below.)"""
    best = program(D2, **options).solve().kl if "constraints" not in options else None
    try:
        sol = program(D2 if best is not None else D1, **options).solve(solver, time_limit=1e-9)
    except fp.SolverError as error:
        assert error.status
        assert error.details
        assert "Try another solver" in str(error) or "No solver found an answer" in str(error)
    else:
        assert sol.certificate.ok
        if best is not None:
            assert sol.kl == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_no_time_warns_of_nothing(solver):
    with pytest.raises(fp.SolverError):
        program(D1).solve(solver, time_limit=1e-9)


def test_enough_time_changes_nothing():
    sol = program(D2).solve(time_limit=60.0)
    assert sol.kl == pytest.approx(program(D2).solve().kl, abs=1e-12)


# -- custom conditions --


def solve_with(*functions, D=D1, **options):
    """Solve with conditions on the group b."""
    return program(D, constraints=functions, **options).solve()


def up(view, population):
    return view.mean["yes", "b"] >= population.mean["yes", "b"] + 1


def down(view, population):
    return view.mean["yes", "b"] <= population.mean["yes", "b"] - 1


def harmless(view, population):
    return view.mean["no", "b"] <= 1e3


def test_conditions_that_clash_are_named():
    error = check(
        lambda: solve_with(up, down, harmless),
        fp.InfeasibleError,
        r"\['up', 'down'\] clash.*\['b'\]",
        "constraints",
    )
    assert error.status in ("infeasible", "infeasible_inaccurate")
    assert error.details["conditions"] == ["up", "down"]
    assert error.details["groups"] == ["b"]
    assert solve_with(up).certificate.ok  # controls: each alone can be met
    assert solve_with(down, harmless).certificate.ok


def test_conditions_that_clash_with_one_map_per_group():
    def swap(view, population):  # an increasing map keeps the order of the classes
        return [view.mean["yes", "b"] <= -1, view.mean["no", "b"] >= 1]

    error = check(
        lambda: solve_with(swap), fp.InfeasibleError, r"swap\[0\].*swap\[1\]", "constraints"
    )
    assert set(error.details["conditions"]) == {"swap[0]", "swap[1]"}


def quadratic(view, population):
    return view.std["yes", "b"] ** 2 >= 1


def curved_equality(view, population):
    return cp.abs(view.mean["yes", "b"]) == 1


def product(view, population):
    return view.mean["yes", "b"] * view.mean["no", "b"] <= 1


def boolean(view, population):
    return True


def nothing(view, population):
    return None


def stays(view, population):
    return view.mean["yes", "a"] == population.mean["yes", "a"]


def expression(view, population):
    return view.mean["yes", "b"] - 1


def nested(view, population):
    return [[harmless(view, population)]]


def cone(view, population):
    return cp.SOC(view.mean["yes", "b"] + 10, view.mean["no", "b"] + np.zeros(2))


def one_label(view, population):
    return view.mean["yes"] <= 1


def unknown_group(view, population):
    return view.mean["yes", "z"] <= 1


def unknown_class(view, population):
    return population.mean["maybe", "b"] <= 1


def with_std(view, population):
    return view.std["yes", "b"] <= 1


@cases(
    ("not convex", lambda: solve_with(quadratic), MODEL,
     r"fp\.constraint\(quadratic\) is not convex: at 'quadratic'.*DCP", "constraints"),
    ("curved equality", lambda: solve_with(curved_equality), MODEL,
     r"curved_equality\) is not convex", "constraints"),
    ("product", lambda: solve_with(product), MODEL, r"product\) is not convex", "constraints"),
    ("bool", lambda: solve_with(boolean), MODEL,
     r"boolean\) must return CVXPY constraints; .*it returned bool \(True\)", "constraints"),
    ("None", lambda: solve_with(nothing), MODEL, r"nothing\).*returned NoneType", "constraints"),
    ("group that stays", lambda: solve_with(stays), MODEL,
     r"stays\).*comparison of plain numbers", "constraints"),
    ("expression", lambda: solve_with(expression), MODEL, r"expression\) must return",
     "constraints"),
    ("nested list", lambda: solve_with(nested), MODEL, r"'nested\[0\]' it returned list",
     "constraints"),
    ("cone", lambda: solve_with(cone), MODEL, r"cone\).*SOC is not supported", "constraints"),
    ("same name", lambda: solve_with(up, up), MODEL,
     r"Two conditions share the address 'up'; rename one function", "constraints"),
    ("two lambdas", lambda: solve_with(lambda v, p: up(v, p), lambda v, p: up(v, p)), MODEL,
     r"Two conditions share the address '<lambda>'", "constraints"),
    ("one label", lambda: solve_with(one_label), MODEL,
     r"`mean` is indexed \[class, group\]; found 'yes'", None),
    ("unknown group", lambda: solve_with(unknown_group), DATA,
     r"`mean\[group\]` names 'z', which is not one of \['a', 'b'\]", "mean[group]"),
    ("unknown class", lambda: solve_with(unknown_class), DATA,
     r"`mean\[class\]` names 'maybe'", "mean[class]"),
    ("std, d = 2", lambda: solve_with(with_std, D=D2), MODEL,
     r"`view\.std` exists for univariate populations; use `view\.factor`", None),
)  # fmt: skip
def test_conditions(row):
    check(*row)


def test_an_error_inside_a_condition_is_the_users_with_a_note():
    def broken(view, population):
        return view.mean["yes", "b"] <= 1 / 0

    with pytest.raises(ZeroDivisionError) as error:
        solve_with(broken)
    assert any("fp.constraint(broken)" in note for note in error.value.__notes__)


def test_what_cvxpy_refuses_inside_a_condition_names_the_condition():
    def by_numpy(view, population):
        return np.abs(view.mean["yes", "b"]) <= 1

    def chained(view, population):
        return view.mean["yes", "b"] <= 1 and view.mean["no", "b"] <= 1

    def one_argument(view):
        return view.mean["yes", "b"] <= 1

    refused = r"CVXPY refuses what the condition fp.constraint\(%s\)"
    check(lambda: solve_with(by_numpy), MODEL, refused % "by_numpy", "constraints")
    check(lambda: solve_with(chained), MODEL, refused % "chained", "constraints")
    arity = r"fp.constraint\(one_argument\) must take two arguments, \(view, population\)"
    check(lambda: solve_with(one_argument), MODEL, arity, "constraints")
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    for program in (
        fp.FairClassifier(D, None, [one_argument]),
        fp.NearestIdeal(fp.Categorical(np.full((2, 2, 2), 0.125)), constraints=[one_argument]),
    ):
        check(program.solve, MODEL, arity, "constraints")


def test_a_single_constraint_is_answered_by_how_to_write_it():
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    check(
        lambda: fp.FairClassifier(D, fp.ErrorRate(), fp.EqualOpportunity()),
        MODEL,
        r"must be a list; .* write constraints=\[EqualOpportunity\(\)\]",
        "constraints",
    )
    check(lambda: fp.NearestIdeal(D1, constraints=up), MODEL, r"constraints=\[up\]", "constraints")


def test_what_only_the_answer_has_is_asked_of_solve():
    program = fp.NearestIdeal(D1)
    with pytest.raises(AttributeError, match=r"call \.solve\(\) first: program\.solve\(\)\.kl"):
        _ = program.kl
    with pytest.raises(AttributeError, match=r"\.solve\(\)\.sample_weight"):
        _ = program.sample_weight
    with pytest.raises(AttributeError, match=r"no attribute 'klm'\.$"):
        _ = program.klm
    assert not hasattr(program, "__array__")


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


def test_a_condition_may_not_take_the_name_of_another_price():
    """`price["consensus"]` is that of the maps' agreement, `offset[b,yes]` one of its parts."""

    def consensus(view, population):
        return view.mean["yes", "b"] <= 0.5

    check(lambda: solve_with(consensus), MODEL, r"consensus", "constraints")


# -- solutions --

B = ["b"] * 3


@cases(
    ("align, unknown group",
     lambda: SOLUTION.align([0.0, 1.0, 2.0], sensitive_features=["a", "z", "z"]), DATA,
     r"`sensitive_features` has label\(s\) \['z'\] not seen before \(2 rows, the first in row 1\)"
     r"; known are \['a', 'b'\]", "sensitive_features"),
    ("align, no groups", lambda: SOLUTION.align([0.0], sensitive_features=None), DATA,
     r"`sensitive_features` is required", "sensitive_features"),
    ("align, missing group",
     lambda: SOLUTION.align([0.0, 1.0], sensitive_features=["a", None]), DATA,
     r"`sensitive_features` has 1 missing value\(s\), the first in row 1", "sensitive_features"),
    ("align, length", lambda: SOLUTION.align([0.0, 1.0], sensitive_features=B), DATA,
     r"`sensitive_features` has 3 entries but there are 2 rows", "sensitive_features"),
    ("align, features", lambda: SOLUTION.align(np.zeros((3, 2)), sensitive_features=B), DATA,
     r"`X` has 2 features; the population has 1", "X"),
    ("align, a vector, d = 2", lambda: SOLUTION2.align(np.zeros(3), sensitive_features=B), DATA,
     r"`X` has 1 features; the population has 2", "X"),
    ("align, 3-d", lambda: SOLUTION.align(np.zeros((3, 1, 1)), sensitive_features=B), DATA,
     r"`X` must have shape \(n, d\)", "X"),
    ("align, a number", lambda: SOLUTION.align(1.0, sensitive_features=["b"]), DATA,
     r"`X` must have shape \(n, d\); its shape is \(\)", "X"),
    ("align, nan", lambda: SOLUTION.align([0.0, np.nan, 1.0], sensitive_features=B), DATA,
     r"`X` must be finite; found nan at position \(1,\)", "X"),
    ("align, None", lambda: SOLUTION.align(None, sensitive_features=B), DATA, r"`X`", "X"),
    ("align, text", lambda: SOLUTION.align(["x", "y", "z"], sensitive_features=B), DATA,
     r"`X` must be an array of numbers", "X"),
    ("steer, unknown class",
     lambda: SOLUTION.steer([0.0], ["maybe"], sensitive_features=["b"]), DATA,
     r"`y` has label\(s\) \['maybe'\] not seen before.*known are \['no', 'yes'\]", "y"),
    ("steer, class by position", lambda: SOLUTION.steer([0.0], [1], sensitive_features=["b"]),
     DATA, r"`y` has label\(s\) \[1\] not seen before", "y"),
    ("steer, no labels", lambda: SOLUTION.steer([0.0], None, sensitive_features=["b"]), DATA,
     r"`y` is required", "y"),
    ("steer, length", lambda: SOLUTION.steer([0.0], ["no"] * 2, sensitive_features=["b"]), DATA,
     r"`y` has 2 entries but there are 1 rows", "y"),
    ("steer, unknown group",
     lambda: SOLUTION.steer([0.0], ["no"], sensitive_features=["z"]), DATA,
     r"`sensitive_features` has label\(s\) \['z'\]", "sensitive_features"),
    ("steer, no groups",
     lambda: SOLUTION.steer([0.0], ["no"], sensitive_features=None), DATA,
     r"`sensitive_features` is required", "sensitive_features"),
    ("weight, length",
     lambda: SOLUTION.sample_weight(["no"] * 2, sensitive_features=["b"]), DATA,
     r"`sensitive_features` has 1 entries but there are 2 rows", "sensitive_features"),
    ("weight, unknown class",
     lambda: SOLUTION.sample_weight([1], sensitive_features=["b"]), DATA,
     r"`y` has label\(s\) \[1\]", "y"),
    ("weight, nothing", lambda: SOLUTION.sample_weight(None, sensitive_features=B), DATA,
     r"`y` is required", "y"),
)  # fmt: skip
def test_moving_data(row):
    check(*row)


def test_a_well_separated_but_valid_population_is_not_refused():
    """Control for the many refusals: extreme numbers alone are no error."""
    D = normal(mean=np.array(MEAN) * 1e6, std=np.array(STD) * 1e-3)
    assert fp.NearestIdeal(D, steer=["b"]).solve(solver="closed-form").certificate.ok
    rng = np.random.default_rng(4)
    assert fp.NearestIdeal(multivariate(rng, 2), steer=["b"]).solve().certificate.ok


def test_options_of_another_kind_are_refused_by_name():
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    X, y, a = D.sample(200, random_state=0)
    by = {"sensitive_features": a}

    def steer(**options):
        return fp.IdealSteering(**options).fit(X, y, **by)

    check(
        lambda: steer(merge_groups=3), fp.ModelError, "mapping of groups to groups", "merge_groups"
    )
    check(lambda: steer(snap="foo"), fp.ModelError, "'auto', True or False", "snap")
    model = fp.SteeredClassifier(LogisticRegression(), cv="x")
    check(lambda: model.fit(X, y, **by), fp.ModelError, "splitter", "cv")
    check(lambda: D.is_ideal("x"), fp.DataError, "finite number", "atol")
    check(
        lambda: steer(snap=True, steer=[1], random_state=None).transform(X, **by),
        fp.ModelError,
        "whole number",
        "random_state",
    )
