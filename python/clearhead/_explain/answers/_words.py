"""Words of a target as token ids. The rules are those of the command line (src/explain/target_words.h)."""

import math
import unicodedata

from ...errors import InvalidArgumentError, NotFoundError, UnsupportedError
from . import log_probability

ONE_AGAINST_ONE = "answers are compared one token against one"
WORD_PRIOR = math.log(100)  # after a word, the asked word is most likely a new word, not the end of the previous one
# scripts without spaces between words: Thai and Lao, Burmese, Khmer, kana, Han
_UNSPACED = ((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00),
             (0x20000, 0x32000))


def _plain(tokenizer, text):
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _continuation(tokenizer, word, before):
    """The tokens that a word adds to a text if the tokens of the text stay the same; otherwise the tokens of the word alone."""
    if before is not None:
        text, both = _plain(tokenizer, before), _plain(tokenizer, before + word)
        if len(text) < len(both) and both[: len(text)] == text:
            return both[len(text) :]
    return _plain(tokenizer, word)


def _is_of_a_spaced_word(letter):
    is_unspaced = any(begin <= ord(letter) < end for begin, end in _UNSPACED)
    return not is_unspaced and unicodedata.category(letter)[0] in "LN"


def spellings_of(tokenizer, word, before):
    """Returns ([ids], prior): the ways to tokenize a word after a text, with and without a leading space, and a number that is added to the
    log-probability of the first. before: the text, or None."""
    unknown, found, prior = tokenizer.unk_token_id, [], 0.0

    def add(spelling):
        ids = _continuation(tokenizer, spelling, before)
        has_unknown = unknown is not None and unknown in ids and word != tokenizer.unk_token
        if ids and not has_unknown and ids not in found:
            found.append(ids)

    takes_space = bool(word) and not word[0].isspace() and not (before and before[-1].isspace())
    if takes_space:
        add(" " + word)
        if before and found and _is_of_a_spaced_word(before[-1]) and _is_of_a_spaced_word(word[0]):
            prior = WORD_PRIOR
    add(word)
    if not found:
        raise NotFoundError(f'explain: "{word}" cannot be spelled with the tokens of the vocabulary')
    return found, prior


def single_token(tokenizer, word, before, logits, why):
    """Returns the token of a word that has a spelling of one token; if several have, the most probable. logits: [count].
    Raises UnsupportedError, with the reason why only one token is possible."""
    found, prior = spellings_of(tokenizer, word, before)
    rated = [(float(logits[ids[0]]) + (prior if at == 0 else 0), -at, ids[0]) for at, ids in enumerate(found) if len(ids) == 1]
    if rated:
        return max(rated)[2]
    tokens = ", ".join(spelled(tokenizer, [one]) for one in found[0])
    raise UnsupportedError(f'explain: "{word}" is {len(found[0])} tokens ({tokens}); {why}: expected a word of one token')


def against(question, asked, before, answer_with):
    """Returns (tokens, answer or None) of the contrast of a question.

    If the target is one token and the contrast has a spelling of one token, two logits are compared, and the answer is None. Otherwise the
    contrast is an answer of its own, in its most probable spelling. asked: the tokens of the target. before: the text before them.
    answer_with: function that returns the Answer with other tokens in their place.
    """
    found, prior = spellings_of(question.tokenizer, question.contrast, before)
    needs_one = len(asked) == 1 and any(len(ids) == 1 for ids in found)
    answers = [(prior if at == 0 else 0, ids, answer_with(ids)) for at, ids in enumerate(found) if len(ids) == 1 or not needs_one]
    _, ids, answer = max(answers, key=lambda one: one[0] + log_probability(question.model, one[2]))
    if ids == list(asked):
        raise InvalidArgumentError("explain: the target and the contrast are the same answer; give two different ones")
    return ids, None if len(ids) == len(asked) == 1 else answer


def decoded(tokenizer, ids):
    """Returns (text, ends): the text of tokens, and the position in it where each token ends."""
    return tokenizer.decode(ids), [len(tokenizer.decode(ids[: at + 1])) for at in range(len(ids))]


def spelled(tokenizer, ids):
    """Returns the text of tokens in quotes; "#7 #9" without a tokenizer."""
    return " ".join(f"#{one}" for one in ids) if tokenizer is None else '"' + tokenizer.decode(ids) + '"'
