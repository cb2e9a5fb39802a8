#!/usr/bin/env python3
"""Makes tests/goldens/bleu/{cases,zh,char}.json: sacrebleu's corpus BLEU of random unusual sentences, by tokeniser (cases: 13a).

Usage: python3 tools/goldens/bleu.py                   (needs `pip install sacrebleu`, made with 2.6.0)
       python3 tools/goldens/bleu.py CLEARHEAD COUNT   compares the program on COUNT other corpora, writes nothing

Each case: hypotheses, references, words (of each hypothesis, after its tokeniser), score, precisions, brevity_penalty, matched, total,
lengths.
"""
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from sacrebleu.metrics import BLEU

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/bleu"
PIECES = [
    "the", "The", "cat", "sat", "on", "mat", "l'été", "aujourd'hui", "qu'il", "C’est", "«", "»", "«\u00a0oui\u00a0»", "1,000.5", "1.000,5",
    "3.", ".5", ",5",
    "10-12", "2-3-4", "1990-", "-5", "state-of-the-art", "a-b", "&quot;", "&amp;", "&lt;b&gt;", "&amp;lt;", "&amp;amp;", "&nbsp;",
    "<skipped>", "<skip", "...", "…",
    "a..b", ",,", "1..2", "1.,2", "a.b.c", "U.S.", "x,y", "5,", "(a)", "[b]", "{c}", "$5.00", "50%", "a/b", "e@f.g", "#1", "it's", "''",
    "``", "`", "~", "^", "_", "a_b",
    "\\", "|", "*", "+", "=", "!", "?", "?!", ":", ";", "12:30", "猫", "坐在。", "猫，狗", "é", "e\u0301", "\u00a0", "\u202f", "\u3000",
    "\u2009", "\u200b", "\u0085", "\u2028", "\x1c", "\x1f", "\t", "\r", "\x0b", "\ufeff", "😀", "👩‍🚀", "𝟙𝟚.𝟛", "٣.٤", "½.", "²,", "Ⅷ.",
]


CHINESE = [
    "猫", "坐", "在", "垫子上", "。", "，猫", "“好”", "—", "…", "《书》", "１２", "Ａ", "ｶ", "3月", "1,000元", "5.", ",5", "A股", "-",
    "10-12", "\u2000", "\u2001", "\u2a6d", "\u2a6e", "\u2e7f",
    "\u2e80", "\u2fdf", "\u2fe0", "\u2fef", "\u2ff0", "\u3040", "あ", "\u30ff", "\u3100", "\u312f", "\u3130", "\u319f", "\u31a0", "\u31bf",
    "\u31c0", "\u31ef", "\u31f0", "\u3200",
    "\u33ff", "\u3400", "\u4db5", "\u4db6", "\u9fa5", "\u9fbb", "\u9fbc", "\ufa2d", "\ufa2e", "\ufa6a", "\ufa6b", "\ufe0f", "\ufe10",
    "\ufe20", "\ufe30", "\ufe4f", "\ufe50", "\uff00", "\uffef", "\ufff0", "\U00020000", "\U0002f800", "한", "\u2028",
]


def sentence(rng, pieces=PIECES):
    length = rng.choice([0, 1, 2, 3, 4, 5, 8, 12, 20])
    return "".join(rng.choice(pieces) + rng.choice([" ", " ", " ", "", "  "]) for _ in range(length))


def changed(rng, text, pieces=PIECES):
    words = text.split(" ")
    for _ in range(rng.choice([0, 0, 1, 2, 4, 8])):
        at = rng.randrange(len(words))
        words[at : at + rng.choice([0, 1, 1, 2])] = [rng.choice(pieces)] * rng.choice([0, 1, 1])
        words = words or [""]
    return " ".join(words)


def corpus(rng, pieces=PIECES):
    references = [sentence(rng, pieces) for _ in range(rng.choice([1, 1, 2, 5]))]
    return [changed(rng, text, pieces) for text in references], references


def answer(hypotheses, references, tokenize="13a"):
    metric = BLEU(tokenize=tokenize)
    found = metric.corpus_score(hypotheses, [references])
    return {
        "hypotheses": hypotheses, "references": references,
        "words": [" ".join(metric.tokenizer(text.rstrip()).split()) for text in hypotheses], "score": found.score,
        "precisions": found.precisions, "brevity_penalty": found.bp, "matched": found.counts, "total": found.totals,
        "hypothesis_length": found.sys_len, "reference_length": found.ref_len,
    }


def compare(program, count):
    rng, worst = random.Random(7), 0.0
    with tempfile.TemporaryDirectory() as folder:
        sides = [pathlib.Path(folder) / name for name in ("hypotheses", "references")]
        for at in range(count):
            texts = corpus(rng)
            for path, lines in zip(sides, texts):
                path.write_bytes("".join(line + "\n" for line in lines).encode())
            told = json.loads(subprocess.run([program, "bleu", *sides, "--json"], check=True, capture_output=True).stdout)
            expected = answer(*texts)
            for name in ("matched", "total", "hypothesis_length", "reference_length"):
                assert told[name] == expected[name], (at, name, told, expected)
            worst = max(worst, *(abs(a - b)
                                 for a, b in zip([told["score"], *told["precisions"]], [expected["score"], *expected["precisions"]])))
    print(f"{count} corpora: all counts equal, scores within {worst:.1e}")


def write(name, cases):
    OUT.mkdir(exist_ok=True)
    lines = [json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases]
    (OUT / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main():
    if len(sys.argv) > 1:
        compare(sys.argv[1], int(sys.argv[2]))
        return
    rng = random.Random(5)
    cases = [answer(*corpus(rng)) for _ in range(60)]
    cases.append(answer(["a\nb-\nc 5 -\n"], ["a b c 5 -"]))
    write("cases", cases)
    for name in ("zh", "char"):
        rng = random.Random(6)
        cases = [answer(*corpus(rng, rng.choice([CHINESE, CHINESE, PIECES])), name) for _ in range(25)]
        apart = [f"a{piece}b" for piece in CHINESE] + [" .5 猫", "\u3000,5"]  # each piece between letters; a full stop after a space
        write(name, [*cases, answer(apart, apart, name)])


if __name__ == "__main__":
    main()
