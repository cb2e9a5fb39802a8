"""run translate: lines to lines with an encoder-decoder with random weights; batches, beams and files agree."""

import json
import random
import shutil

from support import ROW_PLACES, Case, run, write_safetensors

WIDTH, INNER, VOCABULARY = 16, 24, 256


def write_translator(folder, known):
    """Writes a Marian over bytes with two layers in each stack; its texts end with a line break. `known`: a model whose tokenizer is used."""
    chance = random.Random(5)
    tensors = {}

    def matrix(name, out, inner, scale=1.0):
        tensors[f"{name}.weight"] = ("F32", [out, inner], [chance.gauss(0, scale / inner**0.5) for _ in range(out * inner)])

    def linear(name, out, inner):
        matrix(name, out, inner)
        tensors[f"{name}.bias"] = ("F32", [out], [chance.gauss(0, 0.1) for _ in range(out)])

    def norm(name):
        tensors[f"{name}.weight"] = ("F32", [WIDTH], [chance.gauss(1, 0.1) for _ in range(WIDTH)])
        tensors[f"{name}.bias"] = ("F32", [WIDTH], [chance.gauss(0, 0.1) for _ in range(WIDTH)])

    matrix("model.shared", VOCABULARY, WIDTH, 4)
    matrix("lm_head", VOCABULARY, WIDTH, 0.7)
    for side in ("encoder", "decoder"):
        for layer in range(2):
            at = f"model.{side}.layers.{layer}"
            for attention in ("self_attn", *(["encoder_attn"] if side == "decoder" else [])):
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    linear(f"{at}.{attention}.{part}", WIDTH, WIDTH)
                norm(f"{at}.{attention}_layer_norm")
            linear(f"{at}.fc1", INNER, WIDTH)
            linear(f"{at}.fc2", WIDTH, INNER)
            norm(f"{at}.final_layer_norm")
    tensors["final_logits_bias"] = ("F32", [1, VOCABULARY], [0.8 if i == 10 else 0.0 for i in range(VOCABULARY)])
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", tensors)
    config = {
        "model_type": "marian", "architectures": ["MarianMTModel"], "is_encoder_decoder": True, "d_model": WIDTH, "vocab_size": VOCABULARY,
        "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": INNER,
        "decoder_ffn_dim": INNER, "max_position_embeddings": 64, "activation_function": "relu", "scale_embedding": False,
        "tie_word_embeddings": False, "decoder_start_token_id": 0, "eos_token_id": 10, "pad_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(known / "tokenizer.json", folder / "tokenizer.json")
    return folder


LINES = ["a cat sat", "", "on the mat, and so on", "Bäume", "a cat sat"]


class Translate(Case):
    def setUp(self):
        super().setUp()
        self.model = write_translator(self.folder / "translator", self.causal)
        self.file = self.folder / "lines.txt"
        self.file.write_text("\n".join(LINES) + "\n")

    def test_each_line_gives_one_line_equal_to_its_translation_alone(self):
        together = self.ok("run", "translate", self.model, "--file", self.file, "--max-tokens", 12, "--json").json["translations"]
        self.assertEqual([made["source"] for made in together], LINES)
        self.assertEqual(together[1]["text"], "")
        self.assertEqual(together[0], together[4])
        self.assertEqual({made["stopped"] for made in together if made["source"]}, {"stop_token", "max_tokens"})
        for made in together:
            self.assertLessEqual(len(made["tokens"]), 12)
            self.assertEqual(len(made["tokens"]), len(made["probabilities"]))
            if made["source"]:
                alone = self.ok("run", "translate", self.model, made["source"], "--max-tokens", 12, "--json").json["translations"][0]
                self.assertEqual(alone["tokens"], made["tokens"])
        plain = self.ok("run", "translate", self.model, "-", "--max-tokens", 12, stdin="\n".join(LINES).encode()).out
        self.assertEqual(plain, "".join(made["text"].rstrip("\r\n").replace("\n", " ").replace("\r", " ") + "\n" for made in together))

    def test_beams_and_penalty_come_from_the_files_unless_given(self):
        one = ("run", "translate", self.model, LINES[2], "--json", "--max-tokens", 20)
        greedy = self.ok(*one, "--beams", 1).json
        wide = self.ok(*one, "--beams", 6, "--length-penalty", 1.5).json
        self.assertNotEqual(greedy, wide)
        (self.model / "generation_config.json").write_text('{"num_beams": 6, "length_penalty": 1.5, "eos_token_id": 10}')
        self.assertEqual(self.ok(*one).json, wide)
        self.assertEqual(self.ok(*one, "--beams", 1, "--length-penalty", 1).json, greedy)
        other = ("run", "translate", self.model, LINES[0], "--json", "--max-tokens", 20, "--beams", 1)
        first = self.ok(*other).json["translations"][0]["tokens"][0]
        self.assertNotEqual(first, 10)
        (self.model / "generation_config.json").write_text(f'{{"bad_words_ids": [[{first}]], "eos_token_id": 10}}')
        self.assertNotIn(first, self.ok(*other).json["translations"][0]["tokens"])
        # transformers does not ban the end token if it is alone.
        (self.model / "generation_config.json").write_text('{"bad_words_ids": [[10]], "eos_token_id": 10}')
        self.assertEqual(self.ok(*one, "--beams", 1).json, greedy)

    def test_a_file_that_asks_for_absurd_beams_is_refused_at_once(self):
        for found in ("1000000", "1e300", "0", "-3", "2.5", '"four"', "[4]"):
            (self.model / "generation_config.json").write_text(f'{{"num_beams": {found}}}')
            refused = run("run", "translate", self.model, LINES[0])
            self.assertEqual((refused.code, refused.out), (1, ""), found)
            self.assertRegex(refused.errors, r'^clearhead: \S+generation_config\.json: "num_beams": expected a (whole )?number(, 1 to 1000)?, found \S.*\n$')

    def test_a_trace_has_cross_attention_and_alignments_name_source_words(self):
        trace = self.folder / "t.trace"
        text = "a cat sat"  # for other texts the model stops at once
        done = run("run", "translate", self.model, text, "--max-tokens", 9, "--json", "--align", "--head", "L1.H1", "--trace", trace)
        self.assertEqual((done.code, done.errors), (0, ""))
        (made,) = done.json["translations"]
        source, target = len(text), len(made["tokens"]) + 1
        about = self.ok("info", trace, "--json").json
        self.assertEqual([family["name"] for family in about["families"]], ["cross", "dec", "enc"])
        self.assertEqual(about["tokens"], source + target)
        for family, queries, keys in (("cross", [source, source + target], [0, source]), ("dec", *[[source, source + target]] * 2), ("enc", *[[0, source]] * 2)):
            shown = self.ok("show", trace, "--family", family, "--head", "L1.H1", "--json").json
            self.assertEqual((shown["queries"], shown["keys"]), (queries, keys))
            self.assertEqual((len(shown["cells"]), len(shown["cells"][0])), (queries[1] - queries[0], keys[1] - keys[0]))
            for row in shown["cells"]:
                self.assertAlmostEqual(sum(weight or 0 for weight in row), 1, places=ROW_PLACES)
        words = {pair["source"] for pair in made["alignment"]}
        self.assertTrue(words and words <= set(text.split()), words)
        mass = self.ok("ask", trace, "--from", "seg:target", "--to", "seg:source", "--json").json
        self.assertEqual(len(mass["heads"]), 4)
        for head in mass["heads"]:
            self.assertAlmostEqual(head["mass"], 1, places=ROW_PLACES)
        drawn = self.ok("run", "translate", self.model, text, "--max-tokens", 9, "--align").out
        self.assertIn("cross-attention, layer 1, mean of 2 heads", drawn)
        page = self.folder / "t.html"
        self.ok("view", trace, "--html", page)
        self.assertIn('"kind":"cross"', page.read_text().replace('": "', '":"'))

    def test_a_line_without_words_has_no_trace(self):
        trace = self.folder / "none.trace"
        done = run("run", "translate", self.model, "\n", "--trace", trace)
        self.assertEqual((done.code, done.out, done.errors), (0, "\n", f"{trace}: no trace was written, because the model generated nothing\n"))
        self.assertFalse(trace.exists())

    def test_edits_change_the_translation_and_the_trace(self):
        one = ("run", "translate", self.model, "a cat", "--max-tokens", 9, "--json")
        whole = self.ok(*one).json["translations"][0]
        for edit in (("--knock-out", "cross.L0.H0"), ("--knock-out", "enc.L1.H1"), ("--cut", "0:9/1:3@cross.L1"), ("--keep-only", "0:9/0@dec")):
            self.assertNotEqual(self.ok(*one, *edit).json["translations"][0]["score"], whole["score"], edit)
        trace = self.folder / "edited.trace"
        self.ok(*one, "--cut", "1/2:4@cross.L1.H0", "--trace", trace)
        cells = self.ok("show", trace, "--family", "cross", "--head", "L1.H0", "--json").json["cells"]
        self.assertEqual([[not weight for weight in row] for row in cells], [[row == 1 and key in (2, 3) for key in range(5)] for row in range(len(cells))])
        self.refused(1, 'an ablated head names no family; a model of type "marian" has the attention families enc, dec and cross', *one, "--knock-out", "L0.H0")
        self.refused(2, '--knock-out: expected a head like L3.H5, found "L0"', *one, "--knock-out", "cross.L0")
        self.refused(2, '--cut: expected @L3, @L3.H5 or @cross.L3.H5, found "@cross.x"', *one, "--cut", "1/2@cross.x")

    def test_show_of_a_single_text_equals_the_trace_of_its_translation(self):
        written = self.ok("run", "translate", self.model, "a cat", "--json").json["translations"][0]["text"]
        shown = run("show", self.model, "a cat", "--family", "cross", "--head", "L1.H0")
        self.assertIn("written: ", shown.errors)
        trace = self.folder / "one.trace"
        self.ok("run", "translate", self.model, "a cat", "--trace", trace, "--json")
        again = self.ok("show", trace, "--family", "cross", "--head", "L1.H0")
        self.assertEqual(shown.out, again.out, written)
        self.refused(1, f"{self.model} is an encoder-decoder, for which --pair is not supported",
                     "show", self.model, "a cat", "--pair", "a dog")  # fmt: skip
        self.refused(1, "the text has 70 tokens, but the model supports 64 positions; use --truncate", "show", self.model, "b" * 70)
        self.assertIn("truncated: 6 of 70 tokens were removed (--truncate)", run("show", self.model, "b" * 70, "--truncate").errors)

    def test_info_knows_both_stacks(self):
        told = self.ok("info", self.model, "--json").json
        self.assertEqual((told["encoder_layers"], told["layers"], told["tasks"]), (2, 2, ["translate"]))
        self.assertIn("2 encoder layers, 2 layers × 2 heads", self.ok("info", self.model).out)

    def test_a_line_that_is_too_long_leaves_the_others(self):
        text, says = "a\n" + "b" * 70 + "\n\nc d", "line 2 has 70 tokens, but this model supports 64 positions. Give it one sentence per line."
        alone = [self.ok("run", "translate", self.model, line).out.strip("\n") for line in ("a", "c d")]
        done = run("run", "translate", self.model, text)
        self.assertEqual((done.code, done.errors), (1, f"{says}\nclearhead: 1 of 4 lines has no translation\n"))
        self.assertEqual(done.out.split("\n"), [alone[0], "", "", alone[1], ""])
        done = run("run", "translate", self.model, text, "--json")
        self.assertEqual(done.code, 1)
        self.assertEqual([item.get("text") for item in done.json["translations"]], [alone[0], None, "", alone[1]])
        self.assertEqual(done.json["translations"][1], {"source": "b" * 70, "error": says})

    def test_unsupported_inputs_and_options_are_refused(self):
        self.refused(1, "line 1 has 70 tokens, but this model supports 64 positions. Give it one sentence per line.",
                     "run", "translate", self.model, "b" * 70)  # fmt: skip
        self.refused(1, f'{self.causal}: a model of type "clearhead-attention" reads no source; expected an encoder-decoder',
                     "run", "translate", self.causal, "a")  # fmt: skip
        self.refused(2, "--trace stores the attention for a single line, but 2 lines were given", "run", "translate", self.model, "a\nb", "--trace", self.folder / "t.trace")
        self.refused(2, "give a text, --file, or - for standard input", "run", "translate", self.model)
