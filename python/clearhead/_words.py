"""Readable tokens and words of a trace, with their positions in its text."""

import bisect
import re

from ._attach import attach_methods
from ._core import Trace

_ALONE = "\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
_LETTERS = f"[^\\W{_ALONE}]"
_WORD = re.compile(f"{_LETTERS}+(?:['\u2019]{_LETTERS}+)*|[{_ALONE}]|[^\\w\\s]")


class Word(str):
    """A word of a trace's text.

    It equals trace.text[word.begin:word.end]; its tokens are trace.tokens[word.tokens.start:word.tokens.stop].
    """

    __slots__ = ("begin", "end", "tokens")

    def __new__(cls, text, begin, end, tokens):
        word = super().__new__(cls, text)
        word.begin, word.end, word.tokens = begin, end, tokens
        return word

    def __getnewargs__(self):
        return str(self), self.begin, self.end, self.tokens


def _characters(text, offsets):
    """Converts byte ranges of a text to character ranges. A range that covers a part of a character includes the whole character."""
    if text.isascii():
        return [tuple(one) for one in offsets]
    first = [0] * (len(text.encode()) + 1)  # index of the character of each byte
    at = 0
    for place, letter in enumerate(text):
        size = len(letter.encode())
        first[at : at + size] = [place] * size
        at += size
    first[at] = len(text)
    return [(first[begin], first[begin] if end == begin else first[end - 1] + 1) for begin, end in offsets]


def offsets(self):
    """Character range (begin, end) of each token in `text`. Special tokens and items have empty ranges."""
    return _characters(self.text, self._byte_offsets)


def _readable(piece):
    """A vocabulary entry without its word-boundary marks, for a token that has no range in the text."""
    for mark in ("\u0120", "\u2581"):
        piece = piece.replace(mark, " ")
    piece = piece.replace("\u010a", "\n").replace("</w>", "")
    return (piece[2:] if piece.startswith("##") and len(piece) > 2 else piece).strip() or piece


def tokens(self):
    """The tokens in readable form: the text that each covers, without surrounding spaces; special tokens and items by name.

    A token that covers a part of a character, as in byte-level vocabularies, shows the whole character. See `pieces` for the entries of
    the vocabulary, and `words` for tokens joined to words.
    """
    text, out = self.text, []
    for piece, (begin, end), special, at in zip(self.pieces, self.offsets, self._special, range(len(self.pieces))):
        shown = text[begin:end]
        if special or at >= self._text_tokens:
            out.append(piece)
        else:
            out.append((shown.strip() or shown) if shown else _readable(piece))
    return out


def words(self):
    """The words of the text, in order.

    Each word is a str with the attributes `begin` and `end`, its character range in `text`, and `tokens`, the range of the tokens that
    overlap it. A word is a run of letters and digits (an apostrophe between letters joins them), a single ideograph or a single
    punctuation mark. Special tokens and items belong to no word.
    """
    ends, starts = [], []  # (position, token) of the tokens that cover text, ascending
    for at, (begin, end) in enumerate(self.offsets[: self._text_tokens]):
        if begin < end:
            starts.append((begin, at))
            ends.append((end, at))
    out = []
    for found in _WORD.finditer(self.text):
        first = bisect.bisect_right(ends, (found.start(), len(self.ids)))
        last = bisect.bisect_left(starts, (found.end(), -1))
        if first < last:
            out.append(Word(found[0], found.start(), found.end(), range(ends[first][1], starts[last - 1][1] + 1)))
    return out


attach_methods(Trace, offsets=property(offsets), tokens=property(tokens), words=property(words))
