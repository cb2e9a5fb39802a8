"""Shared fixtures: the attention formula in double precision, and a small model that needs no download."""

import os
import subprocess

import numpy as np
import pytest


def eager(q, k, v, visible=None, bias=0.0, scale=None, cap=None):
    """Evaluates the formula in double: (out, weights). visible, bias: broadcastable to [batch, head, query, key]."""
    groups = q.shape[1] // k.shape[1]
    q, k, v = (np.asarray(x, np.float64) for x in (q, np.repeat(k, groups, 1), np.repeat(v, groups, 1)))
    scores = q @ k.swapaxes(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if cap is not None:
        scores = cap * np.tanh(scores / cap)
    scores = scores + bias
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    largest = np.where(np.isfinite(scores.max(-1, keepdims=True)), scores.max(-1, keepdims=True), 0)
    weights = np.exp(scores - largest)
    sums = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    return weights @ v, weights


def random_qkv(shape=(2, 4, 2, 60, 90, 32, 16), seed=0):
    """Returns random q, k, v in f32. shape: batch, heads, key heads, queries, keys, d_k, d_v."""
    batch, heads, key_heads, queries, keys, d_k, d_v = shape
    random = np.random.default_rng(seed)
    return tuple(random.standard_normal((batch, h, n, d)).astype(np.float32)
                 for h, n, d in ((heads, queries, d_k), (key_heads, keys, d_k), (key_heads, keys, d_v)))


def causal(queries, keys, back=None):
    """Returns a causal mask, bool [query, key], with the last query aligned with the last key."""
    position, key = np.arange(queries)[:, None] + keys - queries, np.arange(keys)[None]
    return (key <= position) & (key >= (position - back if back is not None else -1))


@pytest.fixture(scope="session")
def known_model(tmp_path_factory):
    """The folder of a causal model whose answers are known (tools/known_models.cc)."""
    tool = os.environ.get("CLEARHEAD_KNOWN_MODELS")
    if not tool:
        pytest.skip("set CLEARHEAD_KNOWN_MODELS to build/release/clearhead-known-models")
    folder = tmp_path_factory.mktemp("known")
    subprocess.run([tool, "causal", str(folder)], check=True, capture_output=True)
    return folder
