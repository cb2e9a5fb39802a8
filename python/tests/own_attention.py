"""Collects the attention weights that a model itself computes, independently of the package under test.

These are the tensors that it returns with output_attentions, the result of every softmax, and the weights of every call of torch's own
attention. Granite-SWA multiplies the output of softmax attention by sigmoid(logsumexp of the scores - sink), which equals a sink in the
denominator; its weights are multiplied in the same way here."""

import contextlib

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def returned(out, depth=0):
    """Returns the attention tensors [batch, head, query, key] in a transformers output, at any nesting."""
    found = []
    for name, one in out.items() if hasattr(out, "items") else ():
        if "attentions" in name and one is not None:
            flat = list(one) if isinstance(one, (tuple, list)) else [one]
            while flat and isinstance(flat[0], (tuple, list)):
                flat = [x for several in flat for x in several]
            found += [x for x in flat if isinstance(x, torch.Tensor) and x.dim() == 4]
        elif hasattr(one, "items") and depth < 3:
            found += returned(one, depth + 1)
    return found


def weights_of(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Returns the weights by the formula in torch's documentation of F.scaled_dot_product_attention, computed in double."""
    q, k = query.double(), key.double()
    if k.dim() > 2 and k.shape[-3] != q.shape[-3]:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    scores = q @ k.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, -1).float()


class Spy(TorchFunctionMode):
    """Context manager that collects `found`: [(path of the module, weights [..., query, key])]."""

    def __init__(self, model):
        super().__init__()
        self.model, self.found, self.stack, self.hooks = model, [], [""], []
        self.factors = {}  # by module: sigmoid of (logsumexp of scores - sink), [batch, head, query]

    def __enter__(self):
        for path, module in self.model.named_modules():
            self.hooks.append(module.register_forward_pre_hook(lambda *_, path=path: self.stack.append(path)))
            self.hooks.append(module.register_forward_hook(lambda *_: [None, self.stack.pop()][0], always_call=True))
        return super().__enter__()

    def __exit__(self, *error):
        for one in self.hooks:
            one.remove()
        return super().__exit__(*error)

    def __torch_function__(self, function, types, positional=(), keywords=None):
        keywords = keywords or {}
        out = function(*positional, **keywords)
        with contextlib.suppress(RuntimeError, TypeError, ValueError, IndexError):
            self._saw(function, positional, keywords, out)
        return out

    def _saw(self, function, positional, keywords, out):
        name = getattr(function, "__name__", "")
        path = self.stack[-1]
        if name == "logsumexp":
            self.factors[path] = None
        elif name == "sigmoid" and path in self.factors and out.dim() == 3:
            self.factors[path] = out.detach()[..., None]
        elif name == "softmax" and out.dim() >= 3:
            axis = keywords.get("dim", positional[1] if len(positional) > 1 else -1)
            if axis in (-1, out.dim() - 1):
                factor = self.factors.pop(path, None)
                self.found.append((path, out.detach().float().clone() if factor is None else (out * factor).detach().float()))
        elif function is F.scaled_dot_product_attention:
            self.found.append((self.stack[-1], weights_of(*positional, **keywords)))
        elif function is F.multi_head_attention_forward:
            given = {**keywords, "need_weights": True, "average_attn_weights": False}
            found = function(*positional[:15], **given)[1]
            self.found.append((self.stack[-1], found.detach().reshape(-1, *found.shape[-3:])))
