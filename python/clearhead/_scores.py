"""Follows attention scores from q·k to softmax, for modules that compute attention with plain tensor operations.

    s = scale * q·k + sum of added terms,   hidden where filled,   weights = softmax(s)

`Scores` follows one tensor of scores through the operations of a module's forward: scaling, masks, biases, changes of shape. An operation
that it cannot follow makes it `opaque`. Then the difference between the input of softmax and q·k becomes the bias, which is exact, too.
Nothing here changes what the module computes.
"""

import math
from types import SimpleNamespace

import torch

from ._masks import MaskSource, hidden_pairs

MOST_KEPT = 1 << 25  # largest number of elements of a layer's bias that is kept
LEAST_FILL = -1000.0  # filling a score with this or less hides the pair
LEAST_ADDED = -9000.0  # so does adding this or less, if q·k cannot compensate for it and the row sees other keys


class Scores:
    """One tensor of scores [*lead, query, key].

    query: [*lead|1, query, d]; key: [*lead|1, key, d]; added: [(tensor, coefficient, lead of the scores at that time)];
    filled: [(bool mask of the filled pairs, fill value, length of `added` at that time, lead)]
    """

    def __init__(self, query, key, shape, scale=1.0):
        self.query, self.key, self.shape, self.scale = query, key, tuple(shape), scale
        self.added, self.filled = [], []
        self.opaque = None  # the first operation that could not be followed
        self.lost = None  # why these scores cannot be described
        self.dropout, self.whole, self.is_swapped = 0.0, None, False  # for weights: dropout; input of softmax if opaque; is [key, query]
        self.same = []  # for weights: weak references to the tensors that contain them, from softmax to the product with the values

    def copy(self, **changes):
        out = object.__new__(Scores)
        out.__dict__.update(self.__dict__, added=list(self.added), filled=list(self.filled))
        out.__dict__.update(changes)
        return out

    def scaled(self, factor, lead):
        """Multiplies the scores by a number, or by a tensor with one factor per query or per key (a learned temperature)."""
        if not isinstance(factor, torch.Tensor) or factor.numel() == 1:
            factor = float(factor)
            if factor <= 0:
                return self.copy(opaque="a factor that is not positive")
            return self.copy(scale=self.scale * factor, added=[(one, of * factor, at) for one, of, at in self.added])
        if self.added or self.filled or factor.dim() < 2 or 1 not in factor.shape[-2:] or lead != self.shape[:-2]:
            return self.copy(opaque="a factor for each pair")
        if factor.shape[-1] == 1:
            return self.copy(query=self.query * factor)
        return self.copy(key=self.key * factor.transpose(-1, -2))

    def plus(self, term, coefficient, lead):
        if not isinstance(term, torch.Tensor) or (term.dim() > 0 and term.shape[-1] == 1 and self.shape[-1] != 1):
            return self  # constant over the keys of a row: softmax is invariant to it
        if term.dim() > len(lead) + 2:
            return self.copy(opaque="a term with more axes than the scores")
        return self.copy(added=[*self.added, (term, coefficient, lead)])

    def hidden_where(self, mask, value, lead):
        if not (isinstance(mask, torch.Tensor) and mask.dtype == torch.bool) or float(value) > LEAST_FILL or mask.dim() > len(lead) + 2:
            return self.copy(opaque="a fill value for some pairs")
        return self.copy(filled=[*self.filled, (mask, float(value), len(self.added), lead)])

    def swapped(self):
        """Transposes scores [*lead, key, query]: exchanges queries and keys."""
        turn = lambda x: x if x.dim() < 2 else x.transpose(-1, -2)
        if any(one.dim() == 1 for one, *_ in (*self.added, *self.filled)):
            return self.copy(opaque="transpose")
        return self.copy(query=self.key, key=self.query, shape=(*self.shape[:-2], self.shape[-1], self.shape[-2]),
                         added=[(turn(one), *rest) for one, *rest in self.added], filled=[(turn(one), *rest) for one, *rest in self.filled])


class Axes:
    """Determines which leading axes of scores are the batch and which are heads.

    base: the leading axes; order: these axes, batch first, then heads; batch, heads: their sizes.
    """

    def __init__(self, shapes, heads):
        """shapes: all shapes that the scores had. heads: the number of heads according to the module, or None."""
        leads = list(dict.fromkeys(tuple(shape[:-2]) for shape in shapes))
        self.base = next((lead for lead in leads if len(lead) == 2 and lead[1] == heads), None)
        self.base = self.base or next((lead for lead in leads if len(lead) > 2), None)
        self.base = self.base or next((lead for lead in leads if len(lead) == 2), leads[0])
        if len(self.base) < 2:
            count = math.prod(self.base)
            heads = heads if heads and count % heads == 0 else 1
            self.base = (count // heads, heads)
        begin, end = len(self.base) - 1, len(self.base)
        for first, last in self._ranges():
            if heads is not None and math.prod(self.base[first:last]) == heads:
                begin, end = first, last
                break
        self.order = [*range(begin), *range(end, len(self.base)), *range(begin, end)]
        self.of_heads = end - begin
        self.heads = math.prod(self.base[begin:end])
        self.batch = math.prod(self.base) // max(1, self.heads)

    def _ranges(self):
        """Returns candidate ranges for the head axes: the last axis, then the last two, …, then earlier axes."""
        count = len(self.base)
        return [(first, last) for last in range(count, 0, -1) for first in range(last - 1, 0 if last == count else -1, -1)]

    def joined(self, x, lead):
        """Reshapes x [*lead|1, a, b] to [batch|1, head|1, a, b]."""
        tail = x.shape[-2:] if x.dim() >= 2 else (1, x.shape[-1] if x.dim() else 1)
        x = x.reshape(*[1] * (len(lead) - max(0, x.dim() - 2)), *x.shape[:-2], *tail)
        if math.prod(x.shape[:-2]) == 1:
            return x.reshape(1, 1, *tail)
        if tuple(lead) != self.base:
            x = x.expand(*lead, *tail).reshape(*self.base, *tail)
        count = len(self.base)
        x = x.permute(*self.order, count, count + 1)
        sizes = [self.base[at] for at in self.order]
        split = count - self.of_heads
        for begin, end in ((0, split), (split, count)):
            given = x.shape[begin:end]
            if any(size != 1 for size in given) and list(given) != sizes[begin:end]:
                x = x.expand(*[sizes[at] if begin <= at < end else x.shape[at] for at in range(count)], *tail)
        return x.reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:count]), *tail)

    def parted(self, x, shape):
        """The inverse of joined(), for x [batch, head, a, b]."""
        x = x.reshape(*[self.base[at] for at in self.order], *x.shape[2:])
        count = len(self.base)
        return x.permute(*[self.order.index(at) for at in range(count)], count, count + 1).reshape(shape)


def described(scores, axes):
    """Returns the arguments of a Call that gives these scores: a dict of query, key, mask, bias, scale. Raises ValueError with a reason."""
    lead = scores.shape[:-2]
    query, key = axes.joined(scores.query, lead), axes.joined(scores.key, lead)
    query = query.expand(axes.batch, axes.heads, -1, -1)
    key = key.expand(axes.batch, key.shape[1], -1, -1)
    out = {"query": query, "key": key, "scale": scores.scale, "mask": None, "bias": None}
    if scores.whole is not None:
        with torch.no_grad():
            out["mask"] = _rest(scores, axes, out)
        return out
    biases, masks, hides = [], [], []
    for term, coefficient, at in scores.added:
        term = axes.joined(term, at)
        term = _with_hidden(term if coefficient == 1.0 else term.float() * coefficient, out)
        is_mask = term.is_floating_point() and bool(hidden_pairs(term.detach()).any())
        if is_mask and term.shape[1] > 1:  # a bias per head in one tensor with a mask that all heads share
            term, numbers = _parted(term)
            biases += numbers
        (masks if is_mask else biases).append(term)
        hides.append(term if is_mask else None)
    for one in (*biases, *masks):
        if one.shape[2] > 1 and one.numel() > MOST_KEPT:
            raise ValueError(f"a bias of {one.numel():,} values is added to its scores, which is more than a trace keeps")
    if biases:
        out["bias"] = _width(_sum(biases), key.shape[2])
    mask = _width(_sum(masks), key.shape[2]) if masks else None
    for where, value, before, at in scores.filled:
        where = _width(axes.joined(where, at), key.shape[2])
        if mask is None:
            mask = (
                ~where
                if math.isinf(value)
                else torch.zeros(where.shape, device=where.device).masked_fill(where, torch.finfo(torch.float32).min)
            )
        elif mask.dtype == torch.bool:
            mask = mask & ~where if math.isinf(value) else torch.zeros(mask.shape, device=where.device).masked_fill(~mask, -torch.inf) + \
                torch.zeros(where.shape, device=where.device).masked_fill(where, torch.finfo(torch.float32).min)
        else:
            mask = (mask.float() + torch.zeros_like(where, dtype=torch.float32)).masked_fill(where, torch.finfo(torch.float32).min)
        for term in hides[before:]:  # finfo.min added twice is -inf, which matters in a row without visible keys
            if term is not None:
                mask = mask.masked_fill(where & (_width(term, key.shape[2]).float() + value).isneginf(), -torch.inf)
    out["mask"] = mask if mask is None else _window(mask, axes.batch)
    return out


def _parted(term):
    """Splits an additive mask [batch|1, head, query|1, key] into (mask, [bias]) if it hides the same pairs in all heads; else (term,
    [])."""
    hidden = hidden_pairs(term.detach())
    if not bool((hidden == hidden[:, :1]).all()):
        return term, []
    mask = torch.zeros(hidden[:, :1].shape, device=term.device).masked_fill(hidden[:, :1], torch.finfo(torch.float32).min)
    numbers = term.masked_fill(hidden, 0)
    return mask, [numbers] if bool(numbers.any()) else []


def _window(mask, batch):
    """Converts a mask of one query that hides only the first keys (a generation step) to a sliding window. Returns other masks
    unchanged."""
    if mask.shape[2] != 1 or mask.shape[3] == 1 or mask.requires_grad:
        return mask
    visible = mask if mask.dtype == torch.bool else ~hidden_pairs(mask)
    count = int(visible[0, 0, 0].sum())
    is_prefix = count > 0 and bool((~visible[..., : mask.shape[3] - count]).all() & visible[..., mask.shape[3] - count :].all())
    if not is_prefix or count == mask.shape[3] or (mask.dtype != torch.bool and bool(mask.masked_fill(~visible, 0).any())):
        return mask
    near = lambda b, h, q, k: q - k < count
    near.known = ("band", count - 1, None)
    return SimpleNamespace(source=MaskSource(batch, 1, mask.shape[3], mask.shape[3] - 1, 0, near, None, mask.device, torch.float32))


def _with_hidden(term, known):
    """Replaces values such as -10000, with which older models hide a pair, by finfo.min. Both make the weight exactly 0."""
    low = term.detach() <= LEAST_ADDED
    if not term.is_floating_point() or not bool(low.any()) or bool((low == hidden_pairs(term.detach())).all()):
        return term
    low &= (~low).any(-1, keepdim=True)
    norms = [known[name].detach().float().norm(dim=-1).amax() for name in ("query", "key")]
    if float(norms[0] * norms[1]) * known["scale"] > -LEAST_ADDED / 4:
        return term
    return term.float().masked_fill(low, torch.finfo(torch.float32).min)


def _sum(tensors):
    out = tensors[0]
    for one in tensors[1:]:
        out = out.float() + one.float()
    return out


def _width(x, keys):
    return x if x.shape[-1] == keys else x.expand(*x.shape[:-1], keys)


def _rest(scores, axes, known):
    """Returns the input of softmax minus the largest score of each row minus scale * q·k, as an additive mask [batch, head, query, key]."""
    whole = scores.whole
    if whole.numel() > MOST_KEPT:
        raise ValueError(
            f"its scores cannot be described ({scores.opaque}), and their {whole.numel():,} values are more than a trace keeps"
        )
    whole = axes.joined(whole.detach().float(), tuple(whole.shape[:-2]))
    largest = whole.amax(-1, keepdim=True)
    whole = whole - torch.where(largest.isfinite(), largest, torch.zeros_like(largest))
    query, key = known["query"].detach().float(), known["key"].detach().float()
    products = torch.matmul(query, key.repeat_interleave(query.shape[1] // key.shape[1], 1).transpose(2, 3)) * known["scale"]
    return torch.where(hidden_pairs(whole), torch.full_like(whole, -torch.inf), whole - products)
