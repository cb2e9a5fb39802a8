"""Tokens and words of a trace as people read them, with their places in its text."""

import bisect
import re

from ._core import Trace
from ._given import give

_ALONE = "\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
_LETTERS = f"[^\\W{_ALONE}]"
_WORD = re.compile(f"{_LETTERS}+(?:['\u2019]{_LETTERS}+)*|[{_ALONE}]|[^\\w\\s]")


class Word(str):
    """A word of a trace's text: trace.text[word.begin:word.end], made of the tokens trace.tokens[word.tokens.start:word.tokens.stop]."""

    __slots__ = ("begin", "end", "tokens")

    def __new__(cls, text, begin, end, tokens):
        word = super().__new__(cls, text)
        word.begin, word.end, word.tokens = begin, end, tokens
        return word

    def __getnewargs__(self):
        return str(self), self.begin, self.end, self.tokens


def _characters(text, offsets):
    """Byte ranges of a text as ranges of characters; a character that a range holds in part belongs to it."""
    if text.isascii():
        return [tuple(one) for one in offsets]
    first = [0] * (len(text.encode()) + 1)  # of each byte, its character
    at = 0
    for place, letter in enumerate(text):
        size = len(letter.encode())
        first[at : at + size] = [place] * size
        at += size
    first[at] = len(text)
    return [(first[begin], first[begin] if end == begin else first[end - 1] + 1) for begin, end in offsets]


def offsets(self):
    """(begin, end) of each token in `text`, in characters; empty ranges for special tokens and items."""
    return _characters(self.text, self._byte_offsets)


def _readable(piece):
    """A vocabulary's spelling without its marks, for a token that has no place in the text."""
    for mark in ("\u0120", "\u2581"):
        piece = piece.replace(mark, " ")
    piece = piece.replace("\u010a", "\n").replace("</w>", "")
    return (piece[2:] if piece.startswith("##") and len(piece) > 2 else piece).strip() or piece


def tokens(self):
    """Each token as people read it: its part of the text, without the spaces around it; special tokens and items by their names.

    A token that is a part of a character, as in byte-level vocabularies, reads as the whole character. `pieces` has the vocabulary's
    own spellings, `words` joins the tokens of a word.
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
    """The words of the text in its order, each a str with `begin` and `end` in `text` (characters) and the range `tokens` of the tokens
    that have a part in it.

    Words are runs of letters and digits (an apostrophe between letters joins), single ideographs and single marks. Special tokens and items
    belong to none.
    """
    ends, starts = [], []  # of the tokens that are a part of the text, ascending
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


give(Trace, offsets=property(offsets), tokens=property(tokens), words=property(words))
