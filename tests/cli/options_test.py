"""Rules for the options of all commands. The options are collected from the help of the program."""

import json
import re

from support import ROOT, Case, run

# A line for an option in the help: its names, then its argument.
OPTION = re.compile(r"^  (?:-\w,)?(?:-\w|--[\w-]+)(?:,--?[\w-]+)*( [^a-z ].*?)?(?:  |$)")


class Options(Case):
    def commands(self, *before):
        """Yields every command with its help, including the subcommands of `run` and `bench`."""
        told = self.ok(*before, "--help").out
        listed = told.partition("Subcommands:\n")[2].partition("\n\n")[0]
        names = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
        yield before, told
        for name in names:
            yield from self.commands(*before, name)

    def said(self, *arguments, **options):
        """Runs a command that must succeed. stderr may contain text, because the model is in bf16 and a message says so."""
        done = run(*arguments, **options)
        self.assertEqual(done.code, 0, (arguments, done.errors))
        return done

    def test_no_option_takes_a_variable_number_of_values(self):
        count = 0
        for command, told in self.commands():
            for line in told.splitlines():
                found = OPTION.match(line)
                if not found:
                    continue
                count += 1
                self.assertNotIn("...", found[1] or "", (command, line))
        self.assertGreater(count, 150)  # options were found

    def test_texts_may_follow_repeatable_options(self):
        text = "a b c d"
        for options in (
            ("--cut", "1/0"), ("--keep-only", "2/0:2"), ("--knock-out", "L0.H0"), ("--cut", "1/0", "--cut", "2/1"), ("--rows", "1:2"),
        ):
            told = self.ok("show", self.causal, *options, text, "--head", "L0.H0", "--json").json
            self.assertEqual(told, self.ok("show", self.causal, text, "--head", "L0.H0", "--json", *options).json, options)
            self.assertEqual(told["tokens"], len(text), options)
        self.ok("run", "embed", self.both, "--cut", "1/0", text)
        words = self.folder / "words.txt"
        words.write_text("low lower lowest newer newest\n" * 20)
        self.ok("vocabulary", "--special", "<a>", "bpe", words, "-o", self.folder / "learned", "--size", "260")
        self.assertRegex(run("judge", "--with", "other", "no/such/model", "a").errors, 'model "no/such/model" was not found')
        self.assertIn("no/such/recipe.json", run("train", "--watch", "a text", "no/such/recipe.json").errors)
        self.refused(2, 'clearhead bench attention did not expect "extra" (clearhead bench attention --help says more)', "bench", "attention", "--filter", "x", "extra")
        book = str(ROOT / "models/book")
        for methods in ("attention", "attention,rollout"):
            told = self.said("why", book, "--method", methods, "It was a dark", "--json").json
            self.assertEqual(list(told["items"][0]["shares"]), methods.split(","))
        repeated = self.said("why", book, "--method", "attention", "--method", "rollout", "It was a dark", "--json").json
        self.assertEqual(list(repeated["items"][0]["shares"]), ["attention", "rollout"])

    def test_positions_and_layers_out_of_range_are_refused(self):
        text = "abcd"
        for option, value, says in (
            ("--cut", "100:200/3:5", "an attention knockout names queries 100:200; this run has 4 of them, counted from 0"),
            ("--cut", "1/3:9", "an attention knockout names keys 3:9; this run has 4 of them, counted from 0"),
            ("--keep-only", "7/0", "a keep-only names queries 7; this run has 4 of them, counted from 0"),
        ):
            for command, more in ((("show",), ()), (("atlas",), ()), (("ask",), ("--from", "#0", "--to", "#1")), (("run", "generate"), ("--max-tokens", "2"))):
                done = run(*command, self.causal, text, *more, option, value)
                self.assertEqual(done.code, 1, (command, value))
                self.assertIn(says.partition("; ")[0], done.errors)
            self.refused(1, says, "trace", self.causal, text, option, value, "-o", self.folder / "x.trace")
        self.refused(1, "rows to keep names tokens 5:9; this run has 4 of them, counted from 0", "trace", self.causal, text, "--rows", "5:9", "-o", self.folder / "x")
        translator = ROOT / "models/en-fr"
        done = run("run", "translate", translator, "Hello.", "--cut", "0/90:99@cross")
        self.assertEqual(done.code, 1)
        self.assertIn("an attention knockout names keys 90:99", done.errors)
        done = run("trace", translator, "Hello.", "--layers", "99", "-o", self.folder / "x")
        self.assertEqual(done.code, 1)
        self.assertIn("layers to keep: layer 99 is out of range; this model's layers are 0 to", done.errors)
        trace = self.folder / "kept.trace"
        self.ok("trace", self.causal, text, "-o", trace)
        page = self.folder / "page.html"
        self.refused(2, "layer 99: this model's layers are 0 to 1", "view", trace, "--head", "L99.H0", "--html", page)
        self.refused(2, 'span "#99" is out of range: the text has 4 tokens, counted from 0', "view", trace, "--query", "99", "--html", page)
        self.refused(2, "--by lists what one token attends to: add --query", "show", trace, "--by", "segment")
        self.refused(2, "--top applies to a list: add --query, or leave out --head and --layer", "show", trace, "--head", "L0.H0", "--top", "3")
        self.assertEqual(len(self.ok("show", trace, "--top", "3", "--json").json["heads"]), 3)

    def test_a_missing_model_is_said_to_be_missing(self):
        for command in (("run", "no/such/model", "a"), ("run", "embed", "no/such/model", "a"), ("show", "no/such/model", "a"), ("why", "no/such/model", "a")):
            done = run(*command)
            self.assertEqual((done.code, done.out), (1, ""), command)
            self.assertRegex(done.errors, r'no/such/model.*(not found|no model|no such)', command)
        self.refused(2, 'clearhead run has no command "embd"; nearest: "embed" (clearhead run --help says more)', "run", "embd", "m", "t")

    def test_pictures_are_given_by_their_path(self):
        digits = ROOT / "models/digits"
        picture = next(digits.glob("*.png"))
        given = self.said("run", "classify", digits, picture, "--json").json
        self.assertEqual(self.said("run", "classify", digits, "--file", picture, "--json").json, given)
        for command in (("run", "classify", digits), ("show", digits), ("why", digits)):
            done = run(*command, "-", stdin=picture.read_bytes())
            self.assertEqual(done.code, 2, command)
            self.assertIn("reads a picture: give its path", done.errors)
        done = run("run", "classify", digits, "--lines", "--file", picture)
        self.assertIn("is a PNG picture; expected text in UTF-8", done.errors)
        self.assertEqual(json.loads(self.said("run", "classify", digits, "-", "--lines", "--json", stdin=f"{picture}\n".encode()).out), given)
