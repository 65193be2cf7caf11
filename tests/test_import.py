"""`import fairprog` is cheap, and everything it promises is there."""

import json
import subprocess
import sys

HEAVY = ["cvxpy", "matplotlib", "pandas", "scipy.stats", "sklearn"]


def loaded_after(statement: str) -> list[str]:
    """The heavy libraries that a fresh interpreter has loaded after a statement."""
    code = (
        "import json, sys\n"
        f"{statement}\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_nothing_heavy():
    assert loaded_after("import fairprog") == []


def test_control_the_probe_sees_what_is_loaded():
    assert loaded_after("import scipy.stats") == ["scipy.stats"]


def test_every_public_name_resolves():
    import fairprog

    assert len(fairprog.__all__) > 0
    assert len(set(fairprog.__all__)) == len(fairprog.__all__)
    missing = [name for name in fairprog.__all__ if not hasattr(fairprog, name)]
    assert missing == []
    assert set(fairprog.__all__) <= set(dir(fairprog))
