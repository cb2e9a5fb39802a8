"""PictureMap: numbers of picture tokens, such as attention weights, on their picture.

The grids of a picture (tiles, a thumbnail) are combined on one grid, the finest of them. The number of a token is divided among the cells
that it covers, in proportion to the covered area, so that sums stay the same.
"""

import numpy as np

from ..errors import InvalidArgumentError, NotFoundError
from . import _draw


class PictureMap:
    """Numbers on a picture. numpy.asarray(map) gives `weights`.

    Attributes
    ----------
    weights : f64 array [row, column]
        The numbers. Their sum is the sum over the picture's tokens, without `sinks` and `outside`.
    outside : float
        The sum over cells of tokens that lie outside the picture, on padding.
    sinks : list of Sink
        The tokens that were set aside, with their numbers; empty if this was not asked for. See Watch.picture_map().
    parts : list of Picture
        The placed grids of the picture.
    title : str
        What the numbers are.
    """

    def __init__(self, weights, outside, sinks, parts, title):
        self.weights, self.outside, self.sinks, self.parts, self.title = weights, outside, sinks, parts, title

    @property
    def shape(self):
        return self.weights.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.weights, dtype=dtype)

    def __repr__(self):
        aside = f", {len(self.sinks)} sinks set aside ({sum(one.weight for one in self.sinks):.3g})" if self.sinks else ""
        rows, columns = self.shape
        return f"clearhead.PictureMap({self.title}: {rows} x {columns}, sum {self.weights.sum():.4g}{aside})"

    def to_image(self, pixels=512):
        """Draws the map over its picture and returns the bytes of a PNG file. Its longer side has about `pixels` pixels.

        The larger a number, the more its cell is yellow; negative numbers are blue. Sinks that were set aside have a white frame.
        """
        return _draw.png_of(self, pixels)

    def plot(self, ax=None, pixels=512):
        """Draws the map over its picture with matplotlib and returns the axes. Raises ImportError without matplotlib.

        ax: axes to draw on; default: a new figure.
        """
        return _draw.plot(self, ax, pixels)

    def _repr_png_(self):
        return self.to_image()


def parts_of(pictures, reason, picture):
    """Returns the grids of the picture with this index. Raises NotFoundError with the reason if there are no pictures."""
    if not pictures:
        raise NotFoundError(f"pictures: the picture tokens have no known places: {reason}")
    count = pictures[-1].picture + 1
    if isinstance(picture, bool) or not isinstance(picture, (int, np.integer)) or not -count <= picture < count:
        raise InvalidArgumentError(f"picture={picture!r}; expected a number from {-count} to {count - 1}: there are {count} pictures")
    return [one for one in pictures if one.picture == picture % count]


def _shape_of(parts):
    """Returns (rows, columns) of the finest grid, for the picture as a whole."""
    sizes = [(one.tokens.shape, one.rectangle) for one in parts]
    rows = max(round(shape[0] / (bottom - top)) for shape, (_, top, _, bottom) in sizes)
    columns = max(round(shape[1] / (right - left)) for shape, (left, _, right, _) in sizes)
    return max(1, rows), max(1, columns)


def _covered(count, begin, end, cells):
    """Returns the share of each of `count` equal intervals between begin and end that lies in each of `cells` intervals of [0, 1]:
    f64 [cell, interval]."""
    edges = np.linspace(begin, end, count + 1)
    of_cells = np.linspace(0, 1, cells + 1)
    shared = np.minimum(edges[None, 1:], of_cells[1:, None]) - np.maximum(edges[None, :-1], of_cells[:-1, None])
    shared[shared < 1e-12] = 0
    return shared / ((end - begin) / count)


def map_of_values(values, parts, title, sinks=()):
    """Returns the PictureMap of numbers by token. values: f64 [token], of the whole trace. sinks: these are set aside."""
    values = np.array(values, np.float64)
    for one in sinks:
        values[one.token] = 0
    rows, columns = _shape_of(parts)
    weights, total = np.zeros((rows, columns)), 0.0
    for part in parts:
        left, top, right, bottom = part.rectangle
        of_part = np.where(part.tokens >= 0, values[part.tokens], 0.0)
        total += of_part.sum()
        height, width = part.tokens.shape
        weights += _covered(height, top, bottom, rows) @ of_part @ _covered(width, left, right, columns).T
    outside = float(total - weights.sum())
    return PictureMap(weights, 0.0 if abs(outside) < 1e-12 * max(1.0, abs(total)) else outside, list(sinks), parts, title)
