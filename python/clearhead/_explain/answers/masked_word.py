"""The word at a mask, read from the mask."""

import torch

from ...errors import InvalidArgumentError
from . import Answer, answer_kind, place_in, refuse
from ._words import ONE_AGAINST_ONE, single_token, spelled


def _place(question):
    """The position of the only mask, or of the one that "token N" names."""
    mask = getattr(question.tokenizer, "mask_token_id", None)
    mask = getattr(question.model.config, "mask_token_id", None) if mask is None else mask
    token = f'"{question.tokenizer.mask_token}"' if question.tokenizer is not None else "a mask token"
    places = [at for at, one in enumerate(question.prompt.ids) if one == mask]
    at = place_in(question.target)
    if not places:
        raise InvalidArgumentError("explain: for a masked language model, the word at a mask is explained, but the text has no mask; write "
                                   f"{token} where a word is missing")
    if at is not None and at not in places:
        raise InvalidArgumentError(f"explain: token {at} is not {token}; the masks are tokens {', '.join(map(str, places))}")
    if at is None and len(places) > 1:
        raise InvalidArgumentError(f"explain: the text has {len(places)} masks, tokens {', '.join(map(str, places))}; expected one, or "
                                   f'"token {places[0]}" as the target')
    return places[0] if at is None else at


@answer_kind(lambda question: question.name.endswith("ForMaskedLM"))
def masked_word(question):
    refuse(question, "the word at a mask", "answer")
    row, target = _place(question), question.target
    inputs = dict(question.prompt.inputs)
    with torch.no_grad():
        logits = question.model(**inputs).logits[0, row].float()
    if target is None or place_in(target) is not None:
        ids = [int(logits.argmax())]
    elif isinstance(target, str):
        ids = [single_token(question.tokenizer, target, None, logits, "one mask stands for one token")]
    else:
        ids = [int(one) for one in target]
    contrast = None
    if question.contrast is not None:
        contrast = single_token(question.tokenizer, question.contrast, None, logits, ONE_AGAINST_ONE)
    description = f"word at the mask {spelled(question.tokenizer, ids)}"
    description += "" if contrast is None else f" against {spelled(question.tokenizer, [contrast])}"
    return Answer(inputs, lambda output: output.logits[:, [row]], ids, description, contrast=contrast, rows=[row])
