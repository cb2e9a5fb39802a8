"""head_effects(): the effect of each head on an answer, by runs of the model in which the head's output is replaced."""

import numpy as np
import torch

from .._explain._prompt import Prompt
from .._explain._run import TOKENS_TOGETHER, check_padding, evaluated, repeated
from .._explain.answers import Question, answer_of
from ..errors import InvalidArgumentError, UnsupportedError
from ._weights import Probe


class HeadEffects:
    """The effects of heads on an answer; see head_effects().

    Attributes
    ----------
    answer : str
        The answer in words.
    value : float
        y of the prompt. other_value: y of the other prompt, or None.
    effects : f64 array [layer, head]
        The change of y when the head's output is replaced: y after minus y before. NaN where a layer has fewer heads.
    replacement, path : str
        "zero", "mean" or "other"; "total" or "direct".
    """

    def __init__(self, answer, value, other_value, effects, replacement, path):
        self.answer, self.value, self.other_value, self.effects = answer, value, other_value, effects
        self.replacement, self.path = replacement, path

    def __repr__(self):
        layer, head, effect = self.top(1)[0]
        return f"clearhead.HeadEffects({self.answer}, {self.replacement}, {self.path}; largest: L{layer}.H{head} {effect:+.4g})"

    def __array__(self, dtype=None, copy=None):
        return np.array(self.effects, dtype=dtype)

    @property
    def recovered(self):
        """The effects as parts of the difference between both prompts, (y − y_prompt)/(y_other − y_prompt), f64 [layer, head]. Raises
        InvalidArgumentError without an other prompt."""
        if self.other_value is None:
            raise InvalidArgumentError("head_effects: without other=, there is no difference of which a part could be recovered")
        return self.effects / (self.other_value - self.value)

    def top(self, count=10):
        """Returns [(layer, head, effect)] with the largest effects by magnitude."""
        order = np.argsort(-np.abs(np.nan_to_num(self.effects.ravel())), kind="stable")[:count]
        return [(*map(int, divmod(at, self.effects.shape[1])), float(self.effects.flat[at])) for at in order]

    def table(self, count=10):
        """Returns the largest effects as text, one line for each head."""
        lines = [f"{self.answer}  y = {self.value:.6g}" + ("" if self.other_value is None else f", other prompt {self.other_value:.6g}"),
                 f"{'head':<8} {'change of y':>12}   ({self.path} effect, output replaced by {self.replacement})"]
        return "\n".join(lines + [f"{f'L{layer}.H{head}':<8} {effect:+12.4g}" for layer, head, effect in self.top(count)])

    def plot(self, axes=None):
        """Draws the effects as a map of layers and heads, with matplotlib. Returns the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(0.4 * self.effects.shape[1] + 2, 0.4 * self.effects.shape[0] + 1.5))[1] if axes is None else axes
        largest = float(np.nanmax(np.abs(self.effects))) or 1.0
        image = axes.imshow(self.effects, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
        axes.set(xlabel="head", ylabel="layer", title=self.answer)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        axes.figure.colorbar(image, ax=axes, label=f"change of y ({self.path})")
        return axes


def head_effects(model, tokenizer=None, prompt=None, *, target=None, contrast=None, answer=None, other=None, ablation="zero", path="total",
                 max_tokens=128):
    """Measures the effect of each head on an answer: ablation, activation patching and path patching.

        ch.head_effects(model, tokenizer, prompt, target=" Mary", contrast=" John")                       # without each head
        ch.head_effects(model, tokenizer, prompt, target=" Mary", contrast=" John", other=other_prompt)   # activation patching
        ch.head_effects(model, tokenizer, prompt, target=" Mary", other=other_prompt, path="direct")      # path patching

    In one run for each head, the head's output (what the output projection reads) is replaced at every token. The effect is the change of
    y, the logit of the answer, the difference of two logits (contrast), or the sum of the log-probabilities of several tokens.

    Parameters
    ----------
    model, tokenizer, prompt, target, contrast, answer, max_tokens
        As in ch.explain(), for models of transformers with one kind of attention: decoders, encoders.
    other : str, list of int, or dict, optional
        A prompt with the same number of tokens. Outputs are replaced by those that the head has there (activation patching: Vig et al.
        2020; Meng et al. 2022).
    ablation : str
        Without `other`: "zero", or "mean", the head's mean output over the tokens of the run.
    path : str
        "total": all later layers see the change. "direct": the outputs of all heads in later layers stay as they were, so that only the
        paths through residual stream, MLPs and norms remain (path patching: Wang et al. 2022; Goldowsky-Dill et al. 2023).

    Returns
    -------
    HeadEffects

    Raises
    ------
    InvalidArgumentError
        Malformed arguments; another number of tokens in `other`; padding.
    UnsupportedError
        Encoder-decoders; heads whose output does not go into a projection module. The message names the module.
    """
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgumentError(f"head_effects: expected a torch.nn.Module, found {type(model).__name__}")
    if ablation not in ("zero", "mean"):
        raise InvalidArgumentError(f'head_effects: ablation={ablation!r}; expected "zero" or "mean"')
    if path not in ("total", "direct"):
        raise InvalidArgumentError(f'head_effects: path={path!r}; expected "total" or "direct"')
    read = Prompt.of(model, tokenizer, prompt, None, None)
    check_padding(read.inputs)
    with evaluated(model), torch.no_grad():
        asked = answer_of(Question(model, tokenizer, read, target, contrast, answer, max_tokens))
        others = None if other is None else Prompt.of(model, tokenizer, other, None, None)
        replacement = ablation if other is None else "other"
        of = _Patched(model, asked, read, others, replacement, path == "direct")
        effects, value, other_value = of.effects(), of.value, of.other_value
        if asked.opposite is not None:
            less = _Patched(model, asked.opposite, read, others, replacement, path == "direct")
            effects, value = effects - less.effects(), value - less.value
            other_value = None if others is None else other_value - less.other_value
    return HeadEffects(asked.description, value, other_value, effects, replacement, path)


class _Patched:
    """Runs of one answer in which heads are replaced.

    projections: [(path, output projection, number of heads)], one for each layer. outputs: what each of them read, [token, channel].
    """

    def __init__(self, model, answer, prompt, other, replacement, is_direct):
        self.model, self.answer, self.replacement, self.is_direct = model, answer, replacement, is_direct
        self.projections = self._found()
        self.outputs, self.value = self._recorded(answer.inputs)
        self.others = self.other_value = None
        if other is not None:
            self.others, self.other_value = self._recorded(self._inputs_of(prompt, other))

    def _found(self):
        with Probe(self.model, keep=False) as watch:
            self.model(**self.answer.inputs)
        families = {layer.family for layer, _ in watch.calls.values()}
        if len(families) != 1:
            raise UnsupportedError(f"head_effects: the attention of this model has the families {', '.join(sorted(families)) or 'none'}; "
                                   "expected a decoder or an encoder with one")
        modules = {id(module) for module in self.model.modules()}
        for path, block in watch.blocks.items():
            if block.project is None or id(block.project) not in modules:
                raise UnsupportedError(f"head_effects: {path}: the output of its attention does not go into a projection as it is")
        return [(path, block.project, block.heads) for path, block in watch.blocks.items()]

    def _inputs_of(self, prompt, other):
        """The inputs of the answer, with the other prompt in place of the prompt. Tokens of the answer stay."""
        check_padding(other.inputs)
        if set(other.inputs) != set(prompt.inputs) or any(other.inputs[name].shape != one.shape for name, one in prompt.inputs.items()):
            sizes = {name: list(one.shape) for name, one in prompt.inputs.items()}
            found = {name: list(one.shape) for name, one in other.inputs.items()}
            raise InvalidArgumentError(f"head_effects: the other prompt has the inputs {found}; expected those of the prompt, {sizes}: "
                                       "both must have the same number of tokens")
        inputs = dict(self.answer.inputs)
        for name, one in other.inputs.items():
            given = inputs.get(name)
            if given is None or given.shape[:1] != one.shape[:1]:
                continue
            inputs[name] = one if given.shape == one.shape else torch.cat([one, given[:, one.shape[1] :]], 1)
            inputs[name] = inputs[name][:, : given.shape[1]] if given.dim() > 1 else inputs[name]
        return inputs

    def _recorded(self, inputs):
        """Returns (what each projection reads, y) of a run."""
        out = {}

        def keep(number):
            def hook(module, positional):
                out.setdefault(number, positional[0].detach()[0].clone())

            return hook

        hooks = [project.register_forward_pre_hook(keep(number)) for number, (_, project, _) in enumerate(self.projections)]
        try:
            y = float(self.answer.number(self.model(**inputs)).sum())
        finally:
            for hook in hooks:
                hook.remove()
        for number, (path, _, _) in enumerate(self.projections):
            if number not in out:
                raise UnsupportedError(f"head_effects: {path}: its output projection is not called as a module")
        return [out[number] for number in range(len(self.projections))], y

    def _replaced_by(self, layer, channels):
        """The output of one head that replaces its own: [token|1, channel]."""
        if self.replacement == "other":
            return self.others[layer][:, channels]
        own = self.outputs[layer][:, channels]
        return own.mean(0, keepdim=True) if self.replacement == "mean" else torch.zeros_like(own[:1])

    def _run(self, heads):
        """y of one run for each of these heads, [(layer, head)], as one batch."""
        def replace(number, count):
            def hook(module, positional):
                x, size = positional[0].clone(), positional[0].shape[-1] // count
                for row, (layer, head) in enumerate(heads):
                    if layer == number:
                        channels = slice(head * size, (head + 1) * size)
                        x[row, :, channels] = self._replaced_by(number, channels)
                    elif self.is_direct and layer < number:
                        x[row] = self.outputs[number]
                return (x, *positional[1:])

            return hook

        hooks = [project.register_forward_pre_hook(replace(number, count)) for number, (_, project, count) in enumerate(self.projections)]
        try:
            return self.answer.number(self.model(**repeated(self.answer.inputs, len(heads)))).double().tolist()
        finally:
            for hook in hooks:
                hook.remove()

    def effects(self):
        every = [(layer, head) for layer, (_, _, count) in enumerate(self.projections) for head in range(count)]
        out = np.full((len(self.projections), max(count for _, _, count in self.projections)), np.nan)
        together = max(1, TOKENS_TOGETHER // max(1, len(self.outputs[0]))) if self.answer.takes_batches else 1
        for begin in range(0, len(every), together):
            some = every[begin : begin + together]
            for (layer, head), y in zip(some, self._run(some)):
                out[layer, head] = y - self.value
        return out
