"""Tiles whose patches are merged by a pixel shuffle, with the tile's row and column as text, and a thumbnail: SmolVLM, Idefics3.

Before a tile stands "<row_2_col_1>", before the thumbnail "<global-img>". pixel_values is [text, tile, channel, height, width], where tiles
of zeros fill up shorter texts. pixel_attention_mask has the part of a tile that a picture fills.
"""

import re

from .._picture import Grid, PicturePlan, PlacementError
from .._tiles import plan_of_tiles, tokens_of_shuffle
from . import register

_LABEL = re.compile(r"<row_(\d+)_col_(\d+)>|<(global-img)>")


@register
class LabelledTiles:
    @staticmethod
    def fits(call):
        return isinstance(call.setting("scale_factor"), int) and hasattr(call.pictures, "dim") and call.pictures.dim() == 5

    @staticmethod
    def plans(call):
        sides = tokens_of_shuffle(call.pictures, call.patch, 1 / call.config.scale_factor)
        mask = call.given("pixel_attention_mask")
        plans = []
        for row, tiles in enumerate(call.pictures):
            real = (tiles != 0).flatten(1).any(1)
            tiles, begin = tiles[real], 0
            masks = None if mask is None or mask.shape[:2] != call.pictures.shape[:2] else mask[row][real]
            for labels in _labels_of_pictures(call, row, sides[0] * sides[1]):
                end = begin + len(labels)
                plans.append(_plan(tiles[begin:end], sides, labels, None if masks is None else masks[begin:end]))
                begin = end
            if begin != len(tiles):
                raise PlacementError(f"text {row} has placeholders for {begin} tiles, but pixel_values has {len(tiles)}")
        return plans


def _labels_of_pictures(call, row, each):
    """Returns, for each picture of a text, the labels of its tiles: (row, column), or None for the thumbnail."""
    runs = call.runs(row)
    if runs and call.tokenizer is None:
        raise PlacementError("the tokens before its tiles name their rows and columns; pass the processor or the tokenizer to ch.watch")
    out, last = [], 0
    for first, end in runs:
        if end - first != each:
            raise PlacementError(f"tokens {first} to {end - 1} are {end - first} placeholders; expected {each}, the tokens of a tile")
        text = "".join(call.tokenizer.convert_ids_to_tokens(call.ids[row, last:first].tolist()))
        found = list(_LABEL.finditer(text))
        if not found:
            raise PlacementError(f'the text before token {first} names neither a tile ("<row_1_col_1>") nor a thumbnail ("<global-img>")')
        label = None if found[-1][3] else (int(found[-1][1]), int(found[-1][2]))
        if not out or label == (1, 1) or out[-1][-1] is None:
            out.append([])
        out[-1].append(label)
        last = end
    return out


def _plan(tiles, sides, labels, masks):
    if len(tiles) < len(labels):
        raise PlacementError(f"a picture has {len(labels)} labels, but pixel_values has {len(tiles)} tiles for it")
    plan = plan_of_tiles(tiles, sides, lambda: _arrangement(labels))
    return plan if masks is None or bool(masks.all()) else PicturePlan(plan.count, lambda: _masked(plan.grids(), masks))


def _masked(grids, masks):
    """Extends the rectangle of a grid whose picture does not fill its tile."""
    if len(grids) > 1:
        raise PlacementError("the picture does not fill its tiles")
    height, width = int(masks[0].any(1).sum()), int(masks[0].any(0).sum())
    (grid,) = grids
    return [Grid(grid.label, grid.slots, grid.pixels, (0.0, 0.0, masks.shape[2] / width, masks.shape[1] / height))]


def _arrangement(labels):
    """Returns (rows, columns) of the tiles before the thumbnail."""
    tiles = [label for label in labels if label is not None]
    rows, columns = tiles[-1] if tiles else (0, 0)
    if tiles != [(row + 1, column + 1) for row in range(rows) for column in range(columns)]:
        raise PlacementError("the labels of its tiles are not those of a grid, row by row")
    return rows, columns
