"""Converts transformers masks to topologies. Mask functions are recorded once; no N x N mask is allocated.

A model calls the mask function of its attention implementation and passes the result to every layer (AttentionMaskInterface). The function
here returns a DescribedMask, a tensor without storage. Code that computes with it gets the mask that eager attention adds, [batch, 1,
query, key]: 0, or the smallest number of the dtype.
"""

import torch
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from . import _core
from ._core import RuleTruth


class MaskSource:
    """The arguments of a mask function (transformers.masking_utils). Queries begin at position q_offset, keys at position kv_offset."""

    def __init__(self, batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, padding, device, dtype):
        self.shape = (int(batch_size), 1, int(q_length), int(kv_length))
        self.q_offset, self.kv_offset = int(q_offset), int(kv_offset)
        self.function, self.padding, self.device, self.dtype = mask_function, padding, device, dtype
        self._topology = None

    def part(self, sequence=None, queries=slice(None), keys=slice(None)):
        """Returns the source for one sequence, a range of queries and a range of keys."""
        batch, _, count, length = self.shape
        q_begin, q_end, _ = queries.indices(count)
        k_begin, k_end, _ = keys.indices(length)
        out = object.__new__(MaskSource)
        out.__dict__.update(self.__dict__, _topology=None)
        out.shape = (batch if sequence is None else 1, 1, q_end - q_begin, k_end - k_begin)
        out.q_offset, out.kv_offset = self.q_offset + q_begin, self.kv_offset + k_begin
        if self.padding is not None:
            out.padding = self.padding[:, k_begin:k_end] if sequence is None else self.padding[sequence : sequence + 1, k_begin:k_end]
        if sequence is not None and self.shape[0] > 1:
            function = self.function
            out.function = lambda b, h, q, k: function(b + sequence, h, q, k)
            out.function.parts = [_shifted(part, sequence) for part in _conjuncts(function)]
        return out

    def rows(self, rows):
        """Evaluates the mask function for these queries: bool [batch, 1, row, key]."""
        batch, _, _, keys = self.shape
        index = lambda count, axis: torch.arange(count, device=self.device).reshape([-1 if at == axis else 1 for at in range(4)])
        queries = torch.as_tensor(rows, device=self.device).reshape(1, 1, -1, 1) + self.q_offset
        visible = self.function(index(batch, 0), index(1, 1), queries, index(keys, 3) + self.kv_offset)
        visible = torch.as_tensor(visible, device=self.device).expand(batch, 1, len(rows), keys)
        return visible if self.padding is None else visible & self.padding[:, None, None, :].to(self.device)

    def dense(self):
        visible = self.rows(list(range(self.shape[2])))
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device).masked_fill(~visible, torch.finfo(self.dtype).min)

    def topology(self):
        if self._topology is None:
            self._topology = self._described()
        return self._topology

    def _described(self):
        shift = self.q_offset - self.kv_offset  # position of query 0 among the keys
        back = ahead = None
        segments, rest = None, []
        for part in _conjuncts(self.function):
            known = _known(part)
            if known is None:
                rest.append(part)
            elif known[0] == "band":
                _, b, a = known
                back = b if back is None else back if b is None else min(back, b)
                ahead = a if ahead is None else ahead if a is None else min(ahead, a)
            elif known[0] == "segments" and segments is None:
                segments = known[1]
            elif known[0] != "all":
                rest.append(part)
        out = _core._placed(back, ahead, shift)
        batch, _, queries, keys = self.shape
        if segments is not None:
            ids = segments.to("cpu", torch.int32)
            of_queries = ids[:, self.q_offset : self.q_offset + queries].contiguous()
            of_keys = ids[:, self.kv_offset : self.kv_offset + keys].contiguous()
            out = out & _core.segments(of_queries, of_keys)
        if self.padding is not None and not bool(self.padding.all()):
            out = out & _core.mask(self.padding[:, None, None, :].cpu().contiguous())
        if rest:
            try:
                out = out & _recorded(rest, self.kv_offset)
            except Exception:  # the function does not accept symbols: evaluate it block by block
                out = out & self._listed(rest)
        return out

    def _listed(self, functions, block=256):
        """Returns lists of the visible keys, by evaluating the functions for 256 queries at a time."""
        batch, _, count, keys = self.shape
        counts, found = [], []
        alone = self.part()
        alone.padding, alone.function = None, lambda *at: _all(function(*at) for function in functions)
        for begin in range(0, count, block):
            visible = alone.rows(list(range(begin, min(count, begin + block))))[:, 0].cpu()
            counts.append(visible.sum(-1))
            found.append([one.nonzero()[:, 1].to(torch.int32) for one in visible])
        counts = torch.cat(counts, 1)
        offsets = torch.cat([torch.zeros(batch, 1, dtype=torch.int64), counts.cumsum(1)], 1)
        most = int(offsets[:, -1].max())
        listed = torch.zeros(batch, 1, most, dtype=torch.int32)
        for at in range(batch):
            row = torch.cat([part[at] for part in found])
            listed[at, 0, : len(row)] = row
        return _core.block_sparse(offsets[:, None].to(torch.int32).contiguous(), listed)


def _all(truths):
    out = None
    for one in truths:
        out = one if out is None else out & one
    return out


def _cells(function):
    return (
        dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__ or ())))
        if hasattr(function, "__code__")
        else {}
    )


def _conjuncts(function):
    """Returns the functions whose intersection is this mask function."""
    if hasattr(function, "parts"):
        return function.parts
    if getattr(function, "__qualname__", "").startswith("and_masks.<locals>"):
        return [part for one in _cells(function).get("mask_functions", ()) for part in _conjuncts(one)]
    return [function]


def _shifted(function, sequence):
    known = _known(function)
    if known is not None and known[0] in ("band", "all"):
        return function
    out = lambda b, h, q, k: function(b + sequence, h, q, k)
    if known is not None:
        out.known = (known[0], known[1][sequence : sequence + 1] if known[1].shape[0] > 1 else known[1])
    return out


def _known(function):
    """Recognises functions of transformers.masking_utils: ("band", back, ahead), ("segments", ids) or ("all",); None for other
    functions."""
    if hasattr(function, "known"):
        return function.known
    if getattr(function, "__module__", None) != "transformers.masking_utils":
        return None
    name = function.__qualname__.split(".")[0]
    cells = _cells(function)
    if name == "causal_mask_function":
        return "band", None, 0
    if name == "bidirectional_mask_function":
        return ("all",)
    if name == "sliding_window_overlay" and isinstance(cells.get("sliding_window"), int):
        return "band", cells["sliding_window"] - 1, None
    if name == "sliding_window_bidirectional_overlay" and isinstance(cells.get("sliding_window"), int):
        return "band", cells["sliding_window"], cells["sliding_window"]
    if name == "packed_sequence_mask_function":
        return "segments", cells["packed_sequence_mask"]
    return None


class _Symbol:
    """A symbol of a rule, passed to a mask function instead of an index tensor."""

    def __init__(self, value):
        self.value = value

    device = torch.device("cpu")

    def to(self, *positional, **keywords):
        return self

    def new_zeros(self, *positional, **keywords):
        return _Symbol(False)

    new_ones = lambda self, *positional, **keywords: _Symbol(True)
    long = int = bool = clone = lambda self: self
    abs = lambda self: abs(self)

    def __abs__(self):
        return _Symbol(abs(self.value))

    def __neg__(self):
        return _Symbol(-self.value)

    def __invert__(self):
        return _Symbol(~self.value if isinstance(self.value, RuleTruth) else not self.value)

    def __bool__(self):
        raise TypeError("a symbol has no truth value")

    @classmethod
    def __torch_function__(cls, function, types, positional=(), keywords=None):
        return _Recording.called(function, positional)


def _operator(name, reflected=None):
    def apply(self, other):
        return _Symbol(getattr(_value(self), name)(_value(other)))

    setattr(_Symbol, name, apply)
    if reflected:
        setattr(_Symbol, reflected, lambda self, other: _Symbol(getattr(self.value, reflected)(_value(other))))


def _value(given):
    if isinstance(given, _Symbol):
        return given.value
    if isinstance(given, torch.Tensor):
        return given.item()
    return given


for _name, _reflected in (("__add__", "__radd__"), ("__sub__", "__rsub__"), ("__mul__", "__rmul__"), ("__floordiv__", None),
                          ("__mod__", None),
                          ("__truediv__", None), ("__lt__", None), ("__le__", None), ("__gt__", None), ("__ge__", None), ("__eq__", None),
                          ("__ne__", None)):
    _operator(_name, _reflected)


def _logical(name):
    def apply(self, other):
        a, b = _value(self), _value(other)
        if isinstance(a, bool):
            a, b = b, a
        if isinstance(a, bool):
            return _Symbol((a and b) if name == "__and__" else (a or b))
        return _Symbol(getattr(a, name)(b))

    setattr(_Symbol, name, apply)
    setattr(_Symbol, name.replace("__", "__r", 1), apply)


_logical("__and__")
_logical("__or__")


class _Recording(torch.overrides.TorchFunctionMode):
    """Active while a mask function is recorded: tensors that it indexes by symbols become tables."""

    def __torch_function__(self, function, types, positional=(), keywords=None):
        return self.called(function, positional, keywords)

    @staticmethod
    def called(function, positional, keywords=None):
        name = getattr(function, "__name__", "")
        if name == "__getitem__":
            table, index = positional
            index = index if isinstance(index, tuple) else (index,)
            if any(isinstance(one, _Symbol) for one in index):
                with torch._C.DisableTorchFunction():
                    whole = table.detach().cpu()
                    is_truth = whole.dtype == torch.bool
                    whole = (whole.to(torch.int32) if not whole.is_floating_point() else whole.float()).contiguous()
                found = _core.table(whole)[tuple(_value(one) for one in index)]
                return _Symbol(found != 0) if is_truth else _Symbol(found)
        if any(isinstance(one, _Symbol) for one in positional):
            operators = {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "eq": "__eq__", "ne": "__ne__", "lt": "__lt__",
                         "le": "__le__",
                         "gt": "__gt__", "ge": "__ge__", "__and__": "__and__", "bitwise_and": "__and__", "logical_and": "__and__",
                         "__or__": "__or__", "bitwise_or": "__or__", "logical_or": "__or__", "abs": "__abs__",
                         "floor_divide": "__floordiv__"}
            first = positional[0] if isinstance(positional[0], _Symbol) else _Symbol(_value(positional[0]))
            if name in operators:
                return getattr(first, operators[name])(*positional[1:])
            raise TypeError(f"{name} of a symbol")
        return function(*positional, **(keywords or {}))


def _recorded(functions, kv_offset):
    def body(b, h, i, j):
        q, k = (_Symbol(i + kv_offset), _Symbol(j + kv_offset)) if kv_offset else (_Symbol(i), _Symbol(j))
        return _value(_all(function(_Symbol(b), _Symbol(h), q, k) for function in functions))

    with _Recording():
        return _core.visible(body)


def hidden_pairs(mask):
    """Returns the pairs that an additive mask hides, with -inf or a number close to the smallest of its dtype."""
    return mask <= max(-1e30, torch.finfo(mask.dtype).min / 2)


def visible_pairs(mask, spreads=True):
    """Returns (visible, uniform) for a mask, bool or additive, [batch|1, head|1, query|1, key].

    visible: bool, the pairs that can have a weight. uniform: bool [batch|1, head|1, query|1], or None if there is no such row: rows in
    which every pair is hidden by a finite number as large as finfo.min. It absorbs the scores, so softmax is uniform over the pairs with
    the row's largest number. spreads=False: such rows see nothing (a sink gets all of their weight).
    """
    if mask.dtype == torch.bool:
        return mask, None
    hidden = hidden_pairs(mask)
    all_hidden = hidden.all(-1)
    if not spreads or not bool(all_hidden.any()):
        return ~hidden, None
    largest = mask.amax(-1, keepdim=True)
    spread = all_hidden[..., None] & torch.isfinite(largest)
    uniform = (spread & (largest <= -1e30))[..., 0]
    return torch.where(spread, mask >= largest, ~hidden), uniform if bool(uniform.any()) else None


def uniform_term(uniform, queries, keys):
    """Returns a term that sets the scores of these rows to 0. uniform: bool [batch|1, head|1, query|1]."""
    rows = _core.table(uniform.to("cpu", torch.int32).contiguous())
    shift = keys - queries  # a rule indexes queries by their position among the keys
    return _core.rule(lambda s, b, h, i, j: _core.where(rows[b, h, i - shift] == 1, 0.0, s))


def read_mask(mask, spreads=True):
    """Returns (topology, bias, uniform) for a mask on the CPU, bool or additive, [batch|1, head|1, query|1, key].

    bias: the numbers that are added to visible pairs, differentiable if the mask is; None if all are 0. uniform: as in visible_pairs();
    these rows need uniform_term().
    """
    if mask.dtype == torch.bool:
        return _core._topology_of_mask(mask.contiguous()), None, None
    visible, uniform = visible_pairs(mask.detach(), spreads)
    bias = mask.float().masked_fill(~visible | hidden_pairs(mask.detach()), 0).contiguous()
    return _core._topology_of_mask(visible.contiguous()), bias if bias.requires_grad or bool(bias.any()) else None, uniform


_read = WeakTensorKeyDictionary()  # tensor that owns its memory: (version, {view: result of read_mask})


def remembered_mask(mask, spreads=True):
    """Cached read_mask(), since a model passes the same tensor to every layer.

    The result is kept while the tensor that owns the memory lives and is not written to. A mask that requires gradients or has no version
    counter (inference mode) is read each time.
    """
    if mask.requires_grad or mask.is_inference():
        return read_mask(mask.cpu(), spreads)
    owner = mask if mask._base is None else mask._base
    version, views = _read.get(owner, (None, None))
    if version != mask._version:
        version, views = _read[owner] = mask._version, {}
    view = (mask.storage_offset(), mask.shape, mask.stride(), mask.dtype, spreads)
    if view not in views:
        views[view] = read_mask(mask.cpu(), spreads)
    return views[view]


class DescribedMask(torch.Tensor):
    """An additive mask [batch, 1, query, key] without storage, described by its `source`."""

    @staticmethod
    def __new__(cls, source):
        out = torch.Tensor._make_wrapper_subclass(cls, source.shape, dtype=source.dtype, device=source.device)
        out.source = source
        return out

    def __init__(self, source):
        pass

    def __repr__(self):
        return f"clearhead.DescribedMask({list(self.source.shape)}, {self.source.topology()})"

    @classmethod
    def __torch_dispatch__(cls, function, types, positional=(), keywords=None):
        first = positional[0] if positional else None
        if isinstance(first, cls):
            if function in (torch.ops.aten.alias.default, torch.ops.aten.detach.default, torch.ops.aten.lift_fresh.default):
                return cls(first.source)
            if function is torch.ops.aten.slice.Tensor:
                _, axis, begin, end, *step = (*positional, 0, None, None)[: max(4, len(positional))]
                begin, end, _ = slice(begin, end).indices(first.shape[axis])
                if step in ([], [1]) and axis in (2, 3):
                    return cls(first.source.part(**{"queries" if axis == 2 else "keys": slice(begin, end)}))
                if (begin, end) == (0, first.shape[axis]) and step in ([], [1]):
                    return cls(first.source)
        plain = lambda x: x.source.dense() if isinstance(x, cls) else x
        return function(*tree_map(plain, positional), **tree_map(plain, keywords or {}))


@torch.compiler.disable
def clearhead_mask(batch_size, q_length, kv_length, q_offset=0, kv_offset=0, mask_function=None, attention_mask=None, device="cpu",
                   dtype=torch.float32, allow_is_bidirectional_skip=False, allow_is_causal_skip=False, local_size=None, **_):
    """The mask function of attn_implementation="clearhead" (AttentionMaskInterface).

    Returns None if all pairs are visible and the model allows that: for bidirectional attention as eager attention does (Informer relies on
    it, because its layers shorten the text without changing the mask), and for a single query at the end of its keys as SDPA does.
    """
    from transformers import masking_utils

    is_last = (
        allow_is_causal_skip and q_length == 1 and (local_size is None or kv_length < local_size) and q_offset + 1 == kv_offset + kv_length
    )
    if (is_last or (allow_is_bidirectional_skip and local_size is None)) and (attention_mask is None or bool(attention_mask.all())):
        return None
    padding = masking_utils.prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is not None:
        padding = padding[:, kv_offset : kv_offset + kv_length].bool()
    function = mask_function or masking_utils.causal_mask_function
    return DescribedMask(MaskSource(batch_size, q_length, kv_length, q_offset, kv_offset, function, padding, torch.device(device), dtype))
