"""The trace of a run from what its layers kept: which tokens or items each family's queries and keys are, and one map for each layer."""

import json

import numpy as np
import torch

from . import _core
from ._items import items_of
from ._text import text_of
from .errors import InvalidArgumentError

WEIGHT_TOLERANCE = 1e-5
MOST_JOINED_BIASES = 4096  # queries


def difference(trace, family, layer, samples, first_query, first_key):
    """Largest difference between the map's rows and weights that are known."""
    worst, found = 0.0, trace.map(layer, family)
    for query, key, weights in samples:
        for head in range(weights.shape[0]):
            row = found.head(head).row(query + first_query).weights[first_key + key :][: weights.shape[1]]
            worst = max(worst, float(np.abs(row - weights[head].numpy()).max()))
    return worst


def _band(topology):
    return json.loads(repr(topology))["topology"]


def _joined(layer):
    """(q, k, description without edits) of all calls of a layer as one. Raises ValueError with a reason."""
    topology, terms, queries, keys = layer.seen[0]
    if len(layer.seen) > 1:
        if not layer.is_cross:
            topology = _core.causal(_window(layer))
        elif any(_bias(of) is not None for _, of, _, _ in layer.seen):
            raise ValueError("steps of cross-attention with a bias are not joined")
        terms = _joined_terms(layer, keys if layer.is_cross else layer.queries)
    normaliser = _core.Softmax(None if layer.sinks is None else layer.sinks.detach().float().cpu().contiguous())
    terms = [_core.Bias(term) if isinstance(term, torch.Tensor) else term for term in terms]
    description = _core.Description(score=layer.score, terms=terms, topology=topology, normaliser=normaliser)
    return torch.cat(layer.q, 2), torch.cat(layer.k, 2), description


def _window(layer):
    """Number of keys that a query sees at most, or None: every call must show what is before a query, of the last so many."""
    topology, _, queries, _ = layer.seen[0]
    first = _band(topology)
    if set(first) != {"band"} or first["band"].get("offset", 0) != 0 or (queries > 1 and first["band"]["ahead"] != 0):
        raise ValueError("its mask shows something else than what is before a query, so its steps are not joined")
    window = None if first["band"]["back"] is None else first["band"]["back"] + 1
    at = queries
    for topology, _, count, seen in layer.seen[1:]:
        at += count
        if set(_band(topology)) != {"band"}:
            raise ValueError("a step's mask hides keys between those that it shows")
        if seen < at and window is None:
            window = seen  # a cache that lets go of what is outside the window
    return window


def _bias(terms):
    """The position bias [1, head, query, key] among terms, if there is one that is not zero."""
    found = [term for term in terms if isinstance(term, torch.Tensor)]
    return found[0] if found else None


def _joined_terms(layer, count):
    terms = [term for term in layer.seen[0][1] if not isinstance(term, torch.Tensor)]
    biases = [_bias(of) for _, of, _, _ in layer.seen]
    if all(bias is None for bias in biases):
        return terms
    if count > MOST_JOINED_BIASES:
        raise ValueError(f"the position biases of {count} steps are not joined; run the whole text at once to see it")
    heads = next(bias.shape[1] for bias in biases if bias is not None)
    whole, at = torch.zeros(1, heads, count, count), 0
    for bias, (_, _, queries, keys) in zip(biases, layer.seen):
        if bias is not None:
            whole[:, :, at : at + queries, at + queries - keys : at + queries] = bias
        at += queries
    return [*terms, whole]


class _Sides:
    """What the rows and columns of maps are: tokens of the sides, then items."""

    def __init__(self, watch):
        self.watch, self.text, self.ranges = watch, None, {}
        self.items, self.known = [], {}  # (kind, begin, end, rows, picture), behind the tokens; their ranges by side and count
        self._read_tokens()

    def _read_tokens(self):
        watch = self.watch
        parts = []
        for side, ids in watch._sides.items():
            begin, end = watch._text_range(side, len(ids))
            counts = {count for layer in watch._layers.values() for count in (layer.queries, layer.keys)}
            if end - begin not in counts and len(ids) in counts:
                begin, end = 0, len(ids)  # the padding could not be left away
            tokenizer = watch._tokenizer
            parts.append((side, text_of(tokenizer, ids[begin:end], watch._text if side in ("", "source") else None)))
        whole = {"text": "", "ids": [], "offsets": [], "special": [], "pieces": [], "segments": []}
        for side, part in parts:
            if whole["text"]:
                whole["text"] += "\n"
            shift, begin = len(whole["text"].encode()), len(whole["ids"])
            whole["text"] += part["text"]
            whole["offsets"] += [(a + shift, b + shift) for a, b in part["offsets"]]
            for name in ("ids", "special", "pieces"):
                whole[name] += part[name]
            self.ranges[side] = (begin, len(whole["ids"]))
            if side:
                whole["segments"].append((side, "text", begin, len(whole["ids"])))
        self.text = whole
        self.tokens = len(whole["ids"])

    def of(self, side, count, tower):
        """(begin, end) of `count` queries or keys: tokens of the side if they are as many, else items."""
        if side in self.ranges:
            begin, end = self.ranges[side]
            if end - begin == count:
                return begin, end
        if (side, count) in self.known:
            return self.known[side, count]
        begin = self.items[-1][2] if self.items else self.tokens
        for kind, names, rows, picture in items_of(self.watch, count, tower):
            at = self.items[-1][2] if self.items else self.tokens
            self.items.append((kind, at, at + len(names), rows, picture))
            self.text["ids"] += [-1] * len(names)
            self.text["special"] += [0] * len(names)
            self.text["offsets"] += [(0, 0)] * len(names)
            self.text["pieces"] += names
        self.known[side, count] = (begin, begin + count)
        return begin, begin + count


def _generated(watch, text, shown):
    """[(id, piece, bytes, probability)] of the tokens behind the prompt, which are taken off the text."""
    count = len(watch._probabilities)
    if count == 0 or any(len(layer.seen) != count + 1 for layer, *_ in shown) or count >= len(text["ids"]):
        return []
    first, whole = len(text["ids"]) - count, text["text"].encode()
    out, begin = [], text["offsets"][first - 1][1]
    prompt_end = begin
    for at in range(first, len(text["ids"])):
        end = max(begin, text["offsets"][at][1])
        out.append((text["ids"][at], text["pieces"][at], whole[begin:end], watch._probabilities[at - first]))
        begin = end
    text["text"] = whole[:prompt_end].decode()
    for name in ("ids", "offsets", "special", "pieces"):
        text[name] = text[name][:first]
    return out


def assemble(watch):
    """(trace, left out, checks) of a run."""
    left_out, ready, shown = [], [], []
    sides = _Sides(watch)
    for layer in watch._layers.values():
        try:
            if layer.problem is not None:
                raise ValueError(layer.problem)
            if not layer.q:
                raise ValueError("it was not reached")
            ready.append((layer, *_joined(layer)))
        except ValueError as reason:
            left_out.append((layer.path, str(reason)))
    if not ready:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in left_out[:3])
        raise InvalidArgumentError(f"watch: no layer can be shown: {reasons or 'the model called no attention'}")
    families, names, taken = {}, {}, set()
    for layer, q, k, description in ready:
        shape = (q.shape[1], k.shape[1], q.shape[3], q.shape[2], k.shape[2])
        alike = names.setdefault(layer.family, {})  # layers of other shapes are a family of their own
        name = alike.setdefault(shape, layer.family if not alike else f"{layer.family}-{len(alike) + 1}")
        if name not in families:
            side = watch._side_of(layer.family)
            sides_of = ("target", "source") if layer.is_cross else (side, side)
            query_range, key_range = sides.of(sides_of[0], q.shape[2], layer.path), sides.of(sides_of[1], k.shape[2], layer.path)
            families[name] = {
                "name": name, "layers": 0, "heads": q.shape[1], "key_heads": k.shape[1], "d_k": q.shape[3], "queries": q.shape[2],
                "keys": k.shape[2], "causal": _band(description)["band"]["ahead"] == 0, "first_query": query_range[0], "first_key": key_range[0]}
        number = layer.number
        while (name, number) in taken:  # several modules whose paths say the same number
            number += 1
        taken.add((name, number))
        families[name]["layers"] = max(families[name]["layers"], number + 1)
        shown.append((layer, name, number, q, k, description))
    is_part = bool(sides.items) or len(sides.ranges) > 1
    for family in families.values():
        family["is_part"] = is_part
    plan = sorted(families.values(), key=lambda family: family["name"] != "cross")
    text = sides.text
    text["items"] = sides.items
    generated = _generated(watch, text, shown) if not is_part else []

    def calls():
        for layer, name, number, q, k, description in shown:
            from_first = q.shape[2] != k.shape[2] and (layer.is_cross or layer.before == 0)
            edited = watch._edits.described(description, layer.family, layer.number, q.shape[1], q.shape[2] if from_first else None)
            gradient = None if layer.d_out is None or layer.calls != 1 else (layer.d_out, layer.values)
            yield name, number, q, k, edited, torch.cat(layer.norms, 2), gradient

    options, answer = watch._options, watch._gradients_of
    if answer is not None and all(layer.d_out is None for layer, *_ in shown):
        raise InvalidArgumentError("watch: gradients_of was given, and no gradient reached a layer; call backward() inside the `with`, of one run")
    trace = _core._trace_of_calls(watch._name, text, plan, calls(), generated, options["budget"], options["tail"], options["rows"], options["layers"], answer or "")
    checks, wrong = [], []
    for layer, name, number, *_ in shown:
        if options["layers"] and number not in options["layers"]:
            continue
        known = families[name]
        first = (known["first_query"], known["first_key"]) if is_part else (0, 0)
        samples = [one for one in layer.samples if trace.map(number, name).has_row(one[0] + first[0])]
        check = (name, number, samples, *first)
        off = difference(trace, *check)
        if off > WEIGHT_TOLERANCE:
            wrong.append((layer.path, f"its weights are off by {off:.2g} from the eager formula"))
        else:
            checks.append(check)
    if wrong:
        return _without(watch, {path for path, _ in wrong}, left_out + wrong)
    return trace, left_out, checks


def _without(watch, paths, left_out):
    for path in paths:
        watch._layers.pop(path)
    trace, more, checks = assemble(watch)
    return trace, left_out + [one for one in more if one not in left_out], checks

