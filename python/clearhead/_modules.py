"""Calls listeners before and after every call of a module of a watched model.

nn.Module.__call__ forwards to the module's `_compiled_call_impl` if it is set (torch 2.0 and later). While a listener is registered, this
attribute is set on the modules of its model, to a function that calls the listeners. Forward hooks are not used, because torch avoids its
fused paths for modules with hooks, and a watched model would then compute different bits. nn.Module.__call__ itself is not replaced,
because Python would then update every subclass of nn.Module, which takes a millisecond, and because other models would become slower.

Threads: a listener receives the calls of the thread in which it was entered. It receives a call of another thread only if that thread has
no listener of its own for the model and the listener is not in the middle of a run (a streamer that starts generate() in a thread).
"""

import functools
import threading

_lock = threading.RLock()
_heard = {}  # id(module): (listeners, original _compiled_call_impl)
_NAME = "_compiled_call_impl"


def hearing(module):
    """Returns the listeners that receive a call of this module in the current thread."""
    owners, _ = _heard.get(id(module), ((), None))
    if not owners:
        return owners
    thread = threading.get_ident()
    own = [one for one in owners if one.thread == thread]
    return [one for one in own or owners if one.hears(thread)]


def is_compiled(module):
    """Returns whether a module is compiled in place (module.compile())."""
    _, before = _heard.get(id(module), ((), module.__dict__.get(_NAME)))
    return before is not None


def _call(module, *positional, **keywords):
    listeners, (_, before) = hearing(module), _heard.get(id(module), ((), None))
    original = module._call_impl if before is None else before
    if not listeners:
        return original(*positional, **keywords)
    begun, result = [], None
    try:
        for one in listeners:
            begun.append(one)
            one.before(module, positional, keywords)
        result = original(*positional, **keywords)
    finally:
        for one in reversed(begun):
            result = one.after(module, positional, keywords, result)
    return result


def listen(listener):
    """Registers a listener.

    It has these members: modules, a list; thread, in which it was entered; hears(thread), whether it accepts a call of this thread now;
    before(module, positional, keywords); after(module, positional, keywords, result), which returns the module's result. `result` is None
    after an exception.
    """
    with _lock:
        for module in listener.modules:
            owners, before = _heard.get(id(module), ((), module.__dict__.get(_NAME)))
            _heard[id(module)] = ((*owners, listener), before)
            if not owners:
                module.__dict__[_NAME] = functools.partial(_call, module)


def forget(listener):
    with _lock:
        for module in listener.modules:
            owners, before = _heard.get(id(module), ((), None))
            if listener not in owners:
                continue
            if owners := tuple(one for one in owners if one is not listener):
                _heard[id(module)] = (owners, before)
                continue
            del _heard[id(module)]
            if getattr(module.__dict__.get(_NAME), "func", None) is not _call:
                continue  # the module was compiled in the meantime
            if before is None:
                del module.__dict__[_NAME]
            else:
                module.__dict__[_NAME] = before
