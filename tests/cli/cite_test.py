"""clearhead cite: documents behind an answer of a model that copies, as text, JSON and a page, and what is refused."""

import json
import random
import subprocess
import tempfile
from pathlib import Path

from support import DOUBLE, KNOWN_MODELS, ROOT, Case, run

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class Cite(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = tempfile.TemporaryDirectory()
        cls.inside = Path(cls.place.name)
        cls.model = cls.inside / "copier"
        subprocess.run([KNOWN_MODELS, "causal", str(cls.model)], check=True, capture_output=True)
        draw = random.Random(1)
        texts = ["".join(draw.choice(LETTERS) for _ in range(60)) + "." for _ in range(6)]
        texts[4] = texts[4][:30] + "QZXJ. " + texts[4][30:]
        texts[2] += "WYKV. "
        cls.documents = cls.inside / "docs.jsonl"
        cls.documents.write_text("".join(json.dumps({"title": "letter <5>", "text": text} if at == 4 else text) + "\n" for at, text in enumerate(texts)))
        cls.prompt = cls.inside / "prompt.txt"
        cls.prompt.write_text("and? QZ")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()
        super().tearDownClass()

    def cite(self, *arguments, documents=None):
        return run("cite", self.model, "--file", self.prompt, "--documents", documents or self.documents, *arguments)

    def test_the_document_that_the_model_copies_has_the_largest_share_and_drop(self):
        for method in ("information-flow", "relevance", "rollout"):
            done = self.cite("--max-tokens", "3", "--method", method, "--json")
            self.assertEqual(done.code, 0, done.errors)
            (sentence,) = done.json["sentences"]
            self.assertEqual((sentence["text"], sentence["tokens"]), ("XJ.", [0, 3]))
            by_share = sorted(sentence["documents"], key=lambda one: one["share"])
            self.assertEqual(by_share[-1]["name"], "letter <5>", method)
            self.assertGreater(by_share[-1]["drop"], 10)
            self.assertLess(max(abs(one["drop"]) for one in by_share[:-1]), 1)
            self.assertAlmostEqual(sum(one["share"] for one in by_share) + sentence["elsewhere"], 1, delta=DOUBLE)
            trust = done.json["trust"]
            self.assertGreater(trust["shares"]["mean"], 0.4)
            self.assertTrue(trust["shares"]["low"] <= trust["shares"]["mean"] <= trust["shares"]["high"])
        self.assertEqual([one["name"] for one in done.json["documents"]], [*(f"document {at}" for at in range(4)), "letter <5>", "document 5"])
        self.assertAlmostEqual(done.json["documents"][0]["expected"], 61 / (5 * 61 + 67 + 6 + 6 * 2 + 7), delta=DOUBLE)

    def test_sentences_of_a_given_answer_are_explained_apart(self):
        done = self.cite("--answer", "XJ. WYKV.", "--removals", "0", "--json")
        self.assertEqual(done.code, 0, done.errors)
        first, second = done.json["sentences"]
        self.assertEqual((first["text"].strip(), second["text"].strip()), ("XJ.", "WYKV."))
        self.assertEqual(first["tokens"][1], second["tokens"][0])
        self.assertGreater(first["documents"][4]["share"], 0.9)
        self.assertGreater(second["documents"][2]["share"], 0.5)
        self.assertGreater(second["documents"][2]["drop"], 10)
        self.assertIsNone(done.json["trust"]["shares"]["mean"])

    def test_the_table_and_the_page_name_documents_and_scores(self):
        page = self.inside / "evidence.html"
        done = self.cite("--max-tokens", "3", "--html", page, "--top", "1")
        self.assertEqual((done.code, done.errors), (0, ""))
        rows = [line for line in done.out.splitlines() if line.startswith("letter <5>")]
        self.assertEqual(len(rows), 1)
        self.assertRegex(rows[0], r"100\.0 % +\d+\.\d % +16\.\d$")
        self.assertNotIn("document 1", done.out)
        self.assertIn("shares (information-flow): 0.", done.out)
        written = page.read_text(encoding="utf-8")
        self.assertTrue(written.startswith("<!doctype html>") and written.endswith("</html>\n"))
        self.assertIn("letter &lt;5&gt;", written)
        for outside in ("http://", "https://", "src="):
            self.assertNotIn(outside, written.replace("http://www.w3.org/2000/svg", ""))

    def test_equal_seeds_give_equal_correlations(self):
        first, again, other = (self.cite("--max-tokens", "3", "--removals", "8", "--seed", seed, "--json").out for seed in ("1", "1", "2"))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_a_malformed_line_is_refused_with_its_number(self):
        path = self.inside / "bad.jsonl"
        for line, says in (("{", "bad.jsonl:2"), ("3", "bad.jsonl:2: expected a string, or an object"), ('{"title": "x"}', '"text"'),
                           ('{"text": "a", "name": "b"}', "name"), ("", "bad.jsonl:2: the line is empty"), ('" "', "bad.jsonl:2: the document has no text"),
                           ('{"text": 4}', "bad.jsonl:2")):
            path.write_text('"one"\n' + line + '\n"three"\n')
            done = self.cite(documents=path)
            self.assertEqual(done.code, 1, line)
            self.assertIn("bad.jsonl:2", done.errors)
            self.assertIn(says, done.errors)
        path.write_text('"only"\n')
        self.assertIn("1 documents; expected two or more", self.cite(documents=path).errors)

    def test_other_models_and_missing_texts_are_refused(self):
        done = run("cite", ROOT / "models/en-fr", "What?", "--documents", self.documents)
        self.assertEqual(done.code, 1)
        self.assertIn("cite needs a decoder-only model", done.errors)
        self.assertIn("clearhead why", done.errors)
        done = run("cite", self.model, "--documents", self.documents)
        self.assertEqual(done.code, 2)
        self.assertIn("cite needs the question", done.errors)
        done = self.cite("--method", "magic")
        self.assertEqual(done.code, 1)
        self.assertIn("information-flow", done.errors)
