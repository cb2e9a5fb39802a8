"""Classes of a whole input, such as a text or a picture, and numbers of regression models."""

import torch

from ...errors import InvalidArgumentError
from . import Answer, answer_kind, check_range, label_named, label_of, refuse

_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification", "ForVideoClassification")


class PredictedNumber(Answer):
    """y is the number that a regression model answers with."""

    is_number = True

    def number(self, output):
        return self.logits(output).float()[:, 0, self.ids[0]]

    def probability(self, output):
        return self.logits(output).detach().double()[:, 0, self.ids[0]]


def class_asked_for(question, logits):
    """Returns (class, contrast or None) of a question. logits: [count]."""
    refuse(question, "a class", "answer")
    target, contrast = question.target, question.contrast
    if not (target is None or isinstance(target, str)):
        raise InvalidArgumentError(f"explain: {question.name} answers with a class; expected its name as the target")
    chosen = int(logits.argmax()) if target is None else label_named(question.model, target)
    check_range(chosen, logits.shape[0], "class")
    return chosen, None if contrast is None else label_named(question.model, contrast)


@answer_kind(lambda question: question.name.endswith(_CLASSIFIERS))
def class_of_input(question):
    model, inputs = question.model, dict(question.prompt.inputs)
    logits = lambda output: output.logits[:, None]
    with torch.no_grad():
        found = logits(model(**inputs))[0, 0].float()
    problem = getattr(model.config, "problem_type", None)
    if problem == "regression":
        refuse(question, "a number", "target", "answer", "contrast")
        return PredictedNumber(inputs, logits, [0], "the number")
    chosen, contrast = class_asked_for(question, found)
    description = f"class {label_of(model, chosen)}" + ("" if contrast is None else f" against {label_of(model, contrast)}")
    answer = Answer(inputs, logits, [chosen], description, contrast=contrast,
                    is_independent=problem == "multi_label_classification" or (problem is None and found.shape[0] == 1))
    # decoders that classify by the last token find it by the padding token
    answer.takes_batches = getattr(model.config, "pad_token_id", None) is not None or not question.prompt.ids
    return answer
