"""How sure: the test of ideality, intervals of answers, rows needed, drift."""

import json

import numpy as np
import pytest
from scipy import stats

import fairprog as fp
from experiments.drift_alarms import alarms
from experiments.ideality_size import cases, draw_normal, ideal_normal, size
from experiments.inference_coverage import coverage, readme
from fairprog.cli import main
from fairprog.evidence.mean_scores import Scores
from fairprog.programs.estimation_error import estimation_error, fisher_root
from fairprog.programs.responses.linear_response import geometry_of, response_of

ROWS = [[1200, 800], [1200, 800]]


def fitted(seed=0, n=3000, d=1):
    D = readme() if d == 1 else ideal_normal(d, 2, 2)
    return draw_normal(D, n, np.random.default_rng(seed))


# ------------------------------------------------------------------------------ test of ideality


def normal(d, K=2, G=2, **options):
    mean = np.random.default_rng(0).standard_normal((K, G, d))
    cov = np.broadcast_to(np.eye(d), (K, G, d, d))
    return fp.Normal(np.full((K, G), 1 / (K * G)), mean, cov=cov, **options).with_rows(
        np.full((K, G), 500)
    )


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(("K", "G"), [(2, 2), (3, 2)])
def test_degrees_of_freedom_are_those_of_the_theory(d, K, G):
    D, triangle = normal(d, K, G), d * (d + 1) // 2
    one = fp.ideality_test(D, steer=[1], transport=fp.Monotone("identity"))
    assert one.df == (G - 1) * (K - 1) * (d + triangle + 1)
    keep = fp.ideality_test(D, steer=[1], transport=fp.Monotone("identity"), base_rates="keep")
    assert keep.df == one.df - (G - 1) * (K - 1)
    affine = fp.ideality_test(D, steer=[1])
    assert affine.df == (G - 1) * ((K - 1) * (1 + d + triangle) - d * (d - 1) // 2)
    if K == 2:
        assert affine.df == (G - 1) * (2 * d + 1)


def test_other_families_have_their_own_count():
    prior = np.array([[0.3, 0.2], [0.3, 0.2]])
    E = fp.Exponential(prior, [[1.0, 2.0], [3.0, 6.0]]).with_rows(ROWS)
    found = fp.ideality_test(E)
    assert (found.df, found.statistic) == (2, pytest.approx(0.0, abs=1e-6))
    assert fp.ideality_test(fp.Laplace(prior, ROWS, np.ones((2, 2))).with_rows(ROWS),
                            steer=[1]).df == 3  # fmt: skip
    with pytest.raises(fp.ModelError, match="nothing to test"):
        one = fp.Normal([[0.5, 0.5]], [[0.0, 1.0]], std=[[1.0, 2.0]]).with_rows([[50, 50]])
        fp.ideality_test(one, steer=[1])


def test_one_group_is_scaled_by_the_mass_that_stays():
    D = fitted()
    kl = fp.NearestIdeal(D, steer=[1]).solve("closed-form").kl
    found = fp.ideality_test(D, steer=[1])
    assert found.statistic == pytest.approx(2 * 3000 * kl * D.group_mass[0], rel=1e-12)
    assert found.pvalue == pytest.approx(stats.chi2.sf(found.statistic, 3))


def test_it_rejects_as_often_as_it_says():
    """A small part of experiments/ideality_size.py; unscaled, the one-group test would fail."""
    name, draw, options = next(iter(cases()))
    rejected, mean, df = size(draw, options, 2000, 150)
    assert df == 3 and rejected < 0.11 and abs(mean - df) < 0.6, name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_size_and_power_of_many_cases():
    for _, draw, options in list(cases())[:9]:
        rejected, mean, df = size(draw, options, 2000, 400)
        assert abs(rejected - 0.05) < 0.035 and mean == pytest.approx(df, rel=0.1)


def test_a_population_must_know_its_rows():
    with pytest.raises(fp.DataError, match="with_rows"):
        fp.ideality_test(readme())
    D = fitted(n=3000)
    with pytest.raises(fp.ModelError, match="all groups but one"):
        three = ideal_normal(1, 2, 3).with_rows(np.full((2, 3), 900))
        fp.ideality_test(three, steer=[2])
    assert "family" in str(fp.ideality_test(D))


def test_finite_populations_by_permutation():
    rng = np.random.default_rng(0)
    x, y, a = rng.integers(0, 4, 400), rng.integers(0, 2, 400), rng.integers(0, 2, 400)
    D = fp.Categorical.fit(x, y, sensitive_features=a)
    same = fp.ideality_test(D, n_permutations=199)
    assert same.df == 7 and same.pvalue > 0.01
    told = fp.Categorical.fit(np.where(a == 1, np.minimum(x + 1, 3), x), y, sensitive_features=a)
    assert fp.ideality_test(told, n_permutations=199).pvalue == pytest.approx(1 / 200)
    p = [
        fp.ideality_test(
            fp.Categorical.fit(rng.integers(0, 3, 120), rng.integers(0, 2, 120),
                               sensitive_features=rng.integers(0, 2, 120)),
            n_permutations=49, base_rates="keep",
        ).pvalue
        for _ in range(60)
    ]  # fmt: skip
    assert np.mean(np.array(p) <= 0.1) < 0.25 and 0.35 < np.mean(p) < 0.65


def test_the_family_is_tested_where_rows_are_given():
    rng = np.random.default_rng(1)
    y, a = rng.integers(0, 2, 1600), rng.integers(0, 2, 1600)
    x = rng.standard_normal(1600) + y
    fine = fp.Normal.fit(x, y, sensitive_features=a)
    found = fp.ideality_test(fine, X=x, y=y, sensitive_features=a)
    assert found.refuted == () and len(found.fits) == 4
    bent = np.where(a == 1, np.exp(x), x)
    D = fp.Normal.fit(bent, y, sensitive_features=a)
    found = fp.ideality_test(D, X=bent, y=y, sensitive_features=a)
    assert {g for _, g in found.refuted} == {1} and "refuted" in str(found)
    L = fp.Laplace.fit(x, y, sensitive_features=a)
    small = slice(0, 600)
    found = fp.ideality_test(L, steer=[1], X=x[small], y=y[small], sensitive_features=a[small])
    assert all(f.pvalue <= 1 for f in found.fits.values()) and len(found.fits) == 4


# ------------------------------------------------------------------------------------- intervals


def close_refit(D, transport=None, steer=(1,)):
    """Compare derivatives by the implicit-function theorem with those of refits."""
    sol = fp.NearestIdeal(D, steer=list(steer), transport=transport).solve()
    geometry = fp.NearestIdeal(D, steer=list(steer), transport=transport).geometry
    response = response_of(geometry, 0, sol.affine[D.groups[steer[0]]])
    error = estimation_error(D, np.random.default_rng(0))
    for move in error.moves[:: max(1, len(error.moves) // 6)]:
        maps, again = [], []
        for sign in (1, -1):
            E = error.moved(move, sign * 0.02)
            maps.append(response.at(geometry_of(geometry, E)).user_map)
            refit = fp.NearestIdeal(E, steer=list(steer), transport=transport).solve()
            again.append(refit.affine[D.groups[steer[0]]])
        for name in ("matrix", "offset"):
            ours, theirs = (np.subtract(*(getattr(T, name) for T in two)) for two in (maps, again))
            np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max() + 1e-9)


def test_maps_of_other_families_follow_as_refits_do():
    D = readme()
    close_refit(fp.Logistic(D.prior, D.mean, D.std).with_rows(ROWS))
    diagonal = fp.Normal(
        D.prior, np.stack([D.mean, D.mean[::-1]], 2), cov=np.stack([D.std, D.std], 2) ** 2,
        covariance="diagonal",
    )  # fmt: skip
    close_refit(diagonal.with_rows(ROWS), fp.Diagonal())


def test_the_covariance_of_a_fitted_covariance_is_wisharts():
    """n cov(S_jk, S_lm) = S_jl S_km + S_jm S_kl, by the directions of the error."""
    D = ideal_normal(3, 2, 2).with_rows(np.full((2, 2), 500))
    error = estimation_error(D, np.random.default_rng(0))
    moves = np.stack([move[2][0, 0] for move in error.moves])
    S = D.cov[0, 0]
    wanted = np.einsum("jl,km->jklm", S, S) + np.einsum("jm,kl->jklm", S, S)
    np.testing.assert_allclose(np.einsum("ajk,alm->jklm", moves, moves), wanted / 500, atol=1e-12)


def test_mirror_images_follow_as_refits_do():
    D = fp.Normal(
        [[0.3, 0.2], [0.3, 0.2]], [[0.0, 2.0], [2.0, -0.5]], std=[[1.0, 1.2], [1.5, 2.0]]
    )
    sol = fp.NearestIdeal(D.with_rows(ROWS), steer=[1], orientation="any").solve("closed-form")
    assert sol.affine[1].matrix[0, 0] < 0
    found = sol.inference()
    again = sol.inference(method="bootstrap", n_bootstrap=60)
    assert found.matrix[1].se[0, 0] == pytest.approx(again.matrix[1].se[0, 0], rel=0.35)


def test_the_bias_of_the_divergence_is_that_of_simulation():
    """theory.md section 13: n times the bias is 1.92 with one group moved, 1.31 with all."""
    D = readme().with_rows(ROWS)
    one = fp.NearestIdeal(D, steer=[1]).solve("closed-form").inference()
    every = fp.NearestIdeal(D).solve("closed-form").inference()
    assert 4000 * one.kl.bias == pytest.approx(1.92, abs=0.05)
    assert 4000 * every.kl.bias == pytest.approx(1.31, abs=0.05)


def test_errors_of_estimates_are_those_of_samples():
    law = fp.Logistic([[0.5, 0.5]], [[0.0, 0.0]], [[1.0, 1.0]]).law(0, 0)
    V = fisher_root(law) @ fisher_root(law).T
    np.testing.assert_allclose(V, np.diag([3.0, 9 / (3 + np.pi**2)]), atol=1e-6)
    error = estimation_error(readme().with_rows(ROWS), np.random.default_rng(0))
    mean = sum(move[1] ** 2 for move in error.moves)[..., 0]
    np.testing.assert_allclose(mean, readme().std ** 2 / np.array(ROWS), rtol=1e-9)
    prior = sum(move[0] ** 2 for move in error.moves)
    np.testing.assert_allclose(prior, readme().prior * (1 - readme().prior) / 4000, rtol=1e-9)


def test_intervals_cover():
    found = coverage(readme(), 4000, 15, steer=[1])
    assert min(float(np.min(own.share)) for own in found.values()) > 0.6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_intervals_cover_as_often_as_promised():
    found = coverage(readme(), 4000, 400, steer=[1])
    assert all(np.all(np.abs(own.share - 0.95) < 0.035) for own in found.values())


def test_near_an_ideal_population_it_says_so():
    D = draw_normal(ideal_normal(1, 2, 2), 3000, np.random.default_rng(0))
    found = fp.NearestIdeal(D, steer=[1]).solve("closed-form").inference()
    assert not found.valid and "may be ideal" in str(found)
    far = fp.NearestIdeal(readme().with_rows(ROWS), steer=[1]).solve("closed-form").inference()
    assert far.valid and "may be ideal" not in str(far)


def test_what_is_inferred_is_shown_and_kept(tmp_path):
    sol = fp.NearestIdeal(readme().with_rows(ROWS), steer=[1]).solve("closed-form")
    assert "From 4,000 rows" not in sol.summary()
    found = sol.inference(confidence=0.9)
    assert "From 4,000 rows, 90% intervals (delta)" in sol.summary()
    assert "How sure" in sol.to_html()
    for name in ("a.json", "a.npz"):
        sol.save(tmp_path / name)
        again = fp.load(tmp_path / name).inferred
        assert (again.kl.low, again.confidence) == (found.kl.low, 0.9)
        np.testing.assert_array_equal(again.matrix[1].high, found.matrix[1].high)
        assert str(again) == str(found)


def test_what_has_no_intervals_is_refused():
    D = readme()
    with pytest.raises(fp.DataError, match="with_rows"):
        fp.NearestIdeal(D, steer=[1]).solve("closed-form").inference()
    bounded = fp.NearestIdeal(D.with_rows(ROWS), steer=[1], map_bound=0.1).solve()
    with pytest.raises(fp.ModelError, match="exact ideality"):
        bounded.inference()
    sol = fp.NearestIdeal(D.with_rows(ROWS), steer=[1]).solve("closed-form")
    with pytest.raises(fp.ModelError, match="'delta' or 'bootstrap'"):
        sol.inference(method="jackknife")
    with pytest.raises(fp.ModelError, match="hold no replicates"):
        sol.inference(method="bootstrap", moments=fp.Moments())


def test_replicates_of_moments_are_the_bootstrap_and_merge():
    X, y, a = readme().sample(3000, random_state=0)
    whole = fp.Moments(bootstrap=40)
    left, right = fp.Moments(bootstrap=40), fp.Moments(bootstrap=40)
    for start in range(0, 3000, 1000):
        rows = slice(start, start + 1000)
        for m in (whole, left if start < 1500 else right):
            m.partial_fit(X[rows], y[rows], sensitive_features=a[rows])
    left.merge(right)
    D, E = (list(m.replicates()) for m in (whole, left))
    for one, other in zip(D, E, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    plain = whole.population()
    spread = np.std([P.mean for P in D], axis=0)
    np.testing.assert_allclose(spread, plain.std / np.sqrt(plain.n_rows), rtol=0.45)
    sol = fp.NearestIdeal(plain, steer=[1]).solve("closed-form")
    boot, delta = sol.inference(method="bootstrap", moments=whole), sol.inference()
    assert boot.kl.se == pytest.approx(delta.kl.se, rel=0.4)
    with pytest.raises(fp.ModelError, match="bootstrap replicates"):
        whole.merge(fp.Moments().partial_fit(X, y, sensitive_features=a))


# ---------------------------------------------------------------------------- rows needed, drift


def test_rows_that_are_needed_are_enough():
    """Smirnov's test on so many rows sees a gap of .15 at least as often as asked for."""
    n = int(fp.rows_needed(readme(), delta=0.15).cells.max())
    shift = 2 * stats.norm.ppf(0.575)
    seen = [
        stats.ks_2samp(r.standard_normal(n), r.standard_normal(n) + shift).pvalue < 0.05
        for r in map(np.random.default_rng, range(200))
    ]
    assert 0.74 < np.mean(seen) < 0.97
    fewer = fp.rows_needed(readme().with_rows(ROWS), delta=0.05)
    assert len(fewer.short) == 4 and "needs" in str(fewer)
    with pytest.raises(fp.DataError, match="`delta`"):
        fp.rows_needed(readme(), delta=0.0)
    with pytest.raises(fp.ModelError, match="`what`"):
        fp.rows_needed(readme(), "risk")


def test_rows_for_a_divergence_are_those_of_the_noncentral_chi_square():
    found = fp.rows_needed(readme(), "kl", delta=0.004, power=0.9)
    power = stats.ncx2.sf(stats.chi2.isf(0.05, 3), 3, 2 * found.total * 0.004)
    assert power == pytest.approx(0.9, abs=0.002)


def test_drift_is_found_and_the_same_population_is_left_alone():
    D = readme()
    sol = fp.NearestIdeal(D.with_rows([[6000, 4000]] * 2), steer=[1]).solve("closed-form")
    alarms = []
    for seed in range(12):
        X, y, a = D.sample(800, random_state=seed)
        alarms.append(sol.drift(X, y, sensitive_features=a).drifted)
    assert np.mean(alarms) < 0.3
    X, y, a = D.sample(3000, random_state=99)
    moved = sol.drift(X + 0.3 * ((a == 1) & (y == 0))[:, None], y, sensitive_features=a)
    assert moved.drifted and moved.moved == ((0, 1),) and "class 0, group 1" in moved.verdict
    fewer = y == 1
    keep = ~fewer | (np.arange(3000) % 2 == 0) | (a == 0)
    rates = sol.drift(X[keep], y[keep], sensitive_features=a[keep])
    assert rates.moved == ((None, 1),)
    unlabelled = sol.drift(X + 0.5 * (a == 1)[:, None], sensitive_features=a)
    assert (None, 1) in unlabelled.moved and "without labels" in unlabelled.verdict
    fig, ax = moved.plot()
    assert len(ax.patches) == 6 and fig is not None


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("law", ["skew", "point mass"])
def test_a_family_that_is_wrong_is_no_drift(law, labelled):
    """A likelihood ratio took it for one in half of such samples: experiments/drift_alarms.py."""
    assert alarms(law, 600, labelled, 12) <= 0.17


def test_rows_that_moved_are_found_where_the_family_is_wrong():
    assert alarms("point mass", 3000, True, 4, shift=0.8) == 1.0
    assert alarms("heavy tails", 3000, False, 4, shift=0.8) == 1.0


def test_shared_covariances_and_other_families_are_compared_too():
    rng = np.random.default_rng(0)
    y, a = rng.integers(0, 2, 3000), rng.integers(0, 2, 3000)
    X = rng.standard_normal((3000, 2)) + np.stack([y, a * y], axis=1)
    old, new = slice(0, 1500), slice(1500, 3000)
    at = {"sensitive_features": a[new]}
    for covariance in ("tied", "diagonal"):
        D = fp.Normal.fit(X[old], y[old], sensitive_features=a[old], covariance=covariance)
        sol = fp.NearestIdeal(D, steer=[1], transport=fp.Diagonal()).solve()
        assert not sol.drift(X[new], y[new], **at).drifted
        wide = sol.drift(X[new] * np.where(a[new] == 1, 1.5, 1.0)[:, None], y[new], **at)
        assert {g for _, g in wide.moved} == {1}
    with pytest.raises(fp.ModelError, match="Pass `y`"):
        L = fp.Laplace.fit(X[old, 0], y[old], sensitive_features=a[old])
        fp.NearestIdeal(L, steer=[1]).solve().drift(X[new, 0], **at)
    for family in (fp.Laplace, fp.Gamma, fp.Exponential, fp.Weibull):
        x = np.exp(0.3 * X[:, 0]) if family is not fp.Laplace else X[:, 0]
        D = family.fit(x[old], y[old], sensitive_features=a[old])
        sol = fp.NearestIdeal(D, steer=[1]).solve()
        assert not sol.drift(x[new], y[new], **at).drifted
        assert sol.drift(x[new] * 1.5 + (family is fp.Laplace), y[new], **at).drifted
    with pytest.raises(fp.DataError, match="8"):
        sol.drift(x[new][:9], y[new][:9], sensitive_features=a[new][:9])


def test_products_of_scores_stand_for_them_where_they_are_more_than_rows():
    z = np.random.default_rng(0).standard_normal((40, 12))
    for single, double in ((True, True), (False, True), (True, False)):
        some, many = Scores(z, single, double), Scores(np.vstack([z] * 9), single, double)
        F, E = some.in_coordinates(), many.in_coordinates()[:40]
        np.testing.assert_allclose(F @ F.T, E @ E.T, atol=1e-9)
        np.testing.assert_allclose((F**2).sum(axis=1), some.squares, atol=1e-9)
        assert some.mean @ some.mean == pytest.approx((E.mean(axis=0) ** 2).sum())


def test_the_command_says_no_by_its_exit_code(tmp_path, capsys):
    X, y, a = readme().sample(3000, random_state=0)

    def table(name, x, label=True):
        lines = [f"{v},{k},{g}" if label else f"{v},{g}" for v, k, g in zip(x[:, 0], y, a)]  # noqa: B905
        (tmp_path / name).write_text("\n".join(["x,y,g" if label else "x,g", *lines]))
        return str(tmp_path / name)

    model = str(tmp_path / "step.json")
    fit = table("fit.csv", X)
    assert main(["steer", fit, "--label", "y", "--sensitive", "g", "--model", model,
                 "--splits", "0"]) == 0  # fmt: skip
    assert json.loads((tmp_path / "step.json").read_text())
    assert main(["drift", model, fit]) == 0
    figure = str(tmp_path / "drift.png")
    assert main(["drift", model, table("moved.csv", X + 0.4 * (a == 1)[:, None]), "--plot",
                 figure]) == 3  # fmt: skip
    assert (tmp_path / "drift.png").stat().st_size > 1000
    assert main(["drift", model, table("plain.csv", X, label=False)]) == 0
    assert "classes are not checked" in capsys.readouterr().out
    assert main(["drift", model, fit, "--plot", "x.txt"]) == 1


def test_numbers_of_another_kind_are_refused():
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    with pytest.raises(fp.ModelError, match="`population` must be a population"):
        fp.rows_needed(np.zeros((3, 2)), delta=0.1)
    X, y, a = D.sample(2000, random_state=0)
    fitted = fp.Normal.fit(X, y, sensitive_features=a)
    with pytest.raises(fp.DataError, match="`confidence` must lie between 0 and 1"):
        fp.NearestIdeal(fitted, steer=[1]).solve().inference(confidence=95)


def test_what_is_not_corrected_for_its_bias_is_not_valid():
    rng = np.random.default_rng(0)
    mean = np.zeros((2, 2, 5))
    mean[1, :, 0], mean[1, 1, 1] = 2.0, 1.0
    D = fp.Normal([[0.25, 0.25], [0.25, 0.25]], mean, cov=np.tile(np.eye(5), (2, 2, 1, 1)))
    X, y, a = D.sample(1000, random_state=rng)
    E = fp.Normal.fit(X, y, sensitive_features=a)
    joint = fp.NearestIdeal(E, base_rates="joint").solve().inference()
    assert not joint.valid and "not corrected for its bias" in str(joint)
    for steer in ("all", [1]):
        found = fp.NearestIdeal(E, steer).solve().inference()
        assert found.corrected and "not corrected" not in str(found)


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_affine_maps_that_classes_do_not_tell_apart_are_said(ratio):
    D = fp.Normal(
        [[0.25, 0.25], [0.25, 0.25]],
        np.array([[[0.0, 0.0]] * 2, [[2.0, 0.0]] * 2]),
        cov=np.array([np.eye(2), np.diag([1.0, ratio])])[:, None].repeat(2, axis=1),
    )
    X, y, a = D.sample(4000, random_state=0)
    found = fp.ideality_test(fp.Normal.fit(X, y, sensitive_features=a), steer=[1])
    assert found.conservative == (ratio == 1.0)
    assert ("too much alike" in str(found)) == found.conservative
