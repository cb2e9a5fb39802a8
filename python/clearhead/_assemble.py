"""Builds the trace of a run from its captured layers: the tokens or items of each family's rows and columns, and one map per layer."""

import math

import torch

from . import _core
from ._calls import description_of
from ._items import items_of
from ._text import text_of
from ._windows import segments_of
from .errors import InvalidArgumentError

WEIGHT_TOLERANCE = 1e-5
MOST_JOINED_BIASES = 4096  # queries


def difference(trace, family, layer, samples):
    """Returns the largest difference between rows of the map and known weights, over all keys of the map and all keys of the call."""
    worst, found = 0.0, trace.map(layer, family)
    for sample in samples:
        known, first = sample.weights.numpy(), sample.first_key
        rows = found._rows(sample.query)  # [head, key]
        rows[rows != rows] = 0  # NaN: pairs that no window scored
        begin = max(0, -first)
        end = max(begin, min(known.shape[1], rows.shape[1] - first))  # the keys that are in both the call and the map
        rows[:, first + begin : first + end] -= known[:, begin:end]
        worst = max(worst, float(rows.max(initial=0)), -float(rows.min(initial=0)))
        if end - begin < known.shape[1]:
            worst = max(worst, float(known[:, :begin].max(initial=0)), float(known[:, end:].max(initial=0)))
    return worst


def _joined(layer):
    """Joins all calls of a layer to one: (q, k, description without edits). Raises ValueError with a reason."""
    first = layer.seen[0]
    topology, terms = first.topology, first.terms
    if layer.windows:
        topology = segments_of(layer.windows)
    elif len(layer.seen) > 1:
        if not layer.is_cross:
            topology = _joined_topology(layer)
        elif any(_bias(one.terms) is not None for one in layer.seen):
            raise ValueError("its steps cannot be joined into one map: they are cross-attention with a bias")
        terms = _joined_terms(layer, first.keys if layer.is_cross else layer.queries)
    description = description_of(layer.score, terms, topology, layer.sinks)
    whole = lambda parts: parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    return whole(layer.q), whole(layer.k), description


def _joined_topology(layer):
    """Returns the topology of all steps together: a causal band, or a range of keys for each query."""
    try:
        return _core.causal(_window(layer))
    except ValueError:
        ranges, read = [], layer.keys - layer.queries
        for seen in layer.seen:
            read += seen.queries
            if (of_step := seen.key_ranges()) is None:
                raise
            ranges.append(of_step + read - seen.keys)
    begin, end = (_core.table(torch.cat(ranges)[:, at].to(torch.int32).contiguous()) for at in (0, 1))
    shift = layer.keys - layer.queries  # a rule indexes queries by their position among the keys
    return _core.visible(lambda b, h, i, j: (j >= begin[i - shift]) & (j < end[i - shift]))


def _window(layer):
    """Returns the sliding window of the layer (largest number of visible keys), or None. Each call must be causal with this window."""
    first, *later = layer.seen
    topology = first.topology.to_dict()
    if set(topology) != {"band"} or topology["band"].get("offset", 0) != 0 or (first.queries > 1 and topology["band"]["ahead"] != 0):
        raise ValueError("its steps cannot be joined into one map: its mask is neither causal nor a causal sliding window")
    back = topology["band"]["back"]
    window = None if back is None else back + 1
    at = first.queries
    for seen in later:
        at += seen.queries
        topology = seen.topology.to_dict()
        if set(topology) != {"band"} or (seen.queries > 1 and topology["band"]["ahead"] != 0):
            raise ValueError("the mask of a step hides keys between visible keys")
        if seen.keys < at and window is None:
            window = seen.keys  # a cache that evicts keys outside the window
    return window


def _bias(terms):
    """Returns the position bias [1, head, query, key] among the terms, or None."""
    found = [term for term in terms if isinstance(term, torch.Tensor)]
    return found[0] if found else None


def _joined_terms(layer, count):
    first = layer.seen[0]
    if any(isinstance(term, _core.Rule) for seen in layer.seen for term in seen.terms):
        raise ValueError("its steps cannot be joined into one map: a step has fully masked rows, whose weights are uniform")
    terms = [term for term in first.terms if not isinstance(term, torch.Tensor)]
    biases = [_bias(seen.terms) for seen in layer.seen]
    if all(bias is None for bias in biases):
        return terms
    if count > MOST_JOINED_BIASES:
        raise ValueError(f"the position biases of {count} steps are not joined; to see the map, run the whole text at once")
    heads = next(bias.shape[1] for bias in biases if bias is not None)
    whole, at = torch.zeros(1, heads, count, count), 0
    for bias, seen in zip(biases, layer.seen):
        if bias is not None:
            whole[:, :, at : at + seen.queries, at + seen.queries - seen.keys : at + seen.queries] = bias
        at += seen.queries
    return [*terms, whole]


class _Sides:
    """Assigns tokens and items to the rows and columns of maps: first the tokens of each side, then items."""

    def __init__(self, watch):
        self.watch, self.text, self.ranges = watch, None, {}
        self.begins = {}  # for each side, the position of its first token
        self.items, self.known = [], {}  # items: (kind, begin, end, rows, picture), after the tokens; known: their ranges by side and count
        self._read_tokens()

    def _read_tokens(self):
        watch = self.watch
        reading, parts = watch.reading, []
        for side, read in reading.texts.items():
            ids = read.ids
            if not ids:
                continue
            begin, end = read.range(len(ids))
            counts = {count for layer in watch._layers.values() if layer.is_text for count in (layer.queries, layer.keys)}
            if end - begin not in counts and len(ids) in counts:
                begin, end = 0, len(ids)  # the layers were captured with padding
            self.begins[side] = read.start + begin
            parts.append((side, text_of(watch._tokenizer, ids[begin:end], watch._text if side in ("", "source") else None,
                                        read.prompt - self.begins[side])))
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

    def of(self, side, count, layer, axis):
        """Returns the range of `count` queries (axis 0) or keys (axis 1) of a layer: tokens of the side if the layer reads that text and
        the counts agree, else items."""
        is_text = layer.is_text and side in self.ranges
        if is_text:
            begin, end = self.ranges[side]
            if end - begin == count:
                return begin, end
        windows = tuple(window[axis] for window in layer.windows)
        is_media = not layer.is_text or side == "media" or (side == "source" and side not in self.ranges)
        medium = self.watch.reading.medium(layer) if is_media else None
        is_other = axis == 1 and layer.sees_other_windows
        key = ("media" if is_media else side, None if medium is None else medium.name, count, windows, is_other)
        if key in self.known:
            return self.known[key]
        begin = self.items[-1][2] if self.items else self.tokens
        for kind, names, rows, picture in items_of(self.watch, layer, count, windows, medium, is_other):
            at = self.items[-1][2] if self.items else self.tokens
            self.items.append((kind, at, at + len(names), rows, picture))
            self.text["ids"] += [-1] * len(names)
            self.text["special"] += [0] * len(names)
            self.text["offsets"] += [(0, 0)] * len(names)
            self.text["pieces"] += names
        self.known[key] = (begin, begin + count)
        return begin, begin + count


def _generated(watch, sides, is_part):
    """Returns [(id, piece, bytes, probability)] for the generated tokens that the model has read. A probability is NaN if the logits before
    its token are not known, for example because the model returns no logits.

    They end the text. If the families do not cover parts of the text (is_part), they are removed from it, because the trace appends them.
    """
    text, side = sides.text, watch.reading.written_side
    read = watch.reading.texts.get(side)
    if read is None or side not in sides.ranges:
        return []
    begin, end = sides.ranges[side]
    first = begin + max(0, read.prompt - sides.begins[side])
    if first == begin or first >= end or end != sides.tokens:
        return []
    whole, out, last = text["text"].encode(), [], text["offsets"][first - 1][1]
    prompt_end = last
    for at in range(first, end):
        found = read.probabilities.get(sides.begins[side] + at - begin)
        probability = math.nan if found is None else float(found.flatten()[0])
        last, start = max(last, text["offsets"][at][1]), last
        out.append((text["ids"][at], text["pieces"][at], whole[start:last], probability))
    if not is_part:
        text["text"] = whole[:prompt_end].decode()
        for name in ("ids", "offsets", "special", "pieces"):
            text[name] = text[name][:first]
    return out


def _joined_layers(watch):
    """Returns ([(layer, q, k, description)], left_out)."""
    ready, left_out = [], []
    for layer in watch._layers.values():
        try:
            if layer.problem is not None:
                raise ValueError(layer.problem)
            if not layer.q:
                raise ValueError("the forward pass did not reach it")
            ready.append((layer, *_joined(layer)))
        except ValueError as reason:
            left_out.append((layer.path, str(reason)))
    return ready, left_out


def _families(watch, sides, ready):
    """Sorts layers into families: (plans of the families, cross-attention first; [(layer, family, number, q, k, description)])."""
    families, names, taken, shown = {}, {}, set(), []
    for layer, q, k, description in ready:
        shape = (q.shape[1], k.shape[1], q.shape[3], q.shape[2], k.shape[2], tuple(layer.windows), layer.sees_other_windows)
        alike = names.setdefault(layer.family, {})  # layers with a different shape form a separate family
        name = alike.setdefault(shape, layer.family if not alike else f"{layer.family}-{len(alike) + 1}")
        if name not in families:
            sides_of = watch._sides_of(layer)
            query_range, key_range = (sides.of(side, x.shape[2], layer, axis) for axis, (side, x) in enumerate(zip(sides_of, (q, k))))
            families[name] = {
                "name": name, "layers": 0, "heads": q.shape[1], "key_heads": k.shape[1], "d_k": q.shape[3], "queries": q.shape[2],
                "keys": k.shape[2], "causal": description.to_dict()["topology"]["band"]["ahead"] == 0, "first_query": query_range[0],
                "first_key": key_range[0], "modules": {}}
        number = layer.number
        while (name, number) in taken:  # several modules with the same number in their paths
            number += 1
        taken.add((name, number))
        families[name]["layers"] = max(families[name]["layers"], number + 1)
        families[name]["modules"][number] = layer.path
        shown.append((layer, name, number, q, k, description))
    is_part = bool(sides.items) or len(sides.ranges) > 1
    for family in families.values():
        family["is_part"] = is_part
    return sorted(families.values(), key=lambda family: family["name"] != "cross"), shown


def _calls(watch, shown):
    """Yields the calls of a trace: (family, layer, q, k, description with edits, (norms of the values, norms of the projected values or
    None), (dy/dout, values) or None)."""
    for layer, name, number, q, k, description in shown:
        from_first = q.shape[2] != k.shape[2] and (layer.is_cross or layer.before == 0)
        edited = watch._edits.described(description, layer.family, layer.number, q.shape[1], q.shape[2] if from_first else None)
        gradient = None if layer.d_out is None or layer.calls != 1 else (layer.d_out, layer.values)
        yield name, number, q, k, edited, (torch.cat(layer.norms, 2), layer.output_norms), gradient


def assemble(watch):
    """Returns (trace or None, left_out, checks) for a run. left_out: [(path of the module, reason)]."""
    sides = _Sides(watch)
    ready, left_out = _joined_layers(watch)
    if not ready:
        return None, left_out, []
    plan, shown = _families(watch, sides, ready)
    watch.names_of_calls = {(name, number): (layer.family, layer.number) for layer, name, number, *_ in shown}
    watch.trace_positions = {side: begin - sides.begins[side] for side, (begin, _) in sides.ranges.items()}
    text = sides.text
    text["items"] = sides.items
    generated = _generated(watch, sides, plan[0]["is_part"])
    options, answer = watch._options, watch._gradients_of
    if answer is not None and all(layer.d_out is None for layer, *_ in shown):
        raise InvalidArgumentError("watch: gradients_of was given, but no gradient reached a layer; run the model once and call "
                                   "backward(), both inside the `with`")
    trace = _core._trace_of_calls(watch._name, text, plan, _calls(watch, shown), generated, options["budget"], options["tail"],
                                  options["rows"], options["layers"], answer or "")
    checks, wrong = [], []
    for layer, name, number, *_ in shown:
        if options["layers"] and number not in options["layers"]:
            continue
        samples = [one for one in layer.samples if trace.map(number, name).has_row(one.query)]
        check = (name, number, samples)
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

