"""ch.watch: maps equal eager attention, outputs are unchanged, and the model is restored afterwards."""


import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

import clearhead as ch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100}
IDS = torch.randint(5, 90, (2, 17), generator=torch.Generator().manual_seed(1))


def build(kind, **settings):
    torch.manual_seed(0)
    config = getattr(transformers, kind.split("For")[0].removesuffix("Model") + "Config")(**settings)
    return getattr(transformers, kind)(config).eval()


def llama(**settings):
    return build("LlamaForCausalLM", **SMALL, num_key_value_heads=2, pad_token_id=0, eos_token_id=99, **settings)


def eager_maps(model, **inputs):
    """Returns the attentions of the model with eager attention."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(**inputs, output_attentions=True)
    model.set_attn_implementation(before)
    return out


def run(model, **inputs):
    with torch.no_grad():
        plain = model(**inputs)
        with ch.watch(model, check=True) as trace:
            watched = model(**inputs)
    assert all(torch.equal(plain[name], watched[name]) for name in plain if isinstance(plain[name], torch.Tensor))
    assert trace.left_out == []
    assert trace.verify() < 1e-6
    return trace


def same_maps(trace, family, attentions, begin=0, end=None):
    for layer, weights in enumerate(attentions):
        weights = weights[0, :, begin:end, begin:end]
        found = trace.map(layer, family)
        for head in range(weights.shape[0]):
            for query in range(weights.shape[1]):
                row = found.head(head).row(query).weights
                np.testing.assert_allclose(row, weights[head, query].numpy(), atol=1e-6)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_encoder_maps_equal_eager_attention_without_padding(implementation):
    model = build("BertModel", **SMALL)
    model.set_attn_implementation(implementation)
    mask = torch.ones_like(IDS)
    mask[0, 12:] = 0
    trace = run(model, input_ids=IDS, attention_mask=mask)
    assert trace.families == ["enc"] and len(trace.ids) == 12
    same_maps(trace, "enc", eager_maps(model, input_ids=IDS, attention_mask=mask).attentions, 0, 12)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_decoder_maps_equal_eager_attention_after_left_padding(implementation):
    model = llama()
    model.set_attn_implementation(implementation)
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    trace = run(model, input_ids=IDS, attention_mask=mask)
    assert trace.ids == IDS[0, 4:].tolist()
    same_maps(trace, "dec", eager_maps(model, input_ids=IDS, attention_mask=mask).attentions, 4)


def beams_change_places(model):
    torch.nn.init.normal_(model.lm_head.weight, std=0.01)  # logits close to each other, so that beams overtake each other
    return model


@pytest.mark.parametrize("options", [{}, {"use_cache": False}, {"num_return_sequences": 3}, {"cache_implementation": "static"},
                                     {"eos_token_id": list(range(5, 17))}])
@pytest.mark.parametrize("sequence", [0, 1])
@pytest.mark.parametrize("kind", ["llama", "mistral", "t5"])
def test_beam_search_shows_the_winning_beam(kind, sequence, options):
    if kind == "t5":
        model = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                      decoder_start_token_id=0)
    else:
        model = llama() if kind == "llama" else build("MistralForCausalLM", **SMALL, num_key_value_heads=2, sliding_window=6,
                                                      eos_token_id=98)
    beams_change_places(model)
    mask = torch.ones_like(IDS)
    mask[0, :4] = kind == "t5"
    options = {"attention_mask": mask, "max_new_tokens": 12, "num_beams": 4, "do_sample": False, "pad_token_id": 0, **options}
    plain = model.generate(IDS, **options)
    with ch.watch(model, sequence=sequence, check=True) as trace:
        watched = model.generate(IDS, **options)
    assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-6
    told = model.generate(IDS, **options, return_dict_in_generate=True)
    at = sequence * options.get("num_return_sequences", 1)
    rows = told.beam_indices[at]
    assert len(set(rows[rows >= 0].tolist())) > 1  # otherwise the test would be vacuous
    prompt = told.sequences.shape[1] - told.beam_indices.shape[1]
    ids = told.sequences[at : at + 1, : prompt + int((rows >= 0).sum()) - 1]
    if kind == "t5":
        eager = eager_maps(model, input_ids=IDS[sequence : sequence + 1], decoder_input_ids=ids)
        same_maps(trace, "dec", eager.decoder_attentions)
        same_maps(trace, "cross", eager.cross_attentions)
        return
    first = 4 if sequence == 0 else 0
    assert trace.ids == ids[0, first:].tolist()
    padding = torch.cat([mask[sequence : sequence + 1], torch.ones(1, ids.shape[1] - 17, dtype=torch.long)], 1)
    same_maps(trace, "dec", eager_maps(model, input_ids=ids, attention_mask=padding).attentions, first)
    if options.get("use_cache", True):
        with torch.no_grad():
            p = torch.softmax(model(ids, attention_mask=padding).logits[0], -1)
        assert len(trace.generated) == ids.shape[1] - 17
        for step, (token, _, probability) in enumerate(trace.generated):
            assert token == int(ids[0, 17 + step]) and probability == pytest.approx(float(p[16 + step, token]), abs=1e-5)


def test_a_watched_beam_search_returns_the_same_output_and_is_restored():
    from transformers.generation.utils import GenerationMixin

    model, before = beams_change_places(llama()), GenerationMixin._beam_search
    options = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 5, "num_beams": 3, "do_sample": False,
               "return_dict_in_generate": True}
    with ch.watch(model):
        watched = model.generate(IDS, **options, output_scores=True)
    told = model.generate(IDS, **options, output_scores=True)
    assert torch.equal(watched.beam_indices, told.beam_indices) and torch.equal(watched.sequences_scores, told.sequences_scores)
    with pytest.raises(ZeroDivisionError), ch.watch(model):
        model.generate(IDS, **options, logits_processor=[lambda ids, scores: 1 / 0])
    assert GenerationMixin._beam_search is before


def test_flex_attentions_blocks_are_read():
    model = llama()
    model.set_attn_implementation("flex_attention")
    with torch.no_grad(), ch.watch(model) as trace:
        model(IDS, attention_mask=torch.tensor([[0] * 4 + [1] * 13, [1] * 17]))
    assert trace.left_out == [] and trace.verify() < 1e-6 and trace.ids == IDS[0, 4:].tolist()


def test_windows_caps_and_sinks():
    mistral = build("MistralForCausalLM", **SMALL, num_key_value_heads=2, sliding_window=6)
    same_maps(run(mistral, input_ids=IDS), "dec", eager_maps(mistral, input_ids=IDS).attentions)
    gemma = build("Gemma2ForCausalLM", **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=6, attn_logit_softcapping=0.5)
    gemma.set_attn_implementation("eager")
    same_maps(run(gemma, input_ids=IDS), "dec", eager_maps(gemma, input_ids=IDS).attentions)
    oss = build("GptOssForCausalLM", **SMALL, num_key_value_heads=2, head_dim=8, sliding_window=6, num_local_experts=2,
                num_experts_per_tok=1)
    oss.set_attn_implementation("eager")
    for layer in oss.model.layers:
        torch.nn.init.normal_(layer.self_attn.sinks)
    same_maps(run(oss, input_ids=IDS), "dec", eager_maps(oss, input_ids=IDS).attentions)


def test_an_encoder_decoder_has_three_families_and_position_biases():
    model = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                  decoder_start_token_id=0)
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
    trace, eager = run(model, **inputs), eager_maps(model, **inputs)
    assert trace.families == ["cross", "enc", "dec"] and [one[0] for one in trace.segments] == ["source", "target"]
    same_maps(trace, "enc", eager.encoder_attentions)
    same_maps(trace, "dec", eager.decoder_attentions)
    same_maps(trace, "cross", eager.cross_attentions)


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "t5"])
def test_steps_of_a_generation_are_one_map(kind, cache):
    if kind == "t5":
        model = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                      decoder_start_token_id=0, eos_token_id=98)
    else:
        model = llama() if kind == "llama" else build("MistralForCausalLM", **SMALL, num_key_value_heads=2, sliding_window=6,
                                                      eos_token_id=98)
    options = {"max_new_tokens": 9, "do_sample": False, "attention_mask": torch.ones_like(IDS), "cache_implementation": cache}
    plain = model.generate(IDS, **options)
    with ch.watch(model) as trace:
        watched = model.generate(IDS, **options)
    assert torch.equal(plain, watched)
    assert trace.left_out == [] and trace.verify() < 1e-6
    if kind == "t5":
        eager = eager_maps(model, input_ids=IDS, decoder_input_ids=plain[:, :-1])
        same_maps(trace, "dec", eager.decoder_attentions)
        same_maps(trace, "cross", eager.cross_attentions)
    else:
        assert trace.ids == plain[0, : len(trace.ids)].tolist()
        same_maps(trace, "dec", eager_maps(model, input_ids=plain[:1, :-1]).attentions)


def test_generated_tokens_have_probabilities_and_keys_have_received_attention():
    model = llama()
    with ch.watch(model) as trace:
        out = model.generate(IDS[:1], max_new_tokens=6, do_sample=False, attention_mask=torch.ones(1, 17, dtype=torch.long))
    with torch.no_grad():
        p = torch.softmax(model(out).logits[0], -1)
    assert len(trace.generated) == 5 and trace.ids == out[0, :-1].tolist()  # the last token was never read
    for at, (token, _, probability) in enumerate(trace.generated):
        assert token == int(out[0, 17 + at]) and probability == pytest.approx(float(p[16 + at, token]), abs=1e-5)
    found = trace.received_attention(1)
    weights = eager_maps(model, input_ids=out[:, :-1]).attentions[1][0]
    assert found.shape == (6, 4, 22)
    for step in range(6):
        np.testing.assert_allclose(found[step], weights[:, : 17 + step].sum(1).numpy(), atol=1e-4)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_a_generation_after_padding(implementation):
    model, mask = llama(), torch.ones_like(IDS)
    mask[0, :4] = 0
    model.set_attn_implementation(implementation)
    with ch.watch(model) as trace:
        out = model.generate(IDS, attention_mask=mask, max_new_tokens=9, do_sample=False)
    assert trace.left_out == [] and trace.verify() < 1e-6 and trace.ids == out[0, 4 : 4 + len(trace.ids)].tolist()


def test_the_last_of_several_runs_is_kept_and_the_model_is_restored():
    from transformers.modeling_utils import AttentionInterface

    model, before = llama(), (AttentionInterface.get_interface, torch.nn.Module.__call__)
    with torch.no_grad(), ch.watch(model) as trace:
        model(IDS)
        model(IDS[:, :5])
    assert trace.map(0).queries == 5
    with pytest.raises(RuntimeError, match="of mine"), ch.watch(model) as trace:
        raise RuntimeError("of mine")
    assert (AttentionInterface.get_interface, torch.nn.Module.__call__) == before
    assert all("_compiled_call_impl" not in vars(module) for module in model.modules())
    with pytest.raises(ch.NotFoundError, match="no trace yet"):
        trace.view()


def test_other_models_are_left_alone_and_two_are_watched_at_once():
    one, two, other = llama(), llama(), llama()
    with torch.no_grad(), ch.watch(one) as first, ch.watch(two) as second:
        one(IDS)
        two(IDS[:, :9])
        other(IDS[:, :3])
    assert (first.map(0).queries, second.map(0).queries) == (17, 9)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_a_head_knocked_out_and_pairs_that_are_cut(implementation):
    model = llama()
    with torch.no_grad():
        # cutting pairs equals a mask with four axes; knocking out a head equals zeros in its columns of the output projection
        mask = torch.ones(17, 17, dtype=torch.bool).tril()[None, None].repeat(2, 1, 1, 1)
        mask[:, :, 10:14, 3:5] = False
        without_pairs, untouched = model(IDS, attention_mask=mask).logits, model(IDS).logits
        weight = model.model.layers[1].self_attn.o_proj.weight
        kept = weight.clone()
        weight[:, 16:24] = 0
        without_head = model(IDS).logits
        weight.copy_(kept)
        model.set_attn_implementation(implementation)
        with ch.watch(model, knock_out=["L1.H2"]) as trace:
            out = model(IDS).logits
        np.testing.assert_allclose(out.numpy(), without_head.numpy(), atol=1e-6)
        assert not np.allclose(out.numpy(), untouched.numpy(), atol=1e-4)
        with ch.edits(model, cut=[(10, 14, 3, 5)]):
            out = model(IDS).logits
        np.testing.assert_allclose(out.numpy(), without_pairs.numpy(), atol=1e-5)
        with ch.watch(model, cut=[(10, 14, 3, 5)]) as trace:
            model(IDS)
        np.testing.assert_allclose(model(IDS).logits.numpy(), untouched.numpy(), atol=1e-6)  # restored
    row = trace.map(0).head(0).row(12).weights
    assert (row[3:5] == 0).all() and row.sum() == pytest.approx(1, abs=1e-5) and (row[:3] > 0).all()
    with pytest.raises(ch.InvalidArgumentError, match='"H5"; expected a head'):
        ch.watch(model, knock_out=["H5"])
    with (
        pytest.raises(ch.InvalidArgumentError, match="layer 0 has no head 9; its heads are 0 to 3"),
        torch.no_grad(),
        ch.edits(model, knock_out=["L0.H9"]),
    ):
        model(IDS)


def test_a_layer_that_computes_something_else_is_left_out_by_name():
    model = llama()
    wrong = model.model.layers[1].self_attn
    from transformers.integrations import sdpa_attention
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def louder(module, *positional, **kwargs):
        out, weights = sdpa_attention.sdpa_attention_forward(module, *positional, **kwargs)
        return (out * 1.01 if module is wrong else out), weights

    ALL_ATTENTION_FUNCTIONS.register("louder", louder)
    model.config._attn_implementation = "louder"
    with torch.no_grad(), ch.watch(model) as trace:
        model(IDS)
    assert trace.layers() == [0]
    assert trace.left_out[0][0] == "model.layers.1.self_attn" and "computes something other than its description" in trace.left_out[0][1]


def test_vision_transformers_and_clip_towers_are_watched():
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
              "patch_size": 8}
    vit, pixels = build("ViTModel", **vision), torch.randn(1, 3, 32, 32)
    trace = run(vit, pixel_values=pixels)
    same_maps(trace, "enc", eager_maps(vit, pixel_values=pixels).attentions)
    assert trace.tokens[:2] == ["class token", "patch 1, 1"]
    clip = build("CLIPModel", text_config=SMALL, vision_config=vision)
    assert sorted(run(clip, input_ids=IDS[:1], pixel_values=pixels).families) == ["text", "vision"]


@pytest.mark.parametrize("kinds, shared, buckets", [(["p2c", "c2p"], True, 4), (["c2p"], False, -1), (["p2c"], False, 8)])
def test_disentangled_attention_of_deberta(kinds, shared, buckets):
    model = build("DebertaV2Model", **SMALL, relative_attention=True, pos_att_type=kinds, share_att_key=shared, position_buckets=buckets,
                  max_relative_positions=32, norm_rel_ebd="none")
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    mask = torch.ones_like(IDS)
    mask[0, 12:] = 0
    trace = run(model, input_ids=IDS, attention_mask=mask)
    with torch.no_grad():
        expected = model(IDS, attention_mask=mask, output_attentions=True).attentions
    assert len(trace.ids) == 12
    same_maps(trace, "enc", expected, 0, 12)


def test_whisper_maps_name_the_frames_of_a_sound():
    model = build("WhisperModel", vocab_size=100, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                  decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=30, num_mel_bins=16,
                  pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    inputs = {"input_features": torch.randn(1, 16, 60), "decoder_input_ids": IDS[:1, :7]}
    trace = run(model, **inputs)
    assert trace.families == ["cross", "enc", "dec"] and trace.tokens[7:9] == ["frame 1", "frame 2"] and len(trace.tokens) == 37
    same_maps(trace, "cross", eager_maps(model, **inputs).cross_attentions)


def test_a_trace_keeps_its_text_and_is_saved_and_loaded(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: at for at, word in enumerate(["[UNK]", "[CLS]", "the", "cat", "sat", "é", "on", "mat"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]", unk_token="[UNK]")
    model = build("BertModel", **SMALL)
    text = "the cat é sat  on the mat"
    with torch.no_grad(), ch.watch(model, tokenizer, text=text) as trace:
        model(**tokenizer(text, return_tensors="pt"))
    assert trace.text == text and trace.tokens[0] == "[CLS]"
    trace.save(tmp_path / "x.trace")
    again = ch.Trace.load(str(tmp_path / "x.trace"))
    np.testing.assert_array_equal(again.map(1).head(2).row(3).weights, trace.map(1).head(2).row(3).weights)
    assert trace.to_html().startswith("<!doctype html>")


def test_a_trace_keeps_to_its_budget_and_its_layers():
    model = llama()
    with torch.no_grad(), ch.watch(model, layers=[1], tail=3, budget=170_000) as trace:
        model(IDS.repeat(1, 8))
    assert trace.layers() == [1] and trace.map(1).rows_kept == [(133, 136)]
    with pytest.raises(ch.BudgetError, match="the budget is"), torch.no_grad(), ch.watch(model, budget=10):
        model(IDS)


def test_masks_become_bands_and_padding():
    i, j = np.arange(6)[:, None], np.arange(9)[None]
    for visible, described in ((j <= i + 3, {"back": None, "ahead": 0}), ((j <= i + 3) & (j > i), {"back": 2, "ahead": 0}),
                               (j <= i - 1, {"back": None, "ahead": 0, "offset": -4}), (abs(i + 3 - j) <= 1, {"back": 1, "ahead": 1}),
                               ((j >= 2) & (j <= i + 3), {"back": None, "ahead": 0}), ((i // 2 == j // 3), {"back": None, "ahead": None})):
        topology = ch._core._topology_of_mask(np.ascontiguousarray(visible[None, None]))
        band = topology.to_dict()["band"]
        assert {**band, **described} == band
        q, k = (np.random.default_rng(0).standard_normal((1, 1, n, 8)).astype(np.float32) for n in (6, 9))
        found = ch.Map(ch.attend(q, k, k, topology=topology)[1]).head(0, 0)
        np.testing.assert_array_equal(np.stack([found.row(query).weights > 0 for query in range(6)]), visible)


def answer(result, sequence):
    return result.logits[sequence, -1, 7] if hasattr(result, "logits") else result.last_hidden_state[sequence, 3, 0]


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_weight_gradients_equal_the_gradients_of_eager_attention(kind, implementation, tmp_path):
    model = build("BertModel", **SMALL) if kind == "bert" else llama()
    mask = torch.ones_like(IDS)
    begin, end = (0, 12) if kind == "bert" else (4, 17)
    mask[1, end:] = 0
    mask[1, :begin] = 0
    model.set_attn_implementation("eager")
    plain = model(input_ids=IDS, attention_mask=mask, output_attentions=True)
    for weights in plain.attentions:
        weights.retain_grad()
    answer(plain, 1).backward()
    expected = [(of.detach() * of.grad)[1, :, begin:end, begin:end].numpy() for of in plain.attentions]
    raw = [of.grad[1, :, begin:end, begin:end].numpy() for of in plain.attentions]
    model.set_attn_implementation(implementation)
    with ch.watch(model, sequence=1, gradients_of="token 7") as watched:
        answer(model(input_ids=IDS, attention_mask=mask), 1).backward()
    assert watched.left_out == [] and watched.gradients_of == "token 7"
    watched.save(tmp_path / "of.trace")
    for trace in watched, ch.Trace.load(tmp_path / "of.trace"):
        for layer, product in enumerate(expected):
            visible = ~np.isnan(trace.map(layer).head(0).pool((0, 0))[0])
            shown = {show: np.stack([trace.map(layer).gradients(show).head(head).pool((0, 0))[0] for head in range(4)])
                     for show in ("gradient", "product", "for", "against")}
            scale = max(np.abs(product).max(), 1e-3)
            np.testing.assert_allclose(shown["product"][:, visible], product[:, visible], atol=1e-5 * scale)
            np.testing.assert_allclose(shown["gradient"][:, visible], raw[layer][:, visible], atol=1e-5 * np.abs(raw[layer]).max())
            np.testing.assert_array_equal((shown["for"] - shown["against"])[:, visible], shown["product"][:, visible])
            assert np.abs(product).max() > 0
    with pytest.raises(ch.UnsupportedError, match="statistics and attention between tokens need a map of weights"):
        watched.map(0).gradients().attention_between()
    with pytest.raises(ch.InvalidArgumentError, match="expected gradient, product"):
        watched.map(0).gradients("sum")


def test_gradients_without_a_backward_pass_are_refused():
    model = llama()
    with pytest.raises(ch.InvalidArgumentError, match="call backward"), ch.watch(model, gradients_of="token 7"):
        model(input_ids=IDS)
    with ch.watch(model) as trace:
        model(input_ids=IDS)
    assert trace.gradients_of is None
    with pytest.raises(ch.NotFoundError, match="were not kept"):
        trace.map(0).gradients()
