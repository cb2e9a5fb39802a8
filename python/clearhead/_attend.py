"""attend() with its description as keywords, and the map of what it kept."""

import sys

from . import _core, _indexing, _pictures


def _readable(array):
    """The array without its connection to torch's autograd."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def _wants_gradients(*arrays):
    torch = sys.modules.get("torch")
    return torch is not None and torch.is_grad_enabled() and any(isinstance(one, torch.Tensor) and one.requires_grad for one in arrays)


def _attend_with_gradients(q, k, v, bias, description):
    """attend() as the operator torch.ops.clearhead.attention, whose output autograd can go back through."""
    import torch

    from ._operator import attention

    q, k, v = (torch.as_tensor(one) for one in (q, k, v))
    operands = {name: torch.as_tensor(one) for name, one in description.operands.items()}
    if bias is not None:
        last = [name for name in operands if name.startswith("bias")][-1]  # bias= is the last term
        operands[last] = torch.as_tensor(bias)
    out, stats = attention(q, k, v, description, list(operands.values()))
    record = _core._record(q.detach(), k.detach(), stats.detach(), description)
    return out, _core._attention_of(record, v.detach(), out.detach())


def _description(scale, softcap, bias, terms, score, topology, normaliser, dropout, dropout_seed, head_mask):
    if scale is not None and score is not None:
        raise _errors().InvalidArgumentError("attend: scale belongs to the score that is given: score=ch.Dot(scale)")
    all_terms = list(terms)
    if softcap is not None:
        all_terms.append(_core.SoftCap(softcap))
    if bias is not None:
        all_terms.append(_core.Bias(_readable(bias)))
    return _core.Description(score=score if score is not None else _core.Dot(scale), terms=all_terms,
                             topology=topology if topology is not None else _core.full(),
                             normaliser=normaliser if normaliser is not None else _core.Softmax(), dropout=dropout,
                             dropout_seed=dropout_seed, head_mask=head_mask)


def _errors():
    from . import errors
    return errors


def attend(q, k, v=None, description: _core.Description | None = None, *, topology: _core.Topology | None = None,
           scale: float | None = None, softcap: float | None = None, bias=None, terms=(), score=None, normaliser=None,
           dropout: float = 0.0, dropout_seed: int = 0, head_mask=None) -> tuple:
    """Computes attention, and keeps what is needed to recompute any of its weights later.

    q: [batch, head, query, d_k]; k: [batch, key_head, key, d_k]; v: [batch, key_head, key, d_v]; any strides, all float32, float16 or
    bfloat16. `head` is a multiple of `key_head`. In place of k and v a KVCache: the queries are then its last positions.
    What is computed is said by a Description, or by keywords: topology (which keys a query sees: causal(), window(), mask() …, joined
    by &), scale (1/sqrt(d_k)), terms in their order (then softcap, then bias), score, normaliser, dropout, head_mask.

    Returns (out, record). out: [batch, head, query, d_v], an array of q's kind. The record shares q, k, v and out; nothing is copied, and
    looks raise StaleError once their bytes have changed (Record.unpinned). Where torch records gradients and q, k, v or `bias` require
    them, so does out.
    Raises ShapeError, UnsupportedError, InvalidArgumentError.
    """
    keywords = (topology, scale, softcap, bias, score, normaliser, head_mask)
    if description is None:
        description = _description(scale, softcap, bias, terms, score, topology, normaliser, dropout, dropout_seed, head_mask)
    elif any(one is not None for one in keywords) or terms or dropout:
        raise _errors().InvalidArgumentError("attend: give a description, or keywords, not both")
    if isinstance(k, _core.KVCache):
        if v is not None:
            raise _errors().InvalidArgumentError("attend: a cache holds the values; leave v out")
        if _wants_gradients(q):
            raise _errors().UnsupportedError("attend: q requires gradients, which do not go through a KVCache; pass q.detach(), or k and v as tensors")
        return _core.attend(_readable(q), k, description)
    if v is None:
        raise _errors().InvalidArgumentError("attend: v is missing")
    if _wants_gradients(q, k, v, bias):
        return _attend_with_gradients(q, k, v, bias, description)
    return _core.attend(_readable(q), _readable(k), _readable(v), description)


class Map:
    """The exact weights of an attention call, recomputed where they are looked at.

    map.head(batch, head).row(query).top_k(8); .column(key); .tile(queries, keys, cells)
    map[batch, head], map[batch, head, query], map[batch, head, query, key], with slices an array; numpy.asarray(map) is all of it

    A look raises StaleError if q, k or an operand was changed since the call.
    """

    def __init__(self, record: _core.Record, _map=None):
        self._map = _map if _map is not None else _core._Map(_core._record_of(record))

    @property
    def shape(self):
        """(batch, heads, queries, keys)"""
        return self._map.shape

    @property
    def unpinned(self):
        """True: the map is over memory of somebody else, who may write it unseen."""
        return self._map.unpinned

    @property
    def rows_kept(self):
        """(begin, end): the queries whose rows the record has."""
        return self._map.rows_kept

    def head(self, batch: int, head: int) -> _core.MapHead:
        """One head of one sequence. Raises InvalidArgumentError, at its first look, for one that is not there."""
        return self._map.head(batch, head)

    def after(self) -> "Map":
        """The map of what the values were multiplied by: after dropout and head mask."""
        return Map(None, self._map.after())

    def as_used(self) -> "Map":
        """The map of the weights as the kernel rounded them: to bf16 where it multiplied bf16, else the same."""
        return Map(None, self._map.as_used())

    def mass(self, queries=None, keys=None):
        """Mean weight that these rows give to these keys, f32 [batch, head]. Ranges: (begin, end), slices or single numbers."""
        return self._map.mass(queries, keys)

    def sweep(self, *statistics: str, top_k: int = 0, cells=(0, 0), matches=(), offset_reach: int = 64, heads=None,
              sampled_rows: int = 0) -> dict:
        """Sums over every row and key in one pass, as a dict of arrays.

        statistics: "entropy" (nats) and "distance" f32 [batch, head, query], "received" [batch, head, key], "offsets" [batch, head,
        2 * offset_reach + 1]. top_k: the heaviest keys of each row, "top_keys" and "top_weights" [batch, head, query, top_k]. cells =
        (rows, columns): the whole map pooled, "pooled_max" and "pooled_mean". matches: pairs of tags (of queries, of keys), int arrays,
        whose equal ones are summed, "matches" [match, batch, head, query]. heads: a range of them. sampled_rows: look at so many evenly
        spaced rows only; "exact" is then False. "queries" says which query each row is. Raises InvalidArgumentError, StaleError.
        """
        return self._map.sweep(list(statistics), top_k=top_k, cells=list(cells), matches=list(matches), offset_reach=offset_reach,
                               heads=heads, sampled_rows=sampled_rows)

    def to_numpy(self, rows=None, columns=None):
        """The weights as an array, f32 [batch, head, query, key], of these rows and columns: (begin, end), slices or single numbers.

        Hidden pairs are 0.
        """
        import numpy as np

        batch, heads, _, _ = self.shape
        return np.stack([np.stack([self.head(b, h).to_numpy(rows, columns) for h in range(heads)]) for b in range(batch)])

    def __getitem__(self, index):
        """map[batch, head] is a MapHead; with a query a MapRow, with a key too a float; with slices behind them an array of weights."""
        if not isinstance(index, tuple) or len(index) < 2 or any(isinstance(one, slice) or one is Ellipsis for one in index[:2]):
            raise _errors().InvalidArgumentError("map[...]: expected map[batch, head] with two numbers, or map.to_numpy()[...]")
        batch, heads, _, _ = self.shape
        head = self.head(_indexing._place(index[0], batch, "batch"), _indexing._place(index[1], heads, "head"))
        return head[index[2:]] if len(index) > 2 else head

    def __array__(self, dtype=None, copy=None):
        """All weights, f32 [batch, head, query, key]: N x N numbers, so for texts that are short."""
        return _indexing.to_array(self, dtype, copy)

    def __repr__(self):
        return "clearhead.Map of {} x {} heads, {} queries x {} keys".format(*self.shape)


_pictures.attach(Map)
