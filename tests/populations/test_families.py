"""Univariate families: divergence, fit, Bayes rates, bijections, against independent numbers."""

import itertools
import warnings

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import fairprog as fp
from fairprog.kernels.line.line_quadrature import numeric_slope
from fairprog.populations import Population, population_from_dict
from tests.family_laws import FAMILIES, POSITIVE, SCIPY, Power15

Q = np.array([[0.3, 0.2], [0.25, 0.25]])


class StudentT(fp.LocationScale):
    """Not log-concave, and its atom says so."""

    @staticmethod
    def neg_log_density(z):
        return 50.0 * np.log1p(np.square(z) / 99.0) + 0.921463742793

    @staticmethod
    def atom(z):
        return 50.0 * cp.log(1.0 + cp.square(z) / 99.0) + 0.921463742793

    @staticmethod
    def draw(rng, size):
        return rng.standard_t(99, size)


def parameters(family, rng):
    first = np.exp(rng.uniform(-0.5, 0.9, (2, 2)))
    if family not in POSITIVE:
        first = rng.normal(scale=1.5, size=(2, 2))
    return first, np.exp(rng.uniform(-0.7, 0.7, (2, 2)))


def integral(f, law, breaks):
    """Integrate over the law's support in pieces, by scipy."""
    ends = [*law.ppf([1e-15, 1e-6, 0.01, 0.3, 0.7, 0.99, 1 - 1e-6]), law.isf(1e-15), *breaks]
    low, high = max(law.support()[0], law.isf(1 - 1e-15)), law.isf(1e-25)
    ends = sorted({low, *(e for e in ends if low < e < high), high})
    parts = itertools.pairwise(ends)
    return sum(integrate.quad(f, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in parts)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(2))
def test_divergence_is_the_integral(family, seed):
    rng = np.random.default_rng(seed)
    (f1, s1), (f2, s2) = parameters(family, rng), parameters(family, rng)
    if family is fp.ShiftedExponential:
        f2 = f1 - np.abs(f2)  # supports must nest
    D, E = family(Q, f1, s1), family(Q, f2, s2)
    ours = D.cell_divergences(E)
    for i, a in np.ndindex(2, 2):
        p, q = SCIPY[family](f1[i, a], s1[i, a]), SCIPY[family](f2[i, a], s2[i, a])

        def integrand(x, p=p, q=q):
            return p.pdf(x) * (p.logpdf(x) - q.logpdf(x)) if p.pdf(x) > 0 else 0.0

        breaks = [f1[i, a], f2[i, a]]
        assert ours[i, a] == pytest.approx(integral(integrand, p, breaks), rel=1e-8, abs=1e-10)
    assert D.kl(E) == pytest.approx(float((Q * ours).sum()), rel=1e-14)
    assert D.kl(D) == 0.0


def test_exponential_is_gamma_of_shape_one():
    m, n = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 1.0], [1.0, 9.0]])
    D, E = fp.Exponential(Q, m), fp.Exponential(Q, n)
    assert D.cell_divergences(E) == pytest.approx(m / n - 1.0 - np.log(m / n), rel=1e-13)
    same = fp.Gamma(Q, np.ones((2, 2)), m).kl(fp.Gamma(Q, np.ones((2, 2)), n))
    assert same == D.kl(E)


def test_divergence_is_infinite_unless_supports_nest():
    D = fp.ShiftedExponential(Q, np.zeros((2, 2)), np.ones((2, 2)))
    E = fp.ShiftedExponential(Q, [[0.1, 0.0], [0.0, 0.0]], np.ones((2, 2)))
    assert D.kl(E) == np.inf
    assert E.kl(D) == pytest.approx(0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_fit_back(family):
    rng = np.random.default_rng(3)
    first, second = parameters(family, rng)
    D = family(Q, first, second, classes=["no", "yes"], groups=["a", "b"])
    X, y, a = D.sample(40_000, 1)
    for i, a_ in np.ndindex(2, 2):
        rows = (y == D.classes[i]) & (a == D.groups[a_])
        law = SCIPY[family](first[i, a_], second[i, a_])
        assert stats.kstest(X[rows, 0], law.cdf).pvalue > 1e-4
    E = family.fit(X, y, sensitive_features=a)
    assert E.kl(D) < 0.01 or not np.isfinite(D.kl(E))
    assert E.classes == D.classes and E.groups == D.groups


@pytest.mark.parametrize(
    ("family", "law"),
    [
        (fp.Laplace, stats.laplace),
        (fp.Logistic, stats.logistic),
        (fp.Gumbel, stats.gumbel_r),
        (fp.GumbelMin, stats.gumbel_l),
        (fp.ShiftedExponential, stats.expon),
    ],
)
def test_fit_is_scipys(family, law):
    x = law(1.0, 2.0).rvs(501, random_state=0)
    y, a = np.zeros(501, int), np.zeros(501, int)
    D = family.fit(x, y, sensitive_features=a)
    loc, scale = law.fit(x)
    assert (D.loc[0, 0], D.scale[0, 0]) == pytest.approx((loc, scale), rel=1e-5)


def test_fit_of_positive_laws_is_scipys():
    x, zero = stats.gamma(2.3, scale=1.7).rvs(400, random_state=0), np.zeros(400, int)
    shape, _, scale = stats.gamma.fit(x, floc=0.0)
    D = fp.Gamma.fit(x, zero, sensitive_features=zero)
    assert (D.shape[0, 0], D.mean[0, 0]) == pytest.approx((shape, shape * scale), rel=1e-5)
    shape, _, scale = stats.weibull_min.fit(x, floc=0.0)
    W = fp.Weibull.fit(x, zero, sensitive_features=zero)
    assert (W.shape[0, 0], W.scale[0, 0]) == pytest.approx((shape, scale), rel=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, fp.Exponential])
def test_weights_count_rows(family):
    rng = np.random.default_rng(5)
    x = rng.gamma(2.0, size=60)
    y, a, w = np.tile([0, 1], 30), np.repeat([0, 1], 30), rng.integers(1, 4, 60)
    weighted = family.fit(x, y, sensitive_features=a, sample_weight=w)
    repeated = family.fit(*(np.repeat(v, w) for v in (x, y)), sensitive_features=np.repeat(a, w))
    assert weighted.prior == pytest.approx(repeated.prior)
    assert weighted.base_loc == pytest.approx(repeated.base_loc, rel=1e-6, abs=1e-7)
    assert weighted.base_scale == pytest.approx(repeated.base_scale, rel=1e-6)


def brute_rates(family, D, cost, first, second):
    """P(Yhat=j | i, a) by brute force: decisions on midpoints of each cell's law."""
    level = (np.arange(30_000) + 0.5) / 30_000
    rates = np.zeros((2, 2, 2))
    for a in range(2):
        laws = [SCIPY[family](first[i, a], second[i, a]) for i in range(2)]
        for i in range(2):
            x = laws[i].ppf(level)
            joint = np.stack([D.prior[k, a] * laws[k].pdf(x) for k in range(2)], axis=1)
            action = np.argmin(joint @ cost, axis=1)
            rates[i, a] = np.bincount(action, minlength=2) / level.size
    return rates


@pytest.mark.parametrize("family", FAMILIES)
def test_bayes_rates_against_brute_force(family):
    rng = np.random.default_rng(11)
    first, second = parameters(family, rng)
    D, cost = family(Q, first, second), np.array([[0.0, 1.0], [2.0, 0.0]])
    table = D.evaluate(cost).table.Z
    rates = np.swapaxes(table, 0, 1) / Q[..., None]
    assert rates == pytest.approx(brute_rates(family, D, cost, first, second), abs=1e-4)


def test_three_classes_against_brute_force():
    q = np.full((3, 2), 1 / 6)
    loc = np.array([[0.0, 1.0], [2.0, 0.5], [-1.0, 0.0]])
    scale = np.array([[1.0, 2.0], [0.5, 1.0], [2.0, 1.0]])
    D = fp.Logistic(q, loc, scale)
    x = np.linspace(-80, 80, 1_600_001)
    wrong = 0.0
    for a in range(2):
        laws = [stats.logistic(loc[i, a], scale[i, a]) for i in range(3)]
        joint = np.stack([q[i, a] * laws[i].pdf(x) for i in range(3)])
        wrong += float((joint.sum(axis=0) - joint.max(axis=0)).sum() * (x[1] - x[0]))
    assert D.evaluate().error == pytest.approx(wrong, abs=1e-9)


@pytest.mark.parametrize("family", [fp.Laplace, fp.Logistic, fp.Gamma, fp.ShiftedExponential])
def test_ideality_gap_is_the_ks_distance_of_posteriors(family):
    rng = np.random.default_rng(2)
    first, second = parameters(family, rng)
    D = family(Q, first, second)
    exact = D.ideality_gap()
    X, _, a = D.sample(200_000, 0)
    posterior = np.empty(len(X))
    for g in range(2):
        rows = a == g
        joint = [
            Q[i, g] * SCIPY[family](first[i, g], second[i, g]).pdf(X[rows, 0]) for i in range(2)
        ]
        posterior[rows] = joint[1] / (joint[0] + joint[1])
    distance = stats.ks_2samp(posterior[a == 0], posterior[a == 1]).statistic
    assert exact == pytest.approx(distance, abs=0.01)
    assert not D.is_ideal() and exact > 0.02


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    gain=st.floats(0.1, 30.0),
    shift=st.floats(-50.0, 50.0),
    family=st.sampled_from([fp.Laplace, fp.Logistic, fp.Gumbel, Power15]),
)
def test_invariant_under_affine_changes_of_units_and_labels(seed, gain, shift, family):
    rng = np.random.default_rng(seed)
    (l1, s1), (l2, s2) = parameters(family, rng), parameters(family, rng)
    D, E = family(Q, l1, s1), family(Q, l2, s2)
    moved = [family(Q, gain * x + shift, gain * s) for x, s in ((l1, s1), (l2, s2))]
    assert moved[0].kl(moved[1]) == pytest.approx(D.kl(E), rel=1e-9)
    assert moved[0].evaluate().error == pytest.approx(D.evaluate().error, abs=1e-9)
    turned = [
        family(Q[::-1, ::-1], x[::-1, ::-1], s[::-1, ::-1], classes=[1, 0], groups=[1, 0])
        for x, s in ((l1, s1), (l2, s2))
    ]
    assert turned[0].kl(turned[1]) == pytest.approx(D.kl(E), rel=1e-12)
    assert D.kl(turned[1]) == pytest.approx(D.kl(E), rel=1e-12)
    assert turned[0].evaluate().error == pytest.approx(D.evaluate().error, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    alpha=st.floats(0.3, 3.0),
    beta=st.floats(-3.0, 3.0),
    family=st.sampled_from([fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin, Power15]),
)
def test_gradient_of_the_divergence_against_differences(alpha, beta, family):
    law = family(Q, np.zeros((2, 2)), np.ones((2, 2))).law(0, 0)
    h = 1e-4
    central = [
        (law.expected(law, alpha + h, beta) - law.expected(law, alpha - h, beta)) / (2 * h),
        (law.expected(law, alpha, beta + h) - law.expected(law, alpha, beta - h)) / (2 * h),
    ]
    assert law.gradient(law, alpha, beta) == pytest.approx(central, rel=2e-6, abs=1e-6)


def test_slopes_are_derivatives():
    z = np.array([-3.0, -0.7, 0.3, 2.0, 5.0])
    for family in (fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin):
        numeric = numeric_slope(family.neg_log_density, family.kinks, z)
        assert family.slope(z) == pytest.approx(numeric, rel=1e-9, abs=1e-10)


# -- bijections --


@pytest.mark.parametrize(
    "make", [fp.Log, fp.Power, lambda: fp.Power(3.0), lambda: fp.YeoJohnson([0.3]), fp.Logit]
)
def test_bijections_invert(make):
    g = make()
    X = np.random.default_rng(0).uniform(0.05, 0.95, size=(200, 1))
    assert g.backward(g.forward(X)) == pytest.approx(X, rel=1e-12)
    if g.domain[0] == -np.inf:
        assert g.backward(g.forward(-5 * X)) == pytest.approx(-5 * X, rel=1e-12)


def test_fitted_bijections_are_scikit_learns():
    from sklearn.preprocessing import PowerTransformer

    X = np.random.default_rng(0).gamma(4.0, size=(400, 2)) * [1.0, -1.0]
    theirs = PowerTransformer(standardize=False).fit(X)
    g = fp.YeoJohnson(np.clip(theirs.lambdas_, 0, 2))
    inside = (theirs.lambdas_ >= 0) & (theirs.lambdas_ <= 2)
    assert inside.any()
    assert g.forward(X)[:, inside] == pytest.approx(theirs.transform(X)[:, inside], rel=1e-9)
    h = fp.QuantileNormal.fit(X)
    assert h.backward(h.forward(X * 1.5)) == pytest.approx(X * 1.5, rel=1e-9)
    assert stats.kstest(h.forward(X)[:, 0], "norm").pvalue > 0.5
    with pytest.raises(fp.DataError, match="repeated quantiles"):
        fp.QuantileNormal.fit(np.repeat([1.0, 2.0, 3.0], 50))


def test_log_normal_is_log_and_normal():
    D = fp.LogNormal(Q, [[0.0, 1.0], [2.0, 2.0]], std=[[1.0, 1.0], [1.0, 2.0]])
    T = fp.Transformed(fp.Normal(Q, D.mean, std=D.std), "log")
    here, there = (fp.NearestIdeal(P, steer=[1]).solve() for P in (D, T))
    assert here.kl == there.kl and D.evaluate().risk == T.evaluate().risk
    X, y, a = D.sample(100, 0)
    assert (T.sample(100, 0)[0] == X).all()
    moved = [s.steer(X, y, sensitive_features=a) for s in (here, there)]
    assert moved[0] == pytest.approx(moved[1], rel=1e-13)
    assert there.maps[1].affine.matrix == here.maps[1].affine.matrix


def test_transformed_in_two_dimensions_moves_users_units(tmp_path):
    rng = np.random.default_rng(0)
    cov = np.broadcast_to(np.array([[1.0, 0.3], [0.3, 1.0]]), (2, 2, 2, 2)).copy()
    base = fp.Normal(Q, rng.normal(size=(2, 2, 2)), cov=cov)
    D = fp.Transformed(base, fp.YeoJohnson([0.5, 1.5]))
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    assert sol.kl == fp.NearestIdeal(base, steer=[1]).solve().kl
    X, y, a = D.sample(50, 1)
    moved = sol.steer(X, y, sensitive_features=a)
    assert (moved[a == 0] == pytest.approx(X[a == 0])) and np.abs(moved - X).max() > 0.1
    sol.save(tmp_path / "answer.npz")
    again = fp.load(tmp_path / "answer.npz")
    assert again.steer(X, y, sensitive_features=a) == pytest.approx(moved, rel=1e-14)
    with pytest.raises(fp.ModelError, match="seen through"):
        D.kl(fp.Transformed(base, fp.YeoJohnson([0.5, 1.0])))
    with pytest.raises(fp.ModelError, match="1 features"):
        fp.Transformed(base, fp.YeoJohnson([0.5]))
    with pytest.raises(fp.DataError, match="strictly between 0 and 1"):
        fp.Transformed(base, "logit").as_features([[0.5, 1.0]])


# -- a family of one's own --


@pytest.mark.parametrize(
    "family", [fp.Laplace, fp.Logistic, fp.Gumbel, fp.GumbelMin, fp.ShiftedExponential, Power15]
)
def test_families_pass_their_check(family):
    fp.testing.check_family(family)


def test_positive_families_pass_their_check():
    fp.testing.check_family(fp.Gamma)
    fp.testing.check_family(fp.Weibull)
    fp.testing.check_family(fp.Exponential(Q, [[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(fp.ModelError, match="pass a population"):
        fp.testing.check_family(fp.Exponential)


def broken(**changes):
    return type("Broken", (Power15,), {k: staticmethod(v) for k, v in changes.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neg_log_density": lambda z: np.abs(z) ** 1.5}, "Broken.*integrates to"),
        ({"atom": lambda z: cp.abs(z)}, "Broken.*its atom is"),
        ({"draw": lambda rng, n: rng.normal(size=n)}, "Broken.*does not draw from its density"),
        ({"draw": lambda rng, n: rng.normal(size=(n, 1))}, "Broken.*shape"),
        ({"atom": lambda z: -cp.exp(z)}, "Broken is not log-concave.*exp\\(z\\)"),
    ],
)
def test_control_broken_families_are_named(changes, message):
    with pytest.raises(fp.ModelError, match=message):
        fp.testing.check_family(broken(**changes))


def test_control_a_family_that_is_not_as_symmetric_as_it_says_is_named():
    lopsided = type(
        "Lopsided", (fp.Gumbel,), {"symmetric": True, "atom": staticmethod(gumbel_atom)}
    )
    with pytest.raises(fp.ModelError, match="`symmetric` is True, but its density at"):
        fp.testing.check_family(lopsided)
    D = lopsided([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]])
    with pytest.raises(fp.ModelError, match="Lopsided calls itself symmetric"):
        fp.NearestIdeal(D, steer=[1], orientation="any")
    assert fp.NearestIdeal(D, steer=[1]).solve().certificate.ok


def test_a_family_of_ones_own_takes_no_name_of_the_package():
    with pytest.raises(fp.ModelError, match=r"has a population 'Laplace'.*another one"):
        type("Laplace", (Power15,), {})
    for _ in range(2):
        type("Mine", (Power15,), {})  # one's own may be written anew
    D = fp.Laplace([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]])
    assert type(population_from_dict(D.to_dict())) is fp.Laplace


def gumbel_atom(z):
    return z + cp.exp(-z)


def test_a_family_that_is_not_log_concave_is_named():
    with pytest.raises(fp.ModelError, match="StudentT"):
        fp.testing.check_family(StudentT)
    D = StudentT(Q, [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]])
    for solver in ("auto", "newton"):
        with pytest.raises(fp.ModelError, match="StudentT is not log-concave"):
            fp.NearestIdeal(D, steer=[1]).solve(solver)
    assert 0 < D.evaluate().error < 0.5  # Bayes rules need no convexity


def test_a_density_without_tails_is_refused():
    Flat = type("Flat", (Power15,), {"neg_log_density": staticmethod(lambda z: 0.0 * z)})
    with pytest.raises(fp.DataError, match="Flat does not vanish at infinity"):
        Flat(Q, np.zeros((2, 2)), np.ones((2, 2))).kl(Flat(Q, np.ones((2, 2)), np.ones((2, 2))))


def test_saving(tmp_path):
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        D = family(Q, *parameters(family, rng), classes=["n", "p"], groups=["x", "y"])
        kwargs = {"transport": fp.Translation()} if family is fp.Gamma else {}
        sol = fp.NearestIdeal(D, steer=["y"], **kwargs).solve()
        sol.save(tmp_path / "a.json")
        again = fp.load(tmp_path / "a.json")
        assert again.population.kl(again.original) == sol.kl
        assert type(again.original) is family and again.summary() == sol.summary()


# -- bad input --


def test_bad_parameters_are_named():
    with pytest.raises(fp.DataError, match=r"`scale` of class 'p', group 'y' must be positive"):
        fp.Laplace(Q, np.zeros((2, 2)), [[1, 1], [1, 0]], classes=["n", "p"], groups=["x", "y"])
    with pytest.raises(fp.DataError, match=r"`shape`.*positive"):
        fp.Gamma(Q, [[1, 1], [1, -1]], np.ones((2, 2)))
    with pytest.raises(fp.DataError, match="`mean` has shape"):
        fp.Exponential(Q, [1.0, 2.0])
    with pytest.raises(fp.DataError, match="positive for a gamma"):
        fp.Gamma.fit([1.0, -1.0] * 8, [0, 1] * 8, sensitive_features=[0] * 16)
    with pytest.raises(fp.DataError, match=r"Class 1, group 0 .* 1 distinct value"):
        fp.Logistic.fit([1.0, 2.0, 3.0, 3.0] * 4, [0, 0, 1, 1] * 4, sensitive_features=[0] * 16)
    with pytest.raises(fp.ModelError, match="needed is a Laplace"):
        fp.Laplace(Q, np.zeros((2, 2)), np.ones((2, 2))).kl(
            fp.Logistic(Q, np.zeros((2, 2)), np.ones((2, 2)))  # type: ignore[arg-type]
        )
    with pytest.raises(fp.ModelError, match="`bijection` must be"):
        fp.Transformed(fp.Logistic(Q, np.zeros((2, 2)), np.ones((2, 2))), "cube")
    with warnings.catch_warnings(), pytest.raises(fp.DataError, match="exponents"):
        warnings.simplefilter("error")
        fp.YeoJohnson([3.0])


def test_a_family_or_bijection_without_its_methods_says_what_is_missing():
    class Nothing(fp.LocationScale):
        pass

    class Nowhere(fp.Bijection):
        pass

    with pytest.raises(fp.ModelError, match="neg_log_density"):
        Nothing(Q, np.zeros((2, 2)), np.ones((2, 2))).evaluate()
    with pytest.raises(fp.ModelError, match="draw"):
        Nothing(Q, np.zeros((2, 2)), np.ones((2, 2))).sample(5)
    with pytest.raises(fp.ModelError, match="Nowhere needs the method `forward"):
        Nowhere().forward(np.ones((3, 1)))


def test_programs_refuse_a_density_that_is_not_normalised():
    loc, scale = [[0.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 2.0]]

    class Unnormalised(Power15):
        @staticmethod
        def neg_log_density(z):
            return np.abs(z) ** 1.5 / 1.5

    try:
        with pytest.raises(fp.ModelError, match=r"integrates to 2\.36.*add 0\.861.* to `neg_log"):
            fp.NearestIdeal(Unnormalised([[0.3, 0.2], [0.3, 0.2]], loc, scale), steer=[1])
    finally:
        Population._registry.pop("Unnormalised")
    assert fp.NearestIdeal(Power15([[0.3, 0.2], [0.3, 0.2]], loc, scale), steer=[1]).solve().kl > 0
