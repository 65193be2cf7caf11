"""Ctrl-C while a solver runs."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any


def interruptible(call: Callable[..., Any], *args: Any) -> Any:
    """Return call(*args), made beside the main thread, so that KeyboardInterrupt comes at once.

    Compiled solvers do not look for signals; what one that is left alone finds is dropped. It must
    therefore change nothing but what it returns.

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
    worker.start()
    worker.join()
    if failure:
        raise failure[0]
    return out[0]
