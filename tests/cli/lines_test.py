"""run TASK --lines: one answer per line, in order, equal to the answer for that line alone; errors name the line."""

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

    def answering(self):
        """A question-answering model with windows of the few tokens that it supports."""
        model = self.golden("bert/answers")
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"answers": {"window": 20, "overlap": 4, "longest": 5, "threshold": 0}}))
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

    def test_batched_lines_give_the_same_answers_as_single_lines(self):
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

    def test_scores_of_batched_lines_equal_single_scores(self):
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

    def test_embeddings_are_saved_as_npy_and_any_line_ending_is_accepted(self):
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
        refused = run("run", "fill", self.golden("bert/mlm"), "-", "--lines", stdin=b"a [MASK]\n\nno mask\n[MASK] b\n")
        self.assertEqual(refused.code, 1)
        self.assertEqual([bool(line) for line in refused.out.splitlines()], [True, False, False, True])
        said = refused.errors.splitlines()
        self.assertIn("line 3: fill: the text has no [MASK]", said[0])
        self.assertEqual(said[1:], ["clearhead: 1 of 4 lines has no answer"])
        long = run("run", "classify", self.golden("bert/classify"), "-", "--lines", "--json", stdin=b"a\n" + b"a b c d e " * 200 + b"\nb\n")
        self.assertEqual(long.code, 1)
        answers = [json.loads(line) for line in long.out.splitlines()]
        self.assertEqual([list(answer) for answer in answers], [["classes"], ["error"], ["classes"]])
        self.assertRegex(answers[1]["error"], r"^line 2: the text has [\d,]+ tokens, but the model supports [\d,]+ positions")
        self.close(answers[0], run("run", "classify", self.golden("bert/classify"), "a", "--json").json, LINE_PLACES)
        alone = run("run", "classify", self.golden("bert/classify"), "-", "--lines", stdin=b"a b c d e " * 200)
        self.assertEqual((alone.code, alone.out), (1, ""))
        self.assertIn("line 1: the text has", alone.errors)

    def test_errors_common_to_all_lines_are_printed_once(self):
        done = run("run", "fill", self.golden("bert/classify"), "-", "--lines", stdin=b"a [MASK]\nb [MASK]\n")
        self.assertEqual((done.code, done.out, done.errors.count("\n")), (1, "", 1))
        done = run("run", "embed", self.golden("bert/pooler"), "-", "--lines", "--knock-out", "L99.H0", stdin=b"a\nb\n")
        self.assertEqual((done.code, done.out, done.errors.count("\n")), (1, "", 1))

    def test_empty_lines_have_empty_answers_in_every_task(self):
        for task, model, more in (
            ("embed", self.golden("bert/pooler"), ()),
            ("embed", self.causal, ()),
            ("classify", self.golden("bert/classify"), ()),
            ("fill", self.golden("bert/mlm"), ()),
            ("generate", ROOT / "models/book", ("--max-tokens", "2", "--greedy")),
            ("score", ROOT / "models/book", ()),
            ("tag", self.golden("bert/tokens"), ()),
            ("answer", self.answering(), ("--question", "a")),
        ):
            for form in ((), ("--json",)):
                text = b"a b [MASK]\n\nc d [MASK]\n"
                done = run("run", task, model, "-", "--lines", *form, *more, stdin=text)
                self.assertEqual((done.code, done.out.count("\n")), (0, 3), (task, form, done.errors))
                if form and task in ("fill", "tag"):
                    self.assertEqual(json.loads(done.out.splitlines()[1]), {"masks": []} if task == "fill" else [])
                    self.assertFalse([value for value in json.loads(done.out.splitlines()[1]).values() if isinstance(value, (list, str)) and value and value != "max_tokens"] if task != "tag" else json.loads(done.out.splitlines()[1]), task)

    def test_a_line_too_short_for_a_cut_fails_without_affecting_other_lines(self):
        text = "a b c d e f\na\n\na b c d e\n"
        masked = text.replace("\n", " [MASK]\n").replace("\n [MASK]\n", "\n\n")
        for task, model, cut, lines, more in (
            ("embed", self.golden("bert/pooler"), "6/1", text, ()),
            ("classify", self.golden("bert/classify"), "6/1", text, ()),
            ("fill", self.golden("bert/mlm"), "6/1", masked, ()),
            ("tag", self.golden("bert/tokens"), "6/1", text, ()),
            ("answer", self.answering(), "8/1", text, ("--question", "a")),
            ("generate", ROOT / "models/book", "4/1", text, ("--max-tokens", "2", "--greedy")),
            ("score", ROOT / "models/book", "4/1", text, ()),
        ):
            done = run(*("run", task, model, "-", "--lines", "--json", "--cut", cut, *more), stdin=lines.encode())
            answers = [json.loads(line) for line in done.out.splitlines()]
            self.assertEqual((done.code, len(answers)), (1, 4), (task, done.errors))
            self.assertEqual([isinstance(answer, dict) and "error" in answer for answer in answers], [False, True, False, False], task)
            self.assertRegex(answers[1]["error"], r"^line 2: an attention knockout names queries \d; this run has \d of them", task)
            self.assertEqual(done.errors.splitlines()[-1], "clearhead: 1 of 4 lines has no answer", task)
            alone = run("run", task, model, lines.splitlines()[0], "--json", "--cut", cut, *more)
            self.close(answers[0], alone.json if task != "score" else {key: alone.json.get(key, answers[0][key]) for key in answers[0]}, LINE_PLACES)

    def test_a_line_too_short_for_a_cut_has_no_translation(self):
        done = run("run", "translate", ROOT / "models/en-fr", "-", "--json", "--cut", "12/0@enc", "--max-tokens", "8",
                   stdin=b"The house by the river is very old and its garden is full of flowers.\nHello.\n")
        answers = done.json["translations"]
        self.assertEqual((done.code, ["error" in answer for answer in answers]), (1, [False, True]), done.errors)
        self.assertRegex(answers[1]["error"], r"^line 2: an attention knockout names queries 12; this run has \d of them")
        self.assertEqual(done.errors.splitlines()[-1], "clearhead: 1 of 2 lines has no translation")

    def test_cuts_of_positions_outside_the_input_are_refused(self):
        for model, given, more in (("authorship", "One. Two.", ()), ("stories", "Mary went out.", ("--question", "Where?"))):
            done = run("run", "classify", ROOT / "models" / model, given, "--cut", "0/9000", *more)
            self.assertEqual((done.code, done.out), (1, ""), model)
            self.assertRegex(done.errors, "an attention knockout names keys 9000; this run has [0-9]+ of them", model)

    def test_a_chat_turn_too_short_for_a_cut_has_no_answer(self):
        done = run("run", "chat", ROOT / "models/chat", "Hello there", "--cut", "0/90@cross")
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertRegex(done.errors, "line 1: an attention knockout names keys 90; this run has [0-9]+ of them")

    def test_lines_are_tagged_and_answered(self):
        for task, model, more in (("tag", self.golden("bert/tokens"), ()), ("answer", self.answering(), ("--question", "a b"))):
            answers = self.together(task, model, *more, lines=["a b c", "d e"])
            for line, answer in zip(["a b c", "d e"], answers):
                self.close(answer, run("run", task, model, line, "--json", *more).json, LINE_PLACES)

    def test_a_byte_order_mark_is_no_part_of_the_text(self):
        file, plain = self.folder / "marked.txt", self.folder / "plain.txt"
        file.write_bytes(b"\xef\xbb\xbfHello.\nHow are you?\n")
        plain.write_bytes(b"Hello.\nHow are you?\n")
        translator, book = ROOT / "models/en-fr", ROOT / "models/book"
        for command in (
            ("run", "translate", translator), ("run", "embed", self.golden("bert/pooler"), "--lines"), ("run", "score", book),
            ("run", "score", book, "--lines"), ("tokens", book, "--json"), ("tokens", book, "--lines"), ("show", book, "--json", "--head", "L0.H0"),
        ):
            expected = run(*command, "--file", plain)
            self.assertEqual(expected.code, 0, (command, expected.errors))
            self.assertEqual(run(*command, "--file", file).out, expected.out, command)
            self.assertEqual(run(*command, "-", stdin=file.read_bytes()).out, run(*command, "-", stdin=plain.read_bytes()).out, command)
        self.assertAlmostEqual(self.ok("bleu", file, plain, "--json").json["score"], 100)

    def test_other_encodings_are_refused_by_file_and_line(self):
        file = self.folder / "latin.txt"
        file.write_bytes("ok\nna\u00efve\n".encode("latin-1"))
        says = "latin.txt, line 2: byte 0xEF is not UTF-8; expected text in UTF-8. Convert it: iconv -f WINDOWS-1252 -t UTF-8"
        for command in (("run", "score", ROOT / "models/book"), ("run", "score", ROOT / "models/book", "--lines"), ("tokens", self.causal), ("show", self.causal)):
            done = run(*command, "--file", "latin.txt", folder=self.folder)
            self.assertEqual((done.code, done.out, done.errors.splitlines()[-1]), (1, "", f"clearhead: {says}"), command)
        self.refused(1, "standard input, line 1: the text is in UTF-16; expected text in UTF-8. Convert it: iconv -f UTF-16 -t UTF-8",
                     "tokens", self.causal, "-", stdin="hi".encode("utf-16"))

    def test_why_explains_the_named_one_of_two_masks(self):
        ask = ("why", self.golden("bert/mlm"), "a [MASK] b [MASK] c", "--method", "attention")
        done = run(*ask)
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertIn('the text has 2 masks, tokens 2, 4; expected one, or "token 2" as the token to explain', done.errors)
        first, second = (self.ok(*ask, "--target", f"token {at}", "--json").json for at in (2, 4))
        self.assertNotEqual(first["probability"], second["probability"])
        self.assertIn("token 3 is not [MASK]", run(*ask, "--target", "token 3").errors)

    def test_tokens_of_a_files_lines_are_an_object_a_line(self):
        file = self.folder / "lines.txt"
        file.write_text("ab\n\nc")
        told = self.ok("tokens", self.causal, "--file", file, "--lines")
        self.assertEqual([json.loads(line)["ids"] for line in told.out.splitlines()], [[97, 98], [], [99]])
