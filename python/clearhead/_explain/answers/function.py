"""A number that the caller computes from the model's output: target=lambda output: output.logits[0, 3]."""

import torch

from ...errors import InvalidArgumentError
from . import Answer, answer_kind, refuse


class NumberOfCaller(Answer):
    """y is the value of a function of the model's output."""

    is_number = True
    takes_batches = False

    def __init__(self, question):
        name = getattr(question.target, "__name__", "<lambda>")
        super().__init__(question.prompt.inputs, None, [], "a function of the output" if name == "<lambda>" else name)
        self._of = question.target

    def number(self, output):
        y = self._of(output)
        if not isinstance(y, torch.Tensor) or y.numel() != 1:
            found = f"a tensor of shape {list(y.shape)}" if isinstance(y, torch.Tensor) else f"a {type(y).__name__}"
            raise InvalidArgumentError(f"explain: the target returned {found}; expected a tensor of one number")
        return y.reshape(1)

    def probability(self, output):
        return self.number(output).detach().double()


@answer_kind(lambda question: True, of_function=True)
def number_of_caller(question):
    refuse(question, "a number that the target computes", "answer", "contrast")
    return NumberOfCaller(question)
