"""The models of clearhead-known-models (src/models/known_answers.h) in PyTorch: attention only, without MLPs and norms.

The causal model copies: after bytes that occurred before, it predicts the byte that followed them. So it is known which tokens an answer
depends on, at any length.
"""

import torch
import transformers
from transformers.modeling_outputs import CausalLMOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class KnownConfig(transformers.PretrainedConfig):
    model_type = "clearhead-attention"


class Attention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        width, inner = config.hidden_size, config.num_attention_heads * config.head_dim
        self.query, self.key, self.value = (torch.nn.Linear(width, inner, bias=False) for _ in range(3))
        self.output = torch.nn.Linear(inner, width, bias=False)
        self.sinks = torch.nn.Parameter(torch.zeros(config.num_attention_heads))
        self.config, self.is_causal = config, True

    def forward(self, hidden_states):
        batch, length, _ = hidden_states.shape
        split = lambda x: x.view(batch, length, self.config.num_attention_heads, -1).transpose(1, 2)
        q, k, v = (split(of(hidden_states)) for of in (self.query, self.key, self.value))
        attend = ALL_ATTENTION_FUNCTIONS.get_interface("clearhead", None)
        out, _ = attend(self, q, k, v, None, scaling=self.config.attention_scale, s_aux=self.sinks)
        return self.output(out.reshape(batch, length, -1))


class Layer(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)

    def forward(self, hidden_states):
        return hidden_states + self.attention(hidden_states)


class KnownModel(transformers.PreTrainedModel, transformers.GenerationMixin):
    config_class = KnownConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = torch.nn.Linear(config.hidden_size, 2 * len(config.position_frequencies), bias=False)
        self.layers = torch.nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids, "use_cache": False}

    def forward(self, input_ids, attention_mask=None, use_cache=False, logits_to_keep=0, return_dict=True):
        angles = torch.arange(input_ids.shape[1]).double()[:, None] * torch.tensor(self.config.position_frequencies).double()
        phases = torch.stack([angles.cos(), angles.sin()], -1).flatten(1).float()
        x = self.embed_tokens(input_ids) + phases @ self.embed_positions.weight  # [phase, width]
        for layer in self.layers:
            x = layer(x)
        return CausalLMOutput(logits=self.lm_head(x[:, -logits_to_keep:]))


def loaded(folder):
    """Returns (model, tokenizer) of a folder that clearhead-known-models has written."""
    import json
    import os

    from safetensors.torch import load_file

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = KnownConfig(**json.load(file))
    model = KnownModel(config).eval()
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")))
    return model, transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"))
