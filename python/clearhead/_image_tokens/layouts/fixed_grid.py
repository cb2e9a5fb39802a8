"""One token for each patch of a picture of a fixed size, row by row: LLaVA 1.5, PaliGemma.

With vision_feature_select_strategy "full", a class token may precede the patches.
"""

from .._picture import PlacementError, whole
from . import register

# fields of configurations whose features are fewer, more or in another order than the patches
_CHANGES = ("downsample_ratio", "downsample_factor", "mm_tokens_per_image", "scale_factor", "spatial_merge_size", "image_grid_pinpoints",
            "qformer_config", "num_query_tokens", "perceiver_config", "vision_soft_tokens_per_image")


@register
class FixedGrid:
    @staticmethod
    def fits(call):
        pictures = call.pictures
        if not hasattr(pictures, "dim") or pictures.dim() != 4 or call.has("image_sizes", "image_grid_thw", "video_grid_thw"):
            return False
        is_reduced = any(call.setting(name) is not None or getattr(call.vision, name, None) is not None
                         for name in (*_CHANGES, "pixel_shuffle_ratio"))
        return not is_reduced and isinstance(getattr(call.vision, "patch_size", None), (int, tuple, list))

    @staticmethod
    def plans(call):
        rows, columns = (size // patch for size, patch in zip(call.pictures.shape[-2:], call.patch))
        total, pictures = int((call.ids == call.token_id("image")).sum()), call.pictures
        before = int(call.setting("vision_feature_select_strategy") == "full" and total == len(pictures) * (rows * columns + 1))
        if rows * columns == 0:
            raise PlacementError(f"its pictures have shape {list(pictures.shape)}, less than a patch of {call.patch}")
        return [whole(rows, columns, one, before) for one in pictures]
