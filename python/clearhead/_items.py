"""Names the rows and columns of maps that are not text tokens: patches of a picture after its class tokens, frames of a sound, or items."""

import numpy as np

from ._batch import part_of

LARGEST = 4096  # pixels per side


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
    """Converts [channel, height, width] to u8 [height, width, 3]; None if it is not a picture."""
    pixels = pixels.resolve_neg().numpy()
    while pixels.ndim > 3:
        pixels = pixels[0]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or max(pixels.shape[1:]) > LARGEST:
        return None
    return np.ascontiguousarray(np.broadcast_to(_grey(pixels).transpose(1, 2, 0), (*pixels.shape[1:], 3)))


def _spectrogram(features, count):
    """Converts [channel, frame] to u8 [height, width, 3], low channels at the bottom, at most LARGEST columns; None if it does not fit."""
    features = features.resolve_neg().numpy()
    if features.ndim != 2 or features.shape[0] > LARGEST:
        return None
    step = max(1, -(-features.shape[1] // LARGEST))
    return np.ascontiguousarray(np.repeat(_grey(features[::-1, ::step])[..., None], 3, -1))


def _extra_tokens(watch):
    """Returns the names of the tokens before the patches of a picture, for each possible number of them."""
    config = getattr(watch._model, "config", None)
    registers = max((int(getattr(of, "num_register_tokens", None) or 0) for of in (config, getattr(config, "vision_config", None))),
                    default=0)
    has_distillation = any(name.rpartition(".")[2] == "distillation_token" for name, _ in watch._model.named_parameters())
    second = ["distillation token"] if has_distillation else [f"register {at + 1}" for at in range(registers)]
    return {0: [], 1: ["class token"], 1 + len(second): ["class token", *second]}


def items_of(watch, layer, count, windows=(), medium=None, is_other=False):
    """Returns [(kind, names, rows, picture)] for `count` queries or keys of a layer that are not text tokens.

    windows: sizes of the windows that contain them, in the model's order. medium: the input that they belong to; None if they are
    positions of a text with unknown tokens. is_other: they are keys of windows, and may lie in other windows.
    """
    if len(windows) > 1:
        part = ("keys of " if is_other else "") + part_of(watch.reading, layer, len(windows))
        return [("item", [f"{part} {window + 1}, {at + 1}" for window, size in enumerate(windows) for at in range(size)], 0, None)]
    if medium is not None and medium.name == "pixel_values" and medium.value.dim() == 3 and not layer.is_packed:
        patch = _setting(getattr(watch._model, "config", None), "patch_size")
        if patch is not None:
            rows, columns = (medium.value.shape[-2] // int(patch[0]), medium.value.shape[-1] // int(patch[-1]))
            before = _extra_tokens(watch).get(count - rows * columns)
            if rows * columns > 0 and before is not None:
                names = [f"patch {row + 1}, {column + 1}" for row in range(rows) for column in range(columns)]
                return [*([("class", before, 0, None)] if before else []), ("patch", names, rows, _picture(medium.value))]
    if medium is not None and medium.plural == "sounds":
        picture = _spectrogram(medium.value, count) if medium.name == "input_features" else None
        return [("frame", [f"frame {i + 1}" for i in range(count)], 0, picture)]
    return [("item", [str(i + 1) for i in range(count)], 0, None)]
