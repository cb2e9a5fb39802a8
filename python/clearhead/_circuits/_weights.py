"""Finds the matrices of a decoder: embeddings, norms, and the projections of each attention layer.

Nothing is assumed from names: a short run of the model records what every module reads and writes, and each matrix is accepted only if the
recorded numbers follow from it. Attention must read norm(x) and add W_O·heads to x, the residual stream.
"""

import copy
import itertools

import torch

from .._explain._blocks import CLOSE, BlockWatch, _first_states, _is_close, block_around
from .._explain._run import evaluated
from ..errors import UnsupportedError

PROBE_TOKENS = 6


def _refuse(path, reason):
    raise UnsupportedError(f"circuits: {path}: {reason}")


class Probe(BlockWatch):
    """A watch of every layer that also keeps the layer and the call of each attention module: {path: (layer, call)}."""

    def __init__(self, model, **keywords):
        super().__init__(model, follow=lambda family, number: True, **keywords)
        self.calls = {}

    def observe(self, layer, call, out, heads=None):
        self.calls.setdefault(layer.path, (layer, call))
        return super().observe(layer, call, out, heads)


class _Recorded:
    """The states that every module read and wrote in one run: {id(module): tensor [row, width]}."""

    def __init__(self, model, ids):
        self.read, self.wrote, hooks = {}, {}, []

        def keep(module, positional, keywords, out):
            states, out = _first_states(positional, keywords), out[0] if isinstance(out, tuple) and out else out
            if states is not None:
                self.read.setdefault(id(module), states.detach().clone().flatten(0, -2))
            if isinstance(out, torch.Tensor) and out.is_floating_point() and out.dim() >= 2:
                self.wrote.setdefault(id(module), out.detach().clone().flatten(0, -2))

        try:
            hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in model.modules()]
            with torch.no_grad(), Probe(model) as self.watch:
                output = model(input_ids=torch.tensor([ids], device=next(model.parameters()).device))
        finally:
            for hook in hooks:
                hook.remove()
        self.logits = output.logits[0].detach()


def effective_norm(path, module, width):
    """Returns (is_rms, epsilon, gain, bias or None) of a LayerNorm or RMSNorm, also of one whose gain is 1 + weight. Raises
    UnsupportedError for other modules."""
    epsilon = getattr(module, "eps", getattr(module, "variance_epsilon", None))
    if isinstance(epsilon, (int, float)):
        module = copy.deepcopy(module).float().cpu()  # a norm in bf16 rounds its results
        with torch.no_grad():
            bias = module(torch.zeros(1, width))[0]
            signs = torch.ones(width)
            signs[1::2] = -1  # mean 0 and mean square 1, for an even width
            signs = signs if width % 2 == 0 else torch.randn(width, generator=torch.Generator().manual_seed(0))
            is_rms = not isinstance(module, torch.nn.LayerNorm)
            for rms in (is_rms, not is_rms):
                normalised = _normalised(signs, rms, epsilon)
                gain = (module(signs[None])[0] - bias) / normalised
                x = torch.randn(width, generator=torch.Generator().manual_seed(1)) + 1
                if _is_close(_normalised(x, rms, epsilon) * gain + bias, module(x[None])[0]):
                    return rms, float(epsilon), gain.contiguous(), bias.contiguous() if bool(bias.any()) else None
    return _refuse(path, f"this {type(module).__name__} is not understood; expected a LayerNorm or an RMSNorm")


def _normalised(x, rms, epsilon):
    x = x if rms else x - x.mean()
    return x * (x.square().mean() + epsilon).rsqrt()


def _matrix(path, module):
    """Returns (weight [out, in], bias or None) of a linear module, f32."""
    if isinstance(module, torch.nn.Linear) and type(module.weight) is torch.nn.Parameter:
        weight = module.weight
    elif type(module).__name__ == "Conv1D":
        weight = module.weight.T
    else:
        return _refuse(path, f"its projection is a {type(module).__name__}; expected a Linear whose weights are plain numbers (merge "
                             "adapters and dequantise first)")
    bias = None if module.bias is None else module.bias.detach().float().cpu().contiguous()
    return weight.detach().float().cpu().contiguous(), bias


def _layouts(outputs, heads, key_heads, size):
    """Yields (q, k, v): for each a pair (number of the module, rows of its output), for the ways in which models lay them out."""
    group, queries, keys = heads // key_heads, heads * size, key_heads * size
    whole = lambda count: torch.arange(count)
    for three in itertools.permutations(range(len(outputs)), 3):  # modules for queries, keys and values, in any order
        if [outputs[at].shape[-1] for at in three] == [queries, keys, keys]:
            yield tuple((at, whole(count)) for at, count in zip(three, (queries, keys, keys)))
    for at, out in enumerate(outputs):  # one fused module
        if out.shape[-1] != queries + 2 * keys:
            continue
        rows = whole(queries + 2 * keys)
        yield tuple((at, one) for one in rows.split((queries, keys, keys)))
        grouped = rows.reshape(key_heads, group + 2, size)
        yield (at, grouped[:, :group].flatten()), (at, grouped[:, group].flatten()), (at, grouped[:, group + 1].flatten())


def _agrees(a, b, dtype):
    """Returns whether numbers that a model computed in this dtype are equal but for rounding."""
    return bool(torch.allclose(a, b, rtol=0, atol=CLOSE.get(dtype, 2e-2) * max(1.0, float(b.abs().max()))))


def _factor(expected, found):
    """Returns c with expected = c · found, or None. Rotary embeddings change all rows but the first, so it suffices if that one agrees."""
    near_one = 1e-3 if expected.dtype in CLOSE else 2e-2
    for rows in (slice(None), slice(0, 1)):
        a, b = expected[rows].float(), found[rows].float()
        c = float((a * b).sum() / b.square().sum().clamp_min(1e-30))
        c = 1.0 if abs(c - 1) < near_one or c == 0 else c
        if _agrees(a, c * b, expected.dtype):
            return c
    return None


class ModelWeights:
    """The matrices of a model. `_core._Circuits` reads `ends`, `_core._AttentionWeights` reads the dicts of `layers`."""

    def __init__(self, model):
        self.model, self.name = model, type(model).__name__
        if not hasattr(model, "get_input_embeddings") or getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            _refuse(self.name, "expected a decoder of transformers with a next-token head, such as GPT2LMHeadModel")
        self.table, self.head = model.get_input_embeddings(), model.get_output_embeddings()
        if self.head is None or not isinstance(self.table, torch.nn.Embedding):
            _refuse(self.name, "it has no next-token head or no table of embeddings; expected a decoder such as GPT2LMHeadModel")
        self.paths = {id(module): path or self.name for path, module in model.named_modules()}
        size = self.table.weight.shape[0]
        if size < 2 * PROBE_TOKENS + 4:
            _refuse(self.name, f"a vocabulary of {size} tokens is too small to check the weights")
        ids = [3 + at * ((size - 4) // (2 * PROBE_TOKENS)) for at in range(2 * PROBE_TOKENS)]
        with evaluated(model):
            self.run, other = (_Recorded(model, some) for some in (ids[:PROBE_TOKENS], ids[PROBE_TOKENS:]))
            self.layers = [self._layer(path, layer, call) for path, (layer, call) in self.run.watch.calls.items()]
            if not self.layers:
                _refuse(self.name, "no attention layer ran")
            self._find_ends(ids, other)

    def _layer(self, path, layer, call):
        block = self.run.watch.blocks.get(path)
        attention = next(one for one in self.model.modules() if id(one) == layer.module)
        if block is None or block.project is None or id(block.project) not in self.run.wrote:
            _refuse(path, "its output does not go into a projection as it is")
        norm, x, stream = self._norm(path, attention)
        self._check_residual(path, block, stream)
        heads, key_heads, d = call.query.shape[1], call.key.shape[1], call.query.shape[3]
        if call.value.shape[3] != d:
            _refuse(path, f"its values have {call.value.shape[3]} channels per head and its keys {d}; expected the same number")
        query, key, value, scale = self._projections(path, attention, x, call)
        output, _ = _matrix(self.paths[id(block.project)], block.project)
        return {"norm": norm, "heads": heads, "key_heads": key_heads, "head_dim": d, "query": query[0], "query_bias": query[1],
                "key": key[0], "value": value[0], "output": output.T.contiguous(), "scale": scale * call.scale}

    def _block_of(self, path):
        return block_around(self.model, path, set(self.run.watch.calls) - {path}) or _refuse(path, "it is in no numbered block of layers")

    def _norm(self, path, attention):
        """Returns (norm or None, what attention reads, the residual stream before the norm)."""
        block, x = self._block_of(path), self.run.read.get(id(attention))
        start = self.run.read.get(id(block))
        if x is None or start is None:
            _refuse(path, "what it reads is not visible")
        if torch.equal(x, start):
            return None, x, start
        for module in block.modules():
            wrote = self.run.wrote.get(id(module))
            is_norm = next(module.children(), None) is None and wrote is not None and wrote.shape == x.shape and torch.equal(wrote, x)
            if is_norm and torch.equal(self.run.read[id(module)], start):
                return effective_norm(self.paths[id(module)], module, x.shape[-1]), x, start
        return _refuse(path, "it does not read the residual stream behind one norm; expected a pre-norm layer")

    def _check_residual(self, path, block, stream):
        """The block must add W_O·heads to the residual stream as it is, and otherwise only the output of its MLP."""
        of = self._block_of(path)
        rest = self.run.wrote[id(of)] - stream - self.run.wrote[id(block.project)]
        known = [torch.zeros_like(rest)] + [self.run.wrote[id(one)] for one in of.modules() if id(one) in self.run.wrote]
        scale = float(self.run.wrote[id(of)].abs().max())
        if not any(one.shape == rest.shape and _is_close(rest / scale, one / scale) for one in known):
            _refuse(path, "the block does not add the output of attention to the residual stream as it is; expected a pre-norm layer "
                          "without a norm or a factor after attention")

    def _projections(self, path, attention, x, call):
        linear = [one for one in attention.modules() if next(one.children(), None) is None and hasattr(one, "weight")
                  and id(one) in self.run.wrote and self.run.read.get(id(one)) is not None
                  and self.run.read[id(one)].shape == x.shape and torch.equal(self.run.read[id(one)], x)]
        outputs = [self.run.wrote[id(one)] for one in linear]
        flat = [one.detach()[0].transpose(0, 1).flatten(1) for one in (call.query, call.key, call.value)]
        for layout in _layouts(outputs, call.query.shape[1], call.key.shape[1], call.query.shape[3]):
            factors = [_factor(expected, outputs[at][:, rows]) for expected, (at, rows) in zip(flat, layout)]
            if None in factors or factors[2] != 1:
                continue
            parts = []
            for at, rows in layout:
                weight, bias = _matrix(self.paths[id(linear[at])], linear[at])
                parts.append((weight[rows].contiguous(), None if bias is None else bias[rows].contiguous()))
            return *parts, factors[0] * factors[1]
        names = ", ".join(self.paths[id(one)] for one in linear) or "none"
        return _refuse(path, f"its queries, keys and values are not plain projections of what it reads (linear modules: {names}); norms of "
                             "queries and keys, shared or low-rank projections are not supported")

    def _find_ends(self, ids, other):
        weight, _ = _matrix(self.paths[id(self.head)], self.head)
        read, wrote = self.run.read.get(id(self.head)), self.run.wrote.get(id(self.head))
        if read is None or not _is_close(self.run.logits, wrote):
            _refuse(self.paths[id(self.head)], "the model changes its logits afterwards (a factor or a soft cap), which is not supported")
        last = self.run.wrote[id(self._block_of(list(self.run.watch.calls)[-1]))]
        norm = None
        if not torch.equal(read, last):
            found = next((one for one in self.model.modules() if next(one.children(), None) is None and id(one) in self.run.wrote
                          and self.run.wrote[id(one)].shape == read.shape and torch.equal(self.run.wrote[id(one)], read)
                          and torch.equal(self.run.read[id(one)], last)), None)
            if found is None:
                _refuse(self.paths[id(self.head)], "it does not read the residual stream behind one norm")
            norm = effective_norm(self.paths[id(found)], found, read.shape[-1])
        embedding = self.table.weight.detach().float().cpu().contiguous()
        if weight.shape != embedding.shape:
            sizes = f"the embedding is {list(embedding.shape)} and the unembedding {list(weight.shape)}"
            _refuse(self.name, f"{sizes}; expected the same shape")
        unembedding = embedding if self.head.weight is self.table.weight else weight
        self.ends = {"embedding": embedding, "scale": self._scale(embedding, ids, other), "unembedding": unembedding, "final_norm": norm}

    def _scale(self, embedding, ids, other):
        """The factor on embeddings. Two runs at the same positions differ only by it times the difference of the embeddings."""
        first = self._block_of(next(iter(self.run.watch.calls)))
        difference = (self.run.read[id(first)] - other.read[id(first)]).cpu()
        expected = embedding[ids[:PROBE_TOKENS]] - embedding[ids[PROBE_TOKENS:]]
        scale = _factor(difference, expected)
        if scale is None or not _agrees(difference.float(), scale * expected, difference.dtype):
            _refuse(self.name, "the first layer does not read the embeddings plus positions (a norm or a projection is in between)")
        return scale
