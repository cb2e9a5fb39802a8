"""Edge cases of ch.watch. Every map is compared with weights that clearhead did not compute."""

import threading
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")
import clearhead as ch
from clearhead._calls import Call
from test_watch import IDS, SMALL, build, eager_maps, llama, run, same_maps
from torch import nn
from torch.nn import functional as F

PIXELS = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(8))
ONES = torch.ones(1, 17, dtype=torch.long)


def rows_of(found, head, queries):
    return np.stack([np.nan_to_num(found.head(head).row(query).weights) for query in queries])


class Scaled(nn.Module):
    """Calls F.scaled_dot_product_attention on given tensors."""

    def forward(self, q, k, v, mask=None):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def formula(q, k, mask):
    """Evaluates the formula with a boolean or additive mask: weights [batch, head, query, key]."""
    scores = torch.matmul(q, k.transpose(2, 3)) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, -1)


# 1. Keys that only some queries see.


def test_keys_that_only_an_earlier_query_sees_are_in_the_map():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 10, 8), torch.randn(1, 2, 40, 8), torch.randn(1, 2, 40, 8)
    mask = torch.rand(1, 1, 10, 40) > 0.4
    mask[..., -1, 30:] = False  # the last query sees none of the last keys
    mask[..., 0] = True
    with ch.watch(Scaled(), check=True) as trace:
        Scaled.__call__(trace._model, q, k, v, mask)
    assert trace.left_out == [] and trace.verify() < 1e-6
    expected, found = formula(q, k, mask)[0], trace.map(0)
    for head in range(2):
        np.testing.assert_allclose(rows_of(found, head, range(10))[:, -40:], expected[head].numpy(), atol=1e-6)


def test_verify_finds_a_map_that_lacks_keys(monkeypatch):
    """The check is over all keys of the call: a capture that drops some of them cannot pass it."""
    from clearhead._watch import Watch

    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 10, 8), torch.randn(1, 2, 40, 8), torch.randn(1, 2, 40, 8)
    monkeypatch.setattr(Watch, "_shown", lambda self, layer, call: ((0, call.queries), (0, 30)))
    with pytest.warns(UserWarning, match="off by"), ch.watch(Scaled()) as trace:
        Scaled.__call__(trace._model, q, k, v, torch.ones(1, 1, 10, 40, dtype=torch.bool))
    assert "from the eager formula" in trace.left_out[0][1]


# 6. Rows that a finite mask hides completely.


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_rows_hidden_by_the_smallest_number_are_uniform_as_the_kernel_has_them(implementation):
    model = build("BertModel", **SMALL)
    model.set_attn_implementation(implementation)
    smallest = torch.finfo(torch.float32).min
    mask = torch.zeros(2, 1, 17, 17)
    mask[:, :, 3] = smallest
    mask[:, :, 5, 9:] = smallest
    trace = run(model, input_ids=IDS, attention_mask=mask)
    same_maps(trace, "enc", eager_maps(model, input_ids=IDS, attention_mask=mask).attentions)
    assert rows_of(trace.map(0), 0, [3])[0] == pytest.approx(np.full(17, 1 / 17), abs=1e-6)


def test_rows_hidden_everywhere_in_plain_torch():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2, 10, 8), torch.randn(1, 2, 14, 8), torch.randn(1, 2, 14, 8)
    mask = torch.zeros(1, 1, 10, 14)
    mask[..., 4, :] = torch.finfo(torch.float32).min
    mask[..., 5, :] = -torch.inf
    mask[..., 5, 2:4] = torch.finfo(torch.float32).min
    net = Scaled()
    with ch.watch(net, check=True) as trace:
        net(q, k, v, mask)
    assert trace.left_out == [] and trace.verify() < 1e-6
    np.testing.assert_allclose(rows_of(trace.map(0), 1, range(10))[:, -14:], formula(q, k, mask)[0, 1].numpy(), atol=1e-6)


def test_masks_of_whole_numbers_are_added():
    model = build("BertModel", **SMALL)
    model.set_attn_implementation("eager")
    mask = (torch.rand(2, 1, 17, 17, generator=torch.Generator().manual_seed(3)) > 0.5).long()
    trace = run(model, input_ids=IDS, attention_mask=mask)
    same_maps(trace, "enc", eager_maps(model, input_ids=IDS, attention_mask=mask).attentions)


# 2. Caches that are cropped.


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_tokens_that_were_rejected_leave_the_map(kind):
    model = llama() if kind == "llama" else build("MistralForCausalLM", **SMALL, num_key_value_heads=2, sliding_window=64, eos_token_id=98)
    cache = transformers.DynamicCache()
    ids = IDS[:1]
    with torch.no_grad(), ch.watch(model, check=True) as trace:
        model(ids[:, :8], cache=cache)
        model(ids[:, 8:12], cache=cache)
        cache.crop(-2)
        model(ids[:, 12:13], cache=cache)
        model(ids[:, 13:15], cache=cache)
        cache.crop(-3)
        model(ids[:, 15:16], cache=cache)
    read = torch.cat([ids[:, :10], ids[:, 15:16]], 1)
    assert trace.left_out == [] and trace.ids == read[0].tolist() and trace.verify() < 1e-6
    same_maps(trace, "dec", eager_maps(model, input_ids=read).attentions)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_cache_that_was_written_is_noticed(batch):
    model, cache = llama(), transformers.DynamicCache()
    with torch.no_grad(), pytest.warns(UserWarning, match="cache was changed"), ch.watch(model) as trace:
        model(IDS[:batch, :8], cache=cache)
        cache.layers[0].keys[:, :, -3] += 1
        model(IDS[:batch, 8:9], cache=cache)
    assert [path for path, _ in trace.left_out] == ["model.layers.0.self_attn"] and trace.layers() == [1]


@pytest.mark.parametrize("drafts", ["lookup", "assistant"])
def test_speculative_decoding_is_seen(drafts):
    model = llama()
    torch.manual_seed(9)
    assistant = build("LlamaForCausalLM", **{**SMALL, "num_hidden_layers": 1}, num_key_value_heads=2, pad_token_id=0, eos_token_id=99)
    prompts = torch.randint(5, 20, (20, 1, 9), generator=torch.Generator().manual_seed(4))
    options = {"prompt_lookup_num_tokens": 3} if drafts == "lookup" else {"assistant_model": assistant}
    for prompt in prompts:
        asked = {"max_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(prompt), **options}
        plain = model.generate(prompt, **asked)
        with ch.watch(model) as trace:
            watched = model.generate(prompt, **asked)
        assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-6
        assert len(trace.ids) in (plain.shape[1] - 1, plain.shape[1]) and trace.ids == plain[0, : len(trace.ids)].tolist()
        same_maps(trace, "dec", eager_maps(model, input_ids=plain[:, : len(trace.ids)]).attentions)
        with torch.no_grad():
            p = torch.softmax(model(plain).logits[0], -1)
        assert len(trace.generated) == len(trace.ids) - 9
        for at, (token, _, probability) in enumerate(trace.generated):
            assert token == int(plain[0, 9 + at]) and probability == pytest.approx(float(p[8 + at, token]), abs=1e-5)


# 5. Threads.


def test_two_threads_watch_one_model_independently():
    model, found, begin = llama(), {}, threading.Barrier(2)

    def work(name, ids):
        begin.wait()
        for _ in range(5):
            with torch.no_grad(), ch.watch(model) as trace:
                model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
            found.setdefault(name, []).append((trace.ids, trace.left_out))

    inputs = {"a": IDS[:1, :9], "b": IDS[1:, :13]}
    threads = [threading.Thread(target=work, args=one) for one in inputs.items()]
    [one.start() for one in threads]
    [one.join() for one in threads]
    for name, ids in inputs.items():
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)[0, :-1].tolist()
        assert found[name] == [(expected, [])] * 5


def test_a_generation_in_a_thread_of_its_own_is_seen():
    model = llama()
    with ch.watch(model) as trace:
        worker = threading.Thread(target=model.generate,
                                  kwargs={"input_ids": IDS[:1], "attention_mask": ONES, "max_new_tokens": 5, "do_sample": False})
        worker.start()
        worker.join()
    assert len(trace.ids) == 21 and trace.left_out == []


# 7. Patches are not words.


def test_a_picture_with_as_many_patches_as_there_are_tokens_has_no_words():
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
              "patch_size": 8}
    clip = build("CLIPModel", text_config=SMALL, vision_config=vision)
    trace = run(clip, input_ids=IDS[:1], pixel_values=PIXELS)
    of_vision = trace.map(0, "vision")
    assert len(trace.ids) == 17 + 17 and trace.pieces[17:19] == ["class token", "patch 1, 1"]
    assert of_vision.module == "vision_model.encoder.layers.0.self_attn" and np.asarray(of_vision).shape == (4, 17, 17)
    same_maps(trace, "vision", eager_maps(clip.vision_model, pixel_values=PIXELS).attentions)
    same_maps(trace, "text", eager_maps(clip.text_model, input_ids=IDS[:1]).attentions)


# 8. Windows.


def test_windows_of_one_block_are_one_layer():
    swin = build("SwinModel", image_size=16, patch_size=2, num_channels=3, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)
    for one in swin.parameters():
        torch.nn.init.normal_(one, std=0.4)
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    for sequence in (0, 1):
        with torch.no_grad(), ch.watch(swin, sequence=sequence, check=True) as trace:
            swin(pixels)
        assert trace.left_out == [] and trace.verify() < 1e-6
        swin.set_attn_implementation("eager")
        with torch.no_grad():
            expected = swin(pixels, output_attentions=True).attentions
        layers = [(family, layer) for family in trace.families for layer in trace.layers(family)]
        seen = {(trace.map(layer, family).queries, trace.map(layer, family).heads) for family, layer in layers}
        assert len(layers) == 4 and {heads for _, heads in seen} == {2, 4}
        shifted = trace.map(1, trace.families[0])  # the last block of the first stage
        blocks = expected[0].reshape(2, -1, *expected[0].shape[1:])[sequence]  # [window, head, query, key] of the picture
        for window in range(blocks.shape[0]):
            for head in range(2):
                begin = window * blocks.shape[2]
                found = rows_of(shifted, head, range(begin, begin + blocks.shape[2]))
                np.testing.assert_allclose(found[:, begin : begin + blocks.shape[3]], blocks[window, head].numpy(), atol=1e-6)
                assert found.sum() == pytest.approx(blocks.shape[2], abs=1e-4)


def test_the_windows_of_qwens_tower_are_one_layer_each():
    config = transformers.Qwen2_5_VLConfig(
        text_config={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
                     "vocab_size": 120, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}},
        vision_config={"depth": 4, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64, "patch_size": 4, "window_size": 16,
                       "out_hidden_size": 32,
                       "fullatt_block_indexes": [1, 3], "spatial_merge_size": 2, "temporal_patch_size": 1, "in_channels": 3})
    torch.manual_seed(0)
    tower = transformers.models.qwen2_5_vl.modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel(config.vision_config).eval()
    pixels, grid = torch.randn(64, 48, generator=torch.Generator().manual_seed(1)), torch.tensor([[1, 8, 8]])
    with torch.no_grad(), ch.watch(tower, check=True) as trace:
        tower(pixels, grid_thw=grid)
    assert trace.left_out == [] and trace.verify() < 1e-6
    assert [layer for family in trace.families for layer in trace.layers(family)].count(0) == 1
    assert sorted(layer for family in trace.families for layer in trace.layers(family)) == [0, 1, 2, 3]


# 9. Layer numbers.


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_computed_again_for_gradients_are_no_new_layers(reentrant):
    model = llama().train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    with ch.watch(model, gradients_of="token 7") as trace:
        model(input_ids=IDS, use_cache=False).logits[0, -1, 7].backward()
    assert trace.families == ["dec"] and trace.layers() == [0, 1] and trace.left_out == []
    plain = llama()
    with ch.watch(plain, gradients_of="token 7") as expected:
        plain(input_ids=IDS, use_cache=False).logits[0, -1, 7].backward()
    for layer in range(2):
        a, b = (one.map(layer).gradients("product").head(1).to_numpy() for one in (trace, expected))
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_edits_hold_under_gradient_checkpointing(reentrant):
    def gradients(model):
        with ch.edits(model, cut=[(10, 14, 3, 5)], knock_out=["L1.H2"]):
            model(input_ids=IDS, use_cache=False).logits.square().sum().backward()
        return {name: one.grad for name, one in model.named_parameters()}

    checkpointed = llama().train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found, expected = gradients(checkpointed), gradients(llama().train())
    for name, one in expected.items():
        assert torch.allclose(found[name], one, atol=1e-4 * float(one.abs().max())), name


def test_the_attention_layer_of_a_hybrid_model_keeps_its_layer_number():
    model = build("Qwen3NextForCausalLM", **{**SMALL, "num_hidden_layers": 4}, num_key_value_heads=2, head_dim=8, num_experts=4,
                  num_experts_per_tok=2,
                  moe_intermediate_size=32, shared_expert_intermediate_size=32, linear_num_key_heads=2, linear_num_value_heads=4,
                  linear_key_head_dim=8,
                  linear_value_head_dim=8, full_attention_interval=4, layer_types=["linear_attention"] * 3 + ["full_attention"],
                  pad_token_id=0, eos_token_id=99)
    with torch.no_grad(), ch.watch(model) as trace:
        model(IDS)
    assert trace.layers() == [3]


# 10. Padding that follows a text.


@pytest.mark.parametrize("sequence", [0, 1])
def test_padding_after_the_end_token_is_not_listed_as_generated(sequence):
    model = llama()
    options = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    free = model.generate(IDS, **options)
    ends = [int(free[0, 17 + 3]), 98]  # the first text ends after its fourth token
    plain = model.generate(IDS, eos_token_id=ends, **options)
    with ch.watch(model, sequence=sequence) as trace:
        watched = model.generate(IDS, eos_token_id=ends, **options)
    assert torch.equal(plain, watched)
    written = plain[sequence].tolist()
    stop = next((at + 1 for at in range(17, len(written)) if written[at] in ends), len(written))
    expected = written[: min(stop, len(written) - 1)]
    assert trace.ids == expected and len(trace.generated) == len(expected) - 17
    assert all(0 < probability <= 1 for *_, probability in trace.generated)
    same_maps(trace, "dec", eager_maps(model, input_ids=torch.tensor([expected])).attentions)


# Crashes and silence.


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_autocast(kind, implementation):
    model = llama() if kind == "llama" else build("BertModel", **SMALL)
    model.set_attn_implementation(implementation)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain = model(IDS)[0]
        with ch.watch(model, check=True) as trace:
            watched = model(IDS)[0]
    assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad(), ch.watch(model) as inside, torch.autocast("cpu", torch.bfloat16):
        model(IDS)
    np.testing.assert_array_equal(rows_of(trace.map(0), 0, range(17)), rows_of(inside.map(0), 0, range(17)))


@pytest.mark.parametrize("how", ["compile", "method", "inner"])
def test_compiled_models_are_seen(how):
    model = llama()
    compiled = torch.compile(model, backend="eager") if how == "compile" else model
    if how == "method":
        model.compile(backend="eager")
    if how == "inner":
        model.model.layers[1].self_attn = torch.compile(model.model.layers[1].self_attn, backend="eager")
    with torch.no_grad():
        compiled(IDS)
        with ch.watch(compiled, check=True) as trace:
            compiled(IDS)
    assert trace.left_out == [] and trace.families == ["dec"] and trace.layers() == [0, 1] and trace.verify() < 1e-6
    same_maps(trace, "dec", eager_maps(llama(), input_ids=IDS).attentions)


@pytest.mark.parametrize("kind", ["MambaForCausalLM", "Mamba2ForCausalLM"])
def test_models_without_attention_give_a_warning_and_no_trace(kind):
    more = {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 16} if kind.startswith("Mamba2") else {}
    model = build(kind, hidden_size=32, num_hidden_layers=2, vocab_size=100, pad_token_id=0, eos_token_id=99, **more)
    plain = model.generate(IDS[:1], max_new_tokens=4, do_sample=False)
    with pytest.warns(UserWarning, match="no attention"), ch.watch(model) as trace:
        watched = model.generate(IDS[:1], max_new_tokens=4, do_sample=False)
    assert torch.equal(plain, watched)
    with pytest.raises(ch.NotFoundError, match="no trace"):
        trace.map(0)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
@pytest.mark.parametrize("kind", ["MistralForCausalLM", "Gemma3ForCausalLM", "Qwen3ForCausalLM"])
def test_left_padding_with_sliding_windows(kind, implementation):
    more = {"sliding_window": 6, "head_dim": 8}
    if kind != "MistralForCausalLM":
        more["layer_types"] = ["sliding_attention", "full_attention"]
    if kind == "Qwen3ForCausalLM":
        more["use_sliding_window"] = True
    config = {"Gemma3ForCausalLM": "Gemma3TextConfig"}.get(kind, kind.replace("ForCausalLM", "Config"))
    torch.manual_seed(0)
    config = getattr(transformers, config)(**SMALL, num_key_value_heads=2, pad_token_id=0, eos_token_id=98, **more)
    model = getattr(transformers, kind)(config).eval()
    model.set_attn_implementation(implementation)
    mask = torch.ones_like(IDS)
    mask[0, :9] = 0
    with torch.no_grad(), ch.watch(model, check=True) as trace:
        out = model.generate(IDS, attention_mask=mask, max_new_tokens=9, do_sample=False)
    assert trace.left_out == [] and trace.verify() < 1e-6
    assert trace.ids == out[0, 9 : 9 + len(trace.ids)].tolist()
    padding = torch.cat([mask[:1], torch.ones(1, out.shape[1] - 1 - 17, dtype=torch.long)], 1)
    same_maps(trace, "dec", eager_maps(model, input_ids=out[:1, :-1], attention_mask=padding).attentions, 9)


@pytest.mark.parametrize("kind", ["Gemma3", "PaliGemma"])
def test_generation_about_a_picture(kind):
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
              "patch_size": 8}
    text = {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "eos_token_id": 98}
    if kind == "Gemma3":
        model = build("Gemma3ForConditionalGeneration",
                      text_config={**text, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
                      vision_config={**vision, "vision_use_head": False}, mm_tokens_per_image=4, image_token_id=95)
        images = 4
    else:
        model = build("PaliGemmaForConditionalGeneration", text_config={"model_type": "gemma", **text},
                      vision_config={**vision, "projection_dim": 32, "vision_use_head": False}, projection_dim=32, image_token_id=95)
        images = 16
    ids = torch.cat([torch.full((1, images), 95), IDS[:1]], 1)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(1, 3, 32, 32),
              "token_type_ids": (ids == 95).long() if kind == "Gemma3" else torch.zeros_like(ids)}
    plain = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    with ch.watch(model, check=True) as trace:
        watched = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-5
    assert "vision" in trace.families and trace.layers("vision") == [0, 1] and len(trace.families) == 2
    assert "patch 1, 1" in trace.tokens and trace.ids[: plain.shape[1] - 1] == plain[0, :-1].tolist()


def test_chunked_attention_of_llama_4_equals_eager_attention():
    config = transformers.Llama4TextConfig(**{**SMALL, "num_hidden_layers": 4}, num_key_value_heads=2, head_dim=8, intermediate_size_mlp=64,
                                           num_local_experts=2,
                                           num_experts_per_tok=1, attention_chunk_size=6, no_rope_layers=[1, 1, 1, 0], pad_token_id=0,
                                           eos_token_id=98)
    torch.manual_seed(0)
    model = transformers.Llama4ForCausalLM(config).eval()
    trace = run(model, input_ids=IDS)
    assert trace.layers() == [0, 1, 2, 3]
    same_maps(trace, "dec", eager_maps(model, input_ids=IDS).attentions)


def test_sequences_are_counted_from_both_ends_and_refused_beyond():
    model = llama()
    with torch.no_grad(), ch.watch(model, sequence=-1) as trace:
        model(IDS)
    assert trace.ids == IDS[1].tolist()
    with (
        torch.no_grad(),
        pytest.raises(ch.InvalidArgumentError, match="sequence=9, but the batch has 2 texts"),
        ch.watch(model, sequence=9),
    ):
        model(IDS)
    with (
        torch.no_grad(),
        pytest.raises(ch.InvalidArgumentError, match=r"layers=\[99\]: there is no layer 99; there are dec.L0 to L1"),
        ch.watch(model, layers=[99]),
    ):
        model(IDS)
    with torch.no_grad():
        model(IDS)  # the model is as before


def test_a_watch_that_is_entered_twice_is_refused_and_restores_the_model():
    model, before = llama(), nn.Module.__call__
    watch = ch.watch(model)
    with torch.no_grad(), watch:
        with pytest.raises(ch.InvalidArgumentError, match="active already"), watch:
            pass
        model(IDS)
    assert nn.Module.__call__ is before and watch.layers() == [0, 1]
    assert all("_compiled_call_impl" not in vars(module) for module in model.modules())


def test_data_parallel_models_are_refused():
    with pytest.raises(ch.UnsupportedError, match=r"the model is a torch.nn.DataParallel"):
        ch.watch(nn.DataParallel(llama()))


def test_left_out_layers_are_warned_about_as_soon_as_they_run():
    attention = nn.MultiheadAttention(32, 4, add_zero_attn=True, batch_first=True)
    x = torch.randn(1, 5, 32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with torch.no_grad(), ch.watch(attention) as trace:
            attention(x, x, x)
            assert len(caught) == 1 and "appends an extra key" in str(caught[0].message)
    assert len(caught) == 1 and len(trace.left_out) == 1
    with pytest.raises(ch.NotFoundError, match="appends an extra key"):
        trace.map(0)
    with pytest.warns(UserWarning, match="was not run"), ch.watch(attention):
        pass


def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: at for at, word in enumerate(["[UNK]", "[CLS]", "the", "cat", "sat", "on", "mat", "dog"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]", unk_token="[UNK]")


def test_words_are_kept_however_the_model_is_called():
    words, text = tokenizer(), "the cat sat on the mat"
    ids = words(text, return_tensors="pt")["input_ids"]
    lm = llama()

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = lm

        def forward(self, features):
            return self.inner(**features)

    for call in (lambda: lm.model(ids), lambda: lm.model(input_ids=ids), lambda: lm(inputs_embeds=lm.model.embed_tokens(ids))):
        with torch.no_grad(), ch.watch(lm, words, text=text) as trace:
            call()
        assert trace.text == text and trace.ids == ids[0].tolist() and trace.left_out == []
    wrapper = Wrapper()
    with torch.no_grad(), ch.watch(wrapper, words) as trace:
        wrapper({"input_ids": ids})
    assert trace.text == text and trace.ids == ids[0].tolist()


def test_a_text_that_does_not_match_the_tokens_is_refused_with_the_first_difference():
    words, lm = tokenizer(), llama()
    ids = words("the cat sat", return_tensors="pt")["input_ids"]
    with (
        torch.no_grad(),
        pytest.raises(ch.InvalidArgumentError, match="token 1 of the text is 'dog', the model's is 'cat'"),
        ch.watch(lm, words, text="the dog sat"),
    ):
        lm(ids)


def test_generated_tokens_of_an_encoder_decoder_and_without_a_cache():
    model = llama()
    options = {"attention_mask": ONES, "max_new_tokens": 6, "do_sample": False}
    with ch.watch(model) as cached:
        out = model.generate(IDS[:1], **options)
    with ch.watch(model) as trace:
        model.generate(IDS[:1], **options, use_cache=False)
    assert [one[0] for one in trace.generated] == [one[0] for one in cached.generated] == out[0, 17:-1].tolist()
    assert [one[2] for one in trace.generated] == pytest.approx([one[2] for one in cached.generated], abs=1e-5)
    t5 = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
               decoder_start_token_id=0, eos_token_id=98)
    with ch.watch(t5) as trace:
        out = t5.generate(IDS[:1], max_new_tokens=6, do_sample=False)
    with torch.no_grad():
        p = torch.softmax(t5(IDS[:1], decoder_input_ids=out).logits[0], -1)
    assert [one[0] for one in trace.generated] == out[0, 1:-1].tolist()
    assert [one[2] for one in trace.generated] == pytest.approx([float(p[at, out[0, at + 1]]) for at in range(len(trace.generated))],
                                                                abs=1e-5)


def test_generated_tokens_of_a_model_without_logits_have_the_probability_nan(tmp_path):
    model = llama().model
    with torch.no_grad(), ch.watch(model) as trace:
        cache = model(IDS[:1, :9], use_cache=True).past_key_values
        for at in (9, 10):
            model(IDS[:1, at : at + 1], past_key_values=cache)
    trace.save(tmp_path / "steps.trace")
    for one in (trace, ch.Trace.load(tmp_path / "steps.trace")):
        assert [token for token, *_ in one.generated] == IDS[0, 9:11].tolist() and len(one.ids) == 11
        assert all(np.isnan(probability) for *_, probability in one.generated)
    assert trace.received_attention(0).shape == (3, 4, 11)


class LargeScores(torch.nn.Module):
    """Attention whose scores are near 3,200 and differ by less than 3 in a row: float32 rounds them to 2e-4."""

    def forward(self, x):
        return torch.nn.functional.scaled_dot_product_attention(x, x, 0.1 * x.sin())


def test_a_layer_whose_large_scores_round_by_more_than_the_tolerance_is_left_out():
    x, model = 20 + 0.01 * torch.randn(1, 2, 40, 64, generator=torch.Generator().manual_seed(0)), LargeScores()
    with torch.no_grad(), pytest.warns(UserWarning, match="off by .* from the eager formula"), ch.watch(model, check=True) as trace:
        model(x)
    assert len(trace.left_out) == 1 and "from the eager formula" in trace.left_out[0][1]


# Large scores.


def large_scores():
    """Returns queries, keys and values with scores up to some hundreds, whose rows are spread over several keys, and the double weights."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (5 * torch.randn(1, 4, 40, 64, generator=generator) for _ in range(3))
    key = 4 * key[:, :, :1] + 0.02 * key  # keys that are similar to each other
    return query, key, value, torch.softmax(query.double() @ key.double().transpose(2, 3) / 8, -1)


def test_reference_rows_are_exact_for_large_scores():
    query, key, value, exact = large_scores()
    call, rows = Call("eager", nn.Module(), query, key, value, None, {}), list(range(40))
    assert float(call._scores(rows).abs().max()) > 200 and float(exact.amax(-1).mean()) < 0.5
    np.testing.assert_allclose(call.weights(rows).numpy(), exact.numpy(), atol=1e-7)


class WithLargeScores(nn.Module):
    def forward(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value)


class OtherScores(torch.overrides.TorchFunctionMode):
    """Adds 0.01 to the scores of one key in scaled_dot_product_attention, invisible to modes that are active inside it."""

    def __torch_function__(self, function, types, positional=(), keywords=None):
        if function is F.scaled_dot_product_attention:
            keywords = {"attn_mask": 0.01 * torch.eye(40)[[3]].expand(40, 40)}
        return function(*positional, **(keywords or {}))


def test_a_layer_with_large_scores_that_computes_something_else_is_refused():
    model, given = WithLargeScores(), large_scores()[:3]
    with torch.no_grad(), ch.watch(model, check=True) as right:
        model(*given)
    assert right.left_out == []
    with pytest.warns(UserWarning, match="weights times values differ"), torch.no_grad(), OtherScores(), ch.watch(model, check=True):
        model(*given)
