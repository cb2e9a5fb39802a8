"""Detects attention that a module computes with plain tensor operations: softmax(q·k) times values, without an attention function.

Every torch function that a watched model calls is inspected here. A product of two activations may be attention scores (_scores.py). It is
followed to softmax, and the weights from softmax to the product with the values. That product is an attention call, which is checked and
kept like any other. If weights are multiplied by values but cannot be described, their module is listed in `left_out`.

Routers and classifiers are not mistaken for attention: their scores are products with parameters, and their results are not multiplied by
values.
"""

import copy
import math
import weakref

import torch

from ._calls import Call
from ._scores import Axes, Scores, described

WEIGHT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "nhead", "heads", "num_attn_heads")


class Product:
    """A product of two tensors by matmul or einsum. The result, permuted by `order`, is [*lead, row, column]."""

    def __init__(self, left, right, order=None, shape=None):
        self.left, self.right = left, right  # [*lead|1, row, inner], [*lead|1, inner, column]
        self.order, self.shape = order, shape  # permutation of the result's axes, and the shape [*lead, row, column] after it

    def result(self, out):
        """Returns the result as [*lead, row, column]."""
        return out if self.order is None else out.permute(self.order).reshape(*self.shape)

    def inverse(self, x, out):
        """Converts x [*lead, row, column] to the shape of the result `out`."""
        if self.order is None:
            return x.reshape(out.shape)
        permuted = [out.shape[axis] for axis in self.order]
        return x.reshape(permuted).permute([self.order.index(axis) for axis in range(len(self.order))])


def _letters(equation, left, right):
    """Returns (letters of the operands, letters of the result) of an einsum with two operands; None for another form."""
    if not isinstance(equation, str) or "->" not in equation:
        return None
    inputs, output = equation.replace(" ", "").split("->")
    parts = inputs.split(",")
    if len(parts) != 2:
        return None
    for at, (part, x) in enumerate(zip(parts, (left, right))):
        if "..." in part:
            more = "ABCDEFG"[: x.dim() - len(part) + 3]
            parts[at], output = part.replace("...", more), output.replace("...", more)
    if "." in output or any(len(set(part)) != len(part) for part in (*parts, output)):
        return None
    return (*parts, output)


def _arranged(x, letters, wanted):
    """Returns x with its axes in the order `wanted`; missing letters become axes of size 1."""
    there = [one for one in wanted if one in letters]
    x = x.permute([letters.index(one) for one in there])
    return x.reshape([x.shape[there.index(one)] if one in letters else 1 for one in wanted])


def _einsum(equation, left, right, row, column):
    """Returns the Product of an einsum whose result has these letters as rows and columns (several letters are joined), or None."""
    found = _letters(equation, left, right)
    if found is None:
        return None
    a, b, out = found
    inner = [one for one in a if one in b and one not in out]
    lead = [one for one in out if one not in row + column]
    if not inner or any(one in b for one in row) or any(one in a for one in column) or any(one not in a and one not in b for one in lead):
        return None
    if set(a) - set(lead) - set(row) - set(inner) or set(b) - set(lead) - set(column) - set(inner):
        return None
    left = _arranged(left, a, lead + list(row) + inner)
    right = _arranged(right, b, lead + inner + list(column))
    count = len(lead)
    left = left.reshape(*left.shape[: count + 1], -1)
    right = right.reshape(*right.shape[:count], left.shape[-1], -1)
    order = [out.index(one) for one in (*lead, *row, *column)]
    sizes = {**dict(zip(lead, [max(x, y) for x, y in zip(left.shape, right.shape)]))}
    return Product(left, right, order, [*(sizes[one] for one in lead), left.shape[-2], right.shape[-1]])


def product(name, positional, keywords):
    """Returns (left, right) for a call of matmul or bmm, else None."""
    if name in ("matmul", "bmm"):
        given = (*positional, *[keywords[one] for one in ("other", "mat2", "tensor2") if one in keywords])
        if len(given) >= 2 and all(isinstance(one, torch.Tensor) and one.dim() >= 2 for one in given[:2]):
            return given[:2]
    return None


def _operands(positional):
    """Returns (equation, left, right) for a call of torch.einsum; None for another form."""
    if len(positional) == 2 and isinstance(positional[1], (list, tuple)):
        positional = (positional[0], *positional[1])
    if len(positional) != 3 or not all(isinstance(one, torch.Tensor) for one in positional[1:]):
        return None
    return positional


class Recorder:
    """Follows the scores and weights of a watched model. mode: the AttentionMode, which knows the running modules."""

    def __init__(self, watch, mode):
        self._watch, self._mode = watch, mode
        self._known = {}  # id: (weak reference, "scores" | "weights", Scores)
        self._edited = {}  # id of weights: (weak reference, weights of the edited layer)
        self._parameters = None
        self.claimed = 0  # number of running modules that a model family handles

    # Modules.

    def returned(self, result):
        """Called when a module has returned. Replaces returned weights of an edited layer by those after the edits."""
        if self._edited and isinstance(result, tuple):
            found = [self._edited.get(id(one)) for one in result]
            if any(found):
                several = [one if edit is None or edit[0]() is not one else edit[1] for one, edit in zip(result, found)]
                return type(result)(*several) if hasattr(result, "_fields") else tuple(several)
        return result

    def clear(self):
        """Called when a run of the model has ended."""
        self._known.clear()
        self._edited.clear()

    # Functions.

    def saw(self, function, positional, keywords, result):
        """Called after a torch function. Returns its result, or the result of an edited layer."""
        name = getattr(function, "__name__", "")
        if name in _PRODUCTS and not self.claimed:
            return self._multiplied(name, positional, keywords, result)
        if name == "softmax" and not self.claimed:
            self._softmax(positional, keywords, result)
        elif self._known:
            for at, one in enumerate(positional):
                if isinstance(one, torch.Tensor) and (known := self._get(one)) is not None:
                    if name == "__setitem__" and at == 0:
                        self._assigned(one, known)
                    elif isinstance(result, torch.Tensor):
                        self._followed(self._name(name, function), at, known, positional, keywords, result)
                    break
        return result

    @staticmethod
    def _name(name, function):
        """Returns the name of a function or of a property."""
        return getattr(getattr(function, "__self__", None), "__name__", name) if name == "__get__" else name

    def _assigned(self, x, known):
        _, kind, scores = known
        if kind == "scores":
            self._set(x, kind, scores.copy(opaque=scores.opaque or "an assignment to some pairs"))
        else:
            self._set(x, kind, scores.copy(lost=scores.lost or "some of its weights are overwritten"))

    def _get(self, x):
        found = self._known.get(id(x))
        return found if found is not None and found[0]() is x else None

    def _set(self, x, kind, scores):
        found = weakref.ref(x)
        self._known[id(x)] = (found, kind, scores)
        if kind == "weights":
            scores.same.append(found)

    def _is_parameter(self, x):
        if self._parameters is None:
            self._parameters = {
                one.untyped_storage().data_ptr() for one in self._watch._model.parameters() if type(one.data) is torch.Tensor
            } - {0}
        if isinstance(x, torch.nn.Parameter):
            return True
        try:
            return x.untyped_storage().data_ptr() in self._parameters
        except RuntimeError:  # a tensor without storage
            return False

    # Products.

    def _multiplied(self, name, positional, keywords, result):
        if not isinstance(result, torch.Tensor):
            return result
        if name == "einsum":
            return self._einsum(positional, result)
        if name == "baddbmm":
            self._baddbmm(positional, keywords, result)
            return result
        operands = product(name, positional, keywords)
        if operands is None or result.dim() < 3:
            return result
        left, right = operands
        known = self._get(left)
        if known is not None and known[1] == "weights":
            if known[2].is_swapped:
                if known[2].query is not None:
                    self._leave_out(known[2].lost or "it sums over queries instead of keys")
                return result
            return self._attended(left, known[2], Product(left, right), result)
        if known is not None and known[2].opaque in _NORMALISERS and not self._is_parameter(right):
            self._leave_out(f"its weights are computed by {known[2].opaque}, not by softmax")
            return result
        known = self._get(right)
        if known is not None and known[1] == "weights":
            if not known[2].is_swapped:
                return result
            turned = Product(right.transpose(-1, -2), left.transpose(-1, -2))
            found = self._attended(right, known[2], turned, result.transpose(-1, -2))
            return found.transpose(-1, -2) if self._watch._edits or self._watch._gradients_of else result
        if not (self._is_parameter(left) or self._is_parameter(right)):
            self._set(result, "scores", Scores(left, right.transpose(-1, -2), result.shape))
        return result

    def _baddbmm(self, positional, keywords, result):
        given = {**dict(zip(("input", "batch1", "batch2"), positional)), **keywords}
        left, right = given["batch1"], given["batch2"]
        if self._is_parameter(left) or self._is_parameter(right):
            return
        lead, beta = tuple(result.shape[:-2]), float(given.get("beta", 1))
        scores = Scores(left, right.transpose(1, 2), result.shape).scaled(given.get("alpha", 1), lead)
        self._set(result, "scores", scores.plus(given["input"], beta, lead) if beta else scores)

    def _einsum(self, positional, result):
        operands = _operands(positional)
        if operands is None:
            return result
        for at in (1, 2):
            known = self._get(operands[at])
            if known is not None and known[1] == "weights":
                return self._einsum_of_weights(operands, at, known[2], result)
        self._einsum_of_scores(operands, result)
        return result

    def _einsum_of_scores(self, operands, result):
        equation, left, right = operands
        found = _letters(equation, left, right)
        if found is None or result.dim() < 3 or self._is_parameter(left) or self._is_parameter(right):
            return
        a, b, out = found
        row, column = out[-2], out[-1]
        if column in a:
            equation, left, right = f"{b},{a}->{out}", right, left
        else:
            equation = f"{a},{b}->{out}"
        one = _einsum(equation, left, right, row, column)
        if one is not None:
            self._set(result, "scores", Scores(one.left, one.right.transpose(-1, -2), result.shape))

    def _einsum_of_weights(self, operands, at, scores, result):
        found = _letters(*operands)
        if found is None:
            return result
        weights, values, out = (found[0], found[1], found[2]) if at == 1 else (found[1], found[0], found[2])
        of_weights, of_values = (operands[1], operands[2]) if at == 1 else (operands[2], operands[1])
        if weights[-1] in out:
            return result  # the product does not sum over the keys
        column = [one for one in out if one not in weights]
        if scores.query is None and (weights[-2] in values or weights[-2] not in out):
            return result  # each token chooses experts
        one = _einsum(f"{weights},{values}->{out}", of_weights, of_values, weights[-2], "".join(column))
        if one is None or scores.is_swapped:
            self._leave_out(scores.lost or f'its weights and values are multiplied in an einsum that cannot be described ("{operands[0]}")')
            return result
        return self._attended(of_weights, scores, one, result)

    # Operations on scores and weights.

    def _followed(self, name, at, known, positional, keywords, result):
        _, kind, scores = known
        given = positional[at]
        if result.dim() < 2:
            return
        if result.numel() != given.numel():
            is_wider = result.numel() > given.numel() and tuple(result.shape[-2:]) == tuple(given.shape[-2:]) and name in _ADDS
            if is_wider and kind == "scores" and scores.shape == tuple(given.shape) and scores.opaque is None:
                scores = scores.copy(shape=tuple(result.shape))
                self._set(result, kind, self._changed(name, at, scores, positional, keywords, result))
            elif result.dim() >= 3 and (name in _CHOICES or is_wider):
                self._set(result, kind, scores.copy(lost=f"{name} selects or repeats its {kind}"))
            return
        if name in _SAME:
            if name == "dropout" and kind == "weights" and not torch.equal(result, given):
                p = keywords.get("p", positional[1] if len(positional) > 1 else 0.5)
                scores = scores.copy(dropout=float(p))
            self._set(result, kind, scores)
            return
        if name in ("transpose", "swapaxes", "permute", "mT"):
            self._set(result, kind, self._turned(name, scores, kind, given, positional, result))
        elif tuple(result.shape[-2:]) != tuple(given.shape[-2:]) and name not in _VIEWS:
            self._set(result, kind, scores.copy(lost=f"{name} is applied to its {kind}"))
        elif name in _VIEWS:
            fits = result.dim() >= 2 and tuple(result.shape[-2:]) == tuple(given.shape[-2:])
            self._set(result, kind, scores if fits else scores.copy(lost=f"{name} splits the axes of its {kind}"))
        elif kind == "scores":
            self._set(result, kind, self._changed(name, at, scores, positional, keywords, result))
        elif name in _OF_WEIGHTS and result is not given:
            self._set(result, kind, self._filled(name, scores, given, result))
        else:
            self._set(result, kind, _changed_weights(name, scores))

    @staticmethod
    def _filled(name, scores, given, result):
        """Handles weights that were partly overwritten: rows that became 0 see nothing."""
        changed = ((result - given).abs() > 1e-6).any(-1, keepdim=True)
        if not bool(changed.any()):  # only NaN of rows without visible keys, or weights that were 0 already
            return scores
        if scores.is_swapped or scores.whole is not None or bool((result.masked_fill(~changed, 0) != 0).any()):
            return _changed_weights(name, scores)
        return scores.copy(filled=[*scores.filled, (changed, -math.inf, len(scores.added), tuple(result.shape[:-2]))])

    @staticmethod
    def _turned(name, scores, kind, given, positional, result):
        count = given.dim()
        if name == "mT":
            axes = [*range(count - 2), count - 1, count - 2]
        elif name == "permute":
            axes = positional[1] if len(positional) == 2 and isinstance(positional[1], (tuple, list)) else positional[1:]
            axes = [axis % count for axis in axes]
        else:
            axes = list(range(count))
            a, b = (axis % count for axis in positional[1:3]) if len(positional) >= 3 else (0, 0)
            axes[a], axes[b] = axes[b], axes[a]
        if axes == list(range(count)):
            return scores
        if axes == [*range(count - 2), count - 1, count - 2]:
            return scores.copy(is_swapped=not scores.is_swapped) if kind == "weights" else scores.swapped()
        return scores.copy(lost=f"the axes of its {kind} are permuted")

    def _changed(self, name, at, scores, positional, keywords, result):
        """Returns the scores after an operation that keeps their shape."""
        lead = tuple(result.shape[:-2])
        other = positional[1 - at] if len(positional) > 1 and at < 2 else keywords.get("other")
        name = name.rstrip("_") if not name.startswith("__") else name
        if name in ("mul", "multiply", "imul"):
            return scores.scaled(other, lead)
        if name in ("div", "true_divide", "divide", "truediv") and at == 0:
            return scores.scaled(1 / other, lead)
        if name in ("add", "sub", "subtract") and (at == 0 or name == "add"):
            if at == 0 and isinstance(other, torch.Tensor):
                second = self._get(other)
                if second is not None and second[1] == "scores" and scores.opaque and not second[2].opaque and name == "add":
                    return second[2].plus(positional[0], 1.0, lead)
            coefficient = float(keywords.get("alpha", 1)) * (1 if name == "add" else -1)
            return scores.plus(other, coefficient, lead)
        if name == "masked_fill" and at == 0:
            given = (*positional, *[keywords[one] for one in ("mask", "value") if one in keywords])
            return scores.hidden_where(given[1], given[2], lead)
        if name == "where" and at in (1, 2) and len(positional) == 3:
            other = positional[3 - at]
            if isinstance(other, torch.Tensor) and other.numel() > 1 and bool((other == other.flatten()[0]).all()):
                other = other.flatten()[0]  # torch.full_like
            if not isinstance(other, torch.Tensor) or other.numel() == 1:
                return scores.hidden_where(~positional[0] if at == 1 else positional[0], other, lead)
        if at == 0 and torch.equal(result, positional[0]) and result is not positional[0]:
            return scores
        return scores.copy(opaque=scores.opaque or name or "an operation")

    def _softmax(self, positional, keywords, result):
        given = positional[0] if positional else keywords.get("input")
        if not isinstance(given, torch.Tensor) or given.dim() < 3:
            return
        axis = keywords.get("dim", positional[1] if len(positional) > 1 else None)
        axis = -1 if axis is None else axis - given.dim() if axis >= 0 else axis
        known = self._get(given)
        if known is None or known[1] != "scores":
            if axis in (-1, -2):
                self._set(result, "weights",
                          _unknown((result if axis == -1 else result.transpose(-1, -2)).shape).copy(is_swapped=axis == -2))
            return
        scores = known[2]
        if axis == -2:
            scores, given = scores.swapped(), given.transpose(-1, -2)
        elif axis != -1:
            scores = scores.copy(lost="its softmax is over neither queries nor keys")
        whole = given if scores.opaque else None
        if scores.opaque and tuple(given.shape[-2:]) != scores.shape[-2:]:
            scores = scores.copy(lost=f"{scores.opaque} changes its scores")
        elif scores.lost is not None and tuple(given.shape) == scores.shape and given.dim() > 2:
            scores, whole = scores.copy(lost=None, opaque=scores.lost, added=[], filled=[]), given  # these are included in `whole`
        self._set(result, "weights", scores.copy(whole=whole, is_swapped=axis == -2, same=[]))

    # Calls.

    def _leave_out(self, reason):
        module = self._mode.running[-1]
        self._watch.leave_out(self._mode.paths[id(module)] or type(module).__name__, f"it computes attention in its own code, and {reason}")

    def _attended(self, weights, scores, found, out):
        """Handles the product of weights and values, which is one attention call. Returns the product, with the edits of the layer."""
        if scores.query is None and not self._may_attend(scores, found):
            return out
        watch, lost, call = self._watch, scores.lost, None
        if lost is None:
            try:
                call, axes = self._call(scores, found)
            except (ValueError, RuntimeError) as reason:  # RuntimeError: axes that are not as expected
                lost = (
                    str(reason) if isinstance(reason, ValueError) else f"its scores have axes that are not understood ({str(reason)[:80]})"
                )
        if lost is not None and not watch._edits:
            self._leave_out(lost)
            return out
        length = call.queries if call is not None and call.queries == call.keys else None
        kept = self._mode.layer(length)
        if lost is not None:
            kept.problem = f"it computes attention in its own code, and {lost}"
            watch._edited(kept)
            return out
        streams = _Streams(call, axes, watch.text_of(kept), watch.reading.config)
        layers = [kept, *(self._mode.layer(length) for _ in range(streams.count - 1))]
        calls = [streams.call(at) for at in range(streams.count)]
        weights, whole = axes.joined(found.left, tuple(found.left.shape[:-2])), found.result(out)
        joined, edited = axes.joined(whole, tuple(whole.shape[:-2])).transpose(1, 2), []
        for at, (layer, one) in enumerate(zip(layers, calls)):
            if layer.problem is None and not call.dropout:
                layer.problem = self._difference(layer, one, streams.part(weights, at, 2))
            edited.append(watch.observe(layer, one, streams.part(joined, at, 1)))
            watch._capture_gradient(layer, edited[-1])
        is_edited = any([watch._edited(layer) for layer in layers])
        if not is_edited and watch._gradients_of is None:
            return out
        returned = found.inverse(axes.parted(streams.together(edited, 1).transpose(1, 2), whole.shape), out).to(out.dtype)
        if not is_edited:
            return returned  # the same numbers, through tensors that have gradient hooks
        shown = axes.parted(streams.together([self._mode._weights(layer, one) for layer, one in zip(layers, calls)], 2), found.left.shape)
        shown = shown.transpose(-1, -2) if scores.is_swapped else shown
        for one in scores.same:
            if (tensor := one()) is not None:
                self._edited[id(tensor)] = (one, shown.reshape(tensor.shape).to(tensor.dtype))
        return returned

    def _may_attend(self, scores, found):
        """Returns False for a softmax that is not attention: class probabilities, experts that each token chooses, streams that are mixed
        within each token (hyper-connections)."""
        weights = found.left
        if found.right.dim() < 3 or self._is_parameter(found.right) or weights.shape[-2] != scores.shape[-2]:
            return False
        return weights.dim() == 3 or weights.shape[1] == self._heads()

    def _heads(self):
        """Returns the number of heads that the running module or its parent declares; None if neither does."""
        return next(
            (
                size
                for of in self._mode.running[:-3:-1]
                for name in _HEADS
                if isinstance(size := getattr(of, name, None), int) and size > 0
            ),
            None,
        )

    def _call(self, scores, found):
        """Returns (Call, Axes) for weights that are multiplied by values. Raises ValueError with a reason."""
        shapes = [found.left.shape, scores.shape, *[(*lead, 1, 1) for *_, lead in (*scores.added, *scores.filled)]]
        axes = Axes(shapes, self._heads())
        known = described(scores, axes)
        value = axes.joined(found.right, tuple(found.left.shape[:-2]))
        value = value.expand(axes.batch, value.shape[1], -1, -1)
        kwargs = {"scaling": known["scale"], "dropout": scores.dropout, "position_bias": known["bias"], "is_causal": False}
        call = Call("eager", self._mode.running[-1], known["query"], known["key"], value, known["mask"], kwargs)
        call.lead = axes.base if axes.order[0] == 0 else call.lead
        return call, axes

    def _difference(self, kept, call, weights):
        """Compares the model's weights with those of the call for a few rows. Returns the reason if they differ, else None."""
        at = self._mode.first_row(kept, call)
        rows = sorted({0, call.queries // 2, call.queries - 1})
        with torch.no_grad():
            expected = call.of(at).weights(rows)
            found = weights[min(at, weights.shape[0] - 1) :][:1, :, rows].float()
            seen = ~expected.isnan().any(-1, keepdim=True)  # skip rows that see no key
            off = float(torch.where(seen, (found - expected).abs(), torch.zeros_like(expected)).max())
        if not off <= WEIGHT_TOLERANCE.get(weights.dtype, 3e-2):
            return f"it computes attention in its own code, and its weights differ by {off:.2g} from those computed from its scores"
        return None


class _Streams:
    """Splits a call with several streams of one text, such as the n-grams of ProphetNet.

    The streams are rows of the batch if the scores have the axes [text, stream, head, query, key]; in cross-attention, the queries of all
    streams are concatenated. Chunks of a text are not streams: they have fewer queries than the text has tokens. count: number of streams.
    """

    def __init__(self, call, axes, text, config):
        """text: the Text that the layer reads, or None."""
        self._call, self.count, self._of_queries = call, 1, False
        texts, tokens = (None, None) if text is None else (text.batch, text.count)
        if texts is None or call.batch % texts:
            return
        if axes.order[0] == 0 and axes.base[0] == texts and call.queries == tokens:
            self.count = call.batch // texts
        elif call.batch == texts and call.queries == tokens * (1 + (getattr(config, "ngram", None) or 0)):
            self.count, self._of_queries = call.queries // tokens, True

    def part(self, x, at, axis):
        """Returns one stream's part of a tensor [batch, ...]. axis: the axis of the queries."""
        if self.count == 1:
            return x
        if self._of_queries:
            return x if x.shape[axis] == 1 else x.chunk(self.count, axis)[at]
        return x if x.shape[0] == 1 else x[at :: self.count]

    def call(self, at):
        """Returns the call of one stream."""
        if self.count == 1:
            return self._call
        one, pick = copy.copy(self._call), lambda x: x if x is None else self.part(x, at, 2)
        one.query, one.mask, one.bias = pick(one.query), pick(one.mask), pick(one.bias)
        if not self._of_queries:
            one.key, one.value = pick(one.key), pick(one.value)
        one.batch, one.queries = one.query.shape[0], one.query.shape[2]
        return one

    def together(self, parts, axis):
        """The inverse of part()."""
        if self.count == 1:
            return parts[0]
        return torch.cat(parts, axis) if self._of_queries else torch.stack(parts, 1).flatten(0, 1)


def _changed_weights(name, scores):
    return scores.copy(lost=scores.lost or f"{name} is applied to its weights before they are multiplied by the values")


def _unknown(shape):
    scores = Scores(None, None, shape)
    return scores.copy(lost="the input of its softmax is not a product of queries and keys")


_PRODUCTS = frozenset(("matmul", "bmm", "einsum", "baddbmm"))
_SAME = frozenset(("to", "type", "type_as", "float", "half", "bfloat16", "double", "contiguous", "clone", "dropout", "detach", "cpu",
                   "alias", "data"))
_VIEWS = frozenset(("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "reshape_as", "view_as", "_unsafe_view"))
_ADDS = frozenset(("add", "sub", "where", "masked_fill", "mul", "div", "expand", "repeat"))
_CHOICES = frozenset(("__getitem__", "select", "index_select", "gather", "narrow", "cat", "concat"))
_OF_WEIGHTS = frozenset(("masked_fill", "nan_to_num", "where"))
_NORMALISERS = frozenset(("exp", "exp2", "sigmoid", "relu", "gumbel_softmax", "softplus", "square", "pow", "silu", "gelu"))
