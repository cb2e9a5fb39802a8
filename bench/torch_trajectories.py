#!/usr/bin/env python3
"""Trajectories of pedestrians in PyTorch on the data of recipes/pedestrians.json: attention over the observed steps of each person, then
between the people of a scene. Needs torch.

  bench/torch_trajectories.py recipes/pedestrians.json DIR [--scenes eth hotel …] [--seed N]

The network is that of the recipe's model_type, and sizes, dropout, optimiser, schedule and loss are those of the recipe. Each scene is left
out in turn: training reads the first frames of every file of the others, validation the last ones, and the weights (their running average)
with the best skill, 1 − ADE / ADE of constant velocity, are tested on the scene that is left out. Prints ADE and FDE in metres over all
complete tracks, the FDE of the third with the largest distance of a position from the line through the first and the last one, and the same
of constant velocity.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

SCENES = ("eth", "hotel", "univ", "zara1", "zara2")  # those that are left out in turn
HEADING_STEPS, STANDS_STILL = 3, 0.02  # steps of the mean velocity; metres per step below which a person has no direction
DISPLACEMENT_UNIT, VELOCITY_UNIT, POSITION_UNIT = 0.2, 0.5, 3  # metres: the network reads numbers of size 1
LEAST_DISTANCE = 1e-3  # metres: the gradient of a distance is bounded below this
STRETCH = 32  # batches within which windows are sorted by their number of people


class Data:
    """Windows of the scenes: observed [person, step, 2], indices of the people with a complete track, and after [complete, step, 2]."""

    def __init__(self, task, folder):
        self.observed, self.predicted, self.frames = (
            task.get(name, default) for name, default in (("observed_steps", 8), ("predicted_steps", 12), ("frames_per_step", 10))
        )
        self.scenes, self.folder, self.valid_from = task["scenes"], folder, task.get("valid_from", 0.8)

    def windows(self, part, test_scene):
        out = []
        for scene, files in self.scenes.items():
            for file in files if (scene == test_scene) == (part == "test") else ():
                table = {}
                for line in (self.folder / file).read_text(encoding="utf-8").splitlines():
                    frame, person, x, y = line.split("\t")
                    table.setdefault(int(frame), {})[int(person)] = float(x), float(y)
                frames = sorted(table)
                first = int(self.valid_from * len(frames))
                some = {"train": frames[:first], "valid": frames[first:], "test": frames}[part]
                out += self.windows_of({frame: table[frame] for frame in some})
        return out

    def windows_of(self, table):
        def track(person, frames):
            places = [table.get(frame, {}).get(person) for frame in frames]
            return places if all(places) else None

        out = []
        for last in table:
            before = range(last - (self.observed - 1) * self.frames, last + 1, self.frames)
            people = {person: seen for person in sorted(table[last]) if (seen := track(person, before))}
            after = [track(person, range(last + self.frames, last + self.predicted * self.frames + 1, self.frames)) for person in people]
            complete = [at for at, places in enumerate(after) if places]
            if complete:
                doubles = [torch.tensor(rows, dtype=torch.float64) for rows in (list(people.values()), [after[at] for at in complete])]
                out.append((doubles[0], torch.tensor(complete), doubles[1]))
        return out


def joined(windows):
    """Returns positions [window, person, step, 2], who is present [window, person], and window, person and future of complete tracks."""
    counts = [len(observed) for observed, _, _ in windows]
    present = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    positions = nn.utils.rnn.pad_sequence([observed for observed, _, _ in windows], batch_first=True)
    window = torch.cat([torch.full_like(complete, at) for at, (_, complete, _) in enumerate(windows)])
    return positions, present, window, torch.cat([complete for _, complete, _ in windows]), torch.cat([after for _, _, after in windows])


def linear(inputs, outputs, blocks=1):
    """A linear layer with Xavier weights, in blocks of outputs that are initialised separately, and a bias of 0."""
    layer = nn.Linear(inputs, outputs)
    for block in layer.weight.data.chunk(blocks):
        nn.init.xavier_uniform_(block)
    nn.init.zeros_(layer.bias)
    return layer


def turned(vectors, axes, back=False):
    """Vectors […, 2] in the axes whose cosine and sine are given […, 2], or from them back to the axes of the scene."""
    (x, y), (cosine, sine) = vectors.unbind(-1), axes.unbind(-1)
    sine = -sine if back else sine
    return torch.stack([cosine * x + sine * y, cosine * y - sine * x], -1)


class Layer(nn.Module):
    """A pre-norm Transformer layer."""

    def __init__(self, width, heads, inner, dropout):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = linear(width, 3 * width, blocks=3), linear(width, width)
        self.up, self.down = linear(width, inner), linear(inner, width)

    def forward(self, x):
        q, k, v = self.qkv(self.first(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.dropout(self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.second(x)))))


class Model(nn.Module):
    def __init__(self, config, dropout, observed, predicted):
        super().__init__()
        width, heads, inner = (config[name] for name in ("hidden_size", "num_attention_heads", "intermediate_size"))
        self.heads, self.predicted, self.dropout = heads, predicted, nn.Dropout(dropout)
        self.embedding, self.places = linear(4, width), nn.Parameter(0.1 * torch.randn(observed, width))
        self.layers = nn.Sequential(*[Layer(width, heads, inner, dropout) for _ in range(config["num_hidden_layers"])])
        self.norm = nn.LayerNorm(width)
        self.relation_hidden, self.relation_output = linear(6, 4 * heads), linear(4 * heads, heads)
        self.people, self.social = linear(width, 3 * width), linear(width + 4 * heads, width)
        self.hidden, self.output = linear(width, inner), linear(inner, 2 * predicted)
        nn.init.zeros_(self.output.weight)

    def forward(self, positions, present):
        """positions: [window, person, step, 2] → [window, person, predicted step, 2], relative to the last position"""
        last, windows = positions[:, :, -1], len(positions)
        mean_velocity = (last - positions[:, :, -1 - HEADING_STEPS]) / HEADING_STEPS
        speed = mean_velocity.norm(dim=-1, keepdim=True)
        axes = torch.where(speed > STANDS_STILL, mean_velocity / speed, torch.tensor([1.0, 0.0]))
        displacements = functional.pad(positions.diff(dim=2), (0, 0, 1, 0)) / DISPLACEMENT_UNIT
        read = torch.cat([turned(part, axes[:, :, None]) for part in (positions - last[:, :, None], displacements)], -1)
        z = self.layers((self.embedding(read) + self.places).flatten(0, 1))
        z = self.norm(z[:, -1]).unflatten(0, (windows, -1))
        z = z + self.dropout(self.between(z, torch.stack([last / POSITION_UNIT, mean_velocity / VELOCITY_UNIT], 2), axes, present))
        out = self.output(self.dropout(functional.gelu(self.hidden(z)))).unflatten(-1, (self.predicted, 2))
        return turned(out, axes[:, :, None], back=True) + constant_velocity(positions, self.predicted)

    def between(self, z, own, axes, present):
        """own: position and velocity of each person, [window, person, 2, 2]"""
        own = own - own[:, :1] * torch.tensor([1.0, 0.0])[:, None]  # positions relative to the first person
        q, k, v = self.people(z).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        people = axes[:, :, None, None]
        relative = turned(own[:, None] - own[:, :, None], people)  # [window, i, j, 2, 2]
        velocity = turned(own[:, :, None, 1:], people).expand_as(relative[:, :, :, :1])
        bias = self.relation_output(functional.gelu(self.relation_hidden(torch.cat([relative, velocity], 3).flatten(3))))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]) + bias.permute(0, 3, 1, 2)
        weights = scores.masked_fill(~present[:, None, None], -math.inf).softmax(-1)
        values = (weights @ v).transpose(1, 2).flatten(2)
        seen = torch.einsum("bhij,bjcd->bihcd", weights, own) - own[:, :, None]
        return self.social(torch.cat([values, turned(seen, people).flatten(2)], -1))


def constant_velocity(positions, steps):
    return (positions[:, :, -1] - positions[:, :, -2])[:, :, None] * torch.arange(1, steps + 1)[:, None]


def batches(windows, size, draw):
    """Batches without end, of windows with similar numbers of people; half of the windows are mirrored, anew in each batch."""
    while True:
        order = torch.randperm(len(windows), generator=draw).tolist()
        stretches = [order[at : at + STRETCH * size] for at in range(0, len(order), STRETCH * size)]
        order = [at for stretch in stretches for at in sorted(stretch, key=lambda at: len(windows[at][0]))]
        for batch in torch.randperm(-(-len(order) // size), generator=draw).tolist():
            chosen = [windows[at] for at in order[batch * size : (batch + 1) * size]]
            signs = [torch.tensor([1, 1 if drawn < 0.5 else -1]) for drawn in torch.rand(len(chosen), generator=draw).tolist()]
            yield joined([(observed * sign, complete, after * sign) for (observed, complete, after), sign in zip(chosen, signs)])


def distances(offsets, batch):
    """Distances between predicted and true positions, [track, step].   offsets: [window, person, step, 2]"""
    positions, _, window, person, after = batch
    return (positions[window, person, -1:] + offsets[window, person] - after).norm(dim=-1)


@torch.no_grad()
def measure(predict, windows, size):
    """ADE, FDE and FDE of the most curved third.   predict(positions, present): offsets from the last position"""
    errors, curvatures = [], []
    windows = sorted(windows, key=lambda window: len(window[0]))
    for begin in range(0, len(windows), size):
        positions, present, window, person, after = batch = joined(windows[begin : begin + size])
        errors.append(distances(predict(positions, present).double(), batch))
        track = torch.cat([positions[window, person], after], 1)
        track = track - track[:, :1]
        end = track[:, -1:]
        areas = (track[..., 0] * end[..., 1] - track[..., 1] * end[..., 0]).abs()
        curvatures.append(areas.amax(1) / end[:, 0].norm(dim=-1).clamp(min=1e-6))
    errors, curvatures = torch.cat(errors), torch.cat(curvatures)
    curved = curvatures.argsort(descending=True, stable=True)[: max(1, len(errors) // 3)]
    return errors.mean().item(), errors[:, -1].mean().item(), errors[curved, -1].mean().item()


def rate_at(step, recipe):
    schedule, steps = recipe["schedule"], recipe["steps"]
    warmup, ratio = schedule.get("warmup", 0), schedule.get("min_ratio", 0)
    if step < warmup:
        return schedule["learning_rate"] * (step + 1) / warmup
    share = (step - warmup) / (steps - warmup)
    return schedule["learning_rate"] * (ratio + (1 - ratio) * 0.5 * (1 + math.cos(math.pi * share)))


def trained(recipe, data, scene, seed):
    """Returns the running average of the weights with the best skill on the validation data."""
    torch.manual_seed(seed)
    draw, size = torch.Generator().manual_seed(seed), recipe["batch"]
    train, valid = data.windows("train", scene), data.windows("valid", scene)
    model = Model(recipe["model"], recipe["dropout"], data.observed, data.predicted)
    average, best, best_skill = copy.deepcopy(model).eval(), None, -math.inf
    decay = recipe["optimiser"]["weight_decay"]
    groups = [
        {"params": [one for one in model.parameters() if (one.dim() > 1) == is_decayed], "weight_decay": decay * is_decayed}
        for is_decayed in (True, False)
    ]
    optimiser = torch.optim.AdamW(groups)
    constant = measure(lambda positions, _: constant_velocity(positions, data.predicted), valid, size)[0]
    for step, batch in zip(range(recipe["steps"]), batches(train, size, draw)):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, recipe)
        batch = [part.float() if part.is_floating_point() else part for part in batch]
        error = distances(model(*batch[:2]), batch)
        bounded = error.detach().clamp(min=LEAST_DISTANCE)
        loss = (error.square() / (2 * bounded) + bounded / 2).mean()  # the mean distance, with its gradient
        if step % recipe["report"] == 0:
            print(f"{scene}: step {step}  loss {loss.item():.4f}", flush=True)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe["optimiser"]["clip"])
        optimiser.step()
        share = 1 - min(recipe["ema_decay"], (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), model.parameters()):
                mean.lerp_(now, share)
        if (step + 1) % recipe["validate"] and step + 1 < recipe["steps"]:
            continue
        skill = 1 - measure(in_floats(average), valid, size)[0] / constant
        print(f"{scene}: step {step + 1}  skill on the validation data {skill:.4f}", flush=True)
        if skill > best_skill:
            best, best_skill = copy.deepcopy(average), skill
    return best


def in_floats(model):
    return lambda positions, present: model(positions.float(), present)


def shown(figures):
    return "ADE {:.3f}, FDE {:.3f}, FDE of the most curved third {:.3f}".format(*figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path, help="the folder with the tables of tracks")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=SCENES, help="the scenes to leave out, each in turn")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe, found = json.loads(options.recipe.read_text(encoding="utf-8")), []
    data = Data(recipe["task"], options.folder)
    for scene in options.scenes:
        begin, test = time.time(), data.windows("test", scene)
        constant = measure(lambda positions, _: constant_velocity(positions, data.predicted), test, recipe["batch"])
        print(f"{scene}: constant velocity: {shown(constant)}", flush=True)
        found.append(measure(in_floats(trained(recipe, data, scene, options.seed)), test, recipe["batch"]) + constant)
        print(f"{scene}, seed {options.seed}: {shown(found[-1])}  ({time.time() - begin:.0f} s)", flush=True)
    means = torch.tensor(found).mean(0).tolist()
    print(f"mean of the scenes, seed {options.seed}: {shown(means)}")
    print(f"mean of the scenes, constant velocity: {shown(means[3:])}")


if __name__ == "__main__":
    main()
