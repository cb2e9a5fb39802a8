"""Every call of a module of a watched model, before and after.

nn.Module.__call__ is replaced while something listens. Forward hooks are not used because torch leaves its fused paths for modules that
have hooks, and a watched model would then compute other bits.

Threads: a listener hears the calls of the thread that entered it. Calls of another thread go to it only if that thread has no listener of
its own for the model and the listener is not in the middle of a run (a streamer that starts generate() in a thread).
"""

import threading

from torch import nn

_lock = threading.RLock()
_listeners = []
_original = None


def hearing(module):
    """The listeners that hear a call of this module in the current thread."""
    owners = [one for one in _listeners if id(module) in one.paths]
    if not owners:
        return owners
    thread = threading.get_ident()
    own = [one for one in owners if one.thread == thread]
    return [one for one in own or owners if one.hears(thread)]


def _call(module, *positional, **keywords):
    listeners = hearing(module)
    if not listeners:
        return _original(module, *positional, **keywords)
    begun, result = [], None
    try:
        for one in listeners:
            begun.append(one)
            one.before(module, positional, keywords)
        result = _original(module, *positional, **keywords)
    finally:
        for one in reversed(begun):
            result = one.after(module, positional, keywords, result)
    return result


def listen(listener):
    """listener: paths {id(module): path}; thread: the one that it was entered in; hears(thread): whether it may hear a call of this
    thread now; before(module, positional, keywords); after(…, result; None after an exception), which returns the module's result."""
    global _original
    with _lock:
        if not _listeners:
            _original = nn.Module.__call__
            nn.Module.__call__ = _call
        _listeners.append(listener)


def forget(listener):
    with _lock:
        if listener not in _listeners:
            return
        _listeners.remove(listener)
        if not _listeners:
            nn.Module.__call__ = _original
