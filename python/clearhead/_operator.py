"""attn_implementation="clearhead": the engine's kernel as a torch operator, and the attention function for transformers that calls it."""

import torch

from . import _core, _threads
from ._calls import as_computed, under_query_sinks
from ._masks import DescribedMask, clearhead_mask, remembered_mask, uniform_term
from .errors import UnsupportedError

_threads.share_with_torch()

_READABLE = (torch.float32, torch.bfloat16, torch.float16)


@torch.library.custom_op("clearhead::attention", mutates_args=())
def _attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, description: str, operands: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return _core._forward(q.detach(), k.detach(), v.detach(), description, [one.detach() for one in operands])


@_attention.register_fake
def _(q, k, v, description, operands):
    return q.new_empty((*q.shape[:3], v.shape[3])), q.new_empty((3, *q.shape[:3]), dtype=torch.float32)


@torch.library.custom_op("clearhead::attention_backward", mutates_args=())
def _attention_backward(d_out: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, stats: torch.Tensor,
                        description: str, operands: list[torch.Tensor], wants: bool) -> list[torch.Tensor]:
    detached = [one.detach() for one in (d_out, q, k, v, out, stats)]
    found = _core._backward(*detached, description, [one.detach() for one in operands], wants)
    return [torch.zeros((), dtype=torch.float32) if one is None else one.clone() for one in found]


@_attention_backward.register_fake
def _(d_out, q, k, v, out, stats, description, operands, wants):
    of_operands = [torch.empty_like(one, dtype=torch.float32) if wants else one.new_zeros((), dtype=torch.float32) for one in operands]
    return [torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), *of_operands]


def _setup(ctx, inputs, output):
    q, k, v, description, operands = inputs
    ctx.save_for_backward(q, k, v, *output, *operands)
    ctx.description = description
    ctx.wants = [one.is_floating_point() and one.requires_grad for one in operands]


def _gradients(ctx, d_out, _):
    q, k, v, out, stats, *operands = ctx.saved_tensors
    d_q, d_k, d_v, *rest = _attention_backward(d_out, q, k, v, out, stats, ctx.description, operands, any(ctx.wants))
    of_operands = [found.to(one.dtype) if wanted else None for found, one, wanted in zip(rest, operands, ctx.wants)]
    return d_q, d_k, d_v, None, of_operands


_attention.register_autograd(_gradients, setup_context=_setup)


def _check(q, k, v):
    for name, one in (("q", q), ("k", k), ("v", v)):
        if one.dtype not in _READABLE or one.device.type != "cpu":
            raise UnsupportedError(f"clearhead attention: {name} is {one.dtype} on {one.device}; expected float32, bfloat16 or float16 on "
                                   "the CPU. On another device, let the model keep its own kernel and inspect it with ch.watch")


def attention(q, k, v, description, operands=()):
    """Calls the operator torch.ops.clearhead.attention, which supports autograd and torch.compile.

    q: [batch, head, query, d_k]; k: [batch, key_head, key, d_k]; v: [batch, key_head, key, d_v]; float32, bfloat16 or float16 on the CPU.
    description: a ch.Description. operands: tensors in the order of description.operands, for gradients with respect to a bias or sinks;
    default: those of the description. Returns out [batch, head, query, d_v] and the row statistics f32 [3, batch, head, query].
    Raises UnsupportedError for another dtype or device.
    """
    _check(q, k, v)
    operands = list(operands) or [torch.as_tensor(one) for one in description.operands.values()]
    return torch.ops.clearhead.attention(q, k, v, description.to_json(), operands)


def _is_plain(*tensors):
    """Returns whether a call needs only its output: no gradients, and no torch mode, transform or tracer that must see the operator."""
    for one in tensors:
        if one is not None and (type(one) not in (torch.Tensor, torch.nn.Parameter) or (one.requires_grad and torch.is_grad_enabled())):
            return False
    has_modes = torch._C._len_torch_dispatch_stack() > 0 or torch._C._functorch.peek_interpreter_stack() is not None
    return not has_modes and torch._C._get_tracing_state() is None


def _terms(softcap, biases):
    terms = [] if softcap is None else [_core.SoftCap(float(softcap))]
    return terms + [_core.Bias(one.detach()) for one in biases]


def _chosen(indices):
    """Returns the topology of the keys that an indexer chose for each query (DeepSeek Sparse Attention). indices: int [batch, query,
    key]."""
    ordered = indices.detach().to("cpu", torch.int32).sort(-1).values
    batch, queries, count = ordered.shape
    offsets = torch.arange(queries + 1, dtype=torch.int32) * count
    return _core.block_sparse(offsets[None, None].contiguous(), ordered.reshape(batch, 1, queries * count).contiguous())


@torch.compiler.disable  # the description is built from Python objects; only the operator itself is compiled
def clearhead_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None, softcap=None, s_aux=None,
                        position_bias=None, output_attentions=None, sinks=None, indices=None, block_indices=None, **_):
    """Attention function for transformers (AttentionInterface). Returns (out [batch, query, head, d_v], Map or None)."""
    if sinks is not None and s_aux is not None:
        raise UnsupportedError('attn_implementation="clearhead": this model has a sink for every query (sinks) and one for each head '
                               '(s_aux); expected at most one of them')
    if block_indices is not None:
        raise UnsupportedError('attn_implementation="clearhead": this model hands its kernel indices of blocks; use "eager" or "sdpa" for '
                               'it')
    query, key, value = as_computed(query, key, value)
    _check(query, key, value)
    queries, keys, uniform = query.shape[2], key.shape[2], None
    if sinks is not None:
        position_bias, s_aux = under_query_sinks(position_bias, sinks, keys), query.new_zeros(query.shape[1])
    biases = [] if position_bias is None else [position_bias[..., :keys].float().contiguous()]
    if isinstance(attention_mask, DescribedMask):
        source = attention_mask.source
        topology = (source if source.shape[3] == keys else source.part(keys=slice(0, keys))).topology()
    elif attention_mask is not None:
        attention_mask = attention_mask[..., :keys]
        attention_mask = (
            attention_mask if attention_mask.dtype == torch.bool or attention_mask.is_floating_point() else attention_mask.float()
        )
        topology, rest, uniform = remembered_mask(attention_mask, spreads=s_aux is None)
        biases += [] if rest is None else [rest]
    else:
        is_causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
        topology = _core.causal(align="start") if is_causal and queries > 1 else _core.full()
    if indices is not None:
        topology = topology & _chosen(indices)
    sinks = None if s_aux is None else s_aux.float().contiguous()
    seed = int(torch.randint(1 << 62, ())) if dropout else 0
    terms = _terms(softcap, biases) + ([] if uniform is None else [uniform_term(uniform, queries, keys)])
    description = _core.Description(score=_core.Dot(float(query.shape[-1] ** -0.5 if scaling is None else scaling)), terms=terms,
                                    topology=topology, normaliser=_core.Softmax(None if sinks is None else sinks.detach()),
                                    dropout=float(dropout or 0), dropout_seed=seed)
    wants_map = output_attentions or getattr(getattr(module, "config", None), "output_attentions", False)
    if not wants_map and _is_plain(query, key, value, *biases, sinks):
        return _core._outputs(*(one.detach() if one.requires_grad else one for one in (query, key, value)), description), None
    own = {"sinks": sinks, **{"bias" if at == 0 else f"bias{at + 1}": one for at, one in enumerate(biases)}}
    operands = [own.get(name) if own.get(name) is not None else torch.as_tensor(one) for name, one in description.operands.items()]
    out, stats = attention(query, key, value, description, operands)
    found = None
    if wants_map:
        from ._attend import Map

        found = Map(None, _core._Map(_core._record(query.detach(), key.detach(), stats.detach(), description)))
    return out.transpose(1, 2).contiguous(), found


def register():
    """Registers attn_implementation="clearhead" with transformers 5 or later. Importing both packages does this, too.

    Raises UnsupportedError for an older transformers.
    """
    try:
        from transformers.masking_utils import AttentionMaskInterface
        from transformers.modeling_utils import AttentionInterface
    except ImportError as error:
        raise UnsupportedError('attn_implementation="clearhead" needs transformers 5 or later; pip install -U transformers') from error

    AttentionInterface.register("clearhead", clearhead_attention)
    AttentionMaskInterface.register("clearhead", clearhead_mask)
