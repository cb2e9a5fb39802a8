"""A square grid of means over patches, mm_tokens_per_image for each picture, row by row: Gemma 3.

Crops of a picture (pan and scan) are pictures of their own, because the call does not contain their places.
"""

import math

from .._picture import PlacementError, whole
from . import register


@register
class PooledGrid:
    @staticmethod
    def fits(call):
        return isinstance(call.setting("mm_tokens_per_image"), int) and hasattr(call.pictures, "dim") and call.pictures.dim() == 4

    @staticmethod
    def plans(call):
        count = call.config.mm_tokens_per_image
        side = math.isqrt(count)
        if side * side != count:
            raise PlacementError(f"mm_tokens_per_image is {count}, not the square of a number")
        return [whole(side, side, one) for one in call.pictures]
