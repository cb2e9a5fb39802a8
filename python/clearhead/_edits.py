"""Heads knocked out, and pairs of queries and keys cut, as a caller names them."""

import re

from . import _core
from .errors import InvalidArgumentError


class Edits:
    """knock_out: heads as "L3.H5", "cross.L3.H5" or (3, 5). cut, keep_only: (query begin, query end, key begin, key end), for all layers
    and heads, or with a head's name as the fifth number: (10, 20, 3, 5, "L3.H5"), ("L3" for all heads of a layer)."""

    def __init__(self, knock_out=(), cut=(), keep_only=()):
        self.heads = [self._head(one) for one in ([knock_out] if isinstance(knock_out, (str, tuple)) and knock_out else knock_out)]
        self.cuts = [self._pairs(one, "cut") for one in cut]
        self.keep_only = [self._pairs(one, "keep_only") for one in keep_only]

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
            raise InvalidArgumentError(f'{what}: {one}; expected (query begin, query end, key begin, key end), then at most a head as "L3.H5"')
        family, layer, head = self._named(one[4], what) if len(one) == 5 else ("", None, None)
        if not (0 <= one[0] < one[1] and 0 <= one[2] < one[3]):
            raise InvalidArgumentError(f"{what}: {one[:4]}; expected queries and keys [begin, end) that are not empty")
        return (*map(int, one[:4]), layer, head, family)

    def of(self, family, layer):
        """(heads knocked out, cuts, keep_only) of one layer."""
        heads = [head for at, head, of in self.heads if at == layer and of in ("", family)]
        chosen = [[one for one in pairs if one[4] in (None, layer) and one[6] in ("", family)] for pairs in (self.cuts, self.keep_only)]
        return heads, *chosen

    def described(self, description, family, layer, heads):
        """The description with the edits of this layer."""
        if not any(self.of(family, layer)):
            return description
        return _core._edited(description, self.heads, self.cuts, self.keep_only, layer, heads, family)

    def apply(self, call, out, family, layer, first):
        """What the layer returns with its edits: out [batch, query, head, d_v]; first: the place of query 0 in its sequence."""
        import torch

        heads, cuts, keep = self.of(family, layer)
        if not (heads or cuts or keep):
            return out
        count = out.shape[2]
        for head in heads + [one[5] for one in cuts + keep if one[5] is not None]:
            if head >= count:
                raise InvalidArgumentError(f"edits: head {head} of layer {layer}; it has {count}")
        out = out.clone()
        hidden = {}
        for pairs, outside in ((cuts, False), (keep, True)):
            for begin, end, key_begin, key_end, _, head, _ in pairs:
                for row in range(max(begin, first), min(end, first + call.queries)):
                    hide = hidden.setdefault(row - first, torch.zeros(count, call.keys, dtype=torch.bool))
                    of = hide if head is None else hide[head : head + 1]
                    if outside:
                        of[:, :key_begin] = True
                        of[:, key_end:] = True
                    else:
                        of[:, key_begin:key_end] = True
        if hidden:
            rows = sorted(hidden)
            weights = call.weights(rows, torch.stack([hidden[row] for row in rows], 1))
            out[:, rows] = call.output(torch.nan_to_num(weights)).to(out.dtype)
        for head in heads:
            out[:, :, head] = 0
        return out
