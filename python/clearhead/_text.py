"""Reconstructs the text of a run from its token ids: pieces, byte offsets and special tokens."""


def text_of(tokenizer, ids, text=None, given=None):
    """Returns the dict for a trace: text, ids, offsets (in bytes), special, pieces. Without a tokenizer the text consists of the ids.

    text: the known text of the first `given` ids (default: of all ids).
    """
    ids = [int(one) for one in ids]
    if tokenizer is None:
        pieces = [str(one) if one >= 0 else f"embedding {at + 1}" for at, one in enumerate(ids)]
        return _joined(ids, pieces, [piece + " " for piece in pieces], [0] * len(ids))
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # the tokenizer of a processor
    pieces = [str(piece) if one >= 0 else f"embedding {at + 1}"
              for at, (one, piece) in enumerate(zip(ids, tokenizer.convert_ids_to_tokens([max(0, one) for one in ids])))]
    if text is not None and (known := _of_known_text(tokenizer, text, ids, given)) is not None:
        return {**known, "ids": ids, "pieces": pieces}
    added = set(tokenizer.all_special_ids)
    special = [int(one in added) for one in ids]
    plain = lambda count: [one for one, extra in zip(ids[:count], special) if not extra and one >= 0]
    known = tokenizer.decode(plain(None), clean_up_tokenization_spaces=False)
    if text is not None:
        known = text + known[len(tokenizer.decode(plain(given), clean_up_tokenization_spaces=False)) :]
    offsets = _offsets(tokenizer, known, ids, special)
    if offsets is not None:
        return {"text": known, "ids": ids, "offsets": offsets, "special": special, "pieces": pieces}
    spelled = ["" if extra else _spelled(piece) for piece, extra in zip(pieces, special)]
    return _joined(ids, pieces, spelled, special)


def _of_known_text(tokenizer, text, ids, given):
    """Returns {text, offsets, special} if tokenizing `text` gives the first `given` ids, else None.

    Only tokens that the tokenizer added are special; a mask or an end-of-text token that stands in the text has its place there. The text
    of the other ids follows.
    """
    if not getattr(tokenizer, "is_fast", False):
        return None
    first, later = ids[:given], [] if given is None else ids[given:]
    for adds in (True, False):
        encoded = tokenizer(text, add_special_tokens=adds, return_offsets_mapping=True, return_special_tokens_mask=True)
        if list(encoded["input_ids"]) == first:
            break
    else:
        return None
    places, offsets, last = _byte_places(text), [], 0
    for (begin, end), extra in zip(encoded["offset_mapping"], encoded["special_tokens_mask"]):
        offsets.append((last, last) if extra else (places[begin], places[end]))
        last = offsets[-1][1]
    special, added, more = list(encoded["special_tokens_mask"]), set(tokenizer.all_special_ids), ""
    begin = len(text.encode())
    for at, one in enumerate(later):
        special.append(int(one in added))
        whole = tokenizer.decode([of for of, extra in zip(later[: at + 1], special[len(first) :]) if not extra],
                                 clean_up_tokenization_spaces=False)
        more = more if whole.endswith("\ufffd") else whole  # a character that the next token completes
        end = len(text.encode()) + len(more.encode())
        offsets.append((begin, max(begin, end)))
        begin = max(begin, end)
    return {"text": text + more, "offsets": offsets, "special": special}


def _byte_places(text):
    """The byte position of every character, and of the end."""
    if text.isascii():
        return range(len(text) + 1)
    places = [0]
    for letter in text:
        places.append(places[-1] + len(letter.encode()))
    return places


def _joined(ids, pieces, spelled, special):
    text, offsets = "", []
    begin = 0
    for one in spelled:
        end = begin + len(one.encode())
        offsets.append((begin, end - len(one) + len(one.rstrip())))
        text += one
        begin = end
    return {"text": text, "ids": ids, "offsets": offsets, "special": special, "pieces": pieces}


def _spelled(piece):
    if piece.startswith("##"):
        return piece[2:]
    for mark in ("\u0120", "\u2581"):
        piece = piece.replace(mark, " ")
    return piece.replace("</w>", " ").replace("\u010a", "\n") or piece


def _offsets(tokenizer, text, ids, special):
    """Returns the byte range of each token if tokenizing the text gives these ids again, else None."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    plain = [one for one, extra in zip(ids, special) if not extra]
    for spelling in dict.fromkeys((text, text.lstrip(" "))):
        encoded = tokenizer(spelling, add_special_tokens=False, return_offsets_mapping=True)
        if list(encoded["input_ids"]) == plain:
            break
    else:
        return None
    shift = len(text.encode()) - len(spelling.encode())
    places = _byte_places(spelling)
    found = iter(encoded["offset_mapping"])
    offsets, last = [], 0
    for extra in special:
        if extra:
            offsets.append((last, last))
            continue
        begin, end = next(found)
        begin, end = places[begin] + shift, places[end] + shift
        offsets.append((begin, end))
        last = end
    return offsets
