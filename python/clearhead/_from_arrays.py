"""Traces from given queries and keys: plain arrays, or an ActivationCache of TransformerLens."""

from . import _core
from ._attach import attach_methods
from ._attend import _description, _readable
from ._memory import plain
from ._text import text_of
from .errors import InvalidArgumentError, NotFoundError, ShapeError


def _text(tokens, tokenizer, ids, count):
    if tokens is not None and ids is None:
        tokens = [str(one) for one in tokens]
        text, offsets = "", []
        for one in tokens:
            word = one.replace("\u0120", " ").replace("\u2581", " ")
            begin = len(text.encode())
            text += word if word.startswith((" ", "\n")) or not text else " " + word
            offsets.append((len(text.encode()) - len(word.strip().encode()) if word.strip() else begin, len(text.encode())))
        out = {"text": text, "ids": list(range(len(tokens))), "offsets": offsets, "special": [0] * len(tokens), "pieces": tokens}
    else:
        out = text_of(tokenizer, range(count) if ids is None else ids)
    if len(out["ids"]) != count:
        raise ShapeError(f"from_qkv: {len(out['ids'])} tokens for {count} positions; expected one token for each position")
    return out


def from_qkv(layers, tokens=None, description=None, *, ids=None, tokenizer=None, family=None, name="arrays", topology=None, scale=None,
             softcap=None, bias=None, terms=(), normaliser=None, budget=2 << 30, tail=1024):
    """Builds a Trace from queries and keys of self-attention.

    The maps are computed from q, k and the given description of the attention.

    Parameters
    ----------
    layers : list of (q, k) or (q, k, v), one per layer
        q: [1, head, token, d_k]; k: [1, key_head, token, d_k]; both after rotary embedding. v: [1, key_head, token, d_v], used only for
        its norms.
        float32, float16 or bfloat16; numpy or torch.
    tokens : list of str, optional
        The tokens. Alternatively, `ids` with `tokenizer`.
    description : Description, or list of one Description per layer, optional
        Describes the attention. Default: built from the keyword arguments, for all layers.
    topology, scale, softcap, bias, terms, normaliser
        As in attend(), for example topology=ch.causal().
    ids : sequence of int, optional
        Token ids.
    tokenizer : optional
        A transformers tokenizer for `ids`.
    family : {"enc", "dec"}, optional
        Name of the map's family. Default: "dec" for a causal description, else "enc".
    name : str
        Name of the model in the trace.
    budget : int
        Largest size of the trace, in bytes.
    tail : int
        If the rows of all queries do not fit into the budget, the last `tail` rows are kept.

    Raises ShapeError, UnsupportedError, BudgetError, InvalidArgumentError.
    """
    if not layers:
        raise InvalidArgumentError("from_qkv: no layers; expected a list of (q, k) or (q, k, v)")
    if description is None:
        description = _description(scale, softcap, bias, terms, None, topology, normaliser, 0.0, 0, None)
    descriptions = list(description) if isinstance(description, (list, tuple)) else [description] * len(layers)
    if len(descriptions) != len(layers):
        raise ShapeError(f"from_qkv: {len(descriptions)} descriptions for {len(layers)} layers; expected one for each, or one for all")
    first_q, first_k = layers[0][:2]
    for at, (q, k, *_) in enumerate(layers):
        if (
            q.ndim != 4
            or k.ndim != 4
            or tuple(q.shape) != tuple(first_q.shape)
            or tuple(k.shape) != tuple(first_k.shape)
            or q.shape[0] != 1
        ):
            raise ShapeError(f"from_qkv: layer {at} has q {tuple(q.shape)}, k {tuple(k.shape)}; expected [1, head, token, d_k] and [1, "
                             "key_head, token, d_k], the same in all layers")
    if first_q.shape[2] != first_k.shape[2]:
        raise ShapeError(f"from_qkv: {first_q.shape[2]} queries and {first_k.shape[2]} keys; expected equal numbers (self-attention)")
    causal = descriptions[0].to_dict()["topology"]["band"]["ahead"] == 0
    plan = {"name": family or ("dec" if causal else "enc"), "layers": len(layers), "heads": first_q.shape[1], "key_heads": first_k.shape[1],
            "d_k": first_q.shape[3], "queries": first_q.shape[2], "keys": first_k.shape[2], "causal": causal, "is_part": False,
            "first_query": 0, "first_key": 0}

    def calls():
        import numpy as np

        for at, (q, k, *v) in enumerate(layers):
            norms = None
            if v and v[0] is not None:
                values = plain(_readable(v[0]), "v")
                values = np.asarray(values.float() if hasattr(values, "float") else values, np.float32)
                norms = np.linalg.norm(values, axis=-1).astype(np.float32)
            yield plan["name"], at, _readable(q), _readable(k), descriptions[at], None if norms is None else (norms, None), None

    return _core._trace_of_calls(name, _text(tokens, tokenizer, ids, first_q.shape[2]), [plan], calls(), [], budget, tail, [], [], "")


def from_transformer_lens(cache, tokens=None, *, config=None, ids=None, tokenizer=None, sequence=0, **options):
    """Builds a Trace from a run that TransformerLens has cached (`logits, cache = model.run_with_cache(tokens)`).

    Parameters
    ----------
    cache : ActivationCache or mapping
        Must have blocks.N.attn.hook_q and hook_k, each [batch, token, head, d_head]; hook_rot_q and hook_rot_k are preferred if present.
    tokens, ids, tokenizer
        As in from_qkv().
    config : optional
        The model's cfg, for the scale, the direction, local windows and the soft cap. Default: cache.model.cfg.
    sequence : int
        Index of the sequence of the batch.
    **options
        Further arguments of from_qkv().

    Raises NotFoundError for a cache without queries or keys, and the errors of from_qkv().
    """
    import numpy as np

    config = config if config is not None else getattr(getattr(cache, "model", None), "cfg", None)
    asked = lambda name, otherwise: getattr(config, name, otherwise) if config is not None else otherwise

    def hook(layer, name):
        for spelling in (f"blocks.{layer}.attn.hook_rot_{name}", f"blocks.{layer}.attn.hook_{name}"):
            if spelling in cache:
                found = cache[spelling]
                found = found if found.ndim == 4 else found[None]
                return _readable(found)[sequence : sequence + 1]
        return None

    layers, descriptions = [], []
    while (q := hook(len(layers), "q")) is not None:
        k = hook(len(layers), "k")
        if k is None:
            raise NotFoundError(f"from_transformer_lens: blocks.{len(layers)}.attn.hook_q is in the cache, but hook_k is not; cache both")
        window = None
        if asked("use_local_attn", False) and asked("attn_types", None) and asked("attn_types", None)[len(layers)] == "local":
            window = asked("window_size", None)
        cap = asked("attn_scores_soft_cap", -1.0)
        scale = asked("attn_scale", None)
        scale = 1.0 / scale if asked("use_attn_scale", True) and scale else None if asked("use_attn_scale", True) else 1.0
        topology = _core.full() if asked("attention_dir", "causal") == "bidirectional" else _core.causal(window)
        descriptions.append(_core.Description(score=_core.Dot(scale), terms=[_core.SoftCap(cap)] if cap and cap > 0 else [],
                                              topology=topology))
        axes = (lambda x: x.transpose(1, 2)) if hasattr(q, "detach") else (lambda x: np.swapaxes(x, 1, 2))
        layers.append((axes(q), axes(k)))
    if not layers:
        raise NotFoundError("from_transformer_lens: the cache has no blocks.0.attn.hook_q; call run_with_cache() without names_filter, "
                            "or with one that keeps hook_q and hook_k")
    return from_qkv(layers, tokens, descriptions, ids=ids, tokenizer=tokenizer, name=str(asked("model_name", "TransformerLens")), **options)


attach_methods(_core.Trace, from_qkv=staticmethod(from_qkv), from_transformer_lens=staticmethod(from_transformer_lens))
