"""The documentation names only what exists: functions, tests, pages."""

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import fairprog

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MAP = DOCS / "paper_map.rst"

TEST = re.compile(r"``(tests/[\w/]+\.py)::(\w+)``")
NAME = re.compile(r"(?::(?:class|func|meth|attr):`~?|``)((?:fairprog|experiments)(?:\.\w+)+)`")
PAGE = re.compile(r":doc:`(?:[^`<]*<)?(/?[\w/]+)>?`")
# The pages as written; the build makes others
MADE = {"_build", "generated", "gallery"}
PAGES = sorted(p for p in DOCS.rglob("*.rst") if not MADE & {*p.relative_to(DOCS).parts})


def missing_tests(text: str) -> list[str]:
    """Tests that a text names and no file defines."""
    out = []
    for path, name in TEST.findall(text):
        file = ROOT / path
        tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.parse("")
        if name not in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}:
            out.append(f"{path}::{name}")
    return out


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute (or dataclass field) of one."""
    if dotted.startswith("fairprog.torch") and find_spec("torch") is None:
        return True  # where the extra is missing nothing can be said
    parts = dotted.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for name in parts[split:]:
            fields = getattr(found, "__annotations__", {})
            if not hasattr(found, name) and name not in fields:
                return False
            found = getattr(found, name, None)
        return True
    return False


def missing_names(text: str) -> list[str]:
    """Functions, classes and methods that a text names and the package does not have."""
    return [name for name in NAME.findall(text) if not resolves(name)]


def missing_pages(text: str, folder: Path) -> list[str]:
    """Pages that a text links to and docs/ does not have."""
    out = []
    for page in PAGE.findall(text):
        base = DOCS if page.startswith("/") else folder
        path = (base / page.lstrip("/")).with_suffix(".rst")
        script = DOCS / "examples" / f"{path.stem}.py"
        made = path.parent.name == "gallery" and (path.stem == "index" or script.exists())
        if not (path.exists() or made):
            out.append(page)
    return out


def test_the_paper_map_names_what_exists():
    text = MAP.read_text(encoding="utf-8")
    assert missing_tests(text) == []
    assert missing_names(text) == []
    assert len(TEST.findall(text)) >= 40
    assert len(NAME.findall(text)) >= 30


def test_every_statement_of_the_paper_is_mapped():
    text = MAP.read_text(encoding="utf-8")
    for statement in (
        "Definition 3.1",
        "Proposition 3.2",
        "Proposition 3.3",
        "Remark 3.4",
        "Theorem 4.1",
        "Corollary 4.2",
        "Proposition 4.3",
        "Proposition 4.4",
    ):
        assert f"**{statement}.**" in text
    rows = re.split(r"^   \* - ", text, flags=re.MULTILINE)[1:]
    rows = [row for row in rows if not row.startswith("statement\n")]
    for row in rows:  # each row has all four columns, and a test
        assert row.count("\n     - ") == 3, row
        assert TEST.search(row), row
        assert NAME.search(row), row


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_pages_name_what_exists(path):
    text = path.read_text(encoding="utf-8")
    assert missing_names(text) == []
    assert missing_tests(text) == []
    assert missing_pages(text, path.parent) == []


def test_control_what_does_not_exist_is_found():
    assert missing_tests("``tests/house/test_docs.py::test_no_such``") == [
        "tests/house/test_docs.py::test_no_such"
    ]
    assert missing_tests("``tests/test_none.py::test_x``") == ["tests/test_none.py::test_x"]
    text = ":class:`fairprog.Nothing` ``fairprog.kernels.multivariate.one_group.nothing`` "
    text += ":meth:`fairprog.Normal.no`"
    assert missing_names(text) == [
        "fairprog.Nothing",
        "fairprog.kernels.multivariate.one_group.nothing",
        "fairprog.Normal.no",
    ]
    text = ":doc:`nothing`, :doc:`words </theory/nothing>`, :doc:`/gallery/plot_0_nothing`"
    assert missing_pages(text, DOCS) == ["nothing", "/theory/nothing", "/gallery/plot_0_nothing"]


def test_control_what_exists_is_not():
    assert missing_tests("``tests/house/test_docs.py::test_control_what_exists_is_not``") == []
    assert missing_names(":class:`fairprog.Normal`, :attr:`fairprog.Solution.kl`") == []
    assert missing_pages(":doc:`index`, :doc:`the start </start>`", DOCS) == []


def test_every_public_name_has_an_example():
    others = {"__version__", "datasets", "testing"}  # a string and modules
    public = {name: getattr(fairprog, name) for name in fairprog.__all__ if name not in others}
    assert len(public) > 90
    assert [name for name, thing in public.items() if ">>>" not in (thing.__doc__ or "")] == []


def configured(name: str) -> object:
    """What docs/conf.py assigns to a name, starred tuples opened."""
    tree = ast.parse((DOCS / "conf.py").read_text(encoding="utf-8"))
    made = [n for n in tree.body if isinstance(n, ast.Assign)]
    values = [n.value for n in made if ast.unparse(n.targets[0]) == name]
    return eval(compile(ast.Expression(values[0]), "conf.py", "eval"))


def test_groups_of_the_api_are_parts_of_the_package():
    package = ROOT / "fairprog"
    parts = {p.stem for p in package.glob("*.py")} | {p.name for p in package.iterdir()}
    assert set(configured("GROUPS")) <= parts


def test_methods_that_a_page_leaves_to_a_base_are_on_the_page_of_that_base():
    others = {"Transport", "tuple", "object"}  # without a page: nothing a user calls
    bases = set(configured("BASES"))
    assert others < bases
    assert bases - others <= set(fairprog.__all__)
