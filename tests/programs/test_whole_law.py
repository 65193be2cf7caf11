"""The whole law as one more cell: one curve from class-conditional to marginal matching."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fairprog as fp
from experiments.baselines import CovarianceMatching

WEIGHTS = (0.0, 0.25, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 1500
    y, a = rng.integers(0, 3, n), rng.choice([0, 1], n, p=[0.6, 0.4])
    X = rng.normal(size=(n, 4)) * (1.0 + 0.5 * a[:, None])
    X[:, 0] += y + 0.3 * a
    X[:, 2] += 0.8 * a * (y == 1)
    return X, y, a


def population(rows):
    X, y, a = rows
    return fp.Normal.fit(X, y, sensitive_features=a)


def solved(D, weight, **options):
    options = {"steer": [1], "transport": fp.Monotone("identity")} | options
    return fp.NearestIdeal(D, marginal_weight=weight, **options).solve()


def whole(D, a):
    """Mean and covariance of all rows of a group."""
    p = D.base_rates[:, a]
    mean = p @ D.mean[:, a]
    off = D.mean[:, a] - mean
    return mean, np.einsum("i,ijk->jk", p, D.cov[:, a] + off[:, :, None] * off[:, None, :])


def kl(m, S, mu, Sigma):
    inner = np.linalg.solve(Sigma, S)
    off = m - mu
    return 0.5 * (
        np.trace(inner) - len(m) - np.linalg.slogdet(inner)[1] + off @ np.linalg.solve(Sigma, off)
    )


def objective(D, sol, weight):
    """What is minimised, computed from the maps of the answer."""
    (mean, cov), (goal, spread) = (whole(D, a) for a in (0, 1))
    T = sol.affine[1]
    apart = kl(T(mean[None])[0], T.matrix @ cov @ T.matrix.T, goal, spread)
    return (1.0 - weight) * sol.kl + weight * D.group_mass[1] * apart


def test_weight_zero_is_the_program_as_it_was(rows):
    D = population(rows)
    plain = fp.NearestIdeal(D, [1], fp.Monotone("identity")).solve()
    zero = solved(D, 0.0)
    assert zero.kl == plain.kl and "marginal_weight" not in zero.settings
    assert np.array_equal(zero.affine[1].matrix, plain.affine[1].matrix)


def test_weight_one_is_MiMiC(rows):
    X, y, a = rows
    step = fp.IdealSteering(
        [1], transport=fp.Monotone("identity"), marginal_weight=1.0, snap=False
    ).fit(X, y, sensitive_features=a)
    theirs = CovarianceMatching(0).fit(X, y, sensitive_features=a)
    ours = step.transform(X, sensitive_features=a)
    assert np.abs(ours - theirs.transform(X, sensitive_features=a)).max() < 1e-10
    plain = fp.IdealSteering([1], transport=fp.Monotone("identity"), snap=False)
    plain.fit(X, y, sensitive_features=a)  # the control: another map
    assert np.abs(ours - plain.transform(X, sensitive_features=a)).max() > 0.05


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_answer_is_ideal_certified_and_optimal(rows, weight):
    D = population(rows)
    sol = solved(D, weight)
    assert sol.certificate.ok and sol.population.is_ideal()
    assert sol.population.classes == D.classes and sol.kl == pytest.approx(sol.population.kl(D))
    best = objective(D, sol, weight)
    rng = np.random.default_rng(1)
    T = sol.affine[1]
    for _ in range(20):  # any other symmetric map does worse
        E = rng.normal(size=(4, 4)) * 1e-3
        other = fp.AffineMap(T.matrix + E + E.T, T.offset + 1e-3 * rng.normal(size=4))
        moved = D.pushed(sol.population.prior, D.laws_of(0), {1: other})
        near = replace(sol, affine={**sol.affine, 1: other}, population=moved, kl=moved.kl(D))
        assert objective(D, near, weight) >= best - 1e-12


def test_nearness_is_what_is_given_up(rows):
    D = population(rows)
    found = [solved(D, weight) for weight in WEIGHTS]
    assert (np.diff([sol.kl for sol in found]) > 0).all()
    apart = []
    for sol in found:
        (mean, cov), (goal, spread) = (whole(D, a) for a in (0, 1))
        T = sol.affine[1]
        apart.append(kl(T(mean[None])[0], T.matrix @ cov @ T.matrix.T, goal, spread))
    assert (np.diff(apart) < 0).all()


def test_price_is_minus_the_slope_in_the_bound(rows):
    D = population(rows)
    sol = solved(D, 0.5, transport=fp.Monotone())
    h = 1e-3
    program = fp.NearestIdeal(D, [1], marginal_weight=0.5, map_bound=h).problem
    program.solve(solver="CLARABEL")
    tight = objective(D, sol, 0.5)
    assert (tight - program.value) / h == pytest.approx(sol.price["consensus"], rel=0.02)
    assert any(where.endswith(",(all)]") for where in sol.price_by_condition)


def test_conic_and_newton_agree(rows):
    D = population(rows)
    one, two = (
        fp.NearestIdeal(D, [1], marginal_weight=0.5).solve(solver=name)
        for name in ("newton", "CLARABEL")
    )
    assert one.affine[1].matrix == pytest.approx(two.affine[1].matrix, abs=1e-5)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 0.9]))
def test_one_feature_by_the_closed_form(seed, weight):
    rng = np.random.default_rng(seed)
    D = fp.Normal(
        rng.dirichlet(np.full(4, 5.0)).reshape(2, 2),
        rng.normal(size=(2, 2)),
        std=0.5 + rng.random((2, 2)),
    )
    sol = fp.NearestIdeal(D, [1], marginal_weight=weight).solve()
    assert sol.solver == "closed-form" and sol.certificate.ok and sol.population.is_ideal()


def test_units_do_not_matter_to_the_pooled_metric(rows):
    X, y, a = rows
    A = np.diag([2.0, 0.5, 3.0, 1.0]) + 0.1
    sols = [
        fp.NearestIdeal(population((Z, y, a)), [1], marginal_weight=0.5).solve()
        for Z in (X, X @ A.T)
    ]
    assert sols[0].kl == pytest.approx(sols[1].kl, rel=1e-7)


def test_every_group_may_move_and_bijections_are_lifted(rows):
    X, y, a = rows
    everyone = fp.IdealSteering(marginal_weight=0.5, snap=False).fit(X, y, sensitive_features=a)
    assert everyone.solution_.certificate.ok and everyone.solution_.population.is_ideal()
    assert everyone.solution_.population.prior.sum() == pytest.approx(1.0)
    step = fp.IdealSteering([1], family="yeo-johnson", marginal_weight=0.5, snap=False)
    step.fit(X, y, sensitive_features=a)
    assert step.solution_.certificate.ok
    independent = fp.Normal.fit(X, y, sensitive_features=a, covariance="diagonal")
    assert solved(independent, 0.5).certificate.ok


@pytest.mark.filterwarnings("ignore:The smallest cell")
def test_the_rows_own_base_rates_are_in_the_whole_law(rows):
    """With classes that weigh the same, what all rows share is not the classes' mixture."""
    X, y, a = rows
    keep = (y != 2) | (a == 0) | (np.arange(len(y)) % 4 == 0)
    X, y, a = X[keep], y[keep], a[keep]
    how = {"transport": fp.Monotone("identity"), "class_weight": "uniform", "snap": False}
    step = fp.IdealSteering([1], marginal_weight=1.0, **how).fit(X, y, sensitive_features=a)
    Z = step.transform(X, sensitive_features=a)
    assert Z[a == 1].mean(axis=0) == pytest.approx(X[a == 0].mean(axis=0), abs=1e-10)
    assert np.cov(Z[a == 1].T) == pytest.approx(np.cov(X[a == 0].T), abs=0.02)


def test_files_and_reports(rows, tmp_path):
    X, y, a = rows
    step = fp.IdealSteering([1], marginal_weight=0.5, snap=False).fit(X, y, sensitive_features=a)
    step.save(tmp_path / "step.npz")
    again = fp.load(tmp_path / "step.npz")
    assert again.marginal_weight == 0.5 and again.solution_.settings["marginal_weight"] == 0.5
    assert np.array_equal(
        again.transform(X, sensitive_features=a), step.transform(X, sensitive_features=a)
    )
    assert "consensus" in step.solution_.summary() and "(all)" in str(step.solution_.duals.keys())
    assert len(step.solution_.to_html()) > 1000
    program = fp.NearestIdeal(population(rows), [1], marginal_weight=0.5)
    assert program.at_map_bound(0.1).solve().settings["marginal_weight"] == 0.5


def test_bad_weights(rows):
    D = population(rows)
    with pytest.raises(fp.DataError, match="in \\[0, 1\\]"):
        fp.NearestIdeal(D, [1], marginal_weight=1.5)
    with pytest.raises(fp.ModelError, match="let one stay"):
        fp.NearestIdeal(D, marginal_weight=1.0)
    with pytest.raises(fp.ModelError, match="joint"):
        fp.NearestIdeal(D, base_rates="joint", marginal_weight=0.5)
    with pytest.raises(fp.ModelError, match="normal populations"):
        fp.NearestIdeal(fp.Laplace([[0.3, 0.2]] * 2, [[0, 1]] * 2, [[1, 2]] * 2), [1],
                        marginal_weight=0.5)  # fmt: skip
    with pytest.raises(fp.ModelError, match="frontier"):
        fp.NearestIdeal(D, [1], marginal_weight=0.5).frontier([0.0])
    with pytest.raises(fp.DataError, match="marginal_rates"):
        fp.NearestIdeal(D, [1], marginal_weight=0.5, marginal_rates=[0.5, 0.5])


def test_groups_that_were_predicted_serve_as_weights(rows):
    """Probabilities of the groups in place of the groups: the same answer where they are sure."""
    X, y, a = rows
    step = fp.IdealSteering([1], snap=False).fit(X, y, sensitive_features=a)
    sure = np.eye(2)[a]
    assert step.transform(X, sensitive_features=sure) == pytest.approx(
        step.transform(X, sensitive_features=a)
    )
    from sklearn.linear_model import LogisticRegression

    guessed = LogisticRegression().fit(X[::2], a[::2]).predict_proba(X)
    Z = step.transform(X, sensitive_features=guessed)
    mixed = sum(
        guessed[:, [g]] * step.transform(X, sensitive_features=np.full(len(a), g)) for g in (0, 1)
    )
    assert pytest.approx(mixed) == Z
