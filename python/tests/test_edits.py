"""Edits of a running model: knocked-out heads and hidden pairs equal a hand-written eager formula, for every attention implementation."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import clearhead as ch
from test_watch_torch import Net
from torch import nn
from torch.nn import functional as F

CUT, KEEP = [(3, 8, 1, 4), (6, 7, 0, 99, "L1.H1")], [(1, 3, 0, 2, "L0.H3")]
EDITS = {"knock_out": ["L1.H2", "L0.H0"], "cut": CUT, "keep_only": KEEP}


def changed(layer, heads, queries, keys):
    """Returns the effect of EDITS, written by hand: (visible [head, query, key], the factor of each head's output [head])."""
    visible, kept = torch.ones(heads, queries, keys, dtype=torch.bool), torch.ones(heads)
    visible[:, 3:8, 1:4] = False
    if layer == 1:
        visible[1, 6] = False  # a row that sees nothing
        kept[2] = 0
    else:
        visible[3, 1:3, 2:] = False
        kept[0] = 0
    return visible, kept


def eager(q, k, v, visible, kept, bias=0.0, scale=None):
    """Eager attention [batch, head, query, d]: (out, weights). A row that sees no key is 0."""
    scores = torch.matmul(q, k.transpose(2, 3)) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    scores = scores.masked_fill(~visible, -1e30)
    weights = torch.softmax(scores, -1) * visible.any(-1, keepdim=True)
    return torch.matmul(weights, v) * kept[:, None, None], weights


def multihead(attention, query, key, value, visible, kept, bias=0.0):
    """Reference implementation of nn.MultiheadAttention, [batch, query, width] in and out."""
    weights = attention.in_proj_weight.chunk(3) if attention.in_proj_weight is not None else (
        attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    q, k, v = (F.linear(x, weight, b).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
               for x, weight, b in zip((query, key, value), weights, attention.in_proj_bias.chunk(3)))
    out, found = eager(q, k, v, visible, kept, bias)
    return attention.out_proj(out.transpose(1, 2).flatten(2)), found


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def same_gradients(model, loss_of, expected_of):
    """Asserts that two losses and the gradients of the model's parameters are equal."""
    found = []
    for run in (loss_of, expected_of):
        model.zero_grad()
        loss = run()
        loss.backward()
        found.append((loss.detach(), gradients(model)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6) and found[0][1].keys() == found[1][1].keys()
    for name, one in found[1][1].items():
        assert torch.allclose(found[0][1][name], one, atol=2e-6 * max(1.0, float(one.abs().max()))), name


def rows(trace, layer, head, family=None):
    found = trace.map(layer, family) if family else trace.map(layer)
    return np.stack([found.head(head).row(query).weights for query in range(found.queries)])


def test_scaled_dot_product_attention_is_edited():
    torch.manual_seed(0)
    net, ids = Net(), torch.randint(0, 50, (2, 11))
    band = torch.ones(11, 11, dtype=torch.bool).tril()
    weights = []

    def expected():
        weights.clear()
        x = net.embed(ids)
        for at, block in enumerate(net.blocks):
            q, k, v = (one.unflatten(-1, (4, -1)).transpose(1, 2) for one in block.qkv(x).chunk(3, -1))
            visible, kept = changed(at, 4, 11, 11) if at < 2 else (torch.ones(4, 11, 11, dtype=torch.bool), torch.ones(4))
            if at == 2:
                visible[:, 3:8, 1:4] = False
            out, found = eager(q, k, v, visible & band, kept)
            weights.append(found)
            x = x + block.out(out.transpose(1, 2).flatten(2))
        return x.square().mean()

    def found():
        with ch.edits(net, **EDITS):
            return net(ids).square().mean()

    before = net(ids)
    same_gradients(net, found, expected)
    assert torch.equal(net(ids), before)
    with torch.no_grad(), ch.watch(net, check=True, **EDITS) as trace:
        net(ids)
    assert trace.left_out == [] and trace.verify() < 1e-6
    for layer in range(3):
        for head in range(4):
            np.testing.assert_allclose(rows(trace, layer, head), weights[layer][0, head].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("mask", ["none", "padding", "bool", "numbers", "of every head"])
@pytest.mark.parametrize("asked", ["no weights", "mean", "each"])
def test_multihead_attention_is_edited_whatever_it_is_given(batch_first, mask, asked):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, kdim=16, vdim=24, batch_first=batch_first)
    nn.init.normal_(attention.in_proj_bias)
    net = nn.Sequential()
    net.add_module("0", attention)
    query, key, value = torch.randn(2, 9, 32), torch.randn(2, 9, 16), torch.randn(2, 9, 24)
    visible, kept = changed(0, 4, 9, 9)
    visible, bias, masks = visible[None].expand(2, -1, -1, -1), 0.0, {}
    if mask == "padding":
        masks["key_padding_mask"] = torch.zeros(2, 9, dtype=torch.bool)
        masks["key_padding_mask"][1, 7:] = True
        visible = visible & ~masks["key_padding_mask"][:, None, None]
    elif mask == "bool":
        masks["attn_mask"] = torch.ones(9, 9, dtype=torch.bool).triu(1)
        visible = visible & ~masks["attn_mask"]
    elif mask == "numbers":
        bias = masks["attn_mask"] = torch.randn(9, 9)
    elif mask == "of every head":
        masks["attn_mask"] = torch.rand(8, 9, 9) > 0.7
        masks["attn_mask"][:, :, 0] = False
        visible = visible & ~masks["attn_mask"].reshape(2, 4, 9, 9)
    with torch.no_grad():
        expected, weights = multihead(attention, query, key, value, visible, kept, bias)
        given = [x if batch_first else x.transpose(0, 1) for x in (query, key, value)]
        ask = {"need_weights": asked != "no weights", "average_attn_weights": asked == "mean"}
        plain = attention(*given, **masks, **ask)
        with ch.edits(net, knock_out=["L0.H0"], cut=CUT[:1], keep_only=KEEP):
            out, found = attention(*given, **masks, **ask)
        assert torch.equal(attention(*given, **masks, **ask)[0], plain[0])
    np.testing.assert_allclose(out if batch_first else out.transpose(0, 1), expected, atol=1e-6)
    if asked == "no weights":
        assert found is None
    else:
        np.testing.assert_allclose(found, weights.mean(1) if asked == "mean" else weights, atol=1e-6)


def test_multihead_attention_without_a_batch():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4)
    x = torch.randn(9, 32)
    visible, kept = changed(0, 4, 9, 9)
    with torch.no_grad(), ch.edits(attention, knock_out=["L0.H0"], cut=CUT[:1], keep_only=KEEP):
        out, _ = attention(x, x, x)
    expected, _ = multihead(attention, x[None], x[None], x[None], visible, kept)
    np.testing.assert_allclose(out, expected[0].detach(), atol=1e-6)


def encoder(training=False, norm_first=False):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 2).train(training)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_encoder_is_edited_whichever_way_it_computes(training, norm_first, gradient):
    net, x, padding = encoder(training, norm_first), torch.randn(2, 9, 32), torch.zeros(2, 9, dtype=torch.bool)
    padding[1, 6:] = True

    def expected():
        source = x
        for at, layer in enumerate(net.layers):
            visible, kept = changed(at, 4, 9, 9)
            visible = visible & ~padding[:, None, None]
            attend = lambda y: multihead(layer.self_attn, y, y, y, visible, kept)[0]
            feed = lambda y: layer.linear2(torch.relu(layer.linear1(y)))
            if norm_first:
                source = source + attend(layer.norm1(source))
                source = source + feed(layer.norm2(source))
            else:
                source = layer.norm1(source + attend(source))
                source = layer.norm2(source + feed(source))
        return source

    def found():
        with ch.edits(net, **EDITS):
            return net(x, src_key_padding_mask=padding)

    shown = ~padding
    if gradient:
        same_gradients(net, lambda: found()[shown].square().mean(), lambda: expected()[shown].square().mean())
        return
    with torch.no_grad():
        before = net(x, src_key_padding_mask=padding)
        out, wanted = found(), expected()
        np.testing.assert_allclose(out[shown], wanted[shown], atol=2e-6)
        assert torch.equal(net(x, src_key_padding_mask=padding), before)
        assert not np.allclose(out[shown], before[shown], atol=1e-3)
        with ch.watch(net, check=True, **EDITS) as trace:
            watched = net(x, src_key_padding_mask=padding)
    assert torch.equal(watched, out) and trace.left_out == [] and trace.verify() < 1e-6
    assert (rows(trace, 1, 1)[3:8, 1:4] == 0).all() and rows(trace, 1, 1)[3].sum() == pytest.approx(1, abs=1e-5)


def test_a_transformer_of_torch_is_edited_in_its_cross_attention():
    torch.manual_seed(0)
    net = nn.TransformerDecoderLayer(32, 4, 64, dropout=0.0, batch_first=True).eval()
    target, memory = torch.randn(1, 6, 32), torch.randn(1, 9, 32)
    visible = torch.ones(4, 6, 9, dtype=torch.bool)
    visible[1, 2:4, 5:8] = False
    with torch.no_grad():
        y = net.norm1(target + net.self_attn(target, target, target)[0])
        attended, weights = multihead(net.multihead_attn, y, memory, memory, visible, torch.ones(4))
        y = net.norm2(y + attended)
        expected = net.norm3(y + net.linear2(torch.relu(net.linear1(y))))
        with ch.watch(net, check=True, cut=[(2, 4, 5, 8, "cross.L0.H1")]) as trace:
            out = net(target, memory)
    np.testing.assert_allclose(out, expected, atol=2e-6)
    assert trace.left_out == [] and trace.verify() < 1e-6
    assert np.abs(np.stack([trace.map(0, "cross").head(1).row(query).weights for query in range(6)]) - weights[0, 1].numpy()).max() < 1e-6


def test_unsupported_edits_are_refused_and_the_model_is_restored():
    other = nn.MultiheadAttention(32, 4, add_zero_attn=True)
    q, call = torch.randn(5, 2, 32), nn.Module.__call__
    with (
        pytest.raises(ch.UnsupportedError, match="cannot be edited: it appends an extra key"),
        torch.no_grad(),
        ch.edits(other, knock_out=["L0.H1"]),
    ):
        other(q, q, q)
    net = encoder()
    x = torch.randn(1, 9, 32)
    with torch.no_grad():
        before = net(x)
        with (
            pytest.raises(ch.InvalidArgumentError, match=r"knock_out of L7.H1: no such layer has run; these have: enc.L0 to L1"),
            ch.edits(net, knock_out=["L7.H1"]),
        ):
            net(x)
        with (
            pytest.raises(ch.InvalidArgumentError, match="layer 0 has no head 9; its heads are 0 to 3"),
            ch.edits(net, cut=[(0, 1, 0, 1, "L0.H9")]),
        ):
            net(x)
        with pytest.raises(ZeroDivisionError), ch.edits(net, **EDITS):
            net(x)
            raise ZeroDivisionError
        assert torch.equal(net(x), before) and nn.Module.__call__ is call
        assert all("_compiled_call_impl" not in vars(module) for module in (*net.modules(), *other.modules()))
        with ch.edits(net, knock_out=[]):
            assert torch.equal(net(x), before)


def test_edits_of_a_long_text_allocate_no_quadratic_memory():
    import resource

    torch.manual_seed(0)
    net, ids = Net(), torch.randint(0, 50, (1, 6_000))
    used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        net(ids)
        before = used()
        with ch.edits(net, cut=[(0, 6_000, 50, 60, "L1")]):
            net(ids)
    assert used() - before < 250_000  # KiB; the scores of four heads would be 560,000


# Models of transformers.

transformers = pytest.importorskip("transformers", minversion="5")
from test_watch import IDS, SMALL, build, llama


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("kinds, shared", [(["p2c", "c2p"], True), (["c2p"], False), ([], True)])
def test_deberta_is_edited(kinds, shared, gradient, monkeypatch):
    model = build("DebertaV2Model", **SMALL, relative_attention=bool(kinds), pos_att_type=kinds, share_att_key=shared, position_buckets=4,
                  max_relative_positions=32, norm_rel_ebd="none")
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.3)
    mask = torch.ones_like(IDS)
    mask[0, 12:] = 0
    shown = mask.bool()
    pairs = torch.ones(4, 17, 17, dtype=torch.bool)
    pairs[:, 3:8, 1:4] = False
    pairs[2, 6, 5:] = False

    def expected():  # the model's own mask, per head; a head is knocked out in the input of the output projection
        with monkeypatch.context() as patch:
            patch.setattr(model.encoder, "get_attention_mask",
                          lambda given: mask[:, None, None].bool() & mask[:, None, :, None].bool() & pairs)
            dense = model.encoder.layer[1].attention.output.dense
            patch.setattr(dense, "forward", lambda x: F.linear(x * (torch.arange(32) // 8 != 3), dense.weight, dense.bias))
            return model(IDS, attention_mask=mask, output_attentions=True)

    edited = {"cut": [(3, 8, 1, 4)], "keep_only": [(6, 7, 0, 5, "L0.H2"), (6, 7, 0, 5, "L1.H2")], "knock_out": ["L1.H3"]}
    if gradient:
        run = lambda: model(IDS, attention_mask=mask)

        def found():
            with ch.edits(model, **edited):
                return run().last_hidden_state[shown].square().mean()

        same_gradients(model, found, lambda: expected().last_hidden_state[shown].square().mean())
        return
    with torch.no_grad():
        plain, wanted = model(IDS, attention_mask=mask).last_hidden_state, expected()
        with ch.watch(model, check=True, **edited) as trace:
            out = model(IDS, attention_mask=mask, output_attentions=True)
        assert torch.equal(model(IDS, attention_mask=mask).last_hidden_state, plain)
    np.testing.assert_allclose(out.last_hidden_state[shown], wanted.last_hidden_state[shown], atol=5e-6)
    assert trace.left_out == [] and trace.verify() < 1e-6
    for layer in range(2):
        for head in range(4):
            eager_rows = wanted.attentions[layer][0, head, :12, :12].numpy()
            np.testing.assert_allclose(rows(trace, layer, head), eager_rows, atol=1e-5)
            np.testing.assert_allclose(out.attentions[layer][0, head, :12, :12], eager_rows, atol=1e-5)


def by_hand(model, visible_of, kept_of):
    """Gives the model an eager attention with hidden pairs: visible_of(path, batch, queries, keys), or None; kept_of(path): [head]."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    paths = {id(module): path for path, module in model.named_modules()}

    def attend(module, query, key, value, mask, scaling=None, position_bias=None, **_):
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        bias = 0.0 if position_bias is None else position_bias
        visible = torch.ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool)
        if mask is not None:
            visible = mask if mask.dtype == torch.bool else mask > -1e30
            visible, bias = visible[..., : key.shape[2]], bias + (0.0 if mask.dtype == torch.bool
                                                                  else mask.clamp(min=-1e4)[..., : key.shape[2]])
        edited = visible_of(paths[id(module)], query.shape[0], query.shape[2], key.shape[2])
        out, weights = eager(query, key, value, visible if edited is None else visible & edited, kept_of(paths[id(module)]), bias, scaling)
        return out.transpose(1, 2), weights

    ALL_ATTENTION_FUNCTIONS.register("by_hand", attend)
    transformers.masking_utils.ALL_MASK_ATTENTION_FUNCTIONS.register("by_hand", transformers.masking_utils.eager_mask)
    return attend


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "clearhead"])
def test_edit_positions_exclude_left_padding(implementation):
    model, mask = llama(), torch.ones_like(IDS)
    mask[0, :4] = 0
    front = [4, 0]

    def visible(path, batch, queries, keys):
        out = torch.ones(batch, 4, queries, keys, dtype=torch.bool)
        for at in range(batch):
            out[at, :, front[at] + 5 : front[at] + 9, front[at] + 1 : front[at] + 3] = False
        return out

    by_hand(model, visible, lambda path: torch.ones(4))
    with torch.no_grad():
        model.set_attn_implementation("by_hand")
        expected = model(IDS, attention_mask=mask, output_attentions=True)
        model.set_attn_implementation(implementation)
        with ch.watch(model, check=True, cut=[(5, 9, 1, 3)]) as trace:
            out = model(IDS, attention_mask=mask).logits
        with ch.edits(model, cut=[(5, 9, 1, 3)]):
            assert torch.equal(model(IDS, attention_mask=mask).logits, out)
    np.testing.assert_allclose(out[mask.bool()], expected.logits[mask.bool()], atol=2e-6)
    assert trace.left_out == [] and trace.verify() < 1e-6
    np.testing.assert_allclose(rows(trace, 1, 2), expected.attentions[1][0, 2, 4:, 4:], atol=1e-6)


@pytest.mark.parametrize("with_trace", [False, True])
@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "t5"])
def test_steps_of_a_generation_are_edited_as_one_run(kind, cache, with_trace):
    pair = kind == "t5"
    if pair:
        model = build("T5ForConditionalGeneration", vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                      decoder_start_token_id=0, eos_token_id=98)
    else:
        model = llama() if kind == "llama" else build("MistralForCausalLM", **SMALL, num_key_value_heads=2, sliding_window=6,
                                                      eos_token_id=98)
    first, mask = 0 if pair else 17, torch.ones_like(IDS)
    mask[0, :4] = pair
    front = torch.zeros(2, dtype=torch.long) if pair else torch.tensor([4, 0])
    begin = first - 4 if not pair else 1  # position within the text
    cut = [(begin + 2, begin + 8, begin - 1, begin + 1, "dec.L0"), (begin, begin + 4, begin + 1, begin + 3, "dec.L1.H2")]
    cut += [(3, 6, 2, 9, "cross.L1.H0")] if pair else []

    def visible(path, batch, queries, keys):
        layer, is_cross = (0 if "layers.0." in path or "block.0." in path else 1), "EncDec" in path
        if pair and not path.startswith("decoder"):
            return None
        out = torch.ones(batch, 4, queries, keys, dtype=torch.bool)
        for at in range(batch):
            shift = int(front[at])
            if not is_cross and layer == 0:
                out[at, :, shift + begin + 2 : shift + begin + 8, shift + begin - 1 : shift + begin + 1] = False
            elif not is_cross:
                out[at, 2, shift + begin : shift + begin + 4, shift + begin + 1 : shift + begin + 3] = False
            elif layer == 1:
                out[at, 0, 3:6, 2:9] = False
        return out

    options = {"max_new_tokens": 9, "do_sample": False, "attention_mask": mask, "cache_implementation": cache, "output_logits": True,
               "return_dict_in_generate": True, "pad_token_id": 0}
    with ch.watch(model, check=True, cut=cut) if with_trace else ch.edits(model, cut=cut) as trace:
        told = model.generate(IDS, **options)
    by_hand(model, visible, lambda path: torch.ones(4))
    model.set_attn_implementation("by_hand")
    whole = told.sequences[:, :-1]
    after = torch.cat([mask, torch.ones(2, whole.shape[1] - 17, dtype=torch.long)], 1) if not pair else None
    with torch.no_grad():
        inputs = (
            {"input_ids": IDS, "decoder_input_ids": whole, "attention_mask": mask}
            if pair
            else {"input_ids": whole, "attention_mask": after}
        )
        expected = model(**inputs, output_attentions=True)
    steps = len(told.logits)
    for step in range(steps):
        alive = [at for at in range(2) if 98 not in whole[at, first + 1 : first + step + 1].tolist()]
        np.testing.assert_allclose(told.logits[step][alive], expected.logits[alive, whole.shape[1] - steps + step], atol=1e-5)
    if not with_trace:
        return
    assert trace.left_out == [] and trace.verify() < 1e-6
    if pair:
        for head in range(4):
            found = trace.map(1, "cross").head(head)
            shown = np.stack([found.row(query).weights for query in range(whole.shape[1])])
            np.testing.assert_allclose(shown, expected.cross_attentions[1][0, head], atol=1e-6)
    else:
        for layer in range(2):
            np.testing.assert_allclose(rows(trace, layer, 2), expected.attentions[layer][0, 2, 4:, 4:], atol=1e-6)


def test_beams_are_edited_too():
    model, mask = llama(), torch.ones_like(IDS)
    nn.init.normal_(model.lm_head.weight, std=0.01)
    options = {"attention_mask": mask, "max_new_tokens": 6, "num_beams": 3, "do_sample": False, "return_dict_in_generate": True,
               "output_scores": True}
    with ch.watch(model, check=True, cut=[(0, 99, 4, 9)]) as trace:
        told = model.generate(IDS, **options)

    def visible(path, batch, queries, keys):
        out = torch.ones(queries, keys, dtype=torch.bool)
        out[:, 4:9] = False
        return out

    by_hand(model, visible, lambda path: torch.ones(4))
    model.set_attn_implementation("by_hand")
    expected = model.generate(IDS, **options)
    assert torch.equal(told.sequences, expected.sequences) and torch.allclose(told.sequences_scores, expected.sequences_scores, atol=1e-5)
    assert trace.left_out == [] and trace.verify() < 1e-6 and (rows(trace, 0, 0)[:, 4:9] == 0).all()
