"""Goldens of the model families, from random weights of small configurations that turn every flag on.

    pip install torch transformers safetensors numpy
    python tools/goldens/models.py [bert|distilbert|roberta|roformer|gpt2|llama|marian|loading …]

Writes tests/goldens/FAMILY/VARIANT/{config.json, model.safetensors, golden.safetensors}; golden_files.py describes the last. Weights and
inputs come from fixed seeds: another run with the same versions writes the same numbers.
"""

import sys

import torch
import transformers as hf
from golden_files import ROOT, greedy, run, run_encoder_decoder, search, seed_weights, write
from safetensors.numpy import save_file

torch.set_num_threads(1)
SEARCHES = [(1, 1.0), (2, 1.0), (4, 1.0), (4, 0.0), (4, 2.0), (5, -1.0)]
NOT_TIED = {"tie_word_embeddings": False}


def tokens(seed, batch, length, vocabulary, lowest=5):
    return torch.randint(lowest, vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))


def encoder_inputs(seed, vocabulary, types=0, pad=0, length=11):
    """Two sequences, the second padded; type ids change in the middle."""
    ids = tokens(seed, 2, length, vocabulary)
    mask = torch.ones_like(ids)
    ids[1, -4:], mask[1, -4:] = pad, 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if types:
        inputs["token_type_ids"] = (torch.arange(length)[None] * types // length).repeat(2, 1)
    return inputs


def encoder(family, variant, kind, config, seed, *, types=0, pad=0, keep=None):
    model = kind(config)
    model.set_attn_implementation("eager")
    seed_weights(model, seed)
    golden = run(model, encoder_inputs(seed + 1, config.vocab_size, types, pad))
    write(family, variant, model, golden, config=keep)


def causal(family, variant, kind, config, seed, *, length=12, new=6, dtype=torch.float32, shard=None, keep=None, searches=None):
    model = kind(config)
    model.set_attn_implementation("eager")
    seed_weights(model, seed)
    with torch.no_grad():  # the golden uses the rounded weights; buffers (rotary frequencies) stay in f32, as in from_pretrained
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
    ids = tokens(seed + 1, 2, length, config.vocab_size)
    golden = run(model, {"input_ids": ids})
    if hasattr(model, "lm_head"):
        golden |= greedy(model, ids, new)
    if searches:
        golden |= search(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, 8, searches)
    write(family, variant, model, golden, dtype=dtype, shard=shard, config=keep)


def bert():
    small = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                 max_position_embeddings=20)
    encoder("bert", "mlm", hf.BertForMaskedLM, hf.BertConfig(**small), 100, types=2)
    encoder("bert", "classify", hf.BertForSequenceClassification,
            hf.BertConfig(**small, hidden_act="relu", num_labels=3, id2label={0: "no", 1: "maybe", 2: "yes"}, layer_norm_eps=1e-5), 110,
            types=2)
    encoder("bert", "pooler", hf.BertModel, hf.BertConfig(**small, type_vocab_size=3, hidden_act="gelu_new"), 120, types=3)
    encoder("bert", "pretraining", hf.BertForPreTraining, hf.BertConfig(**small), 130, types=2)
    encoder("bert", "tokens", hf.BertForTokenClassification, hf.BertConfig(**small, num_labels=5), 140, types=2)
    encoder("bert", "answers", hf.BertForQuestionAnswering, hf.BertConfig(**small), 150, types=2)


def distilbert():
    small = dict(vocab_size=61, dim=24, n_layers=2, n_heads=3, hidden_dim=40, max_position_embeddings=20)
    encoder("distilbert", "mlm", hf.DistilBertForMaskedLM, hf.DistilBertConfig(**small), 200)
    encoder("distilbert", "classify", hf.DistilBertForSequenceClassification,
            hf.DistilBertConfig(**small, activation="relu", sinusoidal_pos_embds=True, num_labels=4), 210)
    encoder("distilbert", "answers", hf.DistilBertForQuestionAnswering, hf.DistilBertConfig(**small), 220)


def roberta():
    small = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                 max_position_embeddings=20)
    encoder("roberta", "mlm", hf.RobertaForMaskedLM, hf.RobertaConfig(**small, type_vocab_size=1), 300, types=1, pad=1)
    encoder("roberta", "classify", hf.RobertaForSequenceClassification,
            hf.RobertaConfig(**small, type_vocab_size=2, num_labels=3, pad_token_id=2), 310, types=2, pad=2)
    encoder("roberta", "answers", hf.RobertaForQuestionAnswering, hf.RobertaConfig(**small, type_vocab_size=1), 320, types=1, pad=1)


def roformer():
    small = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                 max_position_embeddings=20)
    encoder("roformer", "mlm", hf.RoFormerForMaskedLM, hf.RoFormerConfig(**small), 350, types=2)
    encoder("roformer", "classify", hf.RoFormerForSequenceClassification,
            hf.RoFormerConfig(**small, type_vocab_size=1, hidden_act="relu", num_labels=3), 360, types=1)
    encoder("roformer", "tokens", hf.RoFormerForTokenClassification, hf.RoFormerConfig(**small, num_labels=4), 370, types=2)


def older_names(fields):
    """Renames dtype to torch_dtype, as in older checkpoints of the hub."""
    if "dtype" in fields:
        fields["torch_dtype"] = fields.pop("dtype")


def gpt2():
    small = dict(vocab_size=67, n_positions=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    causal("gpt2", "plain", hf.GPT2LMHeadModel, hf.GPT2Config(**small), 400, searches=SEARCHES)
    causal("gpt2", "flags", hf.GPT2LMHeadModel,
           hf.GPT2Config(**(small | {"n_embd": 24, "n_head": 3}), scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=False,
                         n_inner=40, activation_function="relu", layer_norm_epsilon=1e-4), 410)
    causal("gpt2", "unscaled", hf.GPT2LMHeadModel,
           hf.GPT2Config(**small, scale_attn_weights=False, activation_function="gelu", **NOT_TIED), 420)
    causal("gpt2", "bare", hf.GPT2Model, hf.GPT2Config(**small), 430)
    classifier = dict(num_labels=3, pad_token_id=3)
    encoder("gpt2", "classify", hf.GPT2ForSequenceClassification, hf.GPT2Config(**small, **classifier), 460, pad=3)
    encoder("gpt2", "tokens", hf.GPT2ForTokenClassification, hf.GPT2Config(**small, **classifier), 470, pad=3)
    causal("gpt2", "sharded", hf.GPT2LMHeadModel, hf.GPT2Config(**small), 440, shard="16KB")
    causal("gpt2", "f16", hf.GPT2LMHeadModel, hf.GPT2Config(**small), 450, dtype=torch.float16, keep=older_names)


def older_rope(fields):
    """Writes rope_theta and rope_scaling as separate fields, as transformers did before version 5."""
    older_names(fields)
    rope = dict(fields.pop("rope_parameters"))
    fields["rope_theta"] = rope.pop("rope_theta")
    fields["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if fields["rope_scaling"] and rope["rope_type"] == "linear":
        fields["rope_scaling"] = {"type": "linear", "factor": rope["factor"]}


def llama():
    small = dict(vocab_size=67, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 max_position_embeddings=64, bos_token_id=0, eos_token_id=1)

    def rope(**fields):
        return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0} | fields}

    kind = hf.LlamaForCausalLM
    causal("llama", "gqa", kind, hf.LlamaConfig(**small, head_dim=6, **rope(), **NOT_TIED), 500)
    causal("llama", "biases", kind,
           hf.LlamaConfig(**small, head_dim=10, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-4, hidden_act="gelu",
                          tie_word_embeddings=True, **rope(rope_theta=500.0)), 510)
    causal("llama", "linear", kind, hf.LlamaConfig(**small, **rope(rope_type="linear", factor=3.0), **NOT_TIED), 520, keep=older_rope)
    llama3 = dict(rope_type="llama3", rope_theta=50.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=16)
    causal("llama", "llama3", kind, hf.LlamaConfig(**small, head_dim=16, **rope(**llama3), **NOT_TIED), 530)
    causal("llama", "llama3_older", kind,
           hf.LlamaConfig(**(small | {"num_key_value_heads": 1}), head_dim=8, **rope(**llama3), tie_word_embeddings=True),
           540, keep=older_rope)
    causal("llama", "bf16", kind, hf.LlamaConfig(**small, **rope(), **NOT_TIED), 550, dtype=torch.bfloat16, keep=older_rope)
    encoder("llama", "classify", hf.LlamaForSequenceClassification,
            hf.LlamaConfig(**(small | {"hidden_size": 16, "intermediate_size": 24}), num_labels=4, pad_token_id=2, **rope(), **NOT_TIED),
            580, pad=2)
    encoder("llama", "tokens", hf.LlamaForTokenClassification,
            hf.LlamaConfig(**(small | {"hidden_size": 16, "intermediate_size": 24}), num_labels=4, pad_token_id=2, **rope(), **NOT_TIED),
            585, pad=2)
    causal("llama", "mistral", hf.MistralForCausalLM,
           hf.MistralConfig(**small, head_dim=8, sliding_window=5, **rope(), **NOT_TIED), 560)
    causal("llama", "qwen2", hf.Qwen2ForCausalLM, hf.Qwen2Config(**small, use_sliding_window=False, **rope(), tie_word_embeddings=True),
           570)
    causal("llama", "smollm3", hf.SmolLM3ForCausalLM,
           hf.SmolLM3Config(**small, use_sliding_window=True, sliding_window=5, no_rope_layers=[1, 0],
                            layer_types=["full_attention", "sliding_attention"], pad_token_id=2, **rope()), 590)


def translator(variant, config, seed, *, dtype=torch.float32, ends=0.0, searches=None):
    """Three sources and targets of unequal lengths, each padded on its own. ends: increases the probability that a text ends."""
    model = hf.MarianMTModel(config)
    model.set_attn_implementation("eager")
    seed_weights(model, seed)
    with torch.no_grad():
        if searches:  # makes the output depend on the tokens before it, and its probabilities less extreme
            model.model.decoder.embed_tokens.weight.mul_(4)
            model.lm_head.weight.mul_(0.7)
        model.final_logits_bias.copy_(0.3 * torch.randn(model.final_logits_bias.shape, generator=torch.Generator().manual_seed(seed + 2)))
        for name, tensor in (*model.named_parameters(), ("final_logits_bias", model.final_logits_bias)):
            if name == "final_logits_bias":
                tensor[0, config.eos_token_id] += ends
            if "embed_positions" not in name:
                tensor.copy_(tensor.to(dtype).float())

    def padded(seed, lengths, vocabulary):
        ids = tokens(seed, len(lengths), max(lengths), vocabulary)
        mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
        return {"input_ids": torch.where(mask == 1, ids, config.pad_token_id), "attention_mask": mask}

    source = padded(seed + 1, (9, 4, 7), config.vocab_size)
    golden = run_encoder_decoder(model, source, padded(seed + 3, (5, 8, 3), config.decoder_vocab_size))
    if searches:
        golden |= search(model, source, 12, searches)
    write("marian", variant, model, golden, dtype=dtype)


def marian():
    small = dict(vocab_size=61, d_model=24, encoder_layers=2, decoder_layers=3, encoder_ffn_dim=40, decoder_ffn_dim=32,
                 encoder_attention_heads=3,
                 decoder_attention_heads=4, max_position_embeddings=40, pad_token_id=0, eos_token_id=1, forced_eos_token_id=None,
                 decoder_start_token_id=0)
    translator("shared", hf.MarianConfig(**small, scale_embedding=True, activation_function="swish"), 600)
    translator("searched", hf.MarianConfig(**(small | {"decoder_layers": 1}), activation_function="relu", **NOT_TIED), 710, ends=2.0,
               searches=SEARCHES)
    translator("apart", hf.MarianConfig(**small, decoder_vocab_size=53, share_encoder_decoder_embeddings=False, activation_function="gelu"),
               610)
    translator("untied", hf.MarianConfig(**small, scale_embedding=True, activation_function="relu", **NOT_TIED), 620, dtype=torch.bfloat16)


def reloaded(family, variant, kind, inputs):
    """Writes the golden of the model as transformers loads it from the files, where config.json contradicts the weights."""
    folder = ROOT / family / variant
    model = kind.from_pretrained(folder, attn_implementation="eager")
    save_file(run(model, inputs), folder / "golden.safetensors", metadata={"made_by": "tools/goldens/models.py"})


def loading():
    """Files that a reader might interpret differently from transformers."""
    ids = {"input_ids": tokens(801, 2, 12, 61)}

    def says_tied(fields):
        fields["tie_word_embeddings"] = True

    small = dict(vocab_size=61, n_positions=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    causal("gpt2", "own_head", hf.GPT2LMHeadModel, hf.GPT2Config(**small, **NOT_TIED), 800, keep=says_tied)
    reloaded("gpt2", "own_head", hf.GPT2LMHeadModel, ids)
    small_bert = dict(vocab_size=61, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40,
                      max_position_embeddings=20)
    encoder("bert", "own_decoder", hf.BertForMaskedLM, hf.BertConfig(**small_bert, **NOT_TIED), 810, types=2, keep=says_tied)
    reloaded("bert", "own_decoder", hf.BertForMaskedLM, ids)
    # Padding tokens without an attention mask.
    padded = {"input_ids": ids["input_ids"].clone()}
    padded["input_ids"][1, -4:] = 3
    encoder("gpt2", "classify_pads", hf.GPT2ForSequenceClassification, hf.GPT2Config(**small, num_labels=3, pad_token_id=3), 820, pad=3)
    reloaded("gpt2", "classify_pads", hf.GPT2ForSequenceClassification, padded)

    def without_original(fields):
        del fields["rope_parameters"]["original_max_position_embeddings"]

    rope = dict(rope_type="llama3", rope_theta=50.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    causal("llama", "llama3_unsaid", hf.LlamaForCausalLM,
           hf.LlamaConfig(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=1, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=16,
                          max_position_embeddings=24, rope_parameters=rope, **NOT_TIED), 830, keep=without_original)
    reloaded("llama", "llama3_unsaid", hf.LlamaForCausalLM, ids)


FAMILIES = {function.__name__: function for function in (bert, distilbert, roberta, roformer, gpt2, llama, marian, loading)}

if __name__ == "__main__":
    for name in sys.argv[1:] or FAMILIES:
        FAMILIES[name]()
        print(name, sum(path.stat().st_size for path in (ROOT / name).rglob("*") if path.is_file()) // 1024, "KiB")
