"""Ctrl-C reaches the user as KeyboardInterrupt, at once, from any solver."""

import subprocess
import sys
import threading

import pytest

from fairprog.programs.compile.interruptible import interruptible
from fairprog.programs.compile.solve import attempts

ENDLESS = """
import signal, threading
from fairprog.programs.compile.interruptible import interruptible
main = threading.main_thread().ident
threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
try:
    interruptible(threading.Event().wait)  # as a solver that never looks up
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_solver_that_does_not_look_for_signals_is_left():
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "interrupted\n" and done.stderr == ""


def test_what_scs_takes_for_itself_is_passed_on():
    ladder = attempts(["SCS", "CLARABEL"], lambda name, settings: "interrupted", None, {})
    with pytest.raises(KeyboardInterrupt):
        next(ladder)


def test_values_and_errors_come_back_from_any_thread():
    assert interruptible(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        interruptible(divmod, 7, 0)
    found = []
    beside = threading.Thread(target=lambda: found.append(interruptible(divmod, 7, 2)))
    beside.start()
    beside.join()
    assert found == [(3, 1)]
