"""Errors are reported in one line that says what is wrong, where, and what to do. Exit codes: 1 if something could not be done, 2 for wrong usage."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from answers_test import GOLDENS, VOCABULARY
from support import BINARY, HANGS, Case, await_handler, environment, read_safetensors, run, write_safetensors

NUMBERS = ("F32", [1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])


class Limits(Case):
    def test_a_file_over_the_ulimit_is_reported_and_leaves_nothing(self):
        out = self.folder / "kept.trace"
        done = subprocess.run(["bash", "-c", 'ulimit -f 4; "$@"', "bash", str(BINARY), "trace", str(self.causal), "abcdef" * 60, "-o", str(out)],
                              capture_output=True, text=True, env=environment(), timeout=HANGS)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{out}: cannot be written: File too large; nothing was changed", done.stderr)
        self.assertEqual(list(self.folder.glob("kept*")), [])


    def test_pipes_devices_and_oversized_files_are_refused_at_once(self):
        for name, made, says in (("config.json", lambda p: os.mkfifo(p), "expected a regular file, found a pipe"),
                                 ("config.json", lambda p: p.symlink_to("/dev/zero"), "expected a regular file, found a device"),
                                 ("tokenizer.json", lambda p: os.mkfifo(p), "expected a regular file, found a pipe"),
                                 ("model.safetensors", lambda p: os.mkfifo(p), "expected a regular file, found a pipe")):
            model = self.folder / "odd"
            shutil.rmtree(model, ignore_errors=True)
            shutil.copytree(self.causal, model)
            (model / name).unlink()
            made(model / name)
            done = run("show", model, "abc")
            self.assertEqual(done.code, 1)
            self.assertIn(f"{model / name}: {says}", done.errors)
        with open(self.folder / "large.json", "w") as large:
            large.truncate(80 << 20)
        self.refused(1, f"{self.folder / 'large.json'}: has 80.0 MiB; expected a file of at most 64.0 MiB", "train",
                     self.folder / "large.json")


class ControlCharacters(Case):
    def test_control_sequences_in_names_are_escaped(self):
        hostile = "\x1b]52;c;YWJj\x07\x7f\x9b2J"
        parts = self.folder / "parts.json"
        parts.write_text(json.dumps([{"name": hostile, "role": "part", "begin": 0, "end": 3}]))
        trace = self.folder / (hostile + ".trace")
        self.ok("trace", self.causal, "abcdef", "--segments", parts, "-o", trace)
        for arguments in (("info", trace), ("show", trace), ("show", trace, "--query", "5", "--by", "segment"), ("show", hostile, "abc"),
                          ("info", trace, "--json")):
            done = run(*arguments)
            for sign in "\x1b\x07\x7f\x9b":
                self.assertNotIn(sign, done.out + done.errors, arguments)
        self.assertIn("\\x1b]52;c;YWJj\\x07\\x7f\\u009b2J", run("show", hostile, "abc").errors)
        json.loads(run("info", trace, "--json").out)


class Usage(Case):
    def test_without_a_command_the_help_is_shown(self):
        done = run()
        self.assertEqual((done.code, done.out), (2, ""))
        self.assertIn("Examples:", done.errors)

    def test_unknown_commands_and_options_suggest_the_nearest_name(self):
        self.refused(2, 'clearhead has no command "shwo"; nearest: "show" (clearhead --help says more)', "shwo", "model", "text")
        self.refused(2, 'clearhead show has no option "--quary"; nearest: "--query" (clearhead show --help says more)', "show", "m", "t", "--quary", "1")
        self.refused(2, 'clearhead run has no command "embd"; nearest: "embed" (clearhead run --help says more)', "run", "embd", "m", "t")
        self.refused(2, 'clearhead info did not expect "b" (clearhead info --help says more)', "info", "a", "b")

    def test_missing_and_conflicting_arguments_are_named(self):
        self.refused(2, "model is required (clearhead show --help says more)", "show")
        self.refused(2, "--to is required (clearhead ask --help says more)", "ask", self.causal, "abc", "--from", "a")
        self.refused(2, "a model needs a text: give one, or --file, or - for standard input", "show", self.causal)
        self.refused(2, "give the text or --file, not both", "show", self.causal, "abc", "--file", self.text)
        self.refused(2, "--overlap is the number of tokens that neighbouring windows share: add --window", "show", self.causal, "abc", "--overlap", "2")
        self.refused(2, "give a text, --file, or - for standard input", "run", "embed", self.both)

    def test_values_outside_their_range_are_named(self):
        model, text = self.causal, "abcdef"
        self.refused(2, '--head: expected a head like L3.H5, found "x"', "show", model, text, "--head", "x")
        self.refused(2, "L0.H7: layer 0 has heads 0 to 1", "show", model, text, "--head", "L0.H7")
        self.refused(2, "layer 9: this model's layers are 0 to 1", "show", model, text, "--head", "L9.H0")
        self.refused(2, "layer 9: this model's layers are 0 to 1", "show", model, text, "--layer", "9")
        self.refused(2, "--head and --layer name different layers", "show", model, text, "--head", "L0.H0", "--layer", "1")
        self.refused(2, "--family enc: this model's maps are dec", "show", model, text, "--family", "enc")
        self.refused(2, "--layers names layer 7; this model's layers are 0 to 1", "trace", model, text, "--layers", "0,7", "-o", "x")
        self.refused(2, '--rows: expected a token number or a range BEGIN:END, found "9:3"', "trace", model, text, "--rows", "9:3", "-o", "x")
        self.refused(2, '--budget: expected a size like 512M or 4G, found "lots"', "trace", model, text, "--budget", "lots", "-o", "x")
        self.refused(2, 'span "#6" is out of range: the text has 6 tokens, counted from 0', "show", model, text, "--query", "6")
        says = 'span "z" does not occur in the text; expected a piece of the text, a token range such as #12:20, or seg:NAME for a segment'
        self.refused(2, says, "ask", model, text, "--from", "z", "--to", "a")
        self.refused(2, 'span "seg:doc": there is no segment of that name; name segments with --segments FILE', "ask", model, text, "--from", "a", "--to", "seg:doc")
        self.refused(2, '--top: expected a whole number, 1 to 1,000,000,000, found "0" (clearhead show --help says more)', "show", model, text, "--top", "0")
        self.refused(2, '--threads: expected a whole number, 1 to 1,024, found "100000" (clearhead show --help says more)', "show", model, text, "--threads", "100000")
        self.refused(2, '--temperature: expected a number above 0, found "0" (clearhead run generate --help says more)', "run", "generate", model, text, "--temperature", "0")
        self.refused(2, '--top-p: expected a number above 0 and up to 1, found "2" (clearhead run generate --help says more)', "run", "generate", model, text, "--top-p", "2")
        self.refused(2, '--page-size: expected a size like 20MB or 1GiB, found "lots"', "view", model, text, "--html", "x", "--page-size", "lots")
        self.refused(2, "--page-size applies to --html and --site: add --html FILE or --site FOLDER", "view", model, text, "--page-size", "20MB")
        self.refused(2, "--with-model applies to --html and --site: add --html FILE or --site FOLDER", "view", model, text, "--with-model")
        self.refused(2, "--window reads the whole text and --truncate shortens it: give only one of them", "show", model, text, "--window", "3", "--truncate")
        self.refused(2, "--by segment needs named parts of the text: --segments FILE, or --pair; or a model that reads in segments with a memory", "show", model, text, "--query", "1", "--by", "segment")
        self.refused(2, "--sort nothing: expected strength or the name of a score (clearhead atlas --definitions lists them)", "atlas", model, text, "--sort", "nothing")

    def test_a_trace_refuses_options_that_affect_a_run(self):
        kept = self.folder / "kept.trace"
        self.ok("trace", self.causal, "abc", "-o", kept)
        self.refused(2, "a trace already has its text; give a model to read another one", "show", kept, "abc")
        self.refused(2, "--window affects a run, but a trace is not run again: give a model and a text", "show", kept, "--window", "8")
        self.refused(2, "--precision affects a run, but a trace is not run again: give a model and a text", "show", kept, "--precision", "bf16")
        another = "expected another trace, because a trace already has its text; to read a new text, give a model"
        self.refused(2, f'"abc": {another}', "view", kept, "abc")
        self.refused(2, f'"abc": {another}', "view", kept, kept, "abc")
        self.refused(2, "--budget affects a run, but a trace is not run again: give a model and a text", "view", kept, kept, "--budget", "2M")
        self.refused(2, f'"{kept}": unexpected argument; a model reads one text, and only trace files can be shown side by side', "view", self.causal, "abc", kept)


class Models(Case):
    def setUp(self):
        super().setUp()
        self.model = self.copy_of(self.causal)

    def fails(self, message):
        self.refused(1, message, "show", "model", "abc", folder=self.folder, HOME="/nowhere", XDG_CACHE_HOME="", HF_HOME="/hub")

    def change(self, name, f):
        path = self.model / name
        path.write_bytes(f(path.read_bytes()))

    def config(self, **changes):
        path = self.model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_a_model_that_is_not_there_names_the_places_searched(self):
        shutil.rmtree(self.model)
        self.fails(
            'model "model" was not found; searched model, models/model, /nowhere/.cache/clearhead/models/model, '
            "/hub/hub/models--model/snapshots/main. Models are not downloaded automatically; run `hf download model` to get it from the Hub"
        )

    def test_missing_files_are_named(self):
        (self.model / "tokenizer.json").unlink()
        self.fails("model: no tokenizer here; expected tokenizer.json, or vocab.txt, or vocab.json with merges.txt")
        (self.model / "model.safetensors").unlink()
        self.fails("model: expected model.safetensors or model.safetensors.index.json in this directory, found neither")
        (self.model / "config.json").unlink()
        self.fails("model: this directory has no config.json; expected a model directory")

    def test_garbled_configurations_name_the_byte_or_the_field(self):
        self.change("config.json", lambda data: data[:20])
        self.fails("model/config.json: not valid JSON at byte 21: invalid string: missing closing quote")
        self.change("config.json", lambda data: b"[" * 100)
        self.fails("model/config.json: JSON is nested deeper than 64 levels")
        self.change("config.json", lambda data: b"\xff\xfe")
        self.fails("model/config.json: not valid JSON at byte 1: invalid literal")

    def test_configurations_that_cannot_be_honoured_are_refused_by_name(self):
        self.config(model_type="mamba")
        done = run("show", "model", "abc", folder=self.folder, HOME="/nowhere", XDG_CACHE_HOME="", HF_HOME="/hub")
        self.assertEqual(done.code, 1)
        self.assertRegex(done.errors, '^clearhead: model/config.json: "model_type": "mamba" is not supported; expected one of: bert, (.*, )?llama, .*, '
                                      'hierarchical_attention, (.*, )?vision_transformer\n$')
        self.config(model_type="clearhead-attention", num_attention_heads="two")
        self.fails('model/config.json: "num_attention_heads": expected an integer, found "two"')
        self.config(num_attention_heads=2, attn_logit_softcapping=50)
        self.fails('model/config.json: field "attn_logit_softcapping" (50) is not known for models of type "clearhead-attention" and may change what the model computes; remove it if it does not, or use a version of clearhead that knows it')

    def test_rope_scalings_that_are_not_known_are_refused_by_name(self):
        self.config(**json.loads((GOLDENS / "llama/linear/config.json").read_text()) | {"rope_scaling": {"type": "yarn", "factor": 2.0}})
        self.fails('model/config.json: "rope_scaling": rope type "yarn" is not supported; expected default, linear or llama3 (model: llama)')

    def test_pickled_weights_are_refused_with_the_line_that_converts_them(self):
        (self.model / "model.safetensors").rename(self.model / "pytorch_model.bin")
        done = run("show", "model", "abc", folder=self.folder)
        self.assertEqual((done.code, done.out), (1, ""))
        opening = "clearhead: model: contains pytorch_model.bin, but pickles are not supported. Convert it once: python3 -c \"import glob, sys, torch; "
        self.assertTrue(done.errors.startswith(opening), done.errors)
        self.assertTrue(done.errors.endswith(", d + '/model.safetensors', {'format': 'pt'})\" 'model'\n"), done.errors)

    def test_a_shard_that_is_not_there_is_named(self):
        shutil.copytree(GOLDENS / "gpt2/sharded", self.folder / "sharded")
        shutil.rmtree(self.model)
        (self.folder / "sharded").rename(self.model)
        (self.model / "model-00002-of-00003.safetensors").unlink()
        self.fails("model/model.safetensors.index.json: names the shard model-00002-of-00003.safetensors, which does not exist. The download is probably incomplete.")

    def test_a_tokenizer_of_another_model_is_noticed(self):
        tokenizer = (self.model / "tokenizer.json").read_bytes()
        shutil.rmtree(self.model)
        shutil.copytree(GOLDENS / "llama/gqa", self.model)
        (self.model / "tokenizer.json").write_bytes(tokenizer)
        self.fails("run: token id 97 is outside the model's vocabulary of 67 tokens; does the tokenizer belong to another model?")

    def test_truncated_weights_say_where_the_file_ends(self):
        self.change("model.safetensors", lambda data: data[:-10])
        self.fails('model/model.safetensors: tensor "lm_head.weight": the header gives bytes 359664..474352, but the file ends at 474342. The download is probably incomplete.')
        self.change("model.safetensors", lambda data: data[:100])
        self.fails("model/model.safetensors: the header ends at byte 1248, but the file ends at 100. The download is probably incomplete.")
        self.change("model.safetensors", lambda data: data[:3])
        self.fails("model/model.safetensors: a safetensors file begins with the header length in 8 bytes, but this file has only 3 bytes. The download is probably incomplete.")

    def test_oversized_weights_say_how_far_the_file_goes(self):
        self.change("model.safetensors", lambda data: data + b"more")
        self.fails("model/model.safetensors: the last tensor ends at byte 474352, but the file ends at 474356. The header does not describe the bytes in between.")

    def test_garbled_weights_are_refused(self):
        self.change("model.safetensors", lambda data: b"PK\x03\x04" * 100)
        self.fails("model/model.safetensors: the header length is 289157608118635344 bytes, but at most 100000000 are allowed. This is probably not a safetensors file.")
        self.change("model.safetensors", lambda data: struct.pack("<Q", 16) + b"not json at all!")
        self.fails("model/model.safetensors: expected the header to begin with { at byte 8. This is probably not a safetensors file.")

    def test_weights_that_do_not_fit_the_configuration_are_named(self):
        self.config(hidden_size=96)
        self.fails('model/model.safetensors: tensor "embed_tokens.weight": config.json asks for [256, 96], found [256, 112]')

    def test_a_nan_weight_is_refused_with_its_tensors_name(self):
        def poison(data):
            (size,) = struct.unpack("<Q", data[:8])
            header = json.loads(data[8 : 8 + size])
            at = 8 + size + header[self.poisoned]["data_offsets"][0] + 4 * 3
            return data[:at] + struct.pack("<f", float("nan")) + data[at + 4 :]

        (size,) = struct.unpack("<Q", (self.model / "model.safetensors").read_bytes()[:8])
        header = json.loads((self.model / "model.safetensors").read_bytes()[8 : 8 + size])
        self.poisoned = sorted(name for name in header if name != "__metadata__")[0]
        self.change("model.safetensors", poison)
        self.fails(f'model/model.safetensors: tensor "{self.poisoned}": element 3 is NaN or infinite; the file is damaged, or training diverged')

    def test_garbled_tokenizers_are_named(self):
        self.change("tokenizer.json", lambda data: data[: len(data) // 2])
        self.fails("model/tokenizer.json: not valid JSON at byte 1300: unexpected end of input; expected ':'")
        self.change("tokenizer.json", lambda data: b'{"model": {"type": "Unigram2"}}')
        self.fails('model/tokenizer.json: field "model.vocab" is missing')
        (self.model / "tokenizer_config.json").unlink(missing_ok=True)
        (self.model / "special_tokens_map.json").write_text("[1]")
        self.fails("model/special_tokens_map.json: expected an object, found an array of 1")
        (self.model / "special_tokens_map.json").write_text('{"clean_up_tokenization_spaces": ')
        self.fails("model/special_tokens_map.json: not valid JSON at byte 34: unexpected end of input; expected '[', '{', or a literal")

    def test_sizes_that_no_model_has_are_named_with_their_value(self):
        self.config(hidden_size=1 << 30)
        self.fails("model/config.json: the sizes are inconsistent: the hidden size: expected 1 to 1048576, found 1073741824 (model: clearhead-attention)")

    def test_a_file_in_place_of_a_model_is_named(self):
        (self.folder / "book.txt").write_text("Once upon a time.")
        self.refused(1, "book.txt: is not a trace; to read it as a text, give a model and --file book.txt", "show", "book.txt", folder=self.folder)
        self.refused(1, "book.txt: expected a model's directory (config.json, model.safetensors …), found a file", "run", "embed", "book.txt", "text", folder=self.folder)


class Texts(Case):
    def long_model(self):
        model = self.copy_of(GOLDENS / "bert/mlm")
        (model / "vocab.txt").write_text("\n".join(VOCABULARY + ["w0", "w1", "w2", "w3"]) + "\n")
        return "model"

    def test_an_empty_text_is_refused(self):
        message = "the text is empty; pass a text, or --file, or - for standard input"
        self.refused(1, message, "show", self.causal, "")
        self.refused(1, message, "atlas", self.causal, "-", stdin=b"")
        (self.folder / "empty.txt").write_text("")
        self.refused(1, message, "trace", self.causal, "--file", self.folder / "empty.txt", "-o", self.folder / "x")
        self.refused(1, "the prompt has no tokens: there is nothing to continue", "run", "generate", self.causal, "")

    def test_invalid_utf8_of_an_argument_is_shown_as_replaced(self):
        shown = self.ok("show", self.both, b"a\xff\xfeb", "--head", "L0.H1")
        self.assertIn("\ufffd", shown.out)
        kept = self.folder / "kept.trace"
        self.ok("trace", self.both, b"a\xff\xfeb", "-o", kept)
        self.ok("show", kept, "--head", "L0.H1")
        told = self.ok("tokens", self.both, b"a\xff\xfeb", "--json").json
        self.assertEqual((told["offsets"][0], told["offsets"][-1]), ([0, 1], [3, 4]))

    def test_a_text_over_the_position_limit_names_the_ways_out(self):
        model = self.long_model()
        self.refused(
            1,
            "the text has 27 tokens, but the model supports 20 positions; use --window 20, --truncate, or a model with more positions",
            "show", model, "a b c d e " * 5, folder=self.folder,
        )
        cut = run("show", model, "a b c d e " * 5, "--truncate", "--json", "--head", "L0.H0", folder=self.folder)
        self.assertEqual((cut.code, cut.errors), (0, "truncated: 7 of 27 tokens were removed (--truncate)\n"))
        self.assertEqual(cut.json["tokens"], 20)
        slid = run("show", model, "a b c d e " * 5, "--window", "20", "--json", "--head", "L0.H0", folder=self.folder)
        self.assertEqual((slid.code, slid.json["tokens"]), (0, 27))
        self.refused(1, "--window 30 is longer than this model's 20 positions", "show", model, "a b c d e " * 9, "--window", "30", folder=self.folder)
        self.refused(
            1,
            "--window 3 with --overlap 1 leaves no new token per window; the model adds 2 special tokens to each",
            "show", model, "a b c d e", "--window", "3", "--overlap", "1", folder=self.folder,
        )

    def test_a_task_whose_text_is_too_long_says_so(self):
        message = "the text has 27 tokens, but the model supports 20 positions; shorten the text, or use a model with more positions"
        model, text = self.long_model(), "a b c d e " * 5
        self.refused(1, message, "run", "fill", model, "[MASK] " + text[2:], folder=self.folder)
        shutil.rmtree(self.folder / model)
        classifier = self.copy_of(GOLDENS / "bert/classify")
        (classifier / "vocab.txt").write_text("\n".join(VOCABULARY + ["w0", "w1", "w2", "w3"]) + "\n")
        self.refused(1, message, "run", "classify", model, text, folder=self.folder)

    def test_tasks_a_model_cannot_do_are_named(self):
        self.refused(1, "causal: the model has no masked language modelling head to fill masks with", "run", "fill", "causal", "a", folder=self.shelf)
        self.refused(1, "causal: the model has no sequence classification head", "run", "classify", "causal", "a", folder=self.shelf)
        self.refused(1, 'bidirectional: a model of type "clearhead-attention" without a causal head cannot generate text', "run", "generate", "bidirectional", "a", folder=self.shelf)
        model = self.long_model()
        self.refused(1, "fill: the text has no [MASK]; write it where a word is missing", "run", "fill", model, "a b", folder=self.folder)

    def test_a_file_that_cannot_be_read_is_named(self):
        self.refused(1, "missing.txt: cannot be read: No such file or directory", "show", self.causal, "--file", "missing.txt", folder=self.folder)
        self.refused(1, ".: cannot be read: Is a directory", "show", self.causal, "--file", ".", folder=self.folder)

    def test_segments_that_do_not_fit_are_named(self):
        parts = self.folder / "parts.json"
        for written, message in (
            ("{", "parts.json: not valid JSON at byte 2: unexpected end of input; expected string literal"),
            ("{}", "parts.json: expected an array of segments, found an object"),
            ('[{"name": "x", "begin": 0}]', 'parts.json: field "segments[0].end" is missing'),
            ('[{"name": "x", "begin": 0, "end": 99}]', 'segments: "x" covers bytes [0, 99), but the text has 3 bytes'),
            ('[{"name": "x", "begin": 0, "end": 1, "colour": 1}]', 'parts.json: field "segments[0].colour" is not understood; remove it, or use a version of clearhead that knows it'),
        ):
            parts.write_text(written)
            self.refused(1, message, "show", self.causal, "abc", "--segments", "parts.json", folder=self.folder)
            kept = self.folder / "kept.trace"
            self.ok("trace", self.causal, "abc", "-o", kept)
            self.refused(1, message, "show", kept, "--segments", "parts.json", folder=self.folder)

    def test_a_trace_over_its_budget_is_refused_before_it_runs(self):
        self.refused(1, "trace: keys, statistics and selected rows of 1,200 tokens need 1.4 MiB, but the budget is 1.0 KiB; use --budget to allow more, or --layers to keep fewer layers", "trace", self.causal, "--file", self.text, "--budget", "1K", "-o", self.folder / "x")
        self.assertFalse((self.folder / "x").exists())


class Traces(Case):
    def setUp(self):
        super().setUp()
        self.kept = self.folder / "kept.trace"
        self.ok("trace", self.causal, "abcabc", "-o", self.kept)

    def fails(self, message):
        self.refused(1, message, "show", "kept.trace", folder=self.folder)

    def test_traces_that_are_cut_or_grown_are_refused(self):
        whole = self.kept.read_bytes()
        size = len(whole)  # not constant: the header contains the name of the instruction set
        self.kept.write_bytes(whole[:-4])
        self.fails(f'kept.trace: tensor "text": the header gives bytes {size - 6}..{size}, but the file ends at {size - 4}. The download is probably incomplete.')
        self.kept.write_bytes(whole + b"x")
        self.fails(f"kept.trace: the last tensor ends at byte {size}, but the file ends at {size + 1}. The header does not describe the bytes in between.")
        self.kept.write_bytes(b"")
        self.fails("kept.trace: a safetensors file begins with the header length in 8 bytes, but this file has only 0 bytes. The download is probably incomplete.")

    def test_a_safetensors_file_that_is_no_trace_is_named(self):
        write_safetensors(self.kept, {"x": NUMBERS})
        self.fails('kept.trace: is a safetensors file but not a trace: its metadata has no "clearhead_trace"')

    def test_rows_that_were_not_kept_are_named_with_the_way_to_keep_them(self):
        told = self.ok("trace", self.causal, "--file", self.text, "--budget", "1500K", "-o", self.kept, "--json").json
        self.assertEqual((told["tokens"], told["rows"]), (1200, 1024))
        message = "the query vectors of tokens #3:5 were not all kept; trace again with --rows 3:5, or with a larger --budget"
        self.refused(1, message, "ask", self.kept, "--from", "#3:5", "--to", "#0:2")
        message = "map: the query vector of token 3 was not kept; trace again with --rows 3:4, or with a larger --budget"
        self.refused(1, message, "show", self.kept, "--query", "3", "--head", "L0.H0")
        drawn = run("show", self.kept, "--head", "L0.H0")
        said = "query vectors kept: 1,024 of 1,200 tokens; for other rows, trace again with --rows BEGIN:END or a larger --budget\n"
        self.assertEqual((drawn.code, drawn.errors), (0, said))

    def test_windows_over_the_budget_are_refused_before_they_run(self):
        message = ("trace: keys and queries of 100 windows of 16 tokens need 822.9 KiB, but the budget is 1.0 KiB; use --budget to allow more, "
                   "--layers to keep fewer layers, or --truncate")
        self.refused(1, message, "trace", self.both, "--file", self.text, "--window", "16", "--budget", "1K", "-o", self.folder / "x")

    def test_attention_between_spans_that_share_no_window_is_refused(self):
        message = "no window contains both #0:1 and #50:51, so these pairs were never scored; use a longer --window"
        done = run("ask", self.both, "abcdefgh" * 8, "--window", "24", "--from", "#0", "--to", "#50")
        self.assertEqual((done.code, done.errors.splitlines()[-1], done.out), (1, f"clearhead: {message}", ""))

    def test_a_trace_of_another_version_is_named(self):
        write_safetensors(self.kept, {"x": NUMBERS}, {"clearhead_trace": "9"})
        self.fails('kept.trace: trace version "9"; this version of clearhead reads version 1')

    def test_a_field_of_another_kind_is_named_with_its_path(self):
        data = self.kept.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        whole = header["__metadata__"]["plan"]
        for name, value, says in (("families", 5, '"plan.families": expected an array, found 5'),
                                  ("segments", "x", '"plan.segments": expected an array, found "x"'),
                                  ("generated", {}, '"plan.generated": expected an array, found an object')):
            header["__metadata__"]["plan"] = json.dumps(json.loads(whole) | {name: value})
            text = json.dumps(header).encode()
            text += b" " * (-len(text) % 8)
            self.kept.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
            self.fails(f"kept.trace: {says}")

    def test_gradients_that_do_not_fit_are_refused(self):
        self.assertEqual(run("trace", self.causal, "abcabc", "--gradients", "-o", self.kept).code, 0)
        data = self.kept.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        for change, says in (
            (lambda header: header["__metadata__"].pop("gradients_of"), 'dec.0.values: metadata "gradients_of", which names the number that was differentiated, is missing'),
            (lambda header: header["dec.0.frame0.d_out"]["shape"].reverse(), "they do not fit its q and k"),
            (lambda header: header["dec.1.values"]["shape"].reverse(), "they do not fit its q and k"),
            (lambda header: header["dec.1.frame0.d_out"].update(dtype="I32"), 'tensor "dec.1.frame0.d_out": expected f32 of rank 4'),
        ):
            header = json.loads(data[8 : 8 + size])
            change(header)
            text = json.dumps(header).encode()
            text += b" " * (-len(text) % 8)
            self.kept.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
            done = run("show", "kept.trace", folder=self.folder)
            self.assertEqual(done.code, 1)
            self.assertIn(says, done.errors)

    def test_missing_trace_metadata_is_named(self):
        write_safetensors(self.kept, {"x": NUMBERS}, {"clearhead_trace": "1"})
        self.fails('kept.trace: metadata "plan" is missing')


class AttendInput(Case):
    def fails(self, message, *more):
        self.refused(1, message, "attend", "in.safetensors", "-o", "out.safetensors", *more, folder=self.folder)
        self.assertFalse((self.folder / "out.safetensors").exists())

    def given(self, **tensors):
        write_safetensors(self.folder / "in.safetensors", tensors)

    def test_wrong_tensors_are_named_with_their_shapes(self):
        self.fails("in.safetensors: cannot be read: No such file or directory")
        self.given(q=NUMBERS, k=NUMBERS)
        self.fails('in.safetensors: has no tensor "v"; attend needs q [batch, head, query, d_k], k and v')
        self.given(q=("F32", [2, 2], [1.0] * 4), k=NUMBERS, v=NUMBERS)
        self.fails("attend: q: expected [batch, head, query, d_k], found [2, 2]")
        self.given(q=NUMBERS, k=("F32", [1, 1, 2, 1], [1.0, 2.0]), v=NUMBERS)
        self.fails("attend: d_k of k is 1, but of q it is 2; they must be equal")
        self.given(q=("F32", [1, 3, 2, 2], [1.0] * 12), k=("F32", [1, 2, 2, 2], [1.0] * 8), v=("F32", [1, 2, 2, 2], [1.0] * 8))
        self.fails("attention: 3 query heads cannot share 2 key heads evenly; query heads must be a multiple of key heads")
        self.given(q=("I32", [1, 1, 2, 2], [1] * 4), k=NUMBERS, v=NUMBERS)
        self.fails("in.safetensors: tensor \"q\" is i32; expected f32, bf16 or f16")

    def test_gradients_need_d_out_in_the_shape_of_out(self):
        self.given(q=NUMBERS, k=NUMBERS, v=NUMBERS)
        self.fails('in.safetensors: has no tensor "d_out"; --gradients needs d_out [batch, head, query, d_v], the gradient of a loss with respect to out', "--gradients")
        self.given(q=NUMBERS, k=NUMBERS, v=NUMBERS, d_out=("F32", [1, 1, 1, 2], [1.0, 2.0]))
        self.fails("attend: d_out: expected f32 [1, 1, 2, 2], found f32 [1, 1, 1, 2]", "--gradients")

    def test_wrong_descriptions_are_named_by_their_path(self):
        self.given(q=NUMBERS, k=NUMBERS, v=NUMBERS, slopes=("F32", [3], [1.0] * 3))
        spec = self.folder / "spec.json"
        for written, message in (
            ("", "spec.json: not valid JSON: it is empty"),
            ("[]", "spec.json: the document: expected an object, found an array of 0"),
            ('{"terms": [{"talking_heads": {}}]}', 'spec.json: "terms[0].talking_heads" is not understood; this version knows alibi, attention_bias, edge_bias, soft_cap, rule'),
            ('{"terms": [{"alibi": {"slopes": "slope"}}]}', 'in.safetensors: no tensor "slope" among 4; nearest: "slopes"'),
            ('{"terms": [{"alibi": {"slopes": "slopes"}}]}', 'attention: operand "slopes": expected f32 [head] = [1], found f32 [3]'),
            ('{"terms": [{"soft_cap": {"cap": -1}}]}', 'spec.json: "terms[0].soft_cap.cap": expected a positive number, found -1'),
            ('{"topology": {"band": {"dilation": 2}}}', 'spec.json: field "topology.band.dilation" is not understood; remove it, or use a version of clearhead that knows it'),
            ('{"topology": {"band": {"back": -1}}}', 'spec.json: "topology.band.back": expected a count of keys, 0 or more, or null for no limit, found -1'),
        ):
            spec.write_text(written)
            self.fails(message, "--spec", "spec.json")

    def test_an_unknown_backend_is_wrong_usage(self):
        self.refused(2, "--backend: gpu not in {ref,cpu} (clearhead attend --help says more)", "attend", "x", "-o", "y", "--backend", "gpu")

    def test_nan_among_the_numbers_stays_visible(self):
        self.given(q=NUMBERS, k=("F32", [1, 1, 2, 2], [1.0, float("nan"), 3.0, 4.0]), v=NUMBERS)
        self.ok("attend", "in.safetensors", "-o", "out.safetensors", folder=self.folder)
        out = read_safetensors(self.folder / "out.safetensors")["out"][1]
        self.assertEqual([value != value for value in out], [True] * 4)


class Output(Case):
    def attend(self, to, n=2, *more):
        values = [0.5] * n
        write_safetensors(self.folder / "in.safetensors", {name: ("F32", [1, 1, n, 1], values) for name in "qkv"})
        return ("attend", "in.safetensors", "-o", to, *more)

    def test_an_output_that_cannot_be_written_is_named_and_nothing_is_left(self):
        self.refused(1, "missing/out: cannot be written: No such file or directory; nothing was changed", *self.attend("missing/out"), folder=self.folder)
        (self.folder / "taken").mkdir()
        self.refused(1, "taken: cannot be written: Is a directory; nothing was changed", *self.attend("taken"), folder=self.folder)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["in.safetensors", "taken"])

    def test_a_folder_without_permission_is_named(self):
        if os.geteuid() == 0:
            self.skipTest("the superuser may write everywhere")
        locked = self.folder / "locked"
        locked.mkdir(mode=0o500)
        self.refused(1, "locked/out: cannot be written: Permission denied; nothing was changed", *self.attend("locked/out"), folder=self.folder)

    def test_a_full_disk_leaves_what_was_there(self):
        small = self.folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False).returncode:
            self.skipTest("only the superuser can make a small disk")
        try:
            (small / "out").write_text("before")
            self.refused(
                1, "small/out: cannot be written: No space left on device; nothing was changed", *self.attend("small/out", 400, "--weights"), folder=self.folder
            )
            self.assertEqual([(path.name, path.read_text()) for path in small.iterdir()], [("out", "before")])
        finally:
            subprocess.run(["umount", small], check=False)

    def test_a_failed_write_to_a_device_keeps_the_device(self):
        self.refused(1, "/dev/full: cannot be written: No space left on device; some bytes may have been written", *self.attend("/dev/full"), folder=self.folder)
        self.assertTrue(Path("/dev/full").is_char_device())

    def test_unwritable_outputs_are_refused_before_the_model_is_loaded(self):
        message = "missing/x: cannot be written: No such file or directory; nothing was changed"
        self.refused(1, message, "trace", "nomodel", "abc", "-o", "missing/x", folder=self.folder)
        self.refused(1, message, "view", "nomodel", "abc", "--html", "missing/x", folder=self.folder)
        self.refused(1, message, "run", "generate", self.causal, "abc", "--trace", "missing/x", folder=self.folder)

    def test_a_full_standard_output_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "tokens", self.causal, "abc", "--json"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False)
        self.assertEqual((done.returncode, done.stderr), (1, b"clearhead: standard output cannot be written: No space left on device\n"))

    def test_a_closed_output_pipe_does_not_crash(self):
        process = subprocess.Popen([BINARY, "tokens", self.causal, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdout.close()
        process.stdin.write(b"abc\n" * 10000)
        process.stdin.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertIn(process.wait(), (-signal.SIGPIPE, 1))

    def test_a_port_in_use_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.refused(1, f"view: port {port} of 127.0.0.1 is in use or not allowed; choose another with --port, or leave it out for any free one", "view", self.causal, "abc", "--no-browser", "--port", port)

    def test_ctrl_c_exits_130_and_leaves_nothing_half_written(self):
        waiting = subprocess.Popen([BINARY, "tokens", self.causal, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        await_handler(waiting, signal.SIGINT)
        waiting.send_signal(signal.SIGINT)
        self.assertEqual(waiting.wait(HANGS), 130)
        waiting.stdin.close()
        waiting.stdout.close()
        # While a file is being written: waits until its temporary file appears.
        before = {"in.safetensors"}
        arguments = self.attend("out", 3000, "--weights")
        writing = subprocess.Popen([BINARY, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, env=environment())
        while writing.poll() is None and {path.name for path in self.folder.iterdir()} <= before:
            time.sleep(0.001)
        writing.send_signal(signal.SIGINT)
        code = writing.wait(HANGS)
        left = {path.name for path in self.folder.iterdir()}
        self.assertIn((code, left), [(130, before), (130, before | {"out"}), (0, before | {"out"})])
        if "out" in left:
            self.assertEqual(read_safetensors(self.folder / "out")["weights"][0], [1, 1, 3000, 3000])
