"""Selects the rows of an attention call that belong to the watched input.

If the number of rows (the size of the batch axis) equals the number of inputs, each row is an input. Otherwise there are several rows per
input: windows of a picture, frames of a video, channels of a series or chunks of a sound. These rows become one map in which each window
sees only itself. A call whose rows fit neither case is left out, with the reason.
"""

from .errors import InvalidArgumentError

_ONE_BY_ONE = "it computes the {} {} of the batch one after the other; watch one of them"


def inputs_of(watch, layer, call):
    """Returns (number of inputs in a call's batch, their kind as a plural noun)."""
    texts = watch.texts_of(layer)
    if texts is not None:
        return texts, "texts"
    medium, shapes = watch.reading.medium(layer), watch.reading.shapes
    if medium is not None:
        return 1 if _is_of_one_text(watch) else medium.batch, medium.plural
    if not shapes or (call.batch == 1 and watch.reading.may_lack_batch):
        return call.batch, "inputs"
    tokens_first = [shape for shape in shapes if len(shape) > 2 and shape[1] == call.batch]
    if any(call.is_token_first or shape[0] in (call.queries, call.keys) for shape in tokens_first):
        return call.batch, "inputs"
    if watch.reading.main is None and any(shape[0] == call.batch for shape in shapes):  # a mask may precede the inputs
        return call.batch, "inputs"
    return shapes[0][0], "inputs"


def _texts(watch):
    """Returns the number of texts that contain pictures or sounds among their tokens; None if the model does not mix them."""
    reading = watch.reading
    return reading.text("source" if reading.is_pair else "").batch if reading.mixes_media_and_tokens else None


def _is_of_one_text(watch):
    return _texts(watch) == 1


def problem_of(watch, layer, call):
    """Returns why the rows of a call cannot be assigned to inputs; None if they can."""
    count, what = inputs_of(watch, layer, call)
    if watch.reading.total not in (None, count // watch.reading.copies(count)):
        return f"its generate() has left some of {watch.reading.total} inputs out of the batch; watch one of them"
    if what != "texts" and (reason := _beyond(watch, layer, count, what)) is not None:
        return reason
    layer.is_packed = call.batch < count
    if call.batch == count:
        texts = _texts(watch) if what not in ("texts", "inputs") else None
        if texts not in (None, count) and not watch.reading.medium(layer).is_packed:
            return f"it reads {count} {what} of {texts} texts, and it is not known which text each belongs to; watch one text at a time"
        return None
    if call.batch == 1 and what != "texts":  # all inputs in one row; or one input at a time, if the module makes several calls
        others = [one for one in watch._layers.values() if one is not layer and (one.module, one.run) == (layer.module, layer.run)]
        for one in others:
            one.problem = _ONE_BY_ONE.format(count, what)
        return _ONE_BY_ONE.format(count, what) if others else None
    if what == "texts" or call.batch % count:
        return f"it computes {call.batch} rows of a batch of {count} {what if count > 1 else what[:-1]}, not one for each"
    if count > 1 and call.lead[0] != count and not type(call.module).__module__.startswith("transformers."):
        # in all models of transformers, the rows of the first input come first (checked by all_batches.py)
        return f"it computes {call.batch} rows for {count} {what}, and it is not known which input each belongs to; watch one of them"
    return None


def _beyond(watch, layer, count, what):
    """Returns the reason if the call's batch is too small to contain the watched input; None if it contains it. Raises
    InvalidArgumentError instead if the model has read no text, because then `sequence` is out of range."""
    medium = watch.reading.medium(layer)
    if count == 1 and (watch.reading.has_read or (medium is not None and medium.is_packed)):
        return None
    try:
        watch.reading.rows(count, what)
    except InvalidArgumentError as error:
        if not watch.reading.has_read:
            raise
        return str(error).removeprefix("watch: ")
    return None


def rows_of(watch, layer, call):
    """Returns the rows of a call's batch to keep, as a slice."""
    reading = watch.reading
    if watch.texts_of(layer) is not None:
        return reading.rows(call.batch)
    count, what = inputs_of(watch, layer, call)
    if count == 1 or call.batch == 1:
        return slice(0, call.batch)
    each = max(1, call.batch // count)
    at = reading.rows(count, what).start
    return slice(at * each, (at + 1) * each)


def part_of(reading, layer, count):
    """Returns the noun for each of the `count` rows of an input."""
    medium = reading.medium(layer)
    if medium is not None and count == medium.batch and count > 1:
        return medium.plural[:-1]
    if medium is not None and medium.value.dim() > 3 and count == medium.value.shape[0]:
        return "frame" if reading.has_frames(medium) else medium.plural[:-1]
    if medium is None and reading.main == "past_values" and reading.shapes and reading.shapes[0][-1] == count:
        return "channel"
    return "window" if medium is not None else "group"
