"""Captures attention calls of transformers models.

AttentionInterface.get_interface, which returns the function of every implementation, is replaced while a listener is registered. There is
no supported hook for this. A function that AttentionInterface.register() adds is called only by a model whose config names it, and a model
branches on that name; "eager" is not registered, because each model has its own. A TorchFunctionMode sees the operations inside, not the
call: its module, its mask before it is expanded to N x N, its sinks and its soft cap.
"""

import threading

from .errors import UnsupportedError

_lock = threading.RLock()
_listeners = []


def _transformers_interface():
    try:
        from transformers.modeling_utils import AttentionInterface
    except ImportError as error:
        raise UnsupportedError("watch: Hugging Face models need transformers 5 or later; pip install -U transformers") from error
    if not hasattr(AttentionInterface, "get_interface"):
        raise UnsupportedError("watch: the installed transformers has no AttentionInterface.get_interface; pip install 'transformers>=5'")
    return AttentionInterface


def _replacement(original):
    def get_interface(self, attn_implementation, default):
        function = original(self, attn_implementation, default)
        with _lock:
            listeners = list(_listeners)
        if not listeners:
            return function

        def attention(module, query, key, value, attention_mask=None, *positional, **kwargs):
            for listener in listeners:
                if listener.owns(module):
                    run = lambda: function(module, query, key, value, attention_mask, *positional, **kwargs)
                    return listener.attention(attn_implementation or "eager", run, module, query, key, value, attention_mask, kwargs)
            return function(module, query, key, value, attention_mask, *positional, **kwargs)

        return attention

    return get_interface


def listen(listener):
    """Passes every attention call of modules that the listener owns to the listener, until forget()."""
    interface = _transformers_interface()
    with _lock:
        if not _listeners:
            interface._clearhead_original = interface.get_interface
            interface.get_interface = _replacement(interface.get_interface)
        _listeners.append(listener)


def forget(listener):
    with _lock:
        if listener not in _listeners:
            return
        _listeners.remove(listener)
        if not _listeners:
            interface = _transformers_interface()
            interface.get_interface = interface._clearhead_original
            del interface._clearhead_original
