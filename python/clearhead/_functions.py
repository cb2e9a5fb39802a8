"""Captures direct calls of attention functions: flex_attention, flash_attn, xformers and F.multi_head_attention_forward.

`flex_attention` and `flash_attn_func` do not reach a TorchFunctionMode, the hook of torch for function calls, so they are replaced while a
watch is active: in their own modules, and under the names by which the Python modules of the watched model have imported them, including
compiled versions. F.multi_head_attention_forward does reach the mode (_torch_attention.py). A module that calls a known function with
arguments that no attention description fits is listed in `left_out`.
"""

import sys
import threading
import types

import torch
from torch.nn import functional as F

from ._calls import Call
from ._masks import MaskSource
from ._scores import Axes, Scores, described

_lock = threading.RLock()
_listeners = []
_replaced = []  # (dict of a module, name, original function)
_functions = {}  # (module, name): handler(mode, result, positional, keywords) -> result


def handles(*places):
    """Registers a handler for functions, each given as "module:name"."""

    def add(handler):
        _functions.update({tuple(place.split(":")): handler for place in places})
        return handler

    return add


def _wrapped(function, handler):
    def attention(*positional, **keywords):
        result = function(*positional, **keywords)
        with _lock:
            listeners = [one for one in _listeners if one.mode.thread_of_run == threading.get_ident() and not one.mode._watch._inside]
        for one in listeners:
            watch = one.mode._watch
            watch._inside += 1
            try:
                result = handler(one.mode, result, positional, keywords)
            finally:
                watch._inside -= 1
        return result

    attention.clearhead_original = function
    return attention


class Functions:
    """Reports calls of the functions registered by handles() to an AttentionMode, until stop()."""

    def __init__(self, mode, model):
        self.mode = mode
        wanted = {}  # id of a function: handler
        with _lock:
            for (module, name), handler in _functions.items():
                module = sys.modules.get(module)
                if module is not None and callable(function := vars(module).get(name)):
                    wanted[id(getattr(function, "clearhead_original", function))] = handler
                    self._replace(vars(module), name, function, handler)
            for names in self._names(model) if wanted else ():
                for name, function in list(names.items()):
                    if isinstance(function, types.FunctionType):
                        original = getattr(function, "_torchdynamo_orig_callable", function)  # set by torch.compile(flex_attention)
                        if id(original) in wanted:
                            self._replace(names, name, function, wanted[id(original)])
            _listeners.append(self)

    @staticmethod
    def _names(model):
        """Returns the global namespaces of all Python modules in the packages that define the model's classes."""
        classes = {type(module) for module in model.modules()}
        packages = {of.__module__.split(".")[0] for one in classes for of in one.__mro__} - _LIBRARIES
        if not packages:
            return []
        return [vars(module) for name, module in list(sys.modules.items()) if name.split(".")[0] in packages
                and hasattr(module, "__dict__")]

    @staticmethod
    def _replace(names, name, function, handler):
        if not hasattr(function, "clearhead_original"):
            _replaced.append((names, name, function))
            names[name] = _wrapped(function, handler)

    def stop(self):
        with _lock:
            _listeners.remove(self)
            while _replaced and not _listeners:
                names, name, function = _replaced.pop()
                names[name] = function


_LIBRARIES = {"torch", "builtins", "transformers", "typing", "abc", "collections"}


def _first(result, out):
    return (out, *result[1:]) if isinstance(result, tuple) else out


def _arguments(names, positional, keywords):
    return {**dict(zip(names, positional)), **keywords}


_FLEX = ("query", "key", "value", "score_mod", "block_mask", "scale", "enable_gqa", "return_lse", "kernel_options")


@handles("torch.nn.attention.flex_attention:flex_attention")
def _flex(mode, result, positional, keywords):
    given = _arguments(_FLEX, positional, keywords)
    query, key, value, modify = given["query"], given["key"], given["value"], given.get("score_mod")
    kept, module = mode.layer(), mode.running[-1]
    kwargs = {"scaling": given.get("scale"), "is_causal": False}
    mask = given.get("block_mask")
    call = Call("flex", module, query, key, value, mask, kwargs)
    if modify is not None:
        try:
            call = Call("flex", module, query, key, value, _modified(call, modify), kwargs)
        except Exception as error:
            call.problem = f"its score_mod cannot be described ({' '.join(str(error).split())[:100]})"
    out = result[0] if isinstance(result, tuple) else result
    edited = mode._watch.observe(kept, call, out.transpose(1, 2))
    out = edited.transpose(1, 2) if mode._watch._edits else out
    mode._watch._capture_gradient(kept, out, lambda gradient: gradient.transpose(1, 2))
    return _first(result, out) if mode._watch._edits else result


def _modified(call, modify):
    """Returns an additive mask [batch, head, query, key]: the difference between the scores after score_mod and q·k, and -inf where the
    block mask hides."""
    scores = call._scores(list(range(call.queries)))
    batch, heads, queries, keys = scores.shape
    at = lambda count, axis: torch.arange(count, device=scores.device).reshape([-1 if i == axis else 1 for i in range(4)])
    whole = modify(scores, at(batch, 0), at(heads, 1), at(queries, 2), at(keys, 3)).expand(scores.shape)
    if call.source is not None:
        whole = whole.masked_fill(~MaskSource.rows(call.source, list(range(queries))), -torch.inf)
    found = Scores(call.query, call.key, scores.shape, call.scale).copy(whole=whole, opaque="score_mod")
    return described(found, Axes([scores.shape], heads))["mask"]


_FLASH = ("q", "k", "v", "dropout_p", "softmax_scale", "causal", "window_size", "softcap", "alibi_slopes", "deterministic",
          "return_attn_probs")


@handles("flash_attn:flash_attn_func", "flash_attn.flash_attn_interface:flash_attn_func")
def _flash(mode, result, positional, keywords):
    given = _arguments(_FLASH, positional, keywords)
    query, key, value = (given[name].transpose(1, 2) for name in ("q", "k", "v"))
    kept, module = mode.layer(), mode.running[-1]
    queries, keys, device = query.shape[2], key.shape[2], query.device
    back, ahead = given.get("window_size") or (-1, -1)
    ahead = 0 if given.get("causal") else ahead
    places = torch.arange(queries, device=device)[:, None] + keys - queries  # the last query is aligned with the last key
    offsets = torch.arange(keys, device=device)[None] - places
    mask = None
    if ahead >= 0 and (back >= 0 or ahead > 0):
        mask = ((offsets <= ahead) & ((offsets >= -back) if back >= 0 else True))[None, None]
    elif back >= 0:
        mask = (offsets >= -back)[None, None]
    slopes, bias = given.get("alibi_slopes"), None
    if slopes is not None:
        slopes = slopes.float().reshape(-1, query.shape[1], 1, 1)
        bias = -slopes * offsets.abs()
    softcap = given.get("softcap") or None
    call = Call("flash", module, query, key, value, mask, {"scaling": given.get("softmax_scale"), "dropout": given.get("dropout_p"),
                                                           "softcap": softcap, "position_bias": bias, "is_causal": False})
    if mask is None and ahead == 0:
        call.band = (keys - queries, None)
    out = result[0] if isinstance(result, tuple) else result
    out = mode._watch.observe(kept, call, out)
    mode._watch._capture_gradient(kept, out)
    return _first(result, out)


@handles(*(f"{module}:{name}" for module in ("flash_attn", "flash_attn.flash_attn_interface") for name in (
    "flash_attn_varlen_func", "flash_attn_qkvpacked_func", "flash_attn_kvpacked_func", "flash_attn_varlen_qkvpacked_func",
    "flash_attn_varlen_kvpacked_func", "flash_attn_with_kvcache")), "xformers.ops:memory_efficient_attention",
    "xformers.ops.fmha:memory_efficient_attention")
def _named(mode, result, positional, keywords):
    module = mode.running[-1]
    path = mode.paths[id(module)] or type(module).__name__
    reason = "it calls a fused kernel of flash_attn or xformers whose arguments this package cannot describe"
    if mode._watch._edits:
        kept = mode.layer()
        kept.problem = reason
        mode._watch._edited(kept)
    else:
        mode._watch.leave_out(path, reason)
    return result


_MULTI_HEAD = ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
               "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
               "attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v",
               "average_attn_weights")


def multi_head(mode, result, positional, keywords):
    """Handles a direct call of F.multi_head_attention_forward. Returns its result, with the edits of its layer."""
    given = _arguments(_MULTI_HEAD, positional, keywords)
    watch = mode._watch
    kept, module = mode.layer(), mode.running[-1]
    if given.get("bias_k") is not None or given.get("add_zero_attn") or given.get("static_k") is not None:
        kept.problem = "it appends an extra key (bias_k, add_zero_attn) or reads keys that are already projected (static_k)"
    is_edited = watch._edited(kept)
    if kept.problem is not None:
        return result
    heads, training = given["num_heads"], given.get("training", True)
    is_alone = given["query"].dim() == 2
    inputs = [(given[name][:, None] if is_alone else given[name]).transpose(0, 1) for name in ("query", "key", "value")]
    if given.get("use_separate_proj_weight"):
        weights = [given[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")]
    else:
        weights = given["in_proj_weight"].chunk(3)
    biases = (None,) * 3 if given.get("in_proj_bias") is None else given["in_proj_bias"].chunk(3)
    with torch.set_grad_enabled(torch.is_grad_enabled() and is_edited):
        q, k, v = (F.linear(x, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2) for x, weight, bias in zip(inputs, weights, biases))
        mask = _hidden(given, q.shape[0], heads)
        call = Call("eager", module, q, k, v, mask, {"dropout": given["dropout_p"] if training else 0.0})
        call.is_token_first = True
        project = lambda x: F.linear(x.to(result[0].dtype), given["out_proj_weight"], given["out_proj_bias"])

        def compare(at, rows, expected):
            whole = (result[0][:, None] if is_alone else result[0]).transpose(0, 1)
            return whole[at, rows].float(), project(expected[0].flatten(1)).float()

        edited = watch.observe(kept, call, compare, lambda: F.scaled_dot_product_attention(q, k, v, mask, call.dropout).transpose(1, 2))
        if not is_edited:
            return result
        out = project(edited.flatten(2)).transpose(0, 1)
        shown = None
        if result[1] is not None:
            shown = mode._weights(kept, call)
            shown = (shown.mean(1) if given.get("average_attn_weights", True) else shown).reshape(result[1].shape).to(result[1].dtype)
    return out[:, 0] if is_alone else out, shown


def _hidden(given, batch, heads):
    """Joins both masks of a call of F.multi_head_attention_forward: additive [batch|1, head|1, query|1, key], or None without masks."""
    out = None
    for name in ("attn_mask", "key_padding_mask"):
        mask = given.get(name)
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -torch.inf)
        if name == "key_padding_mask":
            mask = mask.reshape(-1, 1, 1, mask.shape[-1])
        else:
            mask = mask.reshape(batch, heads, *mask.shape[1:]) if mask.dim() == 3 else mask[None, None]
        out = mask if out is None else out + mask
    return out
