#!/usr/bin/env python3
"""Node classification in PyTorch on the data of recipes/cora.json and recipes/citeseer.json: graph attention, and logistic regression on
the features (a simple baseline). Needs torch.

  bench/torch_graph_attention.py DIR                           GAT (Veličković et al. 2018), ten seeds
  bench/torch_graph_attention.py DIR --model gatv2             GATv2 (Brody et al. 2022)
  bench/torch_graph_attention.py DIR --model regression        logistic regression

DIR has edges.tsv, features.tsv and nodes.tsv. Sizes, dropout, L2, learning rate and early stopping are those of the recipes: every ten
steps the validation loss is measured, the weights with the smallest are tested, and training ends after ten measurements without a smaller
one. Prints one accuracy per seed and the mean.
"""

import argparse
import math
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional


def rows_of(path):
    """The cells of each line."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


class Graph:
    """Features [node, feature] with rows of sum 1, edges [2, edge] with both directions and self-loops, labels and splits."""

    def __init__(self, folder):
        nodes = rows_of(folder / "nodes.tsv")
        number = {row[0]: at for at, row in enumerate(nodes)}
        classes = sorted({row[1] for row in nodes if row[2] == "train"})
        self.labels = torch.tensor([classes.index(row[1]) if row[1] in classes else -100 for row in nodes])
        self.splits = {part: torch.tensor([at for at, row in enumerate(nodes) if row[2] == part]) for part in ("train", "valid", "test")}
        words = {number[row[0]]: [int(word) for word in row[1].split()] for row in rows_of(folder / "features.tsv")}
        self.features = torch.zeros(len(nodes), 1 + max(max(row, default=0) for row in words.values()))
        for at, row in words.items():
            self.features[at, row] = 1 / max(1, len(row))
        edges = [(number[row[0]], number[row[1]]) for row in rows_of(folder / "edges.tsv")]
        loops = [(at, at) for at in range(len(nodes))]
        self.edges = torch.tensor(edges + [(b, a) for a, b in edges] + loops).t().contiguous()
        self.classes = len(classes)


class Layer(nn.Module):
    """One layer of graph attention; `joined` concatenates the heads, otherwise their mean is returned."""

    def __init__(self, inputs, width, heads, joined, v2):
        super().__init__()
        self.heads, self.width, self.joined, self.v2 = heads, width, joined, v2
        self.left = nn.Linear(inputs, heads * width, bias=False)
        self.right = nn.Linear(inputs, heads * width, bias=False) if v2 else self.left
        self.score = nn.Parameter(torch.empty(1 if v2 else 2, heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width if joined else width))
        nn.init.xavier_uniform_(self.left.weight)
        nn.init.xavier_uniform_(self.right.weight)
        for one in self.score:
            nn.init.xavier_uniform_(one)

    def forward(self, x, edges, dropout):
        queries, keys = edges
        nodes = len(x)
        left, right = self.left(x).view(nodes, self.heads, self.width), self.right(x).view(nodes, self.heads, self.width)
        if self.v2:
            scores = (functional.leaky_relu(left[queries] + right[keys], 0.2) * self.score[0]).sum(-1)
        else:
            scores = functional.leaky_relu((left * self.score[0]).sum(-1)[queries] + (left * self.score[1]).sum(-1)[keys], 0.2)
        largest = torch.full((nodes, self.heads), -math.inf).scatter_reduce(0, queries[:, None].expand_as(scores), scores.detach(), "amax")
        powers = torch.exp(scores - largest[queries])
        sums = torch.zeros(nodes, self.heads).index_add(0, queries, powers)
        weights = functional.dropout(powers / sums[queries], dropout, self.training)
        out = torch.zeros(nodes, self.heads, self.width).index_add(0, queries, weights[..., None] * right[keys])
        return (out.flatten(1) if self.joined else out.mean(1)) + self.bias


class GraphAttention(nn.Module):
    def __init__(self, graph, v2):
        super().__init__()
        self.first, self.last = Layer(graph.features.shape[1], 8, 8, True, v2), Layer(64, graph.classes, 1, False, v2)

    def forward(self, graph):
        x = functional.elu(self.first(functional.dropout(graph.features, 0.6, self.training), graph.edges, 0.6))
        return self.last(functional.dropout(x, 0.6, self.training), graph.edges, 0.6)


class Regression(nn.Module):
    def __init__(self, graph):
        super().__init__()
        self.linear = nn.Linear(graph.features.shape[1], graph.classes)

    def forward(self, graph):
        """The logits in training are those of the training nodes, since nodes do not depend on one another."""
        if not self.training:
            return self.linear(graph.features)
        train = graph.splits["train"]
        return torch.zeros(len(graph.features), self.linear.out_features).index_add(0, train, self.linear(graph.features[train]))


def accuracy(logits, graph, part):
    at = graph.splits[part]
    return (logits[at].argmax(1) == graph.labels[at]).float().mean().item()


def test_accuracy(graph, kind, seed):
    torch.manual_seed(seed)
    model = Regression(graph) if kind == "regression" else GraphAttention(graph, kind == "gatv2")
    optimiser = torch.optim.Adam(
        [
            {"params": [one for one in model.parameters() if one.dim() > 1], "weight_decay": 5e-4},
            {"params": [one for one in model.parameters() if one.dim() == 1]},
        ],
        lr=0.01,
    )
    best, tested, waited, train, valid = math.inf, 0.0, 0, graph.splits["train"], graph.splits["valid"]
    for step in range(1, 501 if kind != "regression" else 10001):
        model.train()
        optimiser.zero_grad()
        functional.cross_entropy(model(graph)[train], graph.labels[train]).backward()
        optimiser.step()
        if step % 10:
            continue
        model.eval()
        with torch.no_grad():
            logits = model(graph)
        waited += 1
        if (loss := functional.cross_entropy(logits[valid], graph.labels[valid]).item()) < best:
            best, tested, waited = loss, accuracy(logits, graph, "test"), 0
        if waited >= 10:
            break
    return tested


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=("gat", "gatv2", "regression"), default="gat")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    graph, found = Graph(options.folder), []
    for seed in range(1, options.seeds + 1):
        begin = time.time()
        found.append(100 * test_accuracy(graph, options.model, seed))
        print(f"seed {seed}: {found[-1]:.2f} %  ({time.time() - begin:.1f} s)", flush=True)
    print(f"mean {statistics.mean(found):.2f} %, deviation {statistics.pstdev(found):.2f}")


if __name__ == "__main__":
    main()
