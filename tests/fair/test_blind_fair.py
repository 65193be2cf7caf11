"""`NearestFair` where rules are blind to the group: fair exactly on any atoms, or refused."""

import warnings
from itertools import pairwise

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from fairprog.programs.compile.exact_masses import nearest_masses

ASKED = {
    "list": {"thresholds": [0.3, 0.5, 0.7]},
    "range": {"threshold_range": (0.3, 0.6)},
    "all": {"thresholds": "all"},
}


def rows():
    rng, n = np.random.default_rng(0), 400
    group, y = rng.choice(["f", "m"], n), rng.integers(2, size=n)
    return rng.normal(size=(n, 2)) + y[:, None] + 0.5 * (group == "m")[:, None], y, group


def binned() -> fp.Categorical:
    """Thirty bins of 400 rows: some with rows of one class, or of one class and group, alone."""
    X, y, group = rows()
    score = LogisticRegression().fit(X, y).predict_proba(X)[:, 1]
    return fp.Categorical.from_scores(score, y=y, bins=30, sensitive_features=group)


def alphabet(seed: int, n: int = 60, G: int = 2) -> fp.Categorical:
    """Atoms of which, by seed, many are nearly empty (every third) or some empty (fourth)."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(n * 2 * G, 0.3 if seed % 3 == 0 else 1.0)).reshape(n, 2, G)
    if seed % 4 == 1:
        joint[rng.random(joint.shape) < 0.1] = 0.0
    return fp.Categorical(joint / joint.sum())


def one_class_atoms() -> fp.Categorical:
    joint = np.random.default_rng(1).dirichlet(np.ones(80)).reshape(20, 2, 2)
    joint[0, 1] = joint[1, 0] = joint[4, 0] = 0.0  # posteriors 0 and 1
    joint[2, :, 0] = joint[4, :, 1] = joint[3, 1, 0] = joint[3, 0, 1] = 0.0  # or of one group
    return fp.Categorical(joint / joint.sum())


def gaps(sol: fp.NearestFairSolution, low: float, high: float) -> float:
    """Return the worst gap of blind Bayes rules over thresholds, from the joint law alone."""
    joint = sol.population.joint
    mass = joint.sum(axis=(1, 2))
    eta = joint[:, 1].sum(axis=1)[mass > 0] / mass[mass > 0]
    law = joint.sum(axis=1)[mass > 0] / sol.population.group_mass
    t = np.unique(eta.round(10))
    cuts = [low, high, *(0.5 * (a + b) for a, b in pairwise(t) if low < 0.5 * (a + b) < high)]
    return max(float(np.ptp(law[eta > c].sum(axis=0))) for c in cuts)


def solved(D: fp.Categorical, asked: str, margin: float = 1e-8, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = fp.NearestFair(D, uses_group=False, **ASKED[asked], **options)
        sol = program.solve(margin=margin)
    proof = sol.certificate
    assert proof.ok and proof.fairness_violation <= 1e-8 and np.isfinite(proof.lower_bound)
    assert proof.lower_bound <= sol.kl + 1e-7
    low, high = {"range": (0.3, 0.6), "all": (1e-9, 1 - 1e-9)}.get(asked, (0.3, 0.3))
    assert gaps(sol, low, high) <= 1e-8
    return sol


@pytest.mark.parametrize("margin", [1e-8, 1e-3, 0.05])
@pytest.mark.parametrize("move", ["both", "labels"])
def test_bins_of_rows(move, margin):
    assert solved(binned(), "range", margin, move=move).certificate.duality_gap < 1e-6


@pytest.mark.parametrize("margin", [1e-8, pytest.param(0.05, marks=pytest.mark.slow)])
def test_joint_laws(margin):
    D = fp.Categorical.from_scores(
        np.random.default_rng(0).dirichlet(np.full(4, 3.0), 60).reshape(60, 2, 2)
    )
    assert solved(D, "range", margin, move="labels").certificate.duality_gap < 1e-6


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("move", ["both", "labels", "masses"])
def test_atoms_of_one_class_or_group(move, asked):
    assert solved(one_class_atoms(), asked, move=move).certificate.duality_gap < 1e-6


@pytest.mark.parametrize("G", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_laws_on_which_the_solver_used_to_stop(G):
    D = alphabet(G, G=G) if G == 2 else alphabet(1, 30, G)
    assert solved(D, "range", move="labels").solver == "CLARABEL"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_sweep(seed):
    """Of many sizes, few atoms and points most often: what goes wrong does so on these too."""
    D = alphabet(seed, (8, 12, 20, 30, 60)[seed % 5], G=2 + seed % 2)
    for move in ("both", "labels"):
        kl = [solved(D, asked, move=move, levels=12).kl for asked in ASKED]
        assert kl[2] >= kl[1] - 1e-6 and kl[2] >= kl[0] - 1e-6


def test_what_cannot_be_fair_is_said():
    """Two atoms, a class each: labels cannot move, and the groups differ."""
    joint = np.zeros((2, 2, 2))
    joint[0, 0], joint[1, 1] = [0.4, 0.1], [0.1, 0.4]
    D = fp.Categorical(joint)
    for asked in ASKED.values():
        with pytest.raises(fp.DataError, match=r"KL is infinite.*move='labels'"):
            fp.NearestFair(D, uses_group=False, move="labels", **asked).solve()
        for move in ("both", "masses"):  # the groups' laws meet at their log-linear pool
            sol = fp.NearestFair(D, uses_group=False, move=move, **asked).solve()
            assert sol.kl == pytest.approx(np.log(0.5 / 0.4), abs=1e-8)


def written_out(D: fp.Categorical, thresholds, move: str) -> float:
    """Return KL of the program in its plainest form: mass[k][i] of (x, a) in level k, class i."""
    joint, p = D.joint, D.group_mass
    n, _, G = joint.shape
    ends = list(pairwise([0.0, *thresholds, 1.0]))
    new = [[cp.Variable((n, G), nonneg=True) for _ in (0, 1)] for _ in ends]
    total = [u[0] + u[1] for u in new]
    lot = [cp.Variable(n, nonneg=True) for _ in ends]  # new mass of (x, k), all groups
    rules = [lot[k] == cp.sum(total[k], axis=1) for k in range(len(ends))]
    # shares of an atom are chosen at random: KL(x) + KL of (class, group) given (x, level)
    before, kl = joint.sum(axis=(1, 2)), 0
    given = joint / before[:, None, None]
    for k, (low, high) in enumerate(ends):
        for i in (0, 1):
            for a in range(G):
                kl += cp.sum(cp.rel_entr(new[k][i][:, a], cp.multiply(given[:, i, a], lot[k])))
        one = cp.sum(new[k][1], axis=1)
        rules += [one >= (low + 1e-8 * (low > 0)) * lot[k]]
        rules += [one <= (high - 1e-8 * (high < 1)) * lot[k]]
        rates = [cp.sum(total[k][:, a]) / p[a] for a in range(G)]
        rules += [rates[a] == rates[0] for a in range(1, G)]
    kl += cp.sum(cp.rel_entr(sum(lot), before))
    rules.append(cp.sum(sum(total), axis=0) == p)
    if move == "labels":
        rules.append(sum(total) == joint.sum(axis=1))
    return float(cp.Problem(cp.Minimize(kl), rules).solve("CLARABEL"))


@pytest.mark.parametrize(("move", "G"), [("both", 2), ("labels", 2), ("both", 3)])
def test_against_the_program_written_out(move, G):
    D = alphabet(7, 8, G)
    assert abs(solved(D, "list", move=move).kl - written_out(D, [0.3, 0.5, 0.7], move)) < 1e-6


def test_no_margin_goes_below_the_bound():
    """The bound is that of any margin, also where rows are reweighed."""
    wide, narrow = (solved(binned(), "list", m, move="masses") for m in (0.05, 1e-8))
    assert wide.kl > narrow.kl + 0.01
    assert wide.certificate.lower_bound == pytest.approx(narrow.kl, abs=1e-5)
    assert wide.certificate.lower_bound <= narrow.kl


def test_equalities_that_push_masses_past_an_inequality():
    """What is met at first and broken by the rest binds as well."""
    equal = sp.csr_array([[1.0, 1.0, 1.0]]), np.ones(1)
    below = sp.csr_array([[1.0, 0.0, 0.0]]), np.array([0.2])
    v = nearest_masses(np.array([0.2, 0.3, 0.3]), np.ones(3), equal, below)
    assert v == pytest.approx([0.2, 0.4, 0.4], abs=1e-14)


def test_nearly_empty_atoms_of_three_groups():
    """Parts at one point of the grid have one posterior, so no threshold passes between them."""
    D = alphabet(27, 8, 3)
    found = [solved(D, "range", move="labels", levels=count) for count in (8, 16)]
    assert all(sol.certificate.mass_residual <= 1e-14 for sol in found)
    # more points are nearer, and the bound over all populations rises towards them
    coarse, fine = ((sol.certificate.lower_bound, sol.kl) for sol in found)
    assert coarse[0] < fine[0] < fine[1] < coarse[1]


def test_masses_go_to_the_nearest_that_are_exact():
    """An inequality that is broken binds; the multipliers are those of the minimum."""
    equal = sp.csr_array([[1.0, 1.0, 1.0]]), np.ones(1)
    below = sp.csr_array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0.2, 0.9])
    v = nearest_masses(np.array([0.4, 0.3, 0.2]), np.ones(3), equal, below)
    assert v == pytest.approx([0.2, 0.48, 0.32], abs=1e-14)


@pytest.mark.parametrize("uses_group", [True, False])
@pytest.mark.parametrize("asked", ASKED)
def test_reweighted_classifier(asked, uses_group):
    X, y, group = rows()
    options = {"thresholds": [0.5]} if asked == "list" else ASKED[asked]
    model = fp.ReweightedClassifier(LogisticRegression(), uses_group=uses_group, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y, sensitive_features=group)
    assert model.solution_.certificate.ok and model.predict(X).shape == (400,)
