"""BLEU from the command line."""

from support import Case, run


class Bleu(Case):
    def setUp(self):
        super().setUp()
        self.ours, self.theirs = self.folder / "ours.txt", self.folder / "theirs.txt"
        self.ours.write_text("The cat sat on the mat.\nIl a dit « oui ».\n", encoding="utf-8")
        self.theirs.write_text("The cat sat on a mat.\r\nIl a dit «\u00a0oui\u00a0».", encoding="utf-8")

    def test_output_follows_sacrebleu_with_a_clearhead_signature(self):
        told = self.ok("bleu", self.ours, self.theirs).out
        self.assertRegex(told, r"^BLEU\|nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:clearhead-[\d.]+ = 76\.28 "
                               r"92\.9/83\.3/70\.0/62\.5 \(BP = 1\.000 ratio = 1\.000 hyp_len = 14 ref_len = 14\)\n$")
        found = self.ok("bleu", "-", self.theirs, "--json", stdin=self.ours.read_bytes()).json
        self.assertEqual((found["matched"], found["total"]), ([13, 10, 7, 5], [14, 12, 10, 8]))

    def test_chinese_is_scored_by_characters_and_the_default_says_that_it_is_not(self):
        self.ours.write_text("猫坐在垫子上。\n", encoding="utf-8")
        self.theirs.write_text("狗坐在垫子上。\n", encoding="utf-8")
        done = run("bleu", self.ours, self.theirs, "--json")
        self.assertEqual(done.json["score"], 0)
        self.assertIn("treats a whole sentence as one word; set --tokenize zh or --tokenize char", done.errors)
        found = self.ok("bleu", self.ours, self.theirs, "--tokenize", "zh", "--json").json
        self.assertEqual((found["matched"], found["total"]), ([6, 5, 4, 3], [7, 6, 5, 4]))
        self.assertIn("|tok:zh|", found["signature"])

    def test_mismatched_and_empty_files_are_refused(self):
        self.theirs.write_text("one line\n", encoding="utf-8")
        self.refused(1, f"{self.ours} has 2 lines, {self.theirs} has 1; expected a sentence and its reference on the same line of both", "bleu", self.ours,
                     self.theirs)
        self.ours.write_text("", encoding="utf-8")
        self.refused(1, f"{self.ours} and {self.ours} are empty: there is nothing to compare", "bleu", self.ours, self.ours)
        self.assertEqual(run("bleu", self.ours).code, 2)
