"""Compares every transformers architecture that can be made small: eager, with clearhead's kernel, and watched.

    python python/tests/all_models.py                  the whole table, as Markdown, with a line of totals
    python python/tests/all_models.py bert llama …     only these (names of folders in transformers/models)
    python python/tests/all_models.py --slice 2/4      the second quarter
    python python/tests/all_models.py --tenth          a tenth that covers all kinds of model; fails if one of them differs

One row for each folder of transformers/models with a model file: random weights, with queries and keys large enough that rows are far from
uniform, and random inputs. "clearhead" compares logits with eager attention (within 1e-4 of max(1, largest)). "watched" and "masked"
compare every map with the attention that the model itself computes under eager (own_attention.py), within 1e-5: without a mask, and with a
mask that differs for each query (or with padding, if a model accepts no other mask). "seen" counts the maps that were compared. Attention
that is not seen is listed in `left_out`, or is a softmax of the model that no map shows ("not explained").
"""

import argparse
import contextlib
import copy
import inspect
import logging
import os
import pathlib
import re
import signal
import sys
import time
import traceback
import warnings

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import clearhead as ch
import numpy as np
import torch
import transformers
from own_attention import Spy, returned

MODELS = pathlib.Path(transformers.__file__).parent / "models"
SECONDS = 40
# Encoders, decoders, encoder-decoders; windows, chunks, caps, sinks, biases, shared layers, latent attention; pictures, sounds; towers.
TENTH = """albert bart bert clip deepseek_v3 deepseek_v4 distilbert dinov2 electra gemma2 gemma3 gpt2 gpt_neox gpt_oss hubert llama llama4
marian mimo_v2_flash mistral mixtral modernbert olmo2 opt phi3 qwen2 qwen3_moe roberta segformer siglip t5 vit whisper
wav2vec2 xlm_roberta""".split()
LOGITS, MAPS = 1e-4, 1e-5
NO_ATTENTION = re.compile(r"_hc$")  # modules whose softmax of four axes mixes streams within a token (hyper-connections)
LARGEST = 1e4  # bound of the numbers in an output
PEAKED = re.compile(r"q_proj|k_proj|query|key|q_lin|k_lin|qkv|Wqkv|c_attn|in_proj|to_q|to_k|\.q\.|\.k\.|q_attn|k_attn|q_head|k_head",
                    re.IGNORECASE)

SMALL = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "dim": 32, "embed_dim": 32, "encoder_hidden_size": 32, "embedding_size": 32,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "depth": 2,
    "num_encoder_layers": 2, "num_decoder_layers": 2, "encoder_num_layers": 2, "decoder_num_layers": 2, "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4, "num_key_value_heads": 2,
    "encoder_num_key_value_heads": 2, "decoder_num_key_value_heads": 2, "head_dim": 8, "d_kv": 8, "kv_channels": 8, "intermediate_size": 64,
    "d_ff": 64, "ffn_dim": 64, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "hidden_dim": 64, "n_inner": 64, "ffn_hidden_size": 64,
    "vocab_size": 120, "max_position_embeddings": 64, "n_positions": 64, "max_source_positions": 64, "max_target_positions": 64,
    "image_size": 32, "patch_size": 8, "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32,
    "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "sliding_window": 6, "attention_window": 8, "num_mel_bins": 16, "projection_dim": 32, "num_queries": 5, "rotary_dim": 4, "moe_k": 2,
    "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1, "first_k_dense_replace": 1, "vocab_size_per_layer_input": 120,
    "hidden_size_per_layer_input": 16, "lm_head_bias": False, "type_vocab_size": 2, "attention_dropout": 0.0, "dropout": 0.0,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "activation_dropout": 0.0, "layerdrop": 0.0, "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0, "_attn_implementation": "eager",
}


class Skip(Exception):
    """This script cannot build the model. This is not a failure of attention."""


@contextlib.contextmanager
def time_limit(seconds):
    """Context manager that raises Skip after this CPU time of the process, which does not depend on the load of the machine."""
    def stop(*_):
        raise Skip(f"took more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def files():
    """Returns the names of the folders that contain a model file."""
    return sorted({path.parent.name for path in MODELS.glob("*/modeling_*.py")})


def has_interface(folder):
    return any("ALL_ATTENTION_FUNCTIONS" in path.read_text(encoding="utf-8") for path in (MODELS / folder).glob("modeling_*.py"))


# Fields to leave unchanged if a model cannot be built or run otherwise: sizes that must match others that are unknown here.
KEPT = [
    (), ("head_dim", "num_key_value_heads", "kv_channels", "d_kv"), tuple(name for name in SMALL if name != "_attn_implementation"),
    ("image_size", "patch_size"), ("head_dim", "num_attention_heads", "num_key_value_heads", "image_size", "patch_size", "num_heads"),
    ("hidden_size", "embed_dim", "dim", "d_model", "head_dim", "num_attention_heads", "num_heads", "num_key_value_heads",
     "intermediate_size"),
    tuple(name for name in SMALL if not any(mark in name for mark in ("layers", "layer", "vocab", "dropout", "drop", "_impl", "experts"))),
]


def shrink(config, kept=(), depth=0):
    """Reduces the fields that make a model large, in a config and in its nested configs."""
    for name, value in SMALL.items():
        if name in kept or name in getattr(type(config), "attribute_map", {}):
            continue
        try:
            known = getattr(config, name)
        except Exception:  # there is no such field, or a list with one entry per layer
            continue
        if isinstance(known, bool) != isinstance(value, bool) and not isinstance(value, str):
            continue
        if isinstance(known, (list, tuple, dict)) or (known is None and name in ("q_lora_rank", "sliding_window")):
            continue
        value = 4 if known is None and name == "num_key_value_heads" else value
        with contextlib.suppress(Exception):
            setattr(config, name, value)
    shrink_special_fields(config, kept)
    for name in list(vars(config)):
        part = vars(config)[name]
        if isinstance(part, transformers.PretrainedConfig) and depth < 4:
            shrink(part, kept, depth + 1)
    if "num_hidden_layers" not in kept:
        shrink_lists_of_layers(config)
    return config


def shrink_special_fields(config, kept):
    """Adjusts fields that depend on others."""
    with contextlib.suppress(Exception):
        if config.kv_lora_rank:  # latent attention has a key head for every head
            config.num_key_value_heads = config.num_attention_heads
            config.qk_head_dim = config.qk_nope_head_dim + config.qk_rope_head_dim
            config.index_topk, config.index_n_heads, config.index_head_dim = 6, 4, 16
    if "lags_sequence" in vars(config):
        config.prediction_length, config.context_length, config.lags_sequence, config.num_time_features = 8, 16, [1, 2], 1
        config.feature_size = config.input_size * len(config.lags_sequence) + config._number_of_features
    for name in ("rope_parameters", "rope_scaling"):
        with contextlib.suppress(Exception):
            if "mrope_section" in getattr(config, name):
                getattr(config, name)["mrope_section"] = [2, 1, 1]
    size = vars(config).get("image_size")
    if isinstance(size, (list, tuple)) and len(size) == 2 and min(size) > 32 and "image_size" not in kept:
        config.image_size = [32, 32]
    if (
        {"mamba_expand", "mamba_n_heads", "mamba_d_head"} <= set(vars(config))
        and "mamba_d_ssm" not in vars(config)
        and "hidden_size" not in kept
    ):
        config.mamba_n_heads, config.mamba_d_head = 8, config.mamba_expand * config.hidden_size // 8
    if "default_language" in vars(config) and vars(config).get("languages"):
        config.default_language = config.languages[0]
    if "num_hidden_layers" not in kept:  # one recurrent layer and one attention layer
        for name, value in (("attn_layer_indices", [1]), ("attn_layer_period", 2), ("attn_layer_offset", 1), ("expert_layer_period", 2)):
            if name in vars(config):
                setattr(config, name, value)


def shrink_lists_of_layers(config):
    """Shortens fields that have one entry per layer to one layer of every kind."""
    for name in ("layer_types", "mlp_layer_types", "layers_block_type", "block_types", "no_rope_layers", "moe_layers"):
        with contextlib.suppress(Exception):
            known = getattr(config, name, None)
            if isinstance(known, list) and len(known) > 2:
                kinds = list(dict.fromkeys(known))
                kinds = (kinds + [known[0]])[: max(2, len(kinds))]
                setattr(config, name, kinds if name != "no_rope_layers" else known[:2])
                if name == "layer_types":
                    config.num_hidden_layers = len(kinds)


def candidates(folder):
    """Returns the model classes that the files of a folder define: generation models first, classes for other tasks last."""
    out = []
    for path in sorted((MODELS / folder).glob("modeling_*.py")):
        module = __import__(f"transformers.models.{folder}.{path.stem}", fromlist=["x"])
        classes = [one for _, one in inspect.getmembers(module, inspect.isclass)
                   if issubclass(one, transformers.PreTrainedModel) and one.__module__ == module.__name__
                   and not one.__name__.endswith("PreTrainedModel")]
        order = ("ForConditionalGeneration", "ForCausalLM", "Model", "ForMaskedLM")
        classes.sort(key=lambda one: next((at for at, end in enumerate(order) if one.__name__.endswith(end)), len(order)))
        out += classes
    return out


def inputs_of(model):
    """Returns random inputs for the parameter names of the model's forward."""
    names = inspect.signature(model.forward).parameters
    config, random = model.config, torch.Generator().manual_seed(5)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    vocabulary = min(100, getattr(text, "vocab_size", 100) or 100)
    ids = torch.randint(5, vocabulary, (2, 13), generator=random)
    out = {}
    main = getattr(model, "main_input_name", "input_ids")
    if main not in names and "pixel_values" in names:
        main = "pixel_values"
    if "input_ids" in names and main == "input_ids":
        out["input_ids"] = ids
    if main == "input_values":
        out["input_values"] = torch.randn(2, 2000, generator=random)
    if main == "input_features":
        if hasattr(config, "feature_projection_input_dim"):
            return {"input_features": torch.randn(2, 32, config.feature_projection_input_dim, generator=random)}
        out["input_features"] = torch.randn(size_of_features(model), generator=random)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in names:
        out["decoder_input_ids"] = ids[:, :7].contiguous()
    if "bbox" in names:
        out["bbox"] = torch.zeros(2, 13, 4, dtype=torch.long)
    out = with_pictures(model, names, main, out, random)
    if "visual_feats" in names:
        out["visual_feats"] = torch.randn(2, 5, getattr(config, "visual_feat_dim", None) or config.visual_embedding_dim, generator=random)
    if "visual_pos" in names:
        out["visual_pos"] = torch.rand(2, 5, 4, generator=random)
    if "past_time_features" in names:
        out = inputs_of_a_series(config, random)
    elif main == "past_values":
        length, channels = getattr(config, "context_length", 32) or 32, getattr(config, "num_input_channels", 1) or 1
        out["past_values"] = torch.randn(2, length, channels, generator=random)
    if not out:
        raise Skip(f"its forward takes {main}")
    return out


def with_pictures(model, names, main, out, random):
    """Returns the inputs with the pictures or the video that the model's forward takes."""
    config = model.config
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 32)
    height, width = (size, size) if isinstance(size, int) else size if size is not None else (32, 32)
    is_both = "pixel_values" in names and "input_ids" in names
    if main == "pixel_values" or (is_both and type(model).__name__.endswith("Model") and main != "input_ids"):
        out["pixel_values"] = torch.randn(2, getattr(vision, "num_channels", 3) or 3, height, width, generator=random)
    if is_both and type(model).__name__ in ("CLIPModel", "SiglipModel", "AltCLIPModel", "ChineseCLIPModel"):
        out["pixel_values"] = torch.randn(2, 3, height, height, generator=random)
    if main == "pixel_values_videos" or (main == "pixel_values" and getattr(config, "num_frames", None)):
        frames = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", 2) or 2
        out = {main: torch.randn(2, frames, 3, height, height, generator=random)}
    if "prompt_pixel_values" in names:
        half = torch.randn(2, 3, height // 2, width, generator=random)  # the prompt and the picture are stacked vertically
        out.update({name: half + at for at, name in enumerate(("pixel_values", "prompt_pixel_values", "prompt_masks"))})
    return out


def size_of_features(model):
    """Returns the shape of the features of two sounds."""
    config = model.config
    bins = getattr(config, "num_mel_bins", None) or getattr(config, "feature_size", None) or getattr(config, "input_feat_per_channel", 80)
    if "speech2text" in type(model).__name__.lower():
        return 2, 32, bins
    return 2, bins, 2 * (getattr(config, "max_source_positions", None) or 32)


def inputs_of_a_series(config, random):
    past, coming = config.context_length + max(config.lags_sequence), config.prediction_length
    return {"past_values": torch.randn(2, past, generator=random), "past_observed_mask": torch.ones(2, past),
            "future_values": torch.randn(2, coming),
            "past_time_features": torch.randn(2, past, config.num_time_features, generator=random),
            "future_time_features": torch.randn(2, coming, config.num_time_features, generator=random)}


def numbers(out):
    """Returns the first tensors of a model's output."""
    if isinstance(out, torch.Tensor):
        return out
    for one in (out.values() if hasattr(out, "values") else out):
        if isinstance(one, torch.Tensor) and one.is_floating_point() and one.numel() > 1:
            return one
    raise Skip("its output has no numbers")


def draw(model, std):
    """Draws random weights."""
    for name, one in model.named_parameters():
        if one.dim() >= 2:
            torch.nn.init.normal_(one, std=std)
        if "sink" in name:
            torch.nn.init.normal_(one)


def parameters_of(kind, config):
    """Returns the number of a model's parameters without allocating them; 0 if the class does not support that."""
    with contextlib.suppress(Exception), torch.device("meta"):
        return sum(one.numel() for one in kind(copy.deepcopy(config)).parameters())
    return 0


def build(folder):
    """Returns (model, inputs) for the first class in a folder that can be made small and runs with eager attention."""
    reasons, begin, kinds = [], time.process_time(), candidates(folder)
    last = next((kind for kind in kinds if kind.__name__.endswith("Model")), None)  # used if no class in the folder has attention
    for kind, kept in ((kind, kept) for kept in KEPT for kind in kinds):
        if time.process_time() - begin > SECONDS:
            break
        try:
            with time_limit(SECONDS):
                config = shrink(kind.config_class(), kept)
                if parameters_of(kind, config) > 150_000_000:
                    raise Skip("not small: its config has sizes that this script does not know")
                torch.manual_seed(0)
                model = kind(config).eval()
                draw(model, 0.15)
                if has_interface(folder):
                    model.set_attn_implementation("eager")
                inputs = inputs_of(model)
                with torch.no_grad(), Spy(model) as spy:
                    out = numbers(model(**inputs))
                if not spy.found and kind is not last:
                    raise Skip("none of its attention was reached")
                if not out.abs().max() < LARGEST:  # a model without norms
                    draw(model, 0.02)
                    with torch.no_grad():
                        out = numbers(model(**inputs))
                if not torch.isfinite(out).all():
                    raise Skip("random weights give numbers that are not finite")
                return model, inputs
        except Skip as reason:
            reasons.append(f"{kind.__name__}: {reason}")
        except Exception as error:
            reasons.append(f"{kind.__name__}: {type(error).__name__}: {' '.join(str(error).split())[:90]}")
    raise Skip(reasons[0] if reasons else "no model class")


def peak(model, inputs):
    """Scales queries and keys up, so that rows of attention are far from uniform, as long as the model's activations stay moderate."""
    chosen = [one for name, one in model.named_parameters() if one.dim() == 2 and PEAKED.search(name)]
    with torch.no_grad():
        for one in chosen:
            one.mul_(2)
        if not numbers(model(**inputs)).abs().max() < LARGEST:
            for one in chosen:
                one.div_(2)


def masked(model, inputs, plain):
    """Returns (kind, inputs) with a mask that differs for each query, if the model accepts one and it changes the result; otherwise with
    padding; (reason, None) if the model accepts no mask."""
    ids = inputs.get("input_ids")
    if ids is None or "attention_mask" not in inspect.signature(model.forward).parameters:
        return "takes no mask", None
    batch, count = ids.shape
    visible = torch.rand(batch, 1, count, count, generator=torch.Generator().manual_seed(7)) > 0.35
    visible |= torch.eye(count, dtype=torch.bool)
    if not model.config.is_encoder_decoder and any(getattr(one, "is_causal", False) for one in model.modules()):
        visible &= torch.ones(count, count, dtype=torch.bool).tril()
    additive = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    padding = torch.ones_like(ids)
    padding[0, count - 3 :] = 0
    for kind, mask in (("per query", additive), ("padding", padding)):
        with contextlib.suppress(Exception):
            torch.manual_seed(3)
            out = numbers(model(**inputs, attention_mask=mask))
            if out.shape == plain.shape and torch.isfinite(out).all() and not torch.equal(out, plain):
                return kind, {**inputs, "attention_mask": mask}
    return "takes no mask", None


def own_weights(model, inputs):
    """Returns (the attentions that the model returns, [(path, weights)] of every softmax in the run)."""
    found = []
    with contextlib.suppress(Exception):
        torch.manual_seed(3)
        found = returned(model(**inputs, output_attentions=True))
    with Spy(model) as spy:
        torch.manual_seed(3)
        model(**inputs)
    return found, spy.found


class Shown:
    """Three rows of a map, [head, row, key], over the keys of the layer."""

    def __init__(self, trace, family, layer):
        self.map, self.name = trace.map(layer, family), f"{family} L{layer}"
        self.rows = [row for row in range(self.map.queries) if self.map.has_row(row)]
        self.at = sorted({0, len(self.rows) // 2, len(self.rows) - 1})
        heads = [self.map.head(head) for head in range(self.map.heads)]
        weights = np.stack([[head.row(self.rows[at]).weights for at in self.at] for head in heads])
        scores = [abs(head.row(self.rows[at]).scores) for head in heads for at in self.at]
        self.tolerance = max(MAPS, 2**-22 * float(np.max(np.where(np.isfinite(scores), scores, 0), initial=0)))
        self.weights = np.nan_to_num(weights[..., ~np.isnan(weights).all((0, 1))])  # NaN: a token or item that is not a key of this layer

    def off(self, weights):
        """Returns the largest difference from weights [batch, head, query, key] or [batch * head, query, key]; None for another shape."""
        heads, queries, keys = self.map.heads, len(self.rows), self.weights.shape[-1]
        if weights.dim() == 3 and weights.shape[0] % heads == 0:
            weights = weights.reshape(-1, heads, *weights.shape[-2:])
        if weights.dim() == 5 and weights.shape[1] == heads != weights.shape[2]:  # the window axis comes after the head axis
            weights = weights.transpose(1, 2)
        weights = weights.reshape(-1, *weights.shape[-3:]).float().nan_to_num()
        of_heads, count, width = weights.shape[-3:]
        number = queries // count if queries % count == 0 else 1  # number of windows
        if of_heads == heads and number > 1 and len(weights) % number == 0 and keys == width * number:
            windows = weights.transpose(0, 1).split(number, 1)  # the windows of each picture
            weights = torch.stack([torch.stack([torch.block_diag(*head) for head in of_all]) for of_all in windows[:8]])
            count, width = queries, keys
        # the streams of a text are concatenated along the queries
        if of_heads == heads and count > queries + 3 and count % queries == 0 and keys <= width <= keys + 3:
            weights, count = weights.unflatten(-2, (-1, queries)).transpose(1, 2).flatten(0, 1), queries
        if of_heads != heads or not (queries <= count <= queries + 3 and keys <= width <= keys + 3):
            return None
        offs = [float(np.abs(np.pad(self.weights, [(0, 0), (0, 0), (0, width - keys)]) - one[:, self.at].numpy()).max())
                for one in weights[:64]]
        if width == keys + 1:  # the last column may be a sink, which is not a key
            offs += [float(np.abs(self.weights - one[:, self.at, :keys].numpy()).max()) for one in weights[:64]]
        return min(offs)


def compare(model, inputs, eager):
    """Returns (verdict, number of maps compared, left_out, softmaxes that no map shows) for one watched run."""
    own, softmaxes = own_weights(model, inputs)
    torch.manual_seed(3)
    trace = ch.watch(model)
    try:
        with trace:
            out = numbers(model(**inputs))
    except ch.InvalidArgumentError as error:
        if "no layer can be shown" not in str(error):
            raise
    else:
        if not torch.equal(out, eager):
            return "its output changed", 0, trace.left_out, []
    try:
        shown = [Shown(trace, family, layer) for family in trace.families for layer in trace.layers(family)]
    except ch.NotFoundError:
        shown = []
    wrong, alone, compared, seen = [], [], 0, set()
    for one in shown:
        offs = {at: off for at, weights in enumerate([*own, *(of for _, of in softmaxes)]) if (off := one.off(weights)) is not None}
        if not offs:
            alone.append(one.name)
            continue
        compared += 1
        seen |= {at - len(own) for at, off in offs.items() if off <= one.tolerance}
        if min(offs.values()) > one.tolerance:
            wrong.append(f"{one.name} is off by {min(offs.values()):.2g}")
    named = [path for path, _ in trace.left_out]
    is_named = lambda path: any(path.startswith(one) or one.startswith(path) for one in named)
    missed = [f"{path or 'the model'} {list(weights.shape)}" for at, (path, weights) in enumerate(softmaxes)
              if at not in seen and not NO_ATTENTION.search(path) and weights.dim() > 3 and weights.shape[-1] > 1 and not is_named(path)]
    if not shown:
        return "nothing to show", 0, trace.left_out, missed
    if trace.verify() > MAPS:
        wrong.append("maps differ from the eager formula")
    if alone and not wrong:  # computed in blocks, or in windows that are separate calls
        wrong.append(f"{'same; ' if compared else ''}{', '.join(alone[:3])}: verified only, the model computes no weights of this shape")
        missed = []
    word = "; ".join(wrong[:3]) or "same"
    return word, compared, trace.left_out, missed


def clearhead_kernel(model, eager, run):
    try:
        model.set_attn_implementation("clearhead")
        torch.manual_seed(3)
        off = float((run() - eager).abs().max()) / max(1.0, float(eager.abs().max()))
        return "same" if off <= LOGITS else f"off by {off:.2g}"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"
    finally:
        model.set_attn_implementation("eager")


def reasons_of(left_out):
    """Summarises reasons with the modules that they apply to."""
    by_reason = {}
    for path, reason in left_out:
        by_reason.setdefault(reason, []).append(path)
    return "; ".join(f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {reason}"
                     for reason, paths in by_reason.items())


def check(folder):
    """Returns a row of the table: {column: text}. "built" tells whether the model was built."""
    row = {"model": folder, "class": "", "clearhead": "", "seen": "", "watched": "", "masked": "", "mask": "", "left out": "",
           "not explained": ""}
    try:
        model, inputs = build(folder)
    except Skip as reason:
        return {**row, "built": False, "clearhead": f"not built: {reason}"}
    row.update({"built": True, "class": type(model).__name__})
    run = lambda: numbers(model(**inputs))
    with torch.no_grad(), time_limit(3 * SECONDS):
        torch.manual_seed(3)
        eager = run()
        torch.manual_seed(3)
        if not torch.equal(eager, run()):
            return {**row, "built": False, "clearhead": f"not built: {row['class']}: two eager runs differ"}
        row["clearhead"] = clearhead_kernel(model, eager, run) if has_interface(folder) else "no interface"
        peak(model, inputs)  # afterwards, float32 logits are far from double ones with any kernel
        torch.manual_seed(3)
        eager = run()
        row["mask"], with_mask = masked(model, inputs, eager)
        runs = [("watched", inputs, eager)]
        if with_mask is not None:
            torch.manual_seed(3)
            runs.append(("masked", with_mask, numbers(model(**with_mask))))
        for column, given, expected in runs:
            try:
                row[column], compared, left_out, missed = compare(model, given, expected)
            except Skip:
                raise
            except Exception as error:
                row[column] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                continue
            if column == "watched":
                row["seen"] = str(compared)
            row["left out"] = row["left out"] or reasons_of(left_out)
            row["not explained"] = row["not explained"] or "; ".join(missed[:2]) + (f" and {len(missed) - 2} more" if len(missed) > 2
                                                                                    else "")
            if row[column] == "nothing to show" and not left_out and not missed:
                row[column] = "no attention"
    return row


def main():
    global SECONDS
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--tenth", action="store_true")
    parser.add_argument("--slice", default="1/1", help="which part of the table, as 2/4")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for building a model, at most")
    options = parser.parse_args()
    SECONDS = options.seconds
    logging.disable(logging.CRITICAL)
    part, parts = map(int, options.slice.split("/"))
    names = options.names or (TENTH if options.tenth else files())
    columns = ("model", "class", "clearhead", "seen", "watched", "masked", "mask", "left out", "not explained")
    rows = []
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for folder in names[len(names) * (part - 1) // parts : len(names) * part // parts]:
        try:
            row = check(folder)
        except Skip as reason:
            row = {"model": folder, "built": False, "clearhead": f"not built: {reason}"}
        except Exception:
            row = {"model": folder, "built": False, "clearhead": f"not built: {' '.join(traceback.format_exc().split())[-120:]}"}
        rows.append(row)
        print(f"| {' | '.join(row.get(column, '').replace('|', '/') for column in columns)} |", flush=True)
    built = [row for row in rows if row["built"]]
    count = lambda column, *words: sum(row[column] in words for row in built)
    print(f"\n{len(rows)} architectures, {len(built)} of them were built: {count('clearhead', 'same')} of "
          f"{len(built) - count('clearhead', 'no interface')} with the interface the same with clearhead's kernel; "
          f"{count('watched', 'same')} "
          f"watched the same, {count('watched', 'nothing to show')} with nothing but modules left out, {count('watched', 'no attention')} "
          "without "
          f"attention; {count('masked', 'same')} of {sum(row['masked'] not in ('', 'no attention', 'nothing to show') for row in built)} "
          f"the same with a mask; {sum(row['left out'] != '' for row in built)} with modules left out by name; "
          f"{sum(row['not explained'] != '' for row in built)} with a softmax that is not explained.")
    good = all(row["built"] and row["clearhead"] in ("same", "no interface") and row["watched"] == "same" and row["masked"] in ("same", "")
               for row in rows)
    return int(options.tenth and not good)


if __name__ == "__main__":
    sys.exit(main())
