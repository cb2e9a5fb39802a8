"""head_view and model_view on given weights: the maps equal the weights, for any row sums, and the page opens."""

import pathlib

import clearhead as ch
import numpy as np
import pytest
from clearhead import bertviz

BERT = ["[CLS]", "the", "cat", "s", "##at", ".", "[SEP]", "it", "slept", "[SEP]"]


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def random_attention(layers=2, heads=3, queries=10, keys=10, seed=0, spread=3.0):
    random = np.random.default_rng(seed)
    return tuple(softmax(spread * random.standard_normal((1, heads, queries, keys))) for _ in range(layers))


def check(trace, family, attention):
    for number, layer in enumerate(attention):
        found = trace.map(number, family)
        for head in range(layer.shape[1]):
            for query in range(layer.shape[2]):
                row = found.head(head).row(query).weights
                np.testing.assert_allclose(row, layer[0, head, query], atol=1e-6, rtol=0)


def test_the_map_is_the_weights_that_were_given():
    attention = random_attention()
    trace = bertviz.trace_of(attention, BERT, sentence_b_start=7)
    check(trace, "enc", attention)
    assert trace.text == "the cat sat . it slept" and trace.pieces == BERT
    assert [one[0] for one in trace.segments] == ["first", "second"]


@pytest.mark.parametrize("change", [
    lambda weights: np.where(weights < 0.05, 0, weights),  # zeros from dropout and padding: rows that sum to less than 1
    lambda weights: np.float16(weights).astype(np.float32),
    lambda weights: np.zeros_like(weights),
    lambda weights: np.eye(10, dtype=np.float32)[None, None].repeat(3, 1),
    lambda weights: weights ** 40,
    lambda weights: np.tril(weights) / np.tril(weights).sum(-1, keepdims=True),
])
def test_any_weights_from_0_to_1_are_shown_as_they_are(change):
    attention = tuple(change(layer).astype(np.float32) for layer in random_attention())
    family = "dec" if not np.triu(attention[0][0, 0], 1).any() else "enc"
    check(bertviz.trace_of(attention, BERT), family, attention)


def test_a_translation_has_three_families():
    source, target = ["▁The", "▁red", "▁car", "</s>"], ["<pad>", "▁La", "▁voi", "ture", "▁rouge"]
    given = {"encoder_attention": random_attention(2, 3, 4, 4), "decoder_attention": random_attention(2, 3, 5, 5, seed=1),
             "cross_attention": random_attention(2, 3, 5, 4, seed=2)}
    trace = bertviz.trace_of(encoder_tokens=source, decoder_tokens=target, **given)
    assert trace.text == "The red car\nLa voiture rouge"
    check(trace, "enc", given["encoder_attention"])
    check(trace, "dec", given["decoder_attention"])
    check(trace, "cross", given["cross_attention"])
    check(bertviz.trace_of(encoder_tokens=source, decoder_tokens=target, cross_attention=given["cross_attention"]), "cross",
          given["cross_attention"])


def test_chosen_layers_keep_their_numbers():
    attention = random_attention(4)
    for given in (attention, attention[1::2]):
        trace = bertviz.trace_of(given, BERT, include_layers=[1, 3])
        assert trace.layers() == [1, 3]
        np.testing.assert_allclose(trace.map(3).head(2).row(4).weights, attention[3][0, 2, 4], atol=1e-6)


def test_views_give_the_page(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    bertviz.head_view(random_attention(), BERT, layer=1, heads=[0, 2])
    bertviz.model_view(random_attention(), BERT, sentence_b_start=7)
    pages = [pathlib.Path(one.removeprefix("file://")).read_text(encoding="utf-8") for one in shown]
    assert "v=lines&h=1.0,1.2".replace("&", "\\u0026") in pages[0] or "v=lines&h=1.0,1.2" in pages[0]
    assert "v=atlas" in pages[1]
    page = bertviz.head_view(random_attention(), BERT, html_action="return")
    assert getattr(page, "data", page).startswith("<!doctype html>")


def test_weights_of_torch_need_no_conversion():
    torch = pytest.importorskip("torch")
    attention = random_attention()
    trace = bertviz.trace_of(tuple(torch.from_numpy(layer).requires_grad_() for layer in attention), BERT)
    check(trace, "enc", attention)
    rounded = tuple(torch.from_numpy(layer).to(torch.bfloat16) for layer in attention)
    check(bertviz.trace_of(rounded, BERT), "enc", [layer.float().numpy() for layer in rounded])


@pytest.mark.parametrize("given, kind, message", [
    (dict(), ch.InvalidArgumentError, "expected either attention, or any of encoder_attention"),
    (dict(attention=random_attention()), ch.InvalidArgumentError, "tokens: missing"),
    (dict(attention=random_attention(), tokens=BERT[:9]), ch.ShapeError, r"\[1, head, 9, 9\] for these tokens, found \[1, 3, 10, 10\]"),
    (dict(attention=[np.zeros((2, 3, 10, 10))], tokens=BERT), ch.ShapeError, "choose a text"),
    (dict(attention=[-np.ones((1, 3, 10, 10))], tokens=BERT), ch.InvalidArgumentError, "weights from -1 to -1"),
    (dict(attention=[np.full((1, 3, 10, 10), np.nan)], tokens=BERT), ch.InvalidArgumentError, "weights from nan"),
    (dict(attention=random_attention(), tokens=BERT, sentence_b_start=12), ch.InvalidArgumentError, "12; expected 1 to 9"),
    (dict(attention=random_attention(), tokens=BERT, include_layers=[2]), ch.InvalidArgumentError, "there is no layer 2; attention has 2"),
    (dict(cross_attention=random_attention(), encoder_tokens=BERT), ch.InvalidArgumentError, "decoder_tokens: missing"),
    (dict(attention=[], tokens=BERT), ch.InvalidArgumentError, "no layers"),
])
def test_invalid_arguments_are_refused_with_descriptive_errors(given, kind, message):
    with pytest.raises(kind, match=message):
        bertviz.trace_of(**given)
