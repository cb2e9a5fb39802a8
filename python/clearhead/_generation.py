"""Observes the decoding loops of transformers: where each text ends, and which beam wins.

generate() calls one of three methods of GenerationMixin: _sample (also for greedy search), _assisted_decoding and _beam_search. They are
replaced while at least one watch is active. Results are unchanged. A watch is notified when a loop begins, where each row of the batch
stopped (what follows is padding), and which sequences the loop returned. There is no supported hook for this: `custom_generate` of
generate() replaces the loop by the caller's own, and stopping criteria and logits processors are arguments of generate(), which the user
calls.

Whisper runs one such loop for each chunk of its sounds, and removes sounds that have ended from the batch. A watch receives the original
number of sounds.
"""

import functools
import sys
import threading

_METHODS = ("_sample", "_assisted_decoding", "_beam_search")
_CHUNK = "generate_with_fallback"  # method of Whisper
_lock = threading.RLock()
_listeners = []
_originals = {}


class Generation:
    """One decoding loop.

    prompt: length of the given ids, 0 if the prompt is given as embeddings. batch: rows of the model's calls. beams: rows per text.
    ends: for each row, the length at which it stopped, None while it continues. returned: number of sequences returned per text.
    """

    def __init__(self, prompt, batch, beams, returned):
        self.prompt, self.batch, self.beams, self.returned = prompt, batch, beams, returned
        self.has_ids = prompt > 0
        self.ends = [None] * batch
        self.result = None  # the loop's output, with `sequences`; None if it raised

    @property
    def is_beam_search(self):
        return self.beams > 1

    def step(self, before, count):
        """Returns the step number of a call that reads `count` tokens after `before` earlier ones; 0 for the prompt."""
        if not self.has_ids and self.prompt == 0:
            self.prompt = count
        return max(0, before + count - self.prompt)

    def first_row(self, sequence):
        """Returns the first row of the batch that belongs to a text."""
        return min(sequence, self.batch // self.beams - 1) * self.beams

    def note_ends(self, is_done, length):
        """Records the rows that stop at this length. is_done: bool [row], from the stopping criteria."""
        if is_done.numel() != self.batch:
            return
        for row, done in enumerate(is_done.tolist()):
            if done and self.ends[row] is None:
                self.ends[row] = length


def _mixin():
    try:
        from transformers.generation.utils import GenerationMixin
    except ImportError:
        return None
    return GenerationMixin


def _noting_ends(criteria, generation):
    """Wraps the stopping criteria so that they also report to the generation where each row stops."""
    from transformers.generation.stopping_criteria import StoppingCriteriaList

    class Noting(StoppingCriteriaList):
        def __call__(self, input_ids, scores, **keywords):
            is_done = super().__call__(input_ids, scores, **keywords)
            generation.note_ends(is_done, input_ids.shape[1])
            return is_done

    return Noting(criteria)


def _replacement(original, is_beam_search):
    @functools.wraps(original)  # generate() inspects the signature
    def decode(model, input_ids, logits_processor, stopping_criteria, generation_config, *positional, **keywords):
        with _lock:
            listeners = [one for one in _listeners if one.owns(model)]
        if not listeners:
            return original(model, input_ids, logits_processor, stopping_criteria, generation_config, *positional, **keywords)
        beams = generation_config.num_beams if is_beam_search else 1
        generation = Generation(input_ids.shape[1], input_ids.shape[0], beams,
                                (generation_config.num_return_sequences or 1) if is_beam_search else 1)
        if not is_beam_search:
            stopping_criteria = _noting_ends(stopping_criteria, generation)
        asked = generation_config.return_dict_in_generate
        if is_beam_search:
            generation_config.return_dict_in_generate = True  # the output then has beam_indices
        for one in listeners:
            one.begin_generation(generation)
        try:
            generation.result = original(model, input_ids, logits_processor, stopping_criteria, generation_config, *positional, **keywords)
        finally:
            generation_config.return_dict_in_generate = asked
            for one in listeners:
                one.end_generation(generation)
        result = generation.result
        return result if asked or not is_beam_search else result.sequences

    return decode


def _of_generate(original):
    @functools.wraps(original)
    def generate(model, *positional, **keywords):
        with _lock:
            listeners = [one for one in _listeners if one.owns(model)]
        for one in listeners:  # generate() may compute the features of pictures before it calls the model, and then passes only these
            one.read_pictures(original, (model, *positional), keywords)
        return original(model, *positional, **keywords)

    return generate


def _of_chunk(original):
    @functools.wraps(original)
    def decode(model, *positional, **keywords):
        with _lock:
            listeners = [one for one in _listeners if one.owns(model)]
        for one in listeners:
            one.reading.total = keywords.get("batch_size")
        try:
            return original(model, *positional, **keywords)
        finally:
            for one in listeners:
                one.reading.total = None

    return decode


def _whisper():
    return getattr(sys.modules.get("transformers.models.whisper.generation_whisper"), "WhisperGenerationMixin", None)


def _replace(owner, name, replacement):
    """Replaces a method of a class, if it exists, by replacement(method). forget() restores it."""
    if hasattr(owner, name):
        _originals[owner, name] = getattr(owner, name)
        setattr(owner, name, replacement(_originals[owner, name]))


def listen(listener):
    """Registers a listener. Its members: owns(module), begin_generation(generation), end_generation(generation),
    read_pictures(function, positional, keywords), reading."""
    mixin = _mixin()
    if mixin is None:
        return
    with _lock:
        if not _listeners:
            for name in _METHODS:
                _replace(mixin, name, functools.partial(_replacement, is_beam_search=name == "_beam_search"))
            _replace(mixin, "generate", _of_generate)
            _replace(_whisper(), _CHUNK, _of_chunk)
        _listeners.append(listener)


def forget(listener):
    with _lock:
        if listener not in _listeners:
            return
        _listeners.remove(listener)
        if not _listeners:
            for (owner, name), original in _originals.items():
                setattr(owner, name, original)
            _originals.clear()
