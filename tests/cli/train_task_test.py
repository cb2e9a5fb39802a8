"""Fine-tuning from the command line: classes of texts and of pairs, tags of words, their metrics, and the resulting models."""

import csv
import json
import random
import subprocess

from support import BINARY, HANGS, Case, environment, read_safetensors, run, write_wordpiece

BERT = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 256, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}
COLOURS, ANIMALS, FILLERS = ("red", "blue", "green"), ("cat", "dog", "hen"), ("we", "saw", "it", "on", "a", "road")


class TaskCase(Case):
    """Small synthetic files and a recipe for them."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(7)
        self.recipe = self.folder / "small.json"
        for part, count in (("train", 300), ("valid", 60), ("test", 60)):
            (self.folder / f"{part}.tsv").write_text("".join(self.line() for _ in range(count)), encoding="utf-8")
            (self.folder / f"{part}.conll").write_text("".join(self.sentence() for _ in range(count)), encoding="utf-8")
        self.write({"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "text": 2, "label": 1, "skip": ["-"]})

    def words(self, kind):
        words = [self.random.choice(FILLERS) for _ in range(self.random.randint(2, 6))]
        if kind:
            words.insert(self.random.randint(0, len(words)), self.random.choice(kind))
        return words

    def line(self):
        label, kind = self.random.choice((("colour", COLOURS), ("animal", ANIMALS), ("-", FILLERS)))
        return f"{label}\t{' '.join(self.words(kind))}\n"

    def sentence(self):
        words = self.words(self.random.choice((COLOURS, ANIMALS)))
        tags = ["B-colour" if word in COLOURS else "B-animal" if word in ANIMALS else "O" for word in words]
        return "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags)) + "\n"

    def write(self, task, **fields):
        recipe = {
            "task": task, "data_source": "The texts are made by the test.", "model": BERT, "batch": 16, "length": 64, "steps": 120,
            "schedule": {"kind": "linear", "learning_rate": 0.005, "warmup": 10}, "report": 20, "validate": 20, "checkpoint": 20,
        } | fields
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / out, "--json")

    def measured(self, out):
        return run("train", self.recipe, f"data={self.folder}", "--test", self.folder / out / "best", "--json").json


class Matching(TaskCase):
    """Pairs that belong together by their words and have no letter in common."""

    WORDS = {"north": "vik", "south": "ulm", "east": "dogg", "west": "zabb", "home": "cliff", "town": "exx", "sea": "fjk", "hill": "pyq"}

    def pairs(self, part, count):
        lines = []
        for _ in range(count):
            word = self.random.choice(list(self.WORDS))
            lines.append(f"{self.random.choice(FILLERS)} {word} {self.random.choice(FILLERS)}\t{self.WORDS[word]} {self.random.choice(FILLERS)}\n")
        (self.folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")

    def setUp(self):
        super().setUp()
        for part, count in (("train", 400), ("valid", 40), ("test", 60)):
            self.pairs(part, count)
        files = {part: f"{part}.tsv" for part in ("train", "valid", "test")}
        self.write({"kind": "sentence-similarity", "candidates": 4}, pairs=files, steps=160)

    def test_the_matching_text_is_ranked_first_after_training(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        reports = [json.loads(line) for line in done.out.splitlines()]
        self.assertLess(reports[-1]["loss"], reports[0]["loss"])
        tested = self.measured("run")
        self.assertEqual(tested["counted"], 60)
        # The candidates are different texts, but others may contain the right word with another filler: a third of a 1/8 chance for each.
        self.assertGreater(tested["chosen"], 0.7)
        self.assertGreaterEqual(tested["reciprocal_rank"], tested["chosen"])
        self.assertIn(f"clearhead run embed {self.folder}/run/best", done.errors)
        vectors = {}
        for text in ("we north a", "vik a", "ulm a", "pyq a"):
            vectors[text] = run("run", "embed", self.folder / "run/best", text, "--json").json["embedding"]
        cosine = lambda a, b: sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
        nearest = max(("vik a", "ulm a", "pyq a"), key=lambda text: cosine(vectors["we north a"], vectors[text]))
        self.assertEqual(nearest, "vik a")

    def test_dialogues_give_pairs_of_turns(self):
        dialogue = json.dumps({"turns": ["go north", "vik", "go south", "ulm"]}) + "\n"
        for part in ("train", "valid", "test"):
            (self.folder / f"{part}.jsonl").write_text(dialogue * 8, encoding="utf-8")
        files = {part: f"{part}.jsonl" for part in ("train", "valid", "test")}
        self.write({"kind": "sentence-similarity"}, pairs=files | {"turns": "turns", "turns_before": 2}, batch=2)
        part = run("train", self.recipe, f"data={self.folder}", "--batches", "1", "--json").json
        texts = [bytes(ids).decode() for ids in part["ids"]]  # two sources, then their targets
        self.assertEqual((len(texts), part["counted"], part["targets"]), (4, 2, [[0], [1]]))
        known = {("go north", "vik"), ("go north\nvik", "go south"), ("vik\ngo south", "ulm")}
        self.assertLessEqual({(texts[0], texts[2]), (texts[1], texts[3])}, known)

    def test_fields_of_a_task_that_contradict_pairs_or_batch_are_refused(self):
        for fields, what in (({"kind": "classification", "train": "a", "valid": "b", "text": 1, "label": 2}, '"task.kind": expected sentence-similarity, because "pairs" is given'),
                             ({"kind": "sentence-similarity", "candidates": 1}, '"task.candidates": expected an integer of 2 or more')):
            recipe = json.loads(self.recipe.read_text(encoding="utf-8")) | {"task": fields}
            self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
            done = self.train("refused")
            self.assertEqual(done.code, 1)
            self.assertIn(what, done.errors)
        self.write({"kind": "sentence-similarity"})
        self.assertIn('expected another task, or "pairs" in addition to it', self.train("refused").errors)
        files = {part: f"{part}.tsv" for part in ("train", "valid", "test")}
        self.write({"kind": "sentence-similarity"}, pairs=files, batch=500)
        self.assertIn("400 pairs, fewer than one batch of 500", self.train("refused").errors)


class Classification(TaskCase):
    def test_classes_are_learned_measured_and_answered(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        last = [json.loads(line) for line in done.out.splitlines()][-1]
        self.assertGreater(last["accuracy"], 0.95)
        self.assertGreater(last["macro_f1"], 0.95)
        self.assertIn(f'clearhead run classify {self.folder}/run/best', done.errors)
        tested = self.measured("run")
        self.assertGreater(tested["accuracy"], 0.95)
        lines = [line for line in (self.folder / "test.tsv").read_text(encoding="utf-8").splitlines() if not line.startswith("-")]
        self.assertEqual(tested["counted"], len(lines))
        right = 0
        for line in lines:
            label, text = line.split("\t")
            right += run("run", "classify", self.folder / "run/best", text, "--json").json["classes"][0]["label"] == label
        self.assertAlmostEqual(right / len(lines), tested["accuracy"], places=9)
        header, *rows = (self.folder / "run/log.csv").read_text(encoding="utf-8").splitlines()
        self.assertEqual(header, "step,loss,rate,gradient_norm,validation_loss,accuracy,macro_f1,matthews")
        self.assertTrue(all(len(row.split(",")) == 8 for row in rows))

    def test_batches_show_the_target_class_of_each_text(self):
        part = run("train", self.recipe, f"data={self.folder}", "--batches", "1", "--json").json
        self.assertEqual((len(part["ids"]), len(part["targets"]), part["counted"]), (16, 16, 16))
        for ids, targets in zip(part["ids"], part["targets"]):  # a token is a byte
            words = bytes(ids).decode().split()
            self.assertEqual(targets, [0 if set(words) & set(ANIMALS) else 1])

    def test_the_saved_model_has_the_names_and_fields_of_transformers(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["architectures"], ["BertForSequenceClassification"])
        self.assertEqual(config["id2label"], {"0": "animal", "1": "colour"})
        self.assertEqual(config["label2id"], {"animal": 0, "colour": 1})
        names = read_safetensors(self.folder / "run/best/model.safetensors")
        for name in ("bert.embeddings.word_embeddings.weight", "bert.encoder.layer.1.attention.self.query.weight", "bert.pooler.dense.weight", "classifier.bias"):
            self.assertIn(name, names)
        self.assertEqual(names["classifier.weight"][0], [2, 32])

    def test_a_run_goes_on_with_the_same_bits(self):
        self.assertEqual(self.train("whole", "steps=60").code, 0)
        process = subprocess.Popen([BINARY, "train", self.recipe, f"data={self.folder}", "steps=60", "checkpoint=1", "-o", "parts"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdout.readline()  # the first report
        process.kill()
        process.communicate(timeout=HANGS)
        done = run("train", "--resume", self.folder / "parts")
        self.assertEqual(done.code, 0, done.errors)
        self.assertRegex(done.errors, r"steps [1-5]\d to 60")
        for name in ("best/model.safetensors", "log.csv"):
            self.assertEqual((self.folder / "whole" / name).read_bytes(), (self.folder / "parts" / name).read_bytes(), name)

    def test_an_encoder_is_fine_tuned_from_its_own_file_and_gets_a_new_head(self):
        self.assertEqual(self.train("first", "steps=20", "schedule.learning_rate=0.001").code, 0)
        (self.folder / "train.tsv").write_text("".join(f"{label}\t{label} is the road\n" for label in ("x", "y", "z")) * 20, encoding="utf-8")
        (self.folder / "valid.tsv").write_text("x\tx is the road\nz\tz is the road\n", encoding="utf-8")
        recipe = json.loads(self.recipe.read_text(encoding="utf-8"))
        del recipe["model"], recipe["task"]["test"]
        self.recipe.write_text(json.dumps(recipe | {"from": str(self.folder / "first/best"), "steps": 160, "schedule": {"kind": "linear", "learning_rate": 0.002, "warmup": 10}}), encoding="utf-8")
        done = self.train("second")
        self.assertEqual(done.code, 0, done.errors)
        first, second = (read_safetensors(self.folder / name / "best/model.safetensors") for name in ("first", "second"))
        self.assertEqual((first["classifier.weight"][0], second["classifier.weight"][0]), ([2, 32], [3, 32]))
        self.assertEqual(run("run", "classify", self.folder / "second/best", "z is the road", "--json").json["classes"][0]["label"], "z")

    def test_text_pairs_are_classified(self):
        pairs = "".join(f"{'same' if a == b else 'other'}\t{a}\t{b}\n" for a in COLOURS for b in COLOURS) * 10
        for part in ("train", "valid"):
            (self.folder / f"{part}.tsv").write_text(pairs, encoding="utf-8")
        self.write({"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 2, "pair": 3, "label": 1, "best": "macro_f1"}, steps=200)
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["macro_f1"], 0.9)

    def test_patience_ends_a_run_that_no_longer_gets_better(self):
        self.write({"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 2, "label": 1, "skip": ["-"], "patience": 2}, steps=100000)
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        accuracies = [json.loads(line).get("accuracy") for line in done.out.splitlines()]
        self.assertEqual(max(accuracies), max(accuracies[:-2]))
        again = run("train", "--resume", self.folder / "run")
        self.assertEqual((again.code, again.out), (0, ""))

    def test_bad_data_is_named_with_its_line(self):
        with (self.folder / "valid.tsv").open("a", encoding="utf-8") as file:
            file.write("plant\ta tree\n")
        count = len((self.folder / "valid.tsv").read_text(encoding="utf-8").splitlines())
        task = ["train", self.recipe, f"data={self.folder}", "-o", self.folder / "run"]
        self.refused(1, f'{self.folder}/valid.tsv, line {count}: "plant" is a label that does not occur in the training data; expected "animal", "colour"', *task)
        self.refused(1, f'{self.folder}/train.tsv, line 1: expected 4 columns separated by tabs, found 2', *task, "task.text=4")
        first = ", ".join(json.dumps(cell) for cell in (self.folder / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t"))
        self.refused(1, f'{self.folder}/train.tsv, line 1: no column "sentence" ("task.text"); the first line names {first}', *task, "task.text=sentence")
        done = run(*task, "task.kind=order")
        self.assertEqual(done.code, 1)
        self.assertRegex(done.errors, r'small\.json: "task\.kind": expected (.*, )?classification, (.*, )?sorting, .* or [a-z-]+, found "order"')
        (self.folder / "valid.tsv").write_text("colour\tred\n", encoding="utf-8")
        self.refused(1, f'{self.recipe}: "task.best" is "bleu"; expected one of: loss, accuracy, macro_f1, matthews', *task, "task.best=bleu")


class Problems(TaskCase):
    """Several labels per text, regression targets, and classes with different weights."""

    def write_lines(self, name, lines):
        (self.folder / name).write_text("".join(f"{label}\t{' '.join(words)}\n" for label, words in lines), encoding="utf-8")

    def labelled(self):
        words, labels = self.words(FILLERS), []
        for label, kind in (("colour", COLOURS), ("animal", ANIMALS)):
            if self.random.random() < 0.5:
                words.insert(self.random.randint(0, len(words)), self.random.choice(kind))
                labels.append(label)
        return ", ".join(labels), words

    def test_several_labels_of_a_text_are_judged_each_by_itself(self):
        for part, count in (("train", 400), ("valid", 60), ("test", 60)):
            self.write_lines(f"{part}.tsv", [self.labelled() for _ in range(count)])
        self.write({"kind": "classification", "problem_type": "multi_label_classification", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "text": 2, "label": 1},
                   steps=700)
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["micro_f1"], 0.95)
        tested = self.measured("run")
        self.assertGreater(tested["macro_f1"], 0.95)
        self.assertEqual(tested["counted"], 60)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual((config["problem_type"], config["id2label"]), ("multi_label_classification", {"0": "animal", "1": "colour"}))
        for text, expected in (("we saw a red hen", (1, 1)), ("we saw it", (0, 0)), ("a dog on a road", (1, 0))):
            scores = {one["label"]: one["probability"] for one in run("run", "classify", self.folder / "run/best", text, "--json").json["classes"]}
            self.assertEqual((round(scores["animal"]), round(scores["colour"])), expected, text)

    def test_json_label_lists_train_the_same_model_as_comma_separated_labels(self):
        for part, count in (("train", 40), ("valid", 20)):
            lines = [self.labelled() for _ in range(count)]
            self.write_lines(f"{part}.tsv", lines)
            texts = [json.dumps({"text": " ".join(words), "labels": [label for label in labels.split(", ") if label]}) for labels, words in lines]
            (self.folder / f"{part}.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        task = {"kind": "classification", "problem_type": "multi_label_classification"}
        self.write(task | {"train": "train.tsv", "valid": "valid.tsv", "text": 2, "label": 1}, steps=20)
        self.assertEqual(self.train("first").code, 0)
        self.write(task | {"train": "train.jsonl", "valid": "valid.jsonl", "text": "text", "label": "labels"}, steps=20)
        done = self.train("second")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(*((self.folder / name / "best/model.safetensors").read_bytes() for name in ("first", "second")))

    def test_a_csv_file_with_named_columns_trains_the_same_model(self):
        for part, count in (("train", 40), ("valid", 20)):
            lines = [(random_label, [*words, "said \"so\""]) for random_label, words in (self.single() for _ in range(count))]
            self.write_lines(f"{part}.tsv", lines)
            with (self.folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(["id", "text", "label"])
                table.writerows([number, " ".join(words), label] for number, (label, words) in enumerate(lines))
        self.write({"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 2, "label": 1}, steps=20)
        self.assertEqual(self.train("first").code, 0)
        self.write({"kind": "classification", "train": "train.csv", "valid": "valid.csv", "text": "text", "label": "label"}, steps=20)
        done = self.train("second")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(*((self.folder / name / "best/model.safetensors").read_bytes() for name in ("first", "second")))
        (self.folder / "train.csv").write_text("text,label\n\"a, b\",x\n\"open,y\n", encoding="utf-8")
        self.refused(1, f"{self.folder}/train.csv, line 3: a cell that begins with a quote has no closing quote", "train", self.recipe,
                     f"data={self.folder}", "-o", self.folder / "third")

    def single(self):
        label = self.random.choice(("good", "bad"))
        return label, [*self.words(FILLERS), label]

    def test_regression_is_learned_measured_and_answered(self):
        def counted():
            words = [self.random.choice(("very", *FILLERS)) for _ in range(8)]
            return words.count("very") / 2 - 1, words

        for part, count in (("train", 400), ("valid", 60), ("test", 60)):
            self.write_lines(f"{part}.tsv", [counted() for _ in range(count)])
        task = {"kind": "classification", "problem_type": "regression", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "text": 2, "label": 1}
        self.write(task, steps=400)
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        last = json.loads(done.out.splitlines()[-1])
        self.assertGreater(last["pearson"], 0.95)
        self.assertLess(last["validation_loss"], 0.05)
        self.assertGreater(self.measured("run")["spearman"], 0.9)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual((config["problem_type"], config["id2label"]), ("regression", {"0": "value"}))
        said = run("run", "classify", self.folder / "run/best", "we saw very very very very it on", "--json").json["classes"]
        self.assertAlmostEqual(said[0]["value"], 1, delta=0.5)
        line = run("run", "classify", self.folder / "run/best", "we saw it on a road we saw").out
        self.assertRegex(line, r"^ *-[01]\.\d{4}  value\n$")
        self.explained(self.folder / "run/best", "we saw very very very very it on", said[0]["value"])
        with (self.folder / "valid.tsv").open("a", encoding="utf-8") as file:
            file.write("much\twe saw it\n")
        self.refused(1, f'{self.folder}/valid.tsv, line 61: "much" is not a number; "task.problem_type" is regression',
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "other")

    def explained(self, model, text, number):
        """The explanation of a number that counts the word "very"."""
        why = self.ok("why", model, text, "--method", "occlusion,gradient-input,integrated-gradients", "--json").json
        self.assertEqual(why["answer"], "output")
        self.assertAlmostEqual(why["number"], number, places=4)
        for method in ("occlusion", "gradient-input", "integrated-gradients"):
            shares = {is_very: [item["shares"][method] for item in why["items"] if (item["text"] == "very") == is_very] for is_very in (True, False)}
            self.assertEqual(len(shares[True]), 4)
            self.assertGreater(min(shares[True]), max(0, *shares[False]), (method, why))
        self.assertLess(why["without"]["unseen"], number)
        inside = self.ok("why", model, text, "--inside", "--json").json
        self.assertGreater(len(inside["knocked_out"]), 0)
        questions = self.folder / "questions.jsonl"
        questions.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
        judged = self.ok("judge", model, "--file", questions, "--method", "occlusion", "--removal", "unseen", "--json").json
        self.assertGreater(judged["verdicts"][0]["methods"]["occlusion"]["comprehensiveness"]["mean"], 0.2)
        self.refused(1, f"{model}: the answer of this model is a number, which has no probability", "judge", model, "--file", questions, "--moved")

    def test_a_class_that_weighs_more_is_found_more_often(self):
        def doubtful():
            return ("rare" if self.random.random() < 0.2 else "often"), self.words(FILLERS)

        for part in ("train", "valid"):
            self.write_lines(f"{part}.tsv", [("rare", ["red"]), *(doubtful() for _ in range(200))])
        task = {"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 2, "label": 1, "best": "loss"}
        rare = {}
        for name, weights in (("none", {}), ("balanced", {"class_weights": "balanced"}), ("given", {"class_weights": {"rare": 4}})):
            self.write(task | weights, steps=60, schedule={"kind": "constant", "learning_rate": 0.001})
            done = self.train(name)
            self.assertEqual(done.code, 0, done.errors)
            classes = run("run", "classify", self.folder / name / "best", "we saw it on a road", "--json").json["classes"]
            rare[name] = {one["label"]: one["probability"] for one in classes}["rare"]
        self.assertLess(rare["none"], 0.35)
        self.assertGreater(rare["balanced"], 0.35)
        self.assertGreater(rare["given"], 0.35)
        task = ["train", self.recipe, f"data={self.folder}", "-o", self.folder / "run"]
        self.refused(1, f'{self.recipe}: "task.class_weights": expected "balanced", or an object that maps labels to positive weights (default 1), as in {{"rare": 5}}, found 0',
                     *task, 'task.class_weights={"rare": 0}')
        self.refused(1, f'{self.recipe}: "task.class_weights": "seldom" is a label that does not occur in the training data; expected "often", "rare"',
                     *task, 'task.class_weights={"seldom": 2}')
        self.refused(1, f'{self.recipe}: "task.class_weights": expected none: "problem_type" is regression, found "balanced"',
                     *task, "task.class_weights=balanced", "task.problem_type=regression")


class Tagging(TaskCase):
    def test_entities_are_learned_measured_and_answered(self):
        self.write({"kind": "token-classification", "train": "train.conll", "valid": "valid.conll", "test": "test.conll"}, steps=200)
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["f1"], 0.95)
        self.assertGreater(self.measured("run")["f1"], 0.95)
        self.assertEqual(json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))["id2label"]["0"], "O")
        self.assertEqual(run("info", self.folder / "run/best", "--json").json["tasks"], ["tag"])
        spans = run("run", "tag", self.folder / "run/best", "we saw a blue hen on it", "--json").json
        self.assertEqual([(span["type"], span["text"], span["begin"], span["end"]) for span in spans],
                         [("colour", "blue", 9, 13), ("animal", "hen", 14, 17)])
        self.refused(1, f"{self.folder}/run/best: the model has no sequence classification head", "run", "classify", self.folder / "run/best", "a hen")

    def test_a_line_without_a_tag_is_named(self):
        (self.folder / "train.conll").write_text("we\tO\nsaw\n", encoding="utf-8")
        self.write({"kind": "token-classification", "train": "train.conll", "valid": "valid.conll"})
        self.refused(1, f'{self.folder}/train.conll, line 2: expected a word and its tag, separated by a tab or a space, found "saw"',
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")


class Masks(TaskCase):
    def test_masked_words_are_learned_measured_and_filled(self):
        write_wordpiece(self.folder / "words", [*COLOURS, *ANIMALS, *FILLERS])
        pairs = dict(zip(COLOURS, ANIMALS))  # a colour determines the animal that follows

        def line():
            colour = self.random.choice(COLOURS)
            return f"we saw a {colour} {pairs[colour]} on a {colour} road\n"

        for part, count in (("train", 400), ("valid", 80), ("test", 80)):
            (self.folder / f"{part}.txt").write_text("".join(line() for _ in range(count)), encoding="utf-8")
        self.write({"kind": "masked-lm", "train": "train.txt", "valid": "valid.txt", "test": "test.txt", "text": 1}, steps=700, tokenizer=str(self.folder / "words"),
                   schedule={"kind": "linear", "learning_rate": 0.003, "warmup": 20})
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"clearhead run fill {self.folder}/run/best", done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["accuracy"], 0.9)
        tested = self.measured("run")
        self.assertGreater(tested["accuracy"], 0.9)
        self.assertLess(tested["perplexity"], 1.5)
        for colour, animal in pairs.items():
            filled = run("run", "fill", self.folder / "run/best", f"we saw a {colour} [MASK] on a {colour} road", "--json").json["masks"][0]
            self.assertEqual(filled[0]["token"], animal)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["architectures"], ["BertForMaskedLM"])
        names = read_safetensors(self.folder / "run/best/model.safetensors")
        self.assertIn("cls.predictions.transform.dense.weight", names)
        self.assertNotIn("cls.predictions.decoder.weight", names)  # tied

    def test_masks_are_the_same_when_a_run_goes_on(self):
        write_wordpiece(self.folder / "words", [*COLOURS, *ANIMALS, *FILLERS])
        self.write({"kind": "masked-lm", "train": "train.tsv", "valid": "valid.tsv", "text": 2}, steps=60, tokenizer=str(self.folder / "words"))
        part = run("train", self.recipe, f"data={self.folder}", "--batches", "1", "--json").json
        for ids, targets in zip(part["ids"], part["targets"]):
            self.assertEqual(len(ids), len(targets))
            self.assertEqual(sum(target != -100 for target in targets), 1)  # of at most 9 words
        self.assertEqual(self.train("whole").code, 0)
        process = subprocess.Popen([BINARY, "train", self.recipe, f"data={self.folder}", "checkpoint=1", "-o", "parts"], cwd=self.folder,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdout.readline()  # the first report
        process.kill()
        process.communicate(timeout=HANGS)
        done = run("train", "--resume", self.folder / "parts")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual((self.folder / "whole/log.csv").read_bytes(), (self.folder / "parts/log.csv").read_bytes())
        self.write({"kind": "masked-lm", "train": "train.tsv", "valid": "valid.tsv", "text": 2})
        self.refused(1, f'{self.recipe}: the tokenizer has no mask token such as [MASK], which the task "masked-lm" puts in place of words',
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "other")

    def test_a_model_that_read_a_book_learns_a_task(self):
        book = "\n\n".join(f"We saw a {self.random.choice(COLOURS)} {self.random.choice(ANIMALS)} on the road." for _ in range(300))
        (self.folder / "book.txt").write_text(book, encoding="utf-8")
        (self.folder / "splits.tsv").write_text(f"file\tparts\nbook.txt\t0\t6000\t6000\t7000\t7000\t{len(book)}\n", encoding="utf-8")
        books = {"kind": "masked-lm", "passages": {"files": ["book.txt"], "splits": "splits.tsv", "words": 10}}
        self.write(books, tokenizer={"wordpiece": 120}, model=BERT | {"vocab_size": 120})
        done = run("train", self.recipe, f"data={self.folder}", "--batches", "1", "--json")
        self.assertEqual(done.code, 0, done.errors)
        batch = done.json
        for ids in batch["ids"]:
            self.assertEqual((ids[0], [id for id in ids if id > 0][-1]), (2, 3))  # [CLS] … [SEP] [PAD] …
        self.assertIn(4, [id for ids in batch["ids"] for id in ids])  # [MASK]
        done = self.train("read", "steps=40")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"clearhead run fill {self.folder}/read/best", done.errors)
        self.assertLess(self.measured("read")["perplexity"], 120)
        start = {"from": str(self.folder / "read/best")}
        self.write({"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 2, "label": 1, "skip": ["-"]}, **start)
        recipe = json.loads(self.recipe.read_text(encoding="utf-8"))
        del recipe["model"]  # that of the model in "from"
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        done = self.train("learn")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["accuracy"], 0.9)

        def refused(message):
            self.refused(1, message, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "other")

        self.write(books, tokenizer={"bpe": 300})
        refused(f'{self.recipe}: "tokenizer.bpe": expected "wordpiece", whose vocabulary has [MASK], found 300')
        self.write({"kind": "masked-lm", "sounds": {}}, tokenizer={"wordpiece": 120})
        refused(f'{self.recipe}: "task.sounds": masked language modelling needs texts; expected "task.passages" or "task.text"')

    def test_a_decoder_tags_words(self):
        self.write({"kind": "token-classification", "train": "train.conll", "valid": "valid.conll", "test": "test.conll"}, tokenizer="words",
                   model={"model_type": "gpt2", "vocab_size": 16, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2})
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(self.measured("run")["f1"], 0.9)
        config = json.loads((self.folder / "run/best/config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["architectures"], ["GPT2ForTokenClassification"])
        self.assertIn("classifier.bias", read_safetensors(self.folder / "run/best/model.safetensors"))
        words = run("run", "tag", self.folder / "run/best", "we saw a red cat", "--json").json
        self.assertIn("colour", json.dumps(words))
        # A model that was trained for another task gets a new head for texts.
        recipe = json.loads(self.recipe.read_text(encoding="utf-8")) | {
            "task": {"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "text": 2, "label": 1, "skip": ["-"]},
            "from": str(self.folder / "run/best"), "steps": 160,
        }  # fmt: skip
        del recipe["model"], recipe["tokenizer"]
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        done = self.train("texts")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(self.measured("texts")["accuracy"], 0.9)
        self.assertIn("score.weight", read_safetensors(self.folder / "texts/best/model.safetensors"))
