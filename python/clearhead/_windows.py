"""Attention in windows (Swin, the towers of Qwen-VL): joins the windows of one block to one call over all of its tokens.

Token t of window w is row and column w·n + t, where n is the size of a window. Each window is a segment that sees only itself. The biases
of the windows form one table, [window, head, query, key], which a rule indexes, so that no N × N buffer is allocated.
"""

import torch

from . import _core
from ._masks import hidden_pairs


def segments_of(windows):
    """Returns the topology in which each of the consecutive windows, given as (queries, keys), sees only itself."""
    numbers = torch.arange(len(windows), dtype=torch.int32)
    return _core.segments(*(torch.repeat_interleave(numbers, torch.tensor(sizes))[None].contiguous() for sizes in zip(*windows)))


def windowed_terms(call, rows):
    """Returns the terms of a call whose batch rows `rows` (a slice) are windows of one size. Raises ValueError with the reason if no
    description fits."""
    terms = [] if call.softcap is None else [_core.SoftCap(float(call.softcap))]
    if call.source is not None or call.band is not None:
        raise ValueError("its windows have masks that are functions of positions")
    added = None
    for one in (call.bias, call.mask):
        if one is None:
            continue
        one = one[rows] if one.shape[0] == call.batch else one[:1]
        one = torch.zeros(one.shape).masked_fill(~one.cpu(), -torch.inf) if one.dtype == torch.bool else one.detach().float().cpu()
        added = one if added is None else added + one
    if added is None or not bool(added.any()):
        return terms
    if call.queries != call.keys:
        raise ValueError(f"its windows have {call.queries} queries, {call.keys} keys and a mask or a bias; expected equal numbers")
    hidden = hidden_pairs(added)
    if bool(hidden.all(-1).any()):
        raise ValueError("a window has queries that see no key")
    size = call.keys
    table = added.masked_fill(hidden, -torch.inf).expand(-1, -1, size, size).contiguous()
    numbers = _core.table(table)

    def shifted(s, b, h, i, j):
        window = _core.floor(i / size)
        return s + numbers[window, h, i - window * size, j - _core.floor(j / size) * size]

    return [*terms, _core.rule(shifted)]
