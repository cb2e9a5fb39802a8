#!/usr/bin/env python3
"""Makes tests/goldens/optimisers/steps.json: two small parameters after each of five steps of torch.optim, in float64.

Usage: python3 tools/goldens/optimisers.py            (needs torch, made with 2.15)

Its fields: rate, start (initial values by parameter), gradients (by step and parameter), and cases. Each case has the options, with the
names of a recipe, and the weights (by step and parameter).
"""
import json
import pathlib

import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/optimisers/steps.json"
RATE = 0.05
SHAPES = {"layer.0.weight": (3, 4), "layer.0.bias": (5,)}
CASES = [
    {"kind": "adamw", "decay": 0.1},
    {"kind": "adamw", "beta1": 0.8, "beta2": 0.95, "epsilon": 0.001},
    {"kind": "adam", "decay": 0.1},
    {"kind": "sgd"},
    {"kind": "sgd", "momentum": 0.9},
    {"kind": "sgd", "decay": 0.1},
    {"kind": "sgd", "momentum": 0.9, "decay": 0.1},
    {"kind": "sgd", "momentum": 0.9, "nesterov": True, "decay": 0.1},
    {"kind": "adamw", "decay": 0.1, "groups": [{"match": "bias$", "rate": 2, "decay": 0}, {"match": "layer", "rate": 0.5}]},
    {"kind": "sgd", "momentum": 0.5,
     "groups": [{"match": "^layer\\.\\d+\\.weight", "rate": 0, "decay": 0.2}, {"match": "b.as", "decay": 0.3}]},
]


def rounded(tensor):
    """Rounds to float32 and returns the exact value in double."""
    return tensor.float().double()


def optimiser(case, parameters):
    groups = []
    for name, values in parameters.items():
        # The index of the first group of the case that matches this parameter.
        group = {"weight": 1, "bias": 0}[name.split(".")[-1]] if case["kind"] == "adamw" else {"weight": 0, "bias": 1}[name.split(".")[-1]]
        found = case["groups"][group] if "groups" in case else {}
        groups.append({"params": [values], "lr": RATE * found.get("rate", 1), "weight_decay": found.get("decay", case.get("decay", 0))})
    if case["kind"] == "sgd":
        return torch.optim.SGD(groups, lr=RATE, momentum=case.get("momentum", 0), nesterov=case.get("nesterov", False))
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[case["kind"]]
    return kind(groups, lr=RATE, betas=(case.get("beta1", 0.9), case.get("beta2", 0.999)), eps=case.get("epsilon", 1e-8))


def main():
    torch.manual_seed(5)
    start = {name: rounded(torch.randn(shape)) for name, shape in SHAPES.items()}
    gradients = [{name: rounded(torch.randn(shape)) for name, shape in SHAPES.items()} for _ in range(5)]
    cases = []
    for case in CASES:
        parameters = {name: values.clone().requires_grad_() for name, values in start.items()}
        steps, weights = optimiser(case, parameters), []
        for of_step in gradients:
            for name, values in parameters.items():
                values.grad = of_step[name].clone()
            steps.step()
            weights.append({name: values.detach().flatten().tolist() for name, values in parameters.items()})
        cases.append({"options": case, "weights": weights})
    flat = lambda of: {name: values.flatten().tolist() for name, values in of.items()}
    content = {"rate": RATE, "start": flat(start), "gradients": [flat(of) for of in gradients], "cases": cases}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
