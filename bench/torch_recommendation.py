#!/usr/bin/env python3
"""Sequential recommendation in PyTorch on the data of recipes/recommendations.json: SASRec (Kang & McAuley 2018) with the recipe's sizes,
dropout, optimiser, schedule and loss (cross-entropy over all items). Needs torch.

  bench/torch_recommendation.py beauty.tsv [--seed N]

Trains on all items but each user's last, as the recipe does, and prints HR@10 and NDCG@10 of that last item among all items that the user
does not have.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

WIDTH, LAYERS, HEADS, LENGTH, BATCH, STEPS, WARMUP, RATE = 64, 2, 2, 50, 128, 2340, 100, 2e-3
DROPOUT, ATTENTION_DROPOUT, DECAY = 0.3, 0.2, 0.1


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.first(x)).view(batch, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        rate = ATTENTION_DROPOUT if self.training else 0.0
        read = functional.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + self.dropout(self.out(read))
        return x + self.dropout(self.down(functional.gelu(self.up(self.second(x)), approximate="tanh")))


class Model(nn.Module):
    def __init__(self, items):
        super().__init__()
        self.items, self.places = nn.Embedding(items, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.Sequential(*[Layer() for _ in range(LAYERS)])
        self.norm, self.dropout = nn.LayerNorm(WIDTH), nn.Dropout(DROPOUT)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids):
        """Returns the last hidden states, [batch, length, width]; a product with the item embeddings gives the logits."""
        return self.norm(self.layers(self.dropout(self.items(ids) + self.places(torch.arange(ids.shape[1])))))


def padded(sequences):
    """Returns inputs and targets, [user, length]; targets are −100 after the end."""
    length = max(len(s) for s in sequences) - 1
    inputs, targets = torch.zeros(len(sequences), length, dtype=torch.long), torch.full((len(sequences), length), -100)
    for row, s in enumerate(sequences):
        inputs[row, : len(s) - 1], targets[row, : len(s) - 1] = torch.tensor(s[:-1]), torch.tensor(s[1:])
    return inputs, targets


def train(model, users, seed):
    draw = torch.Generator().manual_seed(seed)

    def decays(name, parameter):
        return parameter.dim() > 1 and not name.startswith(("items", "places"))

    groups = [
        {"params": [p for name, p in model.named_parameters() if decays(name, p) == is_decayed], "weight_decay": DECAY * is_decayed}
        for is_decayed in (True, False)
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE)
    order = []
    for step in range(STEPS):
        if len(order) < BATCH:
            order = torch.randperm(len(users), generator=draw).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        inputs, targets = padded([users[i][:-1][-LENGTH - 1 :] for i in chosen])
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / WARMUP, (STEPS - step) / (STEPS - WARMUP))
        counts = targets != -100
        loss = functional.cross_entropy(model(inputs)[counts] @ model.items.weight.t(), targets[counts])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 0:
            print(f"step {step}  loss {loss.item():.4f}", flush=True)


@torch.no_grad()
def measure(model, users):
    hits = gain = 0.0
    for begin in range(0, len(users), 256):
        some = users[begin : begin + 256]
        inputs, _ = padded([u[-LENGTH - 1 :] for u in some])
        last = torch.tensor([min(len(u), LENGTH + 1) - 2 for u in some])
        logits = model(inputs)[torch.arange(len(some)), last] @ model.items.weight.t()
        for row, user in enumerate(some):
            own = logits[row, user[-1]].item()
            logits[row, user[-LENGTH - 1 : -1]] = -math.inf
            rank = int((logits[row] >= own).sum())
            hits += rank <= 10
            gain += 1 / math.log2(rank + 1) if rank <= 10 else 0
    return hits / len(users), gain / len(users)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="lines `user<TAB>items`, oldest first, with blanks between")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    rows = [line.split("\t")[1].split() for line in options.file.read_text(encoding="utf-8").splitlines()]
    number = {item: at for at, item in enumerate(dict.fromkeys(item for row in rows for item in row))}
    users = [[number[item] for item in row] for row in rows]
    model, begin = Model(len(number)), time.time()
    train(model, users, options.seed)
    model.eval()
    hit_rate, ndcg = measure(model, users)
    print(f"seed {options.seed}: HR@10 {hit_rate:.4f}, NDCG@10 {ndcg:.4f} ({len(users)} users), {time.time() - begin:.0f} s")


main()
