#!/usr/bin/env python3
"""Writes src/text/frozen_classes.h: classes of characters as the `tokenizers` package sees them, asked of the package itself.

Usage: python3 tools/goldens/tokenizer_tables.py     (needs `pip install tokenizers`, made with 0.23.3)

Every code point is passed through the normalizers and pre-tokenizers whose classes are wanted, so the tables hold what the package does,
not what a version of Unicode says. Classes that follow current Unicode are written as the difference to Python's own unicodedata.
"""
import pathlib
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def of_category(*prefixes):
    return {c for c in CODE_POINTS if unicodedata.category(chr(c)).startswith(prefixes)}


def matched(pattern):
    """The code points a regular expression matches."""
    found = set()
    for k in range(0, len(CODE_POINTS), 20000):
        text = "".join(map(chr, CODE_POINTS[k : k + 20000]))
        kept = set("".join(w for w, _ in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)))
        found |= {ord(x) for x in text if x not in kept}
    return found


def vanishing(normalizer):
    return {c for c in CODE_POINTS if normalizer.normalize_str(chr(c)) == ""}


def pieces(pre_tokenizer, count):
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == count}


def decomposable():
    """Ranges outside which nothing decomposes; gaps are bridged where no version of Unicode decomposes anything within."""
    nfkd = normalizers.NFKD()
    points = sorted(c for c in CODE_POINTS if nfkd.normalize_str(chr(c)) != chr(c))
    out = []
    for c in points:
        if out and c - out[-1][1] <= 24 and all(unicodedata.normalize("NFKD", chr(x)) == chr(x) for x in range(out[-1][1] + 1, c)):
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def tables():
    bert = normalizers.BertNormalizer
    clean = bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    circled = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)}
    word = of_category("L", "M", "Nd", "Nl", "Pc") | circled | {0x200C, 0x200D}
    yield "BertPunctuation", "P and the ASCII symbols, Unicode 8", ranges(pieces(pre_tokenizers.BertPreTokenizer(), 3))
    yield "BertRemoved", "Cc, Cf, Co, Unicode 8, and U+FFFD", ranges(vanishing(clean))
    yield "NonspacingMark", "Mn, Unicode 8", ranges(vanishing(strip))
    yield "CombiningMark", "M, Unicode 9", ranges(vanishing(normalizers.StripAccents()))
    yield "Decomposable", "what has a decomposition in Unicode 9", decomposable()
    yield "NewLetter", f"L of Unicode 16 that Unicode {unicodedata.unidata_version} has not", ranges(matched(r"\p{L}") - of_category("L"))
    yield "NewNumber", "N, likewise", ranges(matched(r"\p{N}") - of_category("N"))
    single = {c for c in CODE_POINTS if len(pre_tokenizers.Whitespace().pre_tokenize_str("a" + chr(c) + "a")) == 1}
    yield "NewWord", "word characters, likewise", ranges(single - word)


def main():
    lines = [
        "// Classes of characters as the `tokenizers` package (0.23.3) sees them; see unicode.h for why they are frozen.",
        "// Written by tools/goldens/tokenizer_tables.py; not to be edited. Every table is ascending ranges, both ends included.",
        "#pragma once",
        "",
        "namespace clearhead::text {",
        "",
        "struct Range {",
        "  char32_t first, last;",
        "};",
        "",
        "// clang-format off",
    ]
    for name, note, found in tables():
        lines += [f"inline constexpr Range k{name}Ranges[] = {{  // {note}"]
        row = " "
        for first, last in found:
            item = f" {{0x{first:X}, 0x{last:X}}},"
            if len(row) + len(item) > 138:
                lines.append(row)
                row = " "
            row += item
        lines += [row, "};"]
    lines += ["// clang-format on", "", "}  // namespace clearhead::text", ""]
    target = pathlib.Path(__file__).resolve().parents[2] / "src/text/frozen_classes.h"
    target.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
