"""Beam search of transformers while it is watched: which beam won, and which row of the batch was it at every step.

GenerationMixin._beam_search is replaced while somebody watches. Asked for its dict, it says for each token which row of the batch it was
taken from: the rows of the calls that made the winner. Its caller gets what it asked for.
"""

import functools
import threading

_lock = threading.RLock()
_listeners = []


class Beams:
    """A beam search that runs. count: beams of a sequence; batch: rows of the model's calls; prompt: tokens that the search began with."""

    def __init__(self, count, batch, prompt):
        self.count, self.batch, self.prompt, self.has_ids = count, batch, prompt, prompt > 0

    def step(self, before, count):
        """The step of a call that reads `count` tokens after `before` ones: 0 for the prompt."""
        if not self.has_ids and self.prompt == 0:
            self.prompt = count  # of embeddings
        return max(0, before + count - self.prompt)

    def first_row(self, sequence):
        """The first of the rows of a sequence."""
        return min(sequence, self.batch // self.count - 1) * self.count


def _mixin():
    try:
        from transformers.generation.utils import GenerationMixin
    except ImportError:
        return None
    return GenerationMixin if hasattr(GenerationMixin, "_beam_search") else None


def _replacement(original):
    @functools.wraps(original)  # generate() reads its signature
    def beam_search(model, input_ids, logits_processor, stopping_criteria, generation_config, *positional, **keywords):
        with _lock:
            listeners = [one for one in _listeners if one.owns(model)]
        run = lambda: original(model, input_ids, logits_processor, stopping_criteria, generation_config, *positional, **keywords)  # noqa: E731
        if not listeners:
            return run()
        asked = generation_config.return_dict_in_generate
        generation_config.return_dict_in_generate = True
        for one in listeners:
            one.begin_beams(Beams(generation_config.num_beams, *input_ids.shape))
        result = None
        try:
            result = run()
        finally:
            generation_config.return_dict_in_generate = asked
            for one in listeners:
                one.end_beams(result, generation_config.num_return_sequences or 1)
        return result if asked else result.sequences

    return beam_search


def listen(listener):
    """listener: owns(module), begin_beams(Beams), end_beams(the search's result or None, number of sequences returned for each text)."""
    mixin = _mixin()
    if mixin is None:
        return
    with _lock:
        if not _listeners:
            mixin._clearhead_original = mixin._beam_search
            mixin._beam_search = _replacement(mixin._beam_search)
        _listeners.append(listener)


def forget(listener):
    with _lock:
        if listener not in _listeners:
            return
        _listeners.remove(listener)
        if not _listeners:
            mixin = _mixin()
            mixin._beam_search = mixin._clearhead_original
            del mixin._clearhead_original
