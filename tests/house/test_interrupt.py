"""Ctrl-C reaches the user as KeyboardInterrupt, at once, from any solver."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import fairprog as fp
from fairprog.programs.compile import solve as solving
from fairprog.programs.compile.interruptible import interruptible
from fairprog.programs.compile.solve import attempts

ENDLESS = """
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from fairprog.programs.compile.interruptible import interruptible
main = threading.main_thread().ident
threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
try:
    interruptible(threading.Event().wait)  # as a solver that never looks up
except KeyboardInterrupt:
    print("interrupted")
"""


ROBBED = """
import signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fairprog.programs.compile.interruptible import interruptible
main = threading.main_thread().ident
threading.Timer(0.7, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
libc = __import__("ctypes").CDLL(None)
def solver():  # as SCS: a handler of its own at the start of every stage, and no look at it
    for _ in range(8):
        libc.signal(signal.SIGINT, 1)  # SIG_IGN; drops what is pending at that moment
        time.sleep(0.5)
try:
    interruptible(solver)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_a_solver_that_takes_the_handler_is_left_too():
    done = subprocess.run(
        [sys.executable, "-c", ROBBED], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "interrupted\n" and done.stderr == ""


def test_a_solver_that_is_left_alone_leaves_the_warm_start(monkeypatch):
    D = fp.Normal([[0.3, 0.2], [0.3, 0.2]], [[0.0, 1.0], [2.0, 2.0]], std=np.ones((2, 2)))
    program = fp.NearestIdeal(D, steer=[1])._geometry
    compiled = program.compile(program.problems())
    late = []

    def left(call, own, *args):
        late.append((call, own, args))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(solving, "interruptible", left)
        with pytest.raises(KeyboardInterrupt):
            solving.solve(compiled, ["SCS"], None, False, {})
    call, own, args = late[0]
    call(own, *args)  # it goes on, beside
    assert own._solver_cache and not compiled.problem._solver_cache


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
