"""The experiments on real data: their protocol, the baselines as theorems, and what they find."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression

import fairprog as fp
from experiments import (
    adult,
    baselines,
    bios,
    claims,
    compas,
    fair_score,
    law_school,
    measured,
    protocol,
    runner,
    tabular,
)

HAS_FAIRLEARN = importlib.util.find_spec("fairlearn") is not None
needs_fairlearn = pytest.mark.skipif(not HAS_FAIRLEARN, reason="fairlearn is not installed")
needs_data = pytest.mark.skipif(
    not Path(os.environ.get("FAIRPROG_DATA", "nowhere")).is_dir(),
    reason="FAIRPROG_DATA, the folder of the real data sets, is not set",
)


def synthetic(n=4000, d=3, shift=1.0, seed=0):
    """A case whose group 1 is an affine image of group 0, with base rates of .5 and .4."""
    rng = np.random.default_rng(seed)
    group = rng.integers(2, size=n)
    y = (rng.random(n) < 0.5 - 0.1 * group).astype(int)
    X = (rng.normal(size=(n, d)) + 1.2 * y[:, None]) * (1.0 + 0.5 * group[:, None])
    X[:, 0] += shift * group
    rows = protocol.Rows(X, y, group)
    return protocol.Case("synthetic", rows, tuple("abc"[:d]), "one", ("zero", "one"))


@pytest.fixture(scope="module")
def split():
    return protocol.split_case(synthetic(), 0)


@pytest.fixture(scope="module")
def base(split):
    return baselines.Base.fit(split, protocol.LEARNERS["logistic"])


# ---------------------------------------------------------------------------------- the protocol


def test_splits_are_disjoint_complete_and_of_the_stated_shares():
    case = synthetic(n=1000)
    marked = protocol.Case(
        "marked",
        protocol.Rows(np.arange(1000.0)[:, None], case.rows.y, case.rows.group),
        ("row",),
        "",
        ("", ""),
    )
    s = protocol.split_case(marked, 3)
    assert [len(r.y) for r in (s.fit, s.held, s.test)] == [360, 240, 400]
    rows = np.concatenate([r.X[:, 0] for r in (s.fit, s.held, s.test)])
    assert len(set(rows.tolist())) == 1000
    again, other = protocol.split_case(marked, 3), protocol.split_case(marked, 4)
    np.testing.assert_array_equal(again.test.X, s.test.X)
    assert not np.array_equal(other.test.y, s.test.y) or not np.array_equal(other.test.X, s.test.X)
    whole = protocol.split_case(marked, 3, held_share=0.0)
    assert len(whole.fit.y) == 600 and len(whole.held.y) == 0


def test_columns_are_standardised_by_the_rows_of_the_fit(split):
    np.testing.assert_allclose(split.fit.X.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(split.fit.X.std(axis=0), 1.0)
    assert np.abs(split.test.X.mean(axis=0)).max() > 1e-4


def test_steps_on_features_do_not_get_the_column_of_the_group():
    case = synthetic()
    rows = case.rows
    with_group = protocol.Rows(np.column_stack([rows.X, rows.group]), rows.y, rows.group)
    told = protocol.Case("told", with_group, ("a", "b", "c", "group"), "", ("", ""), (3,))
    s = protocol.split_case(told, 0)
    assert s.blind.tolist() == [0, 1, 2]
    seen = []

    class Spy(baselines.MeanMatching):
        def transform(self, X, *, sensitive_features):
            seen.append(X.shape[1])
            return super().transform(X, sensitive_features=sensitive_features)

    baselines.feature_step(Spy)(baselines.Base.fit(s, protocol.LEARNERS["logistic"]))
    assert seen == [3, 3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_most_accurate_one(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=60)
    score = np.round(rng.normal(size=60) + y, 1)  # with ties
    cut = protocol.threshold(y, score)
    candidates = np.concatenate([[-9.0], np.unique(score)])
    best = max(float(np.mean((score > c) == y)) for c in candidates)
    assert np.mean((score > cut) == y) == pytest.approx(best)


@pytest.mark.parametrize("y", [np.zeros(5, int), np.ones(5, int)])
def test_the_threshold_of_a_constant_score_decides_for_the_majority(y):
    cut = protocol.threshold(y, np.full(5, 0.3))
    assert np.all((np.full(5, 0.3) > cut) == y)


def test_worst_gaps_are_two_sample_kolmogorov_distances(split):
    rows = split.test
    score = np.round(rows.X[:, 0], 1)  # ties
    for i, found in zip((1, 0), protocol.worst_gaps(rows, score), strict=True):
        parts = [score[(rows.y == i) & (rows.group == a)] for a in (0, 1)]
        assert found == pytest.approx(ks_2samp(*parts).statistic, abs=1e-12)


def test_the_floor_is_the_worst_gap_where_groups_do_not_matter(split):
    rng = np.random.default_rng(5)
    rows = split.test
    blind = protocol.Rows(rows.X, rows.y, rng.integers(2, size=len(rows.y)))
    score = rng.normal(size=len(rows.y)) + rows.y
    floor = np.array(protocol.permutation_floor(blind, score, 0))
    assert (0.5 * floor < protocol.worst_gaps(blind, score)).all()
    assert (protocol.worst_gaps(blind, score) < 2.0 * floor).all()
    assert protocol.worst_gaps(rows, rows.X[:, 0])[0] > 3.0 * floor[0]


def test_gaps_are_those_of_the_outcome_table(split):
    rows = split.test
    decided = (rows.X[:, 0] > 0).astype(float)
    table = fp.OutcomeTable.from_predictions(
        rows.y, decided.astype(int), sensitive_features=rows.group
    )
    found = protocol.gaps(rows, decided)
    assert max(map(abs, found)) == pytest.approx(fp.EqualizedOdds().gap(table))
    assert abs(found[0]) == pytest.approx(fp.EqualOpportunity().gap(table))
    outcome = protocol.Outcome(decided, decided)
    assert outcome.accuracy(rows.y) == pytest.approx(table.accuracy)
    assert outcome.randomisation == 0.0
    assert protocol.Outcome(np.full(4, 0.5), decided).randomisation == 0.5


# ------------------------------------------------------------------------------- the baselines


def test_mean_matching_matches_means(split):
    X, a = split.fit.X, split.fit.group
    Z = baselines.MeanMatching().fit(X, None, sensitive_features=a)
    Z = Z.transform(X, sensitive_features=a)
    np.testing.assert_allclose(Z[a == 0].mean(axis=0), Z[a == 1].mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(Z[a == 1], X[a == 1])


def test_mimic_matches_means_and_covariances_by_a_positive_map(split):
    X, a = split.fit.X, split.fit.group
    step = baselines.CovarianceMatching().fit(X, None, sensitive_features=a)
    Z = step.transform(X, sensitive_features=a)
    np.testing.assert_allclose(Z[a == 0].mean(axis=0), Z[a == 1].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.cov(Z[a == 0].T, bias=True), np.cov(Z[a == 1].T, bias=True))
    A, _ = step.maps[0]
    np.testing.assert_allclose(A, A.T, atol=1e-12)
    assert np.linalg.eigvalsh(A)[0] > 0


@pytest.mark.parametrize("singular", [False, True])
def test_leace_leaves_nothing_for_a_linear_model(split, singular):
    X, a = split.fit.X, split.fit.group
    if singular:
        X = np.column_stack([X, X[:, 0] + X[:, 1], np.ones(len(X))])
    step = baselines.LEACE().fit(X, None, sensitive_features=a)
    Z = step.transform(X)
    raw = LogisticRegression(C=1e8, max_iter=1000).fit(X, a)
    erased = LogisticRegression(C=1e8, max_iter=1000, tol=1e-10).fit(Z, a)
    assert np.abs(raw.coef_).max() > 0.1
    assert np.abs(Z @ erased.coef_[0] - np.mean(Z @ erased.coef_[0])).max() < 1e-3
    covariance = (Z - Z.mean(axis=0)).T @ (a - a.mean()) / len(a)
    assert np.abs(covariance).max() < 1e-12
    np.testing.assert_allclose(step.eraser @ step.eraser, step.eraser, atol=1e-9)
    np.testing.assert_allclose(Z.mean(axis=0), X.mean(axis=0), atol=1e-12)


def test_leace_moves_less_than_another_eraser_of_the_same_covariance(split):
    X, a = split.fit.X, split.fit.group
    Z = baselines.LEACE().fit(X, None, sensitive_features=a).transform(X)
    v = (X - X.mean(axis=0)).T @ (a - a.mean())
    v /= np.linalg.norm(v)
    other = X - np.outer((X - X.mean(axis=0)) @ v, v)  # orthogonal projection
    assert np.abs((other - other.mean(axis=0)).T @ (a - a.mean())).max() < 1e-9 * len(a)
    assert ((Z - X) ** 2).sum() < ((other - X) ** 2).sum() * (1 + 1e-12)


def test_kamiran_calders_weights_make_label_and_group_independent(split):
    y, a = split.fit.y, split.fit.group
    w = baselines.kamiran_calders_weights(y, a)
    joint = np.zeros((2, 2))
    np.add.at(joint, (y, a), w / w.sum())
    np.testing.assert_allclose(joint, np.outer(joint.sum(axis=1), joint.sum(axis=0)))
    assert w.mean() == pytest.approx(1.0)
    assert w.std() > 0.01


@needs_fairlearn
def test_correlation_remover_leaves_no_correlation(split):
    X, a = split.fit.X, split.fit.group
    step = baselines.CorrelationRemover().fit(X, None, sensitive_features=a)
    Z = step.transform(X, sensitive_features=a)
    assert Z.shape == X.shape
    assert np.abs((Z - Z.mean(axis=0)).T @ (a - a.mean()) / len(a)).max() < 1e-10


@pytest.mark.parametrize("name", list(baselines.METHODS))
def test_every_method_decides_on_every_test_row(base, name):
    if reason := baselines.missing(name):
        pytest.skip(reason)
    n = len(base.split.test.y)
    outcome = baselines.METHODS[name](base)
    assert outcome.chance.shape == outcome.score.shape == (n,)
    assert ((outcome.chance >= 0) & (outcome.chance <= 1)).all()
    assert outcome.accuracy(base.split.test.y) > 0.6


def test_steering_takes_most_of_the_worst_gap_away(base):
    rows = base.split.test
    before = max(protocol.worst_gaps(rows, baselines.METHODS["none"](base).score))
    for name in ("ideal steering", "score steering"):
        after = max(protocol.worst_gaps(rows, baselines.METHODS[name](base).score))
        assert after < 0.6 * before, name


@needs_fairlearn
def test_the_threshold_optimizer_decides_by_lot_and_keeps_the_score(base):
    outcome = baselines.METHODS["threshold optimizer"](base)
    np.testing.assert_array_equal(outcome.score, base.test)
    assert outcome.randomisation > 0.0


@needs_fairlearn
def test_exponentiated_gradient_is_compared_split_by_split(tmp_path):
    found = fair_score.beside_gradient(synthetic(n=1200), (0, 1), tmp_path, "logistic")
    assert len(found) == 2 and all("2 splits" in claim.measured for claim in found)
    lines = (tmp_path / "measured.jsonl").read_text("utf-8").splitlines()
    again = fair_score.beside_gradient(synthetic(n=1200), (0, 1), tmp_path, "logistic")
    assert again == found  # what is known is not measured again
    assert (tmp_path / "measured.jsonl").read_text("utf-8").splitlines() == lines
    assert len(lines) == 2 * len(fair_score.GRADIENT)


def test_without_fairlearn_its_rows_say_what_is_missing(monkeypatch):
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda name: None)
    runs = tabular.measure(
        synthetic(n=300), {"logistic": (0,)}, methods=("none", "threshold optimizer")
    )
    assert [len(r.values) for r in runs] == [1, 0]
    assert "pip install" in runs[1].reason


def test_what_a_method_cannot_do_is_a_reason_and_no_crash(tmp_path):
    case = synthetic(n=1000)
    rows = case.rows
    told = protocol.Rows(np.column_stack([rows.X, rows.group]), rows.y, rows.group)
    runs = tabular.measure(
        protocol.Case("told", told, tuple("abcd"), "", ("", "")),
        {"logistic": (0, 1)},
        methods=("none", "ideal steering"),
    )
    assert len(runs[0].values) == 2
    assert len(runs[1].values) == 0
    assert "constant within every cell" in runs[1].reason
    tabular.write(runs, tmp_path / "runs.csv")
    assert "constant within" in (tmp_path / "runs.csv").read_text(encoding="utf-8")


def test_constant_columns_do_not_change_how_far_to_shrink():
    from fairprog.kernels.moments.shrinkage import optimal_shrinkage

    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3))
    S, target = np.cov(X.T, bias=True), np.diag([1.0, 2.0, 3.0])
    wide = np.zeros((2, 4, 4))
    wide[0, :3, :3], wide[1, :3, :3] = S, target
    alpha = optimal_shrinkage(S, target, 40)
    assert 0.0 < alpha < 1.0
    assert optimal_shrinkage(wide[0], wide[1], 40) == pytest.approx(alpha, rel=1e-12)
    C = rng.normal(size=(3, 3))  # nor do other coordinates
    assert optimal_shrinkage(C @ S @ C.T, C @ target @ C.T, 40) == pytest.approx(alpha)


# ------------------------------------------------------------------------ tables and pictures


def test_claims_table_and_picture_of_a_case(tmp_path):
    case = synthetic()
    methods = ("none", "mean matching", "ideal steering", "score steering")
    runs = tabular.measure(case, {"boosted trees": (0, 1)}, methods=methods)
    tabular.write(runs, tmp_path / "methods.csv")
    tabular.draw(runs, tmp_path / "methods.png")
    assert 0 < (tmp_path / "methods.png").stat().st_size < 120_000
    found = tabular.promises(runs, "synthetic", (0.3, 0.3), 0.5)
    assert [c.holds for c in found] == [True, True]
    assert not tabular.promises(runs, "synthetic", (1.5, 0.3), -0.5)[0].holds
    assert not tabular.promises(runs, "synthetic", (1.5, 0.3), -0.5)[1].holds


def test_the_group_of_names_stands_for_its_members(tmp_path):
    assert runner.chosen_names(["real"]) == list(runner.REAL)
    assert runner.chosen_names(["compas", "real"])[0] == "compas"
    assert len(runner.chosen_names(["compas", "real"])) == len(runner.REAL)
    assert not set(runner.REAL) & set(runner.chosen_names(None))


@pytest.mark.parametrize("module", [compas, adult, law_school, bios])
def test_without_the_data_an_experiment_says_what_it_needs(module, monkeypatch, tmp_path):
    monkeypatch.delenv("FAIRPROG_DATA", raising=False)
    with pytest.raises(claims.Unavailable, match="FAIRPROG_DATA"):
        module.run(tmp_path, True)


def test_figures_are_measured_once_and_a_cut_line_is_measured_again(tmp_path):
    first = measured.Measured(tmp_path)
    assert first.get(("a", 1), lambda: [0.1, 1 / 3]) == [0.1, 1 / 3]
    assert first.get(("b", 1), lambda: "refused") == "refused"
    path = tmp_path / measured.FILE
    path.write_text(path.read_text(encoding="utf-8") + '[["c", 1], [0.5', encoding="utf-8")
    again = measured.Measured(tmp_path)
    never = [again.get(key, pytest.fail) for key in (("a", 1), ("b", 1))]
    assert never == [[0.1, 1 / 3], "refused"]
    assert ("c", 1) not in again
    assert again.get(("c", 1), lambda: [0.7]) == [0.7]
    assert measured.Measured(tmp_path).known[("c", 1)] == [0.7]
    assert measured.Measured().get(("a", 1), lambda: 2) == 2


def test_measuring_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    case, methods = synthetic(n=600), ("none", "mean matching", "LEACE")
    whole = tabular.measure(case, {"logistic": (0, 1)}, methods=methods)
    calls = []

    def counted(name, method):
        def run(base):
            calls.append(name)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return method(base)

        return run

    wrapped = {name: counted(name, baselines.METHODS[name]) for name in methods}
    monkeypatch.setattr(tabular, "METHODS", wrapped)
    with pytest.raises(KeyboardInterrupt):
        tabular.measure(
            case, {"logistic": (0, 1)}, methods=methods, measured=measured.Measured(tmp_path)
        )
    again = tabular.measure(
        case, {"logistic": (0, 1)}, methods=methods, measured=measured.Measured(tmp_path)
    )
    assert len(calls) == 4 + 3  # three were known
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


# ---------------------------------------------------------------------------------- embeddings


def biographies(n=1200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(np.array(["nurse", "poet", "surgeon"]), size=n)
    men = rng.random(n) < np.select([y == "nurse", y == "poet"], [0.2, 0.5], 0.8)
    gender = np.where(men, bios.MEN, bios.WOMEN)
    X = rng.normal(size=(n, d))
    X[:, 0] += 2.0 * (y == "surgeon") - 2.0 * (y == "nurse")
    X[:, 1] += 1.5 * (y == "poet")
    X += np.where(men, 1.0, -1.0)[:, None] * np.array([0.8, 0.0, 1.5, 0.0, 0.0, 0.0])
    return bios.Biographies(X, y, gender)


def test_tpr_gaps_are_differences_of_hit_rates():
    y = np.array(["a", "a", "a", "a", "b", "b"])
    gender = np.array(["M", "M", "F", "F", "M", "F"])
    predicted = np.array(["a", "a", "a", "b", "a", "b"])
    np.testing.assert_allclose(bios.tpr_gaps(y, predicted, gender), [0.5, -1.0])


def test_embeddings_are_steered_measured_and_drawn(tmp_path):
    data = biographies()
    methods = bios.BASELINES | {bios.MAIN: bios.VARIANTS[bios.MAIN]}
    found, chance = bios.measure(data, methods, (0, 1), components=6)
    assert all(f.gaps.shape == (2, 3) for f in found.values())
    none, ours = found["none"], found[bios.MAIN]
    assert 0.0 < chance < none.rms.mean()
    assert ours.rms.mean() < 0.7 * none.rms.mean()
    bios._write([(data, 6, found, chance)], tmp_path)
    bios._draw(data, found, chance, tmp_path / "bios.png")
    assert (tmp_path / "bios.png").stat().st_size < 120_000
    assert len(bios._claims(found, chance)) == 3


# ------------------------------------------------------------------------------- the real data


@needs_data
def test_cases_have_the_rows_and_base_rates_of_the_sources():
    folder = protocol.data_folder()
    for case, n, rates in (
        (protocol.compas_case(folder), 6150, (1 - 0.3936, 1 - 0.5143)),
        (protocol.adult_case(folder), 48842, (0.1093, 0.3038)),
        (protocol.law_case(folder, "race"), 20798, (0.7230, 0.9213)),
        (protocol.law_case(folder, "sex"), 20798, (0.8779, 0.8990)),
    ):
        rows = case.rows
        assert len(rows.y) == n
        assert np.isfinite(rows.X).all()
        for a, rate in enumerate(rates):
            assert rows.y[rows.group == a].mean() == pytest.approx(rate, abs=1e-4)
        for k in case.sensitive:  # these columns are the group
            assert abs(np.corrcoef(rows.X[:, k], rows.group)[0, 1]) == pytest.approx(1.0)


@needs_data
@pytest.mark.filterwarnings("ignore:Rounding to values")
def test_compas_on_one_split(tmp_path):
    case = protocol.compas_case(protocol.data_folder())
    methods = ("none", "score steering", "ideal steering")
    runs = tabular.measure(case, {"boosted trees": (0,)}, methods=methods)
    before, *after = (max(r.excess) for r in runs)
    assert all(excess < 0.5 * before for excess in after)


@needs_data
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", runner.REAL)
def test_real_experiments_in_their_quick_form(name, tmp_path):
    assert runner.run([name], tmp_path, quick=True) == 0
    assert (tmp_path / name / "methods.csv").is_file()
    assert f"## {name} (quick)" in (tmp_path / "CLAIMS.md").read_text(encoding="utf-8")
