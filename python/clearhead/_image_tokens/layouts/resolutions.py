"""A thumbnail and tiles of the resolution that fits a picture best, without the rows and columns of padding: LLaVA-NeXT, LLaVA-OneVision.

Of image_grid_pinpoints, the resolution is chosen that keeps the most pixels, and of these the smallest. The tokens of the thumbnail come
first. The tiles are joined to one grid; its padding is removed, and a token without a place ends each row. If vision_aspect_ratio is
"anyres_max_N" and the grid has more than 1.1^2 * N tiles' worth of tokens, it is resized.
"""

import math
import re

import numpy as np

from .._call import pair
from .._picture import Grid, PicturePlan, PlacementError
from . import register


@register
class Resolutions:
    @staticmethod
    def fits(call):
        return call.has("image_sizes") and call.setting("image_grid_pinpoints") is not None and call.pictures is not None

    @staticmethod
    def plans(call):
        if call.has("pixel_values_videos"):
            raise PlacementError("its videos are pooled, which no layout describes")
        several = call.given("batch_num_images")
        if several is not None and bool((several > 1).any()):
            raise PlacementError("its texts have several pictures, of which only thumbnails are read; no layout describes this")
        sizes = [pair(size.tolist()) for size in call.given("image_sizes")]
        return [_plan(call, tiles, size) for tiles, size in zip(call.pictures, sizes)]


def best_resolution(size, resolutions):
    """Returns the (height, width) of a list that keeps the most pixels of a picture, and of these the one with the fewest pixels."""
    def kept(resolution):
        scale = min(resolution[1] / size[1], resolution[0] / size[0])
        return min(int(size[1] * scale) * int(size[0] * scale), size[0] * size[1])

    return max(resolutions, key=lambda one: (kept(one), -one[0] * one[1]))


def _unpadded(size, rows, columns):
    """Returns the ranges (rows, columns) of a grid that a picture of this size covers, centered and with its aspect ratio."""
    if size[1] / size[0] > columns / rows:
        padding = (rows - int(round(size[0] * (columns / size[1]), 7))) // 2
        return (padding, rows - padding), (0, columns)
    padding = (columns - int(round(size[1] * (rows / size[0]), 7))) // 2
    return (0, rows), (padding, columns - padding)


def _rectangle(size, canvas, begins, ends):
    """Returns the rectangle of a range of pixels of a canvas, in fractions of the picture that is centered on the canvas."""
    scales = [canvas[axis] / size[axis] for axis in (0, 1)]
    small = min(scales)
    out = []
    for axis in (0, 1):
        length = canvas[axis] if scales[axis] == small else min(math.ceil(size[axis] * small), canvas[axis])
        padding = (canvas[axis] - length) // 2
        out.append(((begins[axis] - padding) / length, (ends[axis] - padding) / length))
    (top, bottom), (left, right) = out
    return left, top, right, bottom


def _resized(call, rows, columns, side):
    """Returns the shape of the grid of tiles after the model has resized it."""
    most = re.fullmatch(r"anyres_max_(\d+)", str(call.setting("vision_aspect_ratio") or ""))
    ratio = math.sqrt(rows * columns / (int(most[1]) * side * side)) if most else 0
    return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)


def _plan(call, tiles, size):
    side, edge = call.vision.image_size // call.vision.patch_size, call.vision.image_size
    canvas = pair(best_resolution(size, call.config.image_grid_pinpoints))
    tile_rows, tile_columns = canvas[0] // edge, canvas[1] // edge
    (top, bottom), (left, right) = _unpadded(size, tile_rows * side, tile_columns * side)
    rows, columns = _resized(call, bottom - top, right - left, side)
    if len(tiles) < 1 + tile_rows * tile_columns:
        raise PlacementError(f"a picture of {size[0]} x {size[1]} pixels has {len(tiles)} tiles; expected {1 + tile_rows * tile_columns}")
    thumbnail = np.arange(side * side).reshape(side, side)
    grid = side * side + np.arange(rows * (columns + 1)).reshape(rows, columns + 1)[:, :columns]
    pixel = edge / side
    begins, ends = [round(at * pixel) for at in (top, left)], [round(at * pixel) for at in (bottom, right)]

    def grids():
        joined = tiles[1 : 1 + tile_rows * tile_columns].reshape(tile_rows, tile_columns, 3, edge, edge)
        joined = joined.permute(2, 0, 3, 1, 4).reshape(3, tile_rows * edge, tile_columns * edge)
        return [Grid("thumbnail", thumbnail, tiles[0]),
                Grid("tiles", grid, joined[:, begins[0] : ends[0], begins[1] : ends[1]], _rectangle(size, canvas, begins, ends))]

    return PicturePlan(side * side + rows * (columns + 1), grids)
