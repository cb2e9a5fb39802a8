#!/usr/bin/env python3
"""Makes tests/goldens/tokenizers/: small tokenizers, and the encodings of 2,200 lines by the `tokenizers` package.

Usage: python3 tools/goldens/tokenizer_goldens.py --text BOOK.txt [--text …]     (needs `pip install tokenizers`, made with 0.23.3)

The texts (public domain books) are used only for training, together with the lines. The files:
  lines.bin       varint count, then per line varint length and bytes
  NAME.json       a trained tokenizer: wordpiece, gpt2, llama3
  NAME.golden     per line an encoding; then per 8th line one of the pair (line, next line); then per 16th line one without special tokens.
                  An encoding: varint count, then per token: varint id, type·4 + 3 if inserted else + segment, zigzag begin − previous end,
                  varint end − begin. Offsets are bytes.
  variants.json   [{"name", "base", "change": fields that replace the base's, "sums": hexadecimal, 8 digits per 5th line}]: FNV-1a over the
                  same bytes of the line's encoding. Hashes keep the file small, although every component of a file is covered.
  minilm.sums     with --minilm FOLDER: 8 digits of such a hash per line for the real all-MiniLM-L6-v2, whose vocabulary is not committed
  decoded.json    {NAME: [[ids …], text, text without special tokens], …}
Training breaks ties randomly, so each run produces a different WordPiece vocabulary and regenerates all files with it.
Invalid UTF-8 is passed to the package decoded with errors="replace", as Python users would. Byte offsets refer to the original bytes.
"""
import argparse
import json
import pathlib

import tokenizers
from tokenizer_lines import lines
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/tokenizers"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def varint(n):
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n):
    return 2 * n if n >= 0 else -2 * n - 1


def byte_offsets(data):
    """Returns the decoded text and the byte at which each of its characters begins, followed by the number of bytes."""
    text = data.decode("utf-8", errors="replace")
    starts, at = [], 0
    for c in text:
        starts.append(at)
        raw = c.encode()
        if data[at : at + len(raw)] == raw:
            at += len(raw)
            continue
        # a replaced subpart: the longest sequence of 1 to 3 bytes that decodes to one U+FFFD and leaves the decoding of the rest unchanged
        rest = text[len(starts) :]
        at += next(k for k in (3, 2, 1) if data[at : at + k].decode("utf-8", "replace") == "\ufffd"
                   and data[at + k :].decode("utf-8", "replace") == rest and len(data[at : at + k]) == k)
    assert at == len(data)
    return text, starts + [at]


def packed(encoding, maps):
    out = bytearray(varint(len(encoding.ids)))
    previous = 0
    for i, token in enumerate(encoding.ids):
        inserted = encoding.special_tokens_mask[i]
        segment = 3 if inserted else encoding.sequence_ids[i] or 0
        begin, end = (0, 0) if inserted else (maps[segment][c] for c in encoding.offsets[i])
        out += varint(token) + varint(encoding.type_ids[i] * 4 + segment) + varint(zigzag(begin - previous)) + varint(end - begin)
        previous = end
    return bytes(out)


class Reader:
    def __init__(self, tokenizer):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer

    def encode(self, first, second=None, special=True):
        text, starts = first
        pair = None if second is None else second[0]
        return packed(self.tokenizer.encode(text, pair, add_special_tokens=special), [starts, second[1] if second else None])


def golden(tokenizer, read):
    reader = Reader(tokenizer)
    out = bytearray()
    for line in read:
        out += reader.encode(line)
    for i in range(0, len(read) - 1, 8):
        out += reader.encode(read[i], read[i + 1])
    for i in range(0, len(read) - 1, 16):
        out += reader.encode(read[i], special=False)
    return bytes(out)


def fnv(data):
    h = 0x811C9DC5
    for b in data:
        h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
    return h


def train(kind, texts, read):
    sample = [t for t, _ in read]
    if kind == "wordpiece":
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer()
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(vocab_size=4200, special_tokens=special, limit_alphabet=1500, show_progress=False)
    else:
        t = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
        special = ["<|endoftext|>"] if kind == "gpt2" else ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if kind == "llama3":
            split = pre_tokenizers.Split(tokenizers.Regex(LLAMA3), "isolated")
            t.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    t.train_from_iterator(texts + sample, trainer)
    if kind == "wordpiece":
        cls, sep = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
        t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", cls), ("[SEP]", sep)])
        t.decoder = decoders.WordPiece()
    else:
        t.decoder = decoders.ByteLevel()
        t.post_processor = processors.ByteLevel(trim_offsets=True)
    if kind == "llama3":
        bos = "<|begin_of_text|>"
        template = processors.TemplateProcessing(f"{bos} $A", f"{bos} $A {bos}:1 $B:1", [(bos, t.token_to_id(bos))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def split(pattern, behavior="Isolated", invert=False):
    key = "Regex" if isinstance(pattern, str) and len(pattern) > 2 else "String"
    return {"type": "Split", "pattern": {key: pattern}, "behavior": behavior, "invert": invert}


def variants(bases):
    """Yields variants of the base tokenizers that cover every component of a tokenizer.json."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    no_regex = {**byte_level, "use_regex": False}
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    gpt2_special = json.loads(bases["gpt2"].to_str())["added_tokens"]
    token = {"id": 4000, "content": "X", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}

    def pre(*steps):
        return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps]}}

    def norm(*steps):
        return {"normalizer": {"type": "Sequence", "normalizers": [*steps]} if len(steps) > 1 else steps[0]}

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield form.lower(), "gpt2", norm({"type": form})
    yield "lowercase", "gpt2", norm({"type": "Lowercase"})
    yield "nfd, strip accents, lowercase", "gpt2", norm({"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"})
    yield "strip both ends", "gpt2", norm({"type": "Strip", "strip_left": True, "strip_right": True})
    yield "replace and prepend", "gpt2", norm(
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁▁"}, {"type": "Prepend", "prepend": "▁"}
    )
    yield "replace by expression", "gpt2", norm({"type": "Replace", "pattern": {"Regex": r"[aeiou]+|\s{2,}"}, "content": "e"})
    yield "byte-level normalizer", "gpt2", {"pre_tokenizer": None, **norm({"type": "ByteLevel"})}
    yield "bert cased", "wordpiece", norm({**bert, "lowercase": False})
    yield "bert cased without accents", "wordpiece", norm({**bert, "lowercase": False, "strip_accents": True})
    yield "bert lower with accents", "wordpiece", norm({**bert, "strip_accents": False})
    yield "bert unclean", "wordpiece", norm({**bert, "clean_text": False, "handle_chinese_chars": False})
    yield "prefix blank", "gpt2", {"pre_tokenizer": {**byte_level, "add_prefix_space": True}}
    yield "trimmed with prefix blank", "gpt2", {
        "pre_tokenizer": {**byte_level, "add_prefix_space": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": True}
    yield "roberta", "gpt2", {
        "pre_tokenizer": {**byte_level, "add_prefix_space": True},
        "post_processor": roberta,
        "added_tokens": gpt2_special
        + [{**token, "id": 4001, "content": "<mask>", "lstrip": True}, {**token, "id": 4002, "content": "[MASK]", "rstrip": True}],
    }
    yield "roberta untrimmed", "gpt2", {"post_processor": {**roberta, "trim_offsets": False, "add_prefix_space": False}}
    yield "bert processing", "wordpiece", {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}
    yield "qwen", "llama3", pre(split(QWEN), no_regex)
    yield "gpt-4o", "llama3", pre(split(O200K), no_regex)
    yield "no ignore_merges", "llama3", {"model": {"ignore_merges": False}}
    yield "digits", "gpt2", pre({"type": "Digits", "individual_digits": True}, byte_level)
    yield "digits together", "gpt2", pre({"type": "Digits", "individual_digits": False}, byte_level)
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield f"punctuation {behavior}", "gpt2", pre({"type": "Punctuation", "behavior": behavior}, no_regex)
        yield f"split {behavior}", "gpt2", pre(split(r"\s|[a-e]", behavior), no_regex)
        yield f"split inverted {behavior}", "gpt2", pre(split(r"\w+|[^\w\s]+", behavior, True), no_regex)
    yield "split string", "gpt2", pre(split(" ", "MergedWithNext"), no_regex)
    yield "whitespace", "wordpiece", {"pre_tokenizer": {"type": "Whitespace"}}
    yield "whitespace split", "wordpiece", {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    for scheme in ("always", "never", "first"):
        metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
        yield f"metaspace {scheme}", "wordpiece", {"normalizer": None, "pre_tokenizer": metaspace}
    yield "bytes spelled in the middle", "gpt2", pre(byte_level, split(r"Ġ|[a-e]"))
    yield "no pre-tokenizer", "gpt2", {"pre_tokenizer": None}
    yield "unknown", "gpt2", {"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"unk_token": "<|endoftext|>"}}
    yield "unknown fused", "gpt2", {"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"unk_token": "<|endoftext|>", "fuse_unk": True}}
    yield "dropped unknown", "gpt2", {"pre_tokenizer": {"type": "WhitespaceSplit"}}
    yield "added tokens", "wordpiece", {
        "added_tokens": [
            {**token, "id": 5000, "content": "cat"},
            {**token, "id": 5001, "content": "the", "single_word": True},
            {**token, "id": 5002, "content": "ée", "normalized": True, "special": False},
            {**token, "id": 5003, "content": "Th", "normalized": True, "special": False},
            {**token, "id": 5004, "content": "is", "lstrip": True, "rstrip": True},
            {**token, "id": 5005, "content": "isa"},
            {**token, "id": 5006, "content": "猫", "rstrip": True, "normalized": True},
        ]
    }


def apply(base, change):
    config = json.loads(base.to_str())
    for field, value in change.items():
        if field == "model":
            config["model"].update(value)
        else:
            config[field] = value
    return Tokenizer.from_str(json.dumps(config))


def write_small(path, tokenizer):
    config = json.loads(tokenizer.to_str())
    merges = config["model"].get("merges")
    if merges:
        config["model"]["merges"] = [" ".join(pair) for pair in merges] if path.stem == "gpt2" else merges
    path.write_text(json.dumps(config, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="append", default=[], help="a file to train on")
    parser.add_argument("--minilm", type=pathlib.Path, help="folder of all-MiniLM-L6-v2")
    arguments = parser.parse_args()
    data = lines()
    read = [byte_offsets(line) for line in data]
    texts = [paragraph for path in arguments.text for paragraph in pathlib.Path(path).read_text().splitlines(True)]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "lines.bin").write_bytes(varint(len(data)) + b"".join(varint(len(line)) + line for line in data))
    if arguments.minilm:
        reader = Reader(Tokenizer.from_file(str(arguments.minilm / "tokenizer.json")))
        sums = (f"{fnv(reader.encode(line, read[0] if i % 2 else None)):08x}" for i, line in enumerate(read))
        (OUT / "minilm.sums").write_text("".join(sums))
    bases, decoded = {}, {}
    for kind in ("wordpiece", "gpt2", "llama3"):
        write_small(OUT / f"{kind}.json", train(kind, texts, read))
        bases[kind] = tokenizer = Tokenizer.from_str((OUT / f"{kind}.json").read_text())
        (OUT / f"{kind}.golden").write_bytes(golden(tokenizer, read))
        decoded[kind] = []
        for i in range(0, len(read), 14):
            ids = tokenizer.encode(read[i][0]).ids
            ids = ids[: len(ids) - i % 3]  # some end inside a character
            decoded[kind].append([ids, tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids)])
    (OUT / "decoded.json").write_text(json.dumps(decoded, ensure_ascii=False, separators=(",", ":")) + "\n")
    rows = []
    for name, base, change in variants(bases):
        reader = Reader(apply(bases[base], change))
        sums = "".join(f"{fnv(reader.encode(line, read[0] if i % 2 else None)):08x}" for i, line in enumerate(read) if i % 5 == 0)
        rows.append(json.dumps({"name": name, "base": base, "change": change, "sums": sums}, ensure_ascii=False, separators=(",", ":")))
    (OUT / "variants.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
