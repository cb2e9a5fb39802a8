"""The next tokens of a decoder, each read from the token before it: a word, a phrase, or an answer that is generated or given."""

import inspect

import torch

from ...errors import InvalidArgumentError, NotFoundError
from .._prompt import Prompt
from . import Answer, Question, answer_kind, generated_by, log_probability, place_in
from ._words import against, decoded, spelled, spellings_of


def _applies(question):
    model = question.model
    return bool(getattr(model, "can_generate", lambda: False)()) and not getattr(model.config, "is_encoder_decoder", False)


def _extended(question, ids):
    """Returns the model's inputs with these tokens after the prompt."""
    inputs = dict(question.prompt.inputs)
    more = torch.tensor([ids], dtype=inputs["input_ids"].dtype, device=inputs["input_ids"].device)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
    for name, value in (("attention_mask", 1), ("token_type_ids", 0), ("mm_token_type_ids", 0)):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.full_like(more, value, dtype=inputs[name].dtype)], 1)
    return inputs


def _logits(question, inputs, rows):
    """Returns (inputs, function) that give the logits of some rows: [batch, row, count]. Models that can compute only these do."""
    known = inspect.signature(question.model.forward).parameters
    if "use_cache" in known:
        inputs = {**inputs, "use_cache": False}
    if "logits_to_keep" in known:
        keep = inputs["input_ids"].shape[1] - rows[0]  # the rows are the last ones, or precede tokens of the answer
        kept = [row - rows[0] for row in rows]
        return {**inputs, "logits_to_keep": keep}, lambda output: output.logits[:, -keep:][:, kept]
    return inputs, lambda output: output.logits[:, rows]


def _generated(question):
    """The tokens of the answer that the model generates, without those that end it."""
    prompt = question.prompt.ids
    written = generated_by(question, len(prompt))
    ids = written[len(prompt) :] if written[: len(prompt)] == prompt else written
    ends = set(question.tokenizer.all_special_ids) if question.tokenizer is not None else set()
    while ids and ids[-1] in ends:
        ids.pop()
    if not ids:
        raise NotFoundError("explain: the model generates no token after this prompt")
    return ids


def _ids_of_answer(question):
    if question.answer is True:
        return _generated(question)
    if isinstance(question.answer, str):
        return spellings_of(question.tokenizer, question.answer, question.prompt.text)[0][-1]  # as it is written
    return list(question.answer)


def phrase_in(tokenizer, ids, phrase):
    """Returns the range of the tokens that overlap a phrase in the text of `ids`. Raises NotFoundError."""
    text, ends = decoded(tokenizer, ids)
    begin = text.find(phrase)
    if begin < 0:
        raise NotFoundError(f'explain: "{phrase}" is not in the answer: "{text}"')
    first = next(at for at, end in enumerate(ends) if end > begin)
    last = next((at for at, end in enumerate(ends) if end >= begin + len(phrase)), len(ids) - 1)
    return first, last + 1


def range_in(question, ids, whole=True):
    """Returns the range of the answer's tokens that the target names: a phrase, "token N", a range, or None for all of them."""
    target = question.target
    if target is None:
        return (0, len(ids)) if whole else (0, 1)
    if (at := place_in(target)) is not None:
        target = (at, at + 1)
    if isinstance(target, str):
        return phrase_in(question.tokenizer, ids, target)
    begin, end = (target.start, target.stop) if isinstance(target, (slice, range)) else target
    begin, end = begin or 0, len(ids) if end is None else end
    if not 0 <= begin < end <= len(ids):
        raise NotFoundError(f"explain: target ({begin}, {end}): the answer has {len(ids)} tokens, counted from 0: "
                            f"{spelled(question.tokenizer, ids)}")
    return begin, end


def _ids_of_continuation(question):
    """The tokens of a target that continues the prompt; by default the most probable one."""
    target = question.target
    if target is None:
        inputs, logits = _logits(question, question.prompt.inputs, [len(question.prompt.ids) - 1])
        with torch.no_grad():
            return [int(logits(question.model(**inputs))[0, 0].argmax())]
    if not isinstance(target, str):
        return [int(one) for one in target]
    found, prior = spellings_of(question.tokenizer, target, question.prompt.text)
    if len(found) == 1:
        return found[0]
    rating = lambda at: log_probability(question.model, _answer(question.without_contrast(), found[at], 0)) + (prior if at == 0 else 0)
    return found[max(range(len(found)), key=rating)]


@answer_kind(_applies)
def next_tokens(question):
    prompt = question.prompt.ids
    if not prompt:
        raise InvalidArgumentError("explain: the inputs have no input_ids; expected the tokens of a prompt")
    if question.answer is not None:
        written = _ids_of_answer(question)
        begin, end = range_in(question, written)
        return _answer(question, written[:end], begin)
    if (at := place_in(question.target)) is not None:
        if not 1 <= at < len(prompt):
            raise NotFoundError(f"explain: token {at} of a text of {len(prompt)} tokens; expected 1 to {len(prompt) - 1} (token 0 has none "
                                "before it)")
        return _answer_in_prompt(question, at)
    return _answer(question, _ids_of_continuation(question), 0)


def _answer_in_prompt(question, at):
    """A token of the prompt itself: the answer to the prompt before it."""
    count = len(question.prompt.ids)
    cropped = lambda value: value[:, :at] if value.dim() == 2 and value.shape[1] == count else value
    inputs = {name: cropped(value) for name, value in question.prompt.inputs.items()}
    before = Question(question.model, question.tokenizer, Prompt(inputs), contrast=question.contrast)
    answer = _answer(before, [question.prompt.ids[at]], 0)
    answer.given = 0  # the prompt's text continues after these tokens
    return answer


def _answer(question, ids, begin):
    """The tokens from `begin` on of an answer that follows the prompt."""
    count, asked = len(question.prompt.ids), ids[begin:]
    inputs = _extended(question, ids[:-1]) if len(ids) > 1 else question.prompt.inputs
    rows = list(range(count + begin - 1, count + len(ids) - 1))
    inputs, logits = _logits(question, inputs, rows)
    description = f"next token{'s' if len(asked) > 1 else ''} {spelled(question.tokenizer, asked)}"
    contrast = opposite = None
    if question.contrast is not None:
        before = question.prompt.text if begin == 0 else None
        answer_with = lambda other: _answer(question.without_contrast(), [*ids[:begin], *other], begin)
        other, opposite = against(question, asked, before, answer_with)
        contrast = other[0] if opposite is None else None
        description += f" against {spelled(question.tokenizer, other)}"
    return Answer(inputs, logits, asked, description, contrast=contrast, opposite=opposite, rows=rows, given=count, removable=rows[0] + 1)
