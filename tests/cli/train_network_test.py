"""Networks made of parts, from the command line: trained on synthetic data, measured, run and inspected."""

import json
import random
import signal
import subprocess
import time

from support import BINARY, Case, environment, run

ANIMALS, TOOLS, FILLERS = ("cat", "dog", "hen"), ("saw", "axe", "rake"), ("we", "met", "it", "on", "a", "road", "today")


class NetworkCase(Case):
    def trained(self, *settings, folder="run"):
        out = self.folder / folder
        done = run("train", self.recipe, f"data={self.folder}", *settings, "-o", out)
        self.assertEqual(done.code, 0, done.errors)
        return out

    def done(self, *arguments):
        done = run(*arguments)
        self.assertEqual(done.code, 0, done.errors)
        return done

    def goes_on(self):
        """Expects that a run that is killed after a checkpoint and resumed ends with the same bits as an uninterrupted one."""
        whole, killed = self.trained(folder="whole"), self.folder / "killed"
        with subprocess.Popen([BINARY, "train", self.recipe, f"data={self.folder}", "-o", killed], env=environment(),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 60
            while not (killed / "checkpoint.safetensors").exists() and time.monotonic() < until:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        self.done("train", "--resume", killed)
        for name in ("best/model.safetensors", "log.csv"):
            self.assertEqual((whole / name).read_bytes(), (killed / name).read_bytes(), name)


class Title(NetworkCase):
    """Three sentences, each with a name, one of which is presented: that name is the title. Names of the test part do not occur in other titles."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        self.names = ["".join(self.random.choice("bdfkz") + self.random.choice("eiou") for _ in range(3)) for _ in range(80)]
        for part, count in (("train", 400), ("valid", 40), ("test", 40)):
            names = self.names[60:] if part == "test" else self.names[:60]
            (self.folder / f"{part}.jsonl").write_text("".join(self.line(names) for _ in range(count)), encoding="utf-8")
        self.recipe = self.folder / "titles.json"
        self.recipe.write_text(json.dumps({
            "pairs": {"train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl", "cut": True, "measure": "rouge"},
            "fields": ["abstract", "title"], "tokenizer": {"bpe": 700, "lowercase": True}, "max_tokens": 512, "length": 64, "steps": 150,
            "report": 50, "validate": 50, "checkpoint": 100,
            "model": {"model_type": "pointer_generator", "vocab_size": 700, "embedding_size": 24, "hidden_size": 32, "eos_token_id": 0,
                      "pad_token_id": 1, "decoder_start_token_id": 1, "max_position_embeddings": 64, "task_specific_params": {"summarization": {}}},
            "optimiser": {"clip": 1}, "schedule": {"kind": "cosine", "learning_rate": 0.01},
        }), encoding="utf-8")

    def line(self, names):
        sentences = [" ".join([*self.random.choices(FILLERS, k=3), self.random.choice(self.names)]) + "." for _ in range(2)]
        name = self.random.choice(names)
        sentences.insert(self.random.randint(0, 2), f"we present {name}.")
        return json.dumps({"title": name.upper(), "abstract": sentences}) + "\n"

    def rouge(self, model):
        return self.done("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json["rouge_l"]

    def test_names_that_it_never_saw_are_copied(self):
        copies = self.trained() / "best"
        self.assertIn("rouge_1,rouge_l", (copies.parent / "log.csv").read_text().splitlines()[0])
        reached, without = self.rouge(copies), self.rouge(self.trained("model.copies=false", folder="without") / "best")
        self.assertGreater(reached, 0.6)
        self.assertGreater(reached, without + 0.3)
        name = self.names[70]
        text = f"It met a {self.names[1]}. We present {name.upper()}. Today we met {self.names[2]}."
        said = self.done("run", "summarise", copies, text, "--align", "--json").json
        self.assertEqual(said["text"].split(), [name])
        self.assertEqual([pair["source"] for pair in said["alignment"]], [name.upper()])
        self.assertEqual(self.done("run", copies, text).out.split(), [name])  # its own task
        self.assertIn(f"written: {name}", self.done("show", copies, text).errors)
        cut = run("run", "summarise", copies, text, "--cut", "0/9000")
        self.assertEqual((cut.code, cut.out), (1, ""))
        self.assertIn("an attention knockout names keys 9000; this run has", cut.errors)
        self.assertIn("tokens were read; the model has no more positions", self.done("run", copies, text * 9).errors)

    def test_invalid_measures_are_refused(self):
        for setting, says in (("pairs.measure=meteor", '"pairs.measure": expected bleu or rouge, found "meteor"'),
                              ("pairs.best=bleu", '"pairs.best" is "bleu"; expected one of: loss, rouge_1, rouge_l')):  # fmt: skip
            refused = run("train", self.recipe, f"data={self.folder}", setting, "-o", self.folder / "none")
            self.assertEqual(refused.code, 1)
            self.assertIn(says, refused.errors)


class Document(NetworkCase):
    """Documents of three sentences; one word in one sentence determines the class."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        for part, count in (("train", 160), ("valid", 40), ("test", 40)):
            (self.folder / f"{part}.jsonl").write_text("".join(self.line() for _ in range(count)), encoding="utf-8")
        self.recipe = self.folder / "small.json"
        self.recipe.write_text(json.dumps({
            "task": {"kind": "classification", "train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl", "text": "said", "label": "kind"},
            "tokenizer": {"wordpiece": 200}, "length": 16, "batch": 16, "steps": 60, "report": 20, "validate": 20, "checkpoint": 30,
            "model": {"model_type": "hierarchical_attention", "vocab_size": 200, "embedding_size": 16, "hidden_size": 16},
            "schedule": {"learning_rate": 0.01},
        }), encoding="utf-8")

    def line(self):
        kind, words = self.random.choice((("animal", ANIMALS), ("tool", TOOLS)))
        sentences = [[self.random.choice(FILLERS) for _ in range(self.random.randint(2, 5))] for _ in range(3)]
        self.random.choice(sentences)[0] = self.random.choice(words)
        return json.dumps({"kind": kind, "said": [" ".join(sentence) + "." for sentence in sentences]}) + "\n"

    def test_a_document_classifier_is_trained_tested_and_run(self):
        model = self.trained() / "best"
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json
        self.assertGreater(measured["accuracy"], 0.9)
        answer = self.done("run", model, "We met it today. A dog on a road. It met we.").out  # the model's own task, without naming it
        self.assertRegex(answer.splitlines()[0], r"9\d\.\d+ %  animal")
        many = self.done("run", "classify", model, "--lines", "--json", "We met a hen.\nAn axe. On a road.").out
        self.assertEqual([json.loads(line)["classes"][0]["label"] for line in many.splitlines()], ["animal", "tool"])

    def test_a_document_trace_has_sentence_and_word_maps(self):
        model, trace = self.trained() / "best", self.folder / "one.trace"
        self.done("trace", model, "We met it. A dog on a road.", "-o", trace)
        told = self.done("info", trace, "--json").json
        self.assertEqual([family["name"] for family in told["families"]], ["sentences", "words"])
        whole, cut = (self.done("run", model, "We met it. A dog on a road.", "--json", *more).json["classes"][0]["probability"]
                      for more in ((), ("--cut", "0:1/1:2@sentences.L0")))
        self.assertNotEqual(whole, cut)  # the document without its second sentence

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.goes_on()

    def test_bad_data_is_named_by_its_line(self):
        path = self.folder / "valid.jsonl"
        path.write_text(self.line() + '{"kind": "animal", "said": [3]}\n', encoding="utf-8")
        done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "bad")
        self.assertEqual((done.code, done.errors), (1, f'clearhead: {path}, line 2: "said": expected an array of strings, found 3\n'))
        path.write_text(json.dumps({"kind": "fruit", "said": ["a pear."]}) + "\n", encoding="utf-8")
        self.refused(1, f'{path}, line 1: "fruit" is a label that does not occur in the training data; expected "animal", "tool"', "train", self.recipe,
                     f"data={self.folder}", "-o", self.folder / "bad")


class Translator(NetworkCase):
    """A recurrent translator that writes words in upper case."""

    def setUp(self):
        super().setUp()
        letters = random.Random(3)
        for part, count in (("train", 400), ("valid", 40), ("test", 40)):
            lines = []
            for _ in range(count):
                word = "".join(letters.choice("abcd") for _ in range(letters.randint(2, 5)))
                lines.append(f"{word}\t{word.upper()}\n")
            (self.folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
        self.recipe = self.folder / "upper.json"
        self.recipe.write_text(json.dumps({
            "pairs": {"train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv"}, "tokenizer": {"bpe": 258},
            "model": {"model_type": "recurrent_translator", "vocab_size": 258, "embedding_size": 24, "hidden_size": 32, "eos_token_id": 0,
                      "pad_token_id": 1, "decoder_start_token_id": 1},
            "max_tokens": 512, "length": 16, "steps": 400, "report": 100, "validate": 100, "checkpoint": 100, "schedule": {"kind": "cosine", "learning_rate": 0.01},
        }), encoding="utf-8")

    def test_a_recurrent_translator_is_trained_run_and_traced(self):
        out = self.trained("--watch", "abcd\tABCD")
        model = out / "best"
        said = self.done("run", "translate", model, "abcd\ndcba", "--align", "--json", "--beams", "2").json
        self.assertEqual([one["text"] for one in said["translations"]], ["ABCD", "DCBA"])
        self.assertTrue(sorted((out / "watch").glob("*.trace")))
        tested = self.done("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json
        self.assertEqual(tested["bleu"], 0)  # one word contains no 4-gram
        self.assertGreater(tested["exact"], tested["pairs"] / 2)
        trace = self.folder / "one.trace"
        self.done("run", model, "abcd", "--trace", trace)
        self.assertIn("cross", self.done("show", trace).out)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.goes_on()
