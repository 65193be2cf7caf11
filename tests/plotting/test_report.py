"""The HTML report: what it holds, that it is sound HTML, that it loads nothing."""

import dataclasses
import os
import re
import warnings
from functools import cache
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest

import fairprog as fp
from fairprog.cli import main
from fairprog.evidence.rows import evidence_of_rows
from fairprog.evidence.words import grown_gaps, warnings_of
from fairprog.plotting.html import Markup, data_table, escape, tag
from fairprog.plotting.report import Report
from fairprog.plotting.solution_report import solution_report
from fairprog.plotting.svg import _VARIABLES
from tests.instances import multivariate, univariate
from tests.reports import Reader, sound

EVIL = ("<b>&\"'", "a label that is so long that no picture has room for it & more", "$x_1$")


def rows_of(D, n=600):
    X, y, a = D.sample(n, random_state=0)
    return {"X": X, "y": y, "sensitive_features": a}


@fp.constraint
def small_shift(view, population):
    return cp.abs(view.mean[0, "b"] - population.mean[0, "b"]) <= 0.2


RNG = np.random.default_rng(7)
ONE, THREE = univariate(RNG, 2, 2), univariate(RNG, 4, 3)
TWO, EIGHT = multivariate(RNG, 2), multivariate(RNG, 8, 4, 3)
LOG = fp.LogNormal(ONE.prior, ONE.mean, std=ONE.std, groups=ONE.groups)
LOG2 = fp.LogNormal(TWO.prior, TWO.location, cov=TWO.cov, groups=TWO.groups)
PROGRAMS = {
    "univariate": lambda: fp.NearestIdeal(ONE, steer=["b"]),
    "two features": lambda: fp.NearestIdeal(TWO, steer=["b"]),
    "eight features": lambda: fp.NearestIdeal(EIGHT, steer=["b", "c"]),
    "map bound": lambda: fp.NearestIdeal(TWO, steer=["b"], map_bound=0.2),
    "condition": lambda: fp.NearestIdeal(LOG, ["b"], constraints=[small_shift]),
}
FURTHER = {
    "four classes": lambda: fp.NearestIdeal(THREE, steer=["b", "c"]),
    "all": lambda: fp.NearestIdeal(ONE),
    "log-normal plane": lambda: fp.NearestIdeal(LOG2, base_rates="keep"),
    "mirror": lambda: fp.NearestIdeal(ONE, steer=["b"], orientation="any"),
    "all in eight": lambda: fp.NearestIdeal(EIGHT),
}


@cache
def solution(name):
    return {**PROGRAMS, **FURTHER}[name]().solve()


@cache
def full_page(name):
    sol = solution(name)
    return sol.to_html(**rows_of(sol.original))


@cache
def part(name):
    return solution(name)._repr_html_()


@pytest.mark.parametrize(
    "name", [*PROGRAMS, *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER)]
)
def test_every_solution_has_a_sound_report_with_everything_in_it(name):
    sol, found = solution(name), sound(full_page(name))
    for price in sol.price:
        assert f"price of {price}" in found.words
        assert f"{sol.price[price]:.6g}" in found.words
    for where, value in sol.sensitivity.items():
        assert where in found.words
        assert f"{np.linalg.norm(value):.4g}" in found.words
    assert f"{sol.kl:.4g} nats" in found.words
    assert ("global" if sol.certificate.globally_optimal else "local") in found.words
    for setting in sol.settings:
        assert setting in found.words
    assert fp.__version__ in found.words
    assert "95% confidence" in found.words
    if sol.original.n_classes == 2:
        assert "Equal opportunity: rows of class 1" in found.words


def test_without_data_the_report_is_that_of_the_populations():
    found = sound(solution("univariate").to_html())
    assert "made without data" in found.words
    assert "no sampling" in found.words
    assert "confidence" not in found.words


@pytest.mark.parametrize("name", ["univariate", "two features"])
def test_the_notebook_shows_a_part_that_leaves_the_rest_alone(name):
    found = sound(part(name), whole=False)
    assert found.named("html") == found.named("body") == found.named("h1") == []
    (style,) = re.findall(r"<style>(.*?)</style>", part(name), flags=re.DOTALL)
    style = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    selectors = re.findall(r"([^{}@;]+)\{", re.sub(r"@media[^{]*\{", "", style))
    assert len(selectors) > 30
    for selector in selectors:
        for one in selector.split(","):
            assert ".fairprog" in one, f"{one.strip()!r} would restyle the notebook"


def test_the_same_twice():
    assert part("univariate") == solution_report(solution("univariate")).part()
    both = [
        {a["id"] for _, a in Reader(part(name)).tags if "id" in a}
        for name in ("univariate", "two features")
    ]
    assert both[0] and not both[0] & both[1]  # two of them can stand in one notebook


def test_labels_are_text_and_nothing_else():
    D = univariate(np.random.default_rng(3), 2, 3)
    classes = ["</title><i>no</i>", 'yes & "it\'s"']
    D = fp.Normal(D.prior, D.mean, std=D.std, groups=EVIL, classes=classes)
    sol = fp.NearestIdeal(D, steer=EVIL[1:]).solve()
    page = sol.to_html(**rows_of(D), title="<script>alert(1)</script>")
    found = sound(page)
    assert found.named("b") and all(a == {} for a in found.named("b"))  # those of the captions
    assert found.named("i") == []
    for label in (*EVIL, *classes):
        assert label in found.words
    assert "<script>alert(1)</script>" in found.words


def test_every_colour_of_a_picture_follows_the_page():
    """A colour drawn as such, and no variable, would stay as it is in the dark."""
    for name in ("eight features", "two features"):
        page = full_page(name)
        pictures = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
        assert "var(--fp-c0, #0072b2)" in pictures.lower()
        assert re.findall(r"(?<!, )#[0-9a-fA-F]{6}\b", pictures) == []
        for attribute in re.findall(r'\b(?:fill|stroke)="([^"]*)"', pictures):
            assert attribute == "none"
    css = Path(fp.__file__).with_name("plotting").joinpath("report.css").read_text()
    for variable in set(_VARIABLES.values()):
        assert css.count(f"--fp-{variable}:") == 4  # light, dark, and both for notebooks


def contrast(one, other):
    def luminance(color):
        channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_light_and_dark():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    css = Path(fp.__file__).with_name("plotting").joinpath("report.css").read_text()
    palettes = [
        dict(re.findall(r"--fp-(\w+): (#[0-9a-f]{6})", block))
        for block in re.findall(r"\{([^{}]*--fp-paper: [^{}]*)\}", css)
    ]
    assert len(palettes) == 4
    for p in palettes:
        for text in ("ink", "muted", "link", "good", "bad"):
            assert contrast(p[text], p["paper"]) >= 4.5
        assert contrast(p["ink"], p["note"]) >= 4.5
        assert contrast(p["muted"], p["panel"]) >= 4.5
        for line in ("c0", "c1", "c2"):
            assert contrast(p[line], p["paper"]) >= 3.0


# ------------------------------------------------------------------------------------- warnings


def test_warnings_say_what_there_is_to_say():
    rng = np.random.default_rng(11)
    D = univariate(rng, 2, 2, base_rates="equal")
    same = fp.Normal(D.prior, D.mean[:, [0, 0]], std=D.std[:, [0, 0]])
    assert warnings_of(fp.NearestIdeal(same, steer=[1]).solve()) == []
    far = univariate(np.random.default_rng(3), 2, 2)
    kept = " ".join(warnings_of(fp.NearestIdeal(far, ["b"], base_rates="keep").solve()))
    assert "Base rates were kept" in kept
    assert "Base rates change" in " ".join(warnings_of(fp.NearestIdeal(far, ["b"]).solve()))
    bound = fp.NearestIdeal(far, ["b"], map_bound=0.1).solve()
    assert "map_bound of 0.1" in " ".join(warnings_of(bound))
    local = fp.NearestIdeal(univariate(rng, 3, 3)).solve()
    assert not local.certificate.globally_optimal
    assert "local optimum" in " ".join(warnings_of(local))


def test_rows_on_which_gaps_grow_are_warned_of():
    """The example of theory.md section 1: aligned alone, the true positive rates part."""
    D = fp.Normal(np.full((2, 2), 0.25), [[0.0, 0.0], [2.0, 1.0]], std=[[1.0, 1.0], [1.0, 1.0]])
    sol = fp.NearestIdeal(D, steer=[1]).solve()
    X, y, a = D.sample(4000, random_state=0)
    good, bad = np.zeros(4000), np.where(a == 1, 0.9, 0.1)
    grown = evidence_of_rows(sol, X, y, a, {"first": good, "second": bad}, 0.95)
    assert "The gap at the worst threshold GREW" in " ".join(warnings_of(sol, None, grown.curves))
    assert "GREW" not in " ".join(warnings_of(sol, None, grown.curves, one_of_many=True))
    calm = evidence_of_rows(sol, X, y, a, {"first": bad, "second": good}, 0.95)
    assert "GREW" not in " ".join(warnings_of(sol, calm.movement, calm.curves, calm.ranks))


def test_grown_gaps_of_the_populations():
    ideal = fp.Normal(np.full((2, 2), 0.25), [[0.0, 1.0], [2.0, 3.0]], std=np.ones((2, 2)))
    biased = univariate(np.random.default_rng(3), 2, 2)
    before, after = ideal.evaluate(), biased.evaluate()
    assert "GREW: equal opportunity" in grown_gaps(before, after)[0]
    assert grown_gaps(after, before) == []


def test_a_mirrored_group_and_few_rows_are_said():
    D = fp.Normal([[0.25, 0.25]] * 2, [[0.0, 2.0], [2.0, 0.0]], std=[[1.0, 1.5], [1.5, 1.0]])
    sol = fp.NearestIdeal(D, steer=[1], orientation="any").solve()
    found = evidence_of_rows(sol, *rows_of(D, 120).values(), None, 0.95)
    said = " ".join(warnings_of(sol, found.movement, found.curves, found.ranks))
    assert "Group 1 is mirrored" in said
    assert "There are few rows" in said


# --------------------------------------------------------------------------------------- writing


def test_a_path_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    sol = solution("univariate")
    path = tmp_path / "report.html"
    page = sol.to_html(path)
    assert path.read_text(encoding="utf-8") == page
    assert os.listdir(tmp_path) == ["report.html"]

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(Report, "page", lambda *_: "other")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(fp.DataError, match="cannot be written: disk full"):
        sol.to_html(path)
    assert path.read_text(encoding="utf-8") == page
    assert os.listdir(tmp_path) == ["report.html"]
    with pytest.raises(fp.DataError, match="does not exist"):
        sol.to_html(tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize("missing", ["X", "y", "sensitive_features"])
def test_rows_need_class_and_group(missing):
    sol = solution("univariate")
    given = rows_of(sol.original)
    del given[missing]
    with pytest.raises(fp.DataError, match=f"`{missing}` is missing") as caught:
        sol.to_html(**given)
    assert caught.value.argument == missing
    with pytest.raises(fp.DataError, match="names no score"):
        sol.to_html(**rows_of(sol.original), scores={})


def test_scores_of_your_own_need_no_features():
    sol = solution("univariate")
    _, y, a = sol.original.sample(300, random_state=0)
    scores = {"my model": np.linspace(0, 1, 300), "mine, mended": np.linspace(1, 0, 300)}
    found = sound(sol.to_html(y=y, sensitive_features=a, scores=scores, confidence=0.9))
    assert "mine, mended" in found.words
    assert "90% confidence" in found.words
    assert "no sampling" in found.words  # displacements are those of the population


def test_html_is_escaped_where_it_enters():
    assert tag("p", "<", Markup("<br>"), class_='"') == '<p class="&quot;">&lt;<br></p>'
    assert escape(Markup("<b>")) == "<b>"
    assert 'scope="row">&amp;</th><td>1</td>' in data_table("c", ["a", "b"], [["&", 1]])


def test_no_figure_is_left_open():
    import matplotlib.pyplot as plt

    solution_report(solution("two features")).part()
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------ the command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    D = univariate(np.random.default_rng(4), 2, 2)
    X, y, a = D.sample(800, random_state=0)
    rows = [f"{x:.4f},{x**2:.4f},{i},{g}" for x, i, g in zip(X[:, 0], y, a, strict=True)]
    Path("data.csv").write_text("\n".join(["score <1>,square,y,g", *rows]))
    return tmp_path


COMMAND = ["steer", "data.csv", "--label", "y", "--sensitive", "g", "--quiet"]


def test_steer_writes_a_report(folder, capsys):
    assert main([*COMMAND, "--splits", "3", "--report", "report.html"]) == 0
    said = capsys.readouterr().out
    assert "Wrote report.html" in said
    found = sound(Path("report.html").read_text(encoding="utf-8"))
    assert "Steering report: data.csv, 800 rows" in found.words
    for part in ("raw features", "aligned features", "held-out", "by chance", "score <1>"):
        assert part in found.words
    printed = re.search(r"^aligned features +(\S+ ±\S+)", said, flags=re.MULTILINE)[1]
    assert printed in found.words


def test_a_report_without_held_out_rows_says_so(folder):
    assert main([*COMMAND, "--splits", "0", "--report", "report.html"]) == 0
    found = sound(Path("report.html").read_text(encoding="utf-8"))
    assert "made without data" in found.words
    assert "measured on the rows" in found.words


def test_bad_report_names_are_refused_before_any_work(folder, capsys):
    assert main([*COMMAND, "--report", "report.pdf"]) == 1
    assert "--report must end in .html" in capsys.readouterr().err
    assert main([*COMMAND, "--report", "nowhere/report.html"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert os.listdir() == ["data.csv"]


def test_splits_that_cannot_be_drawn_are_a_warning_in_the_report(folder):
    assert main([*COMMAND, "--splits", "2", "--test-size", "0.999", "--report", "r.html"]) == 0
    assert "There are no held-out figures" in Path("r.html").read_text(encoding="utf-8")


def test_null_directions_do_not_stop_a_report():
    mean = np.array([[[0.0, 0, 3], [1, 0, 3]], [[2, 1, 3], [2, 0, 3]]])
    D = fp.Normal(
        np.full((2, 2), 0.25), mean, cov=np.broadcast_to(np.diag([1.0, 2.0, 0.0]), (2, 2, 3, 3))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.FairprogWarning)
        sol = fp.NearestIdeal(D, steer=[1]).solve()
    found = sound(sol.to_html(**rows_of(D)))
    assert "1 direction(s) in which no cell varies" in found.words
    assert "–" in found.words  # no rank where nothing varies


# -------------------------------------------------------------------------- fair classifiers


OF_CLASSIFIER = {"least": 1, "tables": 5, "keys": ("classifier", "prices", "certificate")}


def classifier(K=2, **options):
    rng = np.random.default_rng(K)
    joint = rng.dirichlet(np.ones(12 * K)).reshape(6, K, 2)
    classes = [*EVIL, "plain"][:K]
    D = fp.Categorical(joint, classes=classes, groups=["a<b>", "b & c"])
    notions = [fp.DemographicParity(difference_bound=0.02), fp.AccuracyParity(ratio_bound=0.9)]
    return fp.FairClassifier(D, fp.ErrorRate(), notions, **options).solve()


@pytest.mark.parametrize("options", [{}, {"K": 3}, {"uses_group": False}])
def test_reports_of_classifiers_are_sound_and_say_what_the_solution_says(options, tmp_path):
    sol = classifier(**options)
    page = sol.to_html(tmp_path / "classifier.html", title="A <report>")
    assert (tmp_path / "classifier.html").read_text(encoding="utf-8") == page
    found = sound(page, **OF_CLASSIFIER)
    assert "A <report>" in found.words
    assert f"{sol.table.accuracy:.4f}" in found.words
    for key, price in sol.price.items():
        assert key in found.words and f"{price:.4g}" in found.words
    for where in sol.sensitivity:
        assert where in found.words
    for name, value, limit in sol.certificate.checks():
        assert (
            value <= limit
            and name.replace("_", " ") in found.words
            and f"{value:.2e}" in found.words
        )
    short = sound(sol._repr_html_(), whole=False, least=1)
    assert "demographic_parity" in short.words and "verified" in short.words


def test_a_classifier_that_is_not_verified_says_so_and_levels_are_warned_of():
    sol = classifier()
    cert = fp.ClassifierCertificate(**{**vars(sol.certificate), "duality_gap": 1.0})
    bad = dataclasses.replace(sol, certificate=cert)
    assert "NOT verified" in sound(bad.to_html(), **OF_CLASSIFIER).words
    cert = fp.ClassifierCertificate(**{**vars(sol.certificate), "globally_optimal": False})
    local = dataclasses.replace(sol, certificate=cert)
    assert "a better classifier may exist" in sound(local.to_html(), **OF_CLASSIFIER).words


def test_reports_of_many_scores_stay_small():
    rng = np.random.default_rng(0)
    a = rng.integers(2, size=30_000)
    D = fp.Categorical.from_scores(rng.beta(2 + a, 3), sensitive_features=a)
    page = fp.FairClassifier(D, None, [fp.EqualOpportunity()]).solve().to_html()
    assert len(page) < 2_000_000
    assert "calibrated within every group" in sound(page, **OF_CLASSIFIER).words
