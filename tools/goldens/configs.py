"""config.json files that the model families must accept: tests/goldens/configs.json.

    pip install transformers
    python tools/goldens/configs.py

"defaults" holds every field of the library's configuration class of each supported model type, at its default. "published" holds the
fields of checkpoints on the hub, with small sizes: older versions of the library and other trainers wrote fields that it no longer has.
"""

import json

import transformers as hf
from golden_files import ROOT

CLASSES = [hf.BertConfig, hf.DistilBertConfig, hf.RobertaConfig, hf.XLMRobertaConfig, hf.CamembertConfig, hf.GPT2Config, hf.LlamaConfig,
           hf.MistralConfig, hf.Qwen2Config, hf.SmolLM3Config, hf.MarianConfig]

# Fields of transformers 4 configurations in addition to those of the model.
COMMON = {"_name_or_path": "x", "transformers_version": "4.30.0", "torch_dtype": "float32", "output_attentions": False,
          "output_hidden_states": False,
          "return_dict": True, "torchscript": False, "use_bfloat16": False, "tf_legacy_loss": False, "pruned_heads": {},
          "chunk_size_feed_forward": 0,
          "is_encoder_decoder": False, "is_decoder": False, "cross_attention_hidden_size": None, "add_cross_attention": False,
          "tie_encoder_decoder": False, "max_length": 20, "min_length": 0, "do_sample": False, "early_stopping": False, "num_beams": 1,
          "num_beam_groups": 1, "diversity_penalty": 0.0, "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0,
          "repetition_penalty": 1.0,
          "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0, "bad_words_ids": None,
          "num_return_sequences": 1,
          "output_scores": False, "return_dict_in_generate": False, "forced_bos_token_id": None, "forced_eos_token_id": None,
          "remove_invalid_values": False, "exponential_decay_length_penalty": None, "suppress_tokens": None, "begin_suppress_tokens": None,
          "finetuning_task": None, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
          "tokenizer_class": None,
          "prefix": None, "bos_token_id": 0, "pad_token_id": 0, "eos_token_id": 2, "sep_token_id": None, "decoder_start_token_id": None,
          "task_specific_params": None, "problem_type": None, "_attn_implementation_autoset": True}

BERT = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 24, "initializer_range": 0.02, "intermediate_size": 40, "layer_norm_eps": 1e-12, "max_position_embeddings": 20,
        "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 61}
ROBERTA = BERT | {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "pad_token_id": 1, "type_vocab_size": 1,
                  "bos_token_id": 0, "eos_token_id": 2}
DISTILBERT = {"model_type": "distilbert", "activation": "gelu", "architectures": ["DistilBertForSequenceClassification"],
              "attention_dropout": 0.1, "dim": 24,
              "dropout": 0.1, "hidden_dim": 40, "initializer_range": 0.02, "max_position_embeddings": 20, "n_heads": 3, "n_layers": 2,
              "pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "tie_weights_": True,
              "vocab_size": 61}
GPT2 = {"model_type": "gpt2", "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 60,
        "embd_pdrop": 0.1, "eos_token_id": 60, "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "n_ctx": 40, "n_embd": 16,
        "n_head": 2, "n_layer": 2,
        "n_positions": 40, "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
        "summary_type": "cls_index", "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 61}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
         "hidden_size": 24, "initializer_range": 0.02, "intermediate_size": 40, "max_position_embeddings": 64, "num_attention_heads": 4,
         "num_hidden_layers": 2,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
         "transformers_version": "4.40.0", "use_cache": True, "vocab_size": 61}
LLAMA3_ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
               "rope_type": "llama3"}
MARIAN = {"model_type": "marian", "_name_or_path": "x", "_num_labels": 3, "activation_dropout": 0.0, "activation_function": "swish",
          "add_bias_logits": False, "add_final_layer_norm": False, "architectures": ["MarianMTModel"], "attention_dropout": 0.0,
          "bad_words_ids": [[60]],
          "bos_token_id": 0, "classif_dropout": 0.0, "classifier_dropout": 0.0, "d_model": 24, "decoder_attention_heads": 4,
          "decoder_ffn_dim": 40,
          "decoder_layerdrop": 0.0, "decoder_layers": 2, "decoder_start_token_id": 60, "decoder_vocab_size": 61, "dropout": 0.1,
          "encoder_attention_heads": 4, "encoder_ffn_dim": 40, "encoder_layerdrop": 0.0, "encoder_layers": 2, "eos_token_id": 0,
          "extra_pos_embeddings": 0, "force_bos_token_to_be_generated": False, "forced_eos_token_id": 0, "gradient_checkpointing": False,
          "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "init_std": 0.02, "is_encoder_decoder": True,
          "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, "max_length": 512, "max_position_embeddings": 40,
          "normalize_before": False, "normalize_embedding": False, "num_beams": 4, "num_hidden_layers": 2, "pad_token_id": 60,
          "scale_embedding": True, "share_encoder_decoder_embeddings": True, "static_position_embeddings": True,
          "transformers_version": "4.22.0", "use_cache": True, "vocab_size": 61}

PUBLISHED = {
    "google bert": BERT | {"directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12, "pooler_num_fc_layers": 3,
                           "pooler_size_per_head": 128, "pooler_type": "first_token_transform", "gradient_checkpointing": False,
                           "position_embedding_type": "absolute", "use_cache": True, "output_past": True, "_num_labels": 9},
    "bert of transformers 4": COMMON | BERT | {"classifier_dropout": None, "use_cache": True, "position_embedding_type": "absolute"},
    "tiny bert": BERT | {"cell": {}, "emb_size": 24, "pre_trained": "", "structure": [], "training": ""},
    "cross encoder": BERT | {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
                             "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
                             "sentence_transformers": {"version": "4.1.0", "activation_fn": "torch.nn.modules.linear.Identity"}},
    "roberta question answering": ROBERTA | {"architectures": ["RobertaForQuestionAnswering"], "language": "english", "name": "Roberta",
                                             "gradient_checkpointing": False},
    "roberta of transformers 4": COMMON | ROBERTA,
    "xlm-roberta": ROBERTA | {"model_type": "xlm-roberta", "architectures": ["XLMRobertaForMaskedLM"], "output_past": True},
    "camembert": ROBERTA | {"model_type": "camembert", "architectures": ["CamembertForMaskedLM"], "output_past": True},
    "distilbert sentiment": DISTILBERT | {"finetuning_task": "sst-2", "output_past": True, "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
                                          "label2id": {"NEGATIVE": 0, "POSITIVE": 1}},
    "distilbert of transformers 4": COMMON | DISTILBERT,
    "gpt2": GPT2,
    "distilgpt2": GPT2 | {"_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
    "gpt2 with older switches": GPT2
    | {"gradient_checkpointing": False, "predict_special_tokens": True, "scale_attn_by_inverse_layer_idx": False,
                                        "reorder_and_upcast_attn": False, "scale_attn_weights": True, "use_cache": True,
                                        "is_decoder": True},
    "llama 1": LLAMA | {"max_sequence_length": 64, "pad_token_id": -1},
    "llama 2": LLAMA | {"pretraining_tp": 1, "pad_token_id": 0, "_name_or_path": "x"},
    "llama 3.1": LLAMA | {"attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "pretraining_tp": 1, "rope_theta": 500000.0,
                          "rope_scaling": LLAMA3_ROPE, "eos_token_id": [2, 3, 4]},
    "llama 3.2": LLAMA | {"attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "pretraining_tp": 1, "rope_theta": 500000.0,
                          "rope_scaling": LLAMA3_ROPE | {"factor": 32.0}, "head_dim": 6, "tie_word_embeddings": True},
    "llama by unsloth": LLAMA
    | {"unsloth_fixed": True, "unsloth_version": "2024.9", "pad_token_id": 4, "_attn_implementation_autoset": True}, "smollm2": LLAMA
    | {"is_llama_config": True, "rope_interleaved": False, "rope_theta": 100000, "tie_word_embeddings": True, "pad_token_id": 2,
                        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}},
    "mistral 0.1": LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 40, "rope_theta": 10000.0},
    "mistral 0.3": LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None, "rope_theta": 1e6,
                            "attention_dropout": 0.0},
    "qwen 2.5": LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "max_window_layers": 2,
                         "rope_theta": 1e6, "sliding_window": 64, "use_mrope": False, "use_sliding_window": False},
    "smollm3": LLAMA | {"model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
                        "max_window_layers": 28, "mlp_bias": False, "no_rope_layer_interval": 4, "no_rope_layers": [1, 1],
                        "pretraining_tp": 2, "layer_types": ["full_attention", "full_attention"], "rope_theta": 5e6, "sliding_window": None,
                        "use_sliding_window": False},
    "opus-mt": MARIAN,
}


def defaults():
    out = {}
    for kind in CLASSES:
        fields = kind().to_dict()
        if kind is hf.MarianConfig:
            fields["decoder_start_token_id"] = fields["vocab_size"] - 1
        out[kind.model_type] = fields
    return out


if __name__ == "__main__":
    groups = {"defaults": defaults(), "published": PUBLISHED}
    lines = [f'"{group}": {{\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(fields, sort_keys=True)}" for name, fields in found.items())
             + "\n}"
             for group, found in groups.items()]
    (ROOT / "configs.json").write_text("{" + ",\n".join(lines) + "}\n")
