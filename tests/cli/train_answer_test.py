"""Answers as spans of a text: learned, measured at the threshold that validation chose, found by `run answer`; and errors in data."""

import json
import random

from support import Case, read_safetensors, run, write_wordpiece
from train_task_test import BERT

COLOURS, ANIMALS, FILLERS = ("dark red", "pale blue", "green"), ("cat", "dog", "hen"), ("we", "saw", "it", "on", "é", "road", "and", "far")
WORDS = sorted({word for part in (*COLOURS, *ANIMALS, *FILLERS, "which colour ?", "which animal ?") for word in part.split()})


class AnswerCase(Case):
    """Texts with an animal, a colour, both or neither; questions about one of them."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(3)
        write_wordpiece(self.folder / "words", WORDS)
        self.contexts = []
        for part, count in (("train", 400), ("valid", 60), ("test", 60)):
            self.write_lines(f"{part}.jsonl", [self.question() for _ in range(count)])
        self.write_lines("contexts.jsonl", [{"id": f"text {at}", "text": text} for at, text in enumerate(self.contexts)])
        self.recipe = self.folder / "small.json"
        self.write({"kind": "question-answering", "train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl", "contexts": ["contexts.jsonl"], "overlap": 8})

    def question(self):
        words = [self.random.choice(FILLERS) for _ in range(self.random.randint(4, 30))]
        there = {kind: self.random.choice(values) for kind, values in (("colour", COLOURS), ("animal", ANIMALS)) if self.random.random() < 0.6}
        for value in there.values():
            words.insert(self.random.randint(0, len(words)), value)
        text, kind = " ".join(words), self.random.choice(("colour", "animal"))
        self.contexts.append(text)
        answers = []
        if kind in there:
            begin = text.index(there[kind])
            answers = [[begin, len(text[:begin].encode()), there[kind]]]
        return {"id": "1", "question": f"which {kind} ?", "context": f"text {len(self.contexts) - 1}", "answers": answers}

    def write_lines(self, name, lines):
        (self.folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def lines_of(self, name):
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]

    def write(self, task, **fields):
        recipe = {
            "task": task, "model": BERT, "tokenizer": str(self.folder / "words"), "batch": 16, "length": 24, "steps": 800,
            "schedule": {"kind": "linear", "learning_rate": 0.003, "warmup": 20}, "report": 100, "validate": 100, "checkpoint": 100,
        } | fields
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / out, "--json")


class Answers(AnswerCase):
    def test_spans_are_learned_measured_and_found(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f'clearhead run answer {self.folder}/run/best --question', done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["f1"], 0.95)
        tested = run("train", self.recipe, f"data={self.folder}", "--test", self.folder / "run/best", "--json").json
        self.assertGreater(tested["f1_answerable"], 0.9)
        self.assertGreater(tested["f1_unanswerable"], 0.9)
        self.assertEqual(tested["counted"], 60)
        exact = 0
        for line in self.lines_of("test.jsonl")[:20]:
            text = self.contexts[int(line["context"].split()[1])]
            said = run("run", "answer", self.folder / "run/best", "--question", line["question"], text, "--json").json
            self.assertEqual(text.encode()[said["begin"]:said["end"]].decode(), said["span"])
            self.assertEqual(said["answer"], said["span"] if said["answer"] else None)
            exact += (said["answer"] or "") == (line["answers"][0][2] if line["answers"] else "")
        self.assertGreaterEqual(exact, 18)

    def test_the_saved_model_has_the_names_and_fields_of_transformers(self):
        self.assertEqual(self.train("run", "steps=20", "validate=20").code, 0)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["architectures"], ["BertForQuestionAnswering"])
        self.assertEqual((config["answers"]["window"], config["answers"]["overlap"], config["answers"]["longest"]), (24, 8, 30))
        names = read_safetensors(self.folder / "run/best/model.safetensors")
        self.assertEqual((names["qa_outputs.weight"][0], names["qa_outputs.bias"][0]), ([2, 32], [2]))
        self.assertNotIn("bert.pooler.dense.weight", names)
        self.refused(1, f"{self.folder}/run/best: the model has no sequence classification head", "run", "classify", self.folder / "run/best", "a hen")

    def test_squad_style_answers_and_inline_contexts_train_the_same_model(self):
        for part in ("train", "valid"):
            lines = self.lines_of(f"{part}.jsonl")
            for line in lines:
                line["context"] = self.contexts[int(line["context"].split()[1])]
                line["answers"] = {"text": [answer[2] for answer in line["answers"]], "answer_start": [answer[0] for answer in line["answers"]]}
            self.write_lines(f"other_{part}.jsonl", lines)
        self.assertEqual(self.train("first", "steps=20", "validate=20").code, 0)
        self.write({"kind": "question-answering", "train": "other_train.jsonl", "valid": "other_valid.jsonl", "overlap": 8})
        done = self.train("second", "steps=20", "validate=20")
        self.assertEqual(done.code, 0, done.errors)
        for name in ("best/model.safetensors", "log.csv"):
            self.assertEqual((self.folder / "first" / name).read_bytes(), (self.folder / "second" / name).read_bytes(), name)

    def test_the_first_steps_train_only_on_windows_with_an_answer(self):
        answered = [line for line in self.lines_of("train.jsonl") if line["answers"]]
        self.write_lines("answered.jsonl", answered)
        self.assertLess(len(answered), 300)
        runs = {"all": [], "first": ["task.answerable_first=20"], "few-first": ["task.train=answered.jsonl", "task.answerable_first=20"]}
        saved = {}
        for out, settings in runs.items():
            self.assertEqual(self.train(out, "steps=20", "validate=20", *settings).code, 0)
            saved[out] = (self.folder / out / "best/model.safetensors").read_bytes()
        self.assertEqual(saved["first"], saved["few-first"])
        self.assertNotEqual(saved["first"], saved["all"])
        self.write_lines("none.jsonl", [line for line in self.lines_of("train.jsonl") if not line["answers"]])
        self.refused(1, f'{self.recipe}: "task.answerable_first" is 20, but no window of none.jsonl contains an answer; set it to 0', "train", self.recipe, f"data={self.folder}",
                     "task.train=none.jsonl", "task.answerable_first=20", "-o", self.folder / "none")

    def test_smoothing_is_refused(self):
        self.refused(1, f'{self.recipe}: "smoothing" is not supported: it would give probability to starts and ends in the padding; leave it out', "train", self.recipe,
                     f"data={self.folder}", "smoothing=0.1", "-o", self.folder / "run")

    def test_a_given_threshold_is_kept(self):
        self.assertEqual(self.train("run", "steps=20", "validate=20", "task.threshold=-1000").code, 0)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["answers"]["threshold"], -1000)
        said = run("run", "answer", self.folder / "run/best", "--question", "which animal ?", "we saw a hen", "--json").json
        self.assertIsNone(said["answer"])
        self.assertLess(said["begin"], said["end"])

    def test_bad_data_is_named_with_its_line(self):
        lines = self.lines_of("train.jsonl")
        first = next(at for at, line in enumerate(lines) if line["answers"])
        task = ["train", self.recipe, f"data={self.folder}", "-o", self.folder / "run"]
        lines[first]["answers"][0][1] += 1
        self.write_lines("train.jsonl", lines)
        self.refused(1, f'{self.folder}/train.jsonl, line {first + 1}: "answers": "{lines[first]["answers"][0][2]}" does not occur in the context at its start position', *task)
        lines[first]["answers"] = ["hen"]
        self.write_lines("train.jsonl", lines)
        self.refused(1, f'{self.folder}/train.jsonl, line {first + 1}: "answers": expected a list of [first character, first byte, text], or {{"text": [...], "answer_start": [...]}}, found "hen"', *task)
        lines[first] |= {"answers": [], "context": "text -1"}
        self.write_lines("train.jsonl", lines)
        self.refused(1, f'{self.folder}/train.jsonl, line {first + 1}: "context": no file of "task.contexts" has the id "text -1"', *task)
        self.refused(1, "a window of 10 tokens leaves 4 tokens for the text besides the question; expected more than the overlap of 8", *task, "length=10",
                     "task.train=valid.jsonl")
