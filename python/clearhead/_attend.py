"""attend() with its description as keywords, and the map of what it kept."""

from . import _core, _pictures


def _readable(array):
    """An array whose memory may be read: of torch one without an open gradient."""
    return array.detach() if getattr(array, "requires_grad", False) else array


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

    Returns (out, record). out: [batch, head, query, d_v], an array of q's kind. The record shares q and k; nothing is copied.
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
        return _core.attend(_readable(q), k, description)
    if v is None:
        raise _errors().InvalidArgumentError("attend: v is missing")
    return _core.attend(_readable(q), _readable(k), _readable(v), description)


class Map:
    """The exact weights of an attention call, recomputed where they are looked at.

    map.head(batch, head).row(query).top_k(8); .column(key); .tile(queries, keys, cells)
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

    def __array__(self, dtype=None, copy=None):
        """All weights, f32 [batch, head, query, key]: N x N numbers, so for texts that are short."""
        import numpy as np

        batch, heads, _, _ = self.shape
        whole = np.stack([np.stack([np.asarray(self.head(b, h).tile()[0]) for h in range(heads)]) for b in range(batch)])
        return np.nan_to_num(whole).astype(dtype or np.float32, copy=False)

    def __repr__(self):
        return "clearhead.Map of {} x {} heads, {} queries x {} keys".format(*self.shape)


_pictures.attach(Map)
