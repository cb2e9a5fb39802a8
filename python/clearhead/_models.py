"""What models and traces do beyond the extension module: writing, and showing the page."""

import os

from ._core import LayerMap, Model, Trace, _page
from ._given import give


def generate(self, prompt: str, max_tokens: int = 128, *, temperature: "float | None" = None, top_k: int = 0, top_p: float = 1.0,
             seed: int = 0, watch: bool = False):
    """The text that follows, greedily unless a temperature is given; of an encoder-decoder the text it writes. watch=True returns (text,
    trace) with the attention of every step."""
    text, trace = self._generate(prompt, max_tokens, temperature, top_k, top_p, seed, watch)
    return (text, trace) if watch else text


def sweep(self, *statistics: str, top_k: int = 0, cells=(0, 0), matches=(), offset_reach: int = 64, heads=None, sampled_rows: int = 0) -> dict:
    """Sums over every kept row and key in one pass, as a dict of arrays: Map.sweep() of sequence 0.

    statistics: "entropy" (nats) and "distance" f32 [1, head, row], "received" [1, head, key], "offsets" [1, head, 2 * offset_reach + 1].
    top_k: "top_keys" and "top_weights" [1, head, row, top_k]. cells = (rows, columns): "pooled_max" and "pooled_mean". matches: pairs of
    tags (of queries, of keys), int [token], whose equal ones are summed, "matches" [match, 1, head, row]. heads: a range of them.
    sampled_rows: look at so many rows only; "exact" is then False. "queries" says which query each row is.
    Raises InvalidArgumentError, StaleError.
    """
    return self._sweep(list(statistics), top_k=top_k, cells=list(cells), matches=list(matches), offset_reach=offset_reach, heads=heads,
                       sampled_rows=sampled_rows)


def received(self, layer, family=None, *, heads=None):
    """What every key has received so far, step by step: f32 [step, head, key], the sum of the weights that the queries up to then gave it.

    Step 0 is the prompt, then one step for each generated token: what a cache would ask that wants to let keys go. heads: these alone.
    """
    import numpy as np

    of_layer = self.map(layer, family) if family is not None else self.map(layer)
    chosen = list(range(of_layer.heads)) if heads is None else list(heads)
    total = np.asarray(of_layer.sweep("received")["received"]).reshape(-1, of_layer.keys)[chosen].astype(np.float64)
    steps = [total]
    for query in range(of_layer.queries - 1, of_layer.queries - 1 - len(self.generated), -1):
        total = total - np.nan_to_num(np.stack([of_layer.head(head).row(query).weights for head in chosen]))
        steps.append(total)
    return np.maximum(np.stack(steps[::-1]), 0).astype(np.float32)


def to_html(self, path=None, *, others=(), budget: int = 20_000_000, state: str = ""):
    """The viewer as one page that works offline, of at most `budget` bytes: written to `path`, or returned as a string. state: what it
    opens with, as the page's own address has it behind `#`: "v=map&h=5.3" is the map of L5.H3. others: traces that the page compares with
    this one (checkpoints, runs with edits)."""
    if path is not None:
        return _page([self, *[getattr(one, "trace", one) for one in others]], str(path), budget, state)
    import tempfile  # here: its own imports take longer than all of the package

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "page.html")
        to_html(self, name, others=others, budget=budget, state=state)
        with open(name, encoding="utf-8") as page:
            return page.read()


def _in_notebook():
    try:
        shell = get_ipython()  # noqa: F821
    except NameError:
        return False
    return shell.__class__.__name__ == "ZMQInteractiveShell"


def view(self, *others, height=700, budget=20_000_000, state=""):
    """Shows the viewer: in the cell's output of a notebook, `height` pixels high, else in a browser's tab. others: traces to compare with,
    side by side. state: as to_html() has it."""
    if _in_notebook():
        import html

        from IPython.display import display

        page = html.escape(self.to_html(others=others, budget=budget, state=state), quote=True)
        frame = f'<iframe srcdoc="{page}" width="100%" height="{height}" style="border:0"></iframe>'
        return display({"text/html": frame, "text/plain": "the page of a trace"}, raw=True)  # HTML() warns of frames
    import tempfile
    import webbrowser

    handle, path = tempfile.mkstemp(prefix="clearhead-", suffix=".html")
    os.close(handle)
    self.to_html(path, others=others, budget=budget, state=state)
    webbrowser.open("file://" + path)
    return None


give(LayerMap, sweep=sweep)
give(Model, generate=generate)
give(Trace, received=received, to_html=to_html, view=view)
