"""ch.watch: any model of transformers, or of torch, keeps its kernel, and its attention becomes a Trace.

A call's q (after rotation) and k are copied, and what its mask shows is described (_calls.py). At the end the engine computes the row
statistics. Each layer is checked twice before it is shown: at the call the eager formula of a few rows, times the values, must be what
the layer returned; at the end the map's rows must be those of that formula. A layer that fails is left out, by name and with the reason.
"""

import re

import torch

from . import _beams, _interface
from ._calls import Call, float32
from ._edits import Edits, Places
from ._masks import hidden_pairs
from ._plain import Plain
from .errors import Error, InvalidArgumentError, NotFoundError, UnsupportedError

CHECKED_ROWS = 4
OUTPUT_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}


class _Layer:
    """What one attention module did in a run: its rows, call by call, without padding."""

    def __init__(self, path, family, number, is_cross):
        self.path, self.family, self.number, self.is_cross = path, family, number, is_cross
        self.q, self.k, self.norms, self.seen = [], [], [], []  # seen: (topology, terms, queries, keys) of every call
        self.samples = []  # (query, first key, weights [head, key]), in places of the trace
        self.steps, self.of_beams = [], []  # of a beam search: the step of every call; samples as (step, beam, sample)
        self.score = self.sinks = None
        self.problem = None  # why it cannot be shown
        self.wrong = None  # the formula is not what it computes, and how far off
        self.calls = self.before = 0  # calls so far; queries before the first of them
        self.place = self.values = self.d_out = None  # for gradients: (row, query begin, query end) of a lone call, its values; dy/dout

    def won(self, beams):
        """Of a beam search the calls of the beam that won. beams: which one of its text it was at each step."""
        if all(step is None for step in self.steps):
            return
        kept = [at for at, step in enumerate(self.steps) if step is None or step < len(beams)]
        if not kept or self.steps[kept[-1]] != len(beams) - 1 or beams[0] != 0:
            self.problem = "the beam that won had ended before the last step, and without a cache only the last step is kept"
            return
        of = lambda x, step: x if step is None or x.shape[0] == 1 else x[beams[step] : beams[step] + 1]  # noqa: E731
        pick = lambda several: [of(several[at], self.steps[at]) for at in kept if at < len(several)]  # noqa: E731
        self.q, self.k, self.norms = pick(self.q), pick(self.k), pick(self.norms)
        self.seen = [self.seen[at] for at in kept]
        self.samples += [sample for step, beam, sample in self.of_beams if step < len(beams) and beam == beams[step]]
        self.steps = [None] * len(kept)

    @property
    def queries(self):
        return sum(q.shape[2] for q in self.q)

    @property
    def keys(self):
        return sum(k.shape[2] for k in self.k)


def _side(model):
    """Modules whose input ids are those of a side: name -> module."""
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        sides = {"source": model.get_encoder(), "target": model.get_decoder()}
        return {name: module for name, module in sides.items() if module is not None and module is not model}
    return {"": model}


class Watch:
    """What ch.watch gives: while its `with` lasts the model is watched; afterwards it is a Trace, and its methods are a Trace's.

    left_out: [(module's path, reason)] of layers that could not be shown.
    """

    def __init__(self, model, tokenizer=None, *, sequence=0, text=None, layers=None, rows=(), tail=1024, budget=2 << 30, check=False,
                 edits=None, keep=True, name=None, gradients_of=None):
        if not isinstance(model, torch.nn.Module):
            raise InvalidArgumentError(f"watch: expected a torch.nn.Module, found {type(model).__name__}")
        self._model, self._tokenizer, self._sequence, self._text = model, tokenizer, sequence, text
        self._options = {"layers": list(layers or []), "rows": [tuple(one) for one in rows], "tail": tail, "budget": budget}
        self._gradients_of = gradients_of
        self._check, self._edits, self._keep = check, edits or Edits(), keep
        self._name = name or getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__
        self.paths = {id(module): path for path, module in model.named_modules()}
        self._is_pair = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        self._families = {}
        self._read_by = {id(module): side for side, module in _side(model).items()}
        self._is_of_transformers = any(type(one).__module__.startswith("transformers.") for one in model.modules())
        self._trace, self._checks, self._plain, self._beams, self._step = None, [], None, None, 0
        self._begin()
        self.left_out = []

    # Watching.

    def _begin(self, pixels=None):
        self._layers, self._called, self._sides, self._padding, self._pixels = {}, {}, {}, {}, pixels
        self._logits, self._probabilities = None, []
        self._front, self._before = {}, {}  # of each side: padding in front of each text [batch] and the mask's length; earlier tokens

    def __enter__(self):
        self._inside, self._beams = 0, None
        if self._is_of_transformers:
            _interface.listen(self)
        try:
            if self._is_of_transformers:
                _beams.listen(self)
            self._plain = Plain(self)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        self._stop()
        try:
            if kind is None and self._layers and (unused := self._edits.unused()):
                raise InvalidArgumentError(f"edits: {', '.join(unused)} named no layer that has run; there were {self._run_layers()}")
            if kind is None and self._keep and self._layers:
                self._trace = self._finish()
        finally:
            self._begin()

    def _stop(self):
        if self._is_of_transformers:
            _interface.forget(self)
            _beams.forget(self)
        if self._plain is not None:
            self._plain.stop()
            self._plain = None

    def reads(self, module, positional, kwargs):
        """A module is about to run: what a side reads is kept, and what the model is given to see or hear."""
        side = self._read_by.get(id(module))
        if module is self._model or side is not None:
            self._looks_at(module, positional, kwargs)
        if side is None:
            return
        self._called = {}
        kwargs = {name: one for name, one in kwargs.items() if not getattr(one, "is_meta", False)}
        ids = kwargs.get("input_ids")
        if ids is None and positional and _has_numbers(positional[0]) and not positional[0].is_floating_point():
            ids = positional[0]
        before = _cached(kwargs)
        if side != "target" and self._layers and not before:
            self._begin(self._pixels)  # another run: the last one is kept
        elif side == "target" and not before:
            self._layers = {name: layer for name, layer in self._layers.items() if self._sides_of(layer)[0] != "target"}
            self._sides.pop(side, None)
        if before is not None:
            self._before[side] = before
        if self._beams is not None and side != "source":
            given = ids if ids is not None else kwargs.get("inputs_embeds")
            self._step = self._beams.step(before or 0, given.shape[1])
        if ids is not None and ids.dim() == 2:
            rows = self._rows(ids.shape[0])
            known = self._sides.setdefault(side, [])
            if known and ids.shape[1] == 1 and self._logits is not None:
                self._probabilities.append(torch.softmax(self._logits, -1)[:, ids[rows, 0].cpu()])
            known.extend(ids[rows.start].tolist())
        self._reads_padding(side, kwargs.get("attention_mask"), before, None if ids is None else ids.shape[-1])

    def _reads_padding(self, side, mask, before, count):
        """Which tokens of each text are padding. A generation over a static cache hands masks over that are made already: its first says
        which keys nobody sees."""
        if isinstance(mask, dict):
            mask = next(iter(mask.values()), None)
        if before == 0 and count and isinstance(mask, torch.Tensor) and mask.dim() == 4:
            source = getattr(mask, "source", None)
            if source is not None:
                mask = source.padding
            else:
                mask = (mask if mask.dtype == torch.bool else ~hidden_pairs(mask)).any(2).any(1)
            mask = None if mask is None or mask.shape[1] < count else mask[:, :count]
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            self._padding[side] = mask[self._rows(mask.shape[0]).start].bool().cpu()
            self._front[side] = (mask != 0).int().argmax(1), mask.shape[1]
        elif before and count and side in self._padding:
            self._padding[side] = torch.cat([self._padding[side], torch.ones(count, dtype=torch.bool)])

    def _looks_at(self, module, positional, kwargs):
        given = dict(kwargs)
        if positional and isinstance(positional[0], torch.Tensor) and positional[0].is_floating_point():
            given.setdefault(getattr(module, "main_input_name", ""), positional[0])
        for name in ("pixel_values", "input_features", "input_values"):
            if _has_numbers(given.get(name)):
                self._pixels = (name, given[name].detach()[min(self._sequence, given[name].shape[0] - 1)].float().cpu())

    def wrote(self, module, result):
        """A module has run: the logits of what comes next are kept until it is known."""
        if self._read_by.get(id(module)) == "" and _has_numbers(logits := getattr(result, "logits", None)) and logits.dim() == 3:
            self._logits = logits[self._rows(logits.shape[0]), -1].detach().float().cpu()

    def _rows(self, batch):
        """The rows of a batch that are kept: the one of the watched text, or all beams of it."""
        if self._beams is None or batch != self._beams.batch:
            first = min(self._sequence, batch - 1)
            return slice(first, first + 1)
        first = self._beams.first_row(self._sequence)
        return slice(first, first + (self._beams.count if self._step > 0 else 1))  # all begin as the first

    def begin_beams(self, beams):
        self._beams, self._step = beams, 0

    def end_beams(self, result, returned):
        """A beam search has ended: what is kept of it is the beam that won."""
        beams, self._beams = self._beams, None
        if result is None or not self._keep:
            return
        first = beams.first_row(self._sequence)
        at = first // beams.count * returned
        won = [row - first for row in result.beam_indices[at].tolist() if row >= 0]
        for kept in self._layers.values():
            kept.won(won)
        side = "target" if self._is_pair else ""
        if not beams.has_ids:
            self._sides.pop(side, None)
        elif side in self._sides:
            self._sides[side] = result.sequences[at, : beams.prompt + len(won) - 1].tolist()
        self._probabilities = [one[min(a, len(one) - 1), b : b + 1] for one, a, b in zip(self._probabilities, won, won[1:])]

    def owns(self, module):
        return id(module) in self.paths

    def attention(self, implementation, run, module, query, key, value, mask, kwargs):
        """One call of transformers' interface. What it returns is the model's own, with edits if there are any."""
        self._inside += 1
        try:
            result = run()
        finally:
            self._inside -= 1
        kept = self._layer(self.paths[id(module)], module)
        out, *rest = result if isinstance(result, tuple) else (result,)
        if query.dim() != 4 or key.dim() != 4 or query.shape[1] % key.shape[1]:
            kept.problem = f"its queries are {list(query.shape)} and its keys {list(key.shape)}"
            self._edited(kept)
            return result
        out = self.observe(kept, Call(implementation, module, query, key, value, mask, kwargs), out)
        self._hear_gradient(kept, out)
        return (out, *rest) if isinstance(result, tuple) else out

    def _hear_gradient(self, kept, out):
        """Keeps dy/dout of the watched text, [1, head, query, d_v], when a backward pass comes by."""
        if self._gradients_of is None or kept.place is None or not out.requires_grad:
            return
        row, begin, end = kept.place

        def heard(gradient):
            kept.d_out = gradient.detach()[row : row + 1, begin:end].transpose(1, 2).float().cpu().contiguous()

        out.register_hook(heard)

    def observe(self, kept, call, out, heads=None):
        """Keeps what is needed of a call. out: [batch, query, head, d_v]; or a function (text, rows, weights times values) that says
        what is to be compared, with another one, `heads`, that computes it. Returns out, with the edits of this layer."""
        kept.problem = kept.problem or call.problem
        if call.query.is_meta:
            kept.problem = 'it ran on the device "meta", whose tensors hold no numbers'
        places = self._places(kept, call) if self._edited(kept) else None
        with torch.no_grad():
            if self._keep and kept.problem is None:
                self._take(kept, call, out, places)
            elif places is not None:
                self._compared(kept, call, self._rows(call.batch).start, out, 0, call.queries)
        kept.calls += 1
        if places is None:
            return out
        if kept.wrong is not None:
            raise UnsupportedError(f"edits: {kept.path} cannot be edited: {kept.wrong}")
        return self._edits.apply(call, heads() if heads is not None else out, kept.family, kept.number, places)

    def _edited(self, kept):
        """Whether this layer is edited. Raises UnsupportedError if it is and cannot be."""
        if not self._edits or not self._edits.touches(kept.family, kept.number):
            return False
        if kept.problem is not None and kept.wrong is None:
            raise UnsupportedError(f"edits: {kept.path} cannot be edited: {kept.problem}")
        return True

    def _places(self, kept, call):
        """Where the queries and keys of a call stand in their texts."""
        of_queries, of_keys = self._sides_of(kept)
        before = self._before.get(of_queries)
        if before is None:  # a cache that nobody told of
            before = call.last_key() + 1 - call.queries if call.keys > call.queries and not kept.is_cross else 0

        def front(side, count):
            padding, length = self._front.get(side, (None, 0))
            fits = padding is not None and len(padding) == call.batch and (length == count or (before and length <= count))
            return padding if fits and bool(padding.any()) else None

        if kept.calls == 0:
            kept.before = before
        padding = front(of_queries, before + call.queries)
        return Places.of(call, before, padding, front(of_keys, call.keys) if kept.is_cross else padding, kept.is_cross)

    def _sides_of(self, kept):
        return ("target", "source") if kept.is_cross else (self._side_of(kept.family),) * 2

    def _run_layers(self):
        counts = {}
        for layer in self._layers.values():
            counts[layer.family] = max(counts.get(layer.family, 0), layer.number)
        return ", ".join(f"{family}.L0 to L{last}" for family, last in counts.items())

    def _layer(self, path, module):
        """The layer that a call of this module is of. A module that is called again in one pass is another layer (shared weights)."""
        count = self._called.get(path, 0)
        self._called[path] = count + 1
        name = f"{path} ({count + 1})" if count else path
        if name not in self._layers:
            family, number, is_cross, siblings = self._family(path, module)
            self._layers[name] = _Layer(name, family, number + count * siblings, is_cross)
        return self._layers[name]

    def _family(self, path, module):
        """(family, layer, is cross-attention, layers alike): "enc", "dec" or "cross", or the name of a tower where there are several."""
        is_cross = _is_cross(path, module)
        pattern = re.sub(r"\d+", "#", path)
        if pattern not in self._families:
            is_decoder = "decoder" in path.lower() if self._is_pair else getattr(module, "is_causal", False)
            family = "cross" if is_cross else _tower(self._model, path) or ("dec" if is_decoder else "enc")
            others = [of for of, name in self._families.items() if name == family]
            if others:
                family = next((part for part in pattern.split(".") if part != "#" and all(part not in of.split(".") for of in others)), pattern)
                family = re.sub(r"_(model|tower|encoder)$", "", family).replace("_", "-").replace("#", "").replace(".", "-").lower()
                if family in self._families.values():
                    family += f"-{len(self._families)}"
            self._families[pattern] = family
        siblings = [other for other in (*self.paths.values(), path) if re.sub(r"\d+", "#", other) == pattern]
        numbers = [tuple(map(int, re.findall(r"\d+", other))) for other in siblings]
        varying = [at for at in range(len(numbers[0])) if len({one[at] for one in numbers}) > 1]
        own = tuple(map(int, re.findall(r"\d+", path)))
        return self._families[pattern], own[varying[0]] if len(varying) == 1 else sorted(set(numbers)).index(own), is_cross, len(set(numbers))

    def _text_range(self, side, count):
        """Tokens of a side that are no padding, as (begin, end) of `count`."""
        padding = self._padding.get(side)
        if padding is None or padding.numel() < count:
            return 0, count
        shown = padding[:count].nonzero().flatten()
        if shown.numel() == 0 or shown.numel() != int(shown[-1] - shown[0]) + 1:
            return 0, count
        return int(shown[0]), int(shown[-1]) + 1

    def _take(self, kept, call, out, places):
        """Copies what is needed of the call, without padding. places: as observe() found them, if the layer is edited."""
        rows = self._rows(call.batch)
        batch, call = call, call.of(rows.start)
        begun = kept.queries > 0
        side_of_queries, side_of_keys = self._sides_of(kept)
        q_begin, q_end = (0, call.queries) if begun else self._text_range(side_of_queries, call.queries)
        k_end = call.keys
        if not kept.is_cross and call.keys > call.queries:  # a cache may have room for keys that do not exist yet
            k_end = call.last_key() + 1
        k_begin, k_stop = self._text_range(side_of_keys, k_end) if call.is_masked else (0, k_end)
        if begun and k_stop != k_end:
            k_begin = 0
        elif not begun:
            k_end = k_stop
        if call.is_masked and not call.hides(q_begin, q_end, k_begin, k_end):
            q_begin, q_end, k_begin = 0, call.queries, 0
        first = kept.queries
        of_keys = 0 if kept.is_cross or not begun else first + q_end - q_begin - (k_end - k_begin)
        step = self._step if self._beams is not None and call.batch == self._beams.batch else None
        for row in range(rows.start, rows.stop):
            samples = self._samples(kept, batch, row, out, places, (q_begin, q_end), (k_begin, k_end), (first, of_keys))
            if kept.problem is not None:
                return
            if step is None:
                kept.samples += samples
            else:
                kept.of_beams += [(step, row - rows.start, one) for one in samples]
        topology, terms = call.described(slice(q_begin, q_end), slice(k_begin, k_end))
        if step is None and begun and not kept.is_cross and call.batch > 1 and not self._continues_keys(kept, call, k_begin, k_end - (q_end - q_begin)):
            kept.problem = "its cache was put in another order between steps; generate with num_beams=1, or watch a run of the text"
            return
        new = slice(k_end - (q_end - q_begin), k_end) if begun and not kept.is_cross else slice(k_begin, k_end)
        of = lambda x: x[rows] if x.shape[0] == batch.batch else x[:1]  # noqa: E731
        kept.q.append(float32(of(batch.query)[:, :, q_begin:q_end]).contiguous().clone())
        if not (begun and kept.is_cross):
            kept.k.append(float32(of(batch.key)[:, :, new]).contiguous().clone())
            kept.norms.append(of(batch.value)[:, :, new].detach().float().norm(dim=-1).cpu())
        kept.place = None if begun or step is not None else (rows.start, q_begin, q_end)
        if self._gradients_of is not None and kept.place is not None:
            kept.values = float32(batch.value[rows][:, :, new] if batch.value.shape[0] == batch.batch else batch.value[:1, :, new]).contiguous().clone()
        kept.steps.append(step)
        kept.seen.append((topology, terms, q_end - q_begin, k_end - k_begin))
        kept.score, kept.sinks = call.score(), call.sinks

    @staticmethod
    def _continues_keys(kept, call, begin, end):
        """True: what the cache holds before the new keys is what was kept of it."""
        known = torch.cat(kept.k, 2)
        count = min(known.shape[2], end - begin)
        return torch.equal(float32(call.key[:, :, end - count : end]), known[:, :, known.shape[2] - count :])

    def _side_of(self, family):
        return "" if not self._is_pair else "target" if family == "dec" else "source"

    def _samples(self, kept, batch, at, out, places, queries, keys, first):
        """Rows that are known, [(query, first key, weights [head, key])], with the layer's edits: of the text `at` of a call, in places of
        the trace; first: those of its first query and key."""
        rows, weights = self._compared(kept, batch, at, out, *queries)
        if not rows or kept.problem is not None:
            return []
        if places is not None:
            weights = batch.of(at).weights(rows, self._edits.hidden(kept.family, kept.number, weights.shape[1], places.at(at), rows))
        chosen = {0, len(rows) // 2, len(rows) - 1} if self._check else range(len(rows))
        return [(first[0] + rows[one] - queries[0], first[1], weights[0, :, one, slice(*keys)].cpu()) for one in chosen]

    def _compared(self, kept, batch, at, out, begin, end):
        """The eager formula for a few rows of the text `at` must give what the layer returned. Returns (rows, weights [1, head, row,
        key])."""
        call = batch.of(at)
        if call.dropout > 0 or (kept.calls & (kept.calls - 1) and not self._check):
            return [], None
        count = end - begin if self._check else min(CHECKED_ROWS, end - begin)
        rows = sorted({begin + round(i * (end - begin - 1) / max(1, count - 1)) for i in range(count)})
        weights = call.weights(rows)
        seen = ~weights.isnan().any(-1).any(1)[0]
        rows = [row for row, shown in zip(rows, seen.tolist()) if shown]
        if not rows:
            return [], None
        weights = weights[:, :, seen]
        expected = call.output(weights)
        if callable(out):
            found, expected = out(at, rows, expected) or (expected, expected)
        elif out.dim() != 4 or out.shape[1] != call.queries or out.shape[2:] != expected.shape[2:]:
            kept.problem = kept.wrong = f"it returns {list(out.shape)}; expected [batch, query, head, d_v]"
            return [], None
        else:
            found = out[at : at + 1, rows].detach().float()
        largest = max(1.0, float(found.abs().max()))
        off = float((found - expected).abs().max()) / largest
        if not off <= OUTPUT_TOLERANCE.get(call.value.dtype, 3e-2):
            kept.wrong = f"weights times values are off by {off:.2g} from what it returned, so it computes something else than is described"
            kept.problem = kept.wrong
        return rows, weights

    # Afterwards.

    def __getattr__(self, name):
        if name.startswith("_") or name == "left_out":
            raise AttributeError(name)
        if self._trace is None:
            raise NotFoundError(f"watch: no trace yet, so no {name}; it is there when the `with` has ended and the model has run in it")
        return getattr(self._trace, name)

    @property
    def trace(self):
        if self._trace is None:
            raise NotFoundError("watch: no trace yet; it is there when the `with` has ended and the model has run in it")
        return self._trace

    def _repr_html_(self):
        return None

    def _finish(self):
        from ._assemble import assemble

        trace, self.left_out, self._checks = assemble(self)
        return trace

    def verify(self):
        """Recomputes the checked rows of every layer from what is kept, by the engine, against the eager formula over what was captured.
        Returns the largest difference of a weight; raises Error if it is above 1e-5."""
        from ._assemble import WEIGHT_TOLERANCE, difference

        worst = max((difference(self.trace, *one) for one in self._checks), default=0.0)
        if worst > WEIGHT_TOLERANCE:
            raise Error(f"watch: a weight differs by {worst:.3g} from the eager formula; expected at most {WEIGHT_TOLERANCE}")
        return worst


def _has_numbers(x):
    return isinstance(x, torch.Tensor) and not x.is_meta


def _cached(kwargs):
    """Number of tokens that the cache of a call holds, None without a cache."""
    cache = kwargs.get("past_key_values", kwargs.get("cache"))
    return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else None


def _is_cross(path, module):
    name = path.lower()
    return bool(getattr(module, "is_cross_attention", False)) or any(
        mark in name for mark in ("crossattention", "cross_attn", "cross_attention", "encoder_attn", "encdecattention", "encoder_attention", "multihead_attn"))


def _tower(model, path):
    """Of a model of several kinds of input: the one whose tower a module is in, "" for the main one."""
    config = getattr(model, "config", None)
    if not any(hasattr(config, name) for name in ("vision_config", "audio_config")):
        return ""
    marks = {"vision": ("vision", "visual", "image"), "audio": ("audio", "speech"), "text": ("text_model",)}
    return next((tower for tower, words in marks.items() if any(word in path.lower() for word in words)), "")


def watch(model, tokenizer=None, *, sequence=0, text=None, layers=None, rows=(), tail=1024, budget=2 << 30, check=False, knock_out=(),
          cut=(), keep_only=(), name=None, gradients_of=None):
    """Watches a model of transformers: inside the `with` it computes with its own kernel, and afterwards its attention is a Trace.

        with ch.watch(model, tokenizer) as trace:
            model.generate(**inputs)
        trace.view()

    model: any module of transformers that calls attention through AttentionInterface, on any device, with any implementation; and of any
    other module nn.MultiheadAttention and F.scaled_dot_product_attention inside it. Its outputs are the same to the bit, unless it is
    edited. Memory: O(tokens · d) for each layer.
    tokenizer: for the text of the tokens; text: what was tokenized, if it is known. sequence: which one of a batch is kept. Of several
    runs inside the `with` the last is kept; calls over a cache that grows are one run.
    layers, rows, tail, budget: as of Trace: layers to keep (all), ranges of queries to keep if not all fit, with the last `tail`; bytes.
    check=True holds weights times values of every row against what each layer returned (else of a few rows).
    knock_out: heads whose output becomes zero, "L3.H5" or "cross.L3.H5". cut: (query begin, query end, key begin, key end), pairs that are
    hidden in all layers, or with a fifth entry "L3.H5" in one head; keep_only: these queries see only these keys. The map shows them.
    gradients_of: of what number y backward() is called inside the `with`, in words. The trace then also keeps how y changes with every
    weight, and trace.map(layer).gradients() shows it:

        with ch.watch(model, tokenizer, gradients_of="class positive") as trace:
            model(**inputs).logits[0, 1].backward()

    Raises UnsupportedError where transformers is older than 5; the trace's left_out names layers that could not be shown.
    """
    return Watch(model, tokenizer, sequence=sequence, text=text, layers=layers, rows=rows, tail=tail, budget=budget, check=check,
                 edits=Edits(knock_out, cut, keep_only), name=name, gradients_of=gradients_of)


def edits(model, *, knock_out=(), cut=(), keep_only=()):
    """The same changes of attention as watch(), without a trace: inside the `with` the model runs with them."""
    return Watch(model, edits=Edits(knock_out, cut, keep_only), keep=False)
