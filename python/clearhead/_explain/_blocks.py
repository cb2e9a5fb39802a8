"""Finds the output projection W_O of an attention layer, the residual connection around it, and a norm after the sum.

They are found by following tensors through one run, not by names of modules, and every step is checked: the projection is the module whose
input is the attention's output; the residual stream is an input x of an enclosing module with x + W_O(out) as the next input or output.
"""

import torch

from .._watch import Watch
from ..errors import UnsupportedError

CLOSE = {torch.float32: 1e-5, torch.float64: 1e-9}


def _first_states(positional, keywords):
    """The hidden states that a module is called with, or None."""
    given = positional[0] if positional else keywords.get("hidden_states", keywords.get("input"))
    return given if isinstance(given, torch.Tensor) and given.is_floating_point() and given.dim() >= 2 else None


def block_around(model, path, others=()):
    """Returns the layer around the attention module at a path: the largest module with a number as its name and without the attention
    modules at the paths `others`. None if there is none."""
    parts = path.split(".")
    for at, part in enumerate(parts):
        around = ".".join(parts[: at + 1])
        if part.isdigit() and not any(other.startswith(around + ".") for other in others):
            return model.get_submodule(around)
    return None


def _is_close(a, b):
    return bool(torch.allclose(a, b, rtol=0, atol=CLOSE.get(a.dtype, 2e-2) * max(1.0, float(b.abs().max()))))


class Block:
    """The output projection, the residual stream and the norm around one attention layer.

    values: [key_head, key, d_v]; heads: number of heads. project: the module W_O. residual: the stream x [query, width]; summed:
    x + W_O(out) [query, width]; norm: the module that normalises the sum (post-norm), or None.
    """

    def __init__(self, path):
        self.path, self.values, self.heads, self.out = path, None, None, None
        self.project = self.added = self.residual = self.summed = self.norm = self.read = None

    def projected(self, of_heads):
        """Projects vectors of each head without the bias. of_heads: [n, head, d_v]. Returns [n, width]."""
        flat = of_heads.reshape(of_heads.shape[0], -1).to(self.out.dtype)
        weight = getattr(self.project, "weight", None)
        if type(self.project) is torch.nn.Linear:
            return flat @ weight.detach().T
        if type(self.project).__name__ == "Conv1D" and weight is not None:
            return flat @ weight.detach()
        return self.project(flat[None])[0] - self.project(torch.zeros_like(flat[None]))[0]  # quantised or adapted weights

    def values_of_heads(self):
        """The values of every head, [head, key, d_v]."""
        return self.values.repeat_interleave(self.heads // self.values.shape[0], 0)

    def output_norms(self):
        """The norms of the projected values, f32 [1, head, key] (Kobayashi et al. 2020, equation 5)."""
        values, out = self.values_of_heads(), []
        for head in range(self.heads):
            alone = torch.zeros(values.shape[1], self.heads, values.shape[2], dtype=values.dtype, device=values.device)
            alone[:, head] = values[head]
            out.append(self.projected(alone).float().norm(dim=-1))
        return torch.stack(out)[None].cpu()

    def normalised_as(self, parts, whole):
        """Applies the norm after the sum to the parts of a row, with the scale of the whole row and without the bias.

        parts: [n, width]; whole: [width]. Raises UnsupportedError for a norm that is neither LayerNorm nor RMSNorm.
        """
        if self.norm is None:
            return parts
        epsilon = getattr(self.norm, "eps", getattr(self.norm, "variance_epsilon", None))
        weight = getattr(self.norm, "weight", None)
        is_centred = isinstance(self.norm, torch.nn.LayerNorm)
        if epsilon is not None:
            parts, whole = parts.double(), whole.double()
            centred = whole - whole.mean() if is_centred else whole
            scale = (centred.square().mean() + epsilon).rsqrt() * (1 if weight is None else weight.detach().double())
            bias = getattr(self.norm, "bias", None)
            expected = centred * scale + (0 if bias is None else bias.detach().double())
            if _is_close(expected.float(), self.norm(whole.to(self.out.dtype)).detach().float()):
                return (parts - parts.mean(-1, keepdim=True) if is_centred else parts) * scale
        raise UnsupportedError(f"explain: {self.path}: the norm after its attention is a {type(self.norm).__name__}, which is not "
                               "understood; expected a LayerNorm or an RMSNorm")

    def check(self, *names):
        """Raises UnsupportedError if one of these is not known."""
        reasons = {
            "project": "the output of its attention does not go into a projection as it is",
            "residual": "the output of its attention is not added to the residual stream as it is",
        }
        for name in names:
            if getattr(self, name) is None:
                raise UnsupportedError(f"explain: {self.path}: {reasons[name]}, which this method needs")


class BlockWatch(Watch):
    """A watch that also finds the blocks around attention layers.

    blocks: {path of the layer: Block}. without_gradients: paths of the layers whose gradients were not captured. follow: function (family,
    layer number) that returns whether the block of a layer is wanted; None for no layer. finish: function that is called with the watch
    before its trace is made.
    """

    def __init__(self, *arguments, follow=None, finish=None, **keywords):
        super().__init__(*arguments, **keywords)
        self.blocks, self.without_gradients = {}, []
        self._follow, self._before_trace, self._pending, self._running = follow, finish, None, []
        self.observes_elementary_modules = follow is not None

    def observe(self, layer, call, out, heads=None):
        result = super().observe(layer, call, out, heads)
        self._pending = None
        is_wanted = self._follow is not None and self._follow(layer.family, layer.number)
        if is_wanted and call.batch == 1 and layer.path not in self.blocks:
            block = self.blocks[layer.path] = Block(layer.path)
            block.heads, block.values = call.query.shape[1], call.value.detach()[0]
            module, block.read = next((one for one in reversed(self._running) if id(one[0]) == layer.module), (None, None))
            found = result
            if not isinstance(result, torch.Tensor):  # torch.nn.MultiheadAttention projects in its own code
                found = call.output(call.weights(range(call.queries))).to(call.value.dtype)
                block.project = getattr(module, "out_proj", None)
            block.out = found.detach()[0].flatten(-2)
            self._pending = block
        return result

    def _finish(self):
        self.without_gradients = [one.path for one in self._layers.values() if one.problem is None and not one.captures_gradient]
        if self._before_trace is not None:
            self._before_trace(self)
        super()._finish()

    def before(self, module, positional, keywords, is_first):
        super().before(module, positional, keywords, is_first)
        if self._follow is None:
            return
        states = _first_states(positional, keywords)
        self._running.append((module, None if states is None else states.detach()))
        if states is not None and self._pending is not None:
            self._follow_input(self._pending, module, states.detach())

    def after(self, module, result, is_last):
        super().after(module, result, is_last)
        out = result[0] if isinstance(result, tuple) and result else result
        if self._pending is not None and isinstance(out, torch.Tensor):
            self._follow_output(self._pending, module, out.detach())
        if self._running and self._running[-1][0] is module:
            self._running.pop()
        if is_last:
            self._pending, self._running = None, []

    def _rows(self, block, states):
        """Returns states as [query, width]; None if they do not have one row for each query of the layer."""
        flat = states.reshape(-1, states.shape[-1])
        return flat if flat.shape[0] == block.out.shape[0] else None

    def _follow_input(self, block, module, states):
        rows = self._rows(block, states)
        if rows is None:
            return
        if block.project is None:
            if rows.shape == block.out.shape and torch.equal(rows, block.out) and next(module.children(), None) is None:
                block.project = module
        elif block.added is not None and self._is_sum(block, rows):
            is_post = block.read is not None and torch.equal(self._rows(block, block.read), block.residual)
            block.norm = module if is_post and "norm" in type(module).__name__.lower() else None
            self._pending = None

    def _follow_output(self, block, module, out):
        rows = self._rows(block, out)
        if rows is None or block.project is None:
            return
        if block.added is None:
            is_own = module is block.project or getattr(module, "out_proj", None) is block.project
            block.added = rows if is_own else None
        elif self._is_sum(block, rows):
            self._pending = None

    def _is_sum(self, block, rows):
        """Returns whether `rows` is the sum of the projected output and the states that an enclosing module was called with."""
        if rows.shape != block.added.shape:
            return False
        for _, states in reversed(self._running):
            candidate = None if states is None else self._rows(block, states)
            if candidate is not None and candidate.shape == rows.shape and _is_close(rows, candidate + block.added):
                block.residual, block.summed = candidate, rows
                return True
        return False
