"""--weights: the effect of rounded weights, and the models that keep f32 weights."""

import json
import shutil

from answers_test import GOLDENS, VOCABULARY
from support import KEPT, ROOT, Case, read_safetensors, run, write_safetensors

TEXT = "a b c d e f g h"


class Weights(Case):
    def model(self, name="exact"):
        model = self.folder / name
        shutil.copytree(GOLDENS / "bert/pooler", model)
        size = json.loads((model / "config.json").read_text())["vocab_size"]
        (model / "vocab.txt").write_text("\n".join(VOCABULARY + [f"word{i}" for i in range(size - len(VOCABULARY))]) + "\n")
        return model

    def rounded_model(self):
        """A model whose linear weights lie on the int8 grid: for each output, 255 multiples of its largest weight / 127."""
        model = self.model("rounded")
        tensors = {}
        for name, (shape, values) in read_safetensors(model / "model.safetensors").items():
            if name.endswith(".weight") and len(shape) == 2 and not name.startswith("embeddings"):
                rows = [values[at : at + shape[1]] for at in range(0, len(values), shape[1])]
                steps = [max(map(abs, row)) / 127 for row in rows]
                values = [round(weight / step) * step for row, step in zip(rows, steps) for weight in row]
            tensors[name] = ("F32", shape, values)
        write_safetensors(model / "model.safetensors", tensors, {"format": "pt"})
        return model

    def embedding(self, model, *options):
        return self.ok("run", "embed", model, TEXT, "--json", *options).json["embedding"]

    def apart(self, one, other):
        return max(abs(a - b) for a, b in zip(one, other, strict=True))

    def test_int8_dynamic_is_close_to_f32_and_rounds_weights_and_inputs(self):
        exact, rounded = self.model(), self.rounded_model()
        f32, f32_of_rounded = self.embedding(exact), self.embedding(rounded)
        largest = max(map(abs, f32))
        self.assertGreater(self.apart(f32, f32_of_rounded), 1e-4 * largest)
        for isa in ("", "avx2"):
            settings = {"CLEARHEAD_ISA": isa} if isa else {}
            told = [
                run("run", "embed", model, TEXT, "--json", "--weights", weights, **settings).json["embedding"]
                for weights in ("int8", "int8-dynamic") for model in (exact, rounded)
            ]
            int8, int8_of_rounded, dynamic, dynamic_of_rounded = told
            # Weights are rounded to that grid, so a model whose weights already lie on it must give the same answer.
            self.assertLess(self.apart(int8, f32_of_rounded), KEPT * largest * 10)
            self.assertLess(self.apart(int8, int8_of_rounded), KEPT * largest * 10)
            self.assertLess(self.apart(dynamic, dynamic_of_rounded), KEPT * largest * 10)
            # With int8-dynamic the inputs are rounded too, and the answer stays close.
            self.assertGreater(self.apart(dynamic, int8), 1e-4 * largest)
            self.assertLess(self.apart(dynamic, f32), 0.05 * largest)

    def test_int8_dynamic_generates_the_same_first_tokens_as_f32(self):
        book = ("run", "generate", ROOT / "models/book", "It was a dark", "--greedy", "--max-tokens", "6", "--json")
        exact, dynamic = (run(*book, "--weights", weights).json for weights in ("f32", "int8-dynamic"))
        self.assertEqual(exact["tokens"][:3], dynamic["tokens"][:3])
        self.assertNotEqual(exact["probabilities"], dynamic["probabilities"])
        for one, other in zip(exact["probabilities"][:3], dynamic["probabilities"]):
            self.assertAlmostEqual(one, other, delta=0.05)

    def test_unsupported_weight_formats_are_refused(self):
        digits = ROOT / "models/digits"
        self.refused(1, f'{digits}: a model of type "convolutional_attention" supports only f32 weights; leave `weights` at f32',
                     "run", "classify", digits, digits / "example.png", "--weights", "int8-dynamic")
        says = "gradients are supported for f32 weights only"
        done = run("show", ROOT / "models/book", "It was", "--gradients", "--weights", "int8-dynamic")
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertIn(says, done.errors)
        done = run("run", "embed", self.model(), TEXT, "--weights", "int4")
        self.assertEqual((done.code, done.errors), (2, "clearhead: --weights: int4 not in {f32,bf16,int8,int8-dynamic} (clearhead run embed --help says more)\n"))
