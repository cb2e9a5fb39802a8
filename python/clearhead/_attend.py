"""attend() with keyword arguments, and Map, the attention weights of a record."""

import sys

from . import _core, _indexing, _pictures


def _readable(array):
    """The array, detached from torch's autograd graph."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def _wants_gradients(*arrays):
    torch = sys.modules.get("torch")
    return torch is not None and torch.is_grad_enabled() and any(isinstance(one, torch.Tensor) and one.requires_grad for one in arrays)


def _attend_with_gradients(q, k, v, bias, description):
    """attend() through the differentiable operator torch.ops.clearhead.attention."""
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
        raise _errors().InvalidArgumentError("attend: give scale or score, not both; the scale of a score is set as in score=ch.Dot(scale)")
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
    """Computes attention and keeps what is needed to recompute any attention weight later.

    The call is described either by one Description or by the keyword arguments, not by both.

    Parameters
    ----------
    q : array [batch, head, query, d_k]
        Queries. Any array with DLPack or the buffer protocol (numpy, torch, jax, …), with any strides. q, k and v are all float32, all
        float16 or all bfloat16.
    k : array [batch, key_head, key, d_k], or KVCache
        Keys. `head` is a multiple of `key_head`. With a KVCache, leave v out: the queries are the last positions of the cache.
    v : array [batch, key_head, key, d_v]
        Values.
    description : Description, optional
        Describes the whole call.
    topology : Topology, optional
        Which keys a query sees: causal(), window(), mask(), …; combine them with &. Default: all keys.
    scale : float, optional
        Factor of the dot product. Default: 1/sqrt(d_k). With `score`, give the scale there: score=Dot(scale).
    softcap : float, optional
        Appends SoftCap(softcap) to `terms`: s becomes softcap * tanh(s / softcap).
    bias : array f32 [batch|1, head|1, query|1, key], optional
        Appends Bias(bias) after `terms` and `softcap`; -inf hides a pair.
    terms : sequence of terms
        Applied to the score in this order, before `softcap` and `bias`.
    score : Dot, Additive or Relative, optional
        Default: Dot(scale).
    normaliser : optional
        Softmax (default), Sparsemax, Entmax15, Sigmoid, Hard or Linear.
    dropout : float
        Probability with which a weight is dropped.
    dropout_seed : int
        Seed of the dropout mask.
    head_mask : array f32 [head], optional
        Factors, at least 0, that multiply the weights of each head; 0 ablates the head.

    Returns
    -------
    out : array [batch, head, query, d_v]
        An array of the same library as q, in its dtype. If torch's autograd is enabled and q, k, v or `bias` requires gradients, so does
        out.
    record : Record
        Shares the memory of q, k, v and out. Pass it to Map to see the weights. Nothing is copied, so a Map of it raises StaleError once
        the bytes of an array have changed; Record.pin() makes copies.

    Raises
    ------
    ShapeError
        Shapes do not fit together.
    UnsupportedError
        The dtypes differ, or no backend computes this description.
    InvalidArgumentError
        An argument is outside its range, or a description was given together with keywords.
    """
    keywords = (topology, scale, softcap, bias, score, normaliser, head_mask)
    if description is None:
        description = _description(scale, softcap, bias, terms, score, topology, normaliser, dropout, dropout_seed, head_mask)
    elif any(one is not None for one in keywords) or terms or dropout or dropout_seed:
        raise _errors().InvalidArgumentError("attend: give a description, or keywords, not both")
    if isinstance(k, _core.KVCache):
        if v is not None:
            raise _errors().InvalidArgumentError("attend: a cache holds the values; leave v out")
        if _wants_gradients(q):
            raise _errors().UnsupportedError("attend: q requires gradients, which do not go through a KVCache; pass q.detach(), or k and v "
                                             "as tensors")
        return _core.attend(_readable(q), k, description)
    if v is None:
        raise _errors().InvalidArgumentError("attend: v is missing")
    if _wants_gradients(q, k, v, bias):
        return _attend_with_gradients(q, k, v, bias, description)
    return _core.attend(_readable(q), _readable(k), _readable(v), description)


class Map:
    """The exact attention weights of one call, recomputed when they are read.

        map.head(batch, head).row(query).top_k(8)        # the heaviest keys of one query
        map.head(batch, head).column(key)                # the weights that one key receives
        map.head(batch, head).to_numpy(rows, columns)    # a region
        map.head(batch, head).pool(cells)                # the largest and the mean weight of each cell
        map[batch, head], map[batch, head, query], map[batch, head, query, key]   # a MapHead, a MapRow, a float; an array for slices
        numpy.asarray(map)                               # all weights, f32 [batch, head, query, key]

    Parameters
    ----------
    record : Record
        Returned by attend().

    Reading weights raises StaleError if q, k or an operand of the description was changed after the call.
    """

    def __init__(self, record: _core.Record, _map=None):
        self._map = _map if _map is not None else _core._Map(_core._record_of(record))

    @property
    def shape(self):
        """Shape of the map: (batch, heads, queries, keys)."""
        return self._map.shape

    @property
    def unpinned(self):
        """True if the map reads memory that it does not own, so that others can write to it without notice (see Record.unpinned)."""
        return self._map.unpinned

    @property
    def rows_kept(self):
        """Range (begin, end) of the queries whose rows the record keeps."""
        return self._map.rows_kept

    def head(self, batch: int, head: int) -> _core.MapHead:
        """Returns the MapHead of one head of one sequence. Negative indices count from the end. Raises OutOfRangeError, an IndexError."""
        return self._map.head(batch, head)

    def after(self) -> "Map":
        """Returns the map of the factors that multiplied the values: the weights after dropout, head mask and Gaussian."""
        return Map(None, self._map.after())

    def rounded(self) -> "Map":
        """Returns the map of the weights as the kernel rounded them: to bf16 if it multiplied bf16, otherwise unchanged."""
        return Map(None, self._map.rounded())

    def attention_between(self, queries=None, keys=None):
        """Mean over `queries` of the weight that falls on `keys`, f32 [batch, head].

        queries, keys: (begin, end), a slice or a single index; None for all.
        """
        return self._map.attention_between(queries, keys)

    def sweep(self, *statistics: str, top_k: int = 0, cells=(0, 0), matches=(), offset_reach: int = 64, heads=None,
              sampled_rows: int = 0) -> dict:
        """Computes statistics of the whole map in one pass over its rows. Returns a dict of arrays.

        Parameters
        ----------
        statistics : str
            "entropy" (in nats) and "distance" (mean, in positions), each f32 [batch, head, query]; "received_attention", the total weight
            of each key, f32 [batch, head, key]; "offsets", the total weight at each relative position, f32 [batch, head,
            2 * offset_reach + 1].
        top_k : int
            If positive, adds "top_keys" and "top_weights" [batch, head, query, top_k], the heaviest keys of each row.
        cells : (int, int)
            If not (0, 0), adds "pooled_max" and "pooled_mean": the whole map, pooled to this many rows and columns.
        matches : sequence of (int array [query], int array [key])
            Adds "matches" [match, batch, head, query]: for each pair of tag arrays, the weight on keys whose tag equals the query's.
        offset_reach : int
            Range of "offsets"; larger distances are added to the ends.
        heads : range of heads, optional
            (begin, end), a slice or a single index.
        sampled_rows : int
            If positive, reads only this many evenly spaced rows.

        The dict also has "queries", the query of each row, and "exact", which is False if rows were sampled.
        Raises InvalidArgumentError, StaleError.
        """
        return self._map.sweep(list(statistics), top_k=top_k, cells=list(cells), matches=list(matches), offset_reach=offset_reach,
                               heads=heads, sampled_rows=sampled_rows)

    def to_numpy(self, rows=None, columns=None):
        """Returns the weights as an array, f32 [batch, head, query, key]. Hidden pairs are 0.

        rows, columns: (begin, end), a slice or a single index; None for all.
        """
        import numpy as np

        batch, heads, _, _ = self.shape
        return np.stack([np.stack([self.head(b, h).to_numpy(rows, columns) for h in range(heads)]) for b in range(batch)])

    def __getitem__(self, index):
        """map[batch, head] is a MapHead, map[batch, head, query] a MapRow, map[batch, head, query, key] a float; slices give an array."""
        if not isinstance(index, tuple) or len(index) < 2 or any(isinstance(one, slice) or one is Ellipsis for one in index[:2]):
            raise _errors().InvalidArgumentError("map[...]: expected map[batch, head] with two numbers, or map.to_numpy()[...]")
        batch, heads, _, _ = self.shape
        head = self.head(_indexing._place(index[0], batch, "batch"), _indexing._place(index[1], heads, "head"))
        return head[index[2:]] if len(index) > 2 else head

    def __array__(self, dtype=None, copy=None):
        """All weights, f32 [batch, head, query, key]. This allocates N x N numbers for each head, so use it for short texts."""
        return _indexing.to_array(self, dtype, copy)

    def __repr__(self):
        return "clearhead.Map of {} x {} heads, {} queries x {} keys".format(*self.shape)


_pictures.attach(Map)
