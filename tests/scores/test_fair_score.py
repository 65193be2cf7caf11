"""`fp.FairScore` as its users meet it: groups that stay, files, pictures, counts, bands."""

from __future__ import annotations

import numpy as np
import pytest

import fairprog as fp
from tests.binned_scores import random_population

# ------------------------------------------------------------------------ groups that stay, files


def test_groups_that_stay_may_have_as_many_scores_as_rows() -> None:
    """Unbinned counts: neighbours among scores that stay are joined to about a hundred levels."""
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=8000), rng.choice(["strong", "weak"], 8000)
    z = rng.normal(size=8000) + (2 * y - 1) * np.where(a == "weak", 0.5, 1.1)
    s, old, new = 1 / (1 + np.exp(-2 * z)), slice(0, 4000), slice(4000, None)
    counts = fp.ScoreCounts().partial_fit(s[old], y[old], sensitive_features=a[old])
    notion = fp.EqualizedOdds(difference_bound=0.02)
    sol = fp.FairScore(counts.population(), notion, steer=["strong"]).solve()
    assert sol.certificate.ok and sol.gap <= 0.02 + 1e-9 and 95 <= len(sol.levels) <= 101
    before, after = sol.auc["weak"]
    assert before - after < 1e-3
    stays = np.flatnonzero(a[old] == "weak")
    levels = sol.channels["weak"](s[old][stays])
    assert np.abs(levels - s[old][stays]).max() < 0.05  # its own score, but for joining
    assert (np.diff(levels[np.argsort(s[old][stays])]) >= 0).all()
    bands = sol.band(s[new], y[new], sensitive_features=a[new])
    assert max(gap for gap, _, _ in bands.values()) < 0.07


def test_groups_that_stay_keep_their_scores() -> None:
    rng = np.random.default_rng(6)
    eta = np.linspace(0.05, 0.95, 12)
    weak = np.stack([1 - eta, eta], axis=1) * 0.5 + 0.25 / 2  # less can be told of this group
    strong = np.stack([1 - eta, eta], axis=1)
    joint = np.stack([weak / weak.sum(), strong / strong.sum()], axis=2) / 2
    D = fp.Categorical(joint, values=eta, groups=["weak", "strong"])
    sol = fp.FairScore(D, steer=["strong"]).solve()
    assert sol.gap <= 1e-9 and (sol.channels["weak"](eta) == eta).all()
    with pytest.raises(fp.InfeasibleError, match=r"\['strong'\] stay.*least bound") as caught:
        fp.FairScore(D, steer=["weak"]).solve()
    least = caught.value.details["least_bound"]
    notion = fp.EqualizedOdds(difference_bound=least + 1e-6)
    assert fp.FairScore(D, notion, steer=["weak"]).solve().gap <= least + 2e-6
    tight = fp.EqualizedOdds(difference_bound=least - 1e-3)
    with pytest.raises(fp.InfeasibleError):
        fp.FairScore(D, tight, steer=["weak"]).solve()
    assert rng is not None


def test_constraints_of_ones_own() -> None:
    D = random_population(np.random.default_rng(9), 2, 10)

    def few_positives(view, population):
        return view.rates[0, 0] <= 0.2

    free = fp.FairScore(D, cost_weight=[0.3]).solve("HIGHS")
    tied = fp.FairScore(D, cost_weight=[0.3], constraints=[few_positives]).solve()
    assert tied.exceedances[0][0, 1] <= 0.2 + 1e-8 and tied.risk >= free.risk - 1e-9
    assert "few_positives" in [c.label for c in fp.FairScore(
        D, constraints=[few_positives], cost_weight=[0.5]).problem.constraints]  # fmt: skip


def test_a_solution_is_saved_and_read(tmp_path) -> None:
    D = random_population(np.random.default_rng(0), 3, 30)
    sol = fp.FairScore(D).solve()
    for suffix in (".json", ".npz"):
        sol.save(tmp_path / f"score{suffix}")
        again = fp.load(tmp_path / f"score{suffix}")
        assert again.risk == sol.risk and again.gap == sol.gap and again.price == dict(sol.price)
        assert again.certificate == sol.certificate and again.notion == sol.notion
        s = np.linspace(0, 1, 50)
        assert (again.channels[1](s) == sol.channels[1](s)).all()
        with pytest.raises(fp.ModelError, match="FairScore"):
            again.frontier([0.1])
    assert sol.frontier([0.1]).risks.shape == (1,)


def test_summary_says_what_must_be_said() -> None:
    D = random_population(np.random.default_rng(0), 2, 30)
    text = fp.FairScore(D).solve().summary()
    said = ("levels down", "ONE common threshold", "AUC", "randomised", "price", "certificate")
    for words in said:
        assert words in text


def test_pictures_and_pages_are_made() -> None:
    D = random_population(np.random.default_rng(0), 3, 30)
    for bound in (0.0, 0.1):
        sol = fp.FairScore(D, fp.EqualOpportunity(difference_bound=bound)).solve()
        _, axes = sol.plot()
        assert len(axes) == 2 and axes[0].get_xlabel() == "false positive rate"
        page = sol.to_html()
        assert "levels down" in page and "ONE common threshold" in page and "<svg" in page
        assert "AUC before" in sol._repr_html_()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"notion": fp.AccuracyParity()}, "`notion` must be"),
        ({"notion": fp.EqualizedOdds(ratio_bound=0.8)}, "`notion` must be"),
        ({"steer": "women"}, "`steer` must be"),
        ({"steer": ["nobody"]}, "names 'nobody'"),
        ({"cost_weight": [0.0, 0.5]}, "between 0 and 1"),
        ({"cost_weight": [0.5], "steer": [0]}, "steer='all' only"),
    ],
)
def test_bad_questions_are_refused(options: dict, words: str) -> None:
    D = random_population(np.random.default_rng(0), 2, 5)
    with pytest.raises(fp.FairprogError, match=words):
        fp.FairScore(D, **options)
    with pytest.raises(fp.ModelError, match="ScoreCounts"):
        fp.FairScore(fp.Normal([[0.5, 0.5]], [[0.0, 1.0]], std=[[1.0, 1.0]]))
    with pytest.raises(fp.ModelError, match="solver"):
        fp.FairScore(D).solve("SIMPLEX")


# -------------------------------------------------------------------------------- invariances


def test_nothing_hangs_on_units_labels_or_order() -> None:
    rng = np.random.default_rng(11)
    y, a = rng.integers(2, size=600), rng.integers(3, size=600)
    s = np.round(10 * (rng.normal(size=600) + 0.8 * y - 0.3 * a)) / 16  # exact, with ties
    base = fp.FairScore(fp.ScoreCounts().partial_fit(s, y, sensitive_features=a).population())
    sol = base.solve()
    mix = rng.permutation(600)
    names = np.array(["x", "a", "m"])[a]
    counts = fp.ScoreCounts().partial_fit((8 * s + 3)[mix], y[mix], sensitive_features=names[mix])
    other = fp.FairScore(counts.population()).solve()
    assert other.risk == pytest.approx(sol.risk, abs=1e-12)
    assert other.auc["x"] == pytest.approx(sol.auc[0], abs=1e-12)
    heavy = fp.ScoreCounts().partial_fit(s, y, sensitive_features=a, sample_weight=np.full(600, 3))
    assert fp.FairScore(heavy.population()).solve().risk == pytest.approx(sol.risk, abs=1e-12)


def test_counts_are_merged_and_binned() -> None:
    rng = np.random.default_rng(0)
    s, y, a = rng.random(300).round(2), rng.integers(2, size=300), rng.integers(2, size=300)
    whole = fp.ScoreCounts().partial_fit(s, y, sensitive_features=a).population()
    first = fp.ScoreCounts().partial_fit(s[:100], y[:100], sensitive_features=a[:100])
    rest = fp.ScoreCounts().partial_fit(s[100:], y[100:], sensitive_features=a[100:])
    both = rest.merge(first).population()
    assert np.allclose(both.joint, whole.joint, 0, 1e-15) and both.effective_rows == 300
    assert np.allclose(whole.joint, fp.Categorical.fit(s, y, sensitive_features=a).joint)
    binned = fp.ScoreCounts(bins=10).partial_fit(s, y, sensitive_features=a).population()
    theirs = fp.Categorical.from_scores(s, y=y, sensitive_features=a, bins=np.arange(1, 10) / 10)
    assert np.allclose(binned.joint, theirs.joint) and np.allclose(binned.values, theirs.values)
    with pytest.raises(fp.ModelError, match="same bins"):
        first.merge(fp.ScoreCounts(bins=10))
    with pytest.raises(fp.DataError, match="has no rows"):
        fp.ScoreCounts(groups=[0, 1, 2]).partial_fit(s, y, sensitive_features=a).population()


def test_bands_hold_on_rows_not_fitted() -> None:
    rng = np.random.default_rng(0)
    y, a = rng.integers(2, size=8000), rng.integers(2, size=8000)
    s = rng.normal(size=8000) + y * (1 + a) - 0.5 * a
    old, new = slice(0, 4000), slice(4000, None)
    counts = fp.ScoreCounts().partial_fit(s[old], y[old], sensitive_features=a[old])
    sol = fp.FairScore(counts.population()).solve()
    before = fp.FairScore(counts.population(), fp.EqualizedOdds(difference_bound=1)).solve()
    for name, (gap, low, high) in sol.band(s[new], y[new], sensitive_features=a[new]).items():
        assert low <= gap <= high and low < 0.02
        assert gap < before.band(s[new], y[new], sensitive_features=a[new])[name][0]


def test_what_is_impossible_is_said_without_a_solver_banner(capfd):
    rng = np.random.default_rng(0)
    s, a = rng.random(400), rng.choice(["a", "b", "c"], 400)
    y = (rng.random(400) < s).astype(int)
    with pytest.raises(fp.InfeasibleError, match=r"least bound that can be met is 0\.\d+"):
        fp.ScoreSteering(method="channel", steer=["b"]).fit(s, y, sensitive_features=a)
    assert capfd.readouterr().out == ""
