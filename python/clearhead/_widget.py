"""The viewer as a notebook widget. The page runs in a frame; widget.js passes its requests on to this process, which answers them."""

import pathlib
from urllib.parse import parse_qsl

from ._core import _framed_page, _PageServer

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError("widget() needs the package anywidget: pip install anywidget. view() shows the trace without it") from error


def _numbers(name, text, between):
    """"5.3,8.mean" -> [[5, 3], [8, "mean"]]; only layers and heads may be "mean"."""
    try:
        return [
            [number if number == "mean" and name == "h" else int(number) for number in one.split(between)]
            for one in text.split(",") if one
        ]
    except ValueError:
        raise ValueError(f'state: "{name}={text}": expected numbers, as the page writes them after # in its address') from None


def _selection(state, traces):
    """The value of TraceWidget.selected for a state of the page; {} for a state that names no head."""
    fields = dict(parse_qsl(state))
    number = _numbers("t", fields.get("t", "0"), ".")[0][0]
    if number >= len(traces):
        raise ValueError(f"state: there is no trace {number}; expected a number below {len(traces)}")
    heads = [tuple(head) for head in _numbers("h", fields.get("h", ""), ".")]
    if any(len(head) != 2 for head in heads):
        raise ValueError(f'state: "h={fields["h"]}": expected heads as layer.head, for example 5.3')
    if not heads:
        return {}
    ranges = {name: [(one[0], one[-1] + (len(one) == 1)) for one in _numbers(name, fields.get(name, ""), "-")] for name in "qk"}
    return {
        "trace": number,
        "family": fields.get("f") or traces[number].families[0],
        "layer": heads[0][0],
        "head": heads[0][1],
        "heads": heads,
        "queries": ranges["q"],
        "keys": ranges["k"],
    }


class TraceWidget(anywidget.AnyWidget):
    """See Trace.widget()."""

    _esm = pathlib.Path(__file__).with_name("widget.js")
    _page = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(700).tag(sync=True)
    state = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.Dict()

    def __init__(self, traces, model, height, state):
        self._traces = traces
        self._server = _PageServer(traces, model)
        super().__init__(_page=_framed_page(), height=height, state=state)
        self.on_msg(self._answer)

    @traitlets.validate("state")
    def _check_state(self, proposal):
        _selection(proposal["value"], self._traces)
        return proposal["value"]

    @traitlets.observe("state")
    def _select(self, change):
        self.selected = _selection(change["new"], self._traces)

    def _answer(self, _, request, buffers):
        """Answers one request of a page: {"number", "method", "path", "query", "body"}. Sends the chunks of a stream as they come."""
        number = request["number"]
        status, name, body = 503, "", b""
        try:
            status, _, name, body = self._server.respond(
                request["method"], request["path"], request["query"], request["body"],
                lambda chunk: self.send({"number": number, "part": "chunk"}, [chunk]),
            )
        finally:  # also if the kernel is interrupted: the page waits for an end
            self.send({"number": number, "part": "end", "status": status, "name": name}, [body])
