"""Checks that ch.watch selects the right row of a batch, for every model, encoder, decoder and tower of transformers that can be made
small.

    python python/tests/all_batches.py                 all of them
    python python/tests/all_batches.py swin whisper …  these folders of transformers/models only

Each class runs on two inputs with sequence=1, and on the second input alone. The maps must agree within 1e-3 (batches of other sizes round
differently, and random weights amplify the difference), and the names of rows and columns must be equal. Prints one line for each class
that was built. Returns 1 if a class differs for a reason that is not in EXPLAINED.
"""

import argparse
import contextlib
import inspect
import logging
import re
import sys

import all_models
import clearhead as ch
import numpy as np
import torch

KINDS = re.compile(r"(Model|Encoder|Decoder|Tower|Backbone|Transformer)$")
SECONDS = 8
SIZES = ("input_dim", "num_mel_bins", "hidden_size", "d_model", "embed_dim", "encoder_hidden_size", "in_channels")
EXPLAINED = {
    "PixtralVisionModel": "it puts all pictures into one row, so the map of a batch holds all of them",
    "ViTMAEModel": "it hides patches at random, others in a batch of two than in a batch of one",
}


def inputs_of(model):
    """Yields inputs to try: those of all_models.py, then random tensors of each size in the config, as the first argument."""
    with contextlib.suppress(all_models.Skip, Exception):
        yield all_models.inputs_of(model)
    first = next((name for name in inspect.signature(model.forward).parameters if name not in ("args", "kwargs")), None)
    for size in {getattr(model.config, name, None) for name in SIZES}:
        if isinstance(size, int) and first is not None:
            for shape in ((2, 48, size), (2, size, 48)):
                yield {first: torch.randn(shape, generator=torch.Generator().manual_seed(5))}


def build(kind):
    """Returns (model, inputs) for a class, or None."""
    for kept in all_models.KEPT:
        try:
            with all_models.time_limit(SECONDS):
                config = all_models.shrink(kind.config_class(), kept)
                if all_models.parameters_of(kind, config) > 60_000_000:
                    continue
                torch.manual_seed(0)
                model = kind(config).eval()
                all_models.draw(model, 0.15)
        except Exception:
            continue
        with contextlib.suppress(Exception):  # the class has no attention interface
            model.set_attn_implementation("eager")
        for inputs in inputs_of(model):
            try:
                with torch.no_grad(), all_models.time_limit(SECONDS):
                    all_models.numbers(model(**inputs))
                return model, inputs
            except Exception:
                continue
    return None


def watched(model, inputs, sequence):
    """Runs the model once: ({(family, layer): (path, map or None, names of rows, names of columns)}, left_out)."""
    torch.manual_seed(3)
    trace = ch.watch(model, sequence=sequence)
    with torch.no_grad(), trace:
        model(**inputs)
    try:
        found = {(family, layer): trace.map(layer, family) for family in trace.families for layer in trace.layers(family)}
    except ch.NotFoundError:
        return {}, trace.left_out
    names = lambda of: trace.tokens[slice(*of)]
    whole = lambda one: np.nan_to_num(one.to_numpy()) if one.heads * one.queries * one.keys < 4e6 else None
    return {key: (one.module, whole(one), names(one.query_range), names(one.key_range)) for key, one in found.items()}, trace.left_out


def difference(batch, alone):
    """Returns how the maps of a batch differ from those of its second input alone, or None."""
    if batch.keys() != alone.keys():
        return f"{len(batch)} maps of the batch, {len(alone)} of the input alone"
    for key, (path, found, *names) in batch.items():
        _, expected, *own = alone[key]
        if names != own:
            return f"{path}: rows and columns {names[0][:2]} … of {len(names[0])}; alone {own[0][:2]} … of {len(own[0])}"
        if found is not None and np.abs(found - expected).max(initial=0) > 1e-3:
            return f"{path}: off by {np.abs(found - expected).max():.2g}"
    return None


def check(kind):
    """Returns (line about a class, whether it passes); None if the class cannot be built."""
    built = build(kind)
    if built is None:
        return None
    model, inputs = built
    second = {name: value[1:] if value.shape[0] == 2 else value for name, value in inputs.items()}
    (batch, left_out), (alone, _) = watched(model, inputs, 1), watched(model, second, 0)
    why = difference(batch, alone)
    word = "same" if why is None else why + (f" ({EXPLAINED[kind.__name__]})" if kind.__name__ in EXPLAINED else "")
    return f"{kind.__name__}: {len(batch)} maps, {len(left_out)} left out: {word}", why is None or kind.__name__ in EXPLAINED


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    names = parser.parse_args().names or all_models.files()
    logging.disable(logging.CRITICAL)
    built = good = missing = 0
    for folder in names:
        try:
            kinds = [one for one in all_models.candidates(folder) if KINDS.search(one.__name__)]
        except ImportError:
            continue
        for kind in kinds:
            found = None
            try:
                with all_models.time_limit(60):
                    found = check(kind)
            except (all_models.Skip, Exception) as error:
                found = f"{kind.__name__}: {type(error).__name__}: {' '.join(str(error).split())[:120]}", False
            if found is None:
                missing += 1
                continue
            built, good = built + 1, good + found[1]
            print(found[0], flush=True)
    print(f"{built} classes: {good} the same or explained, {built - good} not; {missing} were not built")
    return int(good < built)


if __name__ == "__main__":
    sys.exit(main())
