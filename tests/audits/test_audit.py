"""`fp.audit` as its users meet it: text, table, picture, page, command, careless mistakes."""

import json

import numpy as np
import pandas as pd
import pytest

import fairprog as fp
from fairprog.cli import main
from tests.scored_rows import draw

# -------------------------------------------------------------------- text, table, picture, page


def test_text_table_picture_and_page(tmp_path):
    s, y, a = draw(600, np.random.default_rng(0))
    found = fp.audit(y, s, sensitive_features=a, n_permutations=20)
    text = found.summary()
    assert found.verdict in text and found.recommendation in text
    frame = found.to_frame()
    assert len(frame) == 5 and {"gap", "low", "high", "floor"} <= set(frame.columns)
    fig, ax = found.plot(notion="accuracy")
    assert ax.get_title() == "accuracy parity"
    import matplotlib.pyplot as plt

    plt.close(fig)
    with pytest.raises(fp.DataError, match="`notion` is 'calibration'; measured are"):
        found.plot(notion="calibration")
    page = found.to_html(tmp_path / "audit.html", title="Scores <of> May")
    assert "is known to within" in page and "half the width of its band" in page
    assert (tmp_path / "audit.html").read_text(encoding="utf-8") == page
    assert "Scores &lt;of&gt; May" in page and "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 6


@pytest.fixture
def file(tmp_path):
    s, y, a = draw(800, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-s))
    frame = pd.DataFrame({"score": p, "steered": p**2, "label": np.where(y, "yes", "no"),
                          "sex": a, "age": np.arange(800) % 2, "w": 1 + y,
                          "three": np.arange(800) % 3})  # fmt: skip
    frame.to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "scores.csv"


def run(file, *more):
    usual = {"--label": "label", "--score": "score", "--sensitive": "sex"}
    asked = [part for pair in usual.items() if pair[0] not in more for part in pair]
    return main(["audit", str(file), *asked, *map(str, more)])


def test_the_command_prints_and_writes(file, capsys):
    report = file.parent / "audit.html"
    assert run(file, "--report", report, "--after", "steered", "--weight", "w") == 0
    out = capsys.readouterr().out
    assert "bootstrap interval" in out and "after" in out and f"Wrote {report}" in out
    assert "<svg" in report.read_text(encoding="utf-8")
    assert run(file, "--sensitive", "sex", "age") == 0
    crossed = capsys.readouterr().out
    assert "group a & 0" in crossed
    assert run(file, "--sensitive", "sex", "--sensitive", "age") == 0
    assert capsys.readouterr().out == crossed  # a second one is not read instead of the first


def test_the_command_says_what_is_wrong(file, capsys):
    for more, message in (
        (["--positive", "no"], None),
        (["--positive", "maybe"], "the values of 'label' are 'no', 'yes'"),
        (["--score", "scor"], "did you mean 'score'"),
        (["--report", "x.pdf"], "must end in .html"),
        (["--score", "sex"], "must hold finite numbers"),
        (["--score", "score", "w"], "needed is one, the score of the positive class 'yes'"),
        (["--label", "three"], "each of the 3 classes of 'three', in this order: '0', '1', '2'"),
    ):
        code = run(file, *more)
        caught = capsys.readouterr()
        if message is None:
            assert code == 0 and "lower for class 'no'" in caught.out
        else:
            assert code == 1 and message in caught.err
    assert main(["audit", "nowhere.csv", "--label", "y", "--score", "s", "--sensitive", "a"]) == 1


# ------------------------------------------------------------------------------ careless users


def test_every_careless_mistake_gets_a_sentence():
    s, y, a = draw(400, np.random.default_rng(0))

    def fails(message, y=y, s=s, a=a, **kwargs):
        with pytest.raises(fp.DataError, match=message):
            fp.audit(y, s, sensitive_features=a, **kwargs)

    fails("maps are one per group|`sensitive_features` is required", a=None)
    fails("the same as `y`", a=y)
    fails("Were features or labels passed", a=s)
    fails("Were scores passed first", y=s, s=y)
    fails("the one class", y=np.zeros(400, int))
    fails("the one group", a=np.full(400, "a"))
    fails("Class 1, group 'b' has 0 row.*merge_groups", y=np.where(a == "b", 0, y))
    fails("must be finite", s=np.where(s > 1, np.nan, s))
    fails("must be an array of numbers", s=np.full(400, "high"))
    fails("such as `predict_proba.*not predicted classes", s=np.where(s > 0, "high", "low"))
    fails("two columns of `y_score` do not add up", s=np.stack([-(s**2), s], axis=1))
    fails(r"has shape \(399,\); needed is", s=s[1:])
    fails("a column for each of the 3 classes", y=np.arange(400) % 3)
    fails(r"`y_score_after` has shape \(399,\); needed is", y_score_after=s[1:])
    fails("strictly between 0 and 1", confidence=95)
    fails("rows of weight zero", sample_weight=((a == "a") | (y == 0)).astype(float))
    fails("`X` has shape", X=np.ones((3, 2)))
    fails("has 0 row", y=y[:3], s=s[:3], a=np.array(["a", "b", "b"]))
    with pytest.warns(fp.FairprogWarning, match="lower for class 1, the last"):
        fp.audit(y, -s, sensitive_features=a, n_permutations=2)


def test_the_same_rows_give_the_same_audit():
    s, y, a = draw(300, np.random.default_rng(0))
    one, two = (fp.audit(y, s, sensitive_features=a).to_frame() for _ in range(2))
    assert json.loads(one.to_json()) == json.loads(two.to_json())


def test_labels_and_scores_or_groups_that_were_swapped_are_noticed():
    s, y, a = draw(600, np.random.default_rng(0))
    with pytest.raises(fp.DataError, match=r"The order is audit\(y_true, y_score\)"):
        fp.audit(np.round(s).clip(0, 2), y, sensitive_features=a)
    told = s + 3.0 * (a == "b")
    with pytest.warns(fp.FairprogWarning, match="were labels and `sensitive_features` swapped"):
        fp.audit(a, s, sensitive_features=y)
    assert fp.audit(y, told, sensitive_features=a).worst  # leaks, and tells the classes too
    with pytest.raises(fp.DataError, match="Drop these rows everywhere"):
        fp.audit(y, np.where(s > 1, np.nan, s), sensitive_features=a)
    few = fp.audit([0, 1, 0, 1], [0.1, 0.6, 0.3, 0.4], sensitive_features=list("abba"))
    assert "too few to say anything" in few.verdict


def test_a_threshold_that_no_score_passes_is_noticed():
    s, y, a = draw(400, np.random.default_rng(0))
    with pytest.warns(fp.FairprogWarning, match="the threshold 99 predicts 0 for every row"):
        fp.audit(y, s, sensitive_features=a, threshold=99, n_permutations=2)


def test_two_columns_of_probabilities_are_one_score():
    s, y, a = draw(400, np.random.default_rng(0))
    p = 1 / (1 + np.exp(-s))
    both = np.stack([1 - p, p], axis=1)
    one = fp.audit(y, p, sensitive_features=a, n_permutations=2)
    for dtype in (np.float64, np.float32):
        two = fp.audit(y, both.astype(dtype), sensitive_features=a, n_permutations=2)
        assert two.worst["equalized odds", "score"].gap == pytest.approx(
            one.worst["equalized odds", "score"].gap, abs=1e-12
        )
