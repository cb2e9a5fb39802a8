"""Draws a PictureMap over its picture: PNG files, and axes of matplotlib."""

import numpy as np

from .. import _core
from .._pictures import _pyplot

_FOR, _AGAINST = np.array([253, 231, 37]), np.array([58, 110, 230])  # yellow, blue
_OPAQUE = 0.75  # opacity of the largest number


def _enlarged(picture, height, width):
    """Returns [height, width, ...] of the nearest pixels of a picture."""
    rows = (np.arange(height) * picture.shape[0] // height).clip(0, picture.shape[0] - 1)
    columns = (np.arange(width) * picture.shape[1] // width).clip(0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def _canvas(parts):
    """Returns the picture from the pixels of its parts, f64 [height, width, 3], grey where no pixels are known. Tiles lie over the
    thumbnail."""
    known = [part for part in parts if part.pixels is not None]
    corners = [(part.pixels.shape, part.rectangle) for part in known]
    sizes = [(shape[0] / (bottom - top), shape[1] / (right - left)) for shape, (left, top, right, bottom) in corners]
    height, width = (max(1, round(max(of))) for of in zip(*sizes)) if sizes else (256, 256)
    out = np.full((height, width, 3), 128.0)
    for part in sorted(known, key=lambda one: not one.is_thumbnail):
        left, top, right, bottom = (round(at * size) for at, size in zip(part.rectangle, (width, height) * 2))
        shown = _enlarged(part.pixels, bottom - top, right - left)
        begins, ends = (max(0, top), max(0, left)), (min(height, bottom), min(width, right))
        out[begins[0] : ends[0], begins[1] : ends[1]] = shown[begins[0] - top : ends[0] - top, begins[1] - left : ends[1] - left]
    return out


def picture_of(shown, pixels):
    """Returns a map over its picture, u8 [height, width, 3]; the longer side has about `pixels` pixels."""
    canvas = _canvas(shown.parts)
    rows, columns = shown.shape
    scale = pixels / max(canvas.shape[:2])
    height, width = (max(count, round(size * scale)) for count, size in zip(shown.shape, canvas.shape[:2]))
    largest = float(np.abs(shown.weights).max(initial=0))
    strength = np.sqrt(np.abs(shown.weights) / largest) if largest > 0 else np.zeros(shown.shape)
    opacity = _enlarged(strength, height, width)[..., None] * _OPAQUE
    color = np.where(_enlarged(shown.weights, height, width)[..., None] >= 0, _FOR, _AGAINST)
    out = 0.6 * _enlarged(canvas, height, width) * (1 - opacity) + color * opacity
    for one in shown.sinks:
        part = next(of for of in shown.parts if of.name == one.name)
        _frame(out, part, one)
    return out.round().clip(0, 255).astype(np.uint8)


def _frame(out, part, sink):
    """Draws a white frame around a patch."""
    height, width = out.shape[:2]
    left, top, right, bottom = part.rectangle
    rows, columns = part.tokens.shape
    y = [round((top + (bottom - top) * at / rows) * height) for at in (sink.row, sink.row + 1)]
    x = [round((left + (right - left) * at / columns) * width) for at in (sink.column, sink.column + 1)]
    (y0, y1), (x0, x1) = np.clip(y, 0, height), np.clip(x, 0, width)
    out[y0:y1, x0 : x0 + 2] = out[y0:y1, max(x0, x1 - 2) : x1] = out[y0 : y0 + 2, x0:x1] = out[max(y0, y1 - 2) : y1, x0:x1] = 255


def png_of(shown, pixels):
    """Returns the bytes of a PNG file."""
    return _core._png_of_pixels(picture_of(shown, pixels))


def plot(shown, ax, pixels):
    """Draws on axes of matplotlib, in units of cells, and returns them."""
    if ax is None:
        ax = _pyplot().subplots()[1]
    picture = picture_of(shown, pixels)
    rows, columns = shown.shape
    ax.imshow(picture, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect=picture.shape[0] * columns / (picture.shape[1] * rows))
    ax.locator_params(integer=True)
    ax.set_xlabel("column")
    ax.set_ylabel("row")
    ax.set_title(shown.title + (f"\n{len(shown.sinks)} sinks set aside" if shown.sinks else ""), fontsize=9)
    return ax
