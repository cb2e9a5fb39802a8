"""Vocabularies learned from the command line, and used by the commands that read tokenizers."""

import json
import signal
import struct
import subprocess

from support import BINARY, HANGS, Case, environment, run

TEXT = "low low low lower newest newest wide\n"


class Vocabulary(Case):
    def setUp(self):
        super().setUp()
        self.text = self.folder / "text.txt"
        self.text.write_text(TEXT, encoding="utf-8")
        self.out = self.folder / "learned"

    def tokens(self, text):
        return self.ok("tokens", self.out, text, "--json").json["tokens"]

    def test_byte_pairs_are_learned_and_read_again(self):
        told = self.ok("vocabulary", "bpe", self.text, "--size", "259", "--special", "<e>", "-o", self.out)
        self.assertEqual(told.out, f"259 tokens from 8 words (6 different), in {self.out}/tokenizer.json\n")
        self.assertEqual(self.tokens("low<e>lost"), ["low", "<e>", "lo", "s", "t"])
        again = self.ok("vocabulary", "bpe", "-", "--size", "259", "--special", "<e>", "-o", self.folder / "again", stdin=TEXT.encode())
        self.assertEqual(again.out, told.out.replace("learned", "again"))
        self.assertEqual((self.out / "tokenizer.json").read_bytes(), (self.folder / "again/tokenizer.json").read_bytes())

    def test_word_pieces_have_berts_tokens_around_a_text(self):
        self.text.write_text("hug hug hugs hugs bug\n" * 3, encoding="utf-8")
        told = self.ok("vocabulary", "wordpiece", self.text, "--size", "17", "--json", "-o", self.out).json
        self.assertEqual(told, {"tokens": 17, "words": 15, "different_words": 3, "file": f"{self.out}/tokenizer.json"})
        self.assertEqual(self.tokens("Hugs!"), ["[CLS]", "hugs", "[UNK]", "[SEP]"])

    def test_a_text_with_too_few_pairs_says_so(self):
        done = run("vocabulary", "bpe", self.text, "--size", "4000", "-o", self.out)
        self.assertEqual((done.code, done.errors), (0, "the vocabulary has 265 of 4,000 tokens: no other pair of adjacent tokens occurs at least 2 times in the text\n"))

    def test_invalid_sizes_texts_and_paths_are_refused(self):
        room = "a vocabulary of 100 tokens has no room for its 0 special tokens and 256 single bytes; expected a size of 256 or more"
        self.refused(1, room, "vocabulary", "bpe", self.text, "--size", "100", "-o", self.out)
        self.text.write_text("", encoding="utf-8")
        self.refused(1, "the texts contain no words to train a vocabulary on", "vocabulary", "bpe", self.text, "-o", self.out)
        self.refused(1, f"{self.folder}/none: cannot be read: No such file or directory", "vocabulary", "bpe", self.folder / "none", "-o", self.out)
        self.refused(1, f"{self.text}: cannot be created: Not a directory", "vocabulary", "bpe", self.text, "-o", self.text)
        self.refused(2, "kind: unigram not in {bpe,wordpiece} (clearhead vocabulary --help says more)", "vocabulary", "unigram", self.text, "-o", self.out)
        self.assertFalse((self.out / "tokenizer.json").exists())


class Recipes(Case):
    MODEL = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
    }

    def setUp(self):
        super().setUp()
        self.data = self.folder / "text.txt"
        # Words of the held-out half do not occur in the training half, so a vocabulary that was learned from both would contain them.
        self.data.write_text("low lower lowest new newer newest\n" * 40 + "zigzag zigzag zigzag zigzag zigzag\n" * 40, encoding="utf-8")
        self.recipe = self.folder / "small.json"
        self.write({"bpe": 270})

    def write(self, tokenizer, steps=4):
        self.recipe.write_text(json.dumps({
            "data": str(self.folder), "files": ["text.txt"], "held_out": 0.5, "tokenizer": tokenizer, "model": self.MODEL, "batch": 2, "length": 16,
            "steps": steps, "report": 2, "validate": 2, "checkpoint": 2,
        }), encoding="utf-8")

    def stopped(self, *arguments):
        """Trains until the first report and stops with a checkpoint. Returns the checkpoint's metadata."""
        process = subprocess.Popen([BINARY, "train", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 130, errors)
        data = (self.folder / "run/checkpoint.safetensors").read_bytes()
        return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]

    def vocabulary(self, out):
        return json.loads((self.folder / out / "best/tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]

    def test_a_recipe_learns_its_vocabulary_from_the_training_part(self):
        self.assertEqual(run("train", self.recipe, "-o", self.folder / "run").code, 0)
        vocabulary = self.vocabulary("run")
        self.assertIn("Ġlower", vocabulary)
        self.assertFalse([token for token in vocabulary if "zi" in token])
        self.write({"wordpiece": 40})
        self.assertEqual(run("train", self.recipe, "-o", self.folder / "pieces").code, 0)
        self.assertIn("lower", self.vocabulary("pieces"))

    def test_a_run_goes_on_with_the_vocabulary_it_began_with(self):
        self.write({"bpe": 270}, steps=1_000_000)
        began = self.stopped(self.recipe, "-o", self.folder / "run")
        self.data.write_text(self.data.read_text(encoding="utf-8").replace("lower", "lover"), encoding="utf-8")
        went_on = self.stopped("--resume", self.folder / "run", "--data-changed")
        self.assertGreater(int(went_on["step"]), int(began["step"]))
        self.assertIn("Ġlower", went_on["tokenizer"])
        self.assertEqual(went_on["tokenizer"], began["tokenizer"])

    def test_invalid_tokenizer_settings_are_refused(self):
        where = self.recipe
        self.write({"bpe": 100})
        self.refused(1, f'{where}: "tokenizer.bpe": expected an integer of 256 or more, found 100', "train", where)
        self.write({"unigram": 100})
        self.refused(1, f'{where}: field "tokenizer.wordpiece" is missing', "train", where)
        self.write({"bpe": 400, "wordpiece": 400})
        self.refused(1, f'{where}: field "tokenizer.wordpiece" is not understood; remove it, or use a version of clearhead that knows it', "train", where)
