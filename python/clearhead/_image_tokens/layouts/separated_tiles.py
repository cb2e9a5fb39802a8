"""Tiles of a picture whose patches are merged by a pixel shuffle, with separator tokens between tiles, and a thumbnail: Llama 4.

A token of one kind stands between the tiles of a row. One of another kind ends each row of tiles; the token of the thumbnail follows the
last of them. So the token after the last tile is known to end a row. boi_token_id and eoi_token_id enclose a picture.
"""

from .._picture import PlacementError
from .._tiles import plan_of_tiles, tokens_of_shuffle
from . import register


@register
class SeparatedTiles:
    @staticmethod
    def fits(call):
        return (isinstance(getattr(call.vision, "pixel_shuffle_ratio", None), float) and hasattr(call.pictures, "dim")
                and call.pictures.dim() == 4 and isinstance(call.setting("boi_token_id"), int))

    @staticmethod
    def plans(call):
        sides = tokens_of_shuffle(call.pictures, call.patch, call.vision.pixel_shuffle_ratio)
        begin, plans = 0, []
        for row in range(len(call.ids)):
            for gaps in _gaps_of_pictures(call, row, sides[0] * sides[1]):
                tiles = call.pictures[begin : begin + len(gaps) + 1]
                begin += len(gaps) + 1
                plans.append(plan_of_tiles(tiles, sides, lambda of=gaps: _arrangement(of)))
        if begin != len(call.pictures):
            raise PlacementError(f"its texts have placeholders for {begin} tiles, but pixel_values has {len(call.pictures)}")
        return plans


def _gaps_of_pictures(call, row, each):
    """Returns, for each picture of a text, the lists of ids between its tiles."""
    ids, out, last = call.ids[row].tolist(), [], None
    for first, end in call.runs(row):
        if end - first != each:
            raise PlacementError(f"tokens {first} to {end - 1} are {end - first} placeholders; expected {each}, the tokens of a tile")
        gap = None if last is None else ids[last:first]
        if gap is None or call.config.boi_token_id in gap:
            out.append([])
        else:
            out[-1].append(gap)
        last = end
    return out


def _arrangement(gaps):
    """Returns (rows, columns) of the tiles before the thumbnail."""
    if len(gaps[-1]) != 2 or any(len(gap) != 1 for gap in gaps[:-1]):
        raise PlacementError("the tokens between its tiles are not separators of columns and rows")
    ends = [at + 1 for at, gap in enumerate(gaps) if gap[0] == gaps[-1][0]]
    if any(end != (at + 1) * ends[0] for at, end in enumerate(ends)):
        raise PlacementError("the separators of rows are not after equal numbers of tiles")
    return len(ends), ends[0]
