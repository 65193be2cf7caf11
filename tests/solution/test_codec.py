"""Files are written whole or not at all, and where they were asked for."""

import os
import stat
import subprocess
import sys

import pytest

from fairprog import DataError
from fairprog.codec import write_text

POSIX = pytest.mark.skipif(os.name != "posix", reason="permissions and pipes of POSIX")


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@POSIX
def test_permissions_are_those_of_the_process_and_then_of_the_file(tmp_path, umask):
    """Rows of people are as private as the process that writes them."""
    target = tmp_path / "rows.csv"
    write_text(target, "1")
    assert mode(target) == 0o600
    target.chmod(0o640)
    write_text(target, "2")
    assert (mode(target), target.read_text()) == (0o640, "2")
    os.umask(0o022)
    write_text(tmp_path / "open.csv", "1")
    assert mode(tmp_path / "open.csv") == 0o644


@POSIX
def test_a_link_goes_on_pointing(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "rows.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    dangling = tmp_path / "dangling.csv"
    dangling.symlink_to(tmp_path / "nowhere" / "rows.csv")
    with pytest.raises(DataError, match="its folder does not exist"):
        write_text(dangling, "new")


@POSIX
def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is a device, a pipe or where this process prints"):
        write_text(pipe, "new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(DataError, match="is a folder"):
        write_text(tmp_path, "new")


@POSIX
@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout")
def test_what_the_process_prints_to_is_not_replaced(tmp_path):
    """The shell has opened the file: what is printed later would be lost with it."""
    printed = tmp_path / "printed.txt"
    code = (
        "from fairprog.codec import write_text\n"
        "try: write_text('/dev/stdout', 'new')\n"
        "except ValueError as error: print(error)\n"
    )
    with printed.open("w") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
    assert "where this process prints" in printed.read_text()


def test_what_fails_leaves_nothing(tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(target, "new \ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
    assert target.read_text() == "old"
