"""Traces from given queries and keys."""

import clearhead as ch
import numpy as np
import pytest
from conftest import causal, eager


def layers_of(count=2, heads=4, key_heads=2, tokens=9, width=8):
    draw = np.random.default_rng(3).standard_normal
    return [(draw((1, heads, tokens, width)).astype(np.float32), draw((1, key_heads, tokens, width)).astype(np.float32),
             draw((1, key_heads, tokens, 5)).astype(np.float32)) for _ in range(count)]


def test_queries_and_keys_become_a_trace_that_is_saved_and_read(tmp_path):
    layers = layers_of()
    trace = ch.Trace.from_qkv(layers, tokens="a b c d e f g h i".split(), topology=ch.causal(window=4), name="mine")
    assert trace.model == "mine" and trace.families == ["dec"] and trace.text == "a b c d e f g h i"
    trace.save(tmp_path / "x.trace")
    for found in (trace, ch.Trace.load(tmp_path / "x.trace")):
        for at, (q, k, v) in enumerate(layers):
            expected = eager(q, k, v, causal(9, 9, 3))[1]
            rows = np.stack([found.map(at).head(3).row(query).weights for query in range(9)])
            np.testing.assert_allclose(rows, expected[0, 3], atol=1e-6)


def test_mismatched_layers_and_tokens_are_refused():
    q, k, _ = layers_of()[0]
    for layers, kind, message in (([], ch.InvalidArgumentError, "no layers"), ([(q[0], k)], ch.ShapeError, r"layer 0 has q \(4, 9, 8\)"),
                                  ([(q, k[:, :, :5])], ch.ShapeError, "9 queries and 5 keys"),
                                  ([(q, k), (q[:, :2], k)], ch.ShapeError, "layer 1 has q")):
        with pytest.raises(kind, match=message):
            ch.Trace.from_qkv(layers)
    with pytest.raises(ch.ShapeError, match="2 tokens for 9 positions"):
        ch.Trace.from_qkv([(q, k)], tokens=["a", "b"])


def test_a_cache_of_transformer_lens():
    layers = layers_of(key_heads=4)
    cache = {}
    for at, (q, k, _) in enumerate(layers):
        cache[f"blocks.{at}.attn.hook_q"], cache[f"blocks.{at}.attn.hook_rot_q"] = q.swapaxes(1, 2) * 0, q.swapaxes(1, 2)
        cache[f"blocks.{at}.attn.hook_k"] = k.swapaxes(1, 2)

    class Config:
        attn_scale, use_attn_scale, attention_dir, attn_scores_soft_cap, model_name = 4.0, True, "causal", 3.0, "tiny"
        use_local_attn, attn_types, window_size = True, ["global", "local"], 4

    trace = ch.Trace.from_transformer_lens(cache, config=Config)
    assert trace.model == "tiny"
    for at, back in ((0, None), (1, 3)):
        q, k, v = layers[at]
        visible = causal(9, 9) if back is None else causal(9, 9, back)
        expected = eager(q, k, v, visible, scale=0.25, cap=3.0)[1]
        rows = np.stack([trace.map(at).head(2).row(query).weights for query in range(9)])
        np.testing.assert_allclose(rows, expected[0, 2], atol=1e-6)
    with pytest.raises(ch.NotFoundError, match="no blocks.0.attn.hook_q"):
        ch.Trace.from_transformer_lens({})
