#!/usr/bin/env python3
"""Makes tests/goldens/tokenizers/trained_*.json: vocabularies that the trainers of the `tokenizers` package learn from lines.bin.

Usage: python3 tools/goldens/trained_vocabulary.py     (needs `pip install tokenizers`, made with 0.23.3)

  trained_bpe.json         the whole tokenizer.json of byte-level BPE, 1,500 tokens
  trained_wordpiece.json   {"minimum_count", "tokens": of a WordPiece vocabulary without a size limit, sorted}. Its trainer breaks ties by
                           the order of a hash table, which differs between processes. The minimum count is one for which ten
                           processes agree on the set of tokens.
"""
import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/tokenizers"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def lines():
    data, at = (OUT / "lines.bin").read_bytes(), 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    out = []
    for _ in range(varint()):
        size = varint()
        out.append(data[at : at + size].decode("utf-8", errors="replace"))
        at += size
    return out


def bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, min_frequency=2, special_tokens=["<|endoftext|>", "<pad>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False
    )
    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer.to_str()


def wordpiece(minimum):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=100000, min_frequency=minimum, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(lines(), trainer)
    return sorted(tokenizer.get_vocab())


def agreed(minimum):
    tokens = None
    for _ in range(10):
        told = subprocess.run([sys.executable, __file__, str(minimum)], capture_output=True, check=True).stdout
        if tokens not in (None, told):
            return None
        tokens = told
    return json.loads(tokens)


def main():
    if len(sys.argv) > 1:
        print(json.dumps(wordpiece(int(sys.argv[1]))))
        return
    (OUT / "trained_bpe.json").write_text(bpe() + "\n", encoding="utf-8")
    for minimum in range(12, 100):
        if tokens := agreed(minimum):
            told = json.dumps({"minimum_count": minimum, "tokens": tokens}, ensure_ascii=False, separators=(",", ":"))
            (OUT / "trained_wordpiece.json").write_text(told + "\n", encoding="utf-8")
            return
    raise SystemExit("no count on which they agree")


if __name__ == "__main__":
    main()
