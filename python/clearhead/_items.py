"""Rows and columns of maps that are no tokens: patches of a picture with class tokens before them, frames of a sound, or plain items."""

import numpy as np

LARGEST = 4096  # pixels of a side


def _setting(config, name):
    for of in (config, getattr(config, "vision_config", None), getattr(config, "backbone_config", None)):
        value = getattr(of, name, None)
        if value is not None:
            return value if isinstance(value, (tuple, list)) else (value, value)
    return None


def _grey(values):
    low, high = float(values.min()), float(values.max())
    return np.clip((values - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)


def _picture(pixels):
    """[channel, height, width] as u8 [height, width, 3]."""
    pixels = pixels.resolve_neg().numpy()
    while pixels.ndim > 3:
        pixels = pixels[0]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or max(pixels.shape[1:]) > LARGEST:
        return None
    return np.ascontiguousarray(np.broadcast_to(_grey(pixels).transpose(1, 2, 0), (*pixels.shape[1:], 3)))


def _spectrogram(features, count):
    """[channel, frame] with the low channels below, as many columns as there are frames, and a strip high enough to be seen."""
    features = features.resolve_neg().numpy()
    if features.ndim != 2 or features.shape[0] > LARGEST:
        return None
    step = max(1, -(-features.shape[1] // LARGEST))
    return np.ascontiguousarray(np.repeat(_grey(features[::-1, ::step])[..., None], 3, -1))


def items_of(watch, count, windows=(), is_text=False):
    """[(kind, names, rows, picture)] of `count` queries or keys that are not tokens. windows: sizes of the windows that they stand in,
    whose order is the model's own. is_text: they are positions of a text whose tokens are not known."""
    if len(windows) > 1:
        return [("item", [f"window {window + 1}, {at + 1}" for window, size in enumerate(windows) for at in range(size)], 0, None)]
    config, media = getattr(watch._model, "config", None), None if is_text else watch.reading.media
    if media is not None and media[0] == "pixel_values" and media[1].dim() >= 3:
        patch = _setting(config, "patch_size")
        if patch is not None:
            rows, columns = (media[1].shape[-2] // int(patch[0]), media[1].shape[-1] // int(patch[-1]))
            extra = count - rows * columns
            if rows * columns > 0 and 0 <= extra <= 16:
                before = [("class", ["class token" if i == 0 else f"register {i}" for i in range(extra)], 0, None)] if extra else []
                names = [f"patch {row + 1}, {column + 1}" for row in range(rows) for column in range(columns)]
                return [*before, ("patch", names, rows, _picture(media[1]))]
    if media is not None and media[0] in ("input_features", "input_values"):
        picture = _spectrogram(media[1], count) if media[0] == "input_features" else None
        return [("frame", [f"frame {i + 1}" for i in range(count)], 0, picture)]
    return [("item", [str(i + 1) for i in range(count)], 0, None)]
