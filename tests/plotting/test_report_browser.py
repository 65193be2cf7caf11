"""The report in a real browser: nothing loaded, nothing said on the console, nothing cut off."""

from pathlib import Path

import numpy as np
import pytest

import fairprog as fp
from fairprog.cli import main
from tests import browser
from tests.instances import univariate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "-"),
]

# every text of a picture: its size on the screen, and how far it reaches out of the picture
TEXTS = """[...document.querySelectorAll('.fairprog figure svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
  return [...svg.querySelectorAll('text')].map(text => {
    const r = text.getBoundingClientRect();
    const out = Math.max(box.left - r.left, r.right - box.right, box.top - r.top,
                         r.bottom - box.bottom);
    return [text.textContent, scale * parseFloat(getComputedStyle(text).fontSize), out];
  });
})"""
BACKGROUND = "getComputedStyle(document.querySelector('.fairprog')).backgroundColor"
LABEL = "getComputedStyle(document.querySelector('.fairprog figure svg text')).fill"
DARK, LIGHT = "rgb(20, 23, 27)", "rgb(255, 255, 255)"
EVIL = ('<b>&"', "a very long label of a group that goes on and on", "$x$ <script>1</script>")


def plane():
    mean = [[[0.0, 0.0], [1.0, 0.5]], [[2.5, 1.0], [2.5, 2.0]]]
    cov = [
        [[[1.0, 0.3], [0.3, 1.0]], [[1.0, -0.3], [-0.3, 0.6]]],
        [[[1.5, 0.2], [0.2, 0.8]], [[1.5, 0.6], [0.6, 2.0]]],
    ]
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], mean, cov=cov, groups=["men", "women"])
    return D, fp.NearestIdeal(D, steer=["women"]).solve()


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser() as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports by name, written once."""
    folder = tmp_path_factory.mktemp("reports")
    D = univariate(np.random.default_rng(5), 2, 3)
    labels = {"groups": EVIL, "classes": ["no <i>", "yes & a little more than that"]}
    D = fp.LogNormal(D.prior, D.mean, std=D.std, **labels)
    X, y, a = D.sample(600, random_state=0)
    sol = fp.NearestIdeal(D, steer=EVIL[1:]).solve()
    sol.to_html(folder / "one.html", X=X, y=y, sensitive_features=a)
    D, sol = plane()
    X, y, a = D.sample(600, random_state=0)
    sol.to_html(folder / "two.html", X=X, y=y, sensitive_features=a)
    part = sol._repr_html_()
    head = "<!DOCTYPE html><html lang='en'><title>notebook</title>"
    mine = "<h2>mine</h2><table><tr><th>mine</th></tr></table>"
    (folder / "notebook.html").write_text(f"{head}{mine}{part}{part}", encoding="utf-8")
    (folder / "plain.html").write_text(f"{head}{mine}", encoding="utf-8")
    return folder


def check(chromium, path: Path, width: int, scheme: str):
    chromium.open(path, width=width, scheme=scheme)
    page = "document.scrollingElement"
    assert chromium.run(f"{page}.scrollWidth") == width
    assert chromium.console() == []
    assert set(chromium.requests()) == {path.resolve().as_uri()}
    texts = chromium.run(TEXTS)
    assert len(texts) > 50
    assert [t for t in texts if t[2] > 1.0] == []  # cut off at the edge of its picture
    assert min(size for _, size, _ in texts) >= 7.0
    if width == 400:
        tick_labels = sorted(size for _, size, _ in texts)
        assert np.median(tick_labels) >= 9.0


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (400, "light")])
def test_a_report_loads_nothing_and_fits(chromium, pages, name, width, scheme):
    check(chromium, pages / f"{name}.html", width, scheme)
    assert chromium.run("document.querySelectorAll('.fairprog script, .fairprog i').length") == 0
    assert chromium.run(BACKGROUND) == (DARK if scheme == "dark" else LIGHT)
    assert chromium.run(LABEL) == ("rgb(231, 234, 238)" if scheme == "dark" else "rgb(27, 31, 36)")


def test_the_screenshot_is_a_picture_and_the_print_is_light(chromium, pages, tmp_path):
    check(chromium, pages / "two.html", 1200, "dark")
    chromium.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 100_000
    chromium.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    chromium.open(pages / "two.html", width=720, scheme="dark", media="print")
    assert chromium.run(BACKGROUND) == LIGHT
    assert chromium.run("document.scrollingElement.scrollWidth") == 720  # wide tables as well


STYLES = """['h2', 'table', 'th'].map(name => {
  const style = getComputedStyle(document.querySelector(name));
  return [...style].map(key => key + ':' + style.getPropertyValue(key)).filter(
    entry => !/^(block|inline|height|width|perspective|transform-origin)/.test(entry)).join(';');
})"""


def test_a_notebook_keeps_its_own_style(chromium, pages):
    chromium.open(pages / "plain.html")
    before = chromium.run(STYLES)
    chromium.open(pages / "notebook.html")
    assert chromium.run(STYLES) == before
    assert chromium.run("document.scrollingElement.scrollWidth") == 1200


@pytest.mark.parametrize(("theme", "color"), [("false", DARK), ("true", LIGHT)])
def test_the_theme_of_the_notebook_goes_before_that_of_the_system(chromium, pages, theme, color):
    chromium.open(pages / "notebook.html", scheme="dark" if theme == "true" else "light")
    chromium.run(f"document.body.setAttribute('data-jp-theme-light', '{theme}')")
    assert chromium.run(BACKGROUND) == color


def test_control_what_is_wrong_is_seen(chromium, tmp_path):
    wide = tmp_path / "wide.html"
    wide.write_text(
        "<!DOCTYPE html><div class='fairprog' style='width:900px'>wide</div>"
        "<img src='nothing.png'><script>console.error('oh')</script>"
        "<div class='fairprog'><figure><svg viewBox='0 0 10 10' width='10'>"
        "<text x='5'>reaches out</text></svg></figure></div>"
    )
    chromium.open(wide, width=400)
    assert chromium.run("document.scrollingElement.scrollWidth") > 400
    assert any("oh" in message for message in chromium.console())
    assert any("nothing.png" in url for url in chromium.requests())
    assert chromium.run(TEXTS)[0][2] > 1.0


def test_compas_by_the_command_line(chromium, data_dir, tmp_path, monkeypatch):
    from experiments.tables import compas

    monkeypatch.chdir(tmp_path)
    compas(data_dir).to_csv("compas.csv", index=False)
    command = ["steer", "compas.csv", "--label", "no_recid", "--sensitive", "race", "--quiet"]
    assert main([*command, "--splits", "3", "--report", "compas.html"]) == 0
    for width, scheme in ((1200, "light"), (1200, "dark"), (400, "dark")):
        check(chromium, tmp_path / "compas.html", width, scheme)
