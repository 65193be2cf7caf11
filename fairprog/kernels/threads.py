"""One BLAS pool in hot loops: numpy's and scipy's wheels each carry one, and they fight."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread: right for many small matrices."""
    context: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return context
