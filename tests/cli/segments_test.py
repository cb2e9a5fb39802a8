"""A model that reads in segments with a memory: its training, and how the keys in memory are marked."""

import json

from support import Case, run


class ReadingInSegments(Case):
    def test_keys_in_memory_are_marked(self):
        (self.folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
        model = {
            "model_type": "clearhead-decoder", "vocab_size": 256, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "positions": "transformer_xl", "pattern": "segments", "segment_length": 4, "memory_length": 6,
        }
        recipe = {"files": ["text.txt"], "held_out": 0.2, "tokenizer": "bytes", "model": model, "batch": 2, "length": 16, "steps": 2, "validate": 2}
        path, out, trace = self.folder / "segments.json", self.folder / "run", self.folder / "text.trace"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        done = run("train", path, f"data={self.folder}", "-o", out)
        self.assertEqual(done.code, 0, done.errors)
        done = run("trace", out / "best", "the quick brown fox", "-o", trace)
        self.assertEqual(done.code, 0, done.errors)

        # Query 14 is in the segment that begins at key 12; its memory begins at key 6, and the keys before it are hidden.
        told = self.ok("show", trace, "--query", "14", "--head", "L0.H1", "--top", "19", "--json").json
        parts = {key["key"]: key["segment"] for key in told["keys"] if key["weight"] > 0}
        self.assertEqual(parts, dict.fromkeys(range(6, 12), "memory") | dict.fromkeys(range(12, 15), "own segment"))
        self.assertRegex(self.ok("show", trace, "--query", "14", "--head", "L0.H1").out, r"%  #(6|7|8|9|10|11) +\[memory\] ")

        shares = self.ok("show", trace, "--query", "14", "--by", "segment", "--head", "L0.H1", "--json").json["segments"]
        self.assertEqual({share["segment"] for share in shares}, {"memory", "own segment"})
        self.assertAlmostEqual(sum(share["mass"] for share in shares), 1, places=5)
        in_memory = sum(key["weight"] for key in told["keys"] if key["segment"] == "memory")
        self.assertAlmostEqual(next(share["mass"] for share in shares if share["segment"] == "memory"), in_memory, places=5)
