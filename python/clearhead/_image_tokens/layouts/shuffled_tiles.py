"""Tiles of a picture whose patches are merged by a pixel shuffle, and a thumbnail after them: InternVL.

All placeholders of a picture are adjacent, so their number gives the number of tiles. The call does not contain their arrangement; it
follows from the comparison of the tiles with the thumbnail. A frame of a video is a picture of one tile.
"""

from .._picture import PlacementError
from .._tiles import arrangement_by_thumbnail, plan_of_tiles, tokens_of_shuffle
from . import register


@register
class ShuffledTiles:
    @staticmethod
    def fits(call):
        return isinstance(call.setting("downsample_ratio"), float) and hasattr(call.pictures, "dim") and call.pictures.dim() == 4

    @staticmethod
    def plans(call):
        sides = tokens_of_shuffle(call.pictures, call.patch, call.config.downsample_ratio)
        each, begin, plans = sides[0] * sides[1], 0, []
        for row in range(len(call.ids)):
            for first, end in call.runs(row):
                if (end - first) % each:
                    raise PlacementError(f"tokens {first} to {end - 1} are {end - first} placeholders; expected a multiple of {each}, the "
                                         "tokens of a tile")
                tiles = call.pictures[begin : begin + (end - first) // each].float()
                begin += (end - first) // each
                plans.append(plan_of_tiles(tiles, sides, lambda of=tiles: _arrangement(of)))
        if begin != len(call.pictures):
            raise PlacementError(f"its texts have placeholders for {begin} tiles, but pixel_values has {len(call.pictures)}")
        return plans


def _arrangement(tiles):
    return arrangement_by_thumbnail(tiles[:-1], tiles[-1])
