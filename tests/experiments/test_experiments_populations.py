"""The experiments on populations: each runs in its quick mode, and its measures are checked."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal

import fairprog as fp
from experiments import (
    dimensions,
    ellipses,
    frontier,
    log_normal,
    measures,
    misspecification,
    random_populations,
    runner,
    sample_size,
    transfer_bounds,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"

# what each writes: tables and pictures; how many claims it makes, and which words say that a
# claim may fail
WRITES = {
    "ellipses": ({"rows.csv"}, {"two_classes.png", "three_classes.png"}, 7, ()),
    "dimensions": ({"populations.csv", "table.csv"}, {"dimensions.png"}, 9, ("leaves the error",)),
    "log_normal": ({"cells.csv", "table.csv"}, {"log_normal.png"}, 5, ()),
    "sample_size": ({"repetitions.csv", "summary.csv"}, {"sample_size.png"}, 12, ()),
    "misspecification": ({"gaps.csv"}, {"misspecification.png"}, 8, ("however far b departs",)),
    "frontier": ({"frontier.csv"}, {"frontier.png"}, 10, ("larger bound never means",)),
    "transfer_bounds": (
        {"random.csv", "counterexample.csv"}, {"transfer_bounds.png"}, 9, ("no class is rare",),
    ),
}  # fmt: skip
LONG = {"dimensions", "sample_size", "transfer_bounds", "log_normal"}  # run by make test-all


def read(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in WRITES]
)
def test_the_claims_hold_in_the_quick_mode_too(name, tmp_path):
    tables, pictures, count, may_fail = WRITES[name]
    claims = runner._load(name).run(tmp_path, quick=True)
    assert len(claims) == count
    for claim in claims:
        assert re.search(r"\d", claim.measured)
        if not claim.holds:
            assert claim.note
            assert any(words in claim.text for words in may_fail), claim
    assert {p.name for p in tmp_path.iterdir()} == tables | pictures
    for picture in pictures:
        assert (tmp_path / picture).stat().st_size < 120_000
    for table in tables:
        assert len(read(tmp_path / table)) >= 3


# ------------------------------------------------------------------------------------ the page


def test_the_page_names_every_experiment_and_shows_pictures_that_they_make():
    page = (DOCS / "experiments.rst").read_text(encoding="utf-8")
    for name in runner.names():
        assert f"``{name}``" in page, name
    made = set().union(*(pictures for _, pictures, _, _ in WRITES.values()))
    shown = re.findall(r"^\.\. (?:image|figure):: images/(\S+)$", page, flags=re.MULTILINE)
    others = {"univariate.png", "zero_prices.png", "notions_compared.png"}
    assert set(shown) <= made | others | {"fair_score.png", "nearest_fair.png"}
    assert len(shown) >= 5
    for picture in shown:
        assert (DOCS / "images" / picture).stat().st_size < 120_000


# ------------------------------------------------------------------------- measures, populations


@pytest.mark.parametrize(("d", "K", "G"), [(1, 2, 2), (3, 3, 3)])
def test_random_populations(d, K, G):
    make = random_populations.random_population
    D = make(np.random.default_rng(0), d, K, G, rare=0.01)
    assert (D.n_features, D.n_classes, D.n_groups) == (d, K, G)
    np.testing.assert_allclose(D.base_rates[-1], 0.01)
    assert np.ptp(make(np.random.default_rng(1), d, K, G).base_rates, axis=1).max() < 1e-12
    free = make(np.random.default_rng(1), d, K, G, equal_rates=False)
    assert np.ptp(free.base_rates, axis=1).max() > 1e-3


def test_log_joint_against_scipy():
    D = random_populations.random_population(np.random.default_rng(3), 3, 3, 2)
    x = np.random.default_rng(0).normal(size=(5, 3))
    for a in range(2):
        expected = [
            np.log(D.prior[i, a]) + multivariate_normal.logpdf(x, D.location[i, a], D.cov[i, a])
            for i in range(3)
        ]
        found = measures.log_joint(D, a, x) - 1.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(found, np.transpose(expected), atol=1e-10)


def test_the_sampled_jensen_shannon_divergence_against_the_exact_one():
    D, E = (
        random_populations.random_population(np.random.default_rng(s), 1, equal_rates=False)
        for s in (0, 1)
    )
    value, error = measures.jensen_shannon_sampled(D, E, 2**10)
    assert value == pytest.approx(measures.jensen_shannon(D, E), abs=6 * error + 1e-5)
    assert 0 < error < 1e-2
    assert measures.jensen_shannon_sampled(D, D, 2**6)[0] == pytest.approx(0.0, abs=1e-12)


# ------------------------------------------------------------------------------------- ellipses


@pytest.mark.parametrize("case", ellipses.CASES)
def test_posteriors_agree_in_common_coordinates_only(case):
    D = ellipses.CASES[case]()
    sol = fp.NearestIdeal(D, steer=["b"]).solve("newton")
    assert ellipses.disagreement(ellipses.pulled_back(sol), 40) < 1e-10
    # controls: ideal, but each group in coordinates of its own; and not ideal
    assert ellipses.disagreement(sol.population, 40) > 0.5
    spoilt = replace(sol, population=D)
    assert ellipses.disagreement(ellipses.pulled_back(spoilt), 40) > 0.05


# ----------------------------------------------------------------------------------- dimensions


def test_one_population_of_the_table():
    D = random_populations.random_population(np.random.default_rng(2), 3)
    table = dict(zip(dimensions.ROWS, dimensions.rows(D, 2**6), strict=True))
    worst, kl = (dimensions.COLUMNS.index(c) for c in (dimensions.COLUMNS[4], "KL (nats)"))
    assert table["original"][worst] > 0.05
    assert table["original"][kl] < 1e-15
    assert all(row[worst] < 1e-10 for name, row in table.items() if name != "original")
    for less, more in dimensions.ORDERS:
        assert table[less][kl] <= table[more][kl] + 1e-9
        assert table[less][kl] > 0
    # control: the claims see a row that is not fair, and an order that is wrong
    dims, values = (3,), np.stack(list(table.values()))[None, None]
    assert all(c.holds for c in dimensions._claims(dims, np.repeat(values, 2, axis=1))[:7])
    values[0, 0, 2, worst] = 0.01
    values[0, 0, dimensions.ROWS.index("monotone"), kl] += 10.0
    found = dimensions._claims(dims, np.repeat(values, 2, axis=1))
    failed = [c.text for c in found if not c.holds]
    assert any("exactly fair" in text for text in failed)
    assert any("monotone at most scaling" in text for text in failed)


# ----------------------------------------------------------------------------------- log-normal


def test_quadrature_in_units_sees_another_population():
    D = log_normal.population()
    P = fp.NearestIdeal(D, steer=["b"]).solve().population
    assert log_normal.kl_by_quadrature(P, D) == pytest.approx(P.kl(D), abs=1e-9)
    other = fp.LogNormal(D.prior, D.mean + 0.01, std=D.std, groups=D.groups)
    assert abs(log_normal.kl_by_quadrature(P, other) - P.kl(D)) > 1e-4
    gaps = [
        abs(log_normal.rate_by_grid(Q, 1, 0, 2**12) - log_normal.rate_by_grid(Q, 1, 1, 2**12))
        for Q in (D, P)
    ]
    assert gaps[0] > 0.2
    assert gaps[1] < 1e-3


# ---------------------------------------------------------------------------------- sample size


@pytest.mark.parametrize("case", sample_size.CASES)
def test_the_truth_moved_by_its_own_maps_is_the_steered_population(case):
    truth = sample_size.CASES[case]()
    sol = fp.NearestIdeal(truth, steer=["b"]).solve("newton")
    moved = sample_size.moved_truth(truth, sol)
    np.testing.assert_allclose(moved.prior, sol.population.prior, atol=1e-12)
    np.testing.assert_allclose(moved.location, sol.population.location, atol=1e-10)
    np.testing.assert_allclose(moved.cov, sol.population.cov, atol=1e-10)
    assert max(sample_size.worst_gaps(moved)) < 1e-9
    # control: the gap is there before, and maps of another population leave some of it
    assert min(sample_size.worst_gaps(truth)) > 0.1
    other = fp.Normal(truth.prior, truth.location + 0.1 * np.arange(2)[:, None, None],
                      cov=1.2 * truth.cov, groups=truth.groups)  # fmt: skip
    wrong = fp.NearestIdeal(other, steer=["b"]).solve("newton")
    assert min(sample_size.worst_gaps(sample_size.moved_truth(truth, wrong))) > 1e-3


def test_the_moved_truth_is_the_law_of_the_steered_rows():
    truth = sample_size.multivariate(2)
    X, y, a = truth.sample(300, random_state=1)
    sol = fp.NearestIdeal(fp.Normal.fit(X, y, sensitive_features=a), steer=["b"]).solve("newton")
    moved = sample_size.moved_truth(truth, sol)
    X, y, a = truth.sample(40_000, random_state=2)
    found = fp.Normal.fit(
        sol.steer(X, y, sensitive_features=a), y, sensitive_features=a,
        sample_weight=sol.sample_weight(y, sensitive_features=a),
    )  # fmt: skip
    np.testing.assert_allclose(found.prior, moved.prior, atol=0.01)
    np.testing.assert_allclose(found.location, moved.location, atol=0.08)
    np.testing.assert_allclose(found.cov, moved.cov, atol=0.15)


def test_the_width_of_the_band_and_the_slope():
    truth = sample_size.univariate()
    e = np.sqrt(np.log(80.0) / 2.0)
    dp = e * (1 / np.sqrt(600.0) + 1 / np.sqrt(400.0))
    eo = e * (1 / np.sqrt(300.0) + 1 / np.sqrt(160.0))
    np.testing.assert_allclose(sample_size.dkw_width(truth, 1000), [dp, eo])
    sizes = [100, 1000, 10_000]
    noise = np.exp(0.1 * np.random.default_rng(0).normal(size=(3, 20)))
    for power in (-0.5, -0.3):
        gaps = noise * np.array(sizes)[:, None] ** power
        value, error = sample_size.slope(sizes, gaps)
        assert value == pytest.approx(power, abs=5 * error)
        claim = sample_size._claims("x", sizes, gaps, 1.0, np.ones(3))[0]
        assert claim.holds == (power == -0.5)


# ----------------------------------------------------------------------------- misspecification


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("family", misspecification.FAMILIES)
def test_the_laws_have_mean_0_and_variance_1_and_their_points(family, level):
    make, top, _ = misspecification.FAMILIES[family]
    law = make(level * top)

    def density(z):
        return float(np.exp(law.log_density(np.array([z]))[0]))

    end = 3000.0 if family == "heavy tails" else 60.0
    pieces = [(-end, -8.0), (-8.0, 8.0), (8.0, end)]
    for power, expected in ((0, 1.0), (1, 0.0), (2, 1.0)):
        value = sum(
            quad(lambda z, p=power: z**p * density(z), low, high, limit=400)[0]
            for low, high in pieces
        )
        assert value == pytest.approx(expected, abs=0.03 if level == 1.0 else 2e-3), power
    points = np.sort(law.points(64))
    below = [quad(density, -8.0, z, limit=400)[0] for z in points[[16, 32, 48]]]
    expected = (np.array([16, 32, 48]) + 0.5) / 64
    np.testing.assert_allclose(below, expected, atol=0.02)


@pytest.mark.parametrize("strength", misspecification.STRENGTH.values())
def test_the_quadrature_agrees_with_the_exact_gap_of_normal_laws(strength):
    D = misspecification.population(strength)
    laws = misspecification.normal(), misspecification.normal()
    found = misspecification.worst_gap(D, laws, 2**12)
    exact = D.ideality_gap(fp.EqualizedOdds())
    assert exact > 0.1  # control: there is something to remove
    assert found == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("family", misspecification.FAMILIES)
def test_only_a_law_that_differs_between_groups_leaves_a_gap(family):
    make, top, _ = misspecification.FAMILIES[family]
    n = 2**10
    alone, left, both, exact = misspecification.measure(1.0, make, 0.8 * top, n)
    assert min(alone, both) > 0.05
    assert left > 0.1
    assert exact <= 2 / n


def test_where_steering_stops_helping():
    x = np.array([0.0, 1.0, 2.0])
    assert misspecification.crossing(x, np.ones(3), np.array([0.0, 0.5, 1.5])) == 1.5
    assert misspecification.crossing(x, np.ones(3), np.array([0.0, 0.5, 0.9])) is None
    assert misspecification.crossing(x, np.ones(3), np.array([2.0, 0.5, 0.9])) == 0.0


# ------------------------------------------------------------------------------------- frontier


def test_a_wrong_price_or_a_bent_frontier_is_seen():
    D = frontier.univariate()
    curve = frontier.trace(D, np.linspace(0.0, 0.8, 5), "frontier", 61)
    original = np.array(frontier.worst_gaps(D, 61))
    assert original.min() > 0.1
    slope = curve.price[0]

    def failed(c, slope=slope):
        return {k for k, x in enumerate(frontier._claims("x", c, slope, original)) if not x.holds}

    assert failed(curve) == set()
    assert failed(curve, 1.01 * slope) == {0}
    wrong = replace(curve, price=0.5 * curve.price)
    assert failed(wrong) == {0, 2}
    bent = replace(curve, kl=np.sqrt(curve.kl))
    assert 2 in failed(bent)
    assert 1 in failed(replace(curve, kl=curve.kl + np.array([0.0, 0.0, 0.1, 0.0, 0.0])))
    assert failed(replace(curve, gaps=curve.gaps[::-1])) == {3, 4}


# ------------------------------------------------------------------------------ transfer bounds


def test_the_joint_bound_fails_in_the_counterexample():
    kl, gap, bound, joint = transfer_bounds.counterexample(0.01)
    assert kl == pytest.approx(0.01, abs=1e-12)
    assert joint == pytest.approx(0.2828, abs=1e-4)
    assert gap == pytest.approx(0.5205, abs=1e-4)
    assert joint < gap < bound
    # control: it does not where the class is common
    _, gap, _, joint = transfer_bounds.counterexample(0.2)
    assert joint > gap


def test_a_violated_bound_would_be_seen():
    rng = np.random.default_rng(0)
    rows = []
    for rare in (False, True):
        D = random_populations.random_population(rng, 1, rare=0.003 if rare else None)
        sol = fp.NearestIdeal(D, steer=["b"]).solve("newton")
        for C in transfer_bounds.costs(D, rng):
            found, slack, unfair = transfer_bounds.compare(D, sol, C)
            assert slack >= 0
            assert unfair < 1e-9
            rows += [[1, 2, 2, 0, rare, False, sol.kl, k, *v] for k, v in found.items()]
    claims = transfer_bounds._claims(rows, 0.0, 0.0)
    assert all(c.holds for c in claims if "never exceeded" in c.text)
    # a tenth of the bound is exceeded by some rule of every notion
    spoilt = [[*row[:9], 0.1 * row[9], row[10]] for row in rows]
    claims = transfer_bounds._claims(spoilt, -1e-3, 1e-3)
    held = [c.text for c in claims if c.holds and "exceed" in c.text]
    assert not [text for text in held if "cell-wise" in text or "risk" in text]
    assert not claims[0].holds
