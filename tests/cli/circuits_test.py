"""`clearhead circuits`: the heads that copy, what a head reads and writes, and errors."""

from support import Case


class Circuits(Case):
    def test_the_induction_head_of_the_known_model_copies(self):
        heads = {(one["layer"], one["head"]): one for one in self.ok("circuits", self.causal, "--json").json["heads"]}
        self.assertAlmostEqual(heads[1, 0]["copying"], 1, 4)
        self.assertGreater(heads[1, 0]["z"], 5)
        self.assertIsNone(heads[1, 1]["copying"])  # it writes nothing
        lines = self.ok("circuits", self.causal, "--layers", "1").out.splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:3]], ["L1.H0", "L1.H1"])

    def test_a_copying_head_raises_the_token_that_it_attends_to(self):
        told = self.ok("circuits", self.causal, "--head", "L1.H0", "--token", "q", "--json").json
        self.assertEqual(told["raises"][0]["token"], told["token"])
        whole = self.ok("circuits", self.causal, "--head", "L1.H0", "--top", "4", "--json").json
        self.assertEqual([one["source"] == one["output"] for one in whole["writes"]], [True] * 4)
        self.assertEqual(whole["copying_rank"], 1)
        self.assertEqual(whole["positions_left_out"], "phases")
        self.assertIn("writes (OV)", self.ok("circuits", self.causal, "--head", "L1.H0").out)

    def test_what_has_no_circuits_is_refused(self):
        self.refused(1, f"circuits: {self.both}: the model has no next-token head, so its heads write to no vocabulary; expected a decoder",
                     "circuits", self.both)
        self.refused(2, "--token needs --head, the head whose circuits are shown", "circuits", self.causal, "--token", "a")
        self.refused(1, f"circuits: layer 2 is out of range; {self.causal} has layers 0 to 1", "circuits", self.causal, "--head", "L2.H0")
        self.refused(1, "circuits: head 9 is out of range; the layer has heads 0 to 1", "circuits", self.causal, "--head", "L1.H9")
