"""The runs of a model that an explanation needs: attention and gradients, scaled inputs, and runs without some tokens."""

import contextlib
import re

import numpy as np
import torch

from .. import _core
from .._watch import Watch
from ..errors import InvalidArgumentError, NotFoundError, UnsupportedError
from ._blocks import BlockWatch, _first_states, block_around
from ._hidden import HiddenKeys, ZeroedValues

TOKENS_TOGETHER = 8192  # tokens in a batch of runs without some tokens


@contextlib.contextmanager
def evaluated(model):
    """Puts a model into evaluation mode, without gradients of its parameters. Afterwards it is as before."""
    training = [module for module in model.modules() if module.training]
    trainable = [one for one in model.parameters() if one.requires_grad]
    try:
        for module in training:
            module.training = False
        for one in trainable:
            one.requires_grad_(False)
        yield
    finally:
        for module in training:
            module.training = True
        for one in trainable:
            one.requires_grad_(True)


@contextlib.contextmanager
def embeddings_as_leaves(model):
    """Inside the block every embedding requires gradients. Yields the list of these tensors."""
    leaves = []

    def embedded(module, positional, out):
        if isinstance(out, torch.Tensor) and out.is_floating_point() and not out.requires_grad:
            leaves.append(out.requires_grad_(True))
            return out.clone()  # a model may change it in place
        return None

    hooks = [module.register_forward_hook(embedded) for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    try:
        yield leaves
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def scaled_inputs(blocks, scale):
    """Inside the block, the states that these modules read at their first call are multiplied by a scale, and are leaves of the graph.

    Yields {name: (states before scaling, leaf)}. blocks: {name: module}.
    """
    found = {}

    def replace(name):
        def hook(module, positional, keywords):
            states = _first_states(positional, keywords)
            if name in found or states is None or states.requires_grad:  # a stack that reads the output of another one
                return None
            leaf = (states.detach() * scale).requires_grad_(True)
            found[name] = (states.detach(), leaf)
            given = leaf.clone()  # a model may change it in place
            if positional:
                return (given, *positional[1:]), keywords
            name_of = "hidden_states" if "hidden_states" in keywords else "input"
            return positional, {**keywords, name_of: given}

        return hook

    hooks = [module.register_forward_pre_hook(replace(name), with_kwargs=True) for name, module in blocks.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def repeated(inputs, count):
    """Returns the inputs of a batch of one for a batch of `count`."""
    is_of_batch = lambda value: isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] == 1
    return {name: value.expand(count, *value.shape[1:]) if is_of_batch(value) else value for name, value in inputs.items()}


class Run:
    """Runs a model for one of its answers, inside evaluated(model).

    vocabulary: the tokenizer, also if a processor was given. trace: the attention of the run, with the gradients of y if they were
    captured. sites: the attention calls in their order, [(family, layer, side of the queries, side of the keys)].
    """

    def __init__(self, model, tokenizer, prompt, answer, budget):
        self.model, self.tokenizer, self.prompt, self.answer, self.budget = model, tokenizer, prompt, answer, budget
        self.vocabulary = getattr(tokenizer, "tokenizer", tokenizer)
        self.trace = self.sites = self.probability = self._mixed = self._zeroed = None

    def _arguments(self):
        keywords = {"budget": self.budget}
        if self.prompt.text is not None and self.answer.given != 0:
            keywords |= {"text": self.prompt.text, "given": self.answer.given}
        return keywords

    def capture(self, gradients, output_norms=None):
        """Runs the model once and keeps its attention. gradients: also run backward. output_norms: function (family, layer) -> whether the
        norms of projected values are computed."""
        watch = BlockWatch(self.model, self.tokenizer, gradients_of=self.answer.description if gradients else None, follow=output_norms,
                           finish=self._with_output_norms if output_norms else None, **self._arguments())
        leaves = embeddings_as_leaves(self.model) if gradients else contextlib.nullcontext([])
        with torch.set_grad_enabled(gradients), leaves as embedded, watch:
            inputs = self._differentiable(self.answer.inputs, embedded) if gradients else self.answer.inputs
            output = self.model(**inputs)
            if gradients:
                self._differentiate(self.answer.number(output), embedded)
            self.probability = float(self.answer.probability(output)[0])
        if watch.left_out:
            path, reason = watch.left_out[0]
            raise UnsupportedError(f"explain: the attention of {path or 'the model'} is not in the trace: {reason}")
        self.trace, self._without_gradients = watch.trace, watch.without_gradients
        self.pictures, self.pictures_reason = watch.pictures, watch.pictures_reason
        self._names_of_calls = watch.names_of_calls  # {(family, layer) in the trace: those of the watch}
        self._name_sites([(family, layer) for family, layer, _ in watch._checks])
        if self.answer.rows is None:
            self._find_rows()
        return self

    @staticmethod
    def _differentiable(inputs, leaves):
        """Inputs that are numbers, such as pictures, become leaves too."""
        out = dict(inputs)
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and "mask" not in name:
                out[name] = value.detach().clone().requires_grad_(True)
                leaves.append(out[name])
        return out

    def _differentiate(self, y, leaves):
        if not y.requires_grad or not leaves:
            raise UnsupportedError("explain: the answer has no gradient with respect to the embeddings or inputs of this model; use a "
                                   "method that needs no gradients, such as attention, rollout or occlusion")
        torch.autograd.grad(y.sum(), leaves, allow_unused=True)

    @staticmethod
    def _with_output_norms(watch):
        for layer in watch._layers.values():
            block = watch.blocks.get(layer.path)
            if block is not None and layer.problem is None:
                block.check("project")
                layer.output_norms = block.output_norms()

    # Sides of maps.

    def _name_sites(self, calls):
        """Names the sides of the maps. In an encoder-decoder they are "enc" and "dec"; otherwise each range of tokens or items is a side,
        which is named after the first family that attends within it."""
        self.families = {}
        for family, layer in calls:
            found = self.trace.map(layer, family)
            self.families.setdefault(family, (found.query_range, found.key_range))
        own = {}
        for family, (queries, keys) in self.families.items():
            if queries == keys:
                own.setdefault(keys, family)
        is_pair = set(self.families) <= {"enc", "dec", "cross"}
        if self.answer.side and not is_pair:
            raise UnsupportedError(f"explain: the attention of this encoder-decoder has the families {', '.join(self.families)}; expected "
                                   "enc, dec and cross")
        self.sites = []
        for family, layer in calls:
            queries, keys = self.families[family]
            sides = ("", "") if is_pair else (own.get(queries, ""), own.get(keys, ""))
            self.sites.append((family, layer, *sides))
        self.side = self._side_of_answer(own)

    def _side_of_answer(self, own):
        if self.answer.side == "target":
            return "dec"
        family = self.sites[-1][0]
        return own.get(self.families[family][0], family)

    def _find_rows(self):
        """Finds the rows from which the answer is read: those that its gradient reaches in the last layer."""
        for family, layer, *_ in reversed(self.sites):
            reached = self.trace.map(layer, family)._gradient_rows()
            if reached:
                queries, _ = self.families[family]
                self.side = next((name for name, (of, _) in self.families.items() if of == queries), family)
                self.answer.rows = reached
                return
        raise UnsupportedError("explain: the gradient of the answer reaches no attention layer")

    def check(self, method):
        """Raises UnsupportedError if a method cannot be computed from the captured attention."""
        if method.removes_items or method.of_inputs:
            return
        if method.needs_gradients and self._without_gradients:
            raise UnsupportedError(f"explain: {method.name} needs the gradients of every attention layer, but those of "
                                   f"{self._without_gradients[0]} cannot be captured; use gradient-input, occlusion or a method without "
                                   "gradients")
        reached, more = set(), {self.side}
        while more:
            reached |= more
            sides = [("dec", "enc") if family == "cross" and not keys else (queries or family, keys or family)
                     for family, _, queries, keys in self.sites]
            more = {keys for queries, keys in sides if queries in reached} - reached
        ranges = [keys for family, (_, keys) in self.families.items() if family in reached]
        if not any(begin <= at < end for at in self.removable() for begin, end in ranges):
            raise UnsupportedError(f"explain: {method.name}: no attention leads from the answer to the parts of the input in this model")

    # Inputs of the attribution methods.

    @property
    def tokens(self):
        """Number of ids that are tokens of a text."""
        return self.trace._text_tokens

    def removable(self):
        """The ids that can be removed: tokens that the tokenizer did not add, before the answer; without a text, the items."""
        count = len(self.trace.ids)
        if not self.tokens:
            extra = re.compile(r"(class|distillation) token|register \d+")  # see _items.py
            return [at for at in range(count) if not extra.fullmatch(self.trace.pieces[at])]
        end = self.tokens
        if self.answer.removable is not None:
            end = self.families["dec" if self.answer.side else self.side][0][0] + self.answer.removable
        mask = getattr(self.vocabulary, "mask_token_id", None)  # a mask is written by the user
        special, ids = self.trace._special, self.trace.ids
        return [at for at in range(min(end, self.tokens)) if not special[at] or ids[at] == mask]

    def ranges_of(self, named):
        """[(name, (begin, end))]: the ids of the removable tokens of named parts of the text, [(name, begin, end)] in characters. A token
        that two parts share belongs to the first. Raises NotFoundError for a part without a token."""
        removable, places, out = set(self.removable()), list(enumerate(self.trace.offsets[: self.tokens])), []
        for name, begin, end in named:
            covered = out[-1][1][1] if out else 0
            inside = [at for at, (first, last) in places if first < end and last > begin and at >= covered and at in removable]
            if not inside:
                raise NotFoundError(f'explain: "{name}" has no token in the prompt')
            out.append((name, (inside[0], inside[-1] + 1)))
        return out

    def replayed(self):
        """The answer as an attribution target of the C++ library."""
        calls = {"answers": self.without, "inputs": self.inputs_at, "mixed_vectors": self.mixed_vectors,
                 "states_without_value": self.states_without_value}
        return _core._replayed(self.trace, self.sites, self.answer.description, self.probability, self.answer.is_number, self.side,
                               self.answer.rows, self._written(), self.removable(), calls)

    def _written(self):
        """The range of the tokens that the model wrote, except its last one; empty for an answer that is not written after a prompt."""
        if not self.answer.given or self.answer.side:
            return 0, 0
        return min(self.answer.given, self.answer.rows[0] + 1), self.answer.rows[-1] + 1

    def inputs_at(self, scale):
        """[(side, states, gradient)] of each stack of a run that starts from `scale` times its input states: f32 [token, width]."""
        blocks = self._first_blocks()
        with torch.enable_grad(), scaled_inputs(blocks, scale) as found:
            y = self.answer.number(self.model(**self.answer.inputs)).sum()
            names = [name for name in blocks if name in found]
            if not names or not y.requires_grad:
                raise UnsupportedError("explain: the answer has no gradient with respect to the states that the first layer reads")
            gradients = torch.autograd.grad(y, [found[name][1] for name in names], allow_unused=True)
        flat = lambda x: None if x is None else x.detach().float().reshape(-1, x.shape[-1]).cpu().contiguous()
        return [(name, flat(found[name][0]), flat(gradient)) for name, gradient in zip(names, gradients)]

    def _first_blocks(self):
        """The first block of each stack that attends within its own tokens or items: {side: module}."""
        out = {}
        for family, layer, _, keys in self.sites:
            side = keys or family
            if self.families[family][0] != self.families[family][1] or side in out or family == "cross":
                continue
            out[side] = self._block_around(layer, family)
        return out

    def _block_around(self, layer, family):
        """The module of a layer: the largest one around its attention that has a number as its name, and no attention of other layers."""
        path_of = lambda number, of: re.sub(r" \(\d+\)$", "", self.trace.map(number, of).module)
        path = path_of(layer, family)
        others = {path_of(number, of) for of, number, *_ in self.sites if number != layer} - {path}
        found = block_around(self.model, path, others)
        if found is None:
            raise UnsupportedError(f"explain: {path} is in no numbered block of layers of its own, so the states that it reads are not "
                                   "known; this method needs them")
        return found

    def mixed_vectors(self, layer, row):
        """The vectors into which a row of the answer's side is decomposed after the attention of one layer, one for each token: f32 [key,
        width]. TokenMixing in residual_stream.h defines them (Kobayashi et al. 2021, equations 8 to 10)."""
        if self._mixed is None or self._mixed[0] != layer:
            self._mixed = layer, *self._block_of(layer)
        _, block, found = self._mixed
        weights = torch.from_numpy(found._rows(row)).to(block.values.device)  # [head, key]
        parts = block.projected((weights[:, :, None] * block.values_of_heads().float()).transpose(0, 1)).detach().float()
        parts[row] += block.residual[row]
        return block.normalised_as(parts, block.summed[row]).float().cpu().contiguous()

    def states_without_value(self, layer, token):
        """The states after one layer of the answer's side when the value vector of one token is zero in it: f32 [row, width]. The weights
        stay as they are. token: -1 for the states as they are. TokenMixing in residual_stream.h defines them (Mohebbi et al. 2023)."""
        if self._zeroed is None or self._zeroed[0] != layer or not self._zeroed[1] <= token < self._zeroed[1] + len(self._zeroed[2]):
            count = self._tokens_of_side()
            together = max(1, TOKENS_TOGETHER // count) if self._takes_batches() else 1
            if together == count:  # sequences and tokens could not be told apart in the states
                together -= 1
            self._zeroed = layer, token, self._zeroed_states(layer, range(token, min(token + together, count)))
        return self._zeroed[2][token - self._zeroed[1]].float().cpu().contiguous()

    def _tokens_of_side(self):
        begin, end = self.families[self.side][0]
        return end - begin

    def _zeroed_states(self, layer, tokens):
        """states_without_value() of several tokens: [token, row, width]."""
        if "cross" in self.families:
            raise UnsupportedError("explain: the effect of a value on a layer is known only for models that read a single text")
        family = self._family_of(layer)
        path = self.trace.map(layer, family).module
        found, module = [], self._block_around(layer, family)
        take = lambda _, positional, out: found.append(out if isinstance(out, torch.Tensor) else out[0])
        edits = ZeroedValues(*self._names_of_calls[family, layer], list(tokens))
        with torch.no_grad(), module.register_forward_hook(take), Watch(self.model, edits=edits, keep=False):
            self.model(**repeated(self.answer.inputs, len(tokens)))
        states = found[0] if len(found) == 1 else None
        if states is None or states.shape[:-1] != (len(tokens), self._tokens_of_side()) or module is self.model.get_submodule(path):
            raise UnsupportedError(f"explain: the block of layers around {path} does not return one state for each token, so the effect of "
                                   "a value on them is not known")
        return states.detach()

    def _family_of(self, layer):
        return next((name for name, at, _, keys in reversed(self.sites) if (keys or name) == self.side and at == layer), self.side)

    def _block_of(self, layer):
        """Runs the model once and returns (Block, LayerMap) of a layer of the answer's side."""
        if "cross" in self.families:
            raise UnsupportedError("explain: the residual stream can be decomposed only for models that read a single text")
        family = self._family_of(layer)
        called = self._names_of_calls[family, layer]
        watch = BlockWatch(self.model, self.tokenizer, layers=[called[1]], follow=lambda *of: of == called,
                           **self._arguments())
        with torch.no_grad(), watch:
            self.model(**self.answer.inputs)
        found = self.trace.map(layer, family)
        block = watch.blocks.get(found.module)
        if block is None:
            raise UnsupportedError(f"explain: {found.module} runs in a way in which its values are not visible")
        block.check("project", "residual")
        return block, found

    def without(self, sets, removal):
        """The answer's probability, or number, without each of these sets of ids.

        removal: "unseen" (no token attends to them) or "masked" (their tokens are replaced).
        """
        return self._in_batches(sets, removal, lambda output: self.answer.probability(output).tolist())

    def log_probabilities(self, sets):
        """The log-probability of each token of the answer without each of these sets of ids, f64 [set, token]."""
        return np.array(self._in_batches(sets, "unseen", lambda output: self.answer.log_probabilities(output).tolist()))

    def _in_batches(self, sets, removal, read):
        """Runs the model without each set of ids, several at a time. read: function of an output, which returns a list [set]."""
        length = max(1, len(self.trace.ids))
        together, out = max(1, TOKENS_TOGETHER // length) if self._takes_batches() else 1, []
        for begin in range(0, len(sets), together):
            some = sets[begin : begin + together]
            out += (self._masked if removal == "masked" else self._unseen)(some, read)
        return out

    def _unseen(self, sets, read):
        by_layer = {}
        for family, (_, (begin, end)) in self.families.items():
            hidden = torch.zeros(len(sets), end - begin, dtype=torch.bool)
            for at, ids in enumerate(sets):
                hidden[at, [one - begin for one in ids if begin <= one < end]] = True
            if bool(hidden.any()):
                by_layer |= {self._names_of_calls[of, layer]: hidden for of, layer, *_ in self.sites if of == family}
        edits = HiddenKeys(by_layer) if by_layer else None
        watch = Watch(self.model, edits=edits, keep=False)
        with torch.no_grad(), watch:
            return read(self.model(**repeated(self.answer.inputs, len(sets))))

    def _takes_batches(self):
        tensors = [value for value in self.answer.inputs.values() if isinstance(value, torch.Tensor)]
        return self.answer.takes_batches and all(value.dim() < 2 or value.shape[0] == 1 for value in tensors)

    def _masked(self, sets, read):
        names = ("mask_token_id", "unk_token_id", "pad_token_id", "eos_token_id")
        mask = next((one for name in names if (one := getattr(self.vocabulary, name, None)) is not None), None)
        if mask is None:
            raise InvalidArgumentError("explain: the tokenizer has no mask, unknown or padding token to replace others with; use "
                                       'removal="unseen"')
        inputs = repeated(self.answer.inputs, len(sets))
        target_begin = self.families["dec"][0][0] if "cross" in self.families else self.tokens
        for name, shift, end in (("input_ids", 0, target_begin), ("decoder_input_ids", target_begin, self.tokens)):
            if name not in inputs:
                continue
            inputs[name] = inputs[name].clone()
            for at, ids in enumerate(sets):
                inputs[name][at, [one - shift for one in ids if shift <= one < end]] = mask
        with torch.no_grad():
            return read(self.model(**inputs))


def check_padding(inputs):
    """Raises InvalidArgumentError for inputs with padding."""
    mask = inputs.get("attention_mask")
    if mask is not None and mask.dim() == 2 and not bool(mask.all()):
        raise InvalidArgumentError("explain: the input has padding; tokenize one text without padding")


def check_has_tokens(run):
    if not run.removable():
        raise NotFoundError("explain: the input has no token or item that could be removed")
