"""ch.watch on models that compute attention themselves: maps equal the returned attentions, or left_out gives the reason."""

import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")
import clearhead as ch
from own_attention import Spy
from torch import nn
from torch.nn import functional as F

IDS = torch.randint(5, 90, (2, 17), generator=torch.Generator().manual_seed(1))
PADDING = torch.ones_like(IDS)
PADDING[0, 13:] = 0


def peaked(model, std=0.3):
    """Scales the model's weights so that rows of attention are far from uniform."""
    torch.manual_seed(0)
    for name, one in model.named_parameters():
        if one.dim() >= 2:
            nn.init.normal_(one, std=3 * std if ".query." in name or ".key." in name else std)
    return model.eval()


def build(name, **config):
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    model = kind(kind.config_class(**config))
    model.config._attn_implementation = "eager"
    return peaked(model)


def rows(trace, layer, head, family):
    found = trace.map(layer, family).head(head)
    return np.stack([found.row(query).weights for query in range(trace.map(layer, family).queries)])


def watched(model, **inputs):
    with torch.no_grad():
        plain = model(**inputs)
        with ch.watch(model, check=True) as trace:
            out = model(**inputs)
    assert all(torch.equal(plain[name], out[name]) for name in plain if isinstance(plain[name], torch.Tensor))
    return trace


def same(trace, family, attentions, queries=17, keys=17, numbers=None):
    """Compares the maps with [batch, head, query, key] of each layer, for the first text of the batch."""
    for number, weights in zip(numbers or range(len(attentions)), attentions):
        for head in range(weights.shape[1]):
            np.testing.assert_allclose(rows(trace, number, head, family), weights[0, head, :queries, :keys].numpy(), atol=1e-5)


WIDE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100, max_position_embeddings=64)
BY_THEMSELVES = {
    "bloom": ("BloomModel", dict(hidden_size=32, n_layer=2, n_head=4, vocab_size=100)),
    "gpt-neo": ("GPTNeoModel", dict(hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4,
                                    vocab_size=100, max_position_embeddings=64)),
    "falcon-rotary": ("FalconModel", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=100, multi_query=True)),
    "falcon-alibi": ("FalconModel",
                     dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=100, alibi=True, multi_query=False)),
    "falcon-groups": ("FalconModel", dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=100,
                                          new_decoder_architecture=True, num_kv_heads=2)),
    "mpt": ("MptModel", dict(d_model=32, n_layers=2, n_heads=4, vocab_size=100, max_seq_len=64)),
    "deberta": ("DebertaModel", {**WIDE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}),
    "deberta-plain": ("DebertaModel", WIDE),
    "deberta-talking": ("DebertaModel", {**WIDE, "relative_attention": True, "pos_att_type": ["p2c"], "talking_head": True}),
    "xlnet": ("XLNetModel", dict(d_model=32, n_layer=2, n_head=4, d_inner=64, vocab_size=100)),
    "big-bird": ("BigBirdModel", {**WIDE, "attention_type": "original_full"}),
    "funnel": ("FunnelBaseModel", dict(block_sizes=[2], d_model=32, n_head=4, d_head=8, d_inner=64, vocab_size=100)),
    "flaubert": ("FlaubertModel", dict(emb_dim=32, n_layers=2, n_heads=4, n_words=100, max_position_embeddings=64)),
    "openai": ("OpenAIGPTModel", dict(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=64)),
    "roformer": ("RoFormerModel", {**WIDE, "embedding_size": 32}),
    "mpnet": ("MPNetModel", WIDE),
    "ibert": ("IBertModel", WIDE),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_maps_are_the_attentions_that_the_model_returns(name, masked):
    model = build(BY_THEMSELVES[name][0], **BY_THEMSELVES[name][1])
    inputs = {"input_ids": IDS, **({"attention_mask": PADDING} if masked else {})}
    trace = watched(model, **inputs)
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True).attentions
    if name == "deberta-talking":  # the weights of its heads are mixed before they are applied to the values
        assert {reason for _, reason in trace.left_out} == {
            "it computes attention in its own code, and the axes of its weights are permuted"}
        return
    assert trace.left_out == [] and trace.verify() < 1e-5
    count = 13 if masked else 17
    assert trace.map(0).queries == count
    same(trace, trace.families[0], expected, count, count)
    assert max(float(one.max(-1).values.mean()) for one in expected) > 0.3


@pytest.mark.parametrize("name", ["gpt-neo", "falcon-rotary", "mpt"])  # with ALiBi, BLOOM and Falcon accept only masks with two axes
def test_a_mask_that_differs_per_query_is_read(name):
    model = build(BY_THEMSELVES[name][0], **BY_THEMSELVES[name][1])
    visible = torch.rand(2, 1, 17, 17, generator=torch.Generator().manual_seed(3)) > 0.4
    visible = (visible | torch.eye(17, dtype=torch.bool)) & torch.ones(17, 17, dtype=torch.bool).tril()
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    with torch.no_grad():
        plain, expected = model(IDS), model(IDS, attention_mask=mask, output_attentions=True)
    assert not torch.equal(plain.last_hidden_state, expected.last_hidden_state)
    trace = watched(model, input_ids=IDS, attention_mask=mask)
    assert trace.left_out == [] and trace.verify() < 1e-5
    same(trace, trace.families[0], expected.attentions)


@pytest.mark.parametrize("name", ["bloom", "gpt-neo", "falcon-rotary", "falcon-alibi"])
def test_a_generation_over_a_cache_is_one_map(name):
    base, config = BY_THEMSELVES[name]
    model = build(base.replace("Model", "ForCausalLM"), **config, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    with ch.watch(model, check=True) as trace, torch.no_grad():
        out = model.generate(IDS[:1, :9], max_new_tokens=5, do_sample=False, eos_token_id=None)
    assert trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad():
        expected = model(out[:, :-1], output_attentions=True).attentions
    same(trace, trace.families[0], expected, out.shape[1] - 1, out.shape[1] - 1)


@pytest.mark.parametrize("name", ["bloom", "xlnet"])
def test_weight_gradients_equal_the_gradients_of_the_model(name):
    model = build(BY_THEMSELVES[name][0], **BY_THEMSELVES[name][1])
    weights = []  # the tensors that the values are multiplied with

    class Keep(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, positional=(), keywords=None):
            out = function(*positional, **(keywords or {}))
            if getattr(function, "__name__", "") == "softmax":
                out.retain_grad()
                weights.append(out)
            return out

    with Keep():
        plain = model(IDS).last_hidden_state
    plain[0, 9].square().sum().backward()
    with ch.watch(model, gradients_of="token 9") as trace:
        out = model(IDS).last_hidden_state
        assert torch.equal(out, plain)
        out[0, 9].square().sum().backward()
    assert trace.left_out == []
    for layer, of in enumerate(weights):
        wanted = (of.detach() * of.grad)[0].numpy()
        for head in range(4):
            found = trace.map(layer).gradients("product").head(head).to_numpy()
            np.testing.assert_allclose(found, wanted[head], atol=2e-5 * max(1e-3, np.abs(wanted).max()))
        assert np.abs(wanted).max() > 0


def test_the_two_streams_and_the_memory_of_xlnet():
    model = build("XLNetModel", **BY_THEMSELVES["xlnet"][1], mem_len=8)
    hidden, asked = torch.zeros(2, 17, 17), torch.zeros(2, 17, 17)
    hidden[:, :, -1], asked[:] = 1, torch.eye(17)
    inputs = {"input_ids": IDS, "perm_mask": hidden, "target_mapping": asked}
    trace = watched(model, **inputs)
    assert trace.families == ["enc", "second"] and trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True).attentions
        memory = model(IDS[:, :9], use_mems=True).mems
    for stream, family in enumerate(trace.families):
        same(trace, family, [layer[stream] for layer in expected])
    inputs = {"input_ids": IDS[:, 9:], "mems": memory}
    trace = watched(model, **inputs)
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True).attentions
    of_layer = trace.map(1, "enc")
    found = np.stack([of_layer.head(2).row(row).weights for row in range(of_layer.queries) if of_layer.has_row(row)])
    np.testing.assert_allclose(found[:, ~np.isnan(found[0])], expected[1][0, 2].numpy(), atol=1e-5)


def test_an_encoder_decoder_without_the_attention_interface_is_watched():
    model = build("FSMTModel", langs=["en", "de"], src_vocab_size=100, tgt_vocab_size=100, d_model=32, encoder_layers=2, decoder_layers=2,
                  encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64)
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
    trace = watched(model, **inputs)
    assert sorted(trace.families) == ["cross", "dec", "enc"] and trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True)
    for layer in range(2):
        found = trace.map(layer, "cross").head(2)
        present = [row for row in range(found.shape[0]) if trace.map(layer, "cross").has_row(row)]
        weights = np.stack([found.row(row).weights for row in present])  # NaN: a token that is not a key of the layer
        np.testing.assert_allclose(weights[:, ~np.isnan(weights[0])], expected.cross_attentions[layer][0, 2].numpy(), atol=1e-5)


def longformer(kind="LongformerModel"):
    return build(kind, **{**WIDE, "attention_window": [4, 8]})


def banded(weights, window, columns=()):
    """Converts the attentions of a Longformer, [head, query, global keys then window], to [head, query, key]."""
    heads, queries, _ = weights.shape
    out = torch.zeros(heads, queries, queries)
    for row in range(queries):
        for at, column in enumerate(columns):
            out[:, row, column] += weights[:, row, at]
        for offset in range(-window, window + 1):
            if 0 <= row + offset < queries:
                out[:, row, row + offset] += weights[:, row, len(columns) + window + offset]
    return out


@pytest.mark.parametrize("of_all", [(), (0, 5)])
def test_longformers_windows_and_its_tokens_with_global_attention(of_all):
    model = longformer()
    inputs = {"input_ids": IDS, "attention_mask": PADDING}
    if of_all:
        inputs["global_attention_mask"] = torch.zeros_like(IDS)
        inputs["global_attention_mask"][:, list(of_all)] = 1
    trace = watched(model, **inputs)
    assert trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True)
    names = trace.families
    assert len(names) == (2 if of_all else 1)
    for layer, window in enumerate((2, 4)):
        wanted = banded(expected.attentions[layer][0], window, of_all)[:, :13, :13]
        for head in range(4):
            np.testing.assert_allclose(np.nan_to_num(rows(trace, layer, head, names[0])), wanted[head].numpy(), atol=1e-5)
            for at, query in enumerate(of_all):
                row = trace.map(layer, names[1]).head(head).row(query).weights
                np.testing.assert_allclose(row, expected.global_attentions[layer][0, head, :13, at].numpy(), atol=1e-5)


def test_led_gives_encoder_decoder_and_cross_attention_maps():
    model = build("LEDModel", d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
                  vocab_size=100, encoder_ffn_dim=64, decoder_ffn_dim=64, attention_window=4, max_encoder_position_embeddings=64,
                  max_decoder_position_embeddings=64)
    trace = watched(model, input_ids=IDS, decoder_input_ids=IDS[:, :7])
    assert sorted(trace.families) == ["cross", "dec", "enc"] and trace.left_out == [] and trace.verify() < 1e-5


def test_block_sparse_attention_is_left_out_with_its_module_names():
    model = build("BigBirdModel",
                  **{**WIDE, "max_position_embeddings": 256, "attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1})
    ids = torch.randint(5, 90, (1, 64))
    with torch.no_grad(), ch.watch(model) as trace:
        model(ids)
    assert [path for path, _ in trace.left_out] == ["encoder.layer.0.attention.self", "encoder.layer.1.attention.self"]
    assert all("blocks of the text" in reason and "original_full" in reason for _, reason in trace.left_out)
    with (
        pytest.raises(ch.UnsupportedError, match="encoder.layer.1.attention.self cannot be edited: it computes attention in blocks"),
        torch.no_grad(),
        ch.edits(model, knock_out=["L1.H0"]),
    ):
        model(ids)


# User-defined modules.


class Own(nn.Module):
    """Hand-written attention. how: the way in which the output is computed from the scores."""

    def __init__(self, how="plain", heads=4, width=32):
        super().__init__()
        self.qkv, self.out, self.how, self.num_heads = nn.Linear(width, 3 * width), nn.Linear(width, width), how, heads

    def forward(self, x, mask=None):
        q, k, v = (one.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        self.weights = None
        if self.how == "einsum":
            weights = torch.einsum("bhid,bhjd->bhij", q, k).div(8 ** 0.5).softmax(-1)
            y = torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2)
        elif self.how == "bmm":
            q, k, v = (one.reshape(-1, *one.shape[2:]) for one in (q, k, v))
            weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / 8 ** 0.5, -1)
            y = torch.bmm(weights, v).reshape(x.shape[0], self.num_heads, x.shape[1], -1).transpose(1, 2).flatten(2)
            weights = weights.reshape(x.shape[0], self.num_heads, x.shape[1], x.shape[1])
        else:
            scores = q @ k.transpose(-2, -1) * 8 ** -0.5
            if mask is not None:
                scores = scores.masked_fill(mask == 0, float("-inf"))
            if self.how == "capped":
                scores = 3 * torch.tanh(scores / 3)
            elif self.how == "assigned":
                scores[:, :, :, 2] = -50.0
            weights = F.softmax(scores, dim=-1)
            if self.how == "changed":
                weights = weights ** 2
            elif self.how == "exponentials":
                weights = scores.exp()
                weights = weights / weights.sum(-1, keepdim=True)
            elif self.how == "emptied":
                weights = weights.masked_fill((torch.arange(x.shape[1]) == 3)[:, None], 0.0)
            y = (weights @ v).transpose(1, 2).flatten(2)
        self.weights = weights.detach()
        return self.out(y)


class OwnNet(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.embed, self.blocks = nn.Embedding(90, 32), nn.ModuleList(Own(how) for _ in range(2))
        self.router, self.head = nn.Linear(32, 5), nn.Linear(32, 90)

    def forward(self, ids, mask=None):
        x = self.embed(ids)
        for block in self.blocks:
            x = x + block(x, mask)
        experts, chosen = x[:, :, None].expand(-1, -1, 5, -1), self.router(x).softmax(-1)
        x = x + torch.einsum("bne,bned->bnd", chosen, experts) + (chosen[:, :, None] @ experts)[:, :, 0]
        return torch.softmax(self.head(x), -1) @ self.embed.weight  # classes


@pytest.mark.parametrize("how", ["plain", "einsum", "bmm", "capped", "assigned"])
def test_hand_written_attention_is_watched(how):
    net = peaked(OwnNet(how))
    mask = torch.ones(17, 17).tril() if how == "plain" else None
    with torch.no_grad(), ch.watch(net, check=True) as trace:
        net(IDS, mask)
    assert trace.left_out == [] and trace.verify() < 1e-5 and trace.layers() == [0, 1]
    same(trace, trace.families[0], [block.weights for block in net.blocks])
    assert trace.map(0).head(0).shape == (17, 17)


@pytest.mark.parametrize("how, reason", [("changed", "pow is applied to its weights before they are multiplied by the values"),
                                         ("exponentials", "its weights are computed by exp, not by softmax")])
def test_attention_without_softmax_weights_is_left_out_with_a_reason(how, reason):
    net = peaked(OwnNet(how))
    with torch.no_grad(), ch.watch(net) as trace:
        net(IDS)
    assert trace.left_out == [(f"blocks.{at}", f"it computes attention in its own code, and {reason}") for at in range(2)]


def test_rows_that_are_emptied_after_softmax_see_nothing():
    net = peaked(OwnNet("emptied"))
    with torch.no_grad(), ch.watch(net, check=True) as trace:
        net(IDS)
    assert trace.left_out == [] and trace.verify() < 1e-5
    found, expected = np.nan_to_num(rows(trace, 1, 2, trace.families[0])), net.blocks[1].weights[0, 2].numpy()
    assert not expected[3].any()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("how", ["plain", "einsum", "bmm", "capped"])
def test_hand_written_attention_is_edited(how):
    net = peaked(OwnNet(how))
    edited = {"cut": [(3, 8, 1, 4)], "knock_out": ["L1.H3"]}
    with torch.no_grad():
        before = net(IDS)
        with ch.watch(net, check=True, **edited) as trace:
            net(IDS)
        assert torch.equal(net(IDS), before)
        with ch.edits(net, knock_out=["L1.H3"]):
            found = net(IDS)
        net.blocks[1].out.weight[:, 24:] = 0
        assert torch.allclose(found, net(IDS), atol=1e-5)
    assert trace.left_out == [] and trace.verify() < 1e-5
    assert float(np.abs(rows(trace, 0, 2, trace.families[0])[3:8, 1:4]).max()) == 0


def test_edits_reach_the_weights_that_bloom_returns():
    model = build(BY_THEMSELVES["bloom"][0], **BY_THEMSELVES["bloom"][1])
    with torch.no_grad(), ch.watch(model, check=True, cut=[(3, 8, 1, 4)]) as trace:
        out = model(IDS, output_attentions=True)
    assert float(out.attentions[1][:, :, 3:8, 1:4].max()) == 0
    same(trace, trace.families[0], out.attentions)


# Functions that modules call directly.


class Calls(nn.Module):
    """Attention computed by call(q, k, v), with tensors [batch, head, token, d]."""

    def __init__(self, call):
        super().__init__()
        self.call, self.qkv, self.num_heads = call, nn.Linear(32, 96), 4

    def forward(self, x):
        q, k, v = (one.unflatten(-1, (4, -1)).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        self.kept = q.detach(), k.detach()
        return self.call(q, k, v)


def expected_weights(q, k, visible, bias=0.0, cap=None):
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    scores = (scores if cap is None else cap * torch.tanh(scores / cap)) + bias
    return torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)


@pytest.mark.parametrize("how", ["plain", "blocks", "scores", "both"])
def test_direct_calls_of_flex_attention_are_seen(how):
    from torch.nn.attention import flex_attention as flex

    near = lambda b, h, q, k: (q >= k) & (q - k < 6)
    mask = flex.create_block_mask(near, None, None, 17, 17, device="cpu") if how in ("blocks", "both") else None
    bend = (lambda s, b, h, q, k: s - 0.1 * (q - k).abs()) if how in ("scores", "both") else None
    net = peaked(Calls(lambda q, k, v: flex.flex_attention(q, k, v, score_mod=bend, block_mask=mask)))
    x = torch.randn(2, 17, 32)
    with torch.no_grad(), ch.watch(net, check=True) as trace:
        out = net(x)
        assert torch.equal(out, net(x))
    at, key = torch.arange(17)[:, None], torch.arange(17)[None]
    visible = near(0, 0, at, key) if mask is not None else torch.ones(17, 17, dtype=torch.bool)
    assert trace.left_out == [] and trace.verify() < 1e-5
    same(trace, trace.families[0], [expected_weights(*net.kept, visible, -0.1 * (at - key).abs() if bend else 0.0)])
    assert flex.flex_attention.__name__ == "flex_attention"


@pytest.mark.parametrize("given", [{}, {"causal": True}, {"window_size": (3, 1)},
                                   {"causal": True, "softcap": 5.0, "alibi_slopes": torch.full((4,), 0.2)}])
def test_direct_calls_of_flash_attention_are_seen(given, monkeypatch):
    def reference(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None):
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        offset = torch.arange(17)[None] - torch.arange(17)[:, None]
        visible = torch.ones(17, 17, dtype=torch.bool)
        if causal:
            visible = offset <= 0
        elif window_size != (-1, -1):
            visible = (offset >= -window_size[0]) & (offset <= window_size[1])
        bias = 0.0 if alibi_slopes is None else -alibi_slopes[:, None, None] * offset.abs()
        reference.weights = expected_weights(q, k, visible, bias, softcap or None)
        return (reference.weights @ v).transpose(1, 2)

    module = types.ModuleType("flash_attn")
    module.flash_attn_func = reference
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    net = peaked(Calls(lambda q, k, v: sys.modules["flash_attn"].flash_attn_func(*(one.transpose(1, 2) for one in (q, k, v)), **given)))
    with torch.no_grad(), ch.watch(net, check=True) as trace:
        net(torch.randn(2, 17, 32))
    assert trace.left_out == [] and trace.verify() < 1e-5
    same(trace, trace.families[0], [reference.weights])
    assert module.flash_attn_func is reference


class Pool(nn.Module):
    """CLIP's attention pool: F.multi_head_attention_forward without an nn.MultiheadAttention."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.c_proj = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, x, mask=None, weights=False):
        x = x.transpose(0, 1)
        return F.multi_head_attention_forward(
            query=x, key=x, value=x, embed_dim_to_check=32, num_heads=4, q_proj_weight=self.q_proj.weight, k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight, in_proj_weight=None,
            in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0, out_proj_weight=self.c_proj.weight,
            out_proj_bias=self.c_proj.bias,
            use_separate_proj_weight=True, training=self.training, need_weights=weights, attn_mask=mask, average_attn_weights=False)


def test_direct_calls_of_multi_head_attention_forward_are_seen_and_edited():
    net, x = peaked(Pool()), torch.randn(2, 17, 32)
    mask = torch.rand(17, 17) > 0.6
    mask.fill_diagonal_(False)
    with torch.no_grad():
        out, weights = net(x, mask, True)
        with ch.watch(net, check=True) as trace:
            assert torch.equal(net(x, mask, True)[0], out)
        assert trace.left_out == [] and trace.verify() < 1e-5
        same(trace, trace.families[0], [weights])
        with ch.edits(net, knock_out=["L0.H2"]):
            edited = net(x, mask)[0]
        net.c_proj.weight[:, 16:24] = 0
        assert torch.allclose(edited, net(x, mask)[0], atol=1e-5)


def test_other_computation_of_an_attention_module_is_listed_as_left_out():
    model = build("ConvBertModel", **{**WIDE, "embedding_size": 32, "conv_kernel_size": 3, "head_ratio": 2})
    trace = watched(model, input_ids=IDS)
    with torch.no_grad():
        same(trace, "enc", model(input_ids=IDS, output_attentions=True).attentions)
    assert [path for path, _ in trace.left_out] == [f"encoder.layer.{layer}.attention.self" for layer in range(2)]
    assert all(reason.endswith("its attention over queries and keys is shown") for _, reason in trace.left_out)


def test_a_nystromformer_with_a_landmark_for_each_token_computes_attention():
    model = build("NystromformerModel", **WIDE, segment_means_seq_len=16, num_landmarks=16)
    trace = watched(model, input_ids=IDS[:, :16])
    with torch.no_grad():
        same(trace, "enc", model(input_ids=IDS[:, :16], output_attentions=True).attentions, 16, 16)
    assert trace.left_out == [] and trace.verify() < 1e-5


def test_a_nystromformer_with_fewer_landmarks_is_left_out_by_name():
    model = build("NystromformerModel", **WIDE, segment_means_seq_len=16, num_landmarks=4)
    with torch.no_grad(), pytest.warns(UserWarning, match="landmarks"), ch.watch(model) as trace:
        model(input_ids=IDS[:, :16])
    assert [path for path, _ in trace.left_out] == [f"encoder.layer.{layer}.attention.self" for layer in range(2)]


def test_the_sink_of_granite_swa_is_in_its_weights():
    """The model returns weights without the sink, and multiplies the output by the share of the row that is not the sink's."""
    model = build("GraniteSWAForCausalLM", **WIDE, num_key_value_heads=2, sliding_window=6)
    for layer in model.model.layers:
        nn.init.normal_(layer.self_attn.sinks)
    trace = watched(model, input_ids=IDS)
    with torch.no_grad(), Spy(model) as spy:
        returned = model(input_ids=IDS, output_attentions=True).attentions
    assert trace.left_out == [] and trace.verify() < 1e-5
    same(trace, "dec", [weights for _, weights in spy.found])
    assert all(float((own - weights).abs().max()) > 0.1 for own, (_, weights) in zip(returned, spy.found))


def test_an_edited_longformer_refuses_output_attentions():
    model = longformer()
    with torch.no_grad(), ch.edits(model, cut=[(3, 5, 1, 2)]):
        with pytest.raises(ch.UnsupportedError, match="without output_attentions"):
            model(input_ids=IDS, output_attentions=True)
        model(input_ids=IDS)


@pytest.mark.parametrize("name", ["gpt-neo", "imagegpt"])
def test_left_padding_with_pairs_masked_twice_equals_eager_attention(name):
    """The causal mask sets scores to the smallest number and the padding mask adds it again, so fully hidden rows contain -inf."""
    known = {"imagegpt": ("ImageGPTModel", dict(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=64)), **BY_THEMSELVES}
    model, mask = build(known[name][0], **known[name][1]), torch.ones_like(IDS)
    mask[0, :4] = 0
    trace = watched(model, input_ids=IDS, attention_mask=mask)
    assert trace.left_out == [] and trace.verify() < 1e-5
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=mask, output_attentions=True).attentions
    for layer in range(2):
        np.testing.assert_allclose(trace.map(layer).to_numpy(),
                                   expected[layer][0, :, -trace.map(layer).queries :, -trace.map(layer).keys :].numpy(), atol=1e-5)


def test_a_gate_that_is_called_attention_is_left_out_by_name():
    model = build("PatchTSMixerModel", context_length=32, patch_length=8, patch_stride=8, num_input_channels=1, d_model=16, num_layers=1)
    with torch.no_grad(), pytest.warns(UserWarning, match="a gate over the features"), ch.watch(model) as trace:
        model(past_values=torch.randn(2, 32, 1))
    assert trace.left_out and all(path.endswith("gating_block") for path, _ in trace.left_out)


class GridScores(nn.Module):
    """Reshapes scores to a grid of 4 × 2 keys, adds a bias for rows and columns, and reshapes them back (SegGPT, SAM's windows)."""

    num_heads, main_input_name = 4, "pixel_values"

    def __init__(self):
        super().__init__()
        self.project, self.bias = nn.Linear(16, 48), nn.Parameter(torch.randn(8, 4, 1))

    def forward(self, pixel_values):
        q, k, v = (one.unflatten(-1, (4, 4)).transpose(1, 2).flatten(0, 1) for one in self.project(pixel_values).chunk(3, -1))
        scores = (q @ k.transpose(-1, -2)).reshape(8, 4, 2, 4, 2)
        scores = scores + self.bias[:, :, :, None, None] * torch.arange(2.0) + torch.arange(4.0)[:, None]
        return torch.softmax(scores.reshape(8, 8, 8), -1) @ v


@torch.no_grad()
def test_scores_reshaped_to_a_grid_are_tracked():
    torch.manual_seed(0)
    model, pictures = GridScores(), torch.randn(2, 8, 16)
    with ch.watch(model, sequence=1) as trace:
        model(pixel_values=pictures)
    with Spy(model) as spy:
        model(pixel_values=pictures)
    assert trace.left_out == [] and trace.verify() < 1e-5
    np.testing.assert_allclose(trace.map(0).to_numpy(), spy.found[0][1][4:].numpy(), atol=1e-5)
