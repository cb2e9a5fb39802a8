"""Maps as arrays: numpy.asarray(map), map.to_numpy(rows, columns), and indexing.

    layer[head], layer[head, query], layer[head, query, key]      a MapHead, a MapRow, a float
    layer[head, 10:20, :5], layer[:, 3]                           an array of the weights

Only the requested weights are computed. Hidden pairs are 0; pairs that no window of a long text scored are NaN.
"""

import operator

from ._attach import attach_methods
from ._core import LayerMap, MapHead, MapRow
from .errors import InvalidArgumentError, OutOfRangeError


def _place(index, size, axis):
    at = operator.index(index)
    if not -size <= at < size:
        raise OutOfRangeError(f"{axis} {at}: expected {-size} to {size - 1}")
    return at + size if at < 0 else at


def _is_place(index):
    return hasattr(index, "__index__") and not isinstance(index, bool)


def _split(index, axes):
    """Returns one entry per axis, an index or a slice, and whether all given entries are indices."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(axes) - len(parts) + 1)
    if len(parts) > len(axes):
        raise OutOfRangeError(f"an index with {len(parts)} entries; expected at most {len(axes)}: {', '.join(axes)}")
    for part in parts:
        if not _is_place(part) and not isinstance(part, slice):
            raise InvalidArgumentError(f"an index of type {type(part).__name__}; expected integers and slices; for "
                                       "other indices, use numpy.asarray(map)[...]")
    return parts + [slice(None)] * (len(axes) - len(parts)), all(_is_place(part) for part in parts)


def _span(index, size, axis):
    """Converts an index or a slice to (begin, end, index within that range)."""
    if _is_place(index):
        at = _place(index, size, axis)
        return at, at + 1, 0
    places = range(*index.indices(size))
    if not len(places):
        return 0, 0, slice(0, 0)
    first, last = sorted((places[0], places[-1]))
    return first, last + 1, slice(None, None, places.step)


def _of_head(head, rows, columns):
    """Returns the weights of one head at two indices, each an int or a slice."""
    row_begin, row_end, row = _span(rows, head.shape[0], "query")
    key_begin, key_end, key = _span(columns, head.shape[1], "key")
    return head._weights((row_begin, row_end), (key_begin, key_end))[row, key]


def head_getitem(self, index):
    """head[query] is a MapRow, head[query, key] a float; slices give an array of weights."""
    (row, column), all_places = _split(index, ("query", "key"))
    if all_places:
        found = self.row(_place(row, self.shape[0], "query"))
        return found if isinstance(column, slice) else found[column]
    return _of_head(self, row, column)


def layer_getitem(self, index):
    """layer[head] is a MapHead, layer[head, query] a MapRow, layer[head, query, key] a float; slices give an array of weights."""
    import numpy as np

    (head, *rest), all_places = _split(index, ("head", "query", "key"))
    if not isinstance(head, slice):
        found = self.head(_place(head, self.heads, "head"))
        if not all_places:
            return _of_head(found, *rest)
        given = len(index) - 1 if isinstance(index, tuple) else 0
        return found if given == 0 else head_getitem(found, tuple(rest[:given]))
    chosen = range(*head.indices(self.heads))
    if not len(chosen):
        return np.empty((0, *np.empty(self.shape[1:], np.bool_)[tuple(rest)].shape), np.float32)
    return np.stack([_of_head(self.head(one), *rest) for one in chosen])


def row_getitem(self, index):
    """row[key] is a float; a slice gives an array, f32 [key]."""
    weights = self.weights
    return float(weights[_place(index, len(weights), "key")]) if _is_place(index) else weights[index]


def _index(given, axis):
    """Converts a range of rows or columns, as the other methods of maps accept it, to an index."""
    if given is None:
        return slice(None)
    if isinstance(given, slice):
        return given
    if _is_place(given):
        return slice(operator.index(given), operator.index(given) + 1)
    try:
        begin, end = given
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{axis}: {given!r}; expected (begin, end), a slice or one number") from None
    return slice(begin, end)


def head_to_numpy(self, rows=None, columns=None):
    """Returns the weights as an array, f32 [query, key]. Hidden pairs are 0.

    rows, columns: (begin, end), a slice or a single index (kept as an axis of 1); None for all.
    Raises NotFoundError for rows that a trace did not keep.
    """
    return self[_index(rows, "rows"), _index(columns, "columns")]


def layer_to_numpy(self, rows=None, columns=None):
    """Returns the weights of all heads as an array, f32 [head, query, key]. Hidden pairs are 0.

    rows, columns: (begin, end), a slice or a single index (kept as an axis of 1); None for all.
    Raises NotFoundError for rows that a trace did not keep.
    """
    return self[:, _index(rows, "rows"), _index(columns, "columns")]


def row_to_numpy(self, columns=None):
    """Returns the weights as an array, f32 [key]. columns: (begin, end), a slice or a single index; None for all."""
    return self[_index(columns, "columns")]


def to_array(self, dtype=None, copy=None):
    """All weights, for numpy.asarray(). This allocates N x N numbers for each head, so use it for short texts."""
    found = self.to_numpy()
    return found if dtype is None else found.astype(dtype, copy=False)


def every(self):
    """Iterates over the heads of a layer, the rows of a head, or the weights of a row."""
    return (self[at] for at in range(len(self)))


attach_methods(LayerMap, __getitem__=layer_getitem, to_numpy=layer_to_numpy)
attach_methods(MapHead, __getitem__=head_getitem, to_numpy=head_to_numpy)
attach_methods(MapRow, __getitem__=row_getitem, to_numpy=row_to_numpy)
for _kind in (LayerMap, MapHead, MapRow):
    _kind.__array__, _kind.__iter__ = to_array, every
