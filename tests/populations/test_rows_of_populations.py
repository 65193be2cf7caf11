"""A population knows how many rows it was estimated from, and keeps it when it is saved."""

import numpy as np
import pytest

import fairprog as fp
from fairprog.door import Rows
from fairprog.estimators.fitted_population import fit_population, weigh_classes_equally
from fairprog.populations import population_from_dict
from tests.family_laws import FAMILIES, POSITIVE

N = 400
RNG = np.random.default_rng(0)
Y, A = RNG.integers(2, size=N), RNG.choice(["a", "b"], size=N)
WEIGHT = RNG.choice([0.0, 0.5, 2.0], size=N)
COUNT = np.array([[np.sum((i == Y) & (g == A) & (WEIGHT > 0)) for g in "ab"] for i in range(2)])
MASS = np.array([[WEIGHT[(i == Y) & (g == A)].sum() for g in "ab"] for i in range(2)])
ROWS = {"sensitive_features": A, "sample_weight": WEIGHT}
X1 = RNG.normal(size=N) + Y
X3 = RNG.normal(size=(N, 3)) + Y[:, None]


def moments(covariance="full", **options):
    return fp.Moments(covariance).partial_fit(X3, Y, **ROWS).population(**options)


FITS = {
    "normal": lambda: fp.Normal.fit(X1, Y, **ROWS),
    "full": lambda: fp.Normal.fit(X3, Y, **ROWS),
    "shrunk": lambda: fp.Normal.fit(X3, Y, **ROWS, shrinkage="auto"),
    "tied": lambda: fp.Normal.fit(X3, Y, **ROWS, covariance="tied"),
    "diagonal": lambda: fp.Normal.fit(X3, Y, **ROWS, covariance="diagonal"),
    "log-normal": lambda: fp.LogNormal.fit(np.exp(X3), Y, **ROWS, covariance="diagonal"),
    "transformed": lambda: fp.Transformed.fit(fp.Logistic, "log", np.exp(X1), Y, **ROWS),
    "moments": moments,
    "moments, tied": lambda: moments("tied"),
    "moments, diagonal": lambda: moments("diagonal", shrinkage="auto"),
    "categorical": lambda: fp.Categorical.fit(np.round(X1), Y, **ROWS),
    "scores": lambda: fp.Categorical.from_scores(1 / (1 + np.exp(-X1)), y=Y, bins=5, **ROWS),
    **{
        family.__name__: lambda family=family: family.fit(
            np.exp(X1) if family in POSITIVE else X1, Y, **ROWS
        )
        for family in FAMILIES
    },
}


def assert_counted(D):
    assert D.n_rows.dtype.kind == "i"
    np.testing.assert_array_equal(D.n_rows, COUNT)
    np.testing.assert_allclose(D.cell_weight, MASS, rtol=1e-12)
    np.testing.assert_allclose(D.cell_weight / D.cell_weight.sum(), D.prior, rtol=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_every_fit_keeps_the_rows_and_weights_of_its_cells(name):
    D = FITS[name]()
    assert_counted(D)
    assert_counted(population_from_dict(D.to_dict()))


@pytest.mark.parametrize("name", ["full", "diagonal", "transformed", "Gumbel", "scores"])
def test_other_base_rates_keep_the_rows_and_another_law_does_not(name):
    D = FITS[name]()
    equal = np.outer([0.5, 0.5], D.group_mass)
    E = D.with_prior(equal)
    np.testing.assert_allclose(E.prior, equal)
    if name != "scores":  # its rows are those of other frequencies
        np.testing.assert_array_equal(E.n_rows, COUNT)
    steered = fp.NearestIdeal(D, steer=["b"]).solve()
    assert steered.population.n_rows is None
    assert_counted(steered.original)
    assert D.pushed(D.prior, D.laws_of(0), {"b": D.common_map(1, 1)}).n_rows is None


def test_a_solution_is_saved_with_the_rows_of_its_population(tmp_path):
    sol = fp.NearestIdeal(FITS["tied"](), steer=["b"]).solve()
    for suffix in ("json", "npz"):
        sol.save(tmp_path / f"solution.{suffix}")
        assert_counted(fp.load(tmp_path / f"solution.{suffix}").original)


def test_matrices_of_a_diagonal_population_come_from_the_same_rows():
    assert_counted(FITS["diagonal"]().full())


def test_many_features_that_move_forget_the_rows():
    X = RNG.normal(size=(4 * N, 70))
    y, a = np.tile(Y, 4), np.tile(A, 4)
    with pytest.warns(fp.FairprogWarning, match="fewer than 5 d"):
        D = fp.Normal.fit(X, y, sensitive_features=a)
    sol = fp.NearestIdeal(D, steer=["b"]).solve()
    assert D.n_rows.sum() == 4 * N and sol.population.n_rows is None


def test_nothing_is_known_of_parameters_until_it_is_said():
    D = fp.Normal([[0.3, 0.2]] * 2, [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    assert D.n_rows is None and D.cell_weight is None
    assert "n_rows" not in D.to_dict()
    E = D.with_rows([[3, 2], [3, 2]])
    np.testing.assert_array_equal(E.cell_weight, [[3.0, 2.0], [3.0, 2.0]])
    assert D.n_rows is None  # a copy knows, not the population itself
    T = fp.Transformed(D, "log").with_rows(E.n_rows)
    np.testing.assert_array_equal(population_from_dict(T.to_dict()).n_rows, E.n_rows)


@pytest.mark.parametrize("wrong", [[[3, 2, 1]] * 2, [[3, 0], [3, 2]], [[3, np.nan], [3, 2]]])
def test_numbers_of_rows_are_checked(wrong):
    D = fp.Normal([[0.3, 0.2]] * 2, [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    with pytest.raises(fp.DataError, match="`n_rows`"):
        D.with_rows(wrong)


def test_scores_read_as_posteriors_count_no_classes():
    D = fp.Categorical.from_scores([0.2, 0.8, 0.4, 0.9], sensitive_features=list("aabb"))
    assert D.n_rows is None and D.effective_rows == 4


def test_the_population_of_an_estimator_is_counted():
    rows = Rows.check(Y, A, WEIGHT, N, X=X3)
    D = fit_population(rows.of(np.exp(X3)), rows, "lognormal", "full", 0.0, ["x", "y", "z"], False)
    assert isinstance(D, fp.LogNormal)
    assert_counted(D)
    np.testing.assert_array_equal(weigh_classes_equally(D).n_rows, COUNT)


def test_an_empirical_map_says_how_many_rows_of_each_class_it_rests_on():
    D = FITS["Logistic"]()
    rows = A == "a"
    fit = fp.Empirical(X1[rows], Y[rows], sample_weight=WEIGHT[rows]).fit_map(D, "b")
    np.testing.assert_array_equal(fit.n_rows, COUNT[:, 0])
    np.testing.assert_allclose(fit.class_weight, MASS[:, 0])
