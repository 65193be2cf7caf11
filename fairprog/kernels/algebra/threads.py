"""One pool of BLAS threads in hot loops: numpy and scipy each bring one, and they fight.

A pool's threads spin for a while after every product, so two pools that take turns keep each
other off the cores: in 768 dimensions that made Newton's method 2.7 times slower.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_limits

OF_NUMPY, OF_SCIPY = "scipy_openblas64_", "scipy_openblas-"  # file names of the libraries


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread: right for many small matrices."""
    return threadpool_limits(limits=1, user_api="blas")


def one_blas_pool() -> AbstractContextManager[Any]:
    """Return a context in which only scipy's BLAS uses threads: right for large matrices.

    Where they are not the wheels' own libraries nothing is limited.
    """
    controller = ThreadpoolController()
    paths = [library.filepath for library in controller.lib_controllers]
    own = any(OF_SCIPY in path for path in paths)
    numpys = [path for path in paths if own and OF_NUMPY in path]
    return controller.select(filepath=numpys).limit(limits=1)
