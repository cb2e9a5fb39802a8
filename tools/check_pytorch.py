#!/usr/bin/env python3
"""Compares `clearhead attend --gradients` with PyTorch: eager formulas in float64 and autograd, for everything that PyTorch can express.

  tools/check_pytorch.py [--clearhead build/release/clearhead] [--cases N] [--seed S] [--backend cpu|ref]

Needs torch, numpy and safetensors (development only). Every case is a random description: dot, additive or relative pairs; ALiBi, T5's
buckets (both directions), dense and per-edge biases, soft-caps, temperatures, ALiBi and relative biases of images, in any order; bands,
segments, masks, edges, lists of blocks, prefix-LM, dilated windows; softmax (with sinks), sparsemax, entmax-1.5, sigmoid, hard choices
(straight-through), linear (over elu + 1); head masks and Gaussians; grouped heads; f32, and bf16 against float64 over the rounded inputs.
Results are also compared with scaled_dot_product_attention where it is applicable. Differences are relative to the largest element of the
tensor (for slopes: to the sum of the magnitudes of the summands), or to 1 if that is larger. Prints the largest difference, and exits with
1 if it exceeds TOLERANCE. The comment at BF16 describes the tolerances for bf16.
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
# Additional tolerances for bf16. out, for each element: 2^-8 of Σ P|v| and of |out| if P is rounded to bf16, and 2^-8 of |out| for its own
# rounding (docs/NUMERICS.md). Gradients: relative to the largest element or, if that is larger, to Σ_c|dO_ic|·Σ_j P_ij|v_jc|, which bounds
# the magnitude of dP and D (computed from a rounded O) even if they cancel. For q it is the largest row's value; for gradients that sum
# over rows, the root of the sum of the rows' squares.
BF16 = {"out": 2**-8, "gradient": 2**-6}
HIDDEN = -torch.inf


class Case:
    """A random description as JSON, its tensors, and the equivalent PyTorch function of these tensors."""

    def __init__(self, dice, generator):
        self.dice, self.generator = dice, generator
        self.batch, key_heads, self.heads = dice.choice([1, 2]), *dice.choice([(1, 1), (2, 2), (2, 4), (1, 3), (2, 6)])
        self.queries, self.keys = dice.choice([1, 5, 17, 49, 70]), dice.choice([1, 7, 33, 64, 97, 300])
        self.width, value_width = dice.choice([1, 4, 16, 33, 64]), dice.choice([1, 8, 24, 32, 64, 65])
        self.what, self.tensors, self.spec, self.written, self.rules = [], {}, {"terms": [], "topology": {}}, dict(WRITTEN), 0
        self.real("q", self.batch, self.heads, self.queries, self.width)
        self.real("k", self.batch, key_heads, self.keys, self.width)
        self.real("v", self.batch, key_heads, self.keys, value_width)
        self.real("d_out", self.batch, self.heads, self.queries, value_width)
        self.narrow = dice.random() < 0.25
        if self.narrow:
            self.what.append("bf16")
            self.tensors = {name: tensor.bfloat16() for name, tensor in self.tensors.items()}
        self.linear = not self.narrow and dice.random() < 0.1
        self.slopes = {}  # derivatives of linear attention's features, down to e^-8; gradients are compared at the inputs of the features
        if self.linear:
            is_elu = dice.random() < 0.5
            for name in ("q", "k"):
                x = self.tensors[name]
                self.tensors[name] = torch.nn.functional.elu(2 * x) + 1 if is_elu else x.abs() + 0.1
                self.slopes[f"d_{name}"] = self.tensors[name].double().clamp(max=1) if is_elu else 1
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
            self.spec["score"] = {"dot": {"scale": scale}}
            factor = 1 / math.sqrt(self.width) if scale is None else scale
            return lambda t, q, k: factor * q @ k.transpose(2, 3)
        if kind == "additive":
            self.real("weight", self.dice.choice([1, self.heads]), self.width)
            tanh = self.dice.random() < 0.5
            self.spec["score"] = {"additive": {"weight": "weight",
                                               **({"activation": "tanh"} if tanh else {"activation": "leaky_relu", "slope": 0.25})}}
            act = torch.tanh if tanh else lambda x: torch.nn.functional.leaky_relu(x, 0.25)
            return lambda t, q, k: (act(q[:, :, :, None] + k[:, :, None]) * t["weight"][None, :, None, None]).sum(-1)
        return self.choose_relative()

    def choose_relative(self):
        reach, rows = self.dice.choice([1, 6, 40]), self.dice.choice([1, self.heads])
        body = {"scale": self.dice.choice([None, 0.2]), "keys": self.real("table.keys", rows, 2 * reach + 1, self.width)}
        for name, shape in (("queries", (2 * reach + 1, self.width)), ("query_bias", (self.width,)),
                            ("values", (2 * reach + 1, self.tensors["v"].shape[3]))):
            if self.dice.random() < 0.5:
                body[name] = self.real(f"table.{name}", rows, *shape)
        self.spec["score"] = {"relative": body}
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
        band = {"back": self.dice.choice([None, None, 0, 5, 40]), "ahead": self.dice.choice([None, 0, 0, 3]),
                "align": self.dice.choice(["end", "start"])}
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
            self.tensors["seen"] = (
                torch.rand(*self.broadcast(self.batch, self.heads, self.queries), self.keys, generator=self.generator) < 0.7
            )
            topology["mask"] = "seen"
            visible &= self.tensors["seen"]
        self.listed = None
        if self.dice.random() < 0.3:
            visible &= self.choose_lists()
        if self.dice.random() < 0.25:
            visible &= self.choose_rule()
        return visible

    def choose_lists(self):
        """Lists of single keys, or of blocks of any size; the last blocks extend beyond the end."""
        block = self.dice.choice([(1, 1), (1, 1), (16, 16), (16, 64), (5, 3), (64, 16), (1, 32)])
        self.what.append("edges" if block == (1, 1) else "blocks")
        self.blocks_of = lambda x: x.repeat_interleave(block[0], 0)[: self.queries].repeat_interleave(block[1], 1)[:, : self.keys]
        self.listed = torch.rand(-(-self.queries // block[0]), -(-self.keys // block[1]), generator=self.generator) < 0.3
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.listed.sum(1).cumsum(0)]).to(torch.int32)
        self.tensors |= {"offsets": offsets[None, None].clone(),
                         "neighbours": self.listed.nonzero()[:, 1].to(torch.int32)[None, None].clone()}
        self.spec["topology"]["lists"] = {"query_block": block[0], "key_block": block[1], "offsets": "offsets", "keys": "neighbours"}
        return self.blocks_of(self.listed)

    def choose_rule(self):
        """Prefix-LM (Raffel et al. 2020) and dilated windows (Beltagy et al. 2020), as ch::prefix_lm and ch::dilated record them."""
        before, key = self.offsets(), torch.arange(self.keys)
        if self.dice.random() < 0.5:
            self.what.append("prefix_lm")
            prefixes = torch.randint(0, self.keys + 1, (self.batch,), generator=self.generator)
            self.tensors["prefixes"] = prefixes.to(torch.int32)
            self.spec["topology"]["visible"] = [["table", "prefixes", "batch"], ["less", "key", "#0"], ["less_equal", "key", "query"],
                                                ["or", "#1", "#2"]]
            return (key < prefixes[:, None, None, None]) | (before >= 0)
        self.what.append("dilated")
        step, back = self.dice.choice([1, 2, 5]), self.dice.choice([0, 3, 40])
        self.spec["topology"]["visible"] = [["subtract", "query", "key"], ["less_equal", 0, "#0"], ["less_equal", "#0", back * step],
                                            ["and", "#1", "#2"],
                                            ["divide", "#0", step], ["floor", "#4"], ["multiply", step, "#5"], ["equal", "#0", "#6"],
                                            ["and", "#3", "#7"]]
        return (before >= 0) & (before <= back * step) & (before % step == 0)

    def choose_terms(self):
        makers = [self.alibi, self.dense, self.soft_cap, self.t5, self.temperature, self.image,
                  *([self.per_edge] * 2 if self.listed is not None else [])]
        chosen = list(dict.fromkeys(self.dice.sample(makers, self.dice.choice([0, 0, 1, 2, 3]))))
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
        self.spec["terms"].append({"attention_bias": {"bias": self.real("biases", *self.broadcast(self.batch, self.heads, self.queries),
                                                                        self.keys)}})
        return lambda t, s: s + t["biases"]

    def soft_cap(self):
        self.spec["terms"].append({"soft_cap": {"cap": 3}})
        return lambda t, s: 3 * torch.tanh(s / 3)

    def per_edge(self):
        self.spec["terms"].append({"edge_bias": {"bias": self.real("of edges", 1, 1, int(self.listed.sum()))}})
        return lambda t, s: s + self.blocks_of(torch.zeros(self.listed.shape, dtype=s.dtype).masked_scatter(self.listed, t["of edges"]))

    def add_rule(self, nodes):
        """Adds a rule term. Records the names under which `attend` writes the gradients of its tables."""
        self.rules += 1
        tables = list(dict.fromkeys(node[1] for node in nodes if node[0] == "table"))
        for at, name in enumerate(tables):
            self.written[name] = f"rule{self.rules if self.rules > 1 else ''}.table{at + 1 if at else ''}"
        self.spec["terms"].append({"rule": nodes})

    def t5(self):
        """T5's buckets of distances (Raffel et al. 2020; transformers' _relative_position_bucket), as a rule that looks a table up."""
        buckets, most, both = 16, 50, self.dice.random() < 0.5
        reach = self.queries + self.keys
        after = torch.arange(-reach, reach + 1)  # key − query
        distance, size = (after.abs(), buckets // 2) if both else ((-after).clamp(min=0), buckets)
        exact = size // 2
        large = exact + (torch.log(distance.clamp(min=1) / exact) / math.log(most / exact) * (size - exact)).long()
        of_distance = torch.where(distance < exact, distance, large.clamp(max=size - 1)) + ((after > 0) * size if both else 0)
        self.tensors["bucket"] = of_distance.to(torch.int32)
        self.real("of buckets", buckets, self.heads)
        self.add_rule([["subtract", "key", "query"], ["add", "#0", reach], ["table", "bucket", "#1"], ["table", "of buckets", "#2", "head"],
                       ["add", "score", "#3"]])
        return lambda t, s: s + t["of buckets"][of_distance[reach - self.offsets()]].permute(2, 0, 1)

    def temperature(self):
        """s / t with one t for all heads, or one per head (ch::temperature)."""
        if self.dice.random() < 0.5:
            self.add_rule([["divide", "score", 0.7]])
            return lambda t, s: s / 0.7
        self.tensors["heat"] = 0.5 + torch.rand(self.heads, generator=self.generator)
        self.add_rule([["table", "heat", "head"], ["divide", "score", "#0"]])
        return lambda t, s: s / t["heat"][:, None, None]

    def image(self):
        """ALiBi over distances in an image (Fuller et al. 2023), or a bias of rows and columns (Liu et al. 2021): ch::alibi_2d,
        ch::relative_2d."""
        width, height = self.dice.choice([(7, 12), (14, 20)])
        keys = torch.arange(self.keys)
        rows, columns = (of(self.offsets() + keys) - of(keys)
                         for of in (lambda p: p.div(width, rounding_mode="floor"), lambda p: p.remainder(width)))
        nodes = [["divide", "query", width], ["floor", "#0"], ["divide", "key", width], ["floor", "#2"], ["subtract", "#1", "#3"],
                 ["multiply", width, "#1"], ["subtract", "query", "#5"], ["multiply", width, "#3"], ["subtract", "key", "#7"],
                 ["subtract", "#6", "#8"]]
        if self.dice.random() < 0.5:
            self.real("of slopes", self.heads)
            nodes += [["multiply", "#4", "#4"], ["multiply", "#9", "#9"], ["add", "#10", "#11"], ["sqrt", "#12"],
                      ["table", "of slopes", "head"], ["multiply", "#14", "#13"], ["subtract", "score", "#15"]]
            self.add_rule(nodes)
            return lambda t, s: s - t["of slopes"][:, None, None] * torch.sqrt((rows**2 + columns**2).double())
        self.real("of places", self.heads, 2 * height - 1, 2 * width - 1)
        nodes += [["add", "#4", height - 1], ["add", "#9", width - 1], ["table", "of places", "head", "#10", "#11"],
                  ["add", "score", "#12"]]
        self.add_rule(nodes)
        row, column = (rows + height - 1).clamp(0, 2 * height - 2), columns + width - 1
        return lambda t, s: s + t["of places"][:, row, column]

    def choose_normaliser(self):
        kind = "linear" if self.linear else self.dice.choice(["softmax", "softmax", "softmax", "sinks", "sigmoid", "sparsemax", "entmax15",
                                                              "hard"])
        self.what.append(kind)
        self.spec["normaliser"] = {"softmax": {"softmax": {}}, "sinks": {"softmax": {"sinks": "sink"}},
                                   "sigmoid": {"sigmoid": {"bias": -0.5}},
                                   "sparsemax": {"sparsemax": {}}, "entmax15": {"entmax15": {}}, "linear": {"linear_attention": {}},
                                   "hard": {"hard": {"choice": self.dice.choice(["argmax", "sampled"]), "seed": 5}}}[kind]
        if kind == "sinks":
            self.real("sink", self.heads)
        return {
            "softmax": lambda t, s: torch.softmax(s, -1),
            "sinks": lambda t, s: torch.softmax(torch.cat([s, t["sink"][None, :, None, None].expand(*s.shape[:3], 1)], -1), -1)[..., :-1],
            "sigmoid": lambda t, s: torch.sigmoid(s - 0.5),
            "sparsemax": lambda t, s: (s - threshold(s.detach(), False, s)).clamp(min=0),
            "entmax15": lambda t, s: (s / 2 - threshold(s.detach() / 2, True, s / 2)).clamp(min=0) ** 2,
            "hard": self.hard,
            "linear": lambda t, s: s.masked_fill(s == HIDDEN, 0) / s.masked_fill(s == HIDDEN, 0).sum(-1, keepdim=True),
        }[kind]

    def hard(self, t, s):
        """Hard attention to the key that `attend` chose, with softmax's gradient. A random choice depends on the noise of `attend`, so it
        is accepted; the highest-scoring key must also be the highest here, up to the precision of f32."""
        chosen = self.found["chosen"].long().clamp(min=0)[..., None]
        there = s.detach().gather(-1, chosen)
        best = s.detach().max(-1, keepdim=True).values if self.spec["normaliser"]["hard"]["choice"] == "argmax" else there
        if not ((there > HIDDEN) & (best - there <= 1e-5 * best.abs().clamp(min=1)))[self.visible.any(-1)].all():
            sys.exit(f"hard: a key was chosen that is not the best, or hidden: {json.dumps(self.spec)}")
        soft = torch.softmax(s, -1)
        return torch.zeros_like(soft).scatter(-1, chosen, 1.0) + soft - soft.detach()

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
        """Computes out from the tensors t in float64."""
        group = self.heads // t["k"].shape[1]
        k, v = (t[name].repeat_interleave(group, 1) for name in ("k", "v"))
        s = self.pair(t, t["q"], k)
        self.largest_score = float(s.detach().abs().max())
        for term in self.terms:
            s = term(t, s)
            self.largest_score = max(self.largest_score, float(s.detach().abs().max()))
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
        """Computes out with scaled_dot_product_attention if it is applicable, else returns None."""
        plain = "dot" in self.what and "softmax" in self.what and not self.after and not {"soft_cap", "temperature"} & set(self.what)
        if not plain or not self.visible.any(-1).all():
            return None
        bias = torch.zeros(self.batch, self.heads, self.queries, self.keys, dtype=torch.float64)
        for term in self.terms:
            bias = term(t, bias)
        return torch.nn.functional.scaled_dot_product_attention(
            t["q"], t["k"], t["v"], attn_mask=torch.where(self.visible, bias, HIDDEN), scale=self.spec["score"]["dot"]["scale"],
            enable_gqa=self.heads != t["k"].shape[1])


def threshold(z, squared, differentiable):
    """Returns τ of every row, by sorting. Autograd then differentiates only through the keys of the support."""
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
    done = subprocess.run([options.clearhead, "attend", folder / "in.safetensors", "--spec", folder / "spec.json", "-o",
                           folder / "out.safetensors",
                           "--gradients", "--backend", options.backend, "--json", "--dtype", "bf16" if case.narrow else "f32"],
                           capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}{json.dumps(case.spec)}")
    return load_file(folder / "out.safetensors")


# Names under which `attend` writes the gradients of operands.
WRITTEN = {"weight": "additive.weight", "slope": "slopes", "biases": "bias", "of edges": "edges", "sink": "sinks",
           "of heads": "head_mask", "centre": "centres"}


def check(options, case, folder, worst):
    found = case.found = ours(options, case, folder)
    t = {name: tensor.double().requires_grad_(tensor.is_floating_point() and name != "d_out") for name, tensor in case.tensors.items()}
    out = case.attended(t)
    (out * t["d_out"]).sum().backward()
    expected = {"out": out.detach()}
    for name, tensor in t.items():
        if tensor.requires_grad:
            written = case.written.get(name, name.replace("table.", "relative."))
            expected[f"d_{written}"] = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    with torch.no_grad():
        direct = case.sdpa({name: tensor.detach() for name, tensor in t.items()})
        sizes = case.attended({name: tensor.abs() if name in ("v", "table.values") else tensor for name, tensor in t.items()})  # Σ P|v|
    if direct is not None:
        expected["out by SDPA"] = direct
    missing = {name for name in found if name.startswith("d_")} ^ {name for name in expected if name.startswith("d_")}
    if missing:
        sys.exit(f"gradients on one side only: {missing}; {json.dumps(case.spec)}")
    for name, slope in case.slopes.items():
        found[name], expected[name] = found[name] * slope, expected[name] * slope
    for name, wanted in expected.items():
        size = float(wanted.abs().max()) if wanted.numel() else 0
        if name == "d_slopes":  # the summands have both signs and are far larger than their sum
            size = float((case.sloped.grad * case.offsets()).abs().sum((0, 2, 3)).max())
        if case.narrow:
            rows = (t["d_out"].abs() * sizes).sum(-1)
            size = max(size, float(rows.max() if name == "d_q" else rows.square().sum().sqrt()))
        kind = "out" if name.startswith("out") else "gradient"
        error = (found[name.split()[0]].double() - wanted).abs()
        if case.narrow and kind == "out":
            error = (error - BF16["out"] * (sizes + 2 * wanted.abs())).clamp(min=0)
        off = (float(error.max()) if wanted.numel() else 0) / max(1.0, size)
        told = f"{name}, bf16" if case.narrow else "d_rule.table" if name.startswith("d_rule") else name
        worst[told] = max(worst.get(told, 0.0), off)
        if not off <= (BF16[kind] if case.narrow and kind == "gradient" else TOLERANCE[kind]):
            print(f"{name} is off by {off:.1e} (4εS of its scores: {4 * 2**-23 * case.largest_score:.1e}): {json.dumps(case.spec)} over "
                  f"{ {n: tuple(x.shape) for n, x in case.tensors.items()} }")
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
