"""Pictures and videos as grids of patches, of which squares are merged to one token: Qwen2-VL, Qwen2.5-VL, Qwen3-VL, GLM-4V.

image_grid_thw and video_grid_thw have (frames, rows, columns) of patches before merging. The rows of pixel_values are patches, all patches
of a merged square together. A patch covers temporal_patch_size frames of a video.
"""

import numpy as np

from .._picture import Grid, PicturePlan
from . import register


@register
class MergedGrids:
    @staticmethod
    def fits(call):
        return call.has("image_grid_thw", "video_grid_thw") and isinstance(getattr(call.vision, "spatial_merge_size", None), int)

    @staticmethod
    def plans(call):
        plans = []
        for kind, sizes, pixels in (("image", "image_grid_thw", "pixel_values"), ("video", "video_grid_thw", "pixel_values_videos")):
            begin = 0
            for size in call.given(sizes).tolist() if call.has(sizes) else ():
                patches = call.given(pixels)
                count = int(np.prod(size))
                plans.append(_plan(call, kind, size, None if patches is None else patches[begin : begin + count]))
                begin += count
        return plans


def _plan(call, kind, size, patches):
    merged = call.vision.spatial_merge_size
    frames, rows, columns = size[0], size[1] // merged, size[2] // merged
    slots = np.arange(frames * rows * columns).reshape(frames, rows, columns)

    def grids():
        pictures = _pictures(call, size, patches)
        return [Grid(_label(call, kind, at), slots[at], None if pictures is None else pictures[at]) for at in range(frames)]

    return PicturePlan(slots.size, grids, kind)


def _label(call, kind, at):
    if kind == "image":
        return ""
    length = _frames_of_a_patch(call)
    return f"frame {at + 1}" if length == 1 else f"frames {at * length + 1} to {(at + 1) * length}"


def _frames_of_a_patch(call):
    length = getattr(call.vision, "temporal_patch_size", 1)
    return int(length[0] if isinstance(length, (tuple, list)) else length)


def _pictures(call, size, patches):
    """Returns [picture, channel, height, width], the first frame of each patch; None if the patches have an unknown shape."""
    (height, width), merged, length = call.patch, call.vision.spatial_merge_size, _frames_of_a_patch(call)
    frames, rows, columns = size
    if patches is None or patches.dim() != 2 or patches.shape != (frames * rows * columns, 3 * length * height * width):
        return None
    # [frame, row, column, row in the square, column in the square, channel, frame in the patch, y, x]
    split = patches.reshape(frames, rows // merged, columns // merged, merged, merged, 3, length, height, width)
    return split[..., 0, :, :].permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(frames, 3, rows * height, columns * width)
