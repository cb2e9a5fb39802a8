#!/usr/bin/env python3
"""Holds `clearhead attend --gradients` against PyTorch: eager formulas in float64, and their gradients by autograd, for all that PyTorch can express.

  tools/check_pytorch.py [--clearhead build/release/clearhead] [--cases N] [--seed S] [--backend cpu|ref]

Needs torch, numpy and safetensors (development only). Every case is a random description: dot, additive or relative pairs; ALiBi, T5's buckets, dense and
per-edge biases, soft-caps, in any order; bands, segments, masks, edges; softmax (with sinks), sparsemax, entmax-1.5, sigmoid, linear; head masks and
Gaussians; grouped heads. Where scaled_dot_product_attention can say the same, it is asked too. Differences are relative to the largest element (at least
one; for slopes: to the sum of the sizes of what is added) of what they are of; prints the largest, and exits 1 beyond TOLERANCE.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

TOLERANCE = {"out": 1e-5, "gradient": 5e-5}
HIDDEN = -torch.inf


class Case:
    """A description as JSON, its tensors, and the same as a function of them in torch."""

    def __init__(self, dice, generator):
        self.dice, self.generator = dice, generator
        self.batch, key_heads, self.heads = dice.choice([1, 2]), *dice.choice([(1, 1), (2, 2), (2, 4), (1, 3), (2, 6)])
        self.queries, self.keys = dice.choice([1, 5, 17, 49, 70]), dice.choice([1, 7, 33, 64, 97, 300])
        self.width, value_width = dice.choice([1, 4, 16, 33, 64]), dice.choice([1, 8, 24, 65])
        self.what, self.tensors, self.spec = [], {}, {"terms": [], "topology": {}}
        self.real("q", self.batch, self.heads, self.queries, self.width)
        self.real("k", self.batch, key_heads, self.keys, self.width)
        self.real("v", self.batch, key_heads, self.keys, value_width)
        self.real("d_out", self.batch, self.heads, self.queries, value_width)
        self.linear = dice.random() < 0.08
        if self.linear:
            for name in ("q", "k"):
                self.tensors[name] = self.tensors[name].abs() + 0.1
        self.pair = self.choose_pair()
        self.visible = self.choose_topology()
        self.terms = [] if self.linear else self.choose_terms()
        self.normalise = self.choose_normaliser()
        self.after = self.choose_after()

    def real(self, name, *shape):
        self.tensors[name] = torch.randn(shape, generator=self.generator)
        return name

    def broadcast(self, *shape):
        return [size if self.dice.random() < 0.6 else 1 for size in shape]

    def offsets(self):
        """Position of the query among the keys, minus the key: [query, key]."""
        start = self.spec["topology"]["band"]["align"] == "start"
        positions = torch.arange(self.queries) + (0 if start else self.keys - self.queries)
        return positions[:, None] - torch.arange(self.keys)[None, :]

    def choose_pair(self):
        kind = self.dice.choice(["dot", "dot", "dot", "additive", "relative"])
        self.what.append("linear" if self.linear else kind)
        if kind == "dot" or self.linear:
            scale = self.dice.choice([None, None, 0.3, 1.0])
            self.spec["pair"] = {"dot": {"scale": scale}}
            factor = 1 / math.sqrt(self.width) if scale is None else scale
            return lambda t, q, k: factor * q @ k.transpose(2, 3)
        if kind == "additive":
            self.real("weight", self.dice.choice([1, self.heads]), self.width)
            tanh = self.dice.random() < 0.5
            self.spec["pair"] = {"additive": {"weight": "weight", **({"activation": "tanh"} if tanh else {"activation": "leaky_relu", "slope": 0.25})}}
            act = torch.tanh if tanh else lambda x: torch.nn.functional.leaky_relu(x, 0.25)
            return lambda t, q, k: (act(q[:, :, :, None] + k[:, :, None]) * t["weight"][None, :, None, None]).sum(-1)
        return self.choose_relative()

    def choose_relative(self):
        reach, rows = self.dice.choice([1, 6, 40]), self.dice.choice([1, self.heads])
        body = {"scale": self.dice.choice([None, 0.2]), "keys": self.real("table.keys", rows, 2 * reach + 1, self.width)}
        for name, shape in (("queries", (2 * reach + 1, self.width)), ("query_bias", (self.width,)), ("values", (2 * reach + 1, self.tensors["v"].shape[3]))):
            if self.dice.random() < 0.5:
                body[name] = self.real(f"table.{name}", rows, *shape)
        self.spec["pair"] = {"relative": body}
        factor = body["scale"] or 1 / math.sqrt(self.width)
        self.row_of = lambda: (-self.offsets()).clamp(-reach, reach) + reach

        def score(t, q, k):
            row = self.row_of()
            of_content = q + (t["table.query_bias"][None, :, None] if "query_bias" in body else 0)
            s = q @ k.transpose(2, 3) + torch.einsum("bhic,hijc->bhij", of_content, t["table.keys"][:, row].expand(self.heads, -1, -1, -1))
            if "queries" in body:
                s = s + torch.einsum("bhjc,hijc->bhij", k, t["table.queries"][:, row].expand(self.heads, -1, -1, -1))
            return factor * s

        return score

    def choose_topology(self):
        band = {"back": self.dice.choice([None, None, 0, 5, 40]), "ahead": self.dice.choice([None, 0, 0, 3]), "align": self.dice.choice(["end", "start"])}
        topology = self.spec["topology"]
        topology["band"] = band
        visible = torch.ones(self.batch, self.heads, self.queries, self.keys, dtype=torch.bool)
        visible &= self.offsets() <= (self.keys + self.queries if band["back"] is None else band["back"])
        visible &= -self.offsets() <= (self.keys + self.queries if band["ahead"] is None else band["ahead"])
        if self.dice.random() < 0.3:
            self.what.append("segments")
            of_queries, of_keys = (torch.randint(-1, 3, (self.dice.choice([1, self.batch]), n), generator=self.generator, dtype=torch.int32)
                                   for n in (self.queries, self.keys))
            self.tensors |= {"of queries": of_queries, "of keys": of_keys}
            topology["segments"] = {"queries": "of queries", "keys": "of keys"}
            visible &= ((of_queries[:, :, None] == of_keys[:, None, :]) & (of_queries >= 0)[:, :, None])[:, None]
        if self.dice.random() < 0.3:
            self.what.append("mask")
            self.tensors["seen"] = torch.rand(*self.broadcast(self.batch, self.heads, self.queries), self.keys, generator=self.generator) < 0.7
            topology["mask"] = "seen"
            visible &= self.tensors["seen"]
        self.listed = None
        if self.dice.random() < 0.2:
            self.what.append("edges")
            self.listed = torch.rand(self.queries, self.keys, generator=self.generator) < 0.3
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.listed.sum(1).cumsum(0)]).to(torch.int32)
            self.tensors |= {"offsets": offsets[None, None].clone(), "neighbours": self.listed.nonzero()[:, 1].to(torch.int32)[None, None].clone()}
            topology["lists"] = {"query_block": 1, "key_block": 1, "offsets": "offsets", "keys": "neighbours"}
            visible &= self.listed
        return visible

    def choose_terms(self):
        makers = [self.alibi, self.dense, self.soft_cap, self.t5, *([self.per_edge] if self.listed is not None else [])]
        chosen = self.dice.sample(makers, self.dice.choice([0, 0, 1, 2, 3]))
        self.what += [maker.__name__ for maker in chosen]
        return [maker() for maker in chosen]

    def alibi(self):
        self.spec["terms"].append({"alibi": {"slopes": self.real("slope", self.heads)}})

        def term(t, s):
            s = s - t["slope"][:, None, None] * self.offsets().abs()
            if s.requires_grad:
                s.retain_grad()
                self.sloped = s
            return s

        return term

    def dense(self):
        self.spec["terms"].append({"dense": {"bias": self.real("biases", *self.broadcast(self.batch, self.heads, self.queries), self.keys)}})
        return lambda t, s: s + t["biases"]

    def soft_cap(self):
        self.spec["terms"].append({"soft_cap": {"cap": 3}})
        return lambda t, s: 3 * torch.tanh(s / 3)

    def per_edge(self):
        self.spec["terms"].append({"per_edge": {"bias": self.real("of edges", 1, 1, int(self.listed.sum()))}})
        return lambda t, s: s + torch.zeros(self.queries, self.keys, dtype=s.dtype).masked_scatter(self.listed, t["of edges"])

    def t5(self):
        """T5's buckets of distances (Raffel et al. 2020; transformers' _relative_position_bucket, bidirectional), as a rule that looks a table up."""
        buckets, most = 16, 50
        reach = self.queries + self.keys
        distance = torch.arange(-reach, reach + 1)
        half, exact = buckets // 2, buckets // 4
        large = exact + (torch.log(distance.abs().clamp(min=1) / exact) / math.log(most / exact) * (half - exact)).long()
        of_distance = (distance > 0) * half + torch.where(distance.abs() < exact, distance.abs(), large.clamp(max=half - 1))
        self.tensors["bucket"] = of_distance.to(torch.int32)
        self.real("of buckets", buckets, self.heads)
        self.spec["terms"].append({"rule": [["subtract", "key", "query"], ["add", "#0", reach], ["table", "bucket", "#1"],
                                            ["table", "of buckets", "#2", "head"], ["add", "score", "#3"]]})
        return lambda t, s: s + t["of buckets"][of_distance[reach - self.offsets()]].permute(2, 0, 1)

    def choose_normaliser(self):
        kind = "linear" if self.linear else self.dice.choice(["softmax", "softmax", "softmax", "sinks", "sigmoid", "sparsemax", "entmax15"])
        self.what.append(kind)
        self.spec["normaliser"] = {"softmax": {"softmax": {}}, "sinks": {"softmax": {"sinks": "sink"}}, "sigmoid": {"sigmoid": {"bias": -0.5}},
                                   "sparsemax": {"sparsemax": {}}, "entmax15": {"entmax15": {}}, "linear": {"linear": {}}}[kind]
        if kind == "sinks":
            self.real("sink", self.heads)
        return {"softmax": lambda t, s: torch.softmax(s, -1),
                "sinks": lambda t, s: torch.softmax(torch.cat([s, t["sink"][None, :, None, None].expand(*s.shape[:3], 1)], -1), -1)[..., :-1],
                "sigmoid": lambda t, s: torch.sigmoid(s - 0.5),
                "sparsemax": lambda t, s: (s - threshold(s.detach(), False, s)).clamp(min=0),
                "entmax15": lambda t, s: (s / 2 - threshold(s.detach() / 2, True, s / 2)).clamp(min=0) ** 2,
                "linear": lambda t, s: s.masked_fill(s == HIDDEN, 0) / s.masked_fill(s == HIDDEN, 0).sum(-1, keepdim=True)}[kind]

    def choose_after(self):
        after, factors = {}, []
        if self.dice.random() < 0.2:
            self.what.append("head mask")
            self.tensors[after.setdefault("head_mask", "of heads")] = torch.rand(self.heads, generator=self.generator)
            factors.append(lambda t: t["of heads"][:, None, None])
        if self.dice.random() < 0.2:
            self.what.append("gaussian")
            self.tensors["centre"] = self.keys * torch.rand(self.batch, 1, self.queries, generator=self.generator)
            after["gaussian"] = {"centres": "centre", "sigma": 7}
            factors.append(lambda t: torch.exp(-((torch.arange(self.keys) - t["centre"][..., None]) ** 2) / 98))
        if after:
            self.spec["after"] = after
        return factors

    def attended(self, t):
        """out of tensors t in float64."""
        group = self.heads // t["k"].shape[1]
        k, v = (t[name].repeat_interleave(group, 1) for name in ("k", "v"))
        s = self.pair(t, t["q"], k)
        for term in self.terms:
            s = term(t, s)
        some = self.visible.any(-1, keepdim=True)
        s = torch.where(self.visible, s, HIDDEN)
        p = torch.where(some & self.visible, self.normalise(t, torch.where(some, s, 0)), 0)
        for factor in self.after:
            p = p * factor(t)
        out = p @ v
        if "table.values" in t:
            out = out + torch.einsum("bhij,hijc->bhic", p, t["table.values"][:, self.row_of()].expand(self.heads, -1, -1, -1))
        return out

    def sdpa(self, t):
        """The same by scaled_dot_product_attention, where it can say it; None elsewhere."""
        plain = "dot" in self.what and "softmax" in self.what and not self.after and "soft_cap" not in self.what
        if not plain or not self.visible.any(-1).all():
            return None
        bias = torch.zeros(self.batch, self.heads, self.queries, self.keys, dtype=torch.float64)
        for term in self.terms:
            bias = term(t, bias)
        return torch.nn.functional.scaled_dot_product_attention(
            t["q"], t["k"], t["v"], attn_mask=torch.where(self.visible, bias, HIDDEN), scale=self.spec["pair"]["dot"]["scale"],
            enable_gqa=self.heads != t["k"].shape[1])


def threshold(z, squared, differentiable):
    """τ of every row, by sorting; through it autograd sees only the members of the support."""
    ordered = z.masked_fill(z == HIDDEN, -1e300).sort(-1, descending=True).values
    top = ordered[..., :1]
    x = (ordered - top).clamp(min=-1e6)
    count = torch.arange(1, z.shape[-1] + 1)
    mean, squares = x.cumsum(-1) / count, (x * x).cumsum(-1)
    spread = squares - count * mean * mean
    tau = mean - torch.sqrt(((1 - spread) / count).clamp(min=0)) if squared else mean - 1 / count
    support = (x > tau) & ((spread <= 1) if squared else True)
    size = support.long().cumprod(-1).sum(-1, keepdim=True)
    inside = z > top + tau.gather(-1, size - 1)
    members = torch.where(inside, differentiable, 0)
    mean = members.sum(-1, keepdim=True) / size
    if not squared:
        return mean - 1 / size
    spread = torch.where(inside, (differentiable.masked_fill(~inside, 0) - mean) ** 2, 0).sum(-1, keepdim=True)
    return mean - torch.sqrt((1 - spread) / size)


def ours(options, case, folder):
    save_file({name: tensor.contiguous() for name, tensor in case.tensors.items()}, folder / "in.safetensors")
    (folder / "spec.json").write_text(json.dumps(case.spec))
    done = subprocess.run([options.clearhead, "attend", folder / "in.safetensors", "--spec", folder / "spec.json", "-o", folder / "out.safetensors",
                           "--gradients", "--backend", options.backend, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}{json.dumps(case.spec)}")
    return load_file(folder / "out.safetensors")


# What `attend` calls the operands whose gradients it writes.
WRITTEN = {"weight": "additive.weight", "slope": "slopes", "biases": "bias", "of edges": "edges", "of buckets": "rule.table2", "sink": "sinks",
           "of heads": "head_mask", "centre": "centres"}


def check(options, case, folder, worst):
    found = ours(options, case, folder)
    t = {name: tensor.double().requires_grad_(tensor.dtype == torch.float32 and name != "d_out") for name, tensor in case.tensors.items()}
    out = case.attended(t)
    (out * t["d_out"]).sum().backward()
    expected = {"out": out.detach()}
    for name, tensor in t.items():
        if tensor.requires_grad:
            written = WRITTEN.get(name, name.replace("table.", "relative."))
            expected[f"d_{written}"] = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    with torch.no_grad():
        direct = case.sdpa({name: tensor.detach() for name, tensor in t.items()})
    if direct is not None:
        expected["out by SDPA"] = direct
    missing = {name for name in found if name.startswith("d_")} ^ {name for name in expected if name.startswith("d_")}
    if missing:
        sys.exit(f"gradients on one side only: {missing}; {json.dumps(case.spec)}")
    for name, wanted in expected.items():
        size = float(wanted.abs().max()) if wanted.numel() else 0
        if name == "d_slopes":  # distances as large as the text, of both signs: what is summed is far larger than the sum
            size = float((case.sloped.grad * case.offsets()).abs().sum((0, 2, 3)).max())
        off = (float((found[name.split()[0]].double() - wanted).abs().max()) if wanted.numel() else 0) / max(1.0, size)
        worst[name] = max(worst.get(name, 0.0), off)
        if not off <= TOLERANCE["out" if name.startswith("out") else "gradient"]:
            print(f"{name} is off by {off:.1e}: {json.dumps(case.spec)} over { {n: tuple(x.shape) for n, x in case.tensors.items()} }")
            sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clearhead", default="build/release/clearhead")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default="cpu")
    options = parser.parse_args()
    dice, generator, worst, counts = random.Random(options.seed), torch.Generator().manual_seed(options.seed), {}, Counter()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.cases):
            case = Case(dice, generator)
            check(options, case, Path(name), worst)
            counts.update(case.what)
    print(f"PyTorch {torch.__version__}, {options.cases} descriptions: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    print("largest differences: " + ", ".join(f"{name} {off:.1e}" for name, off in sorted(worst.items())))


if __name__ == "__main__":
    main()
