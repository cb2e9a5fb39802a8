"""One token for each patch, or for each square of merged patches, of pictures of any size: Pixtral, Mistral 3.

The processor's image_sizes are the sizes before padding. A token that ends a row is not a placeholder.
"""

from .._call import pair
from .._picture import whole
from . import register


@register
class SizedGrid:
    @staticmethod
    def fits(call):
        pinpoints = call.setting("image_grid_pinpoints")
        return call.has("image_sizes") and pinpoints is None and hasattr(call.pictures, "dim") and call.pictures.dim() == 4

    @staticmethod
    def plans(call):
        merged = call.setting("spatial_merge_size") or 1
        plans = []
        for picture, size in zip(call.pictures, call.given("image_sizes")):
            height, width = pair(size.tolist() if hasattr(size, "tolist") else size)
            rows, columns = (length // (patch * merged) for length, patch in zip((height, width), call.patch))
            plans.append(whole(rows, columns, picture[:, :height, :width]))
        return plans
