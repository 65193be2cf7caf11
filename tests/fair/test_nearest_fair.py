"""`NearestFair`: short forms against the conic program, its dual, and the returned population."""

import time
from collections.abc import Sequence
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logit, logsumexp, rel_entr

import fairprog as fp
from fairprog.kernels.atoms.level_prices import bernoulli_kl
from fairprog.kernels.atoms.log_linear_pool import pool
from tests.instances import README

DP, EO, EODDS = fp.DemographicParity(), fp.EqualOpportunity(), fp.EqualizedOdds()


@fp.constraint
def few_women(view, population):
    return cp.sum(view.joint[1, "women"]) <= 0.19


def alphabet(seed: int, n: int, G: int = 2, K: int = 2) -> fp.Categorical:
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(n * K * G)).reshape(n, K, G) + 1e-4
    return fp.Categorical(joint / joint.sum())


def independent_dual(D: fp.Categorical, thresholds: Sequence[float], keep_law: bool) -> float:
    """Return max of sum_a p_a V_a by a general optimiser on smoothed duals, then exactly.

    Prices are those of ending above a threshold, (G, T), zero on the mean over groups: what ends
    between two thresholds pays the sum of the lower ones.
    """
    s, p = D.support, D.group_mass
    ends = np.array([0.0, *thresholds, 1.0])
    own = np.stack([
        bernoulli_kl(np.clip(s.score, a, b), s.score) for a, b in pairwise(ends)
    ])  # fmt: skip

    def value(free, eps=0.0):
        prices = np.zeros((D.n_groups, len(thresholds)))
        prices[:-1] = free.reshape(-1, len(thresholds))
        prices[-1] = -(p[:-1] @ prices[:-1]) / p[-1]
        paid = np.cumsum(np.hstack([np.zeros((D.n_groups, 1)), prices]), axis=1)
        total, slope = 0.0, np.zeros_like(prices)
        for a in range(D.n_groups):
            here = s.group == a
            f, costs = s.weight[here] / p[a], own[:, here] + paid[a][:, None]
            if eps == 0:
                least, chosen = costs.min(axis=0), None
            else:
                least = -eps * logsumexp(-costs / eps, axis=0)
                chosen = np.exp((least - costs) / eps)  # shares of the levels
            z = f @ np.exp(-least)
            total += p[a] * (f @ least if keep_law else -np.log(z))
            if chosen is not None:
                mean = chosen @ (f if keep_law else f * np.exp(-least) / z)
                slope[a] = np.cumsum(mean[::-1])[::-1][1:]
        if eps == 0:
            return total
        return -total, -(p[:-1, None] * (slope[:-1] - slope[-1])).ravel()

    best = np.zeros((D.n_groups - 1) * len(thresholds))
    top = -np.inf
    for eps in 10.0 ** -np.arange(1, 9.5, 0.5):
        best = minimize(value, best, (eps,), jac=True, method="BFGS", options={"gtol": 1e-13}).x
        top = max(top, value(best))
    return top


def gap_at(D: fp.Categorical, t: float, notion: fp.Notion = DP) -> float:
    """Return the gap of the Bayes rule for the threshold, by the population's own evaluation."""
    return D.evaluate(np.array([[0.0, t], [1.0 - t, 0.0]])).gap(notion)


# ------------------------------------------------------------------------------ one threshold


@pytest.mark.parametrize("move", ["both", "labels"])
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), G=st.sampled_from([2, 3]))
def test_one_threshold(seed, n, G, move):
    """Primal against an independent dual, the conic program, and the returned population."""
    D, t = alphabet(seed, n, G), 0.3 + 0.4 * np.random.default_rng(seed).random()
    sol = fp.NearestFair(D, t, move=move).solve()
    assert sol.certificate.ok and sol.solver == "sorting"
    assert sol.certificate.conic_gap < 1e-7
    assert abs(sol.kl - independent_dual(D, [t], move == "labels")) < 1e-7
    assert gap_at(sol.population, t) <= 1e-8
    new, old = sol.population.support, D.support  # KL once more, from the definition
    before = old.weight[sol.pair] * sol.share
    joint = new.weight[:, None] * new.posterior
    again = rel_entr(joint, before[:, None] * old.posterior[sol.pair]).sum()
    assert abs(again - sol.kl) < 1e-9
    assert np.allclose(np.bincount(sol.pair, sol.share), 1.0)
    if move == "labels":
        assert np.allclose(np.bincount(sol.pair, new.weight), old.weight, atol=1e-12)


def test_no_feasible_perturbation_is_lower():
    """Convex, so no step towards another fair population may go down; random ones are tried."""
    D, rng = alphabet(3, 12), np.random.default_rng(0)
    sol = fp.NearestFair(D, 0.5).solve()
    s, p = D.support, D.group_mass
    for _ in range(200):
        z, value = rng.random(), 0.0
        for a in (0, 1):  # another fair population: half at random, half near the answer
            own = s.group == a
            f, eta = s.weight[own] / p[a], s.score[own]
            share = np.clip((eta > 0.5) + rng.normal(scale=0.3, size=eta.size), 0, 1)
            up, down = f * share, f * (1 - share)
            up, down = z * up / up.sum(), (1 - z) * down / down.sum()
            cost = up @ bernoulli_kl(np.maximum(eta, 0.5), eta)
            cost += down @ bernoulli_kl(np.minimum(eta, 0.5), eta)
            value += p[a] * (cost + rel_entr(up + down, f).sum())
        assert value >= sol.certificate.lower_bound - 1e-12


def test_readme_one_cost():
    D = README.discretize(4000)
    one = fp.NearestFair(D).solve()
    labels = fp.NearestFair(D, move="labels").solve()
    assert one.kl == pytest.approx(0.00037, abs=5e-6)
    assert labels.kl == pytest.approx(0.00039, abs=5e-6)
    for sol in (one, labels):
        assert sol.certificate.duality_gap < 1e-12 and gap_at(sol.population, 0.5) < 1e-8
        assert sol.kl - sol.certificate.lower_bound < 1e-9  # what the margin adds
    assert labels.kl >= one.kl


def test_readme_given_the_class():
    D = README.discretize(400)
    for notion, kl in ((EO, 0.002815), (EODDS, 0.0158)):
        sol = fp.NearestFair(D, notion=notion).solve()
        assert sol.kl == pytest.approx(kl, rel=3e-3)
        assert sol.certificate.ok and gap_at(sol.population, 0.5, notion) < 1e-8
        assert np.allclose(sol.population.prior, D.prior, atol=1e-9)  # base rates kept


@pytest.mark.slow
def test_readme_given_the_class_at_4000_cells():
    D = README.discretize(4000)
    for notion, kl in ((EO, 0.002815), (EODDS, 0.0158)):
        sol = fp.NearestFair(D, notion=notion).solve()
        assert sol.kl == pytest.approx(kl, rel=3e-3) and sol.certificate.duality_gap < 1e-7


@pytest.mark.slow
def test_a_million_rows():
    """One sort per group; the time is printed, not judged."""
    rng, n = np.random.default_rng(0), 10**6
    group = rng.choice(["a", "b"], n)
    score = np.where(group == "a", rng.beta(2, 3, n), rng.beta(3, 2, n))
    program = fp.NearestFair(fp.Categorical.from_scores(score, sensitive_features=group))
    started = time.process_time()
    sol = program.solve()
    print(f"a million rows: {time.process_time() - started:.2f} s of one core")
    assert sol.certificate.ok and gap_at(sol.population, 0.5) < 1e-8


# ------------------------------------------------------------------------- several thresholds


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 40), G=st.sampled_from([2, 3]))
def test_several_thresholds(seed, n, G):
    D = alphabet(seed, n, G)
    sol = fp.NearestFair(D, [0.3, 0.5, 0.7]).solve()
    assert sol.certificate.ok and sol.certificate.duality_gap < 1e-7
    assert abs(sol.kl - independent_dual(D, [0.3, 0.5, 0.7], False)) < 1e-7
    assert max(gap_at(sol.population, t) for t in (0.3, 0.5, 0.7)) <= 1e-8
    single = fp.NearestFair(D, 0.5).solve().kl
    assert sol.kl >= single - 1e-9


def test_the_dual_at_many_levels_agrees_with_the_conic_program():
    D = README.discretize(200)
    program = fp.NearestFair(D, [0.2, 0.35, 0.5, 0.65, 0.8])
    conic = program.solve("CLARABEL")
    from fairprog.programs.fair.short_forms import by_dual

    own = by_dual(program.question, program.question.levels, 1e-8)
    assert own.lower <= conic.kl + 1e-7
    assert own.lower == pytest.approx(conic.kl, abs=3e-6)


def test_fourteen_levels():
    D = README.discretize(200)
    started = time.process_time()
    sol = fp.NearestFair(D, np.linspace(0.05, 0.95, 13)).solve()
    print(f"fourteen levels, 200 cells: {time.process_time() - started:.2f} s of one core")
    assert sol.certificate.ok and 0.015 < sol.kl < 0.0295


@pytest.mark.parametrize("steer", ["all", ["women"]])
def test_readme_all_costs(steer):
    """Both bounds within a tenth of their middle, and an explicit ideal population."""
    D = README.discretize(1000)
    sol = fp.NearestFair(D, "all", steer=steer).solve()
    low, high = sol.certificate.lower_bound, sol.kl
    assert low <= high and high - low <= 0.1 * 0.5 * (low + high)
    assert sol.population.ideality_gap() < 1e-8
    if steer == "all":
        assert low >= 0.0265 and high <= 0.0301 and sol.population.is_ideal()
    assert sol.family_free_bound() == low


def test_readme_range():
    sol = fp.NearestFair(README.discretize(400), threshold_range=(0.3, 0.6)).solve()
    assert sol.certificate.ok and 0.0021 < sol.certificate.lower_bound <= sol.kl < 0.0026
    for t in np.linspace(0.301, 0.599, 40):
        assert gap_at(sol.population, t) < 1e-8
    listed = fp.NearestFair(README.discretize(400), np.linspace(0.3, 0.6, 13)).solve()
    assert listed.kl == pytest.approx(0.0021, abs=1e-4)  # thirteen of the range


# ------------------------------------------------------------------------------- other options


def test_masses_are_the_log_linear_pool():
    D = README.discretize(300)
    sol = fp.NearestFair(D, [0.4, 0.6], move="masses").solve()
    s = D.support
    level = np.searchsorted([0.4, 0.6], s.score)
    table = np.zeros((3, 2))
    np.add.at(table, (level, s.group), s.weight / D.group_mass[s.group])
    assert sol.kl == pytest.approx(pool(table, D.group_mass)[1], abs=1e-12)
    assert sol.certificate.conic_gap < 1e-9
    assert np.allclose(sol.population.support.posterior, s.posterior[sol.pair])


def test_masses_for_all_costs_are_near_the_pool_of_posteriors():
    """The finer the levels, the nearer to the pool of the groups' laws of the posterior."""
    D, found = README.discretize(300), []
    for m in (4, 16, 64):
        t = np.linspace(0.32, 0.985, m)  # where both groups have mass
        found.append(fp.NearestFair(D, t, move="masses").solve().kl)
    assert found[0] < found[1] < found[2]
    assert abs(found[2] - found[1]) < 0.1 * found[2]


@pytest.mark.parametrize("move", ["both", "labels", "masses"])
def test_blind_rules(move):
    D = README.discretize(60)
    sol = fp.NearestFair(D, uses_group=False, move=move).solve()
    assert sol.certificate.ok and sol.certificate.duality_gap < 1e-7
    E = sol.population
    joint = E.joint.sum(axis=2)  # the posterior that rules without the group see
    above = joint[:, 1] > 0.5 * joint.sum(axis=1)
    rate = (E.joint.sum(axis=1) * above[:, None]).sum(axis=0) / E.group_mass
    assert np.ptp(rate) < 1e-8
    assert sol.kl >= 0.0


def test_three_classes():
    D, C = alphabet(5, 15, 2, 3), 1.0 - np.eye(3)
    other = C * np.array([[1.0], [2.0], [1.0]])
    sol = fp.NearestFair(D, cost=[C, other]).solve()
    assert sol.certificate.ok and sol.certificate.duality_gap < 1e-7
    for cost in (C, other):
        assert sol.population.evaluate(cost).gap(DP) < 1e-8
    assert fp.NearestFair(D, cost=C).solve().kl <= sol.kl + 1e-9


def test_cost_of_two_classes_is_a_threshold():
    D = README.discretize(100)
    by_cost = fp.NearestFair(D, cost=[[0.0, 3.0], [7.0, 0.0]]).solve()
    assert by_cost.kl == pytest.approx(fp.NearestFair(D, 0.3).solve().kl, abs=1e-15)


def test_staying_groups():
    D = README.discretize(200)
    sol = fp.NearestFair(D, steer=["women"]).solve()
    men = sol.population.support.group == 0
    assert np.array_equal(sol.population.support.score[men], D.support.score[sol.pair[men]])
    assert sol.kl > fp.NearestFair(D).solve().kl
    three = alphabet(1, 8, 3)
    with pytest.raises(fp.InfeasibleError, match="stay and differ"):
        fp.NearestFair(three, steer=[0])


def test_bounds_prices_and_conditions():
    """The price is minus the derivative in the bound; a condition binds and costs."""
    D, h = README.discretize(150), 1e-3
    exact = fp.NearestFair(D).solve()
    relaxed = fp.NearestFair(D, notion=fp.DemographicParity(difference_bound=h)).solve()
    slope = (exact.kl - relaxed.kl) / h
    assert slope == pytest.approx(exact.price["demographic_parity"], rel=0.02)
    assert relaxed.price["demographic_parity"] == pytest.approx(slope, rel=0.02)
    tied = fp.NearestFair(D, constraints=[few_women]).solve()
    assert tied.certificate.ok and tied.kl > exact.kl and tied.price["few_women"] > 0
    women = tied.population.prior[1, 1]
    assert women == pytest.approx(0.19, abs=1e-7)


# ---------------------------------------------------------------------------------- given rules


@pytest.mark.parametrize("notion", [DP, EO, EODDS, fp.PredictiveEquality()])
def test_given_rule(notion):
    """Closed form: logit z = sum_a w_a logit r_a, checked by the conic program."""
    D = alphabet(7, 20)
    rule = (D.support.score > 0.45).astype(int)
    sol = fp.NearestFair(D, rule=rule, notion=notion).solve()
    assert sol.solver == "closed-form" and sol.certificate.conic_gap < 1e-9
    assert notion.gap(sol.population.table(np.eye(2)[rule[sol.pair]])) < 1e-9
    if notion is DP:
        s, p = D.support, D.group_mass
        r = np.bincount(s.group, s.weight * rule) / p
        z = 1 / (1 + np.exp(-(p @ logit(r))))
        assert sol.kl == pytest.approx(p @ bernoulli_kl(z, r), abs=1e-12)


def test_randomised_rule_and_classifier():
    D = alphabet(9, 20)
    h = np.stack([1 - D.support.score**2, D.support.score**2], axis=1)
    sol = fp.NearestFair(D, rule=h).solve()
    assert sol.certificate.ok and sol.solver == "CLARABEL"
    assert DP.gap(sol.population.table(h[sol.pair])) < 1e-8
    fair = fp.FairClassifier(D, fp.ErrorRate(), [DP]).solve()
    assert fp.NearestFair(D, rule=fair).solve().kl < 1e-9  # it is fair already


# --------------------------------------------------------------------------- monotone coupling


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 40))
def test_posteriors_keep_their_order(seed, n):
    D = alphabet(seed, n)
    for asked in ({"thresholds": 0.5}, {"thresholds": [0.3, 0.6]}):
        sol = fp.NearestFair(D, **asked).solve()
        for a, group in enumerate(D.groups):
            x = np.sort(D.support.score[D.support.group == a])
            assert (np.diff(sol.score_map[group](x)) > -1e-7).all()


def test_order_is_lost_where_rules_are_blind():
    """The counterexample: what counts there is the mixture of the groups at an atom."""
    lost = 0
    for seed in range(6):
        sol = fp.NearestFair(alphabet(seed, 12), uses_group=False).solve()
        try:
            sol.score_map  # noqa: B018
        except fp.ModelError:
            lost += 1
    assert lost >= 2


# ---------------------------------------------------------------------------------------- rows


def test_rows_are_relabelled_and_weighed():
    rng, n = np.random.default_rng(0), 20_000
    group = rng.choice(["a", "b"], n)
    score = np.where(group == "a", rng.beta(2, 3, n), rng.beta(3, 2, n))
    y = (rng.random(n) < score).astype(int)
    D = fp.Categorical.from_scores(score, y=y, sensitive_features=group, bins=20)
    about = {"sensitive_features": group, "X": score}
    sol = fp.NearestFair(D, move="labels").solve(margin=0.01)
    new = sol.relabel(y, **about)
    moved = 0.5 * np.abs(sol.moved_posterior - D.support.posterior).sum(axis=1) @ D.support.weight
    assert np.mean(new != y) == pytest.approx(moved, abs=0.01)  # no more change than need be
    counted = fp.Categorical.from_scores(score, y=new, sensitive_features=group,
                                         bins=D.score_bins.edges[0])  # fmt: skip
    assert np.abs(counted.eta[:, 1] - _by_atom(sol)).max() < 0.06
    weight = sol.sample_weight(y, **about)
    assert weight.mean() == pytest.approx(1.0, abs=1e-9)
    both = fp.NearestFair(D).solve()
    with pytest.raises(fp.ModelError, match="sample_weight"):
        both.relabel(y, **about)
    assert both.sample_weight(y, **about).mean() == pytest.approx(1.0, abs=1e-9)


def _by_atom(sol):
    s, out = sol.original.support, sol.original.eta[:, 1].copy()
    out[s.atom, s.group] = sol.moved_posterior[:, 1]
    return out


def test_scored_rows_are_their_own_atoms():
    D = fp.Categorical.from_scores(
        [0.2, 0.4, 0.7, 0.3, 0.6, 0.8], sensitive_features=list("aaabbb")
    )
    sol = fp.NearestFair(D, 0.5).solve()
    weight = sol.sample_weight([0, 1, 1, 0, 1, 0], sensitive_features=list("aaabbb"))
    assert weight.shape == (6,) and (weight > 0).all()
    with pytest.raises(fp.DataError, match="`X` is required"):
        sol.sample_weight([0, 1], sensitive_features=["a", "b"])


# ---------------------------------------------------------------------- words, pictures, files


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_files(tmp_path, suffix):
    sol = fp.NearestFair(alphabet(2, 10), [0.3, 0.6], constraints=[few_women_of_two]).solve()
    sol.save(tmp_path / f"answer{suffix}")
    again = fp.load(tmp_path / f"answer{suffix}")
    assert again.kl == sol.kl and again.certificate == sol.certificate
    assert np.array_equal(again.pair, sol.pair) and again.settings["constraints"]
    for ours, theirs in ((again.population, sol.population), (again.original, sol.original)):
        assert np.allclose(ours.support.score, theirs.support.score, atol=1e-14)


@fp.constraint
def few_women_of_two(view, population):
    return cp.sum(view.joint[1, 1]) <= 0.9


def test_words_and_page():
    sol = fp.NearestFair(README.discretize(100)).solve()
    text = sol.summary()
    assert "certificate: ok" in text and "all populations with these group masses" in text
    page = sol.to_html()
    assert page.startswith("<!DOCTYPE html>") and "Read this first" in page
    assert "fairprog notebook" in sol._repr_html_()
    assert len(sol.plot()[1]) == 2
    three = fp.NearestFair(alphabet(5, 8, 2, 3), cost=1.0 - np.eye(3)).solve()
    assert "for the given costs" in three.summary() and three.plot()[0] is not None


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"thresholds": [0.5, 1.2]}, fp.DataError, "inside"),
        ({"thresholds": "every"}, fp.ModelError, "numbers or 'all'"),
        ({"thresholds": 0.3, "rule": [0, 1]}, fp.ModelError, "Give one of"),
        ({"notion": EO, "base_rates": "joint"}, fp.ModelError, "not convex"),
        ({"move": "rows"}, fp.ModelError, "`move`"),
        ({"cost": [[0, 1], [-1, 0]]}, fp.ModelError, "never the better"),
        ({"threshold_range": (0.6, 0.3)}, fp.DataError, "threshold_range"),
        ({"uses_group": False, "steer": [0]}, fp.ModelError, "blind"),
        ({"notion": "parity"}, fp.ModelError, "must be a notion"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        fp.NearestFair(alphabet(0, 6), **options)


def test_refusals():
    with pytest.raises(fp.ModelError, match="discretize"):
        fp.NearestFair(README)
    with pytest.raises(fp.ModelError, match="No exact answer"):
        fp.NearestFair(alphabet(0, 6), notion=EO).solve("exact")
    big = fp.Categorical.from_scores(
        np.linspace(0.01, 0.99, 30_000), sensitive_features=np.arange(30_000) % 2
    )
    with pytest.raises(fp.ModelError, match="bins"):
        fp.NearestFair(big, notion=EO).solve()
    with pytest.raises(fp.DataError, match="KL is infinite"):
        fp.NearestFair(
            fp.Categorical.from_scores([0.1, 0.2, 0.8, 0.9], sensitive_features=list("aabb")),
            move="masses",
        ).solve()


def test_few_rows_whose_posteriors_are_certain_have_a_finite_answer():
    """Sorting moves posteriors of 0 and 1, a solver finds masses under which none has to."""
    s, y, a = [0.6, 0.9, 0.9, 0.7, 0.2, 0.2, 0.2, 0.5], [1, 1, 1, 0, 0, 0, 0, 0], list("abababab")
    D = fp.ScoreCounts().partial_fit(s, y, sensitive_features=a).population()
    with pytest.raises(fp.SolverError, match=r"infinitely far .* exactly 0 or 1 .*fewer bins"):
        fp.NearestFair(D).solve("exact")
    sol = fp.NearestFair(D).solve()
    assert sol.solver == "CLARABEL" and sol.kl < 0.2 and sol.certificate.ok


def test_thresholds_a_tenth_apart_are_apart_in_binary_too():
    cells = README.discretize(60)
    for pair in ([0.5, 0.6], [0.4, 0.5]):
        assert fp.NearestFair(cells, pair).solve().certificate.ok
