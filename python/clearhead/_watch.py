"""ch.watch: any model of transformers, or of torch, keeps its kernel, and its attention becomes a Trace.

A call's q (after rotation) and k are copied, and what its mask shows is described (_calls.py). At the end the engine computes the row
statistics. Each layer is checked twice before it is shown: at the call the eager formula of a few rows, times the values, must be what
the layer returned; at the end the map's rows must be those of that formula. A layer that fails is left out, by name and with the reason.
"""

import re

import torch

from . import _interface
from ._calls import Call, Masks, float32
from ._edits import Edits
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
        self.score = self.sinks = self.problem = None

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
                 edits=None, keep=True, name=None):
        if not isinstance(model, torch.nn.Module):
            raise InvalidArgumentError(f"watch: expected a torch.nn.Module, found {type(model).__name__}")
        self._model, self._tokenizer, self._sequence, self._text = model, tokenizer, sequence, text
        self._options = {"layers": list(layers or []), "rows": [tuple(one) for one in rows], "tail": tail, "budget": budget}
        self._check, self._edits, self._keep = check, edits or Edits(), keep
        self._name = name or getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__
        self.paths = {id(module): path for path, module in model.named_modules()}
        self._is_pair = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
        self._families = {}
        self._read_by = {id(module): side for side, module in _side(model).items()}
        self._is_of_transformers = any(type(one).__module__.startswith("transformers.") for one in model.modules())
        self._trace, self._checks, self._plain = None, [], None
        self._begin()
        self.left_out = []

    # Watching.

    def _begin(self, pixels=None):
        self._layers, self._called, self._sides, self._padding, self._masks, self._pixels = {}, {}, {}, {}, Masks(), pixels
        self._logits, self._probabilities = None, []

    def __enter__(self):
        self._inside = 0
        if self._is_of_transformers:
            _interface.listen(self)
        try:
            self._plain = Plain(self)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        self._stop()
        if kind is None and self._keep and self._layers:
            self._trace = self._finish()
        self._begin()

    def _stop(self):
        if self._is_of_transformers:
            _interface.forget(self)
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
        ids = kwargs.get("input_ids")
        if ids is None and positional and isinstance(positional[0], torch.Tensor) and not positional[0].is_floating_point():
            ids = positional[0]
        if side == "" and self._sides.get("") and ids is not None and not self._continues(kwargs):
            self._begin(self._pixels)  # another run: the last one is kept
        elif side == "source" and self._sides.get("source"):
            self._begin(self._pixels)
        if ids is not None and ids.dim() == 2:
            at = min(self._sequence, ids.shape[0] - 1)
            known = self._sides.setdefault(side, [])
            if known and ids.shape[1] == 1 and self._logits is not None:
                self._probabilities.append(float(torch.softmax(self._logits, -1)[int(ids[at, 0])]))
            known.extend(ids[at].tolist())
        mask = kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            self._padding[side] = mask[min(self._sequence, mask.shape[0] - 1)].bool().cpu()

    def _looks_at(self, module, positional, kwargs):
        given = dict(kwargs)
        if positional and isinstance(positional[0], torch.Tensor) and positional[0].is_floating_point():
            given.setdefault(getattr(module, "main_input_name", ""), positional[0])
        for name in ("pixel_values", "input_features", "input_values"):
            if isinstance(given.get(name), torch.Tensor):
                self._pixels = (name, given[name].detach()[min(self._sequence, given[name].shape[0] - 1)].float().cpu())

    def wrote(self, module, result):
        """A module has run: the logits of what comes next are kept until it is known."""
        if self._read_by.get(id(module)) == "" and isinstance(logits := getattr(result, "logits", None), torch.Tensor) and logits.dim() == 3:
            self._logits = logits[min(self._sequence, logits.shape[0] - 1), -1].detach().float().cpu()

    @staticmethod
    def _continues(kwargs):
        cache = kwargs.get("past_key_values", kwargs.get("cache"))
        return cache is not None and hasattr(cache, "get_seq_length") and int(cache.get_seq_length()) > 0

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
            return result
        out = self.observe(kept, Call(implementation, module, query, key, value, mask, kwargs), out)
        return (out, *rest) if isinstance(result, tuple) else out

    def observe(self, kept, call, out):
        """Keeps what is needed of a call. out: [batch, query, head, d_v], returned with the edits of this layer; or a function (rows,
        weights times values) that says what is to be compared."""
        kept.problem = kept.problem or call.problem
        first = call.keys - call.queries if call.keys > call.queries and not kept.is_cross else 0
        if self._keep and kept.problem is None:
            with torch.no_grad():
                first = self._take(kept, call, out)
        if not self._edits:
            return out
        if call.problem is not None:
            raise UnsupportedError(f"edits: {kept.path} cannot be edited: {call.problem}")
        return self._edits.apply(call, out, kept.family, kept.number, first)

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

    def _take(self, kept, call, out):
        """Copies what is needed of the call, without padding. Returns the place of its first query."""
        sequence = min(self._sequence, call.query.shape[0] - 1)
        call = call.of(sequence)
        out = out if callable(out) else out[sequence : sequence + 1]
        begun = kept.queries > 0
        side_of_queries, side_of_keys = ("target", "source") if kept.is_cross else (self._side_of(kept.family),) * 2
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
        self._sample(kept, call, out, (q_begin, q_end), (k_begin, k_end), (first, of_keys))
        if kept.problem is not None:
            return first
        topology, terms = call.described(self._masks, slice(q_begin, q_end), slice(k_begin, k_end))
        if begun and not kept.is_cross and call.batch > 1 and not self._continues_keys(kept, call, k_begin, k_end - (q_end - q_begin)):
            kept.problem = "its cache was put in another order between steps, as beams do; generate with num_beams=1, or watch a run of the text"
            return first
        new = slice(k_end - (q_end - q_begin), k_end) if begun and not kept.is_cross else slice(k_begin, k_end)
        kept.q.append(float32(call.query[:, :, q_begin:q_end]).contiguous().clone())
        if not (begun and kept.is_cross):
            kept.k.append(float32(call.key[:, :, new]).contiguous().clone())
            kept.norms.append(call.value[:, :, new].detach().float().norm(dim=-1).cpu())
        kept.seen.append((topology, terms, q_end - q_begin, k_end - k_begin))
        kept.score, kept.sinks = call.score(), call.sinks
        return first

    @staticmethod
    def _continues_keys(kept, call, begin, end):
        """True: what the cache holds before the new keys is what was kept of it."""
        known = torch.cat(kept.k, 2)
        count = min(known.shape[2], end - begin)
        return torch.equal(float32(call.key[:, :, end - count : end]), known[:, :, known.shape[2] - count :])

    def _side_of(self, family):
        return "" if not self._is_pair else "target" if family == "dec" else "source"

    def _sample(self, kept, call, out, queries, keys, places):
        """The eager formula for a few of these rows must give what the layer returned. places: of the first query and key in the trace."""
        begin, end = queries
        steps = len(kept.q)
        if call.dropout > 0 or (steps > 0 and steps & (steps - 1) and not self._check):
            return
        count = end - begin if self._check else min(CHECKED_ROWS, end - begin)
        rows = sorted({begin + round(i * (end - begin - 1) / max(1, count - 1)) for i in range(count)})
        weights = call.weights(rows)
        seen = ~weights.isnan().any(-1).any(1)[0]
        rows = [row for row, shown in zip(rows, seen.tolist()) if shown]
        if not rows:
            return
        weights = weights[:, :, seen]
        expected = call.output(weights)
        if callable(out):
            found, expected = out(rows, expected) or (expected, expected)
        elif out.dim() != 4 or out.shape[1] != call.queries or out.shape[2:] != expected.shape[2:]:
            kept.problem = f"it returns {list(out.shape)}; expected [batch, query, head, d_v]"
            return
        else:
            found = out[:, rows].detach().float()
        largest = max(1.0, float(found.abs().max()))
        off = float((found - expected).abs().max()) / largest
        if not off <= OUTPUT_TOLERANCE.get(call.value.dtype, 3e-2):
            kept.problem = f"weights times values are off by {off:.2g} from what it returned, so it computes something else than is described"
            return
        for at in {0, len(rows) // 2, len(rows) - 1} if self._check else range(len(rows)):
            kept.samples.append((places[0] + rows[at] - begin, places[1], weights[0, :, at, slice(*keys)].cpu()))

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
          cut=(), keep_only=(), name=None):
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

    Raises UnsupportedError where transformers is older than 5; the trace's left_out names layers that could not be shown.
    """
    return Watch(model, tokenizer, sequence=sequence, text=text, layers=layers, rows=rows, tail=tail, budget=budget, check=check,
                 edits=Edits(knock_out, cut, keep_only), name=name)


def edits(model, *, knock_out=(), cut=(), keep_only=()):
    """The same changes of attention as watch(), without a trace: inside the `with` the model runs with them."""
    return Watch(model, edits=Edits(knock_out, cut, keep_only), keep=False)
