"""Tokens that an encoder-decoder writes from a source, each read from the target's token before it."""

import torch

from ...errors import InvalidArgumentError, NotFoundError
from . import Answer, answer_kind, generated_by
from ._words import against, spelled
from .next_tokens import range_in


def _applies(question):
    model = question.model
    return bool(getattr(model, "can_generate", lambda: False)()) and bool(getattr(model.config, "is_encoder_decoder", False))


def _first_token(question):
    for of in (getattr(question.model, "generation_config", None), question.model.config):
        if getattr(of, "decoder_start_token_id", None) is not None:
            return int(of.decoder_start_token_id)
    raise InvalidArgumentError("explain: the model's configuration has no decoder_start_token_id")


def _written(question):
    """The target's tokens after its first one: those of answer=, or those that the model generates, including the end token."""
    if isinstance(question.answer, str):
        return list(question.tokenizer(text_target=question.answer)["input_ids"])
    if question.answer is not None and question.answer is not True:
        return [int(one) for one in question.answer]
    written = generated_by(question, 1)
    return written[1:] if written and written[0] == _first_token(question) else written


def _without_end(question, ids):
    ends = set(question.tokenizer.all_special_ids) if question.tokenizer is not None else set()
    end = len(ids)
    while end > 1 and ids[end - 1] in ends:
        end -= 1
    return end


@answer_kind(_applies)
def written_tokens(question):
    ids = _written(question)
    if not ids:
        raise NotFoundError("explain: the model writes no token from this source")
    is_whole = question.target is None and question.answer is not None
    begin, end = (0, _without_end(question, ids)) if is_whole else range_in(question, ids, whole=False)
    return _answer(question, ids[:end], begin)


def _answer(question, ids, begin):
    """The tokens from `begin` on of a target."""
    asked, end = ids[begin:], len(ids)
    target = torch.tensor([[_first_token(question), *ids[: end - 1]]], device=question.prompt.inputs["input_ids"].device)
    inputs = {**question.prompt.inputs, "decoder_input_ids": target, "use_cache": False}
    rows = list(range(begin, end))
    before = question.tokenizer.decode(ids[:begin]) if question.tokenizer is not None else ""
    description = spelled(question.tokenizer, asked) + (f' after "{before}"' if before else " as the first token")
    contrast = opposite = None
    if question.contrast is not None:
        answer_with = lambda other: _answer(question.without_contrast(), [*ids[:begin], *other], begin)
        other, opposite = against(question, asked, before, answer_with)
        contrast = other[0] if opposite is None else None
        description += f" against {spelled(question.tokenizer, other)}"
    return Answer(inputs, lambda output: output.logits[:, rows], asked, description, contrast=contrast, opposite=opposite, rows=rows,
                  side="target", given=1, removable=rows[0] + 1)
