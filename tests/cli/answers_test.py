"""Every command's answer against independently known numbers: laws of the known models, a reference in plain Python, the text itself."""

import json
import math
import random
import re
import shlex
import shutil
import struct
import subprocess

from support import (
    BF16,
    BINARY,
    F32_PLACES,
    LAW_PLACES,
    ROOT,
    ROW_PLACES,
    SHARE_PLACES,
    SUM,
    Case,
    columns,
    environment,
    read_safetensors,
    run,
    write_safetensors,
)
from translate_test import write_translator

GOLDENS = ROOT / "tests/goldens"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz")]


def attention(q, k, v, causal, cap=None, sinks=None):
    """Attention over [head][query][d] lists in double, with the last query aligned to the last key. Returns (out, log_sum_exp, weights)."""
    out, lse, weights = [], [], []
    for h, rows in enumerate(q):
        keys, values = k[h * len(k) // len(q)], v[h * len(v) // len(q)]
        for i, row in enumerate(rows):
            last = i + len(keys) - len(rows) if causal else len(keys) - 1
            s = [sum(a * b for a, b in zip(row, key)) / math.sqrt(len(row)) for key in keys[: last + 1]]
            s = [cap * math.tanh(x / cap) if cap else x for x in s]
            logits = s + ([sinks[h]] if sinks else [])
            top = max(logits)
            total = sum(math.exp(x - top) for x in logits)
            p = [math.exp(x - top) / total for x in s] + [0.0] * (len(keys) - last - 1)
            weights.append(p)
            lse.append(top + math.log(total))
            out.append([sum(p[j] * values[j][c] for j in range(len(keys))) for c in range(len(values[0]))])
    return out, lse, weights


class Inspection(Case):
    def test_show_gives_each_weight_of_a_previous_token_head(self):
        shown = self.ok("show", self.causal, "abcdef", "--head", "L0.H0", "--json").json
        self.assertEqual((shown["layer"], shown["head"], shown["pool"], shown["pieces"]), (0, 0, None, list("abcdef")))
        self.assertEqual([len(row) for row in shown["cells"]], [6] * 6)
        for i, row in enumerate(shown["cells"]):
            for j, weight in enumerate(row):
                expected = None if j > i else 1 if j == i - 1 else 0
                self.assertEqual(None if weight is None else round(weight, 4), expected, (i, j))

    def test_a_layers_mean_is_the_mean_of_its_heads(self):
        cells = [self.ok("show", self.both, "abca", *which, "--json").json["cells"] for which in (("--head", "L0.H0"), ("--head", "L0.H1"), ("--layer", "0"))]
        self.assertEqual([len(row) for row in cells[2]], [4] * 4)
        for first, second, mean in zip(*cells, strict=True):
            for a, b, m in zip(first, second, mean, strict=True):
                self.assertAlmostEqual((a + b) / 2, m, places=F32_PLACES)

    def test_a_query_of_an_induction_head_finds_what_followed_the_same_two_bytes(self):
        shown = self.ok("show", self.causal, "xyabcxyQabc-xy", "--head", "L1.H0", "--query", "13", "--top", "2", "--json").json
        self.assertEqual(shown["query"], 13)
        self.assertEqual([key["key"] for key in shown["keys"]], [2, 7])
        for key in shown["keys"]:
            self.assertAlmostEqual(key["weight"], 0.5, places=LAW_PLACES)
        self.assertEqual([key["token"] for key in shown["keys"]], ["a", "Q"])

    def test_a_figure_contains_its_labels_and_the_command_that_reproduces_it(self):
        svg, tex = self.folder / "a.svg", self.folder / "a.tex"
        for options, wanted in (
            (("--head", "L0.H0"), ">key</text>"),
            (("--head", "L0.H0", "--lines"), "stroke-opacity"),
            (("--head", "L0.H0", "--query", "3"), "context"),
            (("--layer", "0"), "layer 0, mean of 2 heads"),
            (("--layer", "0", "--lines"), "layer 0, mean of 2 heads"),
            (("--layer", "0", "--query", "3"), "layer 0, mean of 2 heads"),
            ((), ">L0.H0</text>"),
        ):
            self.ok("show", self.causal, "abcdef", *options, "--svg", svg, "--figure-width", "84")
            made = svg.read_text(encoding="utf-8")
            self.assertIn('width="84mm"', made)
            self.assertIn(wanted, made)
            self.assertIn(" ".join(("clearhead show", str(self.causal), "abcdef", *options, "--svg", str(svg), "--figure-width 84")), made)
        self.ok("show", self.causal, "abcdef", "--head", "L0.H0", "--lines", "--tikz", tex)
        self.assertIn("\\begin{tikzpicture}", tex.read_text(encoding="utf-8"))
        self.refused(2, "--lines applies to a figure: add --svg FILE, --pdf FILE or --tikz FILE", "show", self.causal, "abcdef", "--head", "L0.H0", "--lines")
        self.refused(2, "a figure of what a token attends to needs a head or a layer: add --head, like --head L3.H5, or --layer for the mean of its heads", "show", self.causal, "abcdef", "--query", "3", "--svg", svg)
        self.refused(1, "TikZ cannot contain images: this figure has one of 6 × 6 cells. Write SVG or PDF, or show fewer tokens.", "show", self.causal, "abcdef", "--tikz", tex)

    def test_a_query_without_a_head_lists_the_strongest_heads_and_the_next_command(self):
        shown = self.ok("show", self.causal, "abcdab", "--query", "5")
        self.assertIn("#5 b: the heads with the largest weight on one key", shown.out)
        self.assertIn("excluding attention sinks: #0 a\n", shown.out)
        self.assertRegex(shown.out, r"L0\.H0 +100\.00 %  #4 +a   \(sinks: 0 %\)\n")
        self.assertRegex(shown.out, r"L1\.H1 +0\.00 % .*\(sinks: 100 %\)\nnext")  # it attends only to the sink: last
        self.assertRegex(shown.out, r"next: clearhead show \S+ abcdab --head L\d\.H\d --query 5\n$")

    def test_segments_share_a_querys_attention(self):
        parts = self.folder / "parts.json"
        parts.write_text(json.dumps([{"name": "one", "role": "document", "begin": 0, "end": 3}, {"name": "two", "role": "document", "begin": 3, "end": 6}]))
        shown = self.ok("show", self.causal, "abcdab", "--query", "5", "--by", "segment", "--head", "L0.H0", "--segments", parts, "--json").json
        masses = {(s["layer"], s["head"], s["segment"]): s["mass"] for s in shown["segments"]}
        self.assertAlmostEqual(masses[0, 0, "two"], 1, places=SHARE_PLACES)
        self.assertAlmostEqual(masses[0, 0, "one"], 0, places=SHARE_PLACES)
        self.assertEqual({(layer, head) for layer, head, _ in masses}, {(0, 0)})

    def test_show_without_a_head_lists_the_strongest_heads_and_the_next_command(self):
        shown = self.ok("show", self.causal, "--file", self.text)
        self.assertRegex(shown.out, r"L0\.H0 +previous \d+\.\d %, local \d+\.\d %\n")
        self.assertIn(f"next: clearhead show {self.causal} --file {self.text} --head L", shown.out)

    def test_the_next_command_works_as_it_is_printed(self):
        shown = self.ok("show", self.causal, "it's a$HOME; x")
        typed = shown.out[shown.out.index("next: clearhead ") + len("next: clearhead ") :]
        again = subprocess.run(["bash", "-c", f"{BINARY} {typed}"], capture_output=True, text=True, env=environment(), check=False)
        self.assertEqual((again.returncode, again.stderr), (0, ""))
        self.assertIn(" · 14 tokens · exact", again.stdout)

    def test_standard_input_is_a_text(self):
        typed = self.ok("show", self.causal, "-", "--head", "L0.H0", "--json", stdin=b"abcdef").json
        read = self.ok("show", self.causal, "--file", "-", "--head", "L0.H0", "--json", stdin=b"abcdef").json
        given = self.ok("show", self.causal, "abcdef", "--head", "L0.H0", "--json").json
        self.assertEqual(typed, given)
        self.assertEqual(read, given)

    def test_ask_finds_the_head_that_copies_the_needle(self):
        at = self.known["answer"][0]
        asked = self.ok("ask", self.causal, "--file", self.text, "--from", f"#{self.known['question'][1] - 1}", "--to", f"#{at}", "--json").json
        self.assertEqual((asked["heads"][0]["layer"], asked["heads"][0]["head"]), (1, 0))
        self.assertAlmostEqual(asked["heads"][0]["mass"], 1, places=LAW_PLACES)
        self.assertLess(asked["heads"][1]["mass"], 0.01)
        first = asked["heads"][0]
        self.assertAlmostEqual(first["chance"], 1 / self.known["question"][1], places=F32_PLACES)  # a causal row sees itself and all tokens before it
        self.assertAlmostEqual(first["ratio"], first["mass"] / first["chance"], places=LAW_PLACES)

    def test_ask_takes_spans_as_text_and_as_segments(self):
        parts = self.folder / "parts.json"
        parts.write_text(json.dumps([{"name": "start", "role": "", "begin": 0, "end": 3}]))
        asked = self.ok("ask", self.causal, "abcdef", "--from", "bcd", "--to", "seg:start", "--segments", parts)
        self.assertIn('from #1:4 "bcd" to #0:3 "abc"', asked.out)
        self.assertRegex(asked.out, r"\n  L0\.H0 +100\.00 %")
        self.assertIn("1.1 × chance (91.67 %)", asked.out)  # queries 1 to 3 see 2, 3 and 4 keys, of which 2, 3 and 3 are in the span
        by_name = self.ok("ask", self.causal, "abcdef", "--from", "bcd", "--to", "start", "--segments", parts)
        self.assertEqual(by_name.out, asked.out)

    def test_the_atlas_names_the_planted_heads(self):
        heads = {h["name"]: h for h in self.ok("atlas", self.causal, "--file", self.text, "--json").json["heads"]}
        self.assertEqual((heads["L0.H0"]["kind"], heads["L1.H0"]["kind"]), ("previous", "induction"))
        self.assertGreater(heads["L0.H0"]["previous"], 0.99)
        self.assertGreater(heads["L1.H0"]["induction"], 0.7)  # the head matches two bytes, the score one
        by_induction = self.ok("atlas", self.causal, "--file", self.text, "--sort", "induction").out.splitlines()
        self.assertTrue(by_induction[1].startswith("L1.H0"), by_induction[1])

    def test_the_atlas_says_the_two_strongest_scores_of_every_head(self):
        heads = self.ok("atlas", self.both, "The cat sat on the mat, and then it slept.", "--json").json["heads"]
        lines = self.ok("atlas", self.both, "The cat sat on the mat, and then it slept.").out.splitlines()[1:]
        told = self.ok("show", self.both, "The cat sat on the mat, and then it slept.").out
        for head, line in zip(heads, lines, strict=True):
            self.assertEqual(len(head["strongest"]), 2)
            said = ", ".join(f"{score} {100 * head[score]:.1f} %" for score in head["strongest"])
            self.assertRegex(line, rf"^{head['name']} +{re.escape(said)} ")
            self.assertNotIn("mixed", line)
            self.assertIn(said, told)

    def test_the_atlas_defines_its_scores_without_a_model(self):
        told = self.ok("atlas", "--definitions", "--json").json["definitions"]
        self.assertEqual(len(told), 10)
        self.assertTrue(all(entry["definition"] and entry["source"] for entry in told))

    def test_a_trace_answers_as_its_model_does(self):
        kept = self.folder / "kept.trace"
        told = self.ok("trace", self.causal, "--file", self.text, "-o", kept, "--json").json
        self.assertEqual((told["tokens"], told["rows"], told["layers"], told["bytes"]), (1200, 1200, [0, 1], kept.stat().st_size))
        for question in (("show", "--head", "L1.H0", "--query", "1199"), ("show", "--head", "L0.H1"), ("atlas",)):
            live = self.ok(question[0], self.causal, "--file", self.text, *question[1:], "--json").json
            self.assertEqual(self.ok(question[0], kept, *question[1:], "--json").json, live)
        about = self.ok("info", kept, "--json").json
        family = about["families"][0]
        self.assertEqual((about["tokens"], family["name"], family["rows_kept"]), (1200, "dec", [[0, 1200]]))
        if self.ok("doctor", "--json").json["backend"] == "cpu":
            self.assertRegex(" ".join(family["drivers"]), r"^flash on avx(2|512)$")
            self.assertIn("    computed by flash on avx", self.ok("info", kept).out)

    def test_bf16_finds_the_same_keys_and_its_trace_equals_the_live_run(self):
        exact, narrow = self.folder / "exact.trace", self.folder / "narrow.trace"
        for kept, precision in ((exact, "f32"), (narrow, "bf16")):
            self.ok("trace", self.causal, "--file", self.text, "--precision", precision, "-o", kept)
        self.assertLess(narrow.stat().st_size, 0.8 * exact.stat().st_size)
        for head in ("L0.H0", "L1.H0"):
            first, second = (self.ok("show", kept, "--head", head, "--query", "1199", "--top", "1", "--json").json["keys"][0] for kept in (exact, narrow))
            self.assertEqual(first["key"], second["key"])
            self.assertAlmostEqual(first["weight"], second["weight"], delta=BF16)
        live = self.ok("show", self.causal, "--file", self.text, "--precision", "bf16", "--head", "L1.H0", "--query", "1199", "--json").json
        self.assertEqual(live, self.ok("show", narrow, "--head", "L1.H0", "--query", "1199", "--json").json)
        told = self.ok("run", "generate", self.causal, "--file", self.text, "--max-tokens", "9", "--greedy", "--precision", "bf16", "--json").json
        self.assertEqual(told["text"], self.known["answer_text"])
        self.refused(2, '--precision: f16 not in {f32,bf16} (clearhead show --help says more)', "show", self.causal, "abc", "--precision", "f16")

    def test_a_cut_pair_is_hidden_in_the_one_head_it_names(self):
        def cells(head):
            return self.ok("show", self.both, "abca", "--head", head, "--cut", "3/2@L0.H0", "--json").json["cells"]

        self.assertIsNone(cells("L0.H0")[3][2])
        self.assertIsNotNone(cells("L0.H1")[3][2])
        message = '--cut: expected QUERIES/KEYS, such as 10:20/3:5, optionally with @L3 or @L3.H5 for one layer or head, found "4:5"'
        self.refused(2, message, "show", self.both, "abca", "--cut", "4:5")

    def test_windows_map_a_long_text_and_leave_other_pairs_unscored(self):
        text = "".join(random.Random(1).choice("abcdefgh") for _ in range(60))
        done = run("show", self.both, text, "--window", "24", "--overlap", "8", "--head", "L0.H0", "--json")
        self.assertEqual((done.code, done.errors), (0, "4 windows of 24 tokens; pairs of tokens that no window contains were never scored\n"))
        cells = done.json["cells"]
        self.assertIsNone(cells[0][59])
        self.assertIsNone(cells[59][0])
        for i in range(3, 60):
            self.assertAlmostEqual(cells[i][i - 3], 1, places=LAW_PLACES)
        drawn = run("show", self.both, text[:40], "--window", "24", "--head", "L0.H0", COLUMNS="120")
        self.assertIn("╱", drawn.out)
        self.assertIn("╱ was never scored", drawn.out)

    def test_a_trace_keeps_only_the_layers_of_the_layers_option(self):
        kept = self.folder / "kept.trace"
        told = self.ok("trace", self.causal, "--file", self.text, "--layers", "1", "-o", kept, "--json").json
        self.assertEqual(told["layers"], [1])
        self.refused(1, "trace: layer 0 was not kept; trace again and include it in --layers", "show", kept, "--head", "L0.H0")

    def test_the_number_of_threads_changes_no_bit(self):
        seen = [self.ok("show", self.causal, "--file", self.text, "--head", "L1.H0", "--threads", n, "--json").out for n in (1, 2)]
        self.assertEqual(seen[0], seen[1])


class Drawing(Case):
    texts = ("The cat sat on the mat, and then it slept.", "猫坐在垫子上。", "שלום עולם", "a👩‍👩‍👧b e\u0301", "one\ntwo\tthree")

    def test_lines_fit_the_width_of_the_terminal(self):
        for width in (40, 80, 200):
            for text in self.texts[:3]:
                for question in ((), ("--head", "L0.H1"), ("--head", "L0.H1", "--query", "5")):
                    lines = self.ok("show", self.both, text, *question, COLUMNS=str(width)).out.splitlines()
                    self.assertGreater(len(lines), 2)
                    for line in lines:
                        if not line.startswith("next:"):
                            self.assertLessEqual(columns(line), width, line)

    def test_the_atlas_fits_a_terminal_of_80_columns(self):
        lines = self.ok("atlas", self.causal, "--file", self.text, COLUMNS="80").out.splitlines()
        self.assertEqual(len(lines), 5)  # a title, then one line per head
        for line in lines:
            self.assertLessEqual(columns(line), 80, line)

    def test_a_pipe_has_bars_and_no_escapes(self):
        for text in self.texts:
            out = self.ok("show", self.both, text, "--head", "L0.H1").out
            self.assertNotIn("\033", out)
        self.assertIn("█", self.ok("show", self.both, "The cat sat on the mat, and then it slept.", "--head", "L0.H1", "--query", "5").out)

    def test_colours_are_24_bit_or_of_256(self):
        for asked, pattern in (("true", "\033\\[48;2;\\d+;\\d+;\\d+m"), ("256", "\033\\[48;5;\\d+m")):
            self.assertRegex(self.ok("show", self.both, "abca", "--head", "L0.H1", CLEARHEAD_COLOR=asked).out, pattern)
            pooled = self.ok("show", self.both, "abcdefgh" * 40, "--head", "L0.H1", CLEARHEAD_COLOR=asked).out
            self.assertIn("▀", pooled)

    def test_byte_tokens_of_one_character_are_drawn_as_one_cell(self):
        out = self.ok("show", self.both, "猫猫", "--head", "L0.H1", COLUMNS="80").out
        self.assertEqual([line.split()[0] for line in out.splitlines() if line.startswith("  猫")], ["猫", "猫"])
        self.assertNotIn("\ufffd", out)

    def test_control_characters_are_made_visible(self):
        out = self.ok("show", self.both, "a\x1b[31mb\u202ec", "--head", "L0.H1").out
        self.assertIn("␛", out)
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\u202e", out)


class Attend(Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(7)
        self.heads, self.queries, self.keys, self.d = 4, 5, 9, 8
        grid = lambda n, rows: [[[draw.gauss(0, 1) for _ in range(self.d)] for _ in range(rows)] for _ in range(n)]
        self.q, self.k, self.v = grid(4, 5), grid(2, 9), grid(2, 9)
        self.sinks = [draw.gauss(0, 1) for _ in range(4)]
        flat = lambda x: [c for h in x for row in h for c in row]
        self.into = self.folder / "in.safetensors"
        write_safetensors(
            self.into,
            {
                "q": ("F32", [1, 4, 5, 8], flat(self.q)),
                "k": ("F32", [1, 2, 9, 8], flat(self.k)),
                "v": ("F32", [1, 2, 9, 8], flat(self.v)),
                "my sinks": ("F32", [4], self.sinks),
                "d_out": ("F32", [1, 4, 5, 8], flat(grid(4, 5))),
            },
        )
        self.spec = self.folder / "spec.json"
        self.spec.write_text(
            json.dumps({"terms": [{"soft_cap": {"cap": 3}}], "topology": {"band": {"ahead": 0}}, "normaliser": {"softmax": {"sinks": "my sinks"}}})
        )

    def close(self, found, expected):
        self.assertEqual(len(found), len(expected))
        for a, b in zip(found, expected):
            self.assertAlmostEqual(a, b, delta=SUM * max(1, abs(b)))

    def test_each_backend_computes_the_formula(self):
        out, lse, weights = attention(self.q, self.k, self.v, True, 3, self.sinks)
        for backend in ("ref", "cpu"):
            to = self.folder / f"{backend}.safetensors"
            told = self.ok("attend", self.into, "--spec", self.spec, "-o", to, "--weights", "--backend", backend, "--json").json
            self.assertEqual(told["backend"], backend)
            self.assertEqual(told["tensors"], {"out": [1, 4, 5, 8], "log_sum_exp": [1, 4, 5], "weights": [1, 4, 5, 9]})
            found = read_safetensors(to)
            self.close(found["out"][1], [c for row in out for c in row])
            self.close(found["log_sum_exp"][1], lse)
            self.close(found["weights"][1], [c for row in weights for c in row])

    def test_bf16_and_f16_attention_equal_the_formula_over_rounded_inputs(self):
        for dtype, ulp in (("bf16", 2**-8), ("f16", 2**-11)):
            rounded = lambda x, ulp=ulp: math.ldexp(round(math.frexp(x)[0] / ulp) * ulp, math.frexp(x)[1])
            q, k, v = ([[[rounded(c) for c in row] for row in rows] for rows in heads] for heads in (self.q, self.k, self.v))
            out, lse, _ = attention(q, k, v, True, 3, self.sinks)
            largest = max(abs(c) for rows in v for row in rows for c in row)
            to = self.folder / f"{dtype}.safetensors"
            self.ok("attend", self.into, "--spec", self.spec, "-o", to, "--gradients", "--dtype", dtype)
            found = read_safetensors(to)
            self.assertEqual(sorted(found), ["d_k", "d_q", "d_sinks", "d_v", "log_sum_exp", "out"])
            self.close(found["log_sum_exp"][1], lse)
            for a, b in zip(found["out"][1], (c for row in out for c in row), strict=True):
                self.assertEqual(a, rounded(a))
                self.assertAlmostEqual(a, b, delta=ulp * (largest + 2 * abs(b)))

    def test_gradients_are_the_slopes_of_the_formula(self):
        d_out = read_safetensors(self.into)["d_out"][1]

        def loss():
            out, _, _ = attention(self.q, self.k, self.v, True, 3, self.sinks)
            return sum(o * d for o, d in zip((c for row in out for c in row), d_out, strict=True))

        def slope(row, at):
            kept, step = row[at], 1e-5
            row[at] = kept + step
            above = loss()
            row[at] = kept - step
            below = loss()
            row[at] = kept
            return (above - below) / (2 * step)

        for backend in ("ref", "cpu"):
            to = self.folder / f"{backend}.safetensors"
            self.ok("attend", self.into, "--spec", self.spec, "-o", to, "--gradients", "--backend", backend)
            found = read_safetensors(to)
            self.assertEqual(sorted(found), ["d_k", "d_q", "d_sinks", "d_v", "log_sum_exp", "out"])
            for name, heads, rows in (("d_q", self.q, 5), ("d_k", self.k, 9), ("d_v", self.v, 9)):
                picked = [(h, i, (h + i) % 8) for h in range(len(heads)) for i in range(rows)]
                self.close([found[name][1][(h * rows + i) * 8 + c] for h, i, c in picked], [slope(heads[h][i], c) for h, i, c in picked])
            self.close(found["d_sinks"][1], [slope(self.sinks, h) for h in range(4)])

    def test_scores_are_the_logarithms_of_the_weights_and_minus_infinity_where_hidden(self):
        to = self.folder / "scores.safetensors"
        self.ok("attend", self.into, "--spec", self.spec, "-o", to, "--scores")
        found = read_safetensors(to)
        _, lse, weights = attention(self.q, self.k, self.v, True, 3, self.sinks)
        expected = [math.log(p) + lse[i] if p > 0 else -math.inf for i, row in enumerate(weights) for p in row]
        for score, wanted in zip(found["scores"][1], expected, strict=True):
            self.assertTrue(score == wanted or abs(score - wanted) < SUM, f"{score}, expected {wanted}")

    def test_statistics_are_those_of_the_weights(self):
        to = self.folder / "out.safetensors"
        self.ok("attend", self.into, "-o", to, "--stats")
        found = read_safetensors(to)
        _, _, weights = attention(self.q, self.k, self.v, False)
        self.assertEqual(sorted(found), ["distance", "entropy", "log_sum_exp", "offsets", "out", "received"])
        self.close(found["entropy"][1], [-sum(p * math.log(p) for p in row) for row in weights])
        self.close(found["received"][1], [sum(weights[h * 5 + i][j] for i in range(5)) for h in range(4) for j in range(9)])
        self.close(found["distance"][1], [sum(p * abs(i % 5 + 4 - j) for j, p in enumerate(row)) for i, row in enumerate(weights)])
        self.assertAlmostEqual(sum(found["offsets"][1]), 20, places=SHARE_PLACES)

    def test_weights_as_used_are_those_that_a_kernel_rounded(self):
        draw, rows, d, to = random.Random(5), 40, 32, self.folder / "out.safetensors"
        tensor = lambda: ("BF16", [1, 1, rows, d], [struct.unpack("<I", struct.pack("<f", draw.gauss(0, 1)))[0] >> 16 for _ in range(rows * d)])
        write_safetensors(self.into, {name: tensor() for name in "qkv"})
        done = run("attend", self.into, "-o", to)
        self.assertEqual((done.code, done.errors.split("\n")[0]), (0, "q is bf16: converted to f32; to compute in 16 bits, use --dtype bf16 or --dtype f16"))

        def weights(*flags):
            self.ok("attend", self.into, "-o", to, "--dtype", "bf16", "--weights", *flags)
            return read_safetensors(to)["weights"][1]

        exact, used = weights(), weights("--as-used")
        self.assertTrue(all(map(math.isfinite, used)))  # max() ignores NaN
        off = max(abs(a - b) / a for a, b in zip(exact, used, strict=True))
        if self.ok("doctor", "--json").json["bf16"] == "widen":  # there nothing is rounded
            self.assertEqual(off, 0)
        else:
            self.assertTrue(2**-12 < off < 2**-7, off)
        for i in range(rows):
            self.assertAlmostEqual(sum(used[i * rows : (i + 1) * rows]), 1, delta=SUM)

    def test_a_device_is_written_to_and_a_link_is_followed(self):
        (self.folder / "real").write_text("before")
        (self.folder / "link").symlink_to("real")
        self.ok("attend", self.into, "-o", self.folder / "link")
        self.assertTrue((self.folder / "link").is_symlink())
        self.ok("attend", self.into, "-o", self.folder / "alone")
        self.assertEqual((self.folder / "real").read_bytes(), (self.folder / "alone").read_bytes())
        piped = subprocess.run([BINARY, "attend", self.into, "-o", "/dev/stdout"], capture_output=True, env=environment(), check=True).stdout
        self.assertTrue(piped.startswith((self.folder / "alone").read_bytes()))

    def test_attend_prints_the_written_tensors_and_their_file(self):
        to = self.folder / "out.safetensors"
        told = self.ok("attend", self.into, "-o", to, "--backend", "ref").out
        self.assertEqual(told, f"out          [1, 4, 5, 8]\nlog_sum_exp  [1, 4, 5]\nwritten to {to} (ref, ref)\n")


class Answers(Case):
    def golden(self, name):
        model = self.copy_of(GOLDENS / name)
        size = json.loads((model / "config.json").read_text())["vocab_size"]
        (model / "vocab.txt").write_text("\n".join(VOCABULARY + [f"word{i}" for i in range(size - len(VOCABULARY))]) + "\n")
        return model

    def test_tokens_are_ids_tokens_and_byte_ranges(self):
        self.assertEqual(self.ok("tokens", self.causal, "aé", "--json").out, '{"ids":[97,195,169],"tokens":["a","Ã","©"],"offsets":[[0,1],[1,3],[1,3]]}\n')
        self.assertEqual(self.ok("tokens", self.causal, "", "--json").json, {"ids": [], "tokens": [], "offsets": []})

    def test_tokens_of_lines_are_an_object_a_line(self):
        told = self.ok("tokens", self.causal, "-", "--json", stdin=b"ab\n\nc")
        self.assertEqual([json.loads(line)["ids"] for line in told.out.splitlines()], [[97, 98], [], [99]])

    def test_a_folder_of_tokenizer_files_is_enough_for_tokens(self):
        folder = self.folder / "tokenizer"
        folder.mkdir()
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
        self.assertEqual(self.ok("tokens", folder, "ab c", "--json").json["tokens"], ["[CLS]", "a", "##b", "c", "[SEP]"])
        self.assertRegex(self.ok("tokens", folder, "ab", "--pair", "long second").out, r'##d +"d"\n.*\[SEP\]')

    def test_embeddings_are_a_list_of_the_models_width(self):
        told = self.ok("run", "embed", self.both, "abc", "--json").json
        self.assertEqual(list(told), ["embedding"])
        width = self.ok("info", self.both, "--json").json["width"]
        self.assertEqual(len(told["embedding"]), width)
        plain = [float(number) for number in self.ok("run", "embed", self.both, "abc").out.split()]
        for a, b in zip(plain, told["embedding"], strict=True):
            self.assertAlmostEqual(a, b, delta=SUM * max(1, abs(b)))

    def test_embeddings_of_long_texts_are_truncated_with_a_message(self):
        model = self.golden("bert/mlm")
        done = run("run", "embed", model, "a b c d e " * 5, "--json")
        self.assertEqual((done.code, done.errors), (0, "truncated: 20 of 27 tokens were used (the model has no more positions)\n"))
        self.assertEqual(done.json, self.ok("run", "embed", model, ("a b c d e " * 4)[:36], "--json").json)

    def test_generation_copies_what_followed(self):
        told = self.ok("run", "generate", self.causal, "--file", self.text, "--max-tokens", "9", "--greedy", "--json").json
        self.assertEqual(told["text"], self.known["answer_text"])
        self.assertEqual(told["tokens"], list(self.known["answer_text"].encode()))
        self.assertEqual(self.ok("run", "generate", self.causal, "abcabcab", "--max-tokens", "4", "--greedy").out, "cabc\n")

    def test_scores_have_position_ranges_and_worsen_without_the_induction_head(self):
        text = self.folder / "twice.txt"
        text.write_text("".join(chr(33 + i * i % 89) for i in range(200)) * 2, encoding="utf-8")
        told = self.ok("run", "score", self.causal, "--file", text, "--json").json
        self.assertEqual((told["tokens"], told["bytes"], len(told["log_probabilities"])), (400, 400, 399))
        self.assertAlmostEqual(told["nats_per_token"], -sum(told["log_probabilities"]) / 399, delta=SUM)
        self.assertAlmostEqual(told["bits_per_byte"], told["nats_per_token"] / math.log(2), delta=SUM)  # a token is a byte
        self.assertEqual([(r["begin"], r["end"]) for r in told["ranges"]], [(1, 256), (256, 400)])
        self.assertLess(told["ranges"][1]["bits_per_byte"], 0.5 * told["ranges"][0]["bits_per_byte"])
        without = self.ok("run", "score", self.causal, "--file", text, "--knock-out", "L1.H0", "--json").json
        self.assertGreater(without["ranges"][1]["bits_per_byte"], 2 * told["ranges"][1]["bits_per_byte"])
        self.assertIn("400 tokens, 400 bytes: ", self.ok("run", "score", self.causal, "--file", text).out)
        self.refused(2, "the text has 1 token, and a score needs at least 2; give a longer text", "run", "score", self.causal, "a")

    def test_a_page_holds_several_traces(self):
        kept, other, page = self.folder / "kept.trace", self.folder / "other.trace", self.folder / "page.html"
        told = self.ok("trace", self.causal, "--file", self.text, "-o", kept, "--json").json
        self.ok("trace", self.causal, "abcabc", "-o", other)
        self.ok("view", kept, other, kept, "--html", page, "--query", "3", "--page-size", "5MB")
        first, second, third = self.manifests(page)
        self.assertEqual(first["state"], "q=3")
        self.assertEqual((first["info"]["id"], third["info"]["id"]), (told["id"], told["id"]))
        self.assertEqual([(one["model"], one["begins"]) for one in second["info"]["traces"]][1], ("causal", "abcabc"))
        self.assertEqual(second["command"], f"clearhead view {kept} {other} {kept} --html {page}")
        self.assertLessEqual(page.stat().st_size, 5_000_000)

    def test_a_generated_trace_knows_the_new_tokens(self):
        kept = self.folder / "kept.trace"
        done = run("run", "generate", self.causal, "abcabcab", "--max-tokens", "4", "--greedy", "--trace", kept, "--json")
        self.assertEqual((done.code, done.json["text"]), (0, "cabc"))
        shown = self.ok("show", kept, "--head", "L1.H0", "--query", "11", "--top", "3", "--json").json  # a generated token names the row that wrote it
        self.assertEqual((shown["query"], [key["key"] for key in shown["keys"]]), (10, [2 + 3 * n for n in range(3)]))
        self.assertEqual([self.ok("show", kept, "--head", "L1.H0", "--query", str(token), "--json").json["query"] for token in (6, 7, 8)], [6, 7, 7])
        drawn = self.ok("show", kept, "--head", "L1.H0").out.splitlines()
        self.assertEqual(len([line for line in drawn if line.startswith("   ") and line.strip()[0] in "abc"]), 1 + 11)  # names at the top, then one row per token
        told = self.ok("show", kept, "--head", "L1.H0", "--query", "11").out
        self.assertIn("writing #11 ", told)
        self.assertIn(" 33.33 %  #2 ", told)
        asked = self.ok("ask", kept, "--from", "#9:11", "--to", "#0", "--json").json
        self.assertEqual((asked["from"], asked["rows"]), ([9, 11], [8, 10]))
        self.ok("view", kept, "--html", self.folder / "opened.html", "--query", "11")
        self.assertEqual(self.manifests(self.folder / "opened.html")[0]["state"], "q=10")
        page = self.folder / "page.html"
        self.assertIn("contains text, atlas, stats, exact", self.ok("view", kept, "--html", page).out)
        family = self.ok("info", kept, "--json").json["families"][0]
        self.assertEqual((family["queries"], family["keys"], family["rows_kept"]), (11, 11, [[0, 11]]))
        if self.ok("doctor", "--json").json["backend"] == "cpu":
            self.assertEqual([driver.split(" ")[0] for driver in family["drivers"]], ["decode"])

    def test_masks_are_filled_with_candidates_by_probability(self):
        model = self.golden("bert/mlm")
        told = self.ok("run", "fill", model, "a [MASK] b", "--top", "61", "--json").json
        self.assertEqual([len(mask) for mask in told["masks"]], [61])
        shares = [candidate["probability"] for candidate in told["masks"][0]]
        self.assertEqual(shares, sorted(shares, reverse=True))
        self.assertAlmostEqual(sum(shares), 1, places=SHARE_PLACES)
        self.assertEqual(self.ok("info", model, "--json").json["tasks"], ["fill"])

    def test_classes_have_labels_and_probabilities_that_sum_to_one(self):
        model = self.golden("bert/classify")
        told = self.ok("run", "classify", model, "a b", "--pair", "c", "--json").json["classes"]
        self.assertEqual(sorted(one["label"] for one in told), ["maybe", "no", "yes"])
        self.assertAlmostEqual(sum(one["probability"] for one in told), 1, places=ROW_PLACES)
        self.assertEqual(self.ok("info", model, "--json").json["tasks"], ["classify"])
        two = run("run", "classify", model, "a b", "--pair", "c", "--top", "2")
        self.assertEqual([line.split()[-1] for line in two.out.splitlines()], [one["label"] for one in told[:2]])
        self.assertEqual(two.errors, "1 more label; to print all: --top 3\n")

    def test_a_pairs_texts_are_segments(self):
        model = self.golden("bert/classify")
        shown = self.ok("show", model, "a b", "--pair", "c d e", "--query", "1", "--by", "segment", "--json").json
        self.assertEqual({part["segment"] for part in shown["segments"]}, {"first", "second"})
        answer = self.ok("why", model, "a b", "--pair", "c d e", "--units", "segment", "--method", "occlusion", "--json").json
        self.assertEqual([(item["name"], item["text"]) for item in answer["items"]], [("first", "a b"), ("second", "c d e")])

    def test_info_prints_architecture_tasks_and_dtype(self):
        told = self.ok("info", self.causal, "--json").json
        self.assertEqual((told["model_type"], told["layers"], told["heads"], told["longest"], told["causal"]), ("clearhead-attention", 2, 2, 0, True))
        self.assertEqual(told["tasks"], ["generate"])
        self.assertEqual(told["dtype"], "f32")
        self.assertIn("tasks  clearhead run generate", self.ok("info", self.causal).out)

    def test_sixteen_bit_weights_announce_what_they_become(self):
        model = self.copy_of(GOLDENS / "llama/bf16")
        (model / "tokenizer.json").write_bytes((self.causal / "tokenizer.json").read_bytes())
        about = self.ok("info", model, "--json").json
        self.assertEqual((about["dtype"], about["memory_bytes"]), ("bf16", 2 * about["file_bytes"]))
        done = run("show", "model", "\n\t", "--head", "L0.H0", "--json", folder=self.folder)
        self.assertEqual(done.code, 0)
        self.assertRegex(done.errors, r"^model: bf16 weights are converted to f32: \S+ KiB in the file, \S+ KiB in memory\n$")

    def test_bf16_works_where_onednn_has_no_bf16_kernels(self):
        known = self.ok("run", "embed", self.both, "abc", "--precision", "bf16", "--json").json
        for limit in ("AVX2", "SSE41"):  # the instruction set that oneDNN may use, set as its users do
            told = self.ok("run", "embed", self.both, "abc", "--precision", "bf16", "--json", DNNL_MAX_CPU_ISA=limit, ONEDNN_MAX_CPU_ISA=limit).json
            self.assertEqual(len(told["embedding"]), len(known["embedding"]))
            for here, there in zip(told["embedding"], known["embedding"]):
                self.assertAlmostEqual(here, there, delta=BF16)

    def test_the_doctor_reports_backends_drivers_and_overrides(self):
        told = self.ok("doctor", "--json").json
        self.assertEqual(sorted(told), ["backend", "backends", "bf16", "drivers", "forced", "isa", "memory_bytes", "processor", "threads", "version"])
        here = self.ok("doctor", "--json", CLEARHEAD_BACKEND="ref").json
        self.assertEqual((here["backend"], here["drivers"]), ("ref", {}))
        if told["isa"] == "avx512":
            widened = self.ok("doctor", "--json", CLEARHEAD_BF16="widen").json["drivers"]
            self.assertEqual((widened["prompt of 2,048 tokens, bf16"], widened["one token over a KV cache, f32"]), ("flash (f32)", "decode (f32)"))
            self.assertEqual(self.ok("doctor", "--json", CLEARHEAD_ISA="avx2").json["drivers"]["graph of single nodes, f32"], "gather (f32)")
        told = self.ok("doctor", "--json", CLEARHEAD_BF16="widen").json
        self.assertEqual((told["bf16"], told["forced"]), ("widen", {"CLEARHEAD_BF16": "widen"}))
        self.assertEqual(run("doctor", CLEARHEAD_BF16="on").errors, 'clearhead: CLEARHEAD_BF16 is "on"; expected amx, dot or widen\n')

    def test_the_bench_gives_fractions_of_measured_limits(self):
        told = self.ok("bench", "attention", "--filter", "decode/f32", "--seconds", "0.02", "--json", timeout=300).json
        self.assertLessEqual({"cases", "limits"}, set(told))
        self.assertGreater(len(told["cases"]), 0)
        for case in told["cases"]:
            self.assertTrue(case["name"].startswith("decode/f32/"))
            self.assertTrue({"name", "driver", "seconds", "work", "limit", "fraction_of_limit"} <= set(case))
            self.assertRegex(case["driver"], r"^decode \(f32\)$")
            self.assertGreater(case["seconds"], 0)
            self.assertGreater(case["fraction_of_limit"], 0)


class Readme(Case):
    def commands(self, *names):
        """The commands of the pages, on lines of their own and in table cells."""
        texts = [(ROOT / name).read_text() for name in names]
        return [shlex.split(line) for text in texts for line in re.findall(r"(?m)(?:^|`)build/release/clearhead ([^`\n]+)", text)]

    def test_its_commands_work_as_they_are_printed(self):
        shutil.copytree(self.both, self.folder / "MODEL")
        shutil.copytree(self.causal, self.folder / "CAUSAL")
        write_translator(self.folder / "TRANSLATOR", self.causal)
        (self.folder / "turns.txt").write_text("Good morning.\nIs there rain?\n")
        (self.folder / "TRANSLATOR/generation_config.json").write_text('{"turns_before": 4}')
        for name in ("abstract.txt", "book.txt", "corpus.txt", "prompt.txt", "lines.txt"):
            (self.folder / name).write_text("Doc three holds the answer: 42.")
        for name in ("A.trace", "B.trace"):
            self.ok("trace", self.both, "The cat sat on the mat.", "-o", self.folder / name)
        (self.folder / "parts.json").write_text(json.dumps([{"name": "doc 3", "role": "document", "begin": 0, "end": 15}]))
        (self.folder / "docs.jsonl").write_text('"The cat sat on the mat."\n{"title": "dog", "text": "The dog ran."}\n')
        (self.folder / "DIR").mkdir()
        (self.folder / "DIR/tinyshakespeare.txt").write_text("First Citizen:\nBefore we proceed any further, hear me speak.\n" * 200)
        for shipped in ("recipes", "models"):
            (self.folder / shipped).symlink_to(ROOT / shipped)
        commands = self.commands("README.md", "docs/commands.md")
        ran = 0
        for words in commands:
            if words[0] == "view" and "--html" not in words:
                continue  # runs until it is stopped
            model = "TRANSLATOR" if words[1] in ("translate", "chat", "summarise") else "CAUSAL" if words[0] == "cite" else "MODEL"
            done = run(*(model if word == "MODEL" else word.replace("L3.H5", "L0.H1") for word in words), folder=self.folder)
            self.assertEqual(done.code, 0, f"{words}: {done.errors}")
            ran += 1
            if words[0] != "train" and not any(word.startswith("models/") for word in words) and "--trace" not in words:  # these write to stderr what they start, and a notice that bf16 is converted to f32
                self.assertEqual(done.errors, "", words)
        self.assertGreaterEqual(ran, 13)

    def test_both_languages_print_the_same_commands(self):
        for chinese, english in (("README.zh-CN.md", "README.md"), ("docs/zh/commands.md", "docs/commands.md")):
            self.assertEqual(self.commands(chinese), self.commands(english))


class Shell(Case):
    def complete(self, *words):
        script = self.ok("completion", "bash").out
        line = " ".join(f"'{word}'" for word in words)
        script += f"\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _clearhead; echo \"${{COMPREPLY[*]}}\""
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=self.folder).stdout.split()

    def test_bash_completes_commands_options_and_files(self):
        self.assertEqual(self.complete("clearhead", "sh"), ["show"])
        self.assertEqual(self.complete("clearhead", "run", "em"), ["embed"])
        self.assertEqual(self.complete("clearhead", "run", "generate", "m", "--gr"), ["--greedy"])
        self.assertIn("--window", self.complete("clearhead", "ask", "m", "--"))
        (self.folder / "prompt.txt").write_text("")
        self.assertEqual(self.complete("clearhead", "show", "pro"), ["prompt.txt"])

    def test_zsh_and_fish_have_scripts(self):
        self.assertIn("bashcompinit", self.ok("completion", "zsh").out)
        fish = self.ok("completion", "fish").out
        self.assertIn("complete -c clearhead -n '__fish_seen_subcommand_from run' -a embed", fish)
        for line in fish.splitlines():  # quotes are closed on every line
            self.assertEqual(len(re.findall(r"(?<!\\)'", line)) % 2, 0, line)

    def test_every_command_has_help_with_an_example(self):
        top = self.ok("--help").out
        commands = re.findall(r"^  (\w+) {2,}\S", top[top.index("Subcommands:") :], re.M)
        self.assertGreaterEqual(len(commands), 10)
        for command in commands:
            help_text = self.ok(command, "--help").out
            self.assertRegex(help_text, f"(?s)Examples?:.*clearhead {command}")
        self.assertRegex(self.ok("--version").out, r"^clearhead \d+\.\d+\.\d+\n$")
