"""Edits of a watch that differ between the sequences of a batch, so that one run measures many of them."""

import torch

from .. import _core
from .._attend import attend
from .._calls import description_of, float32
from .._edits import MOST_AT_ONCE


class _BatchEdits:
    """The part of the interface of Edits that these edits share."""

    def __bool__(self):
        return True

    def unused(self):
        return []

    def of(self, *_):
        return [], [], []

    def described(self, description, *_):
        return description

    def hidden(self, *_):
        return None


class ZeroedValues(_BatchEdits):
    """In one layer, the value of one key is zero in each sequence; the weights stay as they are.

    keys: one for each sequence; -1 for a sequence without an edit. Every sequence has the same input. Costs all weights of the layer.
    """

    def __init__(self, family, layer, keys):
        self._site, self._keys = (family, layer), keys

    def touches(self, family, layer):
        return (family, layer) == self._site

    def apply(self, call, out, family, layer, places):
        """Returns the output of the layer without these values. out: [sequence, query, head, d_v]."""
        one, edited = call.of(0), [(at, (places.keys[0] == key).nonzero().item()) for at, key in enumerate(self._keys) if key >= 0]
        sequences, keys = ([pair[at] for pair in edited] for at in (0, 1))
        values = one.value[0].float().repeat_interleave(out.shape[2] // one.value.shape[1], 0)[:, keys]  # [head, edit, d_v]
        rows = torch.arange(call.queries).split(max(1, MOST_AT_ONCE // one.row_size()))
        columns = torch.cat([one.weights(some.tolist())[0][..., keys] for some in rows], 1)  # [head, query, edit]
        out = out.clone()
        out[sequences] -= torch.einsum("hqe,hed->eqhd", columns, values).to(out.dtype)
        return out


class HiddenKeys(_BatchEdits):
    """No token attends to some keys in some layers; the rest of each row is renormalised.

    Attention without these keys is computed by the fused kernel, in O(tokens * d) memory. by_layer: {(family, layer): bool [sequence,
    key]}, True for hidden keys, with the names that the watch gives to calls.
    """

    def __init__(self, by_layer):
        self._by_layer, self._used = by_layer, set()

    def touches(self, family, layer):
        self._used.add((family, layer))
        return (family, layer) in self._by_layer

    def unused(self):
        return [f"hidden keys of {family}, layer {layer}" for family, layer in self._by_layer if (family, layer) not in self._used]

    def _of_call(self, family, layer, places):
        """Returns the hidden keys of a call as bool [sequence, key], True for hidden."""
        hidden = self._by_layer[family, layer]
        keys = places.keys.expand(hidden.shape[0], -1).cpu()
        return hidden.gather(1, keys.clamp(0, hidden.shape[1] - 1)) & (keys >= 0) & (keys < hidden.shape[1])

    def hidden(self, family, layer, heads, places, rows):
        return self._of_call(family, layer, places)[:, None, None].expand(-1, 1, len(rows), -1).to(places.keys.device)

    def apply(self, call, out, family, layer, places):
        """Returns the output of a layer without the hidden keys. out: [sequence, query, head, d_v]."""
        hidden, out = self._of_call(family, layer, places), out.clone()
        for at in range(out.shape[0]):
            if bool(hidden[at].any()):
                out[at] = _without(call.of(at), hidden[at]).to(out.dtype).to(out.device)
        return out


def _without(call, hidden):
    """The output of a call of one sequence without some keys: f32 [query, head, d_v]. Rows that see no key are 0."""
    topology, terms = call.described(slice(None), slice(None))
    q, k, v = (float32(one).contiguous() for one in (call.query, call.key, call.value))
    if "mask" in topology.to_dict():  # a topology has at most one mask
        terms = [*terms, torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)[None, None, None]]
    else:
        topology = topology & _core.mask((~hidden)[None, None, None].contiguous())
    return attend(q, k, v, description_of(call.score(), terms, topology, call.sinks))[0][0].transpose(0, 1)
