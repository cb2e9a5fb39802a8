"""ch.watch: captures the attention of a transformers or torch model as a Trace, while the model keeps its own kernel.

Each call's q (after rotation) and k are copied, and its mask is converted to a description (_calls.py). At the end the engine computes
the row statistics. Each layer passes two checks before it is shown. At the call, the eager formula is evaluated for a few rows from the
tensors and the mask that the layer received; these weights times the values must equal what the layer returned. At the end, the same
rows of the map must equal these weights, over all keys of the call. A layer that fails a check is listed in left_out with the reason.

    _modules.py           observes every call of a module of the model
    _interface.py         attention calls of transformers
    _torch_attention.py   attention functions and modules of torch
    _functions.py         functions that are replaced: flex_attention, flash_attn
    _generation.py        decoding loops of transformers
    _reading.py           the tokens that a model has read
    _batch.py             selects the rows of a batch that belong to the watched input
    _captured.py          the captured data of one layer
    _assemble.py          builds the trace
"""

import functools
import re
import threading
import warnings

import torch

from . import _batch, _core, _generation, _interface, _modules
from ._calls import Call, copied, float32, without_autocast
from ._captured import CapturedLayer, Sample, Seen
from ._edits import Edits, Places
from ._image_tokens import WithPictures
from ._reading import Reading
from ._torch_attention import AttentionMode
from ._windows import windowed_terms
from .errors import Error, InvalidArgumentError, NotFoundError, UnsupportedError

CHECKED_ROWS = 4
OUTPUT_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}


def is_recomputing():
    """Returns whether this is a forward pass inside a backward pass: gradient checkpointing recomputes its layers."""
    return torch._C._current_graph_task_id() != -1


class Watch(WithPictures):
    """Context manager that ch.watch returns. Inside the `with` block it captures attention; afterwards it forwards to its Trace.

    left_out: [(path of the module, reason)] for attention that is not in the trace.
    """

    observes_elementary_modules = False  # whether before() and after() are also called for linear layers, norms and the like

    def __init__(self, model, tokenizer=None, *, sequence=0, text=None, layers=None, rows=(), tail=1024, budget=2 << 30, check=False,
                 edits=None, keep=True, name=None, gradients_of=None, given=None):
        if not isinstance(model, torch.nn.Module):
            raise InvalidArgumentError(f"watch: expected a torch.nn.Module, found {type(model).__name__}")
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            raise InvalidArgumentError(f"watch: sequence={sequence!r}; expected a whole number; negative numbers count from the end")
        named = dict(model.named_modules())
        self.modules = list(named.values())
        self.paths = {id(module): _path_without_compilation(path) for path, module in named.items()}
        for path, module in named.items():
            if isinstance(module, torch.nn.DataParallel):
                raise UnsupportedError(f"watch: {path or 'the model'} is a torch.nn.DataParallel, which runs copies of its module in other "
                                       "threads; watch the wrapped module (.module) instead")
        self._is_compiled = any(_modules.is_compiled(module) or "_orig_mod" in module._modules for module in self.modules)
        model = model._modules.get("_orig_mod", model)  # torch.compile wraps the model
        self._model, self._tokenizer, self._text = model, tokenizer, text
        self._options = {"layers": list(layers or []), "rows": [tuple(one) for one in rows], "tail": tail, "budget": budget}
        self._gradients_of = gradients_of
        self._check, self._edits, self._keep = check, edits or Edits(), keep
        self._name = name or getattr(getattr(model, "config", None), "name_or_path", "") or type(model).__name__
        self._families = {}
        classes = {base for one in self.modules for base in type(one).__mro__}  # a model of other code may derive from PreTrainedModel
        self._is_of_transformers = any(base.__module__.startswith("transformers.") for base in classes)
        self.reading = Reading(model, tokenizer, text, sequence, given)
        self._trace, self._checks, self._mode, self._stance = None, [], None, None
        self.left_out = []
        self._clear()

    # Entering and leaving.

    def _clear(self):
        self._layers, self._unseen, self._called, self._recomputed = {}, {}, {}, {}
        self._warned, self._visual = set(), None
        self._inside = 0  # nesting depth of attention calls that are already being captured
        self._run, self._text_run, self._busy, self._missed_a_thread = 0, 0, None, False

    def __enter__(self):
        if self._mode is not None:
            raise InvalidArgumentError("watch: this watch is active already; call ch.watch(…) again for another one")
        self._clear()
        self.reading.begin()
        self.thread = threading.get_ident()
        self._mode = AttentionMode(self)
        try:
            if self._is_of_transformers:
                _interface.listen(self)
                _generation.listen(self)
            self._mode.start()
            if self._is_compiled:
                self._stance = torch.compiler.set_stance("force_eager")  # compiled code does not call modules
                self._stance.__enter__()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        self._stop()
        try:
            if kind is None:
                self._end()
        finally:
            self._clear()
            self.reading.begin()

    def _end(self):
        if self._layers and (unused := self._edits.unused()):
            raise InvalidArgumentError(f"edits: {', '.join(unused)}: no such layer has run; these have: {self._run_layers()}")
        if not self._keep:
            return
        self._trace, self.left_out, self._checks = None, [], []
        if self._missed_a_thread:
            self.leave_out("", "a second thread called it during a run, and those calls are not shown; enter a watch in each thread")
        if self._layers:
            self._finish()
        self.left_out += [one for one in self._reasons() if one not in self.left_out]
        self._warn_of(self.left_out)
        if self._trace is None and not self.left_out:
            warnings.warn(f"clearhead.watch: no trace: "
                          f"{'the model ran no attention that can be seen' if self._run else 'the model was not run'}", stacklevel=3)

    def _warn_of(self, left_out):
        """Warns once for each module whose attention is not in the trace."""
        new = [(path, reason) for path, reason in left_out if path not in self._warned]
        if not new or not self._keep:
            return
        self._warned.update(path for path, _ in new)
        shown = "; ".join(f"{path or 'the model'}: {reason}" for path, reason in new[:3])
        shown += f"; and {len(new) - 3} more" if len(new) > 3 else ""
        warnings.warn(f"clearhead.watch: not in the trace (left_out): {shown}", stacklevel=3)

    def _stop(self):
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None
        _interface.forget(self)
        _generation.forget(self)
        if self._mode is not None:
            self._mode.stop()
            self._mode = None

    def leave_out(self, path, reason):
        """Records that the attention of a module is not in the trace, and why."""
        self._unseen.setdefault(path, reason)

    def _reasons(self):
        """[(path, reason)] for attention that is not in the trace. Other attention of the same module may be in it (ConvBERT)."""
        shown = {layer.path for layer in self._layers.values() if layer.problem is None} - {path for path, _ in self.left_out}
        beside = "; its attention over queries and keys is shown"
        return [(path, reason + beside if path in shown else reason) for path, reason in self._unseen.items()]

    # Threads and runs.

    def hears(self, thread):
        """Returns whether calls of this thread are captured now. A run belongs to one thread."""
        heard = self._busy in (None, thread)
        self._missed_a_thread = self._missed_a_thread or not heard
        return heard

    def owns(self, module):
        return self._mode in _modules.hearing(module)

    def begin_generation(self, generation):
        if self.reading.generation is None:  # a nested generation drafts tokens (assisted decoding)
            self._busy = threading.get_ident()
            self.reading.generation = generation

    def end_generation(self, generation):
        if self.reading.generation is not generation:
            return
        self._busy = None
        if generation.result is not None and self._keep:
            if generation.is_beam_search:
                won = self.reading.keep_winner(generation)
                for layer in self._layers.values():
                    layer.keep_winner(won)
            else:
                self._crop(self.reading.written_side, self.reading.accepted(generation))
        self.reading.generation = None

    def before(self, module, positional, keywords, is_first):
        """Called before a module runs. is_first: the call comes from outside the model."""
        if is_recomputing():
            return
        if is_first:
            self._busy = threading.get_ident()
            self._run += 1
            self._called, self._recomputed = {}, {}
            self.reading.begins_call(module, positional, keywords)
            self.read_pictures(module.forward, positional, keywords)
        path = self.paths[id(module)]
        self._called[path] = (self._called.get(path, (0, 0))[0] + 1, 0)
        for side, position in self.reading.reads(module, path, positional, keywords):
            if position is None:
                self._begin_text(side)
            else:
                self._crop(side, position)

    def after(self, module, result, is_last):
        if is_recomputing():
            return
        path = self.paths[id(module)]
        if result is not None:
            self.reading.wrote(path, result)
        if not is_last:
            return
        if self.reading.generation is None:
            self._busy = None
        self._warn_of([*self._reasons(), *((one.path, one.problem) for one in self._layers.values() if one.problem is not None)])
        if path == "" and result is not None and not self.reading.has_read:  # a model that reads no text: keep its last run
            self._layers = {name: layer for name, layer in self._layers.items() if layer.run == self._run}
        wanted, known = self._options["layers"], {layer.number for layer in self._layers.values()}
        if result is not None and known and (missing := [one for one in wanted if one not in known]) and not self._unseen:
            raise InvalidArgumentError(f"watch: layers={wanted}: there is no layer {missing[0]}; there are {self._run_layers()}")

    def _begin_text(self, side):
        """Starts a new text: drops the layers of the previous one, and keeps towers (vision, audio) that ran after it began."""
        def stays(layer):
            if layer.run == self._run:
                return True
            if side == "target":
                return side not in self._sides_of(layer)
            return not layer.is_text and layer.run > self._text_run

        self._layers = {name: layer for name, layer in self._layers.items() if stays(layer)}
        self._text_run = self._run

    def _crop(self, side, position):
        """Drops the tokens of a side from a position on: they were rejected, or are padding."""
        tokens = self.reading.crop(side, position)
        if tokens is None:
            return
        for layer in self._layers.values():
            if layer.is_text and self._sides_of(layer)[0] == side and layer.queries > tokens:
                layer.crop(tokens)

    # Layers.

    def _layer(self, path, module, call_length=None):
        """Returns the layer that an attention call of this module belongs to.

        A module that is called again in one run is a new layer (shared weights). Several attention calls during one call of the module
        are windows of one layer if each covers a part of the module's input; otherwise each is a layer. call_length: the number of
        queries if it equals the number of keys, else None.
        """
        if is_recomputing():
            return self._recomputed_layer(path, module)
        count, calls = self._called.get(path, (1, 0))
        self._called[path] = (count, calls + 1)
        name = f"{path} ({count})" if count > 1 else path
        if calls > 0:
            first, whole = self._layers[name], self._mode.input_length(module)
            first.is_in_windows = None not in (call_length, whole) and first.queries == first.keys and first.queries + call_length <= whole
            if first.is_in_windows:
                return first
            name = f"{name}[{calls + 1}]"
        if name not in self._layers:
            family, number, is_cross, siblings = self._family(path, module)
            self._layers[name] = CapturedLayer(name, family, number + (count - 1) * siblings, is_cross)
            self._layers[name].run, self._layers[name].module = self._run, id(module)
            self._layers[name].reads_other = self._mode.reads_other(module)
            self._layers[name].tower = _tower(self._model, path)
            self._layers[name].is_text = self.reading.reads_text(path, self._layers[name].tower)
        layer = self._layers[name]
        if layer.run != self._run:
            continues = layer.is_text and self.reading.text(self._sides_of(layer)[0]).continues
            layer.run = self._run
            if not continues:
                layer.clear()
        return layer

    def _recomputed_layer(self, path, module):
        """Returns the layer whose forward pass a backward pass recomputes. For a module with several layers, the last one comes first."""
        count, _ = self._called.get(path, (1, 0))
        again = self._recomputed[path] = self._recomputed.get(path, 0) + 1
        at = max(1, count - again + 1)
        name = f"{path} ({at})" if at > 1 else path
        if name not in self._layers:
            family, number, is_cross, siblings = self._family(path, module)
            return CapturedLayer(name, family, number + (at - 1) * siblings, is_cross)
        return self._layers[name]

    def _family(self, path, module):
        """Returns (family, layer number, is cross-attention, number of layers with this path pattern). The family is "enc", "dec" or
        "cross", or the name of a tower if there are several."""
        is_cross = _is_cross(path, module)
        pattern, own = _numbered(path)
        if pattern not in self._families:
            is_decoder = "decoder" in path.lower() if self.reading.is_pair else getattr(module, "is_causal", False)
            family = "cross" if is_cross else _tower(self._model, path) or ("dec" if is_decoder else "enc")
            others = [of for of, name in self._families.items() if name == family]
            if others:
                family = next((part for part in pattern.split(".") if part != "#" and all(part not in of.split(".") for of in others)),
                              pattern)
                family = re.sub(r"_(model|tower|encoder)$", "", family).replace("_", "-").replace("#", "").replace(".", "-").lower()
                if family in self._families.values():
                    family = (
                        f"cross-{family}"
                        if is_cross and f"cross-{family}" not in self._families.values()
                        else f"{family}-{len(self._families)}"
                    )
            self._families[pattern] = family
        numbers = self._numbers_of_paths.get(pattern, [own])
        varying = [at for at in range(len(own)) if len({one[at] for one in numbers}) > 1]
        places = varying or self._places_in_lists(path)
        number = own[places[0]] if len(places) == 1 else numbers.index(own)
        return self._families[pattern], number, is_cross, len(numbers)

    @functools.cached_property
    def _numbers_of_paths(self):
        """Groups module paths that differ only in numbers: {path with # for each number: [tuple of numbers], ascending}."""
        out = {}
        for path in set(self.paths.values()):
            pattern, numbers = _numbered(path)
            out.setdefault(pattern, []).append(numbers)
        return {pattern: sorted(numbers) for pattern, numbers in out.items()}

    def _places_in_lists(self, path):
        """Returns which of the numbers in a path are indices into a list of several modules."""
        parts, out, at = path.split("."), [], 0
        for end, part in enumerate(parts):
            numbers = re.findall(r"\d+", part)
            if part.isdigit():
                above = ".".join(parts[:end])
                if sum(other.rpartition(".")[0] == above and other.rpartition(".")[2].isdigit() for other in self.paths.values()) > 1:
                    out.append(at)
            at += len(numbers)
        return out

    def _sides_of(self, layer):
        if layer.is_cross:
            return ("target", "source") if self.reading.is_pair else ("", "media")
        is_target = layer.family == "dec" or "decoder" in layer.path.lower()
        return ("" if not self.reading.is_pair else "target" if is_target else "source",) * 2

    def text_of(self, layer):
        """Returns the text that a layer's queries belong to, or None."""
        return self.reading.text(self._sides_of(layer)[0]) if layer.is_text else None

    def texts_of(self, layer):
        """Returns the number of texts in the batch of a layer's queries; None if the queries are not tokens of a text."""
        return self.text_of(layer).batch if layer.is_text else None

    def _run_layers(self):
        counts = {}
        for layer in self._layers.values():
            counts[layer.family] = max(counts.get(layer.family, 0), layer.number)
        return ", ".join(f"{family}.L0 to L{last}" if last else f"{family}.L0" for family, last in counts.items())

    # One call.

    def attention(self, implementation, run, module, query, key, value, mask, kwargs):
        """Handles one call of transformers' attention interface. Returns the function's result, with the edits of this layer."""
        self._inside += 1
        try:
            result = run()
        finally:
            self._inside -= 1
        layer = self._layer(self.paths[id(module)], module, query.shape[2] if query.shape[2] == key.shape[2] else None)
        out, *rest = result if isinstance(result, tuple) else (result,)
        if query.dim() != 4 or key.dim() != 4 or query.shape[1] % key.shape[1]:
            layer.problem = (f"its queries have shape {list(query.shape)} and its keys {list(key.shape)}; expected four axes, and a "
                             "number of query heads that is a multiple of the number of key heads")
            self._edited(layer)
            return result
        out = self.observe(layer, Call(implementation, module, query, key, value, mask, kwargs), out)
        self._capture_gradient(layer, out)
        return (out, *rest) if isinstance(result, tuple) else out

    def _capture_gradient(self, layer, out, as_heads=None):
        """Registers a hook that keeps dy/dout of the watched text, [1, head, query, d_v], during the backward pass.

        out: a tensor through which the model uses the output of the layer. as_heads: function that converts the gradient with respect to
        `out` to that of the heads' outputs, [batch, query, head, d_v]; default: `out` has this shape.
        """
        if self._gradients_of is None or layer.place is None or not out.requires_grad:
            return
        rows, begin, end = layer.place
        layer.captures_gradient = True

        def captured(gradient):
            gradient = gradient.detach()
            gradient = gradient if as_heads is None else as_heads(gradient)
            layer.d_out = merged(gradient[rows, begin:end].transpose(1, 2).float()).cpu().contiguous()

        out.register_hook(captured)

    def observe(self, layer, call, out, heads=None):
        """Captures one call. Returns out, with the edits of this layer.

        out: [batch, query, head, d_v]; or a function (text, rows, weights times values) that returns the pair of tensors to compare. In
        that case `heads` is a function that computes the output.
        """
        self._inside += 1
        try:
            return self._observed(layer, call, out, heads)
        finally:
            self._inside -= 1

    def _observed(self, layer, call, out, heads):
        again = is_recomputing()
        layer.problem = layer.problem or call.problem
        if call.query.is_meta:
            layer.problem = 'it ran on the device "meta", whose tensors hold no numbers'
        layer.problem = layer.problem or _batch.problem_of(self, layer, call)
        places = self._places(layer, call) if self._edited(layer) else None
        with torch.no_grad(), torch._C.DisableTorchFunction(), without_autocast(call.query.device.type):
            if self._keep and layer.problem is None and not again:
                self._take(layer, call, out, places)
            elif places is not None and not again:
                rows = _batch.rows_of(self, layer, call)
                if self._is_in_windows(layer, call, rows):
                    self._refuse_cuts(layer)
                self._compared(layer, call, rows.start, out, 0, call.queries)
        layer.calls += not again
        if places is None:
            return out
        if layer.wrong is not None:
            raise UnsupportedError(f"edits: {layer.path} cannot be edited: {layer.wrong}")
        out = heads() if heads is not None else out
        with without_autocast(call.query.device.type):
            return self._edits.apply(call, out, layer.family, layer.number, places)

    def _edited(self, layer):
        """Returns whether this layer is edited. Raises UnsupportedError if it should be and cannot be."""
        if not self._edits or not self._edits.touches(layer.family, layer.number):
            return False
        if layer.problem is not None and layer.wrong is None:
            raise UnsupportedError(f"edits: {layer.path} cannot be edited: {layer.problem}")
        return True

    def _places(self, layer, call):
        """Returns the positions of a call's queries and keys in their texts."""
        of_queries, of_keys = self._sides_of(layer)
        text = self.reading.text(of_queries)
        before = text.before
        if before is None:  # no cache, or a cache that is not one of transformers
            before = call.last_visible_key() + 1 - call.queries if call.keys > call.queries and not layer.is_cross else 0

        def front(side, count):
            padding, length = self.reading.text(side).front or (None, 0)
            fits = padding is not None and len(padding) == call.batch and (length == count or (before and length <= count))
            return padding if fits and bool(padding.any()) else None

        if layer.calls == 0:
            layer.before = before
        padding = front(of_queries, before + call.queries)
        return Places.of(call, before, padding, front(of_keys, call.keys) if layer.is_cross else padding, layer.is_cross)

    def _shown(self, layer, call):
        """Returns the ranges of queries and of keys to keep of a call of one text: without padding, and without the free slots of a static
        cache. If the queries see a key that would be dropped, all of the call is kept."""
        of_queries, of_keys = self._sides_of(layer)
        begun = layer.queries > 0
        q_begin, q_end = (0, call.queries) if begun else self._range(layer, of_queries, call.queries)
        k_begin, k_end = 0, call.keys
        if not layer.is_cross and call.keys > call.queries:
            k_end = call.last_visible_key() + 1
        if call.is_masked and begun and not layer.is_cross:
            text = self.reading.text(of_keys)
            dropped = text.end - k_end  # keys that a sliding-window cache has evicted
            k_begin = max(0, self._range(layer, of_keys, len(text.ids))[0] - dropped)
        elif call.is_masked:
            k_begin, k_end = self._range(layer, of_keys, k_end)
        if call.is_masked and not call.sees_only(q_begin, q_end, k_begin, k_end):
            return ((q_begin, q_end), (0, k_end)) if begun else ((0, call.queries), (0, call.keys))
        return (q_begin, q_end), (k_begin, k_end)

    def _range(self, layer, side, count):
        return self.reading.text(side).range(count) if layer.is_text else (0, count)

    def _take(self, layer, call, out, places):
        """Copies q, k and the description of a call, without padding. places: from _places() if the layer is edited, else None."""
        rows = _batch.rows_of(self, layer, call)
        if self._is_in_windows(layer, call, rows):
            self._take_windows(layer, call, rows, out)
            return
        batch, call = call, call.of(rows.start)
        begun, first = layer.queries > 0, layer.queries
        queries, keys = self._shown(layer, call)
        new_queries = queries[1] - queries[0]
        first_key = 0 if layer.is_cross or not begun else first + new_queries - (keys[1] - keys[0])
        step = self.reading.step if self._in_beam_search(batch) else None
        for row in range(rows.start, rows.stop):
            samples = self._samples(layer, batch, row, out, places, queries, (first, first_key - keys[0]))
            if layer.problem is not None:
                return
            if step is None:
                layer.samples += samples
            else:
                layer.of_beams += [(step, row - rows.start, one) for one in samples]
        topology, terms = call.described(slice(*queries), slice(*keys))
        if step is None and begun and not layer.is_cross and not self._continues(layer, call, keys[0], keys[1] - new_queries):
            return
        new = slice(keys[1] - new_queries, keys[1]) if begun and not layer.is_cross else slice(*keys)
        of = lambda x: x[rows] if x.shape[0] == batch.batch else x[:1]
        layer.q.append(copied(of(batch.query)[:, :, slice(*queries)]))
        if not (begun and layer.is_cross):
            layer.k.append(copied(of(batch.key)[:, :, new]))
            layer.norms.append(of(batch.value)[:, :, new].detach().float().norm(dim=-1).cpu())
        layer.place = None if begun or step is not None else (rows, *queries)
        if self._gradients_of is not None and layer.place is not None:
            layer.values = copied(of(batch.value)[:, :, new])
        layer.steps.append(step)
        is_step = layer.is_text and call.is_masked and self.reading.text(self._sides_of(layer)[0]).before is not None
        ranges = call.key_ranges(queries, keys) if is_step and set(topology.to_dict()) != {"band"} else None
        layer.seen.append(Seen(topology, terms, new_queries, keys[1] - keys[0], ranges))
        layer.score, layer.sinks = call.score(), call.sinks

    def _is_in_windows(self, layer, call, rows):
        return layer.is_in_windows or (rows.stop - rows.start > 1 and not self._in_beam_search(call))

    def _refuse_cuts(self, layer):
        if any(self._edits.of(layer.family, layer.number)[1:]):
            raise UnsupportedError(f"edits: {layer.path} attends in windows, in which pairs cannot be cut; heads can be knocked out")

    def _in_beam_search(self, call):
        generation = self.reading.generation
        return generation is not None and generation.is_beam_search and call.batch == generation.batch

    def _continues(self, layer, call, begin, end):
        """Returns whether a cache holds the keys that were kept of earlier steps, within its window. Sets layer.problem if not."""
        read = self.reading.text(self._sides_of(layer)[0]).end
        if layer.is_text and end - begin + call.queries > read > 0:
            layer.problem = (f"it has {end - begin + call.queries} keys after {read} tokens, some of which are from another stream, so its "
                             "decoding steps are not joined into one map")
        elif end - begin > layer.keys:
            layer.problem = (f"its cache holds {end - begin} keys, but only {layer.keys} were captured; start the watch before the "
                             "cache is filled")
        elif not layer.continues_keys(float32(call.key[:, :, begin:end]), not layer.calls & (layer.calls - 1)):
            layer.problem = (
                "its cache was changed between steps (reordered or overwritten) and no longer contains the keys that were captured"
            )
        return layer.problem is None

    def _take_windows(self, layer, call, rows, out):
        """Captures attention in windows of a picture or of another input that is not a text. The windows are rows of the batch, or several
        calls of one block. They become one call in which each window is a segment that sees only itself."""
        self._refuse_cuts(layer)
        for row in range(rows.start, rows.stop):
            at = row - rows.start
            layer.samples += self._samples(layer, call, row, out, None, (0, call.queries),
                                           (layer.queries + at * call.queries, layer.keys + at * call.keys))
        if layer.problem is not None:
            return
        of = lambda x: merged(x[rows] if x.shape[0] == call.batch else x[:1])
        begun = layer.queries > 0
        layer.q.append(copied(of(call.query)))
        layer.k.append(copied(of(call.key)))
        layer.norms.append(of(call.value.float().norm(dim=-1, keepdim=True))[..., 0].detach().cpu())
        layer.place = None if begun else (rows, 0, call.queries)
        if self._gradients_of is not None and layer.place is not None:
            layer.values = copied(of(call.value))
        try:
            terms = windowed_terms(call, rows)
        except ValueError as reason:
            layer.problem = str(reason)
            return
        if begun and (terms or layer.seen[0].terms or (layer.seen[0].topology is not None and layer.seen[0].topology != _core.full())):
            layer.problem = "the windows of a block have masks or biases of their own"
            return
        if begun and not layer.windows:
            layer.windows = [(layer.seen[0].queries, layer.seen[0].keys)]
        layer.windows += [(call.queries, call.keys)] * (rows.stop - rows.start)
        layer.steps.append(None)
        layer.seen.append(Seen(None, terms, layer.q[-1].shape[2], layer.k[-1].shape[2]))
        layer.score, layer.sinks = call.score(), call.sinks

    def _samples(self, layer, batch, at, out, places, queries, shift):
        """Returns rows with known weights, as Samples, for the text `at` of a call, with the layer's edits. shift: offsets that convert
        queries and keys of the call to those of the trace."""
        rows, weights = self._compared(layer, batch, at, out, *queries)
        if not rows or layer.problem is not None:
            return []
        if places is not None:
            weights = batch.of(at).weights(rows, self._edits.hidden(layer.family, layer.number, weights.shape[1], places.at(at), rows))
        chosen = {0, len(rows) // 2, len(rows) - 1} if self._check else range(len(rows))
        return [Sample(shift[0] + rows[one] - queries[0], shift[1], weights[0, :, one].cpu()) for one in sorted(chosen)]

    def _compared(self, layer, batch, at, out, begin, end):
        """Checks that the eager formula reproduces what the layer returned, for a few rows of the text `at`. Returns (rows, weights [1,
        head, row, key])."""
        call = batch.of(at)
        if call.dropout > 0 or (layer.calls & (layer.calls - 1) and not self._check):
            return [], None
        count = end - begin if self._check else min(CHECKED_ROWS, end - begin)
        rows = sorted({begin + round(i * (end - begin - 1) / max(1, count - 1)) for i in range(count)})
        weights = call.weights(rows)
        if bool(weights.isnan().any()):  # rows that see no key
            seen = ~weights.isnan().any(-1).any(1)[0]
            rows, weights = [row for row, shown in zip(rows, seen.tolist()) if shown], weights[:, :, seen]
            if not rows:
                return [], None
        expected = call.output(weights)
        if callable(out):
            found, expected = out(at, rows, expected) or (expected, expected)
        elif out.dim() != 4 or out.shape[1] != call.queries or out.shape[2:] != expected.shape[2:]:
            layer.problem = layer.wrong = f"it returns {list(out.shape)}; expected [batch, query, head, d_v]"
            return [], None
        else:
            found = out[at : at + 1, rows].detach().float()
        largest = max(1.0, float(found.abs().max()))
        off = float((found - expected).abs().max()) / largest
        if not off <= OUTPUT_TOLERANCE.get(call.value.dtype, 3e-2):
            layer.wrong = (
                f"weights times values differ by {off:.2g} from its output, so it computes something other than its description"
            )
            layer.problem = layer.wrong
        return rows, weights

    # After the run.

    def __getattr__(self, name):
        if name.startswith("_") or name in ("left_out", "thread"):
            raise AttributeError(name)
        return getattr(self.trace, name)

    @property
    def trace(self):
        if self._trace is None:
            why = "; ".join(f"{path or 'the model'}: {reason}" for path, reason in self.left_out[:3])
            raise NotFoundError(f"watch: no trace: {why}" if why
                                else "watch: no trace yet; it is available after the `with` block, if the model has run in it")
        return self._trace

    def __repr__(self):
        if self._trace is None:
            return f"clearhead.Watch({self._name}, {'active' if self._mode is not None else 'no trace'})"
        families = ", ".join(self.families)
        return f"clearhead.Watch({self._name}, {len(self.ids)} tokens and items, families {families}, {len(self.left_out)} left out)"

    def _repr_html_(self):
        return None

    def _finish(self):
        from ._assemble import assemble

        self._trace, self.left_out, self._checks = assemble(self)
        self._place_pictures()

    def verify(self):
        """Compares the checked rows of every layer: the engine's weights against the eager formula on the tensors that the layer received.

        Returns the largest absolute difference of a weight. Raises Error if it exceeds 1e-5.
        """
        from ._assemble import WEIGHT_TOLERANCE, difference

        worst = max((difference(self.trace, *one) for one in self._checks), default=0.0)
        if worst > WEIGHT_TOLERANCE:
            raise Error(f"watch: a weight differs by {worst:.3g} from the eager formula; expected at most {WEIGHT_TOLERANCE}")
        return worst


def merged(x):
    """Joins the windows of x [window, head, token, d]: [1, head, window * token, d]."""
    return x if x.shape[0] == 1 else x.transpose(0, 1).flatten(1, 2)[None]


@functools.lru_cache(maxsize=1 << 14)
def _numbered(path):
    """Splits a path into its pattern and its numbers: ("layer.#.attention", (3,)). Cached, since a model is watched many times."""
    return re.sub(r"\d+", "#", path), tuple(map(int, re.findall(r"\d+", path)))


def _path_without_compilation(path):
    """Removes from a module's path what torch.compile added."""
    return path if "_orig_mod" not in path else ".".join(part for part in path.split(".") if part != "_orig_mod")


def _is_cross(path, module):
    name = path.lower()
    return bool(getattr(module, "is_cross_attention", False)) or any(
        mark in name for mark in ("crossattention", "cross_attn", "cross_attention", "encoder_attn", "encdecattention", "encoder_attention",
                                  "multihead_attn"))


def _tower(model, path):
    """Returns the tower that contains a module: "vision", "audio", "text", or "" for the main stack and for models with one kind of
    input."""
    config = getattr(model, "config", None)
    if not any(hasattr(config, name) for name in ("vision_config", "audio_config")):
        return ""
    marks = {"vision": ("vision", "visual", "image"), "audio": ("audio", "speech"), "text": ("text_model",)}
    return next((tower for tower, words in marks.items() if any(word in path.lower() for word in words)), "")


def watch(model, tokenizer=None, *, sequence=0, text=None, layers=None, rows=(), tail=1024, budget=2 << 30, check=False, knock_out=(),
          cut=(), keep_only=(), name=None, gradients_of=None):
    """Captures the attention of a torch model: inside the `with` block the model runs with its own kernel; afterwards there is a Trace.

        with ch.watch(model, tokenizer) as trace:
            model.generate(**inputs)
        trace.view()

    The outputs of the model stay bit-identical unless it is edited. Memory: O(tokens * d) per layer. If the model runs several times
    inside the block, the last run is kept; calls that extend one cache count as one run.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model or any other torch module, on any device and with any attention implementation. Attention is captured if it
        is computed by the transformers interface, by functions and modules of torch, by flex_attention or flash_attn, or written out as
        the softmax of query-key products times values.
    tokenizer : optional
        The model's tokenizer or processor, to show the text of the tokens.
    sequence : int
        Index of the sequence of the batch to keep; negative values count from the end.
    text : str, optional
        The text that was tokenized. Default: decoded from the tokens.
    layers : list of int, optional
        Layers to keep. Default: all.
    rows : sequence of (begin, end)
        Queries to keep if the rows of all queries do not fit into `budget`.
    tail : int
        In that case, the last `tail` queries are kept as well.
    budget : int
        Largest size of the trace, in bytes.
    check : bool
        Compare weights times values with the layer's output for every row, not only for a few rows.
    knock_out : heads
        Heads whose output is set to zero: "L3.H5", "cross.L3.H5" or (3, 5).
    cut : sequence of (query begin, query end, key begin, key end)
        Pairs to hide, in all layers; with a fifth entry "L3.H5" only in that head, "L3" in all heads of that layer. The map shows the edit.
    keep_only : sequence of (query begin, query end, key begin, key end)
        These queries see only these keys. Fifth entry as for `cut`.
    name : str, optional
        Name of the model in the trace.
    gradients_of : str, optional
        Describes the number y on which backward() is called inside the block. The trace then also keeps dy/dP for every weight P, and
        trace.map(layer).gradients() shows it:

            with ch.watch(model, tokenizer, gradients_of="class positive") as trace:
                model(**inputs).logits[0, 1].backward()

    Returns
    -------
    Watch
        A context manager. After the block it has the methods of Trace, and `left_out`, which lists the attention that is not in the
        trace with the reason.

    Raises
    ------
    UnsupportedError
        transformers is older than version 5, or an edited layer cannot be edited.
    InvalidArgumentError
        An argument is malformed, or names a layer, head or sequence that does not exist.
    """
    return Watch(model, tokenizer, sequence=sequence, text=text, layers=layers, rows=rows, tail=tail, budget=budget, check=check,
                 edits=Edits(knock_out, cut, keep_only), name=name, gradients_of=gradients_of)


def edits(model, *, knock_out=(), cut=(), keep_only=()):
    """Edits the attention of a model without a trace: inside the `with` block the model runs with the edits.

    knock_out, cut and keep_only: as in watch(). Raises InvalidArgumentError, UnsupportedError.
    """
    return Watch(model, edits=Edits(knock_out, cut, keep_only), keep=False)
