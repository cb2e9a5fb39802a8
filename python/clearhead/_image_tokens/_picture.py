"""Picture: a grid of tokens and its place on a picture; PicturePlan: the same before the tokens are known."""

from dataclasses import dataclass

import numpy as np

WHOLE = (0.0, 0.0, 1.0, 1.0)


class PlacementError(ValueError):
    """The tokens of a call cannot be placed. The message is the reason."""


@dataclass
class Picture:
    """A picture, or a tile, a thumbnail or a frame, whose patches are tokens.

    name: such as "picture 1", "picture 1, tile 2, 1", "picture 1, thumbnail", "video 1, frames 3 to 4". picture: index of the whole picture
    (or the group of frames) that it belongs to, as Watch.picture_map() expects it. tokens: int64 [row, column], indices of tokens in the
    trace; -1 for a place without a token. rectangle: (left, top, right, bottom) of the grid in fractions of the picture as the processor
    prepared it; a grid that includes padding exceeds 0 to 1. pixels: u8 [height, width, 3] of the rectangle, or None.
    """

    name: str
    picture: int
    tokens: np.ndarray
    rectangle: tuple
    pixels: np.ndarray | None

    @property
    def is_thumbnail(self):
        return self.name.endswith("thumbnail")

    def __repr__(self):
        rows, columns = self.tokens.shape
        return f"clearhead.Picture({self.name}: {rows} rows of {columns} tokens)"


@dataclass
class Grid:
    """A placed part of a picture. slots: int64 [row, column], indices into the picture's placeholders. pixels: a tensor [channel, height,
    width], or None. label: its name within the picture; "" for a picture that is one grid."""

    label: str
    slots: np.ndarray
    pixels: object = None
    rectangle: tuple = WHOLE


@dataclass
class PicturePlan:
    """A picture, or a video, of a call. count: number of its placeholders. grids: function that returns its Grids. is_frames: the grids are
    frames of a video."""

    count: int
    grids: object
    kind: str = "image"


def whole(rows, columns, pixels, before=0, after=0):
    """Returns the PicturePlan of a picture that is one grid, in rows. before, after: placeholders without a place."""
    slots = before + np.arange(rows * columns).reshape(rows, columns)
    return PicturePlan(before + rows * columns + after, lambda: [Grid("", slots, pixels)])
