"""clearhead why: shares as text and as JSON, heads and layers, and what is refused."""

import json
import math
import tempfile
from pathlib import Path

from support import ROOT, Case, run


class Asking(Case):
    def done(self, *arguments):
        done = run(*arguments)
        self.assertEqual(done.code, 0, done.errors)
        return done

    def refused(self, says, *arguments):
        done = run(*arguments)
        self.assertEqual(done.code, 2, done.out)
        self.assertIn(says, done.errors)

    def fails(self, says, *arguments):
        done = run(*arguments)
        self.assertEqual(done.code, 1, done.out)
        self.assertIn(says, done.errors)


class Why(Asking):
    BOOK = str(ROOT / "models/book")
    TEXT = "It was a dark and stormy"

    def test_a_translated_noun_is_attributed_to_its_source_words(self):
        answer = self.done("why", str(ROOT / "models/en-fr"), "The red car is in front of the house.", "--target", "voiture", "--method", "all", "--json").json
        self.assertIn("voiture", answer["answer"])
        self.assertGreater(answer["probability"], 0.5)
        car = next(item for item in answer["items"] if item["text"] == "car")
        for method in ("attention", "relevance", "occlusion", "integrated-gradients"):
            strongest = max((item for item in answer["items"] if item["text"] != "La"), key=lambda item: abs(item["shares"][method]))
            self.assertIn(strongest["text"], ("car", "red"), method)  # in the source; "La" was written before
            self.assertAlmostEqual(sum(abs(item["shares"][method]) for item in answer["items"]), 1, places=4)
        self.assertGreater(car["shares"]["occlusion"], 0.5)
        self.assertLess(answer["without"]["unseen"], 0.1)

    def test_a_trace_keeps_the_gradients_of_an_answer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "of.trace")
            done = self.done("trace", self.BOOK, self.TEXT, "--gradients", "--target", "night", "-o", path)
            self.assertIn('gradients of next token " night", whose probability is ', done.errors)
            figure = Path(folder) / "a.svg"
            self.done("show", path, "--head", "L4.H0", "--svg", str(figure), "--weight", "against")
            self.assertIn("against next token", figure.read_text(encoding="utf-8"))
            self.assertIn("--weight against", figure.read_text(encoding="utf-8"))
            self.done("show", path, "--head", "L4.H0", "--svg", str(figure), "--offsets")
            self.assertIn("key − query", figure.read_text(encoding="utf-8"))
            self.refused("--offsets applies to a map", "show", path, "--svg", str(figure), "--offsets")
            self.refused("--gradients affects a run", "trace", path, "--gradients", "-o", path + "2")
        self.refused("--target and --contrast set the target of --gradients", "trace", self.BOOK, self.TEXT, "--target", "night", "-o", "x")
        self.refused("--gradients needs one run over the whole text", "trace", self.BOOK, self.TEXT, "--gradients", "--window", "4", "-o", "x")

    def test_a_score_is_decomposed_into_contributions(self):
        place = "6/3@L4.H0"
        split = self.done("why", self.BOOK, "It was a dark and stormy night", "--score", place, "--json").json
        self.assertEqual([split["layer"], split["head"], split["query"], split["key"]], [4, 0, 6, 3])
        names = [part["part"] for part in split["parts"]]
        self.assertEqual([names[0], names[1], names[7], names[-1]], ["embeddings", "L0.H0", "L0 MLP", "biases"])
        for side in ("query", "key"):
            self.assertAlmostEqual(sum(part[side] for part in split["parts"]), split["score"], places=5)
        out = self.done("why", self.BOOK, "It was a dark and stormy night", "--score", place, "--top", "3").out
        self.assertIn('L4.H0 · the score of #6 ', out)
        self.assertIn("the other", out)
        self.refused("expected one query, one key and a head", "why", self.BOOK, "It was", "--score", "1/0@L2")
        self.fails("token 0 cannot attend to token 1", "why", self.BOOK, "It was", "--score", "0/1@L2.H1")
        translator = str(ROOT / "models/en-fr")
        self.refused("has three kinds of attention; expected 12/3@cross.L0.H0", "why", translator, "It was", "--score", "0/1@L0.H0")
        split = self.done("why", translator, "The red car is here.", "--score", "2/1@cross.L2.H1", "--json").json
        self.assertEqual(split["family"], "cross")
        for side, others in (("query", "enc"), ("key", ("dec", "cross"))):  # terms of the other stack contribute nothing
            self.assertAlmostEqual(sum(part[side] for part in split["parts"]), split["score"], places=5)
            self.assertTrue(all(part[side] == 0 for part in split["parts"] if part["part"].startswith(others)))

    def test_units_of_segments_need_two_segments(self):
        self.fails("expected a text with two or more named segments, found 0", "why", self.BOOK, self.TEXT, "--units", "segment")
        picture = str(ROOT / "models/digits/example.png")
        self.fails('this input consists of items of kind "patch"', "why", str(ROOT / "models/digits"), picture, "--units", "segment")

    def test_named_sections_are_units_in_the_order_of_the_text(self):
        with tempfile.TemporaryDirectory() as folder:
            parts = Path(folder) / "parts.json"
            parts.write_text(json.dumps([{"name": "end", "begin": 9, "end": 24}, {"name": "start", "begin": 0, "end": 6}]), encoding="utf-8")
            arguments = ("why", self.BOOK, self.TEXT, "--segments", str(parts), "--method", "occlusion")
            answer = self.done(*arguments, "--json").json
            self.assertEqual([(item["name"], item["text"]) for item in answer["items"]], [("start", "It was"), ("end", "dark and stormy")])
            self.assertRegex(self.done(*arguments).out, r'without "(start|end)": ')

    def test_text_output_shows_the_target_and_the_effect_of_removal(self):
        out = self.done("why", self.BOOK, self.TEXT, "--target", "night", "--method", "relevance,occlusion").out
        self.assertIn('next token " night"', out)
        self.assertIn("relevance", out)
        self.assertRegex(out, r"without \".*\": \d+\.\d\d % if it is unseen")

    def test_an_answer_of_several_tokens_is_explained_as_a_whole(self):
        for of in ("night falls", "zebra", "."):
            answer = self.done("why", self.BOOK, self.TEXT, "--target", of, "--method", "attention", "--units", "token", "--json").json
            told = answer["answer"].split('"')[1]
            self.assertEqual(told.strip(), of)
            scored = self.done("run", "score", self.BOOK, self.TEXT + told, "--json").json["log_probabilities"]
            tokens = len(json.loads(self.done("tokens", self.BOOK, self.TEXT + told, "--json", "--no-special").out)["ids"]) - len(answer["items"])
            self.assertAlmostEqual(math.log(answer["probability"]), sum(scored[-tokens:]), places=3)
        self.assertEqual(answer["answer"], 'next token "."')
        shown = self.done("why", self.BOOK, self.TEXT, "--target", "zebra and her zebra", "--method", "attention").out
        self.assertRegex(shown, r"e-\d+ %")  # a small probability is not shown as 0
        self.fails("answers are compared one token against one", "why", self.BOOK, self.TEXT, "--target", "night", "--contrast", "zebra")
        translator = str(ROOT / "models/en-fr")
        answer = self.done("why", translator, "The red car is in front of the house.", "--target", "voiture rouge", "--method", "attention", "--json").json
        self.assertIn("voiture rouge", answer["answer"])

    def test_every_word_has_its_share(self):
        answer = self.done("why", self.BOOK, self.TEXT, "--target", "night", "--json").json
        self.assertEqual([item["text"].strip() for item in answer["items"]], self.TEXT.split())
        self.assertEqual(len(self.done("why", self.BOOK, "cat", "--method", "attention", "--units", "word", "--json").json["items"]), 1)

    def test_an_answer_that_is_a_line_break_stays_on_its_line(self):
        shown = self.done("why", self.BOOK, self.TEXT, "--target", "\n", "--method", "attention").out
        self.assertRegex(shown.splitlines()[0], r'next token "⏎" · .* %$')

    def test_inside_reports_layers_and_heads(self):
        answer = self.done("why", self.BOOK, self.TEXT, "--inside", "--json").json
        self.assertEqual(len(answer["layers"]), 7)
        self.assertAlmostEqual(answer["layers"][-1]["probability"], answer["probability"], places=5)
        self.assertEqual([len(answer[name]) for name in ("knocked_out", "gradient", "adds")], [36, 36, 36])

    def test_activation_patching_between_two_texts(self):
        answer = self.done("why", self.BOOK, "He was a good one, and a good", "--clean", "He was a good man, and a good", "--target", "man", "--inside", "--json").json
        self.assertEqual(len(answer["heads"]), 36)
        self.assertGreater(answer["clean"], answer["corrupted"])
        self.assertGreater(max(head["value"] for head in answer["heads"]), 0.1)

    def test_a_story_by_its_statements(self):
        story = "John went to the garden.\nMary went to the kitchen.\nDaniel moved to the office."
        answer = self.done("why", str(ROOT / "models/stories"), story, "--question", "Where is Mary?", "--method", "all", "--json").json
        self.assertEqual(answer["answer"], 'class "kitchen"')
        for method in ("attention", "relevance", "occlusion"):
            strongest = max(answer["items"], key=lambda item: item["shares"][method])
            self.assertEqual(strongest["text"], "Mary went to the kitchen.", method)

    def test_invalid_targets_and_methods_are_refused(self):
        self.fails("there is no method \"relevanse\"; the methods are", "why", self.BOOK, self.TEXT, "--method", "relevanse")
        self.fails("token 99 of a text of", "why", self.BOOK, self.TEXT, "--target", "token 99")
        self.fails("the clean text has", "why", self.BOOK, self.TEXT, "--clean", "It was", "--inside")
        self.fails("layer 9; this model's layers are 0 to 5", "why", self.BOOK, self.TEXT, "--method", "attention", "--layer", "9")
        self.fails("layer 9; this model's layers are 0 to 5", "why", self.BOOK, self.TEXT, "--method", "attention", "--head", "L9.H0")
        self.fails("head 99 is out of range: the layer has 6 heads", "why", self.BOOK, self.TEXT, "--method", "attention", "--head", "L1.H99")

    def test_options_that_the_question_does_not_use_are_refused(self):
        ask = ("why", self.BOOK, self.TEXT)
        self.fails("a layer can be set only for the methods attention", *ask, "--layer", "99")
        self.fails("a layer can be set only for the methods attention", *ask, "--method", "rollout,relevance", "--head", "L9.H0")
        self.fails("a head can be set only for the methods attention", *ask, "--method", "mixed", "--head", "L1.H0")
        self.refused("--head and --layer name different layers", *ask, "--method", "attention", "--head", "L1.H0", "--layer", "2")
        self.refused("--removal applies to occlusion: add occlusion to --method", *ask, "--removal", "masked")
        self.refused("--steps applies to integrated-gradients: add integrated-gradients to --method", *ask, "--steps", "4")
        self.refused("excludes", *ask, "--inside", "--method", "attention")
        self.refused("excludes", *ask, "--score", "1/0@L0.H0", "--target", "night")
        said = self.done(*ask, "--method", "attention,relevance", "--layer", "0").errors
        self.assertEqual(said.splitlines()[1:], ["relevance: the layer is not used by this method"])


class Judge(Asking):
    SENTENCE = "The red car is in front of the house."

    def test_methods_beside_random_and_reverse(self):
        found = self.done("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--method", "attention,relevance", "--json").json
        self.assertEqual([verdict["removal"] for verdict in found["verdicts"]], ["unseen", "masked"])
        for verdict in found["verdicts"]:
            methods = verdict["methods"]
            self.assertEqual(set(methods), {"attention", "relevance", "random", "reverse of attention"})
            self.assertGreater(methods["relevance"]["comprehensiveness"]["mean"], methods["random"]["comprehensiveness"]["mean"])
            self.assertIsNone(methods["attention"]["auprc"]["mean"])  # there are no marks

    def test_default_methods_that_a_model_does_not_support_are_left_out(self):
        model, picture = str(ROOT / "models/digits"), str(ROOT / "models/digits/example.png")
        (self.folder / "digit.jsonl").write_text(json.dumps({"text": picture}) + "\n", encoding="utf-8")
        ask = ("judge", model, "--file", str(self.folder / "digit.jsonl"), "--removal", "unseen", "--json")
        done = self.done(*ask)
        self.assertIn("left out: gradient-input: ", done.errors)
        self.assertIn("relevance", done.json["verdicts"][0]["methods"])
        self.assertNotIn("gradient-input", done.json["verdicts"][0]["methods"])
        self.fails("needs an embedding of each explained item", *ask, "--method", "gradient-input")

    def test_marks_of_a_picture_are_its_patches(self):
        model, picture = str(ROOT / "models/scenes"), str(ROOT / "models/scenes/example.png")
        question = {"text": picture, "question": "what is in the middle?", "target": "nine", "marks": [[4, 5]]}
        (self.folder / "scene.jsonl").write_text(json.dumps(question) + "\n", encoding="utf-8")
        command = ("judge", model, "--file", str(self.folder / "scene.jsonl"), "--method", "occlusion", "--removal", "unseen", "--json")
        methods = self.done(*command).json["verdicts"][0]["methods"]
        self.assertEqual(methods["occlusion"]["auprc"]["mean"], 1)
        self.assertLess(methods["reverse of occlusion"]["auprc"]["mean"], 0.2)
        (self.folder / "scene.jsonl").write_text(json.dumps(question | {"marks": [[8, 10]]}), encoding="utf-8")
        self.fails("scene.jsonl:1: mark [8, 10]: expected a range within the 9 items of the picture, counted from 0", *command)

    def test_marked_evidence_is_scored_with_auprc(self):
        question = json.dumps({"text": self.SENTENCE, "target": "voiture", "marks": [[8, 11]]}) + "\n"
        found = self.done("judge", str(ROOT / "models/en-fr"), question, "--method", "attention", "--removal", "unseen", "--json").json
        self.assertEqual(found["verdicts"][0]["methods"]["attention"]["auprc"]["mean"], 1)

    def test_random_weights_rank_otherwise(self):
        found = self.done("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--method", "relevance", "--sanity", "--json").json
        self.assertEqual(len(found["sanity"]), 8)
        self.assertAlmostEqual(found["sanity"][0]["agreement"]["relevance"], 1)  # the head has only vectors, which stay
        self.assertLess(abs(found["sanity"][-1]["agreement"]["relevance"]), 0.9)

    def test_a_page_with_its_plot(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        page = Path(folder.name) / "judged.html"
        self.done("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--method", "attention", "--removal", "unseen", "--html", str(page))
        text = page.read_text(encoding="utf-8")
        self.assertIn("comprehensiveness", text)
        self.assertIn("reverse of attention", text)
        self.assertEqual(text.count("<svg"), 1)
        refused = run("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--sanity", "--svg", str(page))
        self.assertIn("leave them out with --sanity", refused.errors)
        self.assertEqual(refused.code, 2)

    def test_agreement_with_another_model_of_the_task_is_measured(self):
        found = self.done("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--method", "relevance,attention", "--with", str(ROOT / "models/en-fr"), "--json").json
        self.assertEqual([round(tau, 6) for tau in found["others"][0]["agreement"].values()], [1, 1])
        self.fails("its labels or tokens are not those of", "judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--with", str(ROOT / "models/en-zh"))

    def test_moved_finds_a_different_map_with_the_same_answer(self):
        found = self.done("judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--moved", "--json").json
        one = found["texts"][0]
        self.assertLessEqual(abs(one["kept"] - one["probability"]), 0.01)
        self.assertGreater(found["moved"]["mean"], 0)
        self.assertLessEqual(found["moved"]["mean"], math.log(2))
        self.fails("layer 9; this model's layers are 0 to 2", "judge", str(ROOT / "models/en-fr"), self.SENTENCE, "--moved", "--layer", "9")

    def test_bad_questions_are_named(self):
        self.fails('unknown field "mark"; expected text, question, pair, target, contrast or marks', "judge", str(ROOT / "models/en-fr"), '{"text": "a", "mark": []}')
        self.fails('"text" is missing or empty', "judge", str(ROOT / "models/en-fr"), '{"target": "a"}')
        self.fails("no text has 3 items or more", "judge", str(ROOT / "models/en-fr"), "Hello.")
        self.fails("there is no column 2; the line has 1", "judge", str(ROOT / "models/en-fr"), "one column", "--column", "2")
        file = self.folder / "texts.jsonl"
        for line, says in (
            ('{"text": 5}', '"text": expected a string, found 5'),
            ('{"text": "a", "marks": 3}', '"marks": expected an array, found 3'),
            ('{"text": "a", "marks": [3]}', '"marks": expected pairs [begin, end] of whole numbers, 0 or more, found 3'),
            ('{"text": "a", "marks": [[0, "x"]]}', '"marks": expected pairs [begin, end] of whole numbers, 0 or more, found [0,"x"]'),
        ):
            file.write_text('{"text": "a b c d"}\n' + line + "\n", encoding="utf-8")
            self.fails(f"texts.jsonl:2: {says}", "judge", str(ROOT / "models/en-fr"), "--file", str(file))
        file.write_text("Hello.\n" + "too long " * 600 + "\n", encoding="utf-8")
        self.fails("texts.jsonl:2: ", "judge", str(ROOT / "models/en-fr"), "--file", str(file))
