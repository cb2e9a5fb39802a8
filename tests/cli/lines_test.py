"""run TASK --lines: an answer a line, in order, equal to the line's own answer; errors name the line."""

import array
import json
import shutil

from answers_test import GOLDENS, VOCABULARY
from support import LINE_PLACES, ROOT, SHARE_PLACES, Case, run

LINES = ["ab", "a b c d", "", "e", "a b c d e f g h", "abc de", "b", "f g"]


class Lines(Case):
    def golden(self, name):
        model = self.folder / name.split("/")[1]
        if not model.exists():
            shutil.copytree(GOLDENS / name, model)
            size = json.loads((model / "config.json").read_text())["vocab_size"]
            (model / "vocab.txt").write_text("\n".join(VOCABULARY + [f"word{i}" for i in range(size - len(VOCABULARY))]) + "\n")
        return model

    def together(self, task, model, *more, lines=LINES):
        done = run("run", task, model, "-", "--lines", "--json", *more, stdin=("\n".join(lines) + "\n").encode())
        self.assertEqual(done.code, 0, done.errors)
        answers = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual(len(answers), len(lines))
        return answers

    def close(self, a, b, places):
        if isinstance(a, dict):
            self.assertEqual(list(a), list(b))
            for key in a:
                self.close(a[key], b[key], places)
        elif isinstance(a, list):
            self.assertEqual(len(a), len(b))
            for x, y in zip(a, b, strict=True):
                self.close(x, y, places)
        elif isinstance(a, float):
            self.assertAlmostEqual(a, b, places=places)
        else:
            self.assertEqual(a, b)

    def test_an_answer_of_many_is_that_of_the_line_alone(self):
        masked = [line + " [MASK] a [MASK]"[: 9 if "c" in line else 16] for line in LINES]
        for task, model, lines, more in (
            ("embed", self.golden("bert/pooler"), LINES, ()),
            ("classify", self.golden("bert/classify"), LINES, ("--pair", "c")),
            ("fill", self.golden("bert/mlm"), masked, ("--top", "3")),
            ("generate", ROOT / "models/book", [line for line in LINES if line], ("--max-tokens", "6", "--greedy")),
        ):
            answers = self.together(task, model, *more, lines=lines)
            for line, answer in zip(lines, answers):
                alone = run("run", task, model, line, "--json", *more)
                self.assertEqual(alone.code, 0, alone.errors)
                self.close(answer, alone.json, LINE_PLACES)

    def test_scores_of_lines_are_those_of_each(self):
        lines = ["Once upon a time", "", "x", "The king was in his house.", "He said nothing"]
        answers = self.together("score", ROOT / "models/book", lines=lines)
        for line, answer in zip(lines, answers):
            if len(line) < 2:
                self.assertEqual((answer["nats_per_token"], answer["log_probabilities"]), (None, []))
                continue
            alone = run("run", "score", ROOT / "models/book", line, "--json").json
            alone.pop("ranges")
            self.close(answer, alone, SHARE_PLACES)

    def test_an_empty_line_has_its_empty_answer(self):
        answers = self.together("fill", self.golden("bert/mlm"), lines=["a [MASK]", "", "[MASK] b"])
        self.assertEqual(([len(answer["masks"]) for answer in answers]), [1, 0, 1])

    def test_embeddings_are_kept_as_an_array_and_lines_may_end_as_they_like(self):
        out = self.folder / "vectors.npy"
        self.ok("run", "embed", self.golden("bert/pooler"), "-", "--lines", "-o", out, stdin=b"ab\r\nc d\r\nlast")
        data = out.read_bytes()
        start = 10 + int.from_bytes(data[8:10], "little")
        width = len(self.together("embed", self.golden("bert/pooler"), lines=["ab"])[0]["embedding"])
        self.assertIn(b"'descr': '<f4', 'fortran_order': False, 'shape': (3, %d), " % width, data[:start])
        rows = array.array("f", data[start:])
        self.assertEqual(len(rows), 3 * width)
        self.close(list(rows[2 * width :]), self.together("embed", self.golden("bert/pooler"), lines=["last"])[0]["embedding"], LINE_PLACES)

    def test_an_error_names_the_line(self):
        refused = run("run", "fill", self.golden("bert/mlm"), "-", "--lines", stdin=b"a [MASK]\n\nno mask\n")
        self.assertEqual((refused.code, refused.out), (1, ""))
        self.assertIn("line 3: fill: the text has no [MASK]", refused.errors)
        long = run("run", "classify", self.golden("bert/classify"), "-", "--lines", stdin=b"a\n" + b"a b c d e " * 200)
        self.assertEqual(long.code, 1)
        self.assertRegex(long.errors, r"line 2: text has [\d,]+ tokens; this model's positions end at \d+")

    def test_tokens_of_a_files_lines_are_an_object_a_line(self):
        file = self.folder / "lines.txt"
        file.write_text("ab\n\nc")
        told = self.ok("tokens", self.causal, "--file", file, "--lines")
        self.assertEqual([json.loads(line)["ids"] for line in told.out.splitlines()], [[97, 98], [], [99]])
