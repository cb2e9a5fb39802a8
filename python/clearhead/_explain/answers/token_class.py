"""The class of one token, such as its part of speech, read from that token: target="token 3" or "token 3 VERB"."""

import re

import torch

from ...errors import InvalidArgumentError
from . import Answer, answer_kind, check_range, label_of
from .classes import class_asked_for


@answer_kind(lambda question: question.name.endswith("ForTokenClassification"))
def class_of_token(question):
    found = re.fullmatch(r"token (\d+)(?: (.+))?", question.target or "")
    if not found:
        raise InvalidArgumentError("explain: for a token classifier, expected the token to explain and, optionally, one of its labels: "
                                   '"token N" or "token N LABEL"')
    row, question.target = int(found[1]), found[2]
    check_range(row, len(question.prompt.ids), "token")
    inputs, logits = dict(question.prompt.inputs), lambda output: output.logits[:, [row]]
    with torch.no_grad():
        chosen, contrast = class_asked_for(question, logits(question.model(**inputs))[0, 0].float())
    description = f"tag {label_of(question.model, chosen)}"
    description += "" if contrast is None else f" against {label_of(question.model, contrast)}"
    return Answer(inputs, logits, [chosen], description, contrast=contrast, rows=[row])
