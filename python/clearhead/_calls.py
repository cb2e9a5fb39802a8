"""Interprets one attention call of another library: its scale, terms and visible pairs.

The arguments are those of transformers' attention interface (AttentionInterface, transformers 5), for any implementation that a model
runs. `Call.described()` is an exact description of the whole call. `Call.weights(rows)` evaluates the eager formula for a few rows, to
check the description.
"""

import contextlib

import torch

from . import _core
from ._masks import MaskSource, remembered_mask, uniform_term, visible_pairs

# If a score is larger than this, the eager formula computes in double: float32 rounds a sum of d products of this size by some 1e-6, and
# a weight then differs by as much, whichever kernel computes it. In double, the weights that check a map are rounded only once.
LARGE_SCORE = 16.0


def float32(x):
    """Returns x, detached, on the CPU, in a dtype that the engine supports."""
    x = x.detach()
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        x = x.float()
    return x.cpu()


def copied(x):
    """Returns a contiguous copy of x, detached, on the CPU, in a dtype that the engine supports."""
    on_cpu = float32(x)
    return (
        on_cpu.clone(memory_format=torch.contiguous_format) if on_cpu.is_cpu and on_cpu.data_ptr() == x.data_ptr() else on_cpu.contiguous()
    )


def _as_float32(mask):
    """Converts an additive mask to float32. finfo.min of float64 stays finite."""
    return (
        mask.float()
        if mask.dtype != torch.float64
        else torch.where(mask.isinf(), mask, mask.clamp(min=torch.finfo(torch.float32).min)).float()
    )


def under_query_sinks(bias, sinks, keys):
    """Rewrites a sink for each query, [batch, head, query, 1] (Inkling 2), as a sink of 0 for each head and a bias.

    Returns the bias [batch, head, query, key]: e^s / (sum e^s + e^sink) = e^(s - sink) / (sum e^(s - sink) + 1).
    """
    return (-sinks.float()).expand(*sinks.shape[:3], keys) if bias is None else bias[..., :keys].float() - sinks.float()


def description_of(score, terms, topology, sinks):
    """Returns the Description of a call. terms: tensors among them are biases. sinks: a logit for each head, or None."""
    normaliser = _core.Softmax(None if sinks is None else sinks.detach().float().cpu().contiguous())
    terms = [_core.Bias(term) if isinstance(term, torch.Tensor) else term for term in terms]
    return _core.Description(score=score, terms=terms, topology=topology, normaliser=normaliser)


def _is_autocast_on(device):
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def without_autocast(device):
    """Returns a context that disables autocast on a device type."""
    return torch.autocast(device, enabled=False) if _is_autocast_on(device) else contextlib.nullcontext()


def as_computed(*tensors):
    """Casts the tensors to the dtype in which attention multiplies them: autocast's dtype if it is enabled."""
    device = tensors[0].device.type
    if not _is_autocast_on(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(one.to(dtype) if one.is_floating_point() else one for one in tensors)


class Call:
    """One call of an attention function: (module, query, key, value, attention_mask, **kwargs).

    query: [batch, head, query, d_k]; key: [batch, key_head, key, d_k]; value: [batch, key_head, key, d_v]
    """

    def __init__(self, implementation, module, query, key, value, mask, kwargs):
        self.query, self.key, self.value = as_computed(query, key, value)
        if isinstance(mask, torch.Tensor) and mask.dim() == 4 and mask.dtype != torch.bool and not mask.is_floating_point():
            mask = mask.float()  # eager attention adds integer masks without conversion
        self.mask, self.module = mask, module
        self.batch, self.queries, self.keys = query.shape[0], query.shape[2], key.shape[2]
        self.lead = (self.batch,)  # sizes of the axes that were merged into the batch
        self.is_token_first = False  # whether the module's input is [token, batch, d]
        scaling = kwargs.get("scaling")
        self.scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
        self.softcap = kwargs.get("softcap")
        self.sinks = kwargs.get("s_aux")
        self.bias = kwargs.get("position_bias")
        self.dropout = float(kwargs.get("dropout") or 0.0)
        is_causal = kwargs.get("is_causal")
        is_causal = getattr(module, "is_causal", implementation != "clearhead") if is_causal is None else is_causal
        # Without a mask, eager attention shows all keys; SDPA aligns query 0 with key 0; flash attention aligns the last query with the
        # last key.
        self.band = None
        if mask is None and is_causal and implementation != "eager":
            if "flash" in implementation:
                window = kwargs.get("sliding_window")
                self.band = (self.keys - self.queries, None if window is None else int(window))
            elif self.queries > 1:
                self.band = (0, None)
        self.problem = self.source = None
        if kwargs.get("sinks") is not None and self.sinks is not None:
            self.problem = "it has a sink for every query (sinks) and one for each head (s_aux), which cannot be combined"
        elif kwargs.get("sinks") is not None:
            self.bias = under_query_sinks(self.bias, kwargs["sinks"], self.keys)
            self.sinks = torch.zeros(query.shape[1], device=query.device)
        chosen = kwargs.get("indices") is not None or kwargs.get("block_indices") is not None
        if chosen and implementation not in ("eager", "sdpa"):
            self.problem = 'its keys are chosen by indices that only its kernel reads; watch it with attn_implementation="eager" or "sdpa"'
        if hasattr(mask, "source"):  # a DescribedMask of attn_implementation="clearhead"
            self.source, self.mask = mask.source.part(keys=slice(0, self.keys)), None
        elif type(mask).__name__ == "BlockMask":  # mask of flex attention
            self.source = MaskSource(query.shape[0], self.queries, self.keys, 0, 0, mask.mask_mod, None, query.device, torch.float32)
            self.mask = None
        elif mask is not None and (not isinstance(mask, torch.Tensor) or mask.dim() != 4):
            self.problem = f"its mask is a {type(mask).__name__}" + (
                f" of {mask.dim()} axes" if isinstance(mask, torch.Tensor) else "") + "; expected a tensor of 4 axes or a BlockMask"

    def of(self, sequence):
        """Returns the same call, restricted to one sequence."""
        one = object.__new__(type(self))
        one.__dict__.update(self.__dict__)
        pick = lambda x: x if x is None else x[min(sequence, x.shape[0] - 1) :][:1]
        one.query, one.key, one.value, one.mask, one.bias = map(pick, (self.query, self.key, self.value, self.mask, self.bias))
        one.source = None if self.source is None else self.source.part(sequence)
        return one

    @property
    def is_masked(self):
        return self.mask is not None or self.source is not None

    def mask_rows(self, rows):
        """Returns the mask of these queries, bool or additive [batch|1, head|1, row|1, key]; None without a mask."""
        if self.source is not None:
            return self.source.rows(rows)
        if self.mask is None:
            return None
        return (self.mask if self.mask.shape[2] == 1 else self.mask[:, :, rows])[..., : self.keys]

    def visible_keys(self, q_begin, q_end, block=256):
        """Returns bool [key]: the keys that any of these queries sees, in any head of the first sequence."""
        if not self.is_masked:
            shown = torch.ones(self.keys, dtype=torch.bool)
            if self.band is not None:
                shown[min(self.keys, q_end + self.band[0]) :] = False
            return shown
        if self.source is None and self.mask.shape[2] == 1:
            return visible_pairs(self.mask[:1], self.sinks is None)[0][0, :, 0, : self.keys].any(0)
        shown = None
        for begin in range(q_begin, q_end, block):
            rows = self.mask_rows(list(range(begin, min(begin + block, q_end))))[:1]
            seen = visible_pairs(rows, self.sinks is None)[0][0].any(0).any(0)
            shown = seen if shown is None else shown | seen
        return shown

    def key_ranges(self, queries, keys, block=256):
        """Returns the range of keys that each of these queries sees in the first sequence, int64 [query, 2], relative to the first of
        `keys`. None if a query's visible keys have gaps, or differ between heads."""
        out = []
        for begin in range(*queries, block):
            rows = self.mask_rows(list(range(begin, min(begin + block, queries[1]))))[:1, ..., slice(*keys)]
            shown = visible_pairs(rows, self.sinks is None)[0][0]
            seen = shown.any(0).expand(min(begin + block, queries[1]) - begin, -1)
            first = seen.int().argmax(-1)
            count = seen.sum(-1)
            last = seen.shape[1] - seen.flip(-1).int().argmax(-1)
            if bool((last - first != count)[count > 0].any()) or bool((shown != shown[:1]).any()):
                return None
            out.append(torch.stack([first, first + count], 1).cpu())
        return torch.cat(out)

    def last_visible_key(self):
        """Returns the last key that any query sees, or the last key if none is seen. A static cache has free slots after it."""
        shown = self.visible_keys(0, self.queries).nonzero()
        return int(shown[-1]) if len(shown) else self.keys - 1

    def sees_only(self, q_begin, q_end, k_begin, k_end):
        """Returns whether these queries see no key outside [k_begin, k_end)."""
        if k_begin == 0 and k_end == self.keys:
            return True
        if self.source is not None and self.source.padding is not None:
            padding = self.source.padding
            if not bool(padding[:, :k_begin].any() or padding[:, k_end : self.keys].any()):
                return True
        shown = self.visible_keys(q_begin, q_end)
        return not bool(shown[:k_begin].any() or shown[k_end:].any())

    def described(self, queries, keys):
        """Returns (topology, terms) for these queries and keys. The terms are in the order in which attention functions apply them: the
        soft cap; one tensor [1, head|1, query|1, key], the sum of the position bias and the mask's values, if it is not all 0; and
        uniform_term(), if the mask makes rows uniform."""
        terms = [] if self.softcap is None else [_core.SoftCap(float(self.softcap))]
        if self.bias is not None:
            bias = self.bias if self.bias.shape[2] == 1 else self.bias[:, :, queries]
            bias = float32(bias[..., keys]).float().contiguous()
            terms += [bias] if bool(bias.any()) else []
        if self.source is not None:
            return self.source.part(queries=queries, keys=keys).topology(), terms
        if self.mask is not None:
            mask = self.mask[:1, :, queries if self.mask.shape[2] > 1 else slice(None), keys]
            topology, bias, uniform = remembered_mask(mask, self.sinks is None)
            if bias is not None and terms and isinstance(terms[-1], torch.Tensor):
                bias = bias + terms.pop()
            terms = terms if bias is None else [*terms, bias]
            return topology, terms if uniform is None else [*terms, uniform_term(uniform, len(range(self.queries)[queries]), mask.shape[3])]
        if self.band is None:
            return _core.full(), terms
        shift, window = self.band
        return _core.causal(window, align="start" if shift == 0 and self.keys != self.queries else "end"), terms

    def score(self):
        """Returns the score function for the description."""
        return _core.Dot(self.scale)

    def row_size(self):
        """Number of scores that the eager formula computes for one query."""
        return self.query.shape[0] * self.query.shape[1] * self.keys

    def _scores(self, rows, dtype=torch.float32):
        query, key = self.query[:, :, rows].to(dtype), self.key.to(dtype)
        groups = query.shape[1] // key.shape[1]
        batch, heads, count, width = query.shape
        scores = torch.matmul(query.reshape(batch, key.shape[1], groups * count, width), key.transpose(2, 3))
        return scores.reshape(batch, heads, count, self.keys) * self.scale

    def weights(self, rows, hide=None):
        """Evaluates the eager formula for these queries of every sequence: f32 [batch, head, row, key], differentiable. A row that sees no
        key is NaN.

        hide: bool [batch|1, head|1, row, key], more pairs to hide; a row that then sees no key is 0.
        """
        scores = self._scores(rows)
        if not scores.requires_grad and scores.device.type != "mps" and bool((scores.detach().abs() > LARGE_SCORE).any()):
            scores = self._scores(rows, torch.float64)
        batch, heads, count, _ = scores.shape
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.bias is not None:
            bias = self.bias.float()
            scores = scores + (bias if bias.shape[2] == 1 else bias[:, :, rows])[..., : self.keys]
        if self.is_masked:
            mask = self.mask_rows(rows)
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + _as_float32(mask)
        elif self.band is not None:
            shift, window = self.band
            places = torch.as_tensor(rows, device=scores.device)[:, None] + shift
            keys = torch.arange(self.keys, device=scores.device)
            hidden = keys > places
            if window is not None:
                hidden = hidden | (keys <= places - window)
            scores = scores.masked_fill(hidden, -torch.inf)
        empty = None
        if hide is not None:
            scores = scores.masked_fill(hide.to(scores.device), -torch.inf)
            empty = scores.isneginf().all(-1, keepdim=True)
        if self.sinks is not None:
            sinks = self.sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(batch, heads, count, 1)
            weights = torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]
        else:
            weights = torch.softmax(scores, -1)
        weights = weights.float()
        return weights if empty is None else weights.masked_fill(empty, 0)

    def output(self, weights):
        """Multiplies weights [batch, head, row, key] by the values: f32 [batch, row, head, d_v], as attention functions return it."""
        value = self.value.float()
        batch, heads, count, keys = weights.shape
        groups = heads // value.shape[1]
        out = torch.matmul(weights.reshape(batch, value.shape[1], groups * count, keys), value)
        return out.reshape(batch, heads, count, -1).transpose(1, 2)


class RelativeCall(Call):
    """A call with DeBERTa's scores (He et al. 2021, equation 4): s_ij = scale (q_i·k_j + q_i·A[j - i] + k_j·B[j - i]).

    of_queries, of_keys: A and B, f32 [head, 2 * reach + 1, d_k]; the offset j - i is in row j - i + reach.
    """

    def __init__(self, module, query, key, value, mask, scale, of_queries, of_keys, dropout):
        super().__init__("eager", module, query, key, value, mask, {"scaling": scale, "dropout": dropout})
        self.of_queries, self.of_keys = of_queries, of_keys

    def score(self):
        return _core.Relative(float32(self.of_queries).contiguous(), float32(self.of_keys).contiguous(), scale=self.scale)

    def row_size(self):
        return super().row_size() * (self.query.shape[3] + 1)

    def _scores(self, rows, dtype=torch.float32):
        query, key = self.query[:, :, rows].to(dtype), self.key.to(dtype)
        reach = self.of_queries.shape[1] // 2
        rows = torch.as_tensor(list(rows), device=query.device)
        offsets = torch.arange(self.keys, device=query.device)[None] - rows[:, None] + reach  # [row, key]
        by_query = torch.einsum("bhrd,hrkd->bhrk", query, self.of_queries[:, offsets].to(dtype))
        by_key = torch.einsum("bhkd,hrkd->bhrk", key, self.of_keys[:, offsets].to(dtype))
        return (torch.matmul(query, key.transpose(2, 3)) + by_query + by_key) * self.scale
