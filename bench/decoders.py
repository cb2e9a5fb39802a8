"""Small decoders on the bytes of a book, for the scripts that compare settings of clearhead-decoder.

A model is trained on the first nine tenths of the book, and measured on texts of the last tenth.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from runs import ask

LAYERS, HEADS = 3, 4


def recipe(settings, batch, length, longest, steps, seed=1, **changes):
    """A recipe of `settings` in "model"; its text is text.txt. longest: the maximum number of bytes of a text."""
    return {
        "files": ["text.txt"], "held_out": 0.1, "tokenizer": "bytes",
        "model": {
            "model_type": "clearhead-decoder", "vocab_size": 256, "hidden_size": 64, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "max_position_embeddings": longest, **settings,
        },
        "batch": batch, "length": length, "steps": steps, "seed": seed,
        "optimiser": {"beta1": 0.9, "beta2": 0.98, "weight_decay": 0.1, "clip": 1},
        "schedule": {"kind": "cosine", "learning_rate": 0.003, "warmup": min(100, steps // 4), "min_ratio": 0.05},
        **changes,
    }  # fmt: skip


def held_out_texts(book, length, count):
    """Texts of `length` characters of the last tenth, with their line breaks, as in training."""
    text = book[len(book) * 9 // 10 :]
    return [text[at : at + length] for at in range(0, len(text) - length, length)][:count]


def log_probabilities(clearhead, model, texts, folder):
    """For each text, the log-probability of each byte but the first. Writes one-text.txt in `folder`."""
    path, out = folder / "one-text.txt", []
    for text in texts:  # one by one, because the lines of a file cannot hold line breaks
        path.write_text(text, encoding="utf-8")
        out.append(json.loads(ask(clearhead, "run", "score", model, "--file", path, "--json"))["log_probabilities"])
    return out


def bits_per_byte(each, begin=0, end=None):
    """The mean over texts; each: as log_probabilities() returns, of which the entries from `begin` to before `end` count."""
    return -statistics.mean(statistics.mean(one[begin:end]) for one in each) / math.log(2)


def arguments(description, out):
    """The parser of the arguments that the scripts share. out: default folder of the runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, help="a text file")
    parser.add_argument("--clearhead", default="build/release/clearhead", help="the program (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the runs (default: %(default)s)")
    return parser
