"""Interventions on a watched model: heads that are knocked out, and pairs of queries and keys that are hidden."""

import re

import torch

from . import _core
from .errors import InvalidArgumentError

MOST_AT_ONCE = 1 << 22  # largest number of scores that the eager formula computes at once


def _is_head(given):
    return isinstance(given, str) or (isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, int) for one in given))


class Edits:
    """The edits of one watch.

    knock_out: heads as "L3.H5", "cross.L3.H5" or (3, 5). cut, keep_only: (query begin, query end, key begin, key end), for all layers and
    heads; or with a fifth entry for one head, (10, 20, 3, 5, "L3.H5"), or for all heads of one layer, "L3".
    """

    def __init__(self, knock_out=(), cut=(), keep_only=()):
        self.heads = [self._head(one) for one in ([knock_out] if _is_head(knock_out) else knock_out)]
        self.cuts = [self._pairs(one, "cut") for one in cut]
        self.keep_only = [self._pairs(one, "keep_only") for one in keep_only]
        self._used = set()

    def __bool__(self):
        return bool(self.heads or self.cuts or self.keep_only)

    @staticmethod
    def _named(name, what):
        found = re.fullmatch(r"(?:([a-z][\w-]*)\.)?L(\d+)(?:\.H(\d+))?", str(name))
        if not found:
            raise InvalidArgumentError(f'{what}: "{name}"; expected a head as "L3.H5", or "cross.L3.H5" of one family')
        return found[1] or "", int(found[2]), None if found[3] is None else int(found[3])

    def _head(self, one):
        if isinstance(one, tuple):
            return int(one[0]), int(one[1]), ""
        family, layer, head = self._named(one, "knock_out")
        if head is None:
            raise InvalidArgumentError(f'knock_out: "{one}" names no head; expected "L{layer}.H0"')
        return layer, head, family

    def _pairs(self, one, what):
        one = tuple(one)
        if len(one) not in (4, 5) or any(isinstance(x, str) for x in one[:4]):
            raise InvalidArgumentError(f'{what}: {one}; expected (query begin, query end, key begin, key end), then at most a head as '
                                       '"L3.H5"')
        family, layer, head = self._named(one[4], what) if len(one) == 5 else ("", None, None)
        if not (0 <= one[0] < one[1] and 0 <= one[2] < one[3]):
            raise InvalidArgumentError(f"{what}: {one[:4]}; expected queries and keys [begin, end) that are not empty")
        return (*map(int, one[:4]), layer, head, family)

    def of(self, family, layer):
        """Returns (heads knocked out, cuts, keep_only) of one layer."""
        heads = [head for at, head, of in self.heads if at == layer and of in ("", family)]
        chosen = [[one for one in pairs if one[4] in (None, layer) and one[6] in ("", family)] for pairs in (self.cuts, self.keep_only)]
        return heads, *chosen

    def touches(self, family, layer):
        """Returns whether this layer is edited. Edits that never touch a layer are reported by unused()."""
        found = self.of(family, layer)
        self._used.update(found[0] and [("knock_out", one) for one in self.heads if one[0] == layer and one[2] in ("", family)])
        self._used.update((what, one) for what, pairs in (("cut", found[1]), ("keep_only", found[2])) for one in pairs)
        return any(found)

    def unused(self):
        """Returns descriptions of the edits that named no layer that has run."""
        known = [("knock_out", one) for one in self.heads] + [("cut", one) for one in self.cuts]
        known += [("keep_only", one) for one in self.keep_only]
        name = lambda what, one: (one[2], one[0], one[1]) if what == "knock_out" else (one[6], one[4], one[5])
        parts = [(what, *name(what, one)) for what, one in known if (what, one) not in self._used]
        return [f"{what} of "
                f"{of + '.' if of else ''}{'L' + str(layer) if layer is not None else 'all layers'}{'' if head is None else f'.H{head}'}"
                for what, of, layer, head in parts]

    def described(self, description, family, layer, heads, queries):
        """Returns the description with the edits of this layer. queries: their number if query 0 has position 0; None if the last query is
        aligned with the last key."""
        if not any(self.of(family, layer)):
            return description
        return _core._edited(description, self.heads, self.cuts, self.keep_only, layer, heads, family, queries)

    def hidden(self, family, layer, heads, places, rows):
        """Returns the pairs that the edits of this layer hide in these rows of a call: bool [batch|1, head|1, row, key]; None for no
        pair."""
        _, cuts, keep = self.of(family, layer)
        query, key = places.queries[:, rows], places.keys
        out = None
        for pairs, outside in ((cuts, False), (keep, True)):
            for begin, end, key_begin, key_end, _, head, _ in pairs:
                these = (query >= begin) & (query < end)
                if not bool(these.any()):
                    continue
                inside = (key >= key_begin) & (key < key_end)
                pair = (these[:, :, None] & (~inside if outside else inside)[:, None, :])[:, None]
                if head is not None:
                    pair = pair & (torch.arange(heads, device=pair.device) == head)[:, None, None]
                out = pair if out is None else out | pair
        return out

    def apply(self, call, out, family, layer, places):
        """Returns the output of the layer with its edits. out: [batch, query, head, d_v]."""
        heads, cuts, keep = self.of(family, layer)
        count = out.shape[2]
        for head in heads + [one[5] for one in cuts + keep if one[5] is not None]:
            if head >= count:
                raise InvalidArgumentError(f"edits: layer {layer} has no head {head}; its heads are 0 to {count - 1}")
        changed = torch.zeros_like(places.queries[0], dtype=torch.bool)
        for one in cuts + keep:
            changed |= ((places.queries >= one[0]) & (places.queries < one[1])).any(0)
        out = out.clone()
        changed = changed.nonzero().flatten()
        for rows in changed.split(max(1, MOST_AT_ONCE // call.row_size())) if len(changed) else ():
            weights = call.weights(rows.tolist(), self.hidden(family, layer, count, places, rows))
            weights = torch.nn.functional.dropout(weights, call.dropout, call.dropout > 0)
            out[:, rows] = call.output(weights).to(out.dtype)
        if heads:
            out[:, :, heads] = 0
        return out


class Places:
    """Positions of a call's queries and keys in their texts, without the left padding.

    queries: int64 [batch|1, query]; keys: int64 [batch|1, key]; padding has negative positions.
    """

    def __init__(self, queries, keys):
        self.queries, self.keys = queries, keys

    @classmethod
    def of(cls, call, before, padding_of_queries, padding_of_keys, is_cross):
        """Returns the positions for a call. before: number of queries of earlier steps. padding_of_queries, padding_of_keys: int64
        [batch], left padding of each text, or None."""
        device = call.query.device
        queries = torch.arange(call.queries, device=device)[None] + before
        keys = torch.arange(call.keys, device=device)[None]
        if before and not is_cross:  # a cache may have evicted its first keys, or have free slots
            keys = keys + before + call.queries - 1 - (call.last_visible_key() if call.keys > call.queries else call.keys - 1)
        less = lambda places, padding: places if padding is None else places - padding.to(device)[:, None]
        return cls(less(queries, padding_of_queries), less(keys, padding_of_keys))

    def at(self, sequence):
        """Returns the positions of one sequence."""
        return Places(*(one[min(sequence, one.shape[0] - 1) :][:1] for one in (self.queries, self.keys)))
