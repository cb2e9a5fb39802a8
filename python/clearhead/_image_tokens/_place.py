"""Places the picture tokens of a watched text: finds the layout, checks the numbers of tokens, and gives each token its place."""

import numpy as np
import torch

from . import layouts
from ._call import VisualCall
from ._picture import Picture, PlacementError


def placed(watch, inputs):
    """Returns (pictures, reason) for the text of a watch. The reason is None if the pictures are placed.

    inputs: the VisualInputs of the call that read the text, or None.
    """
    try:
        if inputs is None:
            raise PlacementError("no call of it was seen that was given both input_ids and pixel_values")
        return _placed(watch, inputs), None
    except PlacementError as reason:
        return [], f"{type(watch._model).__name__}: {reason}"


def _placed(watch, inputs):
    call = VisualCall(watch.reading.config, watch._tokenizer, inputs)
    side = "source" if watch.reading.is_pair else ""
    read, shift = watch.reading.texts.get(side), watch.trace_positions.get(side)
    if read is None or shift is None:
        raise PlacementError("its text is not in the trace")
    row = watch.reading._sequence % len(call.ids)
    ids = call.ids[row].tolist()
    if read.start != 0 or read.ids[: len(ids)] != ids:
        raise PlacementError("the text in the trace is not the text of the call that was given the pictures")
    places = _places_of_kinds(call, row, read.ids)
    found = _plans_of_text(call, row)
    pictures, begin = [], {"image": 0, "video": 0}
    number = {"image": 0, "video": 0}
    for plan in found:
        number[plan.kind] += 1
        of = places[plan.kind][begin[plan.kind] : begin[plan.kind] + plan.count]
        begin[plan.kind] += plan.count
        noun = "picture" if plan.kind == "image" else "video"
        pictures.append([(f"{noun} {number[plan.kind]}", grid, of[grid.slots] + shift) for grid in plan.grids()])
    return _numbered(call, watch._tokenizer, pictures)


def _places_of_kinds(call, row, read):
    """Returns {kind: positions of its placeholders in the text}. Raises PlacementError if the text goes on with more of them."""
    out = {}
    for kind in ("image", "video"):
        places, one = call.places(row, kind).numpy(), call.token_id(kind)
        if read.count(one) != len(places):
            raise PlacementError(f"the text has {read.count(one)} placeholders of pictures, but those of the call with pictures are "
                                 f"{len(places)}; pictures that were given in different calls are not placed")
        out[kind] = places
    return out


def _plans_of_text(call, row):
    """Returns the plans of the pictures of one text. Raises PlacementError if there is no layout, or if a number does not agree."""
    if call.token_id("image") is None and call.token_id("video") is None:
        raise PlacementError("its configuration has no image_token_id, so its text has no placeholders of pictures that are known")
    fitting = layouts.fitting(call)
    if len(fitting) != 1:
        given = ", ".join(f"{name} {list(value.shape)}" for name, value in call._given.items()
                          if isinstance(value, torch.Tensor) and name != "input_ids")
        raise PlacementError(f"{'no layout is' if not fitting else 'several layouts are'} known for its configuration and its arguments "
                             f"({given})")
    layout, out = fitting[0], []
    plans = layout.plans(call)
    for kind in ("image", "video"):
        of_kind = [plan for plan in plans if plan.kind == kind]
        totals = [len(call.places(text, kind)) for text in range(len(call.ids))]
        if sum(totals) != sum(plan.count for plan in of_kind):
            raise PlacementError(f"the layout {layout.__name__} has {sum(plan.count for plan in of_kind)} tokens for its {kind}s, but the "
                                 f"text has {sum(totals)} placeholders")
        first, last = sum(totals[:row]), sum(totals[: row + 1])
        at = 0
        for plan in of_kind:
            if at < last and at + plan.count > first:
                if at < first or at + plan.count > last:
                    raise PlacementError(f"the tokens of one of its {kind}s belong to two texts of the batch")
                out.append(plan)
            at += plan.count
    return out


def _numbered(call, processor, pictures):
    """Returns the Pictures in the order of their tokens. A frame of a video is a picture of its own."""
    pictures.sort(key=lambda grids: min(int(tokens.min()) for _, _, tokens in grids))
    out, number = [], 0
    for grids in pictures:
        for noun, grid, tokens in grids:
            name = f"{noun}, {grid.label}" if grid.label else noun
            out.append(Picture(name, number, tokens.astype(np.int64), grid.rectangle, _visible(grid.pixels, processor)))
            number += noun.startswith("video")
        number += not grids[0][0].startswith("video")
    return out


def _visible(pixels, processor):
    """Converts [channel, height, width] to u8 [height, width, 3]: by the processor's mean and deviation, or else from the least to the
    largest value."""
    if pixels is None or pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
        return None
    values = pixels.detach().float().cpu()
    of = getattr(processor, "image_processor", None)
    mean, deviation = getattr(of, "image_mean", None), getattr(of, "image_std", None)
    if getattr(of, "do_normalize", False) and mean is not None and deviation is not None and len(mean) == len(values):
        values = values * torch.tensor(deviation)[:, None, None] + torch.tensor(mean)[:, None, None]
    else:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-12)
    shown = (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(shown.expand(*shown.shape[:2], 3).numpy())
