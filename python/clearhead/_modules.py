"""Who calls whom: every call of a module of a watched model, before and after.

nn.Module.__call__ is replaced while somebody watches. Hooks would do, but torch leaves its fast paths for modules that have some, and then
a watched model computes other bits.
"""

import threading

from torch import nn

_lock = threading.RLock()
_watched = []
_original = None


def _call(module, *positional, **keywords):
    listeners = [one for one in _watched if id(module) in one.paths]
    if not listeners:
        return _original(module, *positional, **keywords)
    for one in listeners:
        one.before(module, positional, keywords)
    result = None
    try:
        result = _original(module, *positional, **keywords)
    finally:
        for one in reversed(listeners):
            result = one.after(module, positional, keywords, result)
    return result


def listen(listener):
    """listener: paths {id(module): path}, before(module, positional, keywords), after(…, result; None after an exception), which
    returns what the module returns."""
    global _original
    with _lock:
        if not _watched:
            _original = nn.Module.__call__
            nn.Module.__call__ = _call
        _watched.append(listener)


def forget(listener):
    with _lock:
        _watched.remove(listener)
        if not _watched:
            nn.Module.__call__ = _original
