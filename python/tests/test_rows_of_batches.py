"""Which rows of a batch ch.watch assigns to the watched input: one row per input, or several windows per input."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")
import clearhead as ch
from own_attention import Spy
from test_families import IDS, build, peaked
from torch import nn
from torch.nn import functional as F

TEXT = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64)
VISION = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=8, num_channels=3)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def watched(model, sequence, **inputs):
    with torch.no_grad(), ch.watch(model, sequence=sequence) as trace:
        model(**inputs)
    return trace


def same(found, weights):
    """Compares a map with weights [window, head, query, key]: each window sees only itself."""
    whole = torch.stack([torch.block_diag(*weights[:, head]) for head in range(weights.shape[1])])
    np.testing.assert_allclose(np.nan_to_num(found.to_numpy()), whole.numpy(), atol=1e-5)


def names(trace, found):
    return trace.tokens[slice(*found.query_range)]


def granite_speech():
    module = transformers.models.granite_speech.modeling_granite_speech
    config = transformers.models.granite_speech.configuration_granite_speech.GraniteSpeechEncoderConfig(
        input_dim=16, hidden_dim=32, num_layers=2, num_heads=4, dim_head=8, context_size=8, max_pos_emb=16, output_dim=20)
    return peaked(module.GraniteSpeechCTCEncoder(config))


@pytest.mark.parametrize("sequence", [0, 1])
def test_the_windows_of_granites_encoder_are_parts_of_one_sound(sequence):
    model, sound = granite_speech(), random(2, 24, 16)
    trace = watched(model, sequence, hidden_states=sound)
    with torch.no_grad(), Spy(model) as spy:
        model(sound)
    assert trace.left_out == [] and trace.verify() < 1e-5
    for layer in range(2):
        found = trace.map(layer)
        same(found, dict(spy.found)[found.module].unflatten(0, (2, 3))[sequence])
        assert names(trace, found)[7:9] == ["group 1, 8", "group 2, 1"]


@pytest.mark.parametrize("sequence", [0, 1])
def test_the_channels_of_patchtst_are_parts_of_one_series(sequence):
    model = build("PatchTSTModel", num_input_channels=3, context_length=32, patch_length=8, patch_stride=8, d_model=32, num_hidden_layers=2,
                  num_attention_heads=4, ffn_dim=64)
    series = random(2, 32, 3)
    trace = watched(model, sequence, past_values=series)
    with torch.no_grad(), Spy(model) as spy:
        model(past_values=series)
    assert trace.left_out == [] and trace.layers() == [0, 1]
    for layer, (_, weights) in enumerate(spy.found):
        same(trace.map(layer), weights.unflatten(0, (2, 3))[sequence])
    assert names(trace, trace.map(0))[3:5] == ["channel 1, 4", "channel 2, 1"]


@pytest.mark.parametrize("how", [ch.edits, ch.watch])
def test_pairs_of_windows_are_not_cut_and_heads_are_knocked_out(how):
    model, sound = granite_speech(), random(1, 24, 16)
    with torch.no_grad():
        plain = model(sound).last_hidden_state
        with pytest.raises(ch.UnsupportedError, match="attends in windows, in which pairs cannot be cut"), how(model, cut=[(0, 1, 0, 1)]):
            model(sound)
        with how(model, knock_out=["L1.H2"]):
            assert not torch.equal(model(sound).last_hidden_state, plain)
        assert torch.equal(model(sound).last_hidden_state, plain)


@pytest.mark.parametrize("sequence", [0, 1])
def test_several_sounds_given_as_samples_are_several_inputs(sequence):
    model = build("Wav2Vec2Model", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100)
    sounds = random(2, 2000)
    trace = watched(model, sequence, input_values=sounds)
    with torch.no_grad():
        expected = model(sounds, output_attentions=True).attentions
    for layer in range(2):
        same(trace.map(layer), expected[layer][sequence : sequence + 1])
    assert names(trace, trace.map(0))[0] == "frame 1"


def xclip():
    vision = dict(VISION, num_frames=4, mit_hidden_size=32, mit_intermediate_size=64, mit_num_attention_heads=4, mit_num_hidden_layers=1,
                  drop_path_rate=0.0)
    text = dict(TEXT, max_position_embeddings=64, eos_token_id=99)
    return build("XCLIPModel", text_config=text, vision_config=vision, projection_dim=32, prompt_num_attention_heads=4)


@pytest.mark.parametrize("sequence", [0, 1])
def test_frames_of_a_video_are_parts_of_one_input(sequence):
    model, video = xclip(), random(2, 4, 3, 16, 16)
    trace = watched(model, sequence, input_ids=IDS, pixel_values=video)
    with torch.no_grad(), Spy(model) as spy:
        model(input_ids=IDS, pixel_values=video)
    own = dict(spy.found)
    layers = [trace.map(layer, family) for family in trace.families for layer in trace.layers(family)]
    frames = [one for one in layers if one.module.startswith("vision_model.encoder") and one.module.endswith("self_attn")]
    assert len(frames) == 2
    for found in frames:
        same(found, own[found.module].unflatten(0, (2, 4))[sequence])
        assert names(trace, found)[0] == "frame 1, 1"


def llava():
    return build("LlavaForConditionalGeneration", text_config=dict(TEXT, model_type="llama", eos_token_id=98, pad_token_id=0),
                 vision_config=dict(VISION, model_type="clip_vision_model"), image_token_index=99, vision_feature_layer=-1)


def prompt(*pictures):
    """Texts of 11 tokens that contain this many pictures of 4 patches each."""
    ids = IDS[: len(pictures), :11].clone()
    for row, count in enumerate(pictures):
        ids[row, 1 : 1 + 4 * count] = 99
    return ids


def of_tower(trace):
    return trace.map(1, "vision")


@pytest.mark.parametrize("sequence", [0, 1])
def test_beam_search_with_a_picture_per_text_watches_the_picture_of_the_text(sequence):
    model, pixels, ids = llava(), random(2, 3, 16, 16), prompt(1, 1)
    with torch.no_grad(), ch.watch(model, sequence=sequence) as trace:
        model.generate(input_ids=ids, pixel_values=pixels, num_beams=3, max_new_tokens=3, attention_mask=torch.ones_like(ids))
    assert trace.left_out == []
    with torch.no_grad():
        expected = model.model.vision_tower(pixels, output_attentions=True).attentions[1]
    same(of_tower(trace), expected[sequence : sequence + 1])


def test_several_pictures_of_one_text_are_shown_together():
    model, pixels = llava(), random(2, 3, 16, 16)
    trace = watched(model, 0, input_ids=prompt(2), pixel_values=pixels)
    with torch.no_grad():
        expected = model.model.vision_tower(pixels, output_attentions=True).attentions[1]
    same(of_tower(trace), expected)
    assert names(trace, of_tower(trace))[4:6] == ["picture 1, 5", "picture 2, 1"]


def test_pictures_that_are_not_one_for_each_text_are_left_out_by_name():
    with pytest.warns(UserWarning, match="3 pictures of 2 texts"):
        trace = watched(llava(), 1, input_ids=prompt(1, 2), pixel_values=random(3, 3, 16, 16))
    assert trace.families == ["dec"] and {path.rpartition(".")[0] for path, _ in trace.left_out} == {
        f"model.vision_tower.encoder.layers.{layer}" for layer in (0, 1)}


def test_one_picture_compared_with_several_texts_is_shown_beside_each():
    model = build("CLIPModel", text_config=dict(TEXT, max_position_embeddings=64, eos_token_id=99), vision_config=VISION, projection_dim=32)
    ids, pixels = torch.cat([IDS, IDS + 3]), random(1, 3, 16, 16)
    trace = watched(model, 3, input_ids=ids, pixel_values=pixels)
    with torch.no_grad():
        of_texts, of_picture = (
            model.text_model(ids, output_attentions=True).attentions,
            model.vision_model(pixels, output_attentions=True).attentions,
        )
    same(trace.map(1, "text"), of_texts[1][3:4])
    same(trace.map(1, "vision"), of_picture[1])
    assert trace.left_out == [] and trace.ids[:17] == ids[3].tolist()
    with pytest.warns(UserWarning, match="sequence=3, but the batch has 2 pictures"):
        assert watched(model, 3, input_ids=ids, pixel_values=random(2, 3, 16, 16)).families == ["text"]


def test_patches_of_pictures_packed_into_one_row_are_numbered():
    model = build("PixtralVisionModel", hidden_size=32, num_hidden_layers=1, num_attention_heads=4, head_dim=8, intermediate_size=64,
                  image_size=16, patch_size=8)
    trace = watched(model, 1, pixel_values=random(2, 3, 16, 16))
    assert trace.map(0).queries == 8 and trace.tokens == [str(at + 1) for at in range(8)]


@pytest.mark.parametrize("sequence", [0, 1])
def test_the_first_of_several_sampled_sequences_is_shown_with_its_source(sequence):
    model = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                  decoder_start_token_id=1)
    torch.manual_seed(0)
    with torch.no_grad(), ch.watch(model, sequence=sequence) as trace:
        written = model.generate(IDS, do_sample=True, num_return_sequences=3, max_new_tokens=5, min_new_tokens=5)
    decoded = written[3 * sequence, :-1]
    assert trace.ids == IDS[sequence].tolist() + decoded.tolist() and trace.left_out == []
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(input_ids=IDS[sequence][None], decoder_input_ids=decoded[None], output_attentions=True)
    same(trace.map(1, "cross"), expected.cross_attentions[1])
    same(trace.map(1, "enc"), expected.encoder_attentions[1])


class Rows(nn.Module):
    """Attention over [input, token, 16], in groups of 4 tokens unless order is "one by one" (one call per input).

    order: whether the groups of an input are adjacent rows of the batch ("inputs first"), or the same group of all inputs ("groups first").
    """

    def __init__(self, order, embeds=False):
        super().__init__()
        self.order, self.project = order, nn.Linear(16, 48)
        self.embed = nn.Embedding(100, 16) if embeds else nn.Identity()

    def attend(self, x):
        q, k, v = self.project(x)[:, None].chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v)[:, 0]

    def forward(self, x):
        x = self.embed(x)
        groups = x.unflatten(1, (-1, 4))
        if self.order == "one by one":
            return torch.cat([self.attend(one[None]) for one in x])
        groups = groups.transpose(0, 1) if self.order == "groups first" else groups
        return self.attend(groups.flatten(0, 1))


@pytest.mark.parametrize("order", ["inputs first", "groups first"])
def test_the_order_of_rows_is_not_guessed(order):
    torch.manual_seed(0)
    model, x = Rows(order), random(2, 12, 16)
    with pytest.warns(UserWarning, match="6 rows for 2 inputs, and it is not known which input each belongs to; watch one of them"):
        assert watched(model, 1, x=x).left_out[0][0] == "attention"
    trace = watched(model, 0, x=x[1:])
    with torch.no_grad(), Spy(model) as spy:
        model(x[1:])
    same(trace.map(0), spy.found[0][1])
    assert trace.tokens[4] == "group 2, 1"


def test_inputs_of_a_batch_computed_one_by_one_are_left_out():
    model = Rows("one by one")
    with pytest.warns(UserWarning, match="the 2 inputs of the batch one after the other; watch one of them"):
        trace = watched(model, 1, x=random(2, 12, 16))
    assert len(trace.left_out) == 2
    assert watched(model, 0, x=random(1, 12, 16)).left_out == []
    with pytest.warns(UserWarning, match="the 2 inputs of the batch one after the other"):
        assert len(watched(Rows("one by one", embeds=True), 1, x=IDS[:, :8]).left_out) == 2


def test_sequence_first_tensors_are_watched():
    torch.manual_seed(0)
    net, x = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0).eval(), random(8, 4, 16)
    trace = watched(net, 3, src=x)
    with torch.no_grad():
        same(trace.map(0), net.self_attn(x, x, x, average_attn_weights=False)[1][3:])


@pytest.mark.parametrize("sequence", [0, 3])
def test_sequence_first_encoder_decoder_tensors_are_watched(sequence):
    torch.manual_seed(0)
    net = nn.Transformer(16, 2, 1, 1, 32, dropout=0.0).eval()
    source, target = random(8, 4, 16), random(5, 4, 16)
    trace = watched(net, sequence, src=source, tgt=target)
    assert trace.left_out == [] and len(trace.families) == 3
    with torch.no_grad():
        expected = net.decoder.layers[0].self_attn(target, target, target, average_attn_weights=False)[1]
    found = next(one for family in trace.families if (one := trace.map(0, family)).module == "decoder.layers.0.self_attn")
    same(found, expected[sequence : sequence + 1])


class MaskFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, mask, x):
        return self.attention(x, x, x, attn_mask=mask, average_attn_weights=False)


def test_a_mask_may_be_the_first_argument():
    torch.manual_seed(0)
    net, x, mask = MaskFirst().eval(), random(3, 8, 16), torch.ones(8, 8, dtype=torch.bool).triu(1)
    trace = watched(net, 2, mask=mask, x=x)
    assert trace.left_out == []
    with torch.no_grad():
        same(trace.map(0), net(mask, x)[1][2:])


class Scores(nn.Module):
    """The same for a text, with a hand-written softmax: scores [text, chunk, head, query, key]."""

    num_heads = 2

    def __init__(self):
        super().__init__()
        self.embed, self.project = nn.Embedding(100, 16), nn.Linear(16, 48)

    def forward(self, input_ids):
        q, k, v = self.project(self.embed(input_ids)).reshape(2, -1, 4, 2, 24).transpose(2, 3).chunk(3, -1)
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


def test_chunked_attention_is_left_out_instead_of_shown_as_streams():
    with pytest.warns(UserWarning, match="4 rows of a batch of 2 texts"):
        trace = watched(Scores(), 0, input_ids=IDS[:, :8])
    assert len(trace.left_out) == 1


@pytest.mark.parametrize("sequence", [0, 1])
def test_cross_attention_between_pictures_names_keys_of_the_other_picture(sequence):
    detector = transformers.SuperPointConfig(encoder_hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16, keypoint_decoder_dim=65,
                                             descriptor_decoder_dim=32, keypoint_threshold=0.0, max_keypoints=6, border_removal_distance=0)
    model = build("SuperGlueForKeypointMatching", keypoint_detector_config=detector, hidden_size=32, keypoint_encoder_sizes=[16, 32],
                  gnn_layers_types=["self", "cross"], sinkhorn_iterations=3)
    for one in model.gnn.parameters():
        nn.init.normal_(one, std=0.1)  # keeps scores below the hundreds
    pairs = random(2, 2, 3, 32, 32).abs()
    trace = watched(model, sequence, pixel_values=pairs)
    with torch.no_grad(), Spy(model) as spy:
        model(pixel_values=pairs)
    itself, other = trace.map(0, "enc"), trace.map(1, "enc-2")
    for layer, found in enumerate((itself, other)):
        same(found, dict(spy.found)[f"gnn.layers.{layer}.attention.self"].unflatten(0, (2, 2))[sequence])
        assert names(trace, found)[6] == "picture 2, 1"
    keys = [trace.tokens[found.key_range[0]] for found in (itself, other)]
    assert keys == ["picture 1, 1", "keys of picture 1, 1"]


@pytest.mark.parametrize("sequence", [0, 1])
def test_batches_that_drop_finished_sounds_are_left_out_with_a_warning(sequence):
    model = build("WhisperForConditionalGeneration", d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                  decoder_attention_heads=4,
                  encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=100, num_mel_bins=16, max_source_positions=20, max_target_positions=30,
                  decoder_start_token_id=1, eos_token_id=2, pad_token_id=0, bos_token_id=1, suppress_tokens=None,
                  begin_suppress_tokens=None)
    model.generation_config.no_timestamps_token_id, model.generation_config.return_timestamps = 90, True
    sounds, there = random(2, 16, 120), torch.ones(2, 120, dtype=torch.long)
    there[0, 40:] = 0  # the first sound has one chunk, the second has three
    options = {"attention_mask": there, "return_timestamps": True, "max_new_tokens": 5}
    plain = model.generate(sounds, **options)
    with pytest.warns(UserWarning, match="has left some of 2 inputs out of the batch"), ch.watch(model, sequence=sequence) as trace:
        watched_too = model.generate(sounds, **options)
    assert torch.equal(plain, watched_too) and len(trace.left_out) == 6
    with ch.watch(model, sequence=sequence) as trace:
        model.generate(sounds[:, :, :40], **options | {"attention_mask": there[:, :40]})
    assert trace.left_out == [] and trace.families == ["cross", "enc", "dec"]
    with torch.no_grad():
        expected = model.model.encoder(sounds[:, :, :40], output_attentions=True).attentions
    same(trace.map(1, "enc"), expected[1][sequence : sequence + 1])
    with ch.watch(model) as trace:
        model.generate(sounds[1:], **options | {"attention_mask": there[1:]})
    assert trace.left_out == []


def test_the_pictures_of_several_texts_in_one_row_are_shown_together():
    config = transformers.Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}},
        vision_config={"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64, "patch_size": 4, "window_size": 16,
                       "out_hidden_size": 32,
                       "fullatt_block_indexes": [1], "spatial_merge_size": 2, "temporal_patch_size": 1, "in_channels": 3},
        image_token_id=99, vision_start_token_id=97)
    torch.manual_seed(0)
    model, ids = transformers.Qwen2_5_VLForConditionalGeneration(config).eval(), IDS.clone()
    ids[:, 0], ids[:, 1:5] = 97, 99
    trace = watched(model, 1, input_ids=ids, pixel_values=random(32, 48), image_grid_thw=torch.tensor([[1, 4, 4], [1, 4, 4]]),
                    mm_token_type_ids=(ids == 99).int())
    assert trace.left_out == [] and trace.ids[:17] == ids[1].tolist()
    assert trace.map(1, "vision").queries == 32 and names(trace, trace.map(1, "vision"))[16] == "window 2, 1"
