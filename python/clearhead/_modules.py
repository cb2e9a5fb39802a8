"""Every call of a module of a watched model, before and after.

nn.Module.__call__ hands a call to the module's `_compiled_call_impl` where it has one (torch 2.0 and later), and while something listens
the modules of its model have one that tells the listeners. Forward hooks are not used because torch leaves its fused paths for modules
that have hooks, and a watched model would then compute other bits. nn.Module.__call__ itself is not replaced because Python then updates
every class of modules there is, which takes a millisecond, and because modules of other models would be slowed.

Threads: a listener hears the calls of the thread that entered it. Calls of another thread go to it only if that thread has no listener of
its own for the model and the listener is not in the middle of a run (a streamer that starts generate() in a thread).
"""

import functools
import threading

_lock = threading.RLock()
_heard = {}  # id(module): (listeners, the _compiled_call_impl that was there before)
_NAME = "_compiled_call_impl"


def hearing(module):
    """The listeners that hear a call of this module in the current thread."""
    owners, _ = _heard.get(id(module), ((), None))
    if not owners:
        return owners
    thread = threading.get_ident()
    own = [one for one in owners if one.thread == thread]
    return [one for one in own or owners if one.hears(thread)]


def is_compiled(module):
    """Whether a module is compiled in place (module.compile())."""
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
    """listener: modules, a list; thread: the one that it was entered in; hears(thread): whether it may hear a call of this thread now;
    before(module, positional, keywords); after(…, result; None after an exception), which returns the module's result."""
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
                continue  # compiled in the meantime
            if before is None:
                del module.__dict__[_NAME]
            else:
                module.__dict__[_NAME] = before
