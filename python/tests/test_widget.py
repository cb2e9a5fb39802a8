"""The viewer as a notebook widget: a page's requests get exact answers, and the page's state is readable and writable from Python."""

import concurrent.futures
import json
import pathlib
import struct

import numpy as np
import pytest

pytest.importorskip("anywidget")

import clearhead as ch


@pytest.fixture
def trace(known_model):
    return ch.load(str(known_model)).trace("the cat sat on the mat")


class Page:
    """What widget.js does: sends requests to a widget and collects the answers."""

    def __init__(self, widget):
        self.widget, self.answers = widget, []
        widget.send = lambda content, buffers=None: self.answers.append((content, buffers[0]))

    def ask(self, path, query="", method="GET", body=""):
        self.answers.clear()
        request = {"number": "view-1", "method": method, "path": path, "query": query, "body": body}
        self.widget._handle_msg({"content": {"data": {"method": "custom", "content": request}}, "buffers": []})
        *chunks, (end, rest) = self.answers
        assert all(content == {"number": "view-1", "part": "chunk"} for content, _ in chunks)
        assert (end["number"], end["part"]) == ("view-1", "end")
        return end, b"".join([chunk for _, chunk in chunks] + [rest])


def frame_of(data):
    """The header of a frame (docs/viewer-api.md, "Frames"), and its arrays of f32."""
    magic, size = struct.unpack("<4sI", data[:8])
    assert magic == b"CHF1"
    header = json.loads(data[8 : 8 + size])
    return header, {name: np.frombuffer(data, "<f4", int(np.prod(spec["shape"])), 8 + size + spec["offset"]).reshape(spec["shape"])
                    for name, spec in header["arrays"].items() if spec["dtype"] == "f32"}


def test_a_page_gets_exact_rows(trace):
    widget = trace.widget()
    page = Page(widget)
    info = json.loads(page.ask("info")[1])
    assert [family["id"] for family in info["families"]] == trace.families
    assert info["can_run"] is False
    for layer, head, query in ((0, 0, 5), (1, 1, 3)):
        end, data = page.ask("row", f"l={layer}&h={head}&q={query}&values=all&top=0")
        assert end["status"] == 200
        weights = frame_of(data)[1]["values"]
        expected = trace.map(layer, joined=True).head(head).row(query).weights
        np.testing.assert_array_equal(weights, expected)


def test_a_stream_arrives_in_chunks(trace):
    widget = trace.widget()
    page = Page(widget)
    end, data = page.ask("atlas")
    assert end["status"] == 200
    assert len(page.answers) > 2
    events = []
    while data:
        (size,) = struct.unpack("<I", data[:4])
        events.append(frame_of(data[4 : 4 + size])[0]["event"])
        data = data[4 + size :]
    assert events[-1] == "done"
    assert "heads" in events


def test_errors_have_the_status_and_message_of_the_server(trace):
    page = Page(trace.widget())
    for path, query, method, status, says in (("row", "l=99&q=1", "GET", 404, "99"), ("none", "", "GET", 404, "no such endpoint"),
                                              ("mass", "", "GET", 400, "expected a POST"), ("run", "", "POST", 400, "JSON")):
        end, data = page.ask(path, query, method)
        assert end["status"] == status
        assert says in json.loads(data)["error"]["message"]


def test_with_a_model_the_page_runs_another_text(known_model):
    model = ch.load(str(known_model))
    page = Page(model.trace("the cat").widget(model=model))
    assert json.loads(page.ask("info")[1])["can_run"] is True
    events = page.ask("run", method="POST", body=json.dumps({"text": "a dog sat", "pair": None}))[1].decode()
    assert "event: done" in events
    assert json.loads(page.ask("text", "side=0&format=json")[1])["arrays"]["text"]["data"].endswith("a dog sat")


def test_an_interrupted_request_ends(trace):
    widget = trace.widget()
    page = Page(widget)

    class Interrupted:
        def respond(self, *_):
            raise KeyboardInterrupt

    widget._server = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        page.ask("info")
    assert page.answers == [({"number": "view-1", "part": "end", "status": 503, "name": ""}, b"")]


def test_the_selection_is_readable(trace):
    widget = trace.widget(state="v=map")
    assert widget.selected == {}  # the state names no head
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "selected")
    widget.state = "v=read&h=1.0,0.1&q=4,2-3&k=0-2"  # as the page sets it
    assert widget.selected == {
        "trace": 0, "family": trace.families[0], "layer": 1, "head": 0, "heads": [(1, 0), (0, 1)],
        "queries": [(4, 5), (2, 3)], "keys": [(0, 2)],
    }
    assert seen == [widget.selected]
    chosen = widget.selected
    weights = trace.map(chosen["layer"], chosen["family"], joined=True).head(chosen["head"]).row(chosen["queries"][0][0]).weights
    shown = frame_of(Page(widget).ask("row", "l=1&h=0&q=4&values=all&top=0")[1])[1]["values"]
    np.testing.assert_array_equal(shown, weights)


def test_means_over_heads_are_selected_by_name(trace):
    widget = trace.widget(state="h=1.mean,mean.mean")
    assert (widget.selected["layer"], widget.selected["head"]) == (1, "mean")
    assert widget.selected["heads"] == [(1, "mean"), ("mean", "mean")]


def test_a_state_that_cannot_be_read_is_refused(trace):
    widget = trace.widget(state="v=map&h=1.0")
    for state, says in (("h=5", "layer.head"), ("h=a.b", "expected numbers"), ("h=0.0&t=7", "no trace 7"),
                        ("h=0.0&q=x", "expected numbers")):
        with pytest.raises(ValueError, match=says):
            widget.state = state
        assert widget.state == "v=map&h=1.0"
        with pytest.raises(ValueError, match=says):
            trace.widget(state=state)
    widget.state = "v=read"
    assert widget.selected == {}


def test_only_traces_are_shown(trace):
    with pytest.raises(ch.InvalidArgumentError, match="found None"):
        trace.widget(None)
    with pytest.raises(ch.InvalidArgumentError, match="found None"):
        trace.to_html(others=[None])


def test_requests_of_several_threads_are_answered_one_at_a_time(trace):
    server = trace.widget()._server
    expected = [trace.map(0, joined=True).head(0).row(query).weights for query in range(6)]

    def rows(_):
        for query in range(6):
            body = server.respond("GET", "row", f"l=0&h=0&q={query}&values=all&top=0", "", lambda chunk: None)[3]
            np.testing.assert_array_equal(frame_of(body)[1]["values"], expected[query])
            server.respond("GET", "atlas", "", "", lambda chunk: None)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(rows, range(12)))


def test_a_model_without_the_input_of_its_trace_explains_nothing():
    shipped = pathlib.Path(__file__).parents[2] / "models" / "digits"
    model = ch.load(str(shipped))
    trace = model.trace(str(shipped / "example.png"))
    missing = {one["feature"]: one["code"] for one in json.loads(Page(trace.widget(model=model)).ask("info")[1])["missing"]}
    assert {missing["run"], missing["why"], missing["what-if"]} == {"other-input"}


def test_several_traces_are_named_by_their_number(known_model):
    model = ch.load(str(known_model))
    one, other = model.trace("the cat"), model.trace("a dog")
    widget = one.widget(other)
    page = Page(widget)
    texts = [json.loads(page.ask("text", f"side=0&format=json&t={t}")[1])["arrays"]["text"]["data"] for t in (0, 1)]
    assert [text.split()[-1] for text in texts] == ["cat", "dog"]
    widget.state = "v=read&h=0.0&t=1"
    assert widget.selected["trace"] == 1


def test_the_page_contains_no_data(trace):
    page = trace.widget()._page
    assert '<meta name="clearhead-framed">' in page
    assert "clearhead-manifest" not in page.split('<script id="clearhead-app">')[0]
