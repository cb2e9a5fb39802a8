"""Node classification from the command line: graph attention learns a synthetic graph, and is measured, resumed, asked, explained and shown."""

import base64
import json
import random
import re
import zlib

from support import run
from train_network_test import NetworkCase


class Graphs(NetworkCase):
    def setUp(self):
        super().setUp()
        self.recipe = self.folder / "small.json"
        self.write_graph()
        self.write_recipe()

    def write_graph(self):
        """60 nodes in two classes. Nearly all edges are within a class; the features of most nodes are noise."""
        draw, classes = random.Random(3), ("left", "right")
        edges, nodes, features = set(), [], []
        for node in range(60):
            for _ in range(3):
                other = draw.randrange(30) * 2 + (node % 2 if draw.random() < 0.95 else 1 - node % 2)
                if other != node:
                    edges.add((min(node, other), max(node, other)))
            split = "train" if node < 20 else "valid" if node < 36 else "test" if node < 56 else "none"
            nodes.append(f"p{node}\t{'-' if split == 'none' else classes[node % 2]}\t{split}\n")
            own = [node % 2] if draw.random() < 0.6 else [draw.randrange(2)]
            features.append(f"p{node}\t{' '.join(map(str, own + [2 + draw.randrange(6)]))}\n")
        (self.folder / "nodes.tsv").write_text("".join(nodes), encoding="utf-8")
        (self.folder / "edges.tsv").write_text("".join(f"p{a}\tp{b}\n" for a, b in sorted(edges)), encoding="utf-8")
        (self.folder / "features.tsv").write_text("".join(features), encoding="utf-8")
        self.edges = edges

    def write_recipe(self, model=None, **task):
        recipe = {
            "task": {
                "kind": "node-classification", "edges": {"file": "edges.tsv"}, "features": {"file": "features.tsv", "count": 8},
                "nodes": {"file": "nodes.tsv"},
            } | task,
            "data_source": "The graph is made by the test.",
            "model": {
                "model_type": "graph_attention", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "dropout": 0.2,
                "attention_dropout": 0.2,
            } | (model or {}),
            "batch": 100, "steps": 60, "report": 10, "validate": 10, "checkpoint": 10, "optimiser": {"kind": "adam"}, "schedule": {"kind": "constant", "learning_rate": 0.02},
        }
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / out, "--json")

    @staticmethod
    def unpacked(blob):
        data = base64.b64decode(blob)
        try:
            return zlib.decompress(data)
        except zlib.error:
            return data

    def test_a_trained_model_is_measured_asked_explained_and_shown(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"done: clearhead run classify {self.folder}/run/best NODE", done.errors)
        best = self.folder / "run" / "best"
        tested = run("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(tested["counted"], 20)
        self.assertGreater(tested["accuracy"], 0.8)
        answer = run("run", "classify", best, "p57", "--json").json["classes"]  # a node without a class in the table
        self.assertEqual(sorted(one["label"] for one in answer), ["left", "right"])
        self.assertAlmostEqual(sum(one["probability"] for one in answer), 1, places=5)
        (self.folder / "asked.txt").write_text("p1\np57\n", encoding="utf-8")
        lines = run("run", "classify", best, "--lines", "--file", self.folder / "asked.txt", "--json").out.splitlines()
        self.assertEqual(len(lines), 2)
        for one, again in zip(answer, json.loads(lines[1])["classes"], strict=True):
            self.assertAlmostEqual(one["probability"], again["probability"], places=5)

        trace = self.folder / "node.safetensors"
        self.assertEqual(run("trace", best, "p3", "-o", trace).code, 0)
        shown = run("show", trace, "--family", "hidden", "--head", "L0.H1", "--query", "p3 (right)", "--json")
        self.assertEqual(shown.code, 0, shown.errors)
        neighbours = {f"p{b if a == 3 else a}" for a, b in self.edges if 3 in (a, b)} | {"p3"}
        found = {key["token"].split()[0] for key in shown.json["keys"] if key["weight"] > 0}
        self.assertLessEqual(found, neighbours)
        why = run("why", best, "p3", "--json")
        self.assertEqual(why.code, 0, why.errors)
        page = self.folder / "page.html"
        viewed = run("view", best, "p3", "--html", page)
        self.assertEqual(viewed.code, 0, viewed.errors)
        self.assertIn('"state":"q=3"', page.read_text(encoding="utf-8"), "the page opens on the node that was asked for")
        blobs = re.findall(r'id="clearhead-blob-\d+"[^>]*>([^<]+)<', page.read_text(encoding="utf-8"))
        self.assertTrue(any(b"p3 (right)" in self.unpacked(blob) for blob in blobs))

    def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(self):
        self.goes_on()
        (self.folder / "edges.tsv").write_text("p0\tp1\n", encoding="utf-8")
        refused = run("train", "--resume", self.folder / "killed")
        self.assertEqual(refused.code, 1)
        self.assertIn("is not what this run was training on", refused.errors)

    def test_gatv2_trains_too(self):
        self.write_recipe(model={"attention": "gatv2"})
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        tested = run("train", self.recipe, f"data={self.folder}", "--test", self.folder / "run" / "best", "--json").json
        self.assertGreater(tested["accuracy"], 0.8)

    def refused(self, says):
        done = self.train("refused")
        self.assertEqual(done.code, 1, done.out)
        self.assertIn(says, done.errors)

    def test_broken_tables_and_settings_are_named(self):
        nodes = (self.folder / "nodes.tsv").read_text(encoding="utf-8")
        (self.folder / "nodes.tsv").write_text(nodes.replace("p30\tleft", "p30\tup"), encoding="utf-8")
        self.refused("nodes.tsv, line 31")  # a class without a training node
        (self.folder / "nodes.tsv").write_text(nodes, encoding="utf-8")
        edges = (self.folder / "edges.tsv").read_text(encoding="utf-8")
        (self.folder / "edges.tsv").write_text("p0\tp60\n" + edges, encoding="utf-8")
        self.refused('edges.tsv, line 1, column 2: "p60" is not in the table of nodes')
        (self.folder / "edges.tsv").write_text(edges, encoding="utf-8")
        self.write_recipe(features={"file": "features.tsv", "count": 3})
        self.refused("column 2: feature ")
        self.write_recipe(edges={"file": "other.tsv"})
        self.refused("The graph is made by the test.")
        self.write_recipe(edges={})
        self.refused('"task.edges.file"')
        self.write_recipe(train="nodes.tsv")
        self.refused('"task.train"')
