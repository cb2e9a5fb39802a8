#!/usr/bin/env python3
"""Compares training in clearhead and PyTorch: the speed of a step, and the losses of the same model on the same batches.

  bench/side_by_side_training.py speed  [--steps 12] [--rounds 2] [--bf16] [--json FILE]
  bench/side_by_side_training.py losses RECIPE data=DIR [key=value …] [--steps 200] [--json FILE]
  bench/side_by_side_training.py pace   RECIPE data=DIR [key=value …] [--steps 40] [--rounds 2] [--json FILE]
  bench/side_by_side_training.py whole  RECIPE data=DIR [key=value …] --run RUN --out DIR [--json FILE]

speed: a GPT of 4 layers, d = 256, 4 heads, vocabulary 4,096 on 8 sequences of 512 tokens, AdamW and clipping: clearhead, PyTorch eager,
PyTorch compiled, each in a separate process, in turn, in every round; the median step of the best round counts. The fraction of the peak
counts all matrix products and the visible pairs of attention, relative to the peak that `clearhead bench attention` measures.

losses: clearhead initialises a model and writes the batches of its steps (`train --batches`); transformers loads that model, and PyTorch
trains on the same batches. Dropout is off in both, because its random draws cannot be shared.

whole: RUN is a finished run of the recipe. PyTorch starts from the same initial weights and runs all steps on the same batches, with
dropout (its own random draws) and the running mean of the weights. DIR receives its models, one at every validation and the last.
clearhead measures both models on the test data of the recipe. If the recipe names a file for validation, the model with the best
validation result counts, as in a run; otherwise the last one.

pace: tokens per second without padding: clearhead; PyTorch on the same batches, whose texts have similar lengths; and, for an encoder that
is fine-tuned, PyTorch on random batches, as in usual training loops, padded to the longest text of each.

losses and whole support recipes of language models and translators (also of torch_networks.py), and of the tasks classification,
token-classification, masked-lm and sequential-recommendation; pace supports all of these except language models.

Needs torch; all commands except speed also need transformers.
"""

import argparse
import csv
import json
import math
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, LENGTH, LAYERS, WIDTH, HEADS, VOCABULARY = 8, 512, 4, 256, 4, 4096
WARM_UP = 3  # steps that are not measured
GPT = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": LENGTH, "activation_function": "gelu_new",
}
DECAY = 0.1


def matrix_flops():
    """Returns the number of floating-point operations of one step: a linear layer has one product forward and two backward, attention has
    two products forward and five backward over the visible pairs."""
    tokens = BATCH * LENGTH
    linear = tokens * (LAYERS * 12 * WIDTH * WIDTH + WIDTH * VOCABULARY) * 2 * 3
    pairs = BATCH * HEADS * LENGTH * (LENGTH + 1) // 2
    return linear + LAYERS * pairs * (WIDTH // HEADS) * 2 * 7


def machine_peak(options):
    case = "forward/f32/full/h8/n4096/d64"
    command = [options.clearhead, "--threads", str(options.threads), "bench", "attention", "--json", "--seconds", "1", "--filter", case]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["cases"][0]["limit_value"]


def lines_of(command):
    """Returns the lines of JSON that a process prints."""
    process = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{process.stderr}")
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]


# --- the speed of a step ------------------------------------------------------------------------------------------------------------------


def clearhead_steps(options, folder, precision):
    text = "".join(f"{i} {i * i % 977} {'abcdefgh'[i % 8] * (i % 7)}\n" for i in range(40000))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    recipe = {
        "files": ["text.txt"], "model": GPT, "batch": BATCH, "length": LENGTH, "steps": options.steps, "report": 1, "validate": 10**6,
        "checkpoint": 10**6, "held_out": 0, "optimiser": {"weight_decay": DECAY, "clip": 1}, "schedule": {"learning_rate": 1e-3},
    }
    if precision == "bf16":
        recipe["precision"] = "bf16"
    (folder / "gpt.json").write_text(json.dumps(recipe), encoding="utf-8")
    subprocess.run(["rm", "-rf", folder / "run"], check=True)
    lines = lines_of(["/usr/bin/env", "python3", __file__, "measured", options.clearhead, "--threads", options.threads, "train",
                      folder / "gpt.json", f"data={folder}", "-o", folder / "run", "--json"])
    # The last report is omitted, because it is printed after the model was saved.
    seconds = [BATCH * LENGTH / line["tokens_per_second"] for line in lines if "tokens_per_second" in line][WARM_UP:-1]
    return statistics.median(seconds), lines[-1]["peak_bytes"]


def torch_steps(options, kind):
    lines = lines_of([sys.executable, __file__, "torch", kind, "--steps", options.steps, "--threads", options.threads])
    return statistics.median(lines[0]["seconds"][WARM_UP:]), lines[0]["peak_bytes"]


def measured(command):
    """Runs the command and prints one more line, with its peak memory. Must run in a separate process, because the peak that the system
    reports is the maximum over all children of the process."""
    code = subprocess.run(command, check=False).returncode
    print(json.dumps({"peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}))
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
    """Returns two parameter groups, as in clearhead: matrices have weight decay, embedding tables and vectors have none."""
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

    names = [f"{peer} {precision}" for precision in ["f32"] + ["bf16"] * options.bf16
             for peer in ("clearhead", "PyTorch eager", "PyTorch compiled")]
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in names:
                peer, kind = name.split(" ", 1)
                taken = clearhead_steps(options, Path(folder), kind) if peer == "clearhead" else torch_steps(options, kind)
                best[name] = min(best.get(name, taken), taken)
    peak = machine_peak(options)
    print(f"PyTorch {torch.__version__}, {options.threads} threads, peak {peak / 1e9:.0f} Gflop/s (f32)")
    out = {"torch": torch.__version__, "threads": options.threads, "peak": peak, "peers": {}}
    for name, (seconds, memory) in best.items():
        share = matrix_flops() / seconds / peak
        out["peers"][name] = {"tokens_per_second": BATCH * LENGTH / seconds, "share_of_peak": share, "peak_bytes": memory}
        print(f"{name:24} {BATCH * LENGTH / seconds:8.0f} tokens/s   {100 * share:5.1f} % of the peak   {memory / 2**20:6.0f} MiB")
    return out


# --- the same batches ---------------------------------------------------------------------------------------------------------------------


def recipe_of(options):
    """Returns the recipe with key=value overrides applied, as clearhead reads it."""
    recipe = json.loads(Path(options.recipe).read_text(encoding="utf-8"))
    for setting in options.settings:
        key, value = setting.split("=", 1)
        *way, last = key.split(".")
        at = recipe
        for part in way:
            at = at.setdefault(part, {})
        try:
            at[last] = json.loads(value)
        except json.JSONDecodeError:
            at[last] = value
    return recipe


def rate_at(schedule, step, steps):
    """The learning-rate schedule of include/clearhead/train.h: kinds, warm-up, cool-down."""
    rate, warmup, floor = schedule.get("learning_rate", 1e-3), schedule.get("warmup", 0), schedule.get("min_ratio", 0)
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


def with_fused_attention(kind, folder, **options):
    """Loads a model with PyTorch's fused attention, or with the eager one if its architecture has no other (RoFormer).

    A table of sines stays as it is: transformers 5 makes it a parameter, which an optimiser would change."""
    try:
        model = kind.from_pretrained(folder, attn_implementation="sdpa", **options)
    except ValueError:
        model = kind.from_pretrained(folder, attn_implementation="eager", **options)
    for name, parameter in model.named_parameters():
        if name.endswith("embed_positions.weight"):
            parameter.requires_grad_(False)
    return model


class TorchTraining:
    """Trains the model of a folder in PyTorch with the settings of a recipe. dropout: its rate; average: the decay of a running mean of the
    weights, 0 for none."""

    def __init__(self, recipe, steps, folder, threads, dropout=0.0, average=0.0):
        import torch
        import torch_networks
        import transformers

        torch.set_num_threads(threads)
        transformers.utils.logging.set_verbosity_error()
        self.torch, self.recipe, self.steps, self.average = torch, recipe, steps, average
        self.pairs, self.task = "pairs" in recipe, recipe.get("task", {}).get("kind")
        kinds = {"classification": transformers.AutoModelForSequenceClassification,
                 "token-classification": transformers.AutoModelForTokenClassification, "masked-lm": transformers.AutoModelForMaskedLM,
                 "sequential-recommendation": transformers.AutoModelForCausalLM, None: transformers.AutoModelForCausalLM}
        if not self.pairs and self.task not in kinds:
            raise SystemExit(f'the task "{self.task}" has no counterpart here; expected one of {", ".join(filter(None, kinds))}')
        kind = transformers.AutoModelForSeq2SeqLM if self.pairs else kinds[self.task]
        self.model = torch_networks.load(folder) or with_fused_attention(kind, folder, dtype=torch.float32)
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
            elif isinstance(module, torch.nn.Embedding):
                module.padding_idx = None  # Marian's decoder begins with the padding token; clearhead and PyTorch train its row
            elif isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0 if type(module).__name__.endswith("Attention") else dropout  # no dropout on attention weights
        options = recipe.get("optimiser", {})
        self.clip = options.get("clip", 1)
        self.optimiser = torch.optim.AdamW(self.groups(options), betas=(options.get("beta1", 0.9), options.get("beta2", 0.999)),
                                           eps=options.get("epsilon", 1e-8))
        self.mean = [p.detach().clone() for p in self.model.parameters()] if average else []

    def groups(self, options):
        """Returns parameter groups by weight decay and learning-rate scale. The groups of the recipe match names of parameters."""
        matrices, _ = decay_groups(self.model, self.torch)
        decays, groups = {id(p) for p in matrices}, {}
        for name, p in self.model.named_parameters():
            scale = next((g["learning_rate_scale"] for g in options.get("groups", []) if re.search(g["match"], name)), 1)
            groups.setdefault((id(p) in decays, scale), []).append(p)
        return [{"params": params, "scale": scale, "weight_decay": options.get("weight_decay", 0) if decay else 0}
                for (decay, scale), params in groups.items()]

    def padded(self, rows, value):
        longest = max(map(len, rows))
        return self.torch.tensor([row + [value] * (longest - len(row)) for row in rows])

    def take(self, step, part):
        """Runs one step. Returns its loss in nats per counted target."""
        inputs = {"input_ids": self.padded(part["ids"], 0)}
        if self.pairs:
            seen = self.padded([[1] * len(row) for row in part["source_ids"]], 0)
            inputs = {"input_ids": self.padded(part["source_ids"], 0), "attention_mask": seen, "decoder_input_ids": inputs["input_ids"]}
        if self.task:
            inputs["attention_mask"] = self.padded([[1] * len(row) for row in part["ids"]], 0)
        else:
            inputs["use_cache"] = False
        logits = self.model(**inputs).logits
        targets = self.padded(part["targets"], -100)
        loss = self.torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="sum",
                                                      label_smoothing=self.recipe.get("smoothing", 0)) / part["counted"]
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.recipe.get("schedule", {}), step, self.steps) * group["scale"]
        self.optimiser.step()
        self.optimiser.zero_grad()
        share = 1 - min(self.average, (2 + step) / (11 + step))  # as in src/train/average.h: the decay is lower in the first steps
        for mean, now in zip(self.mean, self.model.parameters()):
            mean.lerp_(now.detach(), share)
        return loss.item()

    def save(self, like, folder):
        """Saves the model as `best/` of a run is saved: with the running mean of the weights, if one is kept."""
        now = [p.detach().clone() for p in self.model.parameters()]
        with self.torch.no_grad():
            for p, mean in zip(self.model.parameters(), self.mean):
                p.copy_(mean)
            self.model.save_pretrained(folder)
            for p, value in zip(self.model.parameters(), now):
                p.copy_(value)
        for name in ("config.json", "tokenizer.json", "generation_config.json"):
            if (like / name).exists():
                shutil.copyfile(like / name, folder / name)


def first_weights(options, folder):
    """Returns the initial weights of a run of this recipe, by running one step with learning rate 0."""
    lines_of([options.clearhead, "--threads", options.threads, "train", options.recipe, *options.settings, "ema_decay=0", "save=f32",
              "steps=1", "schedule.learning_rate=0", "schedule.cooldown=0", "-o", folder, "--json"])
    return folder / "best"


def batches_of(options, settings):
    command = [options.clearhead, "train", options.recipe, *options.settings, *settings, f"steps={options.steps}", "--batches",
               options.steps, "--json"]
    return lines_of(command)


def tested(options, model, settings=()):
    return lines_of([options.clearhead, "train", options.recipe, *options.settings, *settings, "--test", model, "--json"])[0]


def best_on_validation(options, recipe, folder):
    """Returns the folder's model with the highest first metric on the validation data, the earliest of equals. A run selects `best/` in the
    same way."""
    models = sorted(folder.glob("step-*"))
    found = [tested(options, model, [f"task.test={recipe['task']['valid']}"]) for model in models]
    values = [next(iter(metrics.values())) for metrics in found]
    return models[values.index(max(values))]


def losses(options):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = first_weights(options, folder / "new")
        settings = [f"from={first}", f"tokenizer={first}", "dropout=0", "ema_decay=0", "save=f32", "accumulate=1"]
        reports = lines_of([options.clearhead, "--threads", options.threads, "train", options.recipe, *options.settings, *settings,
                            f"steps={options.steps}",
                            "report=1", f"validate={options.steps}", "checkpoint=1000000", "-o", folder / "run", "--json"])
        ours = [line["loss"] for line in reports]
        peer = TorchTraining(recipe_of(options), options.steps, first, options.threads)
        theirs = [peer.take(step, part) for step, part in enumerate(batches_of(options, settings))]
        apart = [abs(a - b) for a, b in zip(ours, theirs)]
        for step in sorted({0, 1, 9, *range(49, options.steps, 50), options.steps - 1}):
            if step < options.steps:
                print(f"step {step + 1:5}   clearhead {ours[step]:.6f}   PyTorch {theirs[step]:.6f}   apart {apart[step]:.1e}")
        tail = slice(max(0, options.steps - 50), None)
        means = statistics.mean(ours[tail]), statistics.mean(theirs[tail])
        print(f"mean of the last {len(ours[tail])}: clearhead {means[0]:.5f}, PyTorch {means[1]:.5f}; furthest apart {max(apart):.1e}")
        return {"steps": options.steps, "clearhead": ours, "PyTorch": theirs}


def whole(options):
    """Compares losses: the run's own are in its log.csv; PyTorch's are means over the same steps."""
    run, out, recipe = Path(options.run), Path(options.out), recipe_of(options)
    options.steps = recipe["steps"]
    with open(run / "log.csv", encoding="utf-8") as file:
        log = {int(line["step"]): float(line["loss"]) for line in csv.DictReader(file)}
    first = first_weights(options, out / "new")
    training = TorchTraining(recipe, options.steps, first, options.threads, recipe.get("dropout", 0), recipe.get("ema_decay", 0))
    table, since = [], []
    for step, part in enumerate(batches_of(options, [])):
        since.append(training.take(step, part))
        if step + 1 in log:
            table.append({"step": step + 1, "clearhead": log[step + 1], "PyTorch": statistics.mean(since)})
            print(f"step {step + 1:5}   clearhead {log[step + 1]:.4f}   PyTorch {table[-1]['PyTorch']:.4f}", flush=True)
            since = []
        if (step + 1) % recipe.get("validate", 100) == 0:
            training.save(run / "best", out / f"step-{step + 1:06}")
    training.save(run / "best", out / "last")
    best = best_on_validation(options, recipe, out) if "valid" in recipe.get("task", {}) else out / "last"
    results = {"reports": table, "clearhead": tested(options, run / "best"), "PyTorch": tested(options, best)}
    for who in ("clearhead", "PyTorch"):
        print(f"{who}: {results[who]}")
    return results


# --- the speed of fine-tuning -------------------------------------------------------------------------------------------------------------


def tokens_of(part):
    """Counts tokens as a run does: the tokens that are read; for pairs, also the targets."""
    return part["counted"] + sum(map(len, part["source_ids"])) if "source_ids" in part else sum(map(len, part["ids"]))


def drawn_at_random(parts, size):
    """Returns the same texts in random batches, independent of length."""
    texts = [pair for part in parts for pair in zip(part["ids"], part["targets"])]
    random.Random(1).shuffle(texts)
    out = []
    for begin in range(0, len(texts) - size + 1, size):
        ids, targets = zip(*texts[begin : begin + size])
        out.append({"ids": list(ids), "targets": list(targets), "counted": sum(t != -100 for row in targets for t in row)})
    return out


def torch_pace(recipe, first, parts, threads):
    training = TorchTraining(recipe, len(parts), first, threads, recipe.get("dropout", 0))
    seconds = []
    for step, part in enumerate(parts):
        begin = time.perf_counter()
        training.take(step, part)
        seconds.append(time.perf_counter() - begin)
    return seconds


def pace(options):
    recipe, best = recipe_of(options), {}
    with tempfile.TemporaryDirectory() as name:
        first = first_weights(options, Path(name) / "new")
        parts = batches_of(options, [])
        drawn = [] if "pairs" in recipe else drawn_at_random(parts, recipe["batch"])
        for number in range(options.rounds):
            reports = lines_of([options.clearhead, "--threads", options.threads, "train", options.recipe, *options.settings,
                                f"steps={options.steps}", "report=1",
                                f"validate={options.steps}", "checkpoint=1000000", "-o", Path(name) / f"run-{number}", "--json"])
            taken = {"clearhead": ([tokens_of(part) / line["tokens_per_second"] for part, line in zip(parts, reports)], parts),
                     "PyTorch, the same batches": (torch_pace(recipe, first, parts, options.threads), parts)}
            if drawn:
                taken["PyTorch, drawn at random"] = (torch_pace(recipe, first, drawn, options.threads), drawn)
            for who, (seconds, of) in taken.items():  # the last report is omitted, because it includes a validation
                rate = sum(map(tokens_of, of[WARM_UP:-1])) / sum(seconds[WARM_UP : len(of) - 1])
                best[who] = max(best.get(who, 0), rate)
    for who, rate in best.items():
        print(f"{who:26} {rate:7.0f} tokens/s   {best['clearhead'] / rate:5.2f}")
    return best


def main():
    if sys.argv[1:2] == ["measured"]:
        return measured(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, does):
        added = commands.add_parser(name)
        added.set_defaults(does=does)
        added.add_argument("--threads", type=int, default=os.cpu_count())
        if does is not torch_worker:
            added.add_argument("--clearhead", default="build/release/clearhead")
            added.add_argument("--json")
        return added

    added = command("speed", speed)
    added.add_argument("--steps", type=int, default=12)
    added.add_argument("--rounds", type=int, default=2)
    added.add_argument("--bf16", action="store_true", help="bf16 too: ours, and PyTorch's autocast")
    for name, does, steps in (("losses", losses, 200), ("pace", pace, 40), ("whole", whole, 0)):
        added = command(name, does)
        added.add_argument("recipe")
        added.add_argument("settings", nargs="*")
        if steps:
            added.add_argument("--steps", type=int, default=steps)
        if does is pace:
            added.add_argument("--rounds", type=int, default=2)
        if does is whole:
            added.add_argument("--run", required=True)
            added.add_argument("--out", required=True)
    added = command("torch", torch_worker)  # worker process of `speed`
    added.add_argument("kind")
    added.add_argument("--steps", type=int)
    options = parser.parse_args()
    out = options.does(options)
    if getattr(options, "json", None):
        Path(options.json).write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
