"""DeBERTa-v2, DeBERTa-v3 and SEW-D, which share their attention: scores with tables of relative positions (He et al. 2021, equation 4)."""

import torch

from .._calls import Call, RelativeCall
from . import register

_NAMES = ("hidden_states", "attention_mask", "output_attentions", "query_states", "relative_pos", "rel_embeddings")


def described(module, hidden, source, mask, relative, rel_embeddings):
    """Returns the Call of a DisentangledSelfAttention for these inputs, with q, k, v and its two tables as the module computes them."""
    heads = module.num_attention_heads
    split = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)
    q, k, v = (split(of(x)) for of, x in ((module.query_proj, source), (module.key_proj, hidden), (module.value_proj, hidden)))
    kinds = [kind for kind in ("c2p", "p2c") if kind in module.pos_att_type]
    scale = (q.shape[-1] * (1 + len(kinds))) ** -0.5
    mask = mask.bool()
    mask = mask if mask.dim() == 4 else mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]
    dropout = module.dropout.p if module.training else 0.0
    if not (module.relative_attention and kinds):
        return Call("eager", module, q, k, v, mask, {"scaling": scale, "dropout": dropout})
    span, table = module.pos_ebd_size, rel_embeddings[: 2 * module.pos_ebd_size]
    relative = relative.reshape(relative.shape[-2:]).long()
    bucket = torch.cat([relative[:, 0].flip(0), relative[0, 1:]])  # for j - i = -(N - 1) … 0 … N - 1
    rows = lambda of, at: of(table).unflatten(-1, (heads, -1)).transpose(0, 1)[:, at.clamp(0, 2 * span - 1)]
    if module.share_att_key:
        of_pairs = [module.key_proj, module.query_proj]
    else:
        of_pairs = [getattr(module, "pos_key_proj", None), getattr(module, "pos_query_proj", None)]
    empty = torch.zeros(heads, len(bucket), q.shape[-1], device=q.device)
    of_queries = rows(of_pairs[0], bucket + span) if "c2p" in kinds else empty
    of_keys = rows(of_pairs[1], span - bucket.flip(0)) if "p2c" in kinds else empty
    return RelativeCall(module, q, k, v, mask, scale, of_queries, of_keys, dropout)


def edited(watch, kept, call, result, wanted):
    """Returns the module's result, with edited output and weights if its layer has edits. wanted: the edited output."""
    if not watch._edited(kept):
        return result
    rows = list(range(call.queries))
    hidden = watch._edits.hidden(kept.family, kept.number, call.query.shape[1], watch._places(kept, call), rows)
    weights = call.weights(rows, hidden)
    if not isinstance(result, tuple):
        return wanted
    return (wanted, *[weights.reshape(one.shape).to(one.dtype) if isinstance(one, torch.Tensor) else one for one in result[1:]])


@register("DisentangledSelfAttention")
class DebertaV2:
    @staticmethod
    def fits(module):
        return hasattr(module, "pos_att_type") and hasattr(module, "query_proj")

    @staticmethod
    def attended(watch, module, positional, keywords, result):
        given = {**dict(zip(_NAMES, positional)), **keywords}
        kept = watch._layer(watch.paths[id(module)], module)
        hidden, source, relative = given["hidden_states"], given.get("query_states"), given.get("relative_pos")
        source = hidden if source is None else source
        if module.relative_attention and (relative is None or source.shape[1] != hidden.shape[1]):
            kept.problem = "its relative positions are not those of one text"
            watch._edited(kept)
            return result
        with torch.set_grad_enabled(torch.is_grad_enabled() and watch._edited(kept)):
            call = described(module, hidden, source, given["attention_mask"], relative, given.get("rel_embeddings"))
            out = result[0] if isinstance(result, tuple) else result
            as_heads = lambda x: x.unflatten(-1, (module.num_attention_heads, -1))
            wanted = watch.observe(kept, call, as_heads(out)).flatten(2)
            if not watch._edits:
                watch._capture_gradient(kept, out, as_heads)
        return edited(watch, kept, call, result, wanted)
