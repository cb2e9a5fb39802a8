"""The kinds of answers that can be explained. A kind is one file with a function that is decorated with @answer_kind."""

import importlib
import pkgutil

import torch

from ...errors import InvalidArgumentError, NotFoundError, UnsupportedError

_KINDS = []


class Question:
    """The arguments of explain() that choose the answer.

    target: None, a text, token ids, a range (begin, end) of the answer's tokens, or a function of the model's output. "the answer" stands
    for no target and answer=True. contrast: None or a text. answer: None, True, a text or token ids. max_tokens: limit for a generated
    answer.
    """

    def __init__(self, model, tokenizer, prompt, target=None, contrast=None, answer=None, max_tokens=128):
        if isinstance(target, str) and target == "the answer":
            target, answer = None, True if answer is None else answer
        self.model, self.tokenizer, self.prompt = model, getattr(tokenizer, "tokenizer", tokenizer), prompt
        self.target, self.contrast, self.answer, self.max_tokens = target, contrast, answer, max_tokens

    def without_contrast(self):
        return Question(self.model, self.tokenizer, self.prompt, self.target, None, self.answer, self.max_tokens)

    @property
    def name(self):
        """The name of the model's class, for messages."""
        return type(self.model).__name__


class Answer:
    """One answer of a model about one input: a number y, which can be differentiated, and its probability.

    y is a logit; the difference of two logits, with a contrast; or, for an answer of several tokens, the sum of their log-probabilities.

    Attributes
    ----------
    inputs : dict
        The arguments of the forward pass.
    logits : function
        Returns the logits [batch, row, count] of an output of the model, one row for each token of the answer.
    ids : list of int
        The class, or the tokens of the answer. contrast: the class or token whose logit is subtracted, or None.
    description : str
        The answer in words.
    rows : list of int, optional
        The tokens from which the answer is read. None: those that its gradient reaches.
    side : str
        "target" for the text that an encoder-decoder writes, else "".
    given : int, optional
        The number of tokens that the prompt's text covers. Default: all.
    removable : int, optional
        Only tokens before this one can be removed, counted on the answer's side. Default: all.
    opposite : Answer, optional
        The answer of several tokens that is subtracted. Both are explained, and their shares are subtracted.
    sums_logits : bool
        Whether y of several tokens is the sum of their logits. The gradient of a log-probability vanishes where the model is certain.
    is_independent : bool
        Whether the classes are independent labels, each with a sigmoid.
    """

    is_number = False
    takes_batches = True  # whether number() and probability() accept a batch of more than one

    def __init__(self, inputs, logits, ids, description, *, contrast=None, opposite=None, rows=None, side="", given=None, removable=None,
                 is_independent=False):
        self.inputs, self.logits, self.ids, self.description = inputs, logits, list(ids), description
        self.contrast, self.opposite, self.rows, self.side = contrast, opposite, rows, side
        self.given, self.removable, self.is_independent = given, removable, is_independent
        self.sums_logits = False
        self.is_span = len(self.ids) > 1 or opposite is not None
        if opposite is not None:
            opposite.is_span = True

    def _chosen(self, logits):
        chosen = logits[:, 0, self.ids[0]]
        return chosen if self.contrast is None else chosen - logits[:, 0, self.contrast]

    def _of_tokens(self, of_vocabulary):
        """Selects the answer's token in each row of [batch, row, count]: [batch, token]."""
        rows = torch.arange(len(self.ids), device=of_vocabulary.device)
        return of_vocabulary[:, rows, torch.as_tensor(self.ids, device=of_vocabulary.device)]

    def log_probabilities(self, output):
        """The log-probability of each token, given those before, for each input of a batch: f64 [batch, token]."""
        return self._of_tokens(torch.log_softmax(self.logits(output).detach().double(), -1))

    def number(self, output):
        """y of each input of a batch, [batch], differentiable."""
        logits = self.logits(output).float()
        if self.sums_logits:
            return self._of_tokens(logits).sum(-1)
        return self._of_tokens(torch.log_softmax(logits, -1)).sum(-1) if self.is_span else self._chosen(logits)

    def probability(self, output):
        """The answer's probability for each input of a batch, f64 [batch]."""
        if self.contrast is not None or self.is_independent:
            return torch.sigmoid(self._chosen(self.logits(output).detach().double()))
        return self.log_probabilities(output).sum(-1).exp()


def generated_by(question, prompt_tokens):
    """The tokens that the model generates from the prompt, as a list. prompt_tokens: number of tokens that share the positions."""
    positions = getattr(question.model.config.get_text_config(), "max_position_embeddings", None)
    limit = question.max_tokens if not positions else max(1, min(question.max_tokens, positions - prompt_tokens))
    with torch.no_grad():
        return question.model.generate(**question.prompt.inputs, max_new_tokens=limit)[0].tolist()


def log_probability(model, answer):
    """Runs a model and returns the sum of the log-probabilities of the tokens of an answer."""
    with torch.no_grad():
        return float(answer.log_probabilities(model(**answer.inputs))[0].sum())


def answer_kind(applies, of_function=False):
    """Registers a function Question -> Answer for models for which applies(question) is true; at most one kind applies to a model.

    of_function: whether the target is a function; other kinds never get one.
    """
    def register(make):
        _KINDS.append((applies, of_function, make))
        return make

    return register


def answer_of(question):
    """Returns the answer that a question asks for. Raises UnsupportedError, with the ways out, if no kind applies."""
    for applies, of_function, make in _KINDS:
        if callable(question.target) == of_function and applies(question):
            return make(question)
    raise UnsupportedError(f"explain: {question.name} has no answer of a known kind; pass a function of the model's output as the target, "
                           "as in target=lambda output: output.last_hidden_state[0, 0, 0]")


def place_in(target):
    """Returns N of "token N", else None."""
    if isinstance(target, str) and target.startswith("token ") and target[6:].isdigit():
        return int(target[6:])
    return None


def label_named(model, name):
    """Returns the index of a class. Raises NotFoundError with the classes that exist."""
    labels = {int(at): str(label) for at, label in (getattr(model.config, "id2label", None) or {}).items()}
    for at, label in labels.items():
        if label.lower() == name.lower():
            return at
    shown = ", ".join(f'"{label}"' for label in list(labels.values())[:8])
    raise NotFoundError(f'explain: there is no class "{name}"; the {len(labels)} classes {"begin with" if len(labels) > 8 else "are"} '
                        f"{shown}")


def label_of(model, at):
    labels = getattr(model.config, "id2label", None) or {}
    return f'"{labels.get(at, labels.get(str(at), at))}"'


def check_range(index, count, what):
    if not 0 <= index < count:
        raise NotFoundError(f"explain: {what} {index} is out of range; expected 0 to {count - 1}")


def refuse(question, what, *names):
    """Raises InvalidArgumentError if one of these arguments ("target", "answer", "contrast") is given for an answer of this kind."""
    for name in names:
        if getattr(question, name) is not None:
            raise InvalidArgumentError(f"explain: {question.name} answers with {what}; expected no {name}=")


for _, _name, _ in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_name}", __name__)
