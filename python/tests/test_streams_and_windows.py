"""ch.watch on attention calls whose batch rows are not texts: n-gram streams, windows with pooled queries, tensors with five axes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")
import clearhead as ch
from own_attention import Spy
from test_families import IDS, build
from torch import nn
from torch.nn import functional as F


def prophetnet(ngram=2):
    return build("ProphetNetModel", vocab_size=100, hidden_size=32, encoder_ffn_dim=64, decoder_ffn_dim=64, num_encoder_layers=2,
                 num_decoder_layers=2, num_encoder_attention_heads=4, num_decoder_attention_heads=4, ngram=ngram,
                 max_position_embeddings=64)


@pytest.mark.parametrize("sequence", [0, 1])
@torch.no_grad()
def test_every_stream_of_prophetnets_n_grams_is_a_family_of_the_watched_text(sequence):
    model = prophetnet()
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
    with ch.watch(model, sequence=sequence) as trace:
        model(**inputs)
    expected = model(**inputs, output_attentions=True).decoder_ngram_attentions
    assert set(trace.families) == {"enc", "dec", "second", "third", "cross", "cross-second", "cross-third"}
    assert trace.left_out == [] and trace.verify() < 1e-5
    for layer in range(2):
        for stream, family in enumerate(("second", "third")):
            found = trace.map(layer, family)
            assert found.module == f"decoder.layers.{layer}.self_attn.{family}"
            np.testing.assert_allclose(found.to_numpy(), expected[layer][sequence, stream].numpy(), atol=1e-5)


@pytest.mark.parametrize("sequence", [0, 1])
@torch.no_grad()
def test_cross_attention_of_every_stream_has_the_target_tokens_as_queries(sequence):
    model = prophetnet()
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
    with ch.watch(model, sequence=sequence) as trace:
        model(**inputs)
    expected = model(**inputs, output_attentions=True).cross_attentions
    assert trace.ids[:24] == [*IDS[sequence].tolist(), *IDS[sequence, :7].tolist()]
    for layer in range(2):
        for stream, family in enumerate(("cross", "cross-second", "cross-third")):
            found = trace.map(layer, family)
            weights = torch.softmax(expected[layer][sequence, :, 7 * stream : 7 * (stream + 1)], -1)  # the model returns scores
            assert found.query_range == (17, 24) and found.key_range == (0, 17)
            np.testing.assert_allclose(found.to_numpy(), weights.numpy(), atol=1e-5)


@torch.no_grad()
def test_knocked_out_heads_of_one_stream_change_that_stream_alone():
    model = prophetnet()
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
    plain = model(**inputs)
    with ch.edits(model, knock_out=["third.L1.H2"]):
        edited = model(**inputs)
    assert torch.equal(plain.last_hidden_state, edited.last_hidden_state)
    first, second = (plain.last_hidden_state_ngram - edited.last_hidden_state_ngram).abs().unflatten(1, (2, 7)).amax((0, 2, 3)).tolist()
    assert first == 0 and second > 1e-2
    with ch.edits(model, knock_out=["cross-second.L1.H2"]):
        edited = model(**inputs)
    assert torch.equal(plain.last_hidden_state, edited.last_hidden_state)
    first, second = (plain.last_hidden_state_ngram - edited.last_hidden_state_ngram).abs().unflatten(1, (2, 7)).amax((0, 2, 3)).tolist()
    assert first > 1e-2 and second == 0


@torch.no_grad()
def test_steps_of_streams_over_a_cache_are_left_out_by_name():
    model = build("ProphetNetForConditionalGeneration", **{name: value for name, value in prophetnet().config.to_dict().items() if name in (
        "vocab_size", "hidden_size", "num_encoder_layers", "num_decoder_layers", "num_encoder_attention_heads",
        "num_decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "ngram", "max_position_embeddings")})
    with pytest.warns(UserWarning, match="from another stream"), ch.watch(model) as trace:
        model.generate(IDS, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert set(trace.families) == {"enc", "dec", "cross", "cross-second", "cross-third"}
    assert trace.map(0, "cross-third").queries == 4 and trace.verify() < 1e-5
    assert {path for path, _ in trace.left_out} == {f"prophetnet.decoder.layers.{layer}.self_attn.{stream}" for layer in (0, 1)
                                                    for stream in ("second", "third")}


class RowsOfChunks(nn.Module):
    """Attention in chunks of four tokens, which are the rows of the batch."""

    def __init__(self):
        super().__init__()
        self.embed, self.project = nn.Embedding(100, 16), nn.Linear(16, 48)

    def forward(self, input_ids):
        x = self.project(self.embed(input_ids)).reshape(-1, 1, 4, 48)
        return F.scaled_dot_product_attention(*x.chunk(3, -1)).reshape(*input_ids.shape, 16)


@torch.no_grad()
def test_rows_of_a_batch_that_are_no_texts_are_left_out_by_name():
    model = RowsOfChunks().eval()
    with pytest.warns(UserWarning, match="4 rows of a batch of 2 texts"), ch.watch(model) as trace:
        model(IDS[:, :8])
    assert trace.left_out == [("attention", "it computes 4 rows of a batch of 2 texts, not one for each")]


@pytest.mark.parametrize("sequence", [0, 1])
@torch.no_grad()
def test_windows_with_pooled_queries_are_one_layer(sequence):
    config = dict(image_size=[64, 64], embed_dim=16, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], masked_unit_size=[8, 8])
    model = build("HieraModel", **config)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with ch.watch(model, sequence=sequence) as trace:
        model(pixels)
    with Spy(model) as spy:
        model(pixels)
    assert trace.left_out == [] and trace.verify() < 1e-5
    own, compared = dict(spy.found), 0
    for family in trace.families:
        for layer in trace.layers(family):
            found, weights = trace.map(layer, family), own[trace.map(layer, family).module][sequence]  # [head, window, query, key]
            whole = torch.stack([torch.block_diag(*head) for head in weights])
            np.testing.assert_allclose(np.nan_to_num(found.to_numpy()), whole.numpy(), atol=1e-5)
            compared += found.queries != found.keys
    assert compared == 3


class Blocks(nn.Module):
    """scaled_dot_product_attention with five axes, [text, block, head, token, d], and a bias for each block."""

    main_input_name = "input_features"

    def __init__(self):
        super().__init__()
        self.project, self.bias = nn.Linear(16, 48), nn.Parameter(torch.randn(3, 1, 4, 4))

    def forward(self, input_features):
        q, k, v = self.project(input_features).reshape(2, 3, 4, 2, 24).transpose(2, 3).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias).transpose(2, 3).reshape(2, 12, 16)


@pytest.mark.parametrize("sequence", [0, 1])
@torch.no_grad()
def test_attention_of_five_axes_is_attention_in_windows(sequence):
    torch.manual_seed(0)
    model, sound = Blocks(), 3 * torch.randn(2, 12, 16)
    with ch.watch(model, sequence=sequence) as trace:
        model(input_features=sound)
    with Spy(model) as spy:
        model(input_features=sound)
    assert trace.left_out == [] and trace.verify() < 1e-5
    whole = torch.stack([torch.block_diag(*spy.found[0][1][sequence, :, head]) for head in range(2)])
    np.testing.assert_allclose(np.nan_to_num(trace.map(0).to_numpy()), whole.numpy(), atol=1e-5)
