#!/usr/bin/env python3
"""clearhead's training beside PyTorch's: the speed of a step, and the losses of the same model on the same batches.

  bench/side_by_side_training.py speed  [--steps 12] [--rounds 2] [--json FILE]
  bench/side_by_side_training.py losses RECIPE data=DIR [key=value …] [--steps 200] [--test] [--json FILE]

speed: a GPT of 4 layers, d = 256, 4 heads, vocabulary 4,096 on 8 sequences of 512 tokens, AdamW and clipping: clearhead, PyTorch eager, PyTorch compiled,
each a process of its own, in turn, in every round; the median step of the best round counts. The share of the machine's peak is of all matrix products
and of attention's needed ones, against the peak that `clearhead bench attention` measures.

losses: clearhead draws a model and writes the batches of its steps (`train --batches`); transformers loads that model and PyTorch takes the same steps.
Dropout is off on both sides, for its draws cannot be shared. --test: both models on the recipe's test part, each by clearhead.

Needs torch; losses needs transformers too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, LENGTH, LAYERS, WIDTH, HEADS, VOCABULARY = 8, 512, 4, 256, 4, 4096
WARM_UP = 3  # steps that do not count
GPT = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS,
    "n_positions": LENGTH, "activation_function": "gelu_new",
}
DECAY = 0.1


def matrix_flops():
    """Of one step: the forward products once, the backward ones twice; attention's over pairs that see each other, 2 products forward and 5 backward."""
    tokens = BATCH * LENGTH
    linear = tokens * (LAYERS * 12 * WIDTH * WIDTH + WIDTH * VOCABULARY) * 2 * 3
    pairs = BATCH * HEADS * LENGTH * (LENGTH + 1) // 2
    return linear + LAYERS * pairs * (WIDTH // HEADS) * 2 * 7


def machine_peak(options):
    case = "forward/f32/full/h8/n4096/d64"
    command = [options.clearhead, "--threads", str(options.threads), "bench", "attention", "--json", "--seconds", "1", "--filter", case]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["cases"][0]["limit_value"]


def lines_of(command):
    """A process's lines of JSON, and its peak memory in bytes."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{errors}")
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


# --- the speed of a step -----------------------------------------------------------------------------------------------------------------------


def clearhead_steps(options, folder):
    text = "".join(f"{i} {i * i % 977} {'abcdefgh'[i % 8] * (i % 7)}\n" for i in range(40000))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    recipe = {
        "files": ["text.txt"], "model": GPT, "batch": BATCH, "length": LENGTH, "steps": options.steps, "report": 1, "validate": 10**6, "checkpoint": 10**6,
        "held_out": 0, "optimiser": {"decay": DECAY, "clip": 1}, "schedule": {"rate": 1e-3},
    }
    (folder / "gpt.json").write_text(json.dumps(recipe), encoding="utf-8")
    subprocess.run(["rm", "-rf", folder / "run"], check=True)
    lines = lines_of(["/usr/bin/env", "python3", __file__, "measured", options.clearhead, "--threads", options.threads, "train", folder / "gpt.json",
                      f"data={folder}", "-o", folder / "run", "--json"])
    # The last step's report stands after the model was saved.
    seconds = [BATCH * LENGTH / line["tokens_per_second"] for line in lines if "tokens_per_second" in line][WARM_UP:-1]
    return statistics.median(seconds), lines[-1]["peak_bytes"]


def torch_steps(options, kind):
    lines = lines_of([sys.executable, __file__, "torch", kind, "--steps", options.steps, "--threads", options.threads])
    return statistics.median(lines[0]["seconds"][WARM_UP:]), lines[0]["peak_bytes"]


def peak_of_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def measured(command):
    code = subprocess.run(command, check=False).returncode
    print(json.dumps({"peak_bytes": peak_of_children()}))
    sys.exit(code)


def torch_gpt():
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            batch, length, _ = x.shape
            q, k, v = self.qkv(self.before(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.down(F.gelu(self.up(self.between(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
            self.blocks, self.last = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH)
            for table in (self.tokens, self.positions):
                nn.init.normal_(table.weight, std=0.02)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.last(x) @ self.tokens.weight.T

    return Gpt()


def decay_groups(model, torch):
    """Matrices decay, tables and vectors do not: as clearhead's."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() > 1 and id(p) not in tables]
    others = [p for p in model.parameters() if p.requires_grad and not (p.dim() > 1 and id(p) not in tables)]
    return matrices, others


def torch_worker(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = torch_gpt()
    matrices, others = decay_groups(model, torch)
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}], lr=1e-3, fused=True)
    run = torch.compile(model) if options.kind.startswith("compiled") else model
    narrow = options.kind.endswith("bf16")
    seconds = []
    for _ in range(options.steps):
        ids = torch.randint(0, 256, (BATCH, LENGTH + 1))
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            logits = run(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY).float(), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimiser.step()
        optimiser.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def speed(options):
    import torch

    peers = ["eager f32", "compiled f32"] + (["eager bf16", "compiled bf16"] if options.bf16 else [])
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in ["clearhead f32"] + [f"PyTorch {peer}" for peer in peers]:
                taken = clearhead_steps(options, Path(folder)) if name.startswith("clearhead") else torch_steps(options, name[len("PyTorch "):])
                best[name] = min(best.get(name, taken), taken)
    peak = machine_peak(options)
    print(f"PyTorch {torch.__version__}, {options.threads} threads, peak {peak / 1e9:.0f} Gflop/s (f32)")
    out = {"torch": torch.__version__, "threads": options.threads, "peak": peak, "peers": {}}
    for name, (seconds, memory) in best.items():
        share = matrix_flops() / seconds / peak
        out["peers"][name] = {"tokens_per_second": BATCH * LENGTH / seconds, "share_of_peak": share, "peak_bytes": memory}
        print(f"{name:24} {BATCH * LENGTH / seconds:8.0f} tokens/s   {100 * share:5.1f} % of the peak   {memory / 2**20:6.0f} MiB")
    return out


# --- the same batches --------------------------------------------------------------------------------------------------------------------------


def rate_at(schedule, step, steps):
    """As include/clearhead/train.h says: kinds, warm-up, cool-down."""
    import math

    rate, warmup, floor = schedule.get("rate", 1e-3), schedule.get("warmup", 0), schedule.get("floor", 0)
    kind, cooldown = schedule.get("kind", "constant"), schedule.get("cooldown", 0)
    if step < warmup:
        return rate * (step + 1) / warmup
    if kind == "noam":
        rate *= math.sqrt(max(warmup, 1) / (step + 1))
    if kind in ("linear", "cosine"):
        done = (step - warmup) / max(steps - warmup, 1)
        fall = 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2
        return rate * (floor + (1 - floor) * fall)
    left = steps - step
    return rate * (floor + (1 - floor) * left / cooldown) if left < cooldown else rate


def padded(rows, value, torch):
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def torch_losses(recipe, steps, batches, model_folder, threads):
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    pairs = "pairs" in recipe
    kind = transformers.AutoModelForSeq2SeqLM if pairs else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="sdpa")
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    model.config.dropout = model.config.attention_dropout = 0
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # Marian's decoder begins with the padding token, whose row is learned from here on both sides
    for module in model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    options = recipe.get("optimiser", {})
    matrices, others = decay_groups(model, torch)
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options.get("decay", 0)}, {"params": others, "weight_decay": 0}],
        betas=(options.get("beta1", 0.9), options.get("beta2", 0.999)), eps=options.get("epsilon", 1e-8))
    losses = []
    for step, part in enumerate(batches):
        inputs = {"input_ids": padded(part["ids"], 0, torch)}
        mask = padded([[1] * len(row) for row in part["ids"]], 0, torch)
        if pairs:
            source = padded(part["source_ids"], 0, torch)
            seen = padded([[1] * len(row) for row in part["source_ids"]], 0, torch)
            inputs = {"input_ids": source, "attention_mask": seen, "decoder_input_ids": inputs["input_ids"]}
        logits = model(**inputs, use_cache=False).logits
        targets = padded(part["targets"], -100, torch)
        assert targets.shape == mask.shape
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="sum",
                                                 label_smoothing=recipe.get("smoothing", 0)) / part["counted"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.get("clip", 1))
        for group in optimiser.param_groups:
            group["lr"] = rate_at(recipe.get("schedule", {}), step, steps)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return model, losses


def losses(options):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [options.clearhead, "--threads", options.threads, "train", options.recipe, *options.settings, "dropout=0", "average=0", "save=f32",
                   "accumulate=1", "--json"]
        lines_of([*command, "steps=1", "schedule.rate=0", "schedule.cooldown=0", "-o", folder / "new"])
        command += [f"from={folder / 'new/best'}", f"tokenizer={folder / 'new/best'}", f"steps={options.steps}"]
        batches = lines_of([*command, "--batches", options.steps])
        reports = lines_of([*command, "report=1", f"validate={options.steps}", "checkpoint=1000000", "-o", folder / "run"])
        ours = [line["loss"] for line in reports]
        recipe = json.loads(Path(options.recipe).read_text(encoding="utf-8"))
        for setting in options.settings:
            key, value = setting.split("=", 1)
            at = recipe
            for part in key.split(".")[:-1]:
                at = at.setdefault(part, {})
            try:
                at[key.split(".")[-1]] = json.loads(value)
            except json.JSONDecodeError:
                at[key.split(".")[-1]] = value
        model, theirs = torch_losses(recipe, options.steps, batches, folder / "new/best", options.threads)
        apart = [abs(a - b) for a, b in zip(ours, theirs)]
        for step in sorted({0, 1, 9, *range(49, options.steps, 50), options.steps - 1}):
            if step < options.steps:
                print(f"step {step + 1:5}   clearhead {ours[step]:.6f}   PyTorch {theirs[step]:.6f}   apart {apart[step]:.1e}")
        tail = slice(max(0, options.steps - 50), None)
        means = statistics.mean(ours[tail]), statistics.mean(theirs[tail])
        print(f"mean of the last {len(ours[tail])}: clearhead {means[0]:.5f}, PyTorch {means[1]:.5f}; furthest apart {max(apart):.1e}")
        out = {"steps": options.steps, "clearhead": ours, "PyTorch": theirs}
        if options.test:
            model.save_pretrained(folder / "torch")
            for file in ("tokenizer.json", "generation_config.json"):
                if (folder / "new/best" / file).exists():
                    (folder / "torch" / file).write_bytes((folder / "new/best" / file).read_bytes())
            (folder / "torch/config.json").write_bytes((folder / "new/best/config.json").read_bytes())
            for who, where in (("clearhead", "run/best"), ("PyTorch", "torch")):
                out[f"{who} test"] = lines_of([options.clearhead, "train", options.recipe, *options.settings, "--test", folder / where, "--json"])[0]
                print(f"{who}: {out[f'{who} test']}")
        return out


def main():
    if sys.argv[1:2] == ["measured"]:
        return measured(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("speed", "losses", "torch"):
        command = commands.add_parser(name)
        command.add_argument("--clearhead", default="build/release/clearhead")
        command.add_argument("--threads", type=int, default=os.cpu_count())
        command.add_argument("--json")
        if name == "speed":
            command.add_argument("--steps", type=int, default=12)
            command.add_argument("--rounds", type=int, default=2)
            command.add_argument("--bf16", action="store_true", help="PyTorch's bf16 autocast too")
        elif name == "losses":
            command.add_argument("recipe")
            command.add_argument("settings", nargs="*")
            command.add_argument("--steps", type=int, default=200)
            command.add_argument("--test", action="store_true")
        else:
            command.add_argument("kind")
            command.add_argument("--steps", type=int)
    options = parser.parse_args()
    if options.command == "torch":
        return torch_worker(options)
    out = speed(options) if options.command == "speed" else losses(options)
    if options.json:
        Path(options.json).write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
