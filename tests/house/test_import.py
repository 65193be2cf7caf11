"""`import fairprog` is cheap, and everything it promises is there."""

import json
import subprocess
import sys
from pkgutil import iter_modules

HEAVY = ["cvxpy", "matplotlib", "pandas", "scipy.stats", "sklearn", "torch"]
LATER = ["numpy", "scipy", "fairprog.populations", "fairprog.programs", "fairprog.solution"]


def loaded_after(statement: str) -> list[str]:
    """The heavy libraries that a fresh interpreter has loaded after a statement."""
    code = (
        "import json, sys\n"
        f"{statement}\n"
        f"print(json.dumps([name for name in {HEAVY + LATER!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_loads_nothing_heavy():
    assert loaded_after("import fairprog") == []


def test_the_help_of_the_command_line_loads_nothing_heavy():
    assert loaded_after("from fairprog.cli import main\nmain(['--version'])") == ["numpy"]


def test_control_the_probe_sees_what_is_loaded():
    assert "scipy.stats" in loaded_after("import scipy.stats")
    assert "fairprog.programs" in loaded_after("import fairprog\nfairprog.NearestIdeal")


def test_every_public_name_resolves():
    import fairprog

    assert len(fairprog.__all__) > 0
    assert len(set(fairprog.__all__)) == len(fairprog.__all__)
    missing = [name for name in fairprog.__all__ if not hasattr(fairprog, name)]
    assert missing == []
    assert set(fairprog.__all__) <= set(dir(fairprog))


def test_no_name_is_also_a_module_which_would_take_its_place_when_imported():
    import fairprog

    modules = {module.name for module in iter_modules(fairprog.__path__)}
    assert modules & set(fairprog.__all__) == {"datasets", "testing"}


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # what an import finds where there is none, wherever this runs
import fairprog as fp
try:
    import fairprog.torch
except fp.MissingExtraError as error:
    assert isinstance(error, ImportError) and error.details == {"extra": "torch"}
    print(error)
"""


def test_without_torch_the_package_works_and_the_error_names_the_extra():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'fairprog[torch]'" in done.stdout


def test_a_fault_inside_torch_is_not_taken_for_its_absence(tmp_path):
    (tmp_path / "torch.py").write_text("import no_such_part_of_torch")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport fairprog.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "No module named 'no_such_part_of_torch'" in done.stderr.splitlines()[-1]
