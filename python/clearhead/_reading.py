"""Reconstructs the tokens that a watched model has read from the arguments of its modules.

A decoder or an encoder reads one text; an encoder-decoder reads two, "source" and "target". The name of a text ("" if there is only one) is
called its side. A call with a cache continues its text. If the cache contains fewer tokens than were read, the surplus tokens were rejected
(speculative decoding, cache.crop()) and are removed from the text. A call without a cache starts the text again.
"""

import functools
import re
from collections import namedtuple
from collections.abc import Mapping

import torch

from ._masks import hidden_pairs
from .errors import InvalidArgumentError

PICTURES = ("pixel_values", "pixel_values_videos", "pixel_values_images")
SOUNDS = ("input_features", "input_values", "audio_values")
INPUTS = ("input_ids", "inputs_embeds", *PICTURES, *SOUNDS)
# Pictures or sounds of a call. batch: their number (1 if they are packed into one tensor without a batch axis); value: the watched one.
Medium = namedtuple("Medium", ("name", "batch", "value", "plural", "is_packed"))
MOST_LOGITS = 64  # number of positions of a call after the prompt whose logits are kept, for the probabilities of drafted tokens


def has_numbers(x):
    return isinstance(x, torch.Tensor) and not x.is_meta


def cached_tokens(keywords):
    """Returns the number of tokens in the cache of a call; None without a cache."""
    cache = keywords.get("past_key_values", keywords.get("cache"))
    try:
        return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else None
    except ValueError:  # a cache of recurrent states, without keys
        return None


class Text:
    """One text, as far as the model has read it.

    ids: token ids of the watched text, with padding; -1 where only embeddings were given. start: position of the first id. padding: bool
    [token], False for padding, or None. front: (left padding of each text of the batch [batch], length of the mask), or None. before:
    number of tokens in the cache at the last call. continues: whether the last call used a cache. prompt: number of given tokens; the
    others were generated. batch, count: number of texts in the last call, and of tokens in each. read_ids: [row, token] of the last call.
    logits: (position of the first, f32 [row, position, vocabulary]) after the last call. probabilities of generated tokens: {position: f32
    [row before, row]}; there are several rows in a beam search.
    """

    def __init__(self, start=0):
        self.ids, self.start, self.padding, self.front, self.before, self.continues = [], start, None, None, None, False
        self.prompt, self.logits, self.probabilities, self.read_ids, self.batch, self.count = None, None, {}, None, None, None

    @property
    def end(self):
        return self.start + len(self.ids)

    def range(self, count):
        """Returns the range of the first `count` tokens without padding; all of them if there is padding between tokens."""
        if self.padding is None or self.padding.numel() < count:
            return 0, count
        shown = self.padding[:count].nonzero().flatten()
        if shown.numel() == 0 or shown.numel() != int(shown[-1] - shown[0]) + 1:
            return 0, count
        return int(shown[0]), int(shown[-1]) + 1

    def crop(self, position):
        """Drops the tokens from a position on."""
        count = max(0, position - self.start)
        self.ids = self.ids[:count]
        if self.padding is not None:
            self.padding = self.padding[:count]
        self.probabilities = {at: p for at, p in self.probabilities.items() if at < position}


class Reading:
    """The texts and media that a model reads in a run.

    kinds: {path of a module: the kinds of input that it was given, of "text", "picture" and "sound"}. media: {kind: Medium}. shapes: shapes
    of the tensor arguments of the outermost call, the main input first. main: name of the main input. given: number of tokens of the
    written text that were given, if the others are an answer that was generated earlier; `text` covers only these. Default: all.
    """

    def __init__(self, model, tokenizer, text, sequence, given=None):
        self._given = given
        self._model, self._tokenizer, self._text, self._sequence = model, tokenizer, text, sequence
        self.config = getattr(model, "config", None)
        self.is_pair = bool(getattr(self.config, "is_encoder_decoder", False)) and hasattr(model, "get_encoder")
        self._side_of_module = {}
        if self.is_pair:
            sides = {"source": model.get_encoder(), "target": model.get_decoder()}
            self._side_of_module = {id(module): side for side, module in sides.items() if module is not None and module is not model}
        self.generation = None
        self.begin()

    def begin(self):
        self.texts, self.kinds, self.media = {}, {}, {}
        self._reader, self.has_read, self.step = None, False, 0
        self.total = None  # number of inputs of a generation that removes finished ones from its batch
        self.shapes, self.main, self.may_lack_batch = [], None, False

    def begins_call(self, module, positional, keywords):
        """Called when the model, or a module of it, is called from outside."""
        self._reader, self.has_read, self.kinds, self._noted = None, False, {}, set()
        self.main = getattr(type(module), "main_input_name", None)
        given = (*positional, *keywords.values())
        inside = given[0].values() if given and isinstance(given[0], Mapping) else ()
        tensors = [one for one in (keywords.get(self.main), *inside, *given) if isinstance(one, torch.Tensor) and one.dim() > 1
                   and not one.is_nested]
        self.shapes = [tuple(one.shape) for one in tensors]
        self.may_lack_batch = bool(tensors) and tensors[0].dim() == 2 and tensors[0].is_floating_point()  # [token, d]

    @property
    def written_side(self):
        return "target" if self.is_pair else ""

    def text(self, side):
        return self.texts.get(side) or Text()

    @functools.cached_property
    def mixes_media_and_tokens(self):
        """True if a text contains pictures or sounds among its tokens."""
        settings = {} if self.config is None else vars(self.config)
        return any(value is not None and re.search(r"(image|video|audio|speech)_token_(id|index)$", name)
                   for name, value in settings.items())

    @property
    def sources(self):
        """Number of source texts or media that an encoder has read; None without an encoder."""
        known = self.text("source").batch if self.is_pair else None
        return known or next((medium.batch for medium in self.media.values() if self.is_pair), None)

    def has_frames(self, medium):
        """Returns whether these pictures are videos."""
        configs = (self.config, getattr(self.config, "vision_config", None))
        return medium.name == "pixel_values_videos" or any(getattr(of, "num_frames", None) is not None for of in configs)

    # The rows of a batch.

    def row_of(self, batch, what="texts"):
        """Returns the index of the watched text in a batch. Raises InvalidArgumentError if the batch is smaller."""
        if self.total not in (None, batch):
            return 0  # such a batch is not shown
        at = self._sequence if self._sequence >= 0 else batch + self._sequence
        if not 0 <= at < batch:
            last = f"0 to {batch - 1}, or -{batch} to -1" if batch > 1 else "0, or -1"
            raise InvalidArgumentError(f"watch: sequence={self._sequence}, but the batch has {batch} {what if batch > 1 else what[:-1]}; "
                                       f"expected {last}")
        return at

    def rows(self, batch, what="texts"):
        """Returns the rows of a batch to keep: the row of the watched text, or all of its beams. Of several samples of one source
        (num_return_sequences), the first is kept."""
        copies = self.copies(batch)
        first = self.row_of(batch // copies, what) * copies
        is_beam_search = self.generation is not None and self.generation.is_beam_search and copies > 1
        return slice(first, first + (copies if is_beam_search and self.step > 0 else 1))  # at step 0 all beams are equal to the first

    def copies(self, batch):
        """Returns the number of rows of a generation's batch that belong to one text or source."""
        generation = self.generation
        if generation is None or batch != generation.batch:
            return 1
        sources = self.sources or batch
        return generation.beams if generation.is_beam_search else batch // sources if batch % sources == 0 else 1

    # Arguments of modules.

    def reads(self, module, path, positional, keywords):
        """Records a module's inputs. Yields (side, None) before a text is read from its beginning, and (side, position) before reading
        continues at an earlier position; the caller then discards what it keeps from that position on."""
        side = self._side_of_module.get(id(module))
        given = self._tensor_arguments(module, positional, keywords)
        return () if side is None and not given else self._reads(side, path, given, keywords)

    def _reads(self, side, path, given, keywords):
        self._note_kinds(path, given)
        if side is None and not self.is_pair and self._reader in (None, path):
            is_text = "input_ids" in given or ("inputs_embeds" in given and "text" in self._kinds_of(path))
            side = "" if is_text else None
        if side is not None:
            self._reader, self.has_read = path, True
            yield from self._continue_text(side, given, keywords)

    @staticmethod
    def _tensor_arguments(module, positional, keywords):
        """Returns the tensors among a module's arguments, by their transformers names."""
        out = {name: value for name, value in keywords.items() if name in INPUTS and has_numbers(value)}
        first = positional[0] if positional else None
        if isinstance(first, Mapping):
            out.update((name, first[name]) for name in INPUTS if name not in out and name in first and has_numbers(first[name]))
        elif has_numbers(first):
            if first.is_floating_point():
                main = module.main_input_name if hasattr(type(module), "main_input_name") else None
                if main in PICTURES or main in SOUNDS:
                    out.setdefault(main, first)
            elif first.dim() == 2 and first.dtype != torch.bool and next(module.children(), None) is not None:
                out.setdefault("input_ids", first)
        return out

    def _note_kinds(self, path, given):
        kinds = {"picture" if name in PICTURES else "sound" for name in given if name in PICTURES or name in SOUNDS}
        if "input_ids" in given or (kinds and "inputs_embeds" in given):  # vision encoders also call their states inputs_embeds
            kinds.add("text")
        if not kinds:
            return
        self.kinds[path] = kinds
        for name, value in given.items():
            kind = "picture" if name in PICTURES else "sound" if name in SOUNDS else None
            # only the arguments of the outermost module have the axes that the caller knows
            if kind is not None and kind not in self._noted:
                self._noted.add(kind)
                self.media[kind] = self._medium(name, value)

    def _medium(self, name, value):
        batch = value.shape[0] if value.dim() > 2 or name == "input_values" else 1
        is_packed, plural = batch == 1 < value.shape[0], "pictures" if name in PICTURES else "sounds"
        at = self.copies(batch) * self._sequence
        at = 0 if is_packed else at if -batch <= at < batch else batch - 1
        return Medium(name, batch, value.detach()[at].float().cpu(), plural, is_packed)

    def medium(self, layer):
        """Returns the Medium that a layer reads; None if it reads something else."""
        if (layer.is_text and not layer.is_cross) or not self.media:
            return None
        kinds = self._kinds_of(layer.path) - {"text"}
        tower = {"vision": "picture", "audio": "sound"}.get(layer.tower)
        return self.media.get(next(iter(kinds)) if len(kinds) == 1 else tower) or next(iter(self.media.values()))

    def _kinds_of(self, path):
        """Returns the kinds of input of the nearest enclosing module that was given any; text if there is none."""
        parts = path.split(".")
        above = [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
        return next((self.kinds[one] for one in above if one in self.kinds), {"text"})

    def reads_text(self, path, tower):
        """Returns whether the tokens of the attention at a path may be those of a text. tower: its tower, or ""."""
        if tower in ("vision", "audio"):
            return False
        nearest = self._kinds_of(path)
        if "text" not in nearest:
            return False
        return len(nearest) == 1 or tower == "text" or path.startswith(self._path_of_text())

    def _path_of_text(self):
        """Path of the module that reads the text, in a model with several kinds of input."""
        if not hasattr(self, "_text_path"):
            self._text_path = ""
            try:
                embeddings = self._model.get_input_embeddings()
            except (AttributeError, NotImplementedError):
                embeddings = None
            paths = {id(module): path for path, module in self._model.named_modules()}
            parts = paths.get(id(embeddings), "").split(".")
            for count in range(len(parts) - 1, 0, -1):
                below = ".".join(parts[:count])
                if any("attention" in path.lower() or path.endswith("attn") for path in paths.values() if path.startswith(below + ".")):
                    self._text_path = below + "."
                    break
        return self._text_path

    # One text.

    def _continue_text(self, side, given, keywords):
        ids, before = given.get("input_ids"), cached_tokens(keywords)
        ids = ids if ids is not None and ids.dim() == 2 else None
        known = self.texts.get(side)
        if known is None or not before or not known.start < before <= known.end:
            earlier = known if self.generation is not None and before is None else None
            self.texts = {name: one for name, one in self.texts.items() if side == "target" and name != side}
            known = self.texts[side] = Text(before or 0)
            if earlier is not None:  # a generation without a cache reads the whole text at each step
                known.probabilities, known.logits = earlier.probabilities, earlier.logits
            yield side, None
        else:
            known.continues = True
            if before < known.end:
                yield side, before
        known.before = before
        embeddings = given.get("inputs_embeds")
        count = ids.shape[1] if ids is not None else embeddings.shape[1] if embeddings is not None else None
        if count is None:
            return
        known.batch, known.count = (ids if ids is not None else embeddings).shape[0], count
        self._set_step(before or 0, count)
        self._add_tokens(known, side, ids, count)
        self._read_padding(known, keywords.get("attention_mask"), before, count)
        if side != "target" and len(known.ids) == count:
            self._check_text(known, count)

    def _set_step(self, before, count):
        self.step = self.generation.step(before, count) if self.generation is not None and self.generation.is_beam_search else 0

    def _add_tokens(self, known, side, ids, count):
        begin = known.end
        if known.prompt is None:
            known.prompt = (
                self.generation.prompt
                if self.generation is not None and self.generation.has_ids and side == self.written_side
                else begin + count
            )
            if self._given is not None and side == self.written_side:
                known.prompt = min(self._given, begin + count)
        if ids is None:
            known.ids.extend(self._ids_of_embeddings(count))
            return
        rows = self.rows(ids.shape[0])
        known.ids.extend(ids[rows.start].tolist())
        known.read_ids = ids[rows].detach().cpu()
        if known.logits is not None:
            end = begin + 1 if known.continues else begin + count  # later logits may follow rejected tokens
            self._note_probabilities(known, begin, end, ids[rows], begin)

    @staticmethod
    def _note_probabilities(known, begin, end, ids, first_id):
        """Records probabilities of the generated tokens at positions [begin, end) for which the preceding logits are known. ids: [row,
        token], from position first_id."""
        first, logits = known.logits
        for position in range(max(begin, known.prompt), end):
            at = position - 1 - first
            if 0 <= at < logits.shape[1] and position not in known.probabilities:
                known.probabilities[position] = torch.softmax(logits[:, at], -1)[:, ids[:, position - first_id].cpu()]

    def _ids_of_embeddings(self, count):
        """Returns ids for a text that was given as embeddings: those of `text=`, else -1."""
        if self._text is None or self._tokenizer is None:
            return [-1] * count
        ids = list(getattr(self._tokenizer, "tokenizer", self._tokenizer)(self._text)["input_ids"])
        if len(ids) != count:
            raise InvalidArgumentError(f"watch: text= has {len(ids)} tokens, but the model is given {count} embeddings; pass the text "
                                       "from which the embeddings were computed, or omit text=")
        return ids

    def _check_text(self, known, count):
        """Raises InvalidArgumentError, with the first difference, if `text=` is not the text of the tokens."""
        if self._text is None or self._tokenizer is None or -1 in known.ids:
            return
        tokenizer = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        begin, end = known.range(count)
        special = set(tokenizer.all_special_ids)
        known_end = end if self._given is None or self.is_pair else min(end, self._given)
        given = [one for one in known.ids[begin:known_end] if one not in special]
        for spelling in dict.fromkeys((self._text, self._text.lstrip(" "))):
            ids = [one for one in tokenizer(spelling, add_special_tokens=False)["input_ids"] if one not in special]
            if ids == given:
                return
        at = next((at for at, (a, b) in enumerate(zip(ids, given)) if a != b), min(len(ids), len(given)))
        piece = lambda several: repr(tokenizer.convert_ids_to_tokens([several[at]])[0]) if at < len(several) else "the end"
        raise InvalidArgumentError(f"watch: text= is not what the model reads: token {at} of the text is {piece(ids)}, the model's is "
                                   f"{piece(given)}")

    def _read_padding(self, known, mask, before, count):
        """Determines which tokens are padding. A generation with a static cache passes prepared masks; in the first of them, padding is the
        keys that no query sees."""
        if isinstance(mask, Mapping):
            mask = next(iter(mask.values()), None)
        if before == 0 and isinstance(mask, torch.Tensor) and mask.dim() == 4:
            source = getattr(mask, "source", None)
            if source is not None:
                mask = source.padding
            elif mask.dtype == torch.bool or mask.is_floating_point():
                mask = (mask if mask.dtype == torch.bool else ~hidden_pairs(mask)).any(2).any(1)
            mask = None if mask is None or mask.dim() != 2 or mask.shape[1] < count else mask[:, :count]
        if isinstance(mask, torch.Tensor) and mask.dim() == 2 and has_numbers(mask):
            known.padding = mask[self.rows(mask.shape[0]).start].bool().cpu()
            known.front = (mask != 0).int().argmax(1), mask.shape[1]
        elif before and known.padding is not None:
            known.padding = torch.cat([known.padding, torch.ones(count, dtype=torch.bool)])

    def wrote(self, path, result):
        """Called when a module has returned. Keeps its logits until the next tokens are known."""
        logits, known = getattr(result, "logits", None), self.texts.get(self.written_side)
        if known is None or path not in ("", self._reader) or not has_numbers(logits) or logits.dim() != 3:
            return
        count = min(logits.shape[1], MOST_LOGITS if known.continues or self.generation is not None else 1)
        kept = logits[self.rows(logits.shape[0]), logits.shape[1] - count :].detach().float().cpu()
        known.logits = (known.end - count, kept)
        if known.read_ids is not None and known.read_ids.shape[0] == kept.shape[0]:
            begin = known.end - known.read_ids.shape[1]
            self._note_probabilities(known, begin + 1, known.end, known.read_ids, begin)

    # The end of a generation.

    def accepted(self, generation):
        """Returns the end position of the result of a generation, without rejected drafts and padding."""
        known = self.texts.get(self.written_side)
        sequences = getattr(generation.result, "sequences", generation.result)
        if known is None or not isinstance(sequences, torch.Tensor):
            return None
        row = self.rows(sequences.shape[0]).start
        written = sequences[row].tolist()
        if generation.ends[min(row, len(generation.ends) - 1)] is not None:
            written = written[: generation.ends[row]]
        if not generation.has_ids:
            return known.start + known.prompt + len(written)
        common = 0
        while common < min(len(known.ids), len(written)) and known.ids[common] == written[common]:
            common += 1
        return known.start + common

    def keep_winner(self, generation):
        """Keeps the winning beam. Returns its index among the beams of its text at each step."""
        result, side = generation.result, self.written_side
        first = self.row_of(generation.batch // generation.beams) * generation.beams
        at = first // generation.beams * generation.returned
        won = [row - first for row in result.beam_indices[at].tolist() if row >= 0]
        known = self.texts.get(side)
        if known is not None and not generation.has_ids:
            self.texts.pop(side)
        elif known is not None:
            known.ids = result.sequences[at, : generation.prompt + len(won) - 1].tolist()
            known.probabilities = {known.prompt + step: p for step, p in enumerate(self._of_winner(known, won))}
        return won

    @staticmethod
    def _of_winner(known, won):
        of_steps = [known.probabilities[at] for at in sorted(known.probabilities)]
        return [p[min(a, len(p) - 1), b : b + 1] for p, a, b in zip(of_steps, won, won[1:])]

    def crop(self, side, position):
        """Drops the tokens from a position on. Returns how many of the remaining tokens are not padding; None if there was nothing to
        drop."""
        known = self.texts.get(side)
        if known is None or position is None:
            return None
        known.crop(position)
        begin, end = known.range(len(known.ids))
        return end - begin
