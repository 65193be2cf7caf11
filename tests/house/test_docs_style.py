"""How pages and examples are written: leading zeros in prose, examples free of internals."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MADE = {"_build", "generated", "gallery"}
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *(
        p
        for p in sorted([*DOCS.rglob("*.rst"), *DOCS.rglob("*.inc")])
        if not MADE & {*p.relative_to(DOCS).parts}
    ),
]
EXAMPLES = sorted((DOCS / "examples").glob("plot_*.py"))
BARE = re.compile(r"(?:^|[\s(\[/±+-])\.\d")
CODE = re.compile(r"\.\. (doctest|testcode|testoutput|code-block)::|.*[^:]::$")


def bare_decimals(text: str) -> list[str]:
    """Lines of prose and tables with a number that begins with its point; code is left out."""
    out, inside = [], None
    for line in re.sub(r"``[^`]+``", "", text).splitlines():
        indent = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or indent > inside):
            continue
        inside = indent if CODE.match(line.strip()) else None
        if inside is None and not line.lstrip().startswith((">>>", "...")) and BARE.search(line):
            out.append(line)
    return out


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_numbers_of_prose_have_a_leading_zero(path):
    assert bare_decimals(path.read_text(encoding="utf-8")) == []


def test_control_a_bare_decimal_is_found_and_code_is_not():
    assert bare_decimals("a gap of .05\n") == ["a gap of .05"]
    assert bare_decimals("none   .656 (.003)\n") == ["none   .656 (.003)"]
    assert bare_decimals("Code::\n\n   x = [.5]\n\n``level=.5``, 0.5\n\n>>> [.5, .5]\n") == []


def internals(text: str) -> list[str]:
    """Modules of the package that a script imports beyond its name and its pictures."""
    nodes = list(ast.walk(ast.parse(text)))
    found = [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    public = {"fairprog", "fairprog.plotting", "fairprog.torch"}
    return [m for m in [*found, *names] if m and m.startswith("fairprog") and m not in public]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_use_public_names_only(path):
    text = path.read_text(encoding="utf-8")
    assert internals(text) == []
    assert "noqa" not in text


def test_control_internals_are_found():
    assert internals("from fairprog.kernels.multivariate.normal import x") == [
        "fairprog.kernels.multivariate.normal"
    ]
    assert internals("import fairprog as fp\nfrom fairprog.plotting import style") == []
