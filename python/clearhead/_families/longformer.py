"""Longformer and the encoder of LED (Beltagy et al. 2020): a window around each token, and tokens with global attention.

    a row of a local token:   softmax over the keys of its window and over the global keys, q·k / sqrt(d)
    a row of a global token:  softmax over all keys, with separate projections

Both are computed in blocks. They become two layers: MODULE, with the rows of the local tokens, and `MODULE.global`, with the rows of the
global tokens; the other rows are empty. transformers returns the same two (attentions, global_attentions). Padding up to a multiple of the
window is removed.
"""

from types import SimpleNamespace

import torch

from .._calls import Call
from .._masks import MaskSource
from ..errors import UnsupportedError
from . import register

_NAMES = ("hidden_states", "attention_mask", "is_index_masked", "is_index_global_attn", "is_global_attn", "output_attentions")


def _source(shown, is_global, window):
    """Returns the mask of the local rows. shown, is_global: bool [batch, token]."""
    if not bool(is_global.any()):
        near = lambda b, h, q, k: (q - k <= window) & (k - q <= window)
        near.known = ("band", window, window)
        function = lambda b, h, q, k: near(b, h, q, k) & shown[b, q]
        function.parts = [near] if bool(shown.all()) else [near, lambda b, h, q, k: shown[b, q]]
    else:
        is_local = shown & ~is_global
        function = lambda b, h, q, k: is_local[b, q] & ((q - k <= window) & (k - q <= window) | is_global[b, k])
    batch, tokens = shown.shape
    return SimpleNamespace(source=MaskSource(batch, tokens, tokens, 0, 0, function, shown, shown.device, torch.float32))


@register("LongformerSelfAttention", "LEDEncoderSelfAttention")
class Longformer:
    @staticmethod
    def fits(module):
        return hasattr(module, "one_sided_attn_window_size") and hasattr(module, "query_global")

    @staticmethod
    def attended(watch, module, positional, keywords, result):
        given = {**dict(zip(_NAMES, positional)), **keywords}
        hidden, mask = given["hidden_states"], given["attention_mask"]
        shown, is_global = mask >= 0, mask > 0
        tokens = int(shown.any(0).nonzero()[-1]) + 1 if bool(shown.any()) else mask.shape[1]
        shown, is_global, hidden = shown[:, :tokens], is_global[:, :tokens], hidden[:, :tokens]
        out = result[0].unflatten(-1, (module.num_heads, -1))
        path = watch.paths[id(module)]
        kept, edited = watch._layer(path, module), out
        if given.get("output_attentions") and any(watch._edits.of(kept.family, kept.number)[1:]):
            raise UnsupportedError(f"edits: {path} returns its attentions in blocks of its own, which cut and keep_only do not change; run "
                                   "it "
                                   "without output_attentions=True, and read the edited weights from the map of a watch")
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(watch._edits)):
            call = _call(module, hidden, ("query", "key", "value"), _source(shown, is_global, module.one_sided_attn_window_size))
            found = watch.observe(kept, call, out[:, :tokens])
            if watch._edits:
                edited = torch.cat([torch.where(shown[:, :, None, None], found, out[:, :tokens]), out[:, tokens:]], 1)
            if bool(is_global.any()):
                everywhere = lambda b, h, q, k: is_global[b, q]
                source = MaskSource(*shown.shape, tokens, 0, 0, everywhere, shown, shown.device, torch.float32)
                call = _call(module, hidden, ("query_global", "key_global", "value_global"), SimpleNamespace(source=source))
                found = watch.observe(watch._layer(f"{path}.global", module), call, out[:, :tokens])
                if watch._edits:
                    edited = torch.cat([torch.where(is_global[:, :, None, None], found, edited[:, :tokens]), edited[:, tokens:]], 1)
        return (edited.flatten(2), *result[1:]) if watch._edits else result


def _call(module, hidden, names, mask):
    q, k, v = (getattr(module, name)(hidden).unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for name in names)
    dropout = float(module.dropout) if module.training else 0.0
    return Call("eager", module, q, k, v, mask, {"scaling": module.head_dim ** -0.5, "dropout": dropout})
