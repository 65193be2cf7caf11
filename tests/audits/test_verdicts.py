"""Verdicts and advice follow the numbers, and no sentence contradicts one."""

import re

import numpy as np
import pytest

import fairprog as fp
from fairprog.audits.gaps import as_unequal
from tests.scored_rows import draw

# ---------------------------------------------------------------------------- chance and verdicts


def fair(n, seed):
    """Scores that say nothing about the group within a class."""
    return draw(n, np.random.default_rng(seed), np.array([[0.0, 0.0], [1.5, 1.5]]))


@pytest.mark.slow
def test_chance_is_exceeded_as_rarely_as_it_should():
    beyond = []
    for seed in range(60):
        s, y, a = fair(300, seed)
        found = fp.audit(y, s, sensitive_features=a, n_permutations=60)
        beyond.append(found.worst["equalized odds", "score"].beyond_chance)
    assert np.mean(beyond) < 0.17  # 5% in the mean; three standard errors above


def test_verdicts_and_recommendations():
    s, y, a = fair(400, 0)
    none = fp.audit(y, s, sensitive_features=a)
    assert "No unequal treatment beyond chance" in none.verdict
    assert none.recommendation.startswith("No tool is called for")
    s, y, a = draw(4000, np.random.default_rng(0))
    far = np.where(a == "b", s + 1, s)
    found = fp.audit(y, far, sensitive_features=a)
    assert "Groups are treated unequally" in found.verdict
    assert found.recommendation.startswith("ScoreSteering: it takes any score")
    assert "equal" in repr(found)
    X = np.random.default_rng(0).standard_normal((4000, 3))
    features = fp.audit(y, far, sensitive_features=a, X=X, n_permutations=5).recommendation
    assert features.startswith("IdealSteering, since 100%")
    table = fp.audit(y, far, sensitive_features=a, X=np.round(X), n_permutations=5).recommendation
    assert table.startswith("ScoreSteering: 100% of the features take few values")
    coarse = fp.audit(y, np.round(far), sensitive_features=a, n_permutations=5).recommendation
    assert coarse.startswith("FairClassifier for one cost, since the score takes")
    small = fp.audit(y[:200], far[:200], sensitive_features=a[:200], n_permutations=50)
    assert "The smallest cell" in small.recommendation
    weak = fp.audit(y[:300], s[:300], sensitive_features=a[:300], confidence=0.9999)
    assert "0.000" in weak.summary()


def test_before_and_after_steering():
    s, y, a = draw(4000, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-np.where(a == "b", s - 1, s)))
    t = fp.ScoreSteering(steer=["b"]).fit(p, y, sensitive_features=a)
    after = t.transform(p, sensitive_features=a)
    found = fp.audit(y, p, sensitive_features=a, y_score_after=after)
    key = "equalized odds"
    assert found.worst[key, "after"].gap < 0.7 * found.worst[key, "before"].gap
    assert found.scores == ("before", "after")
    move = found.movement
    np.testing.assert_array_equal(move.rms[:, 0], 0.0)
    own = (y == 1) & (a == "b")
    assert move.quantiles[2, 1, 1] == pytest.approx(np.median((after - p)[own]))
    assert move.flipped[1, 1] == pytest.approx(((after >= 0.5) != (p >= 0.5))[own].mean())
    np.testing.assert_allclose(move.rank, 1.0)
    assert "How far scores moved" in found.summary()


def test_more_than_two_classes():
    rng = np.random.default_rng(0)
    n = 3000
    y, a = rng.integers(0, 3, n), rng.integers(0, 3, n)
    S = rng.standard_normal((n, 3)) + 1.5 * np.eye(3)[y]
    S[:, 2] -= 1.2 * (a == 1)
    names = np.array(["nurse", "pilot", "surgeon"])
    found = fp.audit(names[y], S, sensitive_features=a, n_permutations=50)
    assert len(found.curves) == 6 and found.classes == ("nurse", "pilot", "surgeon")
    guess = S.argmax(axis=1)
    rate = np.array([[(guess == i)[(y == i) & (a == g)].mean() for g in range(3)]
                     for i in range(3)])  # fmt: skip
    np.testing.assert_allclose(found.rates, rate)
    np.testing.assert_allclose(found.rms_gap.gap, np.sqrt((np.ptp(rate, axis=1) ** 2).mean()))
    assert found.rms_gap.low <= found.rms_gap.gap <= found.rms_gap.high
    assert found.rms_gap.beyond_chance
    key = "class surgeon: equal opportunity against the rest", "score"
    one = fp.audit(names[y] == "surgeon", S[:, 2], sensitive_features=a, n_permutations=5)
    assert found.worst[key].gap == pytest.approx(one.worst["equal opportunity", "score"].gap)
    assert found.recommendation.startswith("IdealSteering, on the features or the embeddings")
    assert "surgeon" in found.verdict and "rms" not in found.to_frame().columns
    assert len(found.leakage) == 9
    assert "<svg" in found.to_html()


# -------------------------------------------------------------------------- sentences and numbers


def contradictions(found):
    """Return what the verdict of an audit says against its numbers."""
    said, words = [], found.verdict
    notion, gap, unequal = found.decision
    numbers = [float(x) for x in re.findall(r"\d\.\d{3}", words)]
    for entry in found.worst.values():
        inside = 0 <= entry.low <= entry.at_least <= entry.at_most <= entry.high <= 1
        if not (inside and entry.low <= entry.estimate <= min(entry.high, entry.gap)):
            said.append(f"intervals are not in order: {entry}")
        if entry.low > 0 and not entry.beyond_chance:
            said.append("an interval excludes what the permutations leave open")
    events = [g for (of, _), g in found.worst.items() if "parity" not in of]
    if not unequal and any(g.low > 0 or g.at_least > 0 for g in events):
        said.append("an interval excludes no gap where the decision does not")
    if len(found.classes) == 2:
        odds, *events = events
        if odds.beyond_chance != any(g.beyond_chance for g in events):
            said.append("equalized odds and their events are decided apart")
        if any(odds.high < g.high or odds.at_most < g.at_most for g in events):
            said.append("an event's gap reaches above the larger of both")
    if f"{gap.gap:.3f}" not in words or f"({notion})" not in words:
        said.append("the gap that decided is not shown")
    if f"{gap.chance:.1%} of cases" not in words and "less than" not in words:
        said.append("the share that decided is not shown")
    tool = found.recommendation
    if words.startswith("Groups are treated unequally"):
        if not unequal or tool.startswith(("No tool", "None")):
            said.append("unequal, and yet not")
        if gap.low > 0 and not numbers[2] <= numbers[1] <= numbers[3]:
            said.append("the corrected gap is not within the interval shown")
        who = found.worst_threshold(notion, groups=gap.between)
        if len(found.groups) == 2 and f"{who.rates[1] - who.rates[0]:.3f}" != f"{gap.gap:.3f}":
            said.append("the rates shown are not of the gap that decided")
        if not who.rates[0] < who.rates[1]:
            said.append("the group said to be predicted positive less often is not")
    elif words.startswith("No unequal treatment"):
        if unequal or not tool.startswith("No tool"):
            said.append("not unequal, and yet it is")
        if numbers[2] < numbers[1]:
            said.append("a corrected gap above what is excluded")
        if numbers[2] < numbers[0] and "measures more than there is" not in words:
            said.append("a gap above what is excluded, without the reason")
    elif not words.startswith("The rows are too few") or not tool.startswith("None"):
        said.append("no finding")
    return said


def random_audit(seed):
    rng = np.random.default_rng(seed)
    n, G = int(np.exp(rng.uniform(np.log(6), np.log(5000)))), int(rng.integers(2, 7))
    share = rng.dirichlet(np.full(G, 2.0))
    K = 3 if seed % 7 == 0 else 2
    y = np.append(np.tile(np.arange(K), G), rng.integers(K, size=n))
    a = np.append(np.repeat(np.arange(G), K), rng.choice(G, n, p=share))
    s = rng.standard_normal((y.size, K)) + np.eye(K)[y] + rng.choice([0.0, 0.1, 0.5]) * a[:, None]
    s = np.round(s) if seed % 3 == 0 else s
    w = rng.exponential(size=y.size) + 0.1 if seed % 4 == 0 else None
    return fp.audit(
        y, s if K > 2 else s[:, 1], sensitive_features=a, sample_weight=w, n_permutations=99,
        n_bootstrap=100,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::fairprog.FairprogWarning")
@pytest.mark.parametrize("seeds", [range(0, 8), range(8, 16), range(16, 24)])
def test_no_sentence_contradicts_its_numbers(seeds):
    for seed in seeds:
        found = random_audit(seed)
        assert contradictions(found) == [], (seed, found.verdict)


def test_four_groups_by_chance_alone_are_decided_once():
    """The measured gap was above what the sentence said chance gives, and not a finding."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y, a = rng.integers(0, 2, 400), rng.integers(0, 4, 400)
        found = fp.audit(y, rng.normal(y), sensitive_features=a, n_bootstrap=50)
        assert contradictions(found) == [] and "chance gives up to" not in found.verdict


def rare_class(seed, groups=2, shift=0.0, n=4000):
    """Positives are 4% of the rows; negatives of the second group score higher by the shift."""
    rng = np.random.default_rng(seed)
    g, y = rng.choice(list("abcd"[:groups]), n), (rng.random(n) < 0.04).astype(int)
    z = rng.normal(size=n) + 1.5 * y + shift * ((g == "b") & (y == 0))
    return fp.audit(y, 1 / (1 + np.exp(-z)), sensitive_features=g, n_bootstrap=50)


@pytest.mark.parametrize("groups", [2, 4])
def test_the_noise_of_a_rare_class_hides_no_gap_of_the_large_one(groups):
    """The raw maximum over both classes was called chance, beside a share of 0.0%."""
    for seed in range(4):
        found = rare_class(seed, groups, 0.4)
        notion, gap, unequal = found.decision
        assert unequal and notion == "predictive equality" and "b" in gap.between
        assert gap == found.worst["predictive equality", "score"] and gap.low > 0
        assert "the worst threshold the gap (predictive equality) is" in found.verdict
        assert "of its rows of class 0" in found.verdict and contradictions(found) == []


def rarer_event_larger(seed):
    """300 of 6300 rows are positive, and their scores are further apart than the others'."""
    rng = np.random.default_rng(seed)
    y, a = np.repeat([1, 0], [300, 6000]), rng.choice(list("ab"), 6300)
    s = rng.normal(size=6300) + 1.5 * y + (a == "b") * np.where(y == 1, -0.5, 0.35)
    return fp.audit(y, s, sensitive_features=a, n_bootstrap=50)


def test_the_verdict_names_the_largest_gap_beyond_chance_and_the_other_event():
    """The gap with the strongest evidence was called the worst, and the larger one not named."""
    found = rarer_event_larger(0)
    rare, large = (found.worst[of, "score"] for of in ("equal opportunity", "predictive equality"))
    assert rare.chance > large.chance and rare.low < large.low and rare.gap > large.gap + 0.05
    assert rare.beyond_chance and found.decision == ("equal opportunity", rare, True)
    assert f"threshold the gap (equal opportunity) is {rare.gap:.3f}" in found.verdict
    assert found.verdict.endswith(f"gap of predictive equality is {large.gap:.3f}.")
    assert found.worst["equalized odds", "score"].gap == rare.gap and contradictions(found) == []


def test_a_larger_gap_that_chance_may_have_made_is_named_as_such():
    found = rarer_event_larger(3)
    rare = found.worst["equal opportunity", "score"]
    notion, gap, unequal = found.decision
    assert unequal and notion == "predictive equality" and rare.gap > gap.gap
    end = f"gap of equal opportunity is {rare.gap:.3f}, which is not beyond chance."
    assert found.verdict.endswith(end) and contradictions(found) == []


def test_of_several_classes_the_rows_shown_are_those_of_the_event():
    """Rates given the class were shown for a gap among the rows of the other classes."""
    rng = np.random.default_rng(0)
    y, a = rng.choice(3, 3000, p=[0.48, 0.48, 0.04]), rng.choice(list("ab"), 3000)
    S = rng.standard_normal((3000, 3)) + 1.5 * np.eye(3)[y]
    S[:, 2] += 0.5 * ((a == "b") & (y != 2))
    found = fp.audit(y, S, sensitive_features=a, n_bootstrap=50)
    notion, gap, unequal = found.decision
    assert unequal and notion == "class 2: predictive equality against the rest"
    who = found.worst_threshold(notion)
    assert (who.given, who.rest, who.positive, who.less) == (2, True, 2, "a")
    assert who.rates[1] - who.rates[0] == pytest.approx(gap.gap)
    assert "of its rows of classes other than 2" in found.verdict


def test_the_share_as_unequal_is_a_p_value_whatever_the_units():
    """Of equal laws in units that differ by 100 the decision keeps its level."""
    rng = np.random.default_rng(0)
    units = np.array([100.0, 1.0, 1.0, 1.0]) * np.array([[1.0], [5.0], [0.1]])
    found = np.array([as_unequal(units * rng.gumbel(3, size=(101, 3, 4))) for _ in range(1000)])
    assert 0.03 <= np.mean(found[:, 0] < 0.05) <= 0.07  # 0.05 +- three standard errors
    np.testing.assert_array_equal(found[:, 0], found[:, 1:3].min(axis=1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("groups", [2, 4])
def test_the_decision_keeps_its_level_with_a_rare_class(groups):
    unequal = [rare_class([seed, groups], groups, n=1500).decision[2] for seed in range(400)]
    assert 0.025 <= np.mean(unequal) <= 0.075


def test_six_rows_say_nothing_and_the_audit_says_so():
    found = fp.audit([0, 1, 0, 1, 0, 1], [0.1, 0.6, 0.3, 0.4, 0.2, 0.9],
                     sensitive_features=list("abbaab"))  # fmt: skip
    assert found.verdict.startswith("The rows are too few to say anything: 6, of which 1 in")
    assert found.recommendation.startswith("None can be chosen on these rows")


# ------------------------------------------------------------------------------------ who it is


def test_the_verdict_names_the_group_and_the_direction():
    rng = np.random.default_rng(0)
    n = 4000
    a, y = rng.choice(["a", "b"], n), rng.integers(2, size=n)
    s = rng.normal(1.5 * y - 1.0 * (a == "b"))
    found = fp.audit(y, s, sensitive_features=a)
    where = found.worst_threshold()
    assert (where.less, where.more) == ("b", "a")
    assert f"Group 'b' is predicted 1 less often: above {where.threshold:.3g}" in found.verdict
    own = (y == where.given) & (a == "b")
    assert np.mean(s[own] > where.threshold) == pytest.approx(where.rates[0])
    gap = where.rates[1] - where.rates[0]
    assert gap == pytest.approx(found.worst["equalized odds", "score"].gap)
    assert "Positive is class 1" in found.summary()
    with pytest.raises(fp.DataError, match="equal opportunity"):
        found.worst_threshold("accuracy parity")


def test_no_sentence_of_many_groups_contradicts_itself():
    rng = np.random.default_rng(0)
    n = 4000
    a = rng.choice(list("abc"), n, p=[0.6, 0.395, 0.005])
    y = rng.integers(2, size=n)
    found = fp.audit(y, rng.normal(1.5 * y - 0.7 * (a == "b")), sensitive_features=a)
    gap = found.worst["equalized odds", "score"]
    assert (
        gap.low > 0 and gap.gap <= gap.floor_high
    )  # a group of a few rows sets what chance gives
    assert "as unequal in less than 0.5% of cases" in found.verdict
    assert "chance alone gives" not in found.verdict and contradictions(found) == []
    assert "surest between a and b" in found.verdict and "group 'c'" not in found.verdict
