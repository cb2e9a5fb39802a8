"""Lets the engine run on torch's OpenMP threads.

After every operator, torch's OpenMP threads spin for some milliseconds. A second thread pool would compete with them for the cores, so the
engine uses the same threads when it is called from torch models.
"""

import ctypes
import os
import re

from . import _core


def _loaded_runtimes():
    """Returns the paths of the OpenMP runtimes that this process has loaded, torch's first."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(None, 5)[5].strip() for line in maps if re.search(r"/lib(gomp|iomp5|omp)[-.]", line)}
    except OSError:
        return []
    return sorted(paths, key=lambda path: (re.search(r"/torch(/lib|\.libs)/", path) is None, path))


def share_with_torch():
    """Makes the engine compute on the threads of torch's OpenMP runtime, if one is loaded; otherwise it keeps its own threads."""
    for path in _loaded_runtimes():
        try:
            parallel = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW).GOMP_parallel
        except (OSError, AttributeError):
            continue
        _core._use_openmp(ctypes.cast(parallel, ctypes.c_void_p).value)
        return
