"""Ctrl-C while a solver runs."""

from __future__ import annotations

import contextvars
import signal
import threading
from collections.abc import Callable
from typing import Any

POLL = 0.05  # seconds


def interruptible(call: Callable[..., Any], *args: Any) -> Any:
    """Return call(*args), made beside the main thread, so that KeyboardInterrupt comes at once.

    Compiled solvers do not look for signals, or put a handler of their own in the place of
    Python's: until they are done the signal is held back here, and the handler put back. What a
    solver that is left alone finds is dropped; it must change nothing but what it returns.

    Examples
    --------
    >>> interruptible(max, 1, 2)
    2
    """
    if threading.current_thread() is not threading.main_thread():
        return call(*args)  # signals reach the main thread only
    out: list[Any] = []
    failure: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            out.append(context.run(call, *args))
        except BaseException as error:  # raised where it was called
            failure.append(error)

    worker = threading.Thread(target=run, name="fairprog-solver", daemon=True)
    handler, held = signal.getsignal(signal.SIGINT), _hold(signal.SIG_BLOCK)
    try:
        worker.start()  # without the signal, too
        while worker.is_alive():
            worker.join(POLL)
            if handler is not None:  # one that Python knows
                signal.signal(signal.SIGINT, handler)
            if held and signal.SIGINT in signal.sigpending():
                _hold(signal.SIG_UNBLOCK)  # raises, unless the handler thinks otherwise
                _hold(signal.SIG_BLOCK)
    finally:
        if held:
            _hold(signal.SIG_UNBLOCK)
    if failure:
        raise failure[0]
    return out[0]


def _hold(how: int) -> bool:
    """Block or unblock the signal of Ctrl-C; return whether it was not blocked before."""
    if not hasattr(signal, "pthread_sigmask"):
        return False
    return signal.SIGINT not in signal.pthread_sigmask(how, [signal.SIGINT])
