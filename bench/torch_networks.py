"""PyTorch versions of the networks in src/models/networks, with the same weight names, for side_by_side_training.py. Their interface is
that of transformers models."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), Path(folder) / "model.safetensors")


class RecurrentTranslator(Network):
    """Bahdanau's network (recurrent_translator.cc) with global additive soft attention."""

    def __init__(self, config):
        super().__init__()
        if (config.get("score", "additive"), config.get("where", "global"), config.get("choice", "soft")) != ("additive", "global", "soft"):
            raise SystemExit("of recurrent_translator only score=additive, where=global, choice=soft is here in PyTorch")
        width, hidden = config["embedding_size"], config["hidden_size"]
        self.embedding = nn.Embedding(config["vocab_size"], width)
        self.bias = nn.Parameter(torch.zeros(config["vocab_size"]))
        self.encoder = nn.GRU(width, hidden // 2, bidirectional=True, batch_first=True)
        self.begin = nn.Linear(hidden // 2, hidden)
        self.decoder = nn.GRU(width + hidden, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.score = nn.Parameter(torch.zeros(1, hidden))
        self.read = nn.Linear(2 * hidden, width)
        self.dropout = nn.Dropout(config.get("dropout", 0))

    def words(self, ids):
        return self.dropout(self.embedding(ids) * math.sqrt(self.embedding.embedding_dim))

    def forward(self, input_ids, attention_mask, decoder_input_ids, use_cache=False):
        lengths = attention_mask.sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.words(input_ids), lengths, batch_first=True, enforce_sorted=False)
        rows, last = self.encoder(packed)
        rows = nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)[0]
        state, keys, written = torch.tanh(self.begin(last[1])), self.key(rows), self.words(decoder_input_ids)
        hidden = (attention_mask == 0)[:, : rows.shape[1]]
        out = []
        for t in range(written.shape[1]):
            scores = torch.tanh(self.query(state)[:, None] + keys) @ self.score[0]
            context = (scores.masked_fill(hidden, -math.inf).softmax(1)[:, None] @ rows)[:, 0]
            _, after = self.decoder(torch.cat([written[:, t], context], 1)[:, None], state[None])
            state = after[0]
            out.append(torch.cat([state, context], 1))
        x = torch.tanh(self.read(torch.stack(out, 1)))
        return SimpleNamespace(logits=functional.linear(self.dropout(x), self.embedding.weight, self.bias))


KINDS = {"recurrent_translator": RecurrentTranslator}


def load(folder):
    """Returns the network for the folder of a clearhead model, or None if transformers supports its type."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] not in KINDS:
        return None
    model = KINDS[config["model_type"]](config)
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model
