"""Images of maps: the colors of the renderer for given weights, and matplotlib axes."""

import struct
import zlib

import clearhead as ch
import numpy as np
import pytest
from conftest import eager, random_qkv


def pixels_of(png):
    """Decodes a PNG without interlacing to u8 [height, width, 3]."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", None
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        size = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else size
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height = size[:2]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 3 * width)
    out = np.zeros((height, width, 3), np.int64)
    for y in range(height):
        line, above = rows[y, 1:].reshape(width, 3).astype(np.int64), out[y - 1] if y else np.zeros((width, 3), np.int64)
        for x in range(width):
            a, b = out[y, x - 1] if x else np.zeros(3, np.int64), above[x]
            c = above[x - 1] if x else np.zeros(3, np.int64)
            p = a + b - c
            nearest = np.where((abs(p - a) <= abs(p - b)) & (abs(p - a) <= abs(p - c)), a, np.where(abs(p - b) <= abs(p - c), b, c))
            out[y, x] = (line[x] + [0, a, b, (a + b) // 2, nearest][rows[y, 0]]) % 256
    return out


def test_a_picture_has_a_block_for_each_weight():
    q, k, v = random_qkv((1, 2, 2, 6, 8, 16, 8))
    _, weights = eager(q, k, v)
    head = ch.Map(ch.attend(q, k, v)[1]).head(0, 1)
    picture = pixels_of(head.to_image(pixels=16))
    assert picture.shape == (12, 16, 3)
    brightest = np.unravel_index(weights[0, 1].argmax(), (6, 8))
    luminance = picture.sum(-1)[::2, ::2]
    assert np.unravel_index(luminance.argmax(), (6, 8)) == brightest
    assert (picture[::2, ::2] == picture[1::2, 1::2]).all()
    assert head._repr_png_()[:4] == b"\x89PNG"


def test_long_maps_are_pooled_and_parts_may_be_chosen():
    q, k, v = random_qkv((1, 3, 3, 700, 900, 16, 8))
    found = ch.Map(ch.attend(q, k, v, topology=ch.causal())[1])
    assert pixels_of(found.head(0, 0).to_image(pixels=90)).shape == (70, 90, 3)
    assert pixels_of(found.head(0, 0).to_image((0, 10), slice(100, 120), pixels=40)).shape == (20, 40, 3)
    grid = pixels_of(found.to_image(pixels=64))
    assert grid.shape == (2 * 23 + 2, 2 * 30 + 2, 3)
    with pytest.raises(ch.InvalidArgumentError, match=r"queries: \[0, 701\); expected a non-empty range within \[0, 700\)"):
        found.head(0, 0).to_image((0, 701))
    with pytest.raises(ch.InvalidArgumentError, match='scale: "loud"'):
        found.head(0, 0).to_image(scale="loud")


def test_plots_are_axes_of_matplotlib():
    pytest.importorskip("matplotlib").use("Agg")
    q, k, v = random_qkv((1, 3, 3, 6, 8, 16, 8))
    found = ch.Map(ch.attend(q, k, v)[1])
    ax = found.head(0, 0).plot(tokens=(list("abcdef"), list("abcdefgh")))
    assert [one.get_text() for one in ax.get_yticklabels()] == list("abcdef")
    np.testing.assert_allclose(ax.images[0].get_array(), found.head(0, 0).pool((0, 0))[0])
    assert len(found.plot().axes) == 4


def test_layers_of_a_trace_have_pictures(known_model):
    layer = ch.load(str(known_model)).trace("one two three one two").map(1)
    assert layer.to_image()[:4] == layer.head(0).to_image()[:4] == b"\x89PNG"


def test_plot_refuses_the_wrong_number_of_tokens():
    pytest.importorskip("matplotlib").use("Agg")
    head = ch.Map(ch.attend(*random_qkv((1, 1, 1, 5, 7, 8, 8)))[1]).head(0, 0)
    head.plot(tokens=(list("abcde"), list("abcdefg")))
    with pytest.raises(ch.InvalidArgumentError, match="tokens: 12 for the queries and 12 for the keys; expected 5 and 7"):
        head.plot(tokens=list("abcdeabcdefg"))
