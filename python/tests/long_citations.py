"""The evidence table of 20,000 tokens in forty documents, with a model that is known to copy its answer from one of them.

    CLEARHEAD_KNOWN_MODELS=build/release/clearhead-known-models python python/tests/long_citations.py

Exits 1 unless that document has the largest share by every method, and the only drop.
"""

import os
import subprocess
import sys
import tempfile
import time

import clearhead as ch
import numpy as np
from known_torch_model import loaded
from test_cite import documents, examples

PLANTED = 23


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.environ["CLEARHEAD_KNOWN_MODELS"], "causal", folder], check=True, capture_output=True)
        model, tokenizer = loaded(folder)
    texts, is_right = documents(40, 497, PLANTED, "QZXJKV!"), True
    begun = time.perf_counter()
    weights = ch.learn_head_weights(model, tokenizer, examples(8, seed=3))
    print(f"{weights!r}; {time.perf_counter() - begun:.0f} s")
    for method in ("information-flow", "relevance", weights):
        begun = time.perf_counter()
        found = ch.cite(model, tokenizer, "what follows? QZ", texts, answer="XJKV", method=method, removals=0)
        name, share, expected, drop = found.top(0, 1)[0]
        others = np.abs(np.delete(found.drops[0], PLANTED)).max()
        print(f"{found.method}: {len(found.trace.ids):,} tokens; {name}: share {share:.1%}, by length {expected:.1%}, drop {drop:.3g} "
              f"(others at most {others:.2g}); {time.perf_counter() - begun:.0f} s")
        is_right = is_right and found.shares[0].argmax() == PLANTED == found.drops[0].argmax() and others < 0.01 * drop
    random = np.random.default_rng(1).random((1000, len(texts)))
    first = float((random.argmax(1) == PLANTED).mean())
    print(f"of 1,000 random rankings, {first:.1%} put it first")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
