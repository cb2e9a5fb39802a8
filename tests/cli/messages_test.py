"""Messages that a first-time user gets after a wrong command line: what is wrong, where, and what to give instead."""

from support import ROOT, Case, run

BOOK, DIGITS = ROOT / "models/book", ROOT / "models/digits"
TEXT = "It was a dark and stormy night"


class Messages(Case):
    def said(self, code, message, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual((done.code, done.out), (code, ""), (arguments, done.errors))
        self.assertEqual(done.errors.splitlines()[-1], f"clearhead: {message}", arguments)

    def test_a_text_that_names_a_file_is_pointed_out(self):
        (self.folder / "a b.txt").write_text("It was a dark night\n", encoding="utf-8")
        for command in (("run", "score", BOOK), ("atlas", BOOK), ("why", BOOK), ("show", BOOK)):
            done = run(*command, "a b.txt", folder=self.folder)
            self.assertEqual(done.code, 0, done.errors)
            self.assertIn("the text is \"a b.txt\", which is also the name of a file; to read the file: --file 'a b.txt'\n", done.errors)
        self.assertNotIn("name of a file", run("run", "score", BOOK, "a b.txt").errors)

    def test_layers_and_tokens_out_of_range_are_refused_with_the_valid_range(self):
        self.said(1, "layer 99; this model's layers are 0 to 5", "why", BOOK, TEXT, "--method", "attention", "--layer", "99")
        self.said(1, "layer 9; this model's layers are 0 to 5", "why", BOOK, TEXT, "--method", "attention", "--head", "L9.H0")
        for token in (0, 99):
            self.said(1, f"{BOOK}: token {token} of a text of 9 tokens; expected 1 to 8 (token 0 has none before it)",
                      "why", BOOK, TEXT, "--target", f"token {token}")
        self.said(2, '--layers: expected a layer number or a range BEGIN:END, found "abc"', "show", BOOK, TEXT, "--layers", "abc")
        self.said(2, '--from: tokens #0:1 are not all queries of the family "spatial"; its queries are tokens #256:257',
                  "ask", DIGITS, DIGITS / "example.png", "--from", "patch 1,1", "--to", "patch 1,2")

    def test_a_directory_that_is_not_there_is_not_looked_for_in_the_hub(self):
        missing = self.folder / "missing"
        self.said(1, f"model {missing}: there is no such directory; expected one with config.json and model.safetensors",
                  "show", missing, TEXT)

    def test_a_binary_file_is_no_text(self):
        (self.folder / "some.bin").write_bytes(b"\x7fELF\x02\x01\x00\x00\xfe\xff" * 50)
        for command in (("why", BOOK), ("ask", BOOK, "--from", "a", "--to", "b"), ("robust", BOOK)):
            self.said(1, "some.bin: is a binary file, or text in another encoding; expected text in UTF-8", *command, "--file", "some.bin", folder=self.folder)

    def test_a_task_that_the_model_does_not_have(self):
        self.said(1, f'{DIGITS}: a model of type "convolutional_attention" reads a picture, not text', "run", "generate", DIGITS, "7")
        self.said(1, f'{ROOT / "models/en-fr"}: a model of type "marian" generates text and has no sentence embeddings',
                  "run", "embed", ROOT / "models/en-fr", "a")
