"""ch.watch on plain torch modules: F.scaled_dot_product_attention and nn.MultiheadAttention."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import clearhead as ch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, causal=True, width=32, heads=4):
        super().__init__()
        self.qkv, self.out, self.heads, self.causal = nn.Linear(width, 3 * width), nn.Linear(width, width), heads, causal

    def forward(self, x, mask=None):
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        self.kept = q.detach(), k.detach()
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal and mask is None)
        return x + self.out(out.transpose(1, 2).flatten(2))


class Net(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.embed, self.blocks = nn.Embedding(50, 32), nn.ModuleList(Block(causal) for _ in range(3))

    def forward(self, ids, mask=None):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, mask)
        return x


def weights(q, k, visible):
    scores = torch.matmul(q, k.transpose(2, 3)) / q.shape[-1] ** 0.5
    return torch.softmax(scores.masked_fill(~visible, -torch.inf), -1)


@pytest.mark.parametrize("masked", [False, True])
def test_calls_of_scaled_dot_product_attention_are_seen(masked):
    torch.manual_seed(0)
    net, ids = Net(), torch.randint(0, 50, (2, 11))
    mask = torch.rand(2, 1, 11, 11) > 0.3 if masked else None
    if masked:
        mask[..., 0] = True
    plain = net(ids, mask)
    with ch.watch(net, sequence=1, check=True) as trace:
        watched = net(ids, mask)
    assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-6
    assert trace.layers() == [0, 1, 2] and trace.ids == ids[1].tolist()
    q, k = net.blocks[2].kept
    expected = weights(q, k, mask if masked else torch.ones(11, 11, dtype=torch.bool).tril())[1]
    for head in range(4):
        rows = np.stack([trace.map(2).head(head).row(query).weights for query in range(11)])
        np.testing.assert_allclose(rows, expected[head].numpy(), atol=1e-6)
    watched.sum().backward()  # gradients still flow


def test_heads_are_knocked_out_in_plain_torch():
    torch.manual_seed(0)
    net, ids = Net(), torch.randint(0, 50, (1, 11))
    with torch.no_grad():
        with ch.edits(net, knock_out=["L1.H2"]):
            out = net(ids)
        net.blocks[1].out.weight[:, 16:24] = 0
        assert torch.allclose(out, net(ids), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_encoder_of_torch_is_seen_whichever_way_it_computes(training, norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=norm_first)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).train(training)
    x, padding = torch.randn(2, 9, 32), torch.zeros(2, 9, dtype=torch.bool)
    padding[0, 6:] = True
    seen = []
    with torch.no_grad():
        plain = net(x, src_key_padding_mask=padding)
        with ch.watch(net, check=True) as trace:
            watched = net(x, src_key_padding_mask=padding)
        assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-6
        source = x
        for one in net.layers:
            y = one.norm1(source) if norm_first else source
            seen.append(one.self_attn(y, y, y, key_padding_mask=padding, average_attn_weights=False)[1])
            source = one(source, src_key_padding_mask=padding)
    for at, expected in enumerate(seen):
        for head in range(4):
            rows = np.stack([trace.map(at).head(head).row(query).weights for query in range(9)])
            np.testing.assert_allclose(rows, expected[0, head].numpy(), atol=1e-5)


def test_multihead_attention_is_watched_and_add_zero_attn_is_left_out():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4, kdim=16, vdim=16)
    net = nn.ModuleDict({"multihead_attn": attention})
    net.forward = lambda q, k: net["multihead_attn"](q, k, k, average_attn_weights=False)
    q, k = torch.randn(5, 2, 32), torch.randn(7, 2, 16)
    with torch.no_grad(), ch.watch(net, check=True) as trace:
        _, expected = net(q, k)
    rows = np.stack([trace.map(0).head(3).row(query).weights for query in range(5)])
    np.testing.assert_allclose(rows, expected[0, 3].numpy(), atol=1e-6)
    other = nn.MultiheadAttention(32, 4, add_zero_attn=True)
    with pytest.warns(UserWarning, match="it appends an extra key"), torch.no_grad(), ch.watch(other) as trace:
        other(q, q, q)
    assert trace.left_out == [("", "it appends an extra key (bias_k, add_zero_attn)")]


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_transformer_encoder_that_leaves_padding_away_gives_the_same_bits(sequence):
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), 2).eval()
    x, padding = torch.randn(2, 9, 32), torch.zeros(2, 9, dtype=torch.bool)
    padding[0, 6:] = True
    with torch.no_grad():
        plain = net(x, src_key_padding_mask=padding)
        with ch.watch(net, sequence=sequence, check=True) as trace:
            watched = net(x, src_key_padding_mask=padding)
        assert torch.equal(plain, watched) and trace.left_out == [] and trace.verify() < 1e-6
        source, count = x, 6 if sequence == 0 else 9
        for at, one in enumerate(net.layers):
            expected = one.self_attn(source, source, source, key_padding_mask=padding, average_attn_weights=False)[1]
            rows = trace.map(at).to_numpy((0, count), (0, count))
            np.testing.assert_allclose(rows, expected[sequence, :, :count, :count].numpy(), atol=1e-5)
            source = one(source, src_key_padding_mask=padding)
