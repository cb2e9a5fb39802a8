"""explain(): attributes an answer of a PyTorch model to parts of its input."""

import logging
import time
from collections import namedtuple

import numpy as np
import torch

from .. import _core
from ..errors import BudgetError, InvalidArgumentError, NotFoundError
from ._prompt import Prompt
from ._result import Explanation, Part
from ._run import Run, check_has_tokens, check_padding, evaluated
from .answers import Question, answer_of

Method = namedtuple("Method", ("name", "description", "needs_gradients", "of_a_layer", "of_heads", "removes_items", "of_inputs"))
METHODS = {one[0]: Method(*one) for one in _core._attribution_methods()}
UNITS = {"token": "tokens", "word": "words", "sentence": "sentences", "document": "documents", "turn": "turns"}
# The arguments of explain() that its methods use.
Options = namedtuple("Options", ("layer", "head", "steps", "removal", "max_seconds"), defaults=(None, None, 32, "unseen", None))
_logger = logging.getLogger("clearhead.explain")


def explanation_methods():
    """Returns {name: description} of the attribution methods, as `clearhead why` has them."""
    return {name: method.description for name, method in METHODS.items()}


def explain(model, tokenizer=None, prompt=None, *, target=None, contrast=None, answer=None, methods="relevance", units=None, messages=None,
            documents=None, layer=None, head=None, steps=32, removal="unseen", max_tokens=128, max_seconds=None, budget=2 << 30):
    """Attributes an answer of a PyTorch model to parts of its input.

        result = ch.explain(model, tokenizer, "The capital of France is", target=" Paris")
        print(result.table(10))
        ch.explain(model, tokenizer, question, documents=texts, target="the answer", units="documents")

    The explained number y is the logit of a token or class; the difference of two logits (contrast); or, for an answer of several tokens,
    the sum of their log-probabilities, each given those before. The methods are those of `clearhead why`, with the same results.

    Parameters
    ----------
    model : torch.nn.Module
        A model whose attention ch.watch() captures. Its attention implementation, dtype and device stay as they are. It runs in evaluation
        mode and is unchanged afterwards.
    tokenizer : optional
        The model's tokenizer or processor. Not needed if the prompt consists of ids or of the model's inputs.
    prompt : str, (str, str), list of int, or dict
        The text; a pair of texts that are read together; token ids; or the model's inputs, as a processor returns them. For an
        encoder-decoder it is the source.
    target : optional
        The answer to explain. Default: the model's own answer (its most probable next token or class; the first token that an
        encoder-decoder writes).
        For a decoder: a word or phrase that follows the prompt, token ids, or "token N" of the prompt. For a masked model: a word at the
        mask. For a classifier: the name of a class; for a token classifier "token N" or "token N LABEL". "the answer": the whole text that
        the model generates. With `answer`, and for encoder-decoders: a phrase in the generated text, "token N" of it, or a range (begin,
        end) of its tokens. For any model: a function that computes one number from the model's output.
    contrast : str, optional
        A word, phrase or class. Explains why the answer is `target` and not `contrast`. If either is several tokens, both are explained and
        their shares are subtracted.
    answer : True, str or list of int, optional
        The text that `target` is a part of: True for what the model generates, or the text itself. Without a target, all of it is
        explained.
    methods : str or list of str
        Names of explanation_methods(). "relevance" (one run forward and back), "information-flow" for answers of several tokens, and
        "occlusion" (one run for each part) serve most questions.
    units : str, optional
        The parts: "tokens", "words", "sentences", "documents" or "turns". Default: documents if there are any, else words. Inputs that are
        not texts have items, such as patches.
    messages : list of dict, optional
        A chat, [{"role", "content"}], in place of a prompt. The tokenizer's chat template makes the text.
    documents : list of str or of dict, optional
        Documents (or dicts with "text" and optionally "title") that stand before the prompt, or where the chat template places them.
    layer, head : int, optional
        For methods that use one layer, or can use one head. Default: the last layer, and the mean over heads.
    steps : int
        Number of steps of integrated gradients.
    removal : str
        How occlusion removes a part: "unseen" (no token attends to it) or "masked" (its tokens are replaced).
    max_tokens : int
        Limit for an answer that the model generates.
    max_seconds : float, optional
        Raises BudgetError, before a method starts, if it is expected to take longer.
    budget : int
        Largest size of the trace, in bytes.

    Returns
    -------
    Explanation
        The parts and their shares by method; table(), plot(), view(), to_dict().

    Raises
    ------
    InvalidArgumentError
        Malformed arguments; padding; a batch.
    NotFoundError
        A word, class, token or method that does not exist.
    UnsupportedError
        The model has no answer of a known kind, attention that cannot be captured, or not what a method needs. The message says which.
    BudgetError
        The trace exceeds the budget, or a method `max_seconds`.
    """
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgumentError(f"explain: expected a torch.nn.Module, found {type(model).__name__}")
    names = [methods] if isinstance(methods, str) else list(methods)
    chosen = [method_named(name) for name in names]
    for option, value, field in (("layer", layer, "of_a_layer"), ("head", head, "of_heads")):
        if value is not None and not any(getattr(one, field) for one in chosen):
            able = ", ".join(one.name for one in METHODS.values() if getattr(one, field))
            raise InvalidArgumentError(f"explain: a {option} can be set only for the methods {able}")
    if removal not in ("unseen", "masked"):
        raise InvalidArgumentError(f'explain: removal={removal!r}; expected "unseen" or "masked"')
    read = Prompt.of(model, tokenizer, prompt, messages, documents)
    check_padding(read.inputs)
    options = Options(layer, head, steps, removal, max_seconds)
    with evaluated(model):
        asked = answer_of(Question(model, tokenizer, read, target, contrast, answer, max_tokens))
        of_answer = _Explained(Run(model, tokenizer, read, asked, budget), chosen, units, options)
        shares, costs = of_answer.shares, of_answer.costs
        value = of_answer.run.probability
        if asked.opposite is not None:
            other = _Explained(Run(model, tokenizer, read, asked.opposite, budget), chosen, units, options)
            shares = {name: shares[name] - other.shares[name] for name in shares}
            costs = {name: {key: cost + other.costs[name][key] for key, cost in of.items()} for name, of in costs.items()}
            value = value / (value + other.run.probability)
    found = Explanation(asked.description, value, asked.is_number, of_answer.parts, of_answer.units, shares, costs, of_answer.run.trace)
    found.pictures, found.pictures_reason = of_answer.run.pictures, of_answer.run.pictures_reason
    return found


def method_named(name):
    if name in METHODS:
        return METHODS[name]
    raise NotFoundError(f'explain: there is no method "{name}"; the methods are {", ".join(METHODS)}')


class _Explained:
    """The shares of one answer by several methods."""

    def __init__(self, run, methods, units, options):
        self.run, self.options = run, options
        begun = time.perf_counter()
        gradients = run.answer.rows is None or any(one.needs_gradients and not one.of_inputs for one in methods)
        norms = any(one.name == "output-weighted" for one in methods)
        run.capture(gradients, self._is_looked_at if norms else None)
        self.seconds = (time.perf_counter() - begun) / (3 if gradients else 1)  # of a forward pass
        check_has_tokens(run)
        self.replayed = run.replayed()
        self._group(units)
        self.shares, self.costs = {}, {}
        for method in methods:
            self._attribute(method)

    def _is_looked_at(self, family, layer):
        return self.options.layer in (None, layer)

    def _group(self, units):
        named = self.run.prompt.named
        units = units if units is not None else ("document" if named else "word")
        unit = next((one for one, plural in UNITS.items() if units in (one, plural)), None)
        if unit is None:
            raise InvalidArgumentError(f"explain: units={units!r}; expected {', '.join(UNITS.values())}")
        names = None
        if not self.run.tokens:
            unit = "item"
        elif unit in ("document", "turn"):
            if not named:
                raise InvalidArgumentError(f"explain: units={units!r}, but the prompt has no {unit}s; pass documents= or messages=")
            names, ranges = zip(*self.run.ranges_of(named))
            self.replayed.group(list(ranges))
        elif unit != "token":
            self.replayed.group(unit)
        trace = self.run.trace
        places, items = trace.offsets, self.replayed.items()
        self.units = UNITS.get(unit, "items")
        self.parts = []
        for at, (begin, end) in enumerate(items):
            first, last = places[begin][0], max(places[end - 1][1], places[begin][0])
            text = trace.text[first:last] if last > first else trace.pieces[begin]
            self.parts.append(Part(text, first, last, range(begin, end), None if names is None else names[at]))

    def _attribute(self, method):
        options = self.options
        runs = self.replayed.runs(method.name, options.steps)
        estimate = runs * self.seconds
        _logger.info("%s: %d runs of the model, about %.3g s", method.name, runs, estimate)
        if options.max_seconds is not None and estimate > options.max_seconds:
            raise BudgetError(f"explain: {method.name} needs {runs} runs of the model, about {estimate:.3g} s; expected at most "
                              f"{options.max_seconds} s (max_seconds); use larger units or another method")
        self.run.check(method)
        begun = time.perf_counter()
        found = self.replayed.shares(method.name, options.layer if method.of_a_layer else None, options.head if method.of_heads else None,
                                     options.steps, options.removal)
        self.shares[method.name] = np.asarray(found, np.float64)
        self.costs[method.name] = {"runs": runs, "seconds": time.perf_counter() - begun}
