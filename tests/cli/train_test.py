"""Training from the command line: a run that is killed and resumed gives the same bits, and its model works like any other."""

import json
import math
import os
import random
import signal
import struct
import subprocess
import time

from support import BINARY, DOUBLE, HANGS, Case, environment, read_safetensors, run

MODEL = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
}


MARIAN = {
    "architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": 290, "d_model": 32, "max_position_embeddings": 64,
    "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64,
    "activation_function": "relu", "scale_embedding": True, "is_encoder_decoder": True, "eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1,
}


class TrainingCase(Case):
    """Has a text and a small recipe for it, and trains with that recipe."""

    def setUp(self):
        super().setUp()
        (self.folder / "text.txt").write_text("".join(f"line {i}: {i * i} {'abc' * (i % 5)}\n" for i in range(400)), encoding="utf-8")
        self.recipe = self.folder / "small.json"
        self.write()

    def write(self, **fields):
        recipe = {
            "files": ["text.txt"], "data_source": "The text is made by the test.", "held_out": 0.1, "model": MODEL, "batch": 4, "length": 32, "steps": 60,
            "accumulate": 2, "schedule": {"kind": "cosine", "learning_rate": 0.01, "warmup": 5}, "report": 7, "validate": 20, "checkpoint": 3,
        } | fields
        self.recipe.write_text(json.dumps({name: value for name, value in recipe.items() if value is not None}), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / out)

    def start(self, *arguments):
        return subprocess.Popen([BINARY, "train", *arguments], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())

    def stopped(self, process, by):
        """Sends a signal after the first report and returns the text on stderr."""
        process.stdout.readline()
        process.send_signal(by)
        _, errors = process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 130, errors)
        return errors.decode()


class RunEdgeCases(TrainingCase):
    """Two runs in the same folder, changed data, signals, and sizes that no machine has."""

    def test_a_folder_belongs_to_one_process_at_a_time(self):
        self.write(steps=100000)
        first = self.start(self.recipe, f"data={self.folder}", "-o", "run")
        first.stdout.readline()
        for _ in range(100):  # waits for the first checkpoint
            if (self.folder / "run/checkpoint.safetensors").exists():
                break
            time.sleep(0.05)
        second = run("train", "--resume", self.folder / "run")
        self.assertEqual(second.code, 1)
        self.assertRegex(second.errors, rf"/run: is in use by process {first.pid} on \S+, since \d{{4}}-.* UTC; wait for it, or give another folder\n$")
        first.kill()
        first.communicate(timeout=HANGS)
        third = self.start("--resume", self.folder / "run")
        self.assertRegex(self.stopped(third, signal.SIGHUP), r"stopped after step \d+; to continue")
        self.assertFalse((self.folder / "run/lock").exists())

    def test_a_resume_over_other_data_is_refused_unless_it_is_asked_for(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        self.assertEqual(self.train("short", "steps=5").code, 0)
        text = self.folder / "text.txt"
        text.write_text(text.read_text(encoding="utf-8").replace("line 7:", "line X:"), encoding="utf-8")
        self.refused(1, f"{self.folder}/short/checkpoint.safetensors: the data in {self.folder} is not what this run was training on, so the "
                        "result would differ. Restore it, give its folder with data=DIR, or continue with "
                        "--data-changed",
                     "train", "--resume", self.folder / "short")
        done = run("train", "--resume", self.folder / "short", "--data-changed")
        self.assertEqual(done.code, 0)
        self.assertIn("the data has changed since the checkpoint was written", done.errors)

    def test_a_signal_stops_a_step_between_micro_batches(self):
        self.write(steps=4, accumulate=1 << 20)
        process = self.start(self.recipe, f"data={self.folder}", "-o", "run")
        process.stderr.readline()  # the number of parameters: from here on, a signal ends the run after a checkpoint
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 130, errors.decode())
        self.assertIn("stopped after step 0; to continue", errors.decode())

    def test_a_finished_run_whose_best_model_is_gone_says_so(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        (self.folder / "run/best/model.safetensors").unlink()
        done = run("train", "--resume", self.folder / "run")
        self.assertEqual(done.code, 1)
        self.assertEqual(done.errors.splitlines()[-1], f"clearhead: {self.folder}/run/best/model.safetensors: the run has ended, and its best model is "
                         "gone; the checkpoint has the last step's weights. Train again to have it")

    def test_output_to_closed_streams_is_not_written_into_run_files(self):
        done = subprocess.run(["bash", "-c", 'exec "$@" >&- 2>&-', "bash", BINARY, "train", self.recipe, f"data={self.folder}", "-o", "run", "steps=20"],
                              cwd=self.folder, env=environment(), timeout=HANGS)
        self.assertIn(done.returncode, (0, 1))
        for path in (self.folder / "run").rglob("*"):
            if path.is_file():
                self.assertNotIn(b"tokens/s", path.read_bytes(), path)
        read_safetensors(self.folder / "run/checkpoint.safetensors")

    def test_runs_that_exceed_memory_are_refused_before_they_begin(self):
        for setting, names in (("batch=1000000000", "for a micro-batch (\"batch\" 1,000,000,000 x \"length\" 32)"),
                               ("model.intermediate_size=1000000000", "for parameters, gradients and optimiser state (\"model\")")):
            done = self.train("run", setting)
            self.assertEqual(done.code, 1)
            self.assertRegex(done.errors, r"this run takes at least \S+ \S+ for parameters")
            self.assertIn(names, done.errors)
            self.assertFalse((self.folder / "run").exists())
        self.assertIn("\"accumulate\": expected an integer from 1 to 1,048,576", self.train("run", "accumulate=1000000000").errors)

    def test_reading_a_text_takes_few_bytes_a_token(self):
        def peak(megabytes):
            (self.folder / "text.txt").write_bytes(b"some words that go on, and on.\n" * (megabytes << 15))
            process = self.start(self.recipe, f"data={self.folder}", "steps=1", "-o", f"run{megabytes}")
            process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            process.stderr.close()
            process.stdout.close()
            self.assertEqual(process.returncode, 0)
            return used.ru_maxrss * 1024
        self.assertLess(peak(16) - peak(4), 8 * (12 << 20))


class Training(TrainingCase):
    def files(self, out):
        names = ["checkpoint.safetensors", "best/model.safetensors", "best/config.json", "log.csv"]
        names += sorted(str(path.relative_to(self.folder / out)) for path in (self.folder / out).glob("watch/*.trace"))
        return {name: (self.folder / out / name).read_bytes() for name in names}

    def test_a_model_learns_and_other_commands_take_it(self):
        done = self.train("run", "--json")
        self.assertEqual(done.code, 0, done.errors)
        reports = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual([r["step"] for r in reports], [7, 14, 20, 21, 28, 35, 40, 42, 49, 56, 60])
        self.assertGreater(reports[0]["loss"], 4.5)
        self.assertLess(reports[-1]["loss"], 2.2)
        self.assertLess(reports[-1]["bits_per_byte"], 3.2)
        self.assertEqual(self.ok("show", self.folder / "run/best", "line 7: 49", "--head", "L0.H0", "--json").json["tokens"], 10)
        names = read_safetensors(self.folder / "run/best/model.safetensors")
        self.assertEqual(names["model.layers.1.self_attn.k_proj.weight"][0], [16, 32])
        self.assertEqual(names["model.embed_tokens.weight"][0], [256, 32])

    def test_killed_anywhere_it_goes_on_bit_for_bit(self):
        self.write(steps=900, report=70, validate=200, dropout=0.1, attention_dropout=0.1, ema_decay=0.99, watch={"texts": ["line 7: 49", "line 8: 64 abc"]},
                   repeat={"probability": 0.5, "shortest": 4, "longest": 10})
        began = time.monotonic()
        self.assertEqual(self.train("whole").code, 0)
        seconds = time.monotonic() - began
        seed = random.Random(11)
        command = [BINARY, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "killed"]
        kills = 0
        for _ in range(40):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
            try:
                process.wait(timeout=seconds * (0.05 + seed.random() * 0.3))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
            if process.returncode == 0:
                break
            if (self.folder / "killed/checkpoint.safetensors").exists():
                command = [BINARY, "train", "--resume", self.folder / "killed"]
        else:
            self.fail("the run did not finish")
        self.assertGreater(kills, 0)
        whole, killed = self.files("whole"), self.files("killed")
        self.assertEqual(list(killed), list(whole))
        self.assertEqual(sum("watch/" in name for name in whole), 40)
        for name, data in whole.items():
            self.assertEqual(killed[name], data, name)

    def test_a_run_starts_from_a_trained_model(self):
        self.assertEqual(self.train("first").code, 0)
        self.write(model=None, **{"from": str(self.folder / "first/best")})
        done = self.train("second", "--json", "steps=20", "ema_decay=0.9")
        self.assertEqual(done.code, 0, done.errors)
        first = [json.loads(line) for line in done.out.splitlines()][0]
        self.assertLess(first["loss"], 2.2)  # a new model's first loss is above 4.5
        for name in ("config.json", "tokenizer.json"):
            self.assertEqual((self.folder / "second/best" / name).read_bytes(), (self.folder / "first/best" / name).read_bytes(), name)
        (self.folder / "first").rename(self.folder / "elsewhere")  # a checkpoint contains everything that it needs
        again = run("train", "--resume", self.folder / "second")
        self.assertEqual(again.code, 0, again.errors)
        self.assertIn("first/best", self.train("third").errors)
        self.write(**{"from": str(self.folder / "elsewhere/best")}, model=MODEL | {"hidden_size": 64})
        wrong = self.train("fourth")
        self.assertEqual(wrong.code, 1)
        self.assertIn('"model.embed_tokens.weight" has the shape [256, 32], but the recipe\'s "model.embed_tokens.weight" has [256, 64]', wrong.errors)
        self.assertFalse((self.folder / "fourth").exists())

    def test_batches_are_shown_before_anything_is_trained(self):
        self.write(tokenizer="bytes", repeat={"probability": 1, "shortest": 8, "longest": 8, "random": 1})
        shown = self.ok("train", self.recipe, f"data={self.folder}", "--batches", "2", "--json").out.splitlines()
        self.assertEqual(len(shown), 2)
        part = json.loads(shown[1])
        self.assertEqual([len(row) for row in part["ids"]], [32] * 4)
        for ids, targets in zip(part["ids"], part["targets"], strict=True):
            self.assertIn(targets.count(-100), (8, 9))  # random tokens count only the second time
            self.assertEqual(len(targets), len(ids))
            self.assertTrue(all(target in (-100, after) for target, after in zip(targets, ids[1:])))
        self.write(tokenizer="bytes")
        told = self.ok("train", self.recipe, f"data={self.folder}", "--batches", "1").out.splitlines()
        self.assertEqual(told[0], "batch 0: 4 sequences of at most 32 tokens, 128 targets")
        self.assertIn("⏎line ", told[1] + told[2])
        self.assertFalse((self.folder / "runs").exists())

    def test_dropout_ema_repeats_and_bf16_saving_take_effect(self):
        losses = {}
        for name, settings in {"plain": [], "dropped": ["dropout=0.3"], "averaged": ["ema_decay=0.98"], "repeated": ["repeat.probability=1"], "narrow": ['save="bf16"']}.items():
            done = self.train(name, "--json", *settings)
            self.assertEqual(done.code, 0, done.errors)
            losses[name] = [json.loads(line) for line in done.out.splitlines()]
        for changed in ("dropped", "repeated"):
            self.assertNotEqual(losses[changed][0]["loss"], losses["plain"][0]["loss"], changed)
        self.assertEqual(losses["averaged"][-1]["loss"], losses["plain"][-1]["loss"])  # training is the same,
        self.assertNotEqual(losses["averaged"][-1]["validation_loss"], losses["plain"][-1]["validation_loss"])  # but validation uses the average
        plain, narrow = (read_safetensors(self.folder / name / "best/model.safetensors") for name in ("plain", "narrow"))
        for name, (shape, values) in plain.items():
            self.assertEqual(narrow[name][0], shape)
            widened = [struct.unpack("<f", struct.pack("<I", bits << 16))[0] for bits in narrow[name][1]]
            self.assertTrue(all(abs(a - b) <= abs(a) / 256 for a, b in zip(values, widened, strict=True)), name)
        self.assertLess((self.folder / "narrow/best/model.safetensors").stat().st_size, 0.6 * (self.folder / "plain/best/model.safetensors").stat().st_size)

    def test_dropout_is_the_recipes_or_the_models_own(self):
        def first_loss(name, *settings):
            done = self.train(name, "--json", "steps=7", *settings)
            self.assertEqual(done.code, 0, done.errors)
            return json.loads(done.out.splitlines()[0])["loss"]
        plain, recipes = first_loss("plain", "model.attention_dropout=0"), first_loss("recipes", "attention_dropout=0.3")
        self.assertNotEqual(recipes, plain)
        self.assertEqual(first_loss("models", "model.attention_dropout=0.3"), recipes)
        self.assertEqual(first_loss("agreed", "model.attention_dropout=0.3", "attention_dropout=0.3"), recipes)
        self.assertEqual(first_loss("residual", "model.dropout=0.2"), first_loss("residual of the recipe", "dropout=0.2"))
        for settings, said in {
            ("model.attention_dropout=0.1", "attention_dropout=0.2"):
                "\"attention_dropout\" is 0.2 and \"model.attention_dropout\" is 0.1; both set the same dropout rate: give only one of them, or equal values",
            ("model.dropout=0.1", "model.hidden_dropout_prob=0"):
                "\"model.dropout\" is 0.1 and \"model.hidden_dropout_prob\" is 0; both set the same dropout rate: give only one of them, or equal values",
            ("model.activation_dropout=0.1",): "\"model.activation_dropout\" is 0.1, but training does not support it; set it to 0",
            ("attention_dropout=1",): "\"attention_dropout\": expected a number from 0 to 0.9, found 1",
            ("files=5",): "\"files\": expected an array, found 5",
            ("files=[1]",): "\"files\": expected an array of strings, found 1",
        }.items():
            self.refused(1, f"{self.recipe}: {said}", "train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / "other")
        self.assertFalse((self.folder / "other").exists())
        recipe = json.loads(self.recipe.read_text(encoding="utf-8")) | {"from": str(self.folder / "models/best")}  # its config says 0.3
        self.recipe.write_text(json.dumps({name: value for name, value in recipe.items() if name not in ("model", "tokenizer")}), encoding="utf-8")
        theirs = first_loss("theirs")
        self.assertEqual(first_loss("said again", "attention_dropout=0.3"), theirs)
        self.assertNotEqual(first_loss("mine", "attention_dropout=0"), theirs)

    def test_an_encoder_decoder_learns_from_pairs(self):
        lines = [f"{'abcdef'[i % 6]} {'ghijk'[i * 7 % 5]}\t{'GHIJK'[i * 7 % 5]} {'ABCDEF'[i % 6]}\n" for i in range(300)]
        (self.folder / "train.tsv").write_text("".join(lines), encoding="utf-8")
        (self.folder / "valid.tsv").write_text("".join(lines[::10]), encoding="utf-8")
        recipe = {
            "pairs": {"train": "train.tsv", "valid": "valid.tsv"}, "tokenizer": {"bpe": 290}, "model": MARIAN, "max_tokens": 200, "length": 20, "steps": 400,
            "generation": {"num_beams": 2, "length_penalty": 0.5, "eos_token_id": 0}, "smoothing": 0.1, "dropout": 0.05, "optimiser": {"beta2": 0.98}, "schedule": {"kind": "noam", "learning_rate": 0.01, "warmup": 30}, "report": 50, "validate": 50,
        }
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        done = self.train("run", "--json")
        self.assertEqual(done.code, 0, done.errors)
        reports = [json.loads(line) for line in done.out.splitlines()]
        self.assertGreater(reports[0]["validation_loss"], 1.0)
        self.assertLess(reports[-1]["validation_loss"], 0.2)
        self.assertNotIn("bits_per_byte", reports[-1])
        self.assertEqual(read_safetensors(self.folder / "run/best/model.safetensors")["model.decoder.layers.0.encoder_attn.k_proj.weight"][0], [32, 32])
        where = self.recipe
        (self.folder / "test.tsv").write_text("".join(lines[:30]), encoding="utf-8")
        measured = self.ok("train", where, f"data={self.folder}", "pairs.test=test.tsv", "--test", self.folder / "run/best", "--json").json
        self.assertEqual((measured["pairs"], measured["beams"], measured["length_penalty"]), (30, 2, 0.5))
        by_characters = self.ok("train", where, f"data={self.folder}", "pairs.test=test.tsv", "pairs.bleu=char", "--test", self.folder / "run/best", "--json").json
        self.assertEqual([made["signature"].split("|")[3] for made in (measured, by_characters)], ["tok:13a", "tok:char"])
        translated = self.ok("run", "translate", self.folder / "run/best", "a g\nb h").out.splitlines()
        self.assertEqual(translated, ["G A", "H B"])
        self.refused(1, f"{where}: \"pairs\" has no \"test\" file; --test needs one", "train", where, f"data={self.folder}", "--test", self.folder / "run/best")
        (self.folder / "valid.tsv").write_text("no tab\n", encoding="utf-8")
        self.refused(1, f"{self.folder}/valid.tsv, line 1: expected 2 columns separated by tabs (source 1, target 2), found \"no tab\"", "train", where, f"data={self.folder}",
                     "-o", self.folder / "other")
        self.write(model=MARIAN)
        self.refused(1, f"{where}: a model of type \"marian\" reads a pair; \"files\" is for models that read a text. Expected \"pairs\"", "train", where,
                     f"data={self.folder}", "-o", self.folder / "other")

    def test_ctrl_c_saves_and_says_how_to_go_on(self):
        self.write(steps=100000)
        process = self.start(self.recipe, f"data={self.folder}", "-o", "a run")
        self.assertRegex(self.stopped(process, signal.SIGINT), r"stopped after step \d+; to continue: clearhead train --resume 'a run'\n$")
        self.assertTrue((self.folder / "a run/checkpoint.safetensors").exists())

    def test_a_loss_or_gradient_that_is_not_finite_names_the_step_and_the_op(self):
        done = self.train("run", "schedule.learning_rate=100", "optimiser.weight_decay=10", "schedule.warmup=0", "steps=100")
        self.assertEqual(done.code, 1)
        self.assertRegex(done.errors.splitlines()[-1], r"^clearhead: step \d+: the (loss is not finite; op \d+ \(\w+\) gave|"
                                                        r"gradient of \"[\w.]+\" is not finite .*; the backward pass of op \d+ \(\w+\) gave)")

    def test_a_model_is_measured_on_the_test_split(self):
        self.assertEqual(self.train("run").code, 0)
        text = (self.folder / "text.txt").read_text(encoding="utf-8")
        cut, end = text.index("line 350:"), len(text.encode())
        self.write(held_out=None)
        (self.folder / "splits.tsv").write_text("file\nx\ttext.txt\n", encoding="utf-8")
        self.refused(1, f"{self.folder}/splits.tsv, line 2: expected a file name and six byte positions, separated by tabs, found \"x\\ttext.txt\"", "train", self.recipe,
                     f"data={self.folder}", "splits=splits.tsv", "--test", self.folder / "run/best")
        (self.folder / "splits.tsv").write_text(f"file\ntext.txt\t0\t100\t100\t{cut}\t{cut}\t{end}\n", encoding="utf-8")
        measured = self.ok("train", self.recipe, f"data={self.folder}", "splits=splits.tsv", "--test",
                           self.rotary_model(), "--json").json
        part = self.folder / "part.txt"
        part.write_text(text[cut:], encoding="utf-8")
        scored = self.ok("run", "score", self.rotary_model(), "--file", part, "--json").json
        self.assertAlmostEqual(measured["bits_per_byte"], scored["bits_per_byte"], delta=DOUBLE)
        self.assertEqual(measured["tokens"], len(text) - cut)
        self.refused(1, f"{self.recipe}: \"splits\" leaves no test data", "train", self.recipe, f"data={self.folder}", "--test", self.folder / "run/best")

    def test_a_test_text_longer_than_the_model_is_read_in_windows_that_overlap_by_half(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        text = (self.folder / "text.txt").read_text(encoding="utf-8")
        cut, model = len(text) - 200, self.folder / "run/best"
        self.write(held_out=None)
        (self.folder / "splits.tsv").write_text(f"file\ntext.txt\t0\t100\t100\t{cut}\t{cut}\t{len(text)}\n", encoding="utf-8")
        command = ("train", self.recipe, f"data={self.folder}", "splits=splits.tsv", "--test", model)
        self.assertIn("longer texts were read in windows of 64 tokens that overlap by half", self.ok(*command).out)
        measured, rest = self.ok(*command, "--json").json, text[cut:]  # a token is a byte
        nats, known = 0, 1  # known: bytes that are given or whose probability was counted
        for begin in range(0, 200, 32):
            part = self.folder / "part.txt"
            part.write_text(rest[begin : begin + 65], encoding="utf-8")
            each = self.ok("run", "score", model, "--file", part, "--json").json["log_probabilities"]
            nats -= sum(each[known - begin - 1 :])
            known = begin + 1 + len(each)
            if known == 200:
                break
        self.assertEqual((known, measured["window"], measured["tokens"]), (200, 64, 200))
        self.assertAlmostEqual(measured["bits_per_byte"], nats / math.log(2) / 199, delta=1e-5)

    def rotary_model(self):
        """The trained model with longer texts allowed: rotary positions have no limit."""
        config = self.folder / "run/best/config.json"
        config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"max_position_embeddings": 100000}), encoding="utf-8")
        return self.folder / "run/best"

    def test_invalid_recipes_and_options_are_refused_with_advice(self):
        where = self.recipe
        self.assertEqual(self.train("run", "steps=3").code, 0)
        self.refused(1, f"{self.folder}/run already contains a run; continue it with --resume, or give another folder", "train", where,
                     f"data={self.folder}", "-o", self.folder / "run")
        self.refused(1, f"{where}: field \"lenght\" is not understood; remove it, or use a version of clearhead that knows it", "train", where, "lenght=3")
        self.refused(1, "nowhere/text.txt: there is no such file; give the folder that holds it with data=DIR. The text is made by the test.", "train",
                     where, "data=nowhere", "-o", self.folder / "other")
        self.refused(1, "\"steps\": expected key=value", "train", where, "steps")
        self.refused(1, f"{where}: \"length\" is 100, but the model supports 64 positions; reduce \"length\"", "train", where, f"data={self.folder}", "length=100", "-o",
                     self.folder / "other")
        self.refused(1, f"{where}: \"schedule.kind\": expected constant, linear, cosine or noam, found \"steps\"", "train", where, "schedule.kind=steps")
        self.refused(1, f"{where}: field \"optimiser.beta1\" is not understood; remove it, or use a version of clearhead that knows it", "train", where,
                     "optimiser.kind=sgd", "optimiser.beta1=0.5")
        self.refused(1, f"{where}: \"optimiser.kind\": expected adamw, adam or sgd, found \"lion\"", "train", where, "optimiser.kind=lion")
        names = ["model.embed_tokens", *(f"model.layers.*.{name}" for name in (
            "input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
            "mlp.up_proj", "mlp.down_proj")), "model.norm"]
        self.refused(1, "optimiser: no parameter has \"q_porj\" as its first matching group; the names are " +
                     ", ".join(f"{name}.weight" for name in names), "train", where, f"data={self.folder}", "optimiser.groups=[{\"match\": \"q_porj\"}]", "-o",
                     self.folder / "other")
        self.refused(2, "--resume uses the run's own recipe; settings and --watch are for a new run, except data=DIR for a data folder that was moved", "train", "--resume", self.folder / "run", "steps=9")
        self.assertFalse((self.folder / "other").exists())
