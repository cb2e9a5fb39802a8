"""VisualCall: the ids, pictures and sizes that a call of a vision-language model was given, and the model's configuration."""

import inspect
from collections.abc import Mapping

import torch

from .._reading import PICTURES


class VisualInputs:
    """Arguments of a call that reads a text with pictures. ids: int64 [text, token]. given: the other tensors, by argument name."""

    def __init__(self, ids, given):
        self.ids, self.given = ids, given

    @classmethod
    def of(cls, function, positional, keywords):
        """Reads the arguments of forward() or generate(). Returns None if they are not token ids with pictures."""
        named = {name: value for name, value in keywords.items() if value is not None}
        if positional and isinstance(positional[0], Mapping):
            named = {**positional[0], **named}
        elif positional:
            names = list(inspect.signature(function).parameters)
            named.update(zip(names, positional))
        ids = named.get("input_ids", named.get("inputs"))
        if not any(_has_numbers(named.get(name)) for name in PICTURES):
            return None
        if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or ids.is_floating_point() or ids.is_meta:
            return None
        given = {name: _detached(value) for name, value in named.items() if _has_numbers(value)}
        return cls(ids.detach().cpu(), given)


def _has_numbers(value):
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(_has_numbers(one) for one in value)
    return isinstance(value, torch.Tensor) and not value.is_meta


def _detached(value):
    return [_detached(one) for one in value] if isinstance(value, (list, tuple)) else value.detach()


class VisualCall:
    """A call, as layouts see it.

    config: the model's configuration. vision: that of its vision tower. tokenizer: the tokenizer, or None. ids: int64 [text, token].
    """

    def __init__(self, config, tokenizer, inputs):
        self.config, self.ids, self._given = config, inputs.ids, inputs.given
        self.vision = getattr(config, "vision_config", None)
        self.tokenizer = getattr(tokenizer, "tokenizer", tokenizer)

    def has(self, *names):
        """Returns whether the call was given one of these arguments."""
        return any(name in self._given for name in names)

    def given(self, name):
        """Returns a tensor argument; None if it was not given."""
        return self._given.get(name)

    def setting(self, name):
        """Returns a field of the model's configuration; None if there is no such field."""
        return getattr(self.config, name, None)

    @property
    def pictures(self):
        """The argument pixel_values: a tensor, or a list of tensors. None if it was not given."""
        return self._given.get("pixel_values", self._given.get("pixel_values_images"))

    @property
    def patch(self):
        """(height, width) of a patch in pixels."""
        return pair(self.vision.patch_size)

    def token_id(self, kind):
        """Returns the id of the placeholder of an "image" or a "video"; None if the configuration has none."""
        for name in (f"{kind}_token_id", f"{kind}_token_index"):
            if isinstance(found := self.setting(name), int):
                return found
        return None

    def places(self, row, kind="image"):
        """Returns the positions of the placeholders in a text, int64 [placeholder]."""
        one = self.token_id(kind)
        return (self.ids[row] == one).nonzero().flatten() if one is not None else torch.zeros(0, dtype=torch.int64)

    def runs(self, row):
        """Returns the runs of adjacent placeholders of pictures in a text: [(begin, end)]."""
        out = []
        for at in self.places(row).tolist():
            if out and out[-1][1] == at:
                out[-1] = (out[-1][0], at + 1)
            else:
                out.append((at, at + 1))
        return out


def pair(size):
    """Returns (height, width) of a size that may be one number for both."""
    return (int(size[0]), int(size[-1])) if isinstance(size, (tuple, list)) else (int(size), int(size))
