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
    if spelling.isascii():
        places = range(len(spelling) + 1)
    else:
        places = [0]
        for letter in spelling:
            places.append(places[-1] + len(letter.encode()))
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
