"""attn_implementation="clearhead": outputs and gradients equal eager attention; masks are described, not allocated."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

import clearhead as ch
from clearhead import _masks
from test_watch import IDS, SMALL, build, llama

T5 = {"vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0,
      "dropout_rate": 0.0}
DECODER = {**SMALL, "num_key_value_heads": 2}


def left_padded():
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    return mask


def gpt_oss():
    model = build("GptOssForCausalLM", **DECODER, head_dim=8, sliding_window=6, num_local_experts=2, num_experts_per_tok=1)
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.self_attn.sinks)
    return model


def llama_4():
    torch.manual_seed(0)
    config = transformers.Llama4TextConfig(**DECODER, head_dim=8, attention_chunk_size=5, num_local_experts=2, intermediate_size_mlp=64,
                                           no_rope_layers=[1, 1])
    return transformers.Llama4ForCausalLM(config).eval()


PACKED = {"position_ids": torch.cat([torch.arange(7), torch.arange(10)])[None].expand(2, -1), "use_cache": False}
CASES = {
    "bert": (lambda: build("BertModel", **SMALL), {"attention_mask": left_padded().flip(1)}),
    "llama": (llama, {}),
    "llama after padding": (llama, {"attention_mask": left_padded()}),
    "llama, packed": (llama, PACKED),
    "llama, a mask of four axes": (llama, {"attention_mask": torch.rand(2, 1, 17, 17, generator=torch.Generator().manual_seed(3)).gt(0.3)
                                           | torch.eye(17).bool()}),
    "mistral": (lambda: build("MistralForCausalLM", **DECODER, sliding_window=6), {}),
    "gemma 2": (lambda: build("Gemma2ForCausalLM", **DECODER, head_dim=8, sliding_window=6, attn_logit_softcapping=0.5), {}),
    "gpt-oss": (gpt_oss, {}),
    "llama 4": (llama_4, {}),
    "t5": (lambda: build("T5ForConditionalGeneration", **T5),
           {"decoder_input_ids": IDS[:, :7].contiguous(), "attention_mask": left_padded().flip(1)}),
}
def with_implementation(model, implementation, run):
    model.set_attn_implementation(implementation)
    return run()


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_eager_attention(name):
    make, inputs = CASES[name]
    model = make()
    reference = "sdpa" if "four axes" in name else "eager"  # eager functions add a bool mask as the numbers 0 and 1

    def run():
        model.zero_grad()
        out = model(input_ids=IDS, **inputs)[0]
        mask = inputs.get("attention_mask")
        if mask is not None and mask.dim() == 2 and out.shape[1] == mask.shape[1]:
            out = out[mask.bool()]  # rows of padding see nothing, and implementations differ there
        out.square().mean().backward()
        return out.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    (out, gradients), (found, found_gradients) = (with_implementation(model, one, run) for one in (reference, "clearhead"))
    assert float((out - found).abs().max()) < 1e-5 * max(1.0, float(out.abs().max()))
    assert gradients.keys() == found_gradients.keys()
    scale = max(float(gradient.abs().max()) for gradient in gradients.values())
    for parameter, gradient in gradients.items():
        assert float((gradient - found_gradients[parameter]).abs().max()) < 1e-5 * scale, parameter


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"cache_implementation": "static"}])
@pytest.mark.parametrize("kind", ["llama", "mistral", "t5"])
def test_generation_writes_the_same_tokens(kind, options):
    model = {"llama": llama, "mistral": CASES["mistral"][0], "t5": CASES["t5"][0]}[kind]()
    run = lambda: model.generate(IDS, attention_mask=left_padded(), max_new_tokens=9, do_sample=False, eos_token_id=98, pad_token_id=0,
                                 **options)
    assert torch.equal(with_implementation(model, "eager", run), with_implementation(model, "clearhead", run))


def test_known_masks_are_bands_and_segments_and_others_are_recorded(monkeypatch):
    from transformers import masking_utils as of

    monkeypatch.setattr(_masks.MaskSource, "_listed", lambda *_: pytest.fail("a mask was asked pair by pair"))

    def described(function, padding=None, queries=17, keys=17, first=0):
        mask = _masks.clearhead_mask(2, queries, keys, first, 0, function, padding)
        expected = of.sdpa_mask(2, queries, keys, first, 0, function, padding, allow_is_causal_skip=False)
        assert torch.equal(mask + 0 == 0, expected)  # the mask that it represents
        q, k = torch.randn(2, 1, queries, 8), torch.randn(2, 1, keys, 8)
        found = ch.Map(ch.attend(q, k, k, topology=mask.source.topology())[1])
        for batch in range(2):
            rows = np.stack([found.head(batch, 0).row(query).weights > 0 for query in range(queries)])
            np.testing.assert_array_equal(rows, expected[batch, 0].numpy())
        return mask.source.topology().to_dict()

    assert "visible" not in described(of.causal_mask_function)
    assert described(of.sliding_window_causal_mask_function(6))["band"]["back"] == 5
    assert "visible" not in described(of.sliding_window_bidirectional_mask_function(3))
    assert "mask" in described(of.causal_mask_function, left_padded().bool())
    assert "visible" not in described(of.causal_mask_function, None, 3, 17, 14)
    packs = torch.tensor([[0] * 7 + [1] * 10, [0] * 3 + [1] * 14])
    assert "segments" in described(of.and_masks(of.causal_mask_function, of.packed_sequence_mask_function(packs)))
    assert "visible" in described(of.chunked_causal_mask_function(5, torch.tensor([2, 0])))
    blocks = torch.tensor([[-1] * 5 + [0] * 4 + [-1] * 8] * 2)
    assert "visible" in described(of.or_masks(of.causal_mask_function, of.blockwise_overlay(blocks)))
    assert "visible" in described(lambda b, h, q, k: (q - k).abs() % 3 == 0)


def counted_reads(monkeypatch):
    reads, read = [], _masks.read_mask
    monkeypatch.setattr(_masks, "read_mask", lambda mask, *more: (reads.append(mask.shape), read(mask, *more))[1])
    return reads


@pytest.mark.parametrize("kind", ["bool", "additive", "numbers"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_dense_mask_is_read_once_for_all_layers_and_again_when_it_was_written(kind, watched, monkeypatch):
    visible = torch.rand(1, 1, 17, 17, generator=torch.Generator().manual_seed(3)).gt(0.3) | torch.eye(17).bool()
    mask = (
        visible
        if kind == "bool"
        else torch.zeros(1, 1, 17, 17).masked_fill(~visible, -torch.inf)
        if kind == "additive"
        else torch.randn(1, 1, 17, 17)
    )
    model, reads = llama(), counted_reads(monkeypatch)

    def out_of(implementation):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            if watched and implementation == "clearhead":
                model.set_attn_implementation("sdpa")
                with ch.watch(model, check=True) as trace:
                    out = model(IDS[:1], attention_mask=mask).logits
                assert trace.left_out == [] and trace.verify() < 1e-6
                return out
            return model(IDS[:1], attention_mask=mask).logits

    for write in (lambda: None, lambda: mask[..., 3:9, 2].fill_(False if kind == "bool" else -1e38),
                  lambda: mask[:, :, 5:].copy_(mask[:, :, 5:].flip(2))):
        write()
        if kind == "bool":
            mask[..., range(17), range(17)] = True
        reads.clear()
        first = out_of("clearhead")
        assert len(reads) == 1
        assert torch.equal(out_of("clearhead"), first) and len(reads) == 1  # two layers, two runs
        assert torch.allclose(first, out_of("sdpa"), atol=1e-5)


def test_cached_masks_are_freed_with_their_tensors_and_masks_with_gradients_are_not_cached(monkeypatch):
    import gc

    _masks._read.clear()
    model, reads = llama(), counted_reads(monkeypatch)
    model.set_attn_implementation("clearhead")
    mask = torch.randn(1, 1, 17, 17)
    with torch.no_grad():
        model(IDS[:1], attention_mask=mask)
    assert len(_masks._read) == 1
    with torch.inference_mode():  # tensors of inference mode have no version counter
        model(IDS[:1], attention_mask=mask + 0)
    assert len(_masks._read) == 1
    del mask
    gc.collect()
    assert len(_masks._read) == 0
    mask, gradients = torch.nn.Parameter(torch.randn(1, 1, 17, 17)), []
    for _ in range(2):
        reads.clear()
        mask.grad = None
        model(IDS[:1], attention_mask=mask).logits.square().mean().backward()
        gradients.append(mask.grad)
    assert len(reads) == 2 and bool(gradients[0].any()) and torch.equal(*gradients)


def test_per_query_sinks_equal_the_formula_with_and_without_a_bias():
    from clearhead._operator import clearhead_attention

    torch.manual_seed(0)
    leaves = q, k, v, bias, sinks = [torch.randn(*shape, requires_grad=True)
                                     for shape in ((2, 4, 7, 8), (2, 2, 9, 8), (2, 2, 9, 8), (2, 4, 7, 9), (2, 4, 7, 1))]
    for given in (bias, None):
        out, _ = clearhead_attention(torch.nn.Module(), q, k, v, None, is_causal=False, position_bias=given, sinks=sinks, scaling=0.4)
        scores = torch.matmul(q, k.repeat_interleave(2, 1).transpose(2, 3)) * 0.4 + (0 if given is None else given)
        weights = torch.softmax(torch.cat([scores, sinks], -1), -1)[..., :-1]
        expected = torch.matmul(weights, v.repeat_interleave(2, 1)).transpose(1, 2)
        assert torch.allclose(out, expected, atol=1e-6)
        of = [one for one in leaves if one is not bias or given is not None]
        for a, b in zip(torch.autograd.grad(out.square().sum(), of), torch.autograd.grad(expected.square().sum(), of)):
            assert float((a - b).abs().max()) < 1e-5 * max(1.0, float(b.abs().max()))


def test_untraceable_mask_functions_are_evaluated_block_by_block():
    opaque = lambda b, h, q, k: torch.sin(q * 3.0 + k) > 0
    mask = _masks.clearhead_mask(1, 300, 17, 0, 0, opaque)
    assert "block_sparse" in mask.source.topology().to_dict()
    q, k = torch.randn(1, 1, 300, 8), torch.randn(1, 1, 17, 8)
    found = ch.Map(ch.attend(q, k, k, topology=mask.source.topology())[1]).head(0, 0)
    rows = np.stack([found.row(query).weights > 0 for query in range(300)])
    np.testing.assert_array_equal(rows, (mask + 0 == 0)[0, 0].numpy())


def test_the_operator_passes_opcheck_and_compiles():
    description = ch.Description(topology=ch.causal())
    q, k, v = (torch.randn(1, heads, 9, 8, requires_grad=True) for heads in (4, 2, 2))
    torch.library.opcheck(torch.ops.clearhead.attention.default, (q, k, v, description.to_json(), []))
    from clearhead._operator import attention

    compiled = torch.compile(lambda q, k, v: attention(q, k, v, description)[0] * 2, backend="aot_eager", fullgraph=False)
    out = compiled(q, k, v)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True) * 2
    assert torch.allclose(out, expected, atol=1e-6)
    out.square().sum().backward()
    found = [one.grad.clone() for one in (q, k, v)]
    for one in (q, k, v):
        one.grad = None
    expected.square().sum().backward()
    assert all(torch.allclose(a, one.grad, atol=1e-5) for a, one in zip(found, (q, k, v)))


def test_gradients_are_those_of_the_formula_in_double():
    torch.manual_seed(2)
    q, k, v = (torch.randn(2, heads, count, width) for heads, count, width in ((4, 7, 8), (2, 11, 8), (2, 11, 5)))
    bias, sinks = torch.randn(1, 4, 7, 11), torch.randn(4)
    leaves = [one.requires_grad_() for one in (q, k, v, bias, sinks)]
    from clearhead._operator import attention

    description = ch.Description(score=ch.Dot(0.4), terms=[ch.SoftCap(2.0), ch.Bias(bias.detach())], topology=ch.causal(window=6),
                                 normaliser=ch.Softmax(sinks.detach()))
    out, _ = attention(q, k, v, description, [bias, sinks])
    d_out = torch.randn_like(out)
    found = torch.autograd.grad(out, leaves, d_out)
    q64, k64, v64, bias64, sinks64 = (one.detach().double().requires_grad_() for one in leaves)
    scores = torch.matmul(q64, k64.repeat_interleave(2, 1).transpose(2, 3)) * 0.4
    i, j = torch.arange(7)[:, None] + 4, torch.arange(11)[None]
    scores = (2 * torch.tanh(scores / 2) + bias64).masked_fill((j > i) | (j <= i - 6), -torch.inf)
    weights = torch.softmax(torch.cat([scores, sinks64[None, :, None, None].expand(2, 4, 7, 1)], -1), -1)[..., :-1]
    exact = torch.matmul(weights, v64.repeat_interleave(2, 1))
    assert torch.allclose(out.double(), exact, atol=1e-6)
    for a, b in zip(found, torch.autograd.grad(exact, (q64, k64, v64, bias64, sinks64), d_out.double())):
        assert float((a - b).abs().max()) < 1e-5


def test_output_attentions_are_maps_that_turn_into_arrays():
    model = llama()
    model.set_attn_implementation("clearhead")
    with torch.no_grad():
        out = model(IDS, output_attentions=True)
        model.set_attn_implementation("eager")
        expected = model(IDS, output_attentions=True)
    assert isinstance(out.attentions[0], ch.Map) and out.attentions[0].shape == (2, 4, 17, 17)
    np.testing.assert_allclose(np.asarray(out.attentions[1]), expected.attentions[1].numpy(), atol=1e-6)


def test_dropout_in_training_gives_different_finite_outputs():
    model = llama(attention_dropout=0.5).train()
    model.set_attn_implementation("clearhead")
    with torch.no_grad():
        a, b = model(IDS).logits, model(IDS).logits
        assert not torch.equal(a, b)
        assert torch.isfinite(a).all()


def test_unsupported_dtypes_are_refused():
    from clearhead._operator import attention

    x = torch.randn(1, 2, 3, 8, dtype=torch.float64)
    with pytest.raises(ch.UnsupportedError, match="q is torch.float64 on cpu; expected float32"):
        attention(x, x, x, ch.Description())


@pytest.mark.parametrize("first, second", [("clearhead", "transformers.modeling_utils"), ("transformers.modeling_utils", "clearhead")])
def test_importing_both_packages_makes_it_known(first, second):
    code = (f"import {first}, {second}, transformers\n"
            "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS\n"
            "assert 'clearhead' in ALL_ATTENTION_FUNCTIONS")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_it_alone_imports_no_torch():
    subprocess.run([sys.executable, "-c", "import clearhead, sys; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"],
                   check=True)


@torch.no_grad()
def test_informer_with_shortened_sequences_equals_eager_attention():
    config = transformers.InformerConfig(prediction_length=8, context_length=16, lags_sequence=[1, 2], num_time_features=1, d_model=32,
                                         encoder_layers=2,
                                         decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
                                         decoder_ffn_dim=64)
    model = transformers.InformerModel(config).eval()
    past, coming = torch.randn(2, 18), torch.randn(2, 8)
    inputs = {"past_values": past, "past_observed_mask": torch.ones_like(past), "future_values": coming,
              "past_time_features": torch.randn(2, 18, 1), "future_time_features": torch.randn(2, 8, 1)}
    out = {}
    for implementation in ("eager", "clearhead"):
        model.set_attn_implementation(implementation)
        torch.manual_seed(3)  # it samples keys
        out[implementation] = model(**inputs).last_hidden_state
    assert torch.allclose(out["eager"], out["clearhead"], atol=1e-5)
