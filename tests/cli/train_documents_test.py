"""Documents from the command line: word vectors of another model, folds, passages of books, and summaries selected by attention."""

import json
import random
import statistics

from support import ROOT, read_safetensors, run
from train_network_test import FILLERS, NetworkCase

HAN = {"model_type": "hierarchical_attention", "vocab_size": 200, "embedding_size": 16, "hidden_size": 16}
STEPS = {"tokenizer": {"wordpiece": 200}, "length": 16, "batch": 16, "steps": 60, "report": 20, "validate": 20, "checkpoint": 30,
         "schedule": {"learning_rate": 0.01}}


class DocumentsCase(NetworkCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        self.recipe = self.folder / "small.json"

    def write(self, **fields):
        self.recipe.write_text(json.dumps(STEPS | fields), encoding="utf-8")

    def sentence(self, *words):
        fillers = [self.random.choice(FILLERS) for _ in range(self.random.randint(2, 5))]
        fillers[self.random.randint(0, len(fillers)) : 0] = words
        return " ".join(fillers) + "."

    def write_lines(self, name, objects):
        (self.folder / name).write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")

    def kinds(self, count):
        for _ in range(count):
            kind, word = self.random.choice((("animal", "cat"), ("animal", "dog"), ("tool", "saw"), ("tool", "axe")))
            yield {"kind": kind, "said": [self.sentence(), self.sentence(word), self.sentence()]}


class Folds(DocumentsCase):
    """Every line of all files is test data in exactly one fold; the recipe names the fold that is held out."""

    def setUp(self):
        super().setUp()
        for name in ("a", "b"):
            self.write_lines(f"{name}.jsonl", self.kinds(100))
        self.write(model=HAN, task={"kind": "classification", "text": "said", "label": "kind",
                                    "folds": {"files": ["a.jsonl", "b.jsonl"], "count": 4, "hold_out": 0}})

    def test_the_held_out_fold_is_the_test_data(self):
        counted = []
        for fold in range(4):
            out = self.trained(f"task.folds.hold_out={fold}", "steps=20", folder=f"fold-{fold}")
            told = self.done("train", self.recipe, f"data={self.folder}", f"task.folds.hold_out={fold}", "--test", out / "best", "--json").json
            counted.append(told["counted"])
        self.assertEqual(sum(counted), 200)
        self.assertGreater(min(counted), 20)
        self.assertIn("accuracy", told)

    def test_without_validation_the_next_fold_trains_too(self):
        for out, validates in (("eight", "true"), ("nine", "false")):
            self.trained("task.folds.hold_out=1", f"task.folds.validate={validates}", "steps=20", folder=out)
        validated, log = ((self.folder / out / "log.csv").read_text(encoding="utf-8") for out in ("eight", "nine"))
        self.assertIn("accuracy", validated)
        self.assertNotIn("accuracy", log.splitlines()[1])
        self.done("train", self.recipe, f"data={self.folder}", "task.folds.hold_out=1", "--test", self.folder / "nine/best", "--json")

    def test_a_fold_that_is_not_there_is_refused(self):
        self.refused(1, f'{self.recipe}: "task.folds.hold_out": expected a fold from 0 to 3, found 4', "train", self.recipe,
                     f"data={self.folder}", "task.folds.hold_out=4", "-o", self.folder / "bad")


class Vectors(DocumentsCase):
    """A parameter that is initialised from a tensor of another model, with that model's tokenizer."""

    def setUp(self):
        super().setUp()
        for part in ("train", "valid"):
            self.write_lines(f"{part}.jsonl", self.kinds(60))
        self.task = {"kind": "classification", "train": "train.jsonl", "valid": "valid.jsonl", "text": "said", "label": "kind"}
        self.write(model=HAN, task=self.task)
        self.other = self.trained("steps=5", "validate=5", folder="other") / "best"

    def vectors(self, **changes):
        fields = {"from": str(self.other), "tensor": "embedding.weight", "parameter": "embedding.weight"} | changes
        frozen = {"groups": [{"match": "^embedding", "learning_rate_scale": 0}]}
        recipe = STEPS | {"model": HAN | {"hidden_size": 8}, "task": self.task, "vectors": fields, "optimiser": frozen}
        del recipe["tokenizer"]
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def test_vectors_and_tokenizer_come_from_the_other_model(self):
        self.vectors()
        out = self.trained("steps=10", "validate=10") / "best"
        ours, theirs = (read_safetensors(folder / "model.safetensors") for folder in (out, self.other))
        self.assertEqual(ours["embedding.weight"], theirs["embedding.weight"])
        self.assertEqual((out / "tokenizer.json").read_bytes(), (self.other / "tokenizer.json").read_bytes())
        self.done("train", "--resume", self.folder / "run")

    def test_vector_columns_are_standardised_to_the_given_deviation(self):
        self.vectors(deviation=0.5)
        out = self.trained("steps=2", "validate=2") / "best"
        ours, theirs = (self.rows(folder / "model.safetensors") for folder in (out, self.other))
        for column in range(16):
            mine, from_ = [row[column] for row in ours], [row[column] for row in theirs]
            scale = 0.5 / statistics.pstdev(from_)
            for a, b in zip(mine, from_):
                self.assertAlmostEqual(a, (b - statistics.fmean(from_)) * scale, 4)

    @staticmethod
    def rows(file):
        shape, values = read_safetensors(file)["embedding.weight"]
        return [values[at:at + shape[1]] for at in range(0, len(values), shape[1])]

    def test_an_encoder_is_initialised_from_a_bert_and_stays_frozen(self):
        words = str(self.other)
        self.write_lines("words.jsonl", [{"kind": one["kind"], "said": " ".join(one["said"])} for one in self.kinds(20)])
        bert = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 200, "max_position_embeddings": 16}
        self.recipe.write_text(json.dumps(STEPS | {"model": bert, "tokenizer": words, "steps": 2, "validate": 2, "task": {
            "kind": "classification", "train": "words.jsonl", "valid": "words.jsonl", "text": "said", "label": "kind"}}), encoding="utf-8")
        bert_folder = self.trained(folder="bert") / "best"
        encoder = {name: bert[name] for name in ("num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")}
        model = HAN | {"max_position_embeddings": 16, "encoder": encoder}
        recipe = STEPS | {"model": model, "task": self.task, "vectors": {"from": str(bert_folder), "parameter": "encoder"},
                          "optimiser": {"groups": [{"match": "^encoder", "learning_rate_scale": 0}]}}
        del recipe["tokenizer"]
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        out = self.trained() / "best"
        ours, theirs = (read_safetensors(folder / "model.safetensors") for folder in (out, bert_folder))
        self.assertEqual(ours["encoder.layers.1.mlp.up.weight"], theirs["bert.encoder.layer.1.intermediate.dense.weight"])
        self.assertEqual(ours["encoder.tokens.weight"], theirs["bert.embeddings.word_embeddings.weight"])
        self.assertNotIn("embedding.weight", ours)
        self.done("trace", out, "We met a cat. On a road the saw.", "-o", self.folder / "one.trace")
        families = self.done("info", self.folder / "one.trace", "--json").json["families"]
        self.assertEqual(sorted(family["name"] for family in families), ["enc", "sentences", "words"])
        recipe["model"] = model | {"max_position_embeddings": 17}
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        self.assertIn('"max_position_embeddings": expected 1 to 16, the positions of the encoder, found 17', self.tried())
        recipe["model"] = model | {"encoder": encoder | {"num_attention_heads": 4}}
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        self.assertIn(f'{bert_folder}/config.json: "num_attention_heads" is 2, but the encoder of {self.recipe} has 4', self.tried())
        recipe["vectors"]["deviation"] = 1
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        self.assertIn('"vectors.deviation": expected 0 without "tensor": the weights of a whole encoder are not scaled, found 1', self.tried())
        self.vectors()
        recipe = json.loads(self.recipe.read_text(encoding="utf-8"))
        del recipe["vectors"]["tensor"]
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        self.assertIn('"vectors" has no "tensor", and the model has no encoder at "embedding.weight"', self.tried())

    def test_missing_and_mismatched_tensors_are_refused(self):
        file = self.other / "model.safetensors"
        self.vectors(parameter="words.weight")
        self.assertRegex(self.tried(), r'"vectors.parameter" is "words.weight"; the model\'s parameters are embedding.weight, words.weight_ih_l0, ')
        self.vectors(tensor="words.weight")
        self.assertIn(f'{file}', self.tried())
        self.vectors(tensor="word_attention.query")
        self.assertIn(f'{file}: "word_attention.query" has the shape [1, 16], but the recipe\'s "embedding.weight" has [200, 16]; give the model these sizes', self.tried())

    def tried(self):
        done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "bad")
        self.assertEqual((done.code, done.errors.count("\n")), (1, 1))
        return done.errors


class Books(DocumentsCase):
    """Passages of books, labelled with their book."""

    def test_books_are_classified_by_their_words(self):
        parts = {}
        for book, words in (("farm", ("cat", "dog")), ("shed", ("saw", "axe"))):
            texts = ["\n\n".join(f"Chapter {i}\n\n" + " ".join(self.sentence(self.random.choice(words)) for _ in range(4)) for i in range(count)) + "\n"
                     for count in (60, 20, 20)]
            (self.folder / f"{book}.txt").write_text("".join(texts), encoding="utf-8")
            ends = [sum(len(text) for text in texts[:at]) for at in range(4)]
            parts[f"{book}.txt"] = [ends[0], ends[1], ends[1], ends[2], ends[2], ends[3]]
        (self.folder / "splits.tsv").write_text("file\t\t\t\t\t\t\n" + "".join("\t".join(map(str, [name, *cells])) + "\n" for name, cells in parts.items()), encoding="utf-8")
        self.write(model=HAN, task={"kind": "classification", "passages": {"files": ["farm.txt", "shed.txt"], "splits": "splits.tsv", "words": 16}})
        model = self.trained() / "best"
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json
        self.assertGreater(measured["accuracy"], 0.9)
        self.assertRegex(self.done("run", model, "We met a dog. On a road.").out, r"^ *\d+\.\d+ %  farm\n")

    def test_the_authorship_model_classifies_books_by_style(self):
        texts = {"tinyshakespeare": "Speak, good my lord, for thou art not so base. What would'st thou have? I'll to the king, and he shall hear of't.",
                 "pride-and-prejudice": "I never saw so sweet a girl, said his sister, with great civility; and she could not but think his attentions most agreeable.",
                 "war-and-peace": "The officers and soldiers of the regiment stood near the campfire. The adjutant galloped up to the general."}
        for book, text in texts.items():
            best = self.done("run", ROOT / "models/authorship", text, "--json").json["classes"][0]
            self.assertEqual(best["label"], book)
            self.assertGreater(best["probability"], 0.9)


class Summaries(DocumentsCase):
    """One sentence of each document is about an animal, and so is its summary."""

    def setUp(self):
        super().setUp()
        for part, count in (("train", 160), ("valid", 40), ("test", 40)):
            self.write_lines(f"{part}.jsonl", [self.document() for _ in range(count)])
        self.write(model=HAN | {"output": "sentence"}, task={"kind": "summarisation", "train": "train.jsonl", "valid": "valid.jsonl", "test": "test.jsonl", "text": "said", "label": "short"})

    def document(self):
        said = [self.sentence("axe"), self.sentence("saw"), self.sentence()]
        kept = self.sentence("the", "cat")
        said.insert(self.random.randint(0, 3), kept)
        return {"said": said, "short": [kept.upper(), "nothing of it"]}

    def test_attention_chooses_the_sentence(self):
        model = self.trained() / "best"
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json
        self.assertGreater(measured["rouge1"], 0.9)
        self.assertGreater(measured["rougeL"], 0.9)
        self.assertEqual(measured["counted"], 40)
        text = "We met it. On a road the cat met. It met we today."
        self.assertEqual(self.done("run", model, text).out, "On a road the cat met.\n")  # the model's own task, without naming it
        weights = self.done("run", "summarise", model, text, "--json").json["sentences"]
        self.refused(1, "an attention knockout names keys 90; this run has 16 of them, counted from 0", "run", "summarise", model, text, "--cut", "0/90")
        self.assertEqual([len(weights), weights[0]["sentence"]], [3, "On a road the cat met."])
        self.assertAlmostEqual(sum(one["weight"] for one in weights), 1, 5)
        self.done("trace", model, text, "-o", self.folder / "one.trace")
        told = self.done("info", self.folder / "one.trace", "--json").json
        self.assertEqual([family["name"] for family in told["families"]], ["sentences", "words"])

    def test_a_model_that_chooses_nothing_is_refused(self):
        self.write_lines("kinds.jsonl", self.kinds(40))
        self.write(model=HAN, task={"kind": "classification", "train": "kinds.jsonl", "valid": "kinds.jsonl", "text": "said", "label": "kind"})
        model = self.trained("steps=2", folder="other") / "best"
        self.refused(1, f'{model}: a model of type "hierarchical_attention", which reads a document, does not select sentences of a document', "run", "summarise", model, "A cat.")

    def test_a_document_without_a_summary_is_named_by_its_line(self):
        self.write_lines("valid.jsonl", [{"said": ["A cat."], "short": []}])
        self.refused(1, f'{self.folder}/valid.jsonl, line 1: "short": expected one summary or more, found an array of 0', "train", self.recipe,
                     f"data={self.folder}", "-o", self.folder / "bad")
