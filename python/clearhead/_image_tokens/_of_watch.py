"""WithPictures: the part of a watch that keeps and places pictures."""

import numpy as np

from ..errors import InvalidArgumentError, NotFoundError
from ._call import VisualInputs
from ._map import map_of_values, parts_of
from ._place import placed
from ._sinks import sinks_of


class WithPictures:
    """Base class of Watch. See the methods picture_map() and the properties pictures and pictures_reason."""

    _visual = None  # the VisualInputs of the last call with pictures
    _pictures, _pictures_reason = (), "no run was kept"
    trace_positions = {}  # for each side, the difference between the index of a token in the trace and its position in the text

    def read_pictures(self, function, positional, keywords):
        """Keeps the pictures of a call from outside, if it was given any. function: the method that was called."""
        if self.reading.generation is not None and self._visual is not None:
            return  # generate() was given them before it repeated them for each beam
        found = VisualInputs.of(function, positional, keywords) if self._keep else None
        self._visual = self._visual if found is None else found

    def _place_pictures(self):
        self._pictures, self._pictures_reason = placed(self, self._visual)
        self._visual = None

    @property
    def pictures(self):
        """The pictures among the text's tokens: a list of Picture, one for each picture, tile, thumbnail or frame. Empty if the model reads
        no pictures, or if their places are unknown; see pictures_reason."""
        return list(self._pictures)

    @property
    def pictures_reason(self):
        """The reason why `pictures` is empty; None if it is not."""
        return self._pictures_reason

    def picture_map(self, layer, query, picture=0, head=None, *, without_sinks=False, family=None):
        """Returns the attention weights of a query over the patches of a picture, as a PictureMap.

        A query's row is what the model attends to when it reads that token. A word is chosen by the row of the token before it.

        Parameters
        ----------
        layer : int
            Layer of the language model.
        query : int
            Index of the token in trace.tokens, also of a generated one; negative values count from the last token that was read.
        picture : int
            Index of the picture (Picture.picture). Its tiles and its thumbnail are combined: their weights are added at each place.
        head : int, optional
            Default: the mean over heads.
        without_sinks : bool
            Sets sinks aside: patches whose weight is at least 5 times the mean weight of the picture's patches, for at least 90 % of the
            queries that see the whole picture (of at most 256, evenly spaced), in this layer and head. They are 0 in the map, and
            PictureMap.sinks lists them with their weights.
        family : str, optional
            Family of the map; needed if the trace has several families over the text.

        Returns
        -------
        PictureMap
            weights: f64 [row, column], exact to the map's precision (f32).

        Raises
        ------
        NotFoundError
            The places of the picture tokens are unknown (with the reason), or there is no such layer.
        InvalidArgumentError
            There is no such query, picture or head; or too few queries see the picture to know its sinks.
        """
        trace = self.trace
        parts = parts_of(self._pictures, self._pictures_reason, picture)
        found = _map_over(trace, layer, family, parts)
        begin, end = found.query_range
        at = query + end if query < 0 else query
        if not begin <= at < end or not found.has_row(at - begin):
            raise InvalidArgumentError(f"picture_map: query={query}; expected a token from {begin} to {end - 1} whose row was kept, or a "
                                       f"negative number from {begin - end}")
        if head is not None and not 0 <= head < found.heads:
            raise InvalidArgumentError(f"picture_map: head={head}; expected a number from 0 to {found.heads - 1}")

        def row(token):
            return _row(found, token - begin, head, len(trace.ids)) if found.has_row(token - begin) else None

        weights = row(at)
        of_head = "mean of heads" if head is None else f"head {head}"
        title = f"{parts[0].name.split(', ')[0]}: attention of {trace.tokens[at]!r} (token {at}), layer {layer}, {of_head}"
        sinks = sinks_of(row, end - 1, parts, weights) if without_sinks else ()
        return map_of_values(np.nan_to_num(weights), parts, title, sinks)


def _map_over(trace, layer, family, parts):
    """Returns the map of a layer whose queries and keys are the tokens of the text with the pictures."""
    tokens = np.concatenate([part.tokens[part.tokens >= 0] for part in parts])
    first, last, found = int(tokens.min()), int(tokens.max()), []
    for name in trace.families if family is None else [family]:
        try:
            one = trace.map(layer, name)
        except (InvalidArgumentError, NotFoundError):  # this family has no such layer
            if family is not None:
                raise
            continue
        if one.key_range[0] <= first and last < one.key_range[1]:
            found.append(one)
    if not found:
        raise NotFoundError(f"picture_map: there is no layer {layer} whose keys are the tokens of the pictures; families: "
                            f"{', '.join(trace.families)}")
    if len(found) > 1:
        names = ", ".join(one.family for one in found)
        raise InvalidArgumentError(f"picture_map: layer {layer} exists in the families {names}; pass family=")
    return found[0]


def _row(found, query, head, count):
    """Returns the weights of a query by token of the trace, f64 [token]; NaN where it sees nothing."""
    rows = np.asarray(found._rows(query), np.float64)
    begin, end = found.key_range
    out = np.full(count, np.nan)
    out[begin:end] = rows.mean(0) if head is None else rows[head]
    return out
