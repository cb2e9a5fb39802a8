"""Code shared by the goldens of models: seeded weights, a float64 run that also keeps q and k, and the names in the file.

golden.safetensors contains, for a batch of sequences of one length (padding at the end where attention_mask is 0):

    input_ids, attention_mask[, token_type_ids]   i32 [batch, length]
    hidden.0 … hidden.L                           f32 [batch, length, hidden]       `hidden_states` of transformers:
                                                  0 after the embeddings, l after block l, L also after the final norm
    attention.l                                   f32 [batch, head, query, key]     `output_attentions`
    q.l, k.l                                      f32 [batch, head, length, d_k]    as they enter the dot product (after rotary positions)
    scale.l                                       f32 []                            factor of the dot product
    logits, pooled                                f32                               where the model has them
    greedy                                        i32 [batch, new]                  greedy continuation, causal models only
    greedy_margin                                 f32 [batch, new]                  distance of the two largest logits at each step

    search.beams, search.penalty                  i32, f32 [searches]               beam searches and their length penalties
    search.ids.n, search.score.n                  i32 [batch, new], f32 [batch]     result of search n, −1 after its end; its score

For an encoder-decoder: source_ids and source_mask in addition to the target's input_ids and attention_mask; enc.hidden.l and dec.hidden.l;
and attention, q, k, scale of each of the families enc, dec and cross as enc.attention.l …

The run is in float64; what is stored is rounded once, to float32.
"""

import contextlib
import importlib
import json
import pathlib
import shutil

import numpy
import torch
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"


def seed_weights(model, seed):
    """Moves every parameter away from zero and one, so that a missing bias, gain or table is detected."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "embed_positions" in name:  # Marian's sinusoidal positions are computed and not stored in the file
                continue
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            if parameter.ndim >= 2:
                fan_in = parameter.shape[0] if type(owner_of(model, name)).__name__ == "Conv1D" else parameter.shape[1]
                parameter.copy_(noise * (1.3 / fan_in**0.5))
            elif "norm" in name.lower() and name.endswith("weight") or ".ln_" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.3 * noise)


def owner_of(model, name):
    return model.get_submodule(name.rsplit(".", 1)[0]) if "." in name else model


@contextlib.contextmanager
def keep_queries_and_keys(modeling, kept):
    """Wraps the eager attention function of each modelling module while the golden is made. RoFormer has none: there, the function that
    rotates the queries and keys is wrapped."""
    module = importlib.import_module(modeling)
    if hasattr(module, "RoFormerSelfAttention"):
        with keep_rotated(module.RoFormerSelfAttention, kept):
            yield
        return
    original = module.eager_attention_forward

    def wrapped(owner, query, key, value, *args, **kwargs):
        scaling = kwargs.get("scaling")
        if scaling is None:
            scaling = getattr(owner, "scaling", query.shape[-1] ** -0.5)
        kept.append((query.detach().clone(), key.detach().clone(), float(scaling)))
        return original(owner, query, key, value, *args, **kwargs)

    module.eager_attention_forward = wrapped
    try:
        yield
    finally:
        module.eager_attention_forward = original


@contextlib.contextmanager
def keep_rotated(layer, kept):
    original = layer.apply_rotary_position_embeddings

    def wrapped(positions, query, key):
        query, key = original(positions, query, key)
        kept.append((query.detach().clone(), key.detach().clone(), query.shape[-1] ** -0.5))
        return query, key

    layer.apply_rotary_position_embeddings = staticmethod(wrapped)
    try:
        yield
    finally:
        layer.apply_rotary_position_embeddings = staticmethod(original)


def f32(tensor):
    return numpy.ascontiguousarray(tensor.detach().double().numpy().astype(numpy.float32))


def i32(tensor):
    return numpy.ascontiguousarray(tensor.numpy().astype(numpy.int32))


def run(model, inputs):
    """Runs the model once in float64 and returns everything that the engine should reproduce. The reader drops padding, not this
    function."""
    model = model.double().eval()
    kept, golden = [], {name: i32(tensor) for name, tensor in inputs.items()}
    with torch.no_grad(), keep_queries_and_keys(type(model).__module__, kept):
        out = model(**inputs, output_attentions=True, output_hidden_states=True, return_dict=True)
    for index, hidden in enumerate(out.hidden_states):
        golden[f"hidden.{index}"] = f32(hidden)
    for index, (attention, (query, key, scale)) in enumerate(zip(out.attentions, kept, strict=True)):
        golden[f"attention.{index}"] = f32(attention)
        golden[f"q.{index}"], golden[f"k.{index}"] = f32(query), f32(key)
        golden[f"scale.{index}"] = numpy.array(scale, numpy.float32)
    for name, field in {
        "logits": "logits",
        "prediction_logits": "logits",
        "seq_relationship_logits": "seq_relationship_logits",
        "pooler_output": "pooled",
    }.items():
        value = getattr(out, name, None)
        if value is not None:
            golden[field] = f32(value)
    if getattr(out, "start_logits", None) is not None:
        golden["logits"] = f32(torch.stack([out.start_logits, out.end_logits], -1))
    return golden


def run_encoder_decoder(model, source, target):
    """run() for an encoder-decoder: both stacks and the cross-attention."""
    model = model.double().eval()
    kept, golden = [], {"source_ids": i32(source["input_ids"]), "source_mask": i32(source["attention_mask"])}
    golden |= {name: i32(tensor) for name, tensor in target.items()}
    with torch.no_grad(), keep_queries_and_keys(type(model).__module__, kept):
        out = model(**source, **{f"decoder_{name}": tensor for name, tensor in target.items()}, output_attentions=True,
                    output_hidden_states=True)
    golden["logits"] = f32(out.logits)
    layers = len(out.encoder_attentions)
    calls = {"enc": kept[:layers], "dec": kept[layers::2], "cross": kept[layers + 1 :: 2]}
    for family, hidden in {"enc": out.encoder_hidden_states, "dec": out.decoder_hidden_states}.items():
        golden |= {f"{family}.hidden.{index}": f32(state) for index, state in enumerate(hidden)}
    for family, maps in {"enc": out.encoder_attentions, "dec": out.decoder_attentions, "cross": out.cross_attentions}.items():
        for index, (attention, (query, key, scale)) in enumerate(zip(maps, calls[family], strict=True)):
            golden[f"{family}.attention.{index}"] = f32(attention)
            golden[f"{family}.q.{index}"], golden[f"{family}.k.{index}"] = f32(query), f32(key)
            golden[f"{family}.scale.{index}"] = numpy.array(scale, numpy.float32)
    return golden


def search(model, inputs, new, searches):
    """Returns the output of `generate` for each (beams, length penalty). A text ends with the config's eos_token_id."""
    golden = {"search.beams": numpy.array([beams for beams, _ in searches], numpy.int32),
              "search.penalty": numpy.array([penalty for _, penalty in searches], numpy.float32)}
    prompt = 1 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    for index, (beams, penalty) in enumerate(searches):
        with torch.no_grad():
            out = model.generate(**inputs, num_beams=beams, length_penalty=penalty, max_new_tokens=new, do_sample=False, output_scores=True,
                                 return_dict_in_generate=True, pad_token_id=model.config.pad_token_id or 0)
        ids = out.sequences[:, prompt:].clone()
        for row in ids:
            ends = (row == model.config.eos_token_id).nonzero()
            if len(ends):
                row[ends[0] + 1 :] = -1
        golden[f"search.ids.{index}"] = i32(ids)
        if beams > 1:
            golden[f"search.score.{index}"] = f32(out.sequences_scores)
    return golden


def greedy(model, input_ids, new):
    """Greedy continuation without a cache, with the margin between the two largest logits at each step."""
    tokens, margins, ids = [], [], input_ids
    with torch.no_grad():
        for _ in range(new):
            logits = model(input_ids=ids, use_cache=False).logits[:, -1]
            best = logits.topk(2, dim=-1)
            tokens.append(best.indices[:, :1])
            margins.append(best.values[:, :1] - best.values[:, 1:])
            ids = torch.cat([ids, tokens[-1]], dim=1)
    return {"greedy": i32(torch.cat(tokens, 1)), "greedy_margin": f32(torch.cat(margins, 1))}


def write(family, variant, model, golden, *, dtype=torch.float32, shard=None, config=None):
    """Writes ROOT/family/variant. `config` (a function of the dict) edits config.json, to write older names of fields."""
    folder = ROOT / family / variant
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    fields.pop("transformers_version", None)
    if config:
        fields = config(fields) or fields
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    save_file(golden, folder / "golden.safetensors", metadata={"made_by": "tools/goldens/models.py"})
