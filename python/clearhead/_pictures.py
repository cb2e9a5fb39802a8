"""Images of maps: PNG bytes from the library's own renderer, or matplotlib axes."""

import math

from . import _core
from ._attach import attach_methods
from .errors import InvalidArgumentError

_GAP = 2  # pixels between the heads of a grid


def _range(given, size, name):
    if given is None:
        return 0, size
    if isinstance(given, slice):
        given = (given.start or 0, size if given.stop is None else given.stop)
    begin, end = (given, given + 1) if isinstance(given, int) else given
    if not 0 <= begin < end <= size:
        raise InvalidArgumentError(f"{name}: [{begin}, {end}); expected a non-empty range within [0, {size})")
    return begin, end


def _cells(head, queries, keys, pixels):
    """Returns (cells, query range, key range). There are at most `pixels` cells per side; a cell is the largest weight in it."""
    queries, keys = _range(queries, head.shape[0], "queries"), _range(keys, head.shape[1], "keys")
    sizes = [end - begin for begin, end in (queries, keys)]
    shrink = min(1.0, pixels / max(sizes))
    cells = (0, 0) if shrink == 1 else tuple(max(1, round(size * shrink)) for size in sizes)
    return head.pool(cells, queries, keys)[0], queries, keys


def _grid(heads, queries, keys, pixels):
    """Tiles all heads into one array, each scaled by its own largest weight."""
    import numpy as np  # imported here, because it takes longer than the package

    columns = math.ceil(math.sqrt(len(heads)))
    tiles = [_cells(head, queries, keys, max(8, pixels // columns - _GAP))[0] for head in heads]
    rows, (height, width) = math.ceil(len(heads) / columns), tiles[0].shape
    out = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), np.nan, np.float32)
    for at, tile in enumerate(tiles):
        top, left = at // columns * (height + _GAP), at % columns * (width + _GAP)
        with np.errstate(invalid="ignore"):
            largest = np.nanmax(tile) if np.isfinite(tile).any() else 0
            scaled = np.where(tile > 0, tile / largest, tile) if largest > 0 else tile
        out[top : top + height, left : left + width] = scaled
    return out


def head_image(self, queries=None, keys=None, *, pixels: int = 512, scale: str = "sqrt") -> bytes:
    """Renders the head's map as a PNG file and returns its bytes.

    Rows are queries and columns are keys. Dark is 0, yellow is the largest weight, grey is hidden.

    Parameters
    ----------
    queries, keys : (begin, end), slice or int, optional
        The region to show. Default: all.
    pixels : int
        Largest number of pixels of the longer side. In a larger map, a pixel shows the largest weight that it covers.
    scale : {"sqrt", "linear", "log"}
        Color scale.
    """
    cells, *_ = _cells(self, queries, keys, pixels)
    return _core._png(cells, scale, max(1, pixels // max(cells.shape)))


def head_plot(self, queries=None, keys=None, *, ax=None, tokens=None, pixels: int = 512):
    """Plots the head's map with matplotlib and returns the axes.

    Parameters
    ----------
    queries, keys : (begin, end), slice or int, optional
        The region to show. Default: all.
    ax : matplotlib axes, optional
        Axes to draw on. Default: a new figure.
    tokens : list of str, or (list of str, list of str), optional
        Labels of queries and keys, as one list or as a pair. Drawn on an axis that shows at most 60 of them.
    pixels : int
        Largest number of cells per side.

    Raises ImportError without matplotlib, InvalidArgumentError if the number of tokens does not match the map.
    """
    cells, queries, keys = _cells(self, queries, keys, pixels)
    if ax is None:
        ax = _pyplot().subplots()[1]
    _paint(ax, cells, (keys[0] - 0.5, keys[1] - 0.5, queries[1] - 0.5, queries[0] - 0.5))
    ax.set_xlabel("key")
    ax.set_ylabel("query")
    if tokens is not None:
        of_queries, of_keys = tokens if len(tokens) == 2 and not isinstance(tokens[0], str) else (tokens, tokens)
        if (len(of_queries), len(of_keys)) != tuple(self.shape):
            raise InvalidArgumentError(f"tokens: {len(of_queries)} for the queries and {len(of_keys)} for the keys; expected "
                                       f"{self.shape[0]} and {self.shape[1]}, as trace.tokens[slice(*map.query_range)] and "
                                       "trace.tokens[slice(*map.key_range)] are")
        if queries[1] - queries[0] <= 60:
            ax.set_yticks(range(*queries), of_queries[slice(*queries)])
        if keys[1] - keys[0] <= 60:
            ax.set_xticks(range(*keys), of_keys[slice(*keys)], rotation=90)
    return ax


def _paint(ax, cells, extent):
    import numpy as np
    from matplotlib.colors import PowerNorm

    shown = np.ma.masked_where(~(cells >= 0), cells)
    return ax.imshow(shown, cmap="cividis", norm=PowerNorm(0.5, vmin=0), extent=extent, aspect="auto", interpolation="nearest")


def _pyplot():
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as missing:
        raise ImportError("plot: matplotlib is not installed (pip install matplotlib); to_image() gives a PNG without it") from missing
    return pyplot


def _plot_grid(heads, queries, keys, pixels):
    columns = math.ceil(math.sqrt(len(heads)))
    rows = math.ceil(len(heads) / columns)
    figure, axes = _pyplot().subplots(rows, columns, squeeze=False, sharex=True, sharey=True, figsize=(2.2 * columns, 2.2 * rows))
    for at, ax in enumerate(axes.flat):
        if at >= len(heads):
            ax.set_axis_off()
            continue
        head_plot(heads[at], queries, keys, ax=ax, pixels=pixels // columns)
        ax.set_title(f"H{at}", fontsize=8)
        ax.label_outer()
    return figure


def map_image(self, batch: int = 0, queries=None, keys=None, *, pixels: int = 768, scale: str = "sqrt") -> bytes:
    """Renders all heads of one sequence as a PNG file and returns its bytes. Each head is scaled by its own largest weight.

    batch: index of the sequence. Other parameters as in MapHead.to_image().
    """
    return _core._png(_grid([self.head(batch, head) for head in range(self.shape[1])], queries, keys, pixels), scale, 1)


def map_plot(self, batch: int = 0, queries=None, keys=None, *, pixels: int = 1024):
    """Plots all heads of one sequence with matplotlib and returns the figure.

    batch: index of the sequence. queries, keys, pixels: as in MapHead.plot().
    """
    return _plot_grid([self.head(batch, head) for head in range(self.shape[1])], queries, keys, pixels)


def layer_image(self, queries=None, keys=None, *, pixels: int = 768, scale: str = "sqrt") -> bytes:
    """Renders all heads of the layer as a PNG file and returns its bytes. Each head is scaled by its own largest weight.

    Parameters as in MapHead.to_image().
    """
    return _core._png(_grid([self.head(head) for head in range(self.heads)], queries, keys, pixels), scale, 1)


def layer_plot(self, queries=None, keys=None, *, pixels: int = 1024):
    """Plots all heads of the layer with matplotlib and returns the figure. queries, keys, pixels: as in MapHead.plot()."""
    return _plot_grid([self.head(head) for head in range(self.heads)], queries, keys, pixels)


def _picture_of_a_cell(self):
    return self.to_image()


def attach(map_type):
    """Adds to_image() and plot() to the map types. A notebook shows a map that is the value of a cell."""
    for kind, image, plot in ((_core.MapHead, head_image, head_plot), (map_type, map_image, map_plot),
                              (_core.LayerMap, layer_image, layer_plot)):
        attach_methods(kind, to_image=image, plot=plot)
        kind._repr_png_ = _picture_of_a_cell
