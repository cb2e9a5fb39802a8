"""Pictures that are cut into tiles of equal size, row by row, with or without a thumbnail of the whole picture after them."""

import numpy as np
import torch

from ._picture import Grid, PicturePlan, PlacementError

_CELLS = 24  # cells per side in which arrangements of tiles are compared with the thumbnail
_LARGEST_DIFFERENCE = 0.1  # mean square difference, in units of the thumbnail's variance
_DISTANCE = 4  # every other arrangement must differ by this factor more


def plan_of_tiles(pixels, sides, arrangement):
    """Returns the PicturePlan of a picture in tiles.

    pixels: [tile, channel, height, width]. sides: (rows, columns) of tokens in a tile. arrangement: function that returns (rows, columns)
    of the tiles; a tile after these is the thumbnail. It may raise PlacementError, and is called only for pictures that are placed.
    """
    slots = np.arange(len(pixels) * sides[0] * sides[1]).reshape(len(pixels), *sides)

    def grids():
        if len(pixels) == 1:
            return [Grid("", slots[0], pixels[0])]
        rows, columns = arrangement()
        if len(pixels) - rows * columns not in (0, 1):
            raise PlacementError(f"a picture has {len(pixels)} tiles, but its tokens arrange {rows} x {columns} tiles")
        out = []
        for at in range(rows * columns):
            row, column = divmod(at, columns)
            rectangle = (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
            out.append(Grid(f"tile {row + 1}, {column + 1}", slots[at], pixels[at], rectangle))
        if len(pixels) > rows * columns:
            out.append(Grid("thumbnail", slots[-1], pixels[-1]))
        return out

    return PicturePlan(slots.size, grids)


def tokens_of_shuffle(pixels, patch, ratio):
    """Returns (rows, columns) of tokens of a tile whose patches are merged by a pixel shuffle. ratio: tokens per patch along a side."""
    sides = [size // one * ratio for size, one in zip(pixels.shape[-2:], patch)]
    if any(side != round(side) or side < 1 for side in sides):
        raise PlacementError(f"its tiles of {list(pixels.shape[-2:])} pixels have no whole number of merged patches")
    return round(sides[0]), round(sides[1])


def arrangement_by_thumbnail(tiles, thumbnail):
    """Returns the (rows, columns) in which tiles make the picture of a thumbnail. tiles: [tile, channel, height, width].

    The tiles are joined in each possible way and compared with the thumbnail, in 24 x 24 means. An arrangement is accepted if its mean
    square difference is at most 0.1 of the thumbnail's variance, and every other one differs 4 times as much. Raises PlacementError.
    """
    count = len(tiles)
    if count == 1:
        return 1, 1
    known = _means(thumbnail)
    variance = float(known.var())
    found = []
    for rows in (rows for rows in range(1, count + 1) if count % rows == 0):
        columns = count // rows
        joined = tiles.reshape(rows, columns, *tiles.shape[1:]).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
        found.append((float((_means(joined) - known).square().mean()), rows, columns))
    found.sort()
    difference, rows, columns = found[0]
    if variance == 0 or difference > _LARGEST_DIFFERENCE * variance or found[1][0] < _DISTANCE * max(difference, 1e-6 * variance):
        shapes = ", ".join(f"{one} x {count // one}" for one in range(1, count + 1) if count % one == 0)
        raise PlacementError(f"a picture has {count} tiles, and the call does not contain their arrangement ({shapes}); compared with the "
                             "thumbnail, none of these is clearly the right one")
    return rows, columns


def _means(picture):
    """Returns [channel, 24, 24] means of a picture."""
    return torch.nn.functional.adaptive_avg_pool2d(picture[None].float(), _CELLS)[0]
