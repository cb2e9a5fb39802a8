"""Models and traces from Python: the same answers as the command line has, and a page that holds them."""

import numpy as np
import pytest

import clearhead as ch


def test_a_trace_of_a_text_shows_exact_weights_and_is_saved_whole(known_model, tmp_path):
    model = ch.load(str(known_model))
    trace = model.trace("one two three one two")
    assert repr(trace).startswith("clearhead.Trace of") and repr(trace).endswith(f"on {len(trace.ids)} tokens")
    layer = trace.map(1)
    row = layer.head(0).row(layer.queries - 1)
    assert len(trace.tokens) == layer.keys == len(row)
    assert row.weights.sum() == pytest.approx(1, abs=1e-5)
    trace.save(str(tmp_path / "text.trace"))
    again = ch.Trace.load(str(tmp_path / "text.trace"))
    assert (again.id, again.text) == (trace.id, "one two three one two")
    np.testing.assert_array_equal(again.map(1).head(0).row(3).weights, layer.head(0).row(3).weights)
    kinds = {(one["layer"], one["head"]): one["kind"] for one in trace.atlas()}
    assert kinds[0, 0] == "previous" and kinds[1, 0] == "induction"


def test_writing_is_watched_without_being_changed(known_model):
    model = ch.load(str(known_model))
    plain = model.generate("one two three one two", 8)
    text, trace = model.generate("one two three one two", 8, watch=True)
    assert text == plain != ""
    assert trace.text == "one two three one two" + text
    assert len(model.score("one two three")) == len(model.encode("one two three")) - 1


def test_the_page_works_alone_and_holds_the_text(known_model, tmp_path):
    trace = ch.load(str(known_model)).trace("one two three one two")
    page = trace.to_html()
    assert page.startswith("<!doctype html>") and "clearhead-blob-" in page
    trace.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 100_000


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ch.NotFoundError, match='model "nobody" was not found'):
        ch.load("nobody")
    with pytest.raises(ch.NotFoundError, match="missing.trace"):
        ch.Trace.load("missing.trace")
