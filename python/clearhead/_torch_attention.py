"""Captures torch's own attention in a watched model: F.scaled_dot_product_attention, and nn.MultiheadAttention on all of its code paths."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from . import _batch, _families, _modules
from ._calls import Call
from ._functions import Functions, multi_head
from ._recorder import Recorder


def _visible(mask, batch, heads):
    """Converts a mask of nn.MultiheadAttention (True hides) to bool (True shows) or additive: [batch|1, head|1, query, key]."""
    if mask is None:
        return None
    mask = ~mask if mask.dtype == torch.bool else mask
    if mask.dim() == 3:
        return mask.reshape(batch, heads, *mask.shape[1:])
    return mask[None, None]


def _both(a, b):
    """Joins two masks."""
    if a is None or b is None:
        return b if a is None else a
    if a.dtype == b.dtype == torch.bool:
        return a & b
    numbers = [torch.zeros(one.shape).masked_fill(~one, -torch.inf) if one.dtype == torch.bool else one for one in (a, b)]
    return numbers[0] + numbers[1]


_SCALED, _MULTI_HEAD = F.scaled_dot_product_attention, F.multi_head_attention_forward
_ORDINALS = {1: "second", 2: "third", 3: "fourth"}


# Modules of torch that compute no attention, read no text and contain no other modules. A watch observes their calls only if it asks for
# them (Watch.observes_elementary_modules).
_ELEMENTARY = (nn.Linear, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, nn.Identity,
               nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def _is_elementary(module):
    return type(module) in _ELEMENTARY and "forward" not in vars(module) and not module._modules


def _has_fast_path(module):
    """Returns whether torch has a fused path for a module, which it takes only without an active mode. An encoder of torch's own layers
    removes padding on this path."""
    if isinstance(module, nn.TransformerEncoder):
        return all(type(layer) is nn.TransformerEncoderLayer for layer in module.layers)
    return isinstance(module, (nn.MultiheadAttention, nn.TransformerEncoderLayer))


def _before_projection(gradient, weight, heads, is_alone, batch_first):
    """Converts the gradient with respect to the output of nn.MultiheadAttention, [batch, query, width], to that of the heads' outputs,
    [batch, query, head, d_v]. is_alone: the module has no batch axis."""
    gradient = gradient[None] if is_alone else gradient if batch_first else gradient.transpose(0, 1)
    return (gradient @ weight.detach()).unflatten(-1, (heads, -1))


class AttentionMode(TorchFunctionMode):
    """Reports calls of modules and of torch's attention functions to a watch, from start() until stop().

    The mode is active while a module of the model runs, in the thread that runs it.
    """

    def __init__(self, watch):
        super().__init__()
        self._watch, self.paths, self._stack, self._asked, self._within = watch, watch.paths, [], [], 0
        observes_all = watch.observes_elementary_modules
        self.modules = [one for one in watch.modules if observes_all or one is watch._model or not _is_elementary(one)]
        self.thread = watch.thread
        self._recorder = Recorder(watch, self)
        self._functions = Functions(self, watch._model)

    def start(self):
        _modules.listen(self)

    def stop(self):
        self._functions.stop()
        _modules.forget(self)

    @property
    def thread_of_run(self):
        """The thread that currently runs a module of the model, or None."""
        return self._watch._busy if self._stack else None

    @property
    def running(self):
        """The modules that are currently running, outermost first."""
        return [module for module, *_ in self._stack]

    def layer(self, call_length=None):
        """Returns the layer of an attention call by the running module.

        call_length: the number of queries if it equals the number of keys, else None. If a module makes another call that is not another
        window of its input (the two streams of XLNet), that call is a layer of a separate family.
        """
        module = self._stack[-1][0]
        path, whole, called = self.paths[id(module)] or "attention", self.input_length(module), self._watch._called
        count, before = called.get(path, (1, 0))
        if before and not (call_length and whole and call_length < whole):
            called[path] = (count, before + 1)
            path = f"{path}.{_ORDINALS.get(before, 'later')}"
        return self._watch._layer(path, module, call_length)

    def first_row(self, layer, call):
        """Returns the first row of a call's batch that is kept."""
        return _batch.rows_of(self._watch, layer, call).start

    def hears(self, thread):
        return self._watch.hears(thread)

    def before(self, module, positional, keywords):
        if not self._stack:
            self.__enter__()
        self._stack.append((module, positional, keywords))
        if _has_fast_path(module):
            self._within += 1
            if self._within == 1 and not self._watch._edits:
                self.__exit__(None, None, None)
        self._recorder.claimed += _families.of(module) is not None
        if len(self._stack) == 1 or self.paths[id(self._stack[-2][0])] != self.paths[id(module)]:  # not the module inside a compiled one
            with torch._C.DisableTorchFunction():  # these operations are not part of the model
                self._watch.before(module, positional, keywords, len(self._stack) == 1)

    def after(self, module, positional, keywords, result):
        family = _families.of(module)
        self._recorder.claimed -= family is not None
        self._watch._inside += 1  # attention that is computed here is not the model's
        try:
            if result is not None:
                result = self._seen(family, module, positional, keywords, result)
        finally:
            self._watch._inside -= 1
            self._stack.pop()
            if _has_fast_path(module):
                self._within -= 1
                if self._within == 0 and not self._watch._edits:
                    self.__enter__()
            if not self._stack:
                self.__exit__(None, None, None)
                self._asked.clear()
                self._recorder.clear()
        with torch._C.DisableTorchFunction():
            self._watch.after(module, result, not self._stack)
        return result

    def input_length(self, module):
        """Returns the number of tokens in the first argument of a running module, [..., token, d]; None if that is not a tensor."""
        for running, positional, keywords in reversed(self._stack):
            if running is module:
                given = positional[0] if positional else keywords.get("hidden_states")
                return given.shape[-2] if isinstance(given, torch.Tensor) and given.dim() > 1 else None
        return None

    def reads_other(self, module):
        """Returns whether a running module was given separate states for its keys."""
        given = next((keywords for running, _, keywords in reversed(self._stack) if running is module), {})
        return any(isinstance(given.get(name), torch.Tensor) for name in ("encoder_hidden_states", "key_value_states"))

    def _seen(self, family, module, positional, keywords, result):
        if isinstance(module, nn.MultiheadAttention):
            return self._attended(module, positional, keywords, result)
        if isinstance(module, nn.TransformerEncoderLayer):
            self._encoded(module, positional, keywords)
        elif family is not None:
            return family.attended(self._watch, module, positional, keywords, result)
        return self._recorder.returned(result)

    def __torch_function__(self, function, types, positional=(), keywords=None):
        keywords = keywords or {}
        result = function(*positional, **keywords)
        if self._watch._inside or not self._stack:
            return result
        if function is _SCALED:
            return self._scaled(result, *positional, **keywords)
        if function is _MULTI_HEAD and self._within == 0:
            return multi_head(self, result, positional, keywords)
        return self._recorder.saw(function, positional, keywords, result)

    def _scaled(self, out, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        module = self._stack[-1][0]
        kept = self.layer(query.shape[-2] if query.shape[-2] == key.shape[-2] else None)
        lead = query.shape[:-3]

        def four(x):
            """Reshapes x [..., head, token, d] to [batch, head, token, d]."""
            x = x.reshape(*[1] * (4 - x.dim()), *x.shape) if x.dim() < 4 else x
            return x.expand(*lead, *x.shape[-3:]).flatten(0, -4) if len(lead) > 1 else x

        mask = None if attn_mask is None else four(attn_mask)
        query, key, value = four(query), four(key), four(value)
        call = Call("sdpa" if is_causal else "eager", module, query, key, value, mask,
                    {"scaling": scale, "dropout": dropout_p, "is_causal": is_causal})
        call.band = (0, None) if is_causal else None
        call.lead = lead if len(lead) > 1 else call.lead
        found = self._watch.observe(kept, call, four(out).transpose(1, 2))
        returned = out if not self._watch._edits else found.transpose(1, 2).reshape(out.shape)
        self._watch._capture_gradient(kept, returned, lambda gradient: four(gradient).transpose(1, 2))
        return returned

    def _attended(self, module, positional, keywords, result):
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
        given = {**dict(zip(names, positional)), **keywords}
        self._asked.append(module)
        return self._projected(module, given["query"], given["key"], given["value"], given, result)

    def _encoded(self, layer, positional, keywords):
        """Handles an nn.TransformerEncoderLayer that used its fused path, without calling its nn.MultiheadAttention."""
        attention = layer.self_attn
        if attention in self._asked:
            self._asked.remove(attention)
            return
        given = {**dict(zip(("src", "src_mask", "src_key_padding_mask"), positional)), **keywords}
        source, padding = given["src"], given.get("src_key_padding_mask")
        if source.is_nested:  # nn.TransformerEncoder removed the padding; here it is restored and hidden
            lengths = torch.tensor([one.shape[0] for one in source.unbind()])
            source = source.to_padded_tensor(0.0)
            padding = torch.arange(source.shape[1]) >= lengths[:, None]
        with torch.no_grad():
            source = layer.norm1(source) if layer.norm_first else source
            masks = {"key_padding_mask": padding, "attn_mask": given.get("src_mask")}
            self._projected(attention, source, source, source, masks, None)

    def _weights(self, kept, call):
        """Returns the weights of an edited layer, [batch, head, query, key], without dropout and before heads are knocked out."""
        rows, edits = list(range(call.queries)), self._watch._edits
        return call.weights(rows, edits.hidden(kept.family, kept.number, call.query.shape[1], self._watch._places(kept, call), rows))

    def _projected(self, module, query, key, value, masks, result):
        """Handles a call of nn.MultiheadAttention. result: its result; None inside a layer that used its fused path. Returns the result,
        with the edits of this layer."""
        watch, heads, batch_first = self._watch, module.num_heads, module.batch_first
        kept = watch._layer(self.paths[id(module)], module)
        if module.bias_k is not None or module.add_zero_attn:
            kept.problem = "it appends an extra key (bias_k, add_zero_attn)"
        elif any(one.is_nested for one in (query, key, value)):
            kept.problem = "its input is a nested tensor; pass a padded tensor and a key_padding_mask instead"
        is_edited = watch._edited(kept)
        if kept.problem is not None:
            return result
        returned = None if result is None else result[0]
        padding, mask = masks.get("key_padding_mask"), masks.get("attn_mask")
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_edited):
            inputs = [one.unsqueeze(0 if batch_first else 1) if one.dim() == 2 else one for one in (query, key, value)]
            inputs = inputs if batch_first else [one.transpose(0, 1) for one in inputs]
            if module.in_proj_weight is not None:
                weights = module.in_proj_weight.chunk(3)
            else:
                weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
            biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
            q, k, v = (F.linear(one, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)
                       for one, weight, bias in zip(inputs, weights, biases))
            batch = q.shape[0]
            hidden = _visible(mask, batch, heads)
            if padding is not None:
                padding = padding[None] if padding.dim() == 1 else padding
                hidden = _both(hidden, (~padding if padding.dtype == torch.bool else padding)[:, None, None, :])
            call = Call("eager", module, q, k, v, hidden, {"dropout": module.dropout if module.training else 0.0})
            call.is_token_first = not batch_first

            def compare(at, rows, expected):
                """Returns the module's output for these rows of a text, and the output projection of weights times values."""
                if returned is None:
                    return None
                whole = returned.unsqueeze(0 if batch_first else 1) if returned.dim() == 2 else returned
                whole = whole if batch_first else whole.transpose(0, 1)
                return whole[at, rows].float(), module.out_proj(expected[0].flatten(1).to(whole.dtype)).float()

            def attended():
                watch._inside += 1
                try:
                    return F.scaled_dot_product_attention(q, k, v, hidden, call.dropout).transpose(1, 2)
                finally:
                    watch._inside -= 1

            edited = watch.observe(kept, call, compare, attended)
            if not is_edited:
                if returned is not None:
                    watch._capture_gradient(kept, returned, lambda gradient: _before_projection(
                        gradient, module.out_proj.weight, heads, returned.dim() == 2, batch_first))
                return result
            out = module.out_proj(edited.flatten(2).to(returned.dtype))
            out = out[0] if returned.dim() == 2 else out if batch_first else out.transpose(0, 1)
            weights = result[1]
            if weights is not None:
                weights = self._weights(kept, call)
                weights = weights.mean(1) if masks.get("average_attn_weights", True) else weights
                weights = weights.reshape(result[1].shape).to(result[1].dtype)
        return out, weights
