"""What models and traces do beyond the extension module: writing, and showing the page."""

import os

from ._core import Model, Trace, _page


def generate(self, prompt, max_tokens=128, *, temperature=None, top_k=0, top_p=1.0, seed=0, watch=False):
    """The text that follows, greedily unless a temperature is given; of an encoder-decoder the text it writes. watch=True returns (text,
    trace) with the attention of every step."""
    text, trace = self._generate(prompt, max_tokens, temperature, top_k, top_p, seed, watch)
    return (text, trace) if watch else text


def to_html(self, path=None, *, budget=20_000_000, state=""):
    """The viewer as one page that works offline, of at most `budget` bytes: written to `path`, or returned as a string. state: what it
    opens with, as the page's own address has it behind `#`: "v=map&h=5.3" is the map of L5.H3."""
    if path is not None:
        return _page(self, str(path), budget, state)
    import tempfile  # here: its own imports take longer than all of the package

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "page.html")
        _page(self, name, budget, state)
        with open(name, encoding="utf-8") as page:
            return page.read()


def _in_notebook():
    try:
        shell = get_ipython()  # noqa: F821
    except NameError:
        return False
    return shell.__class__.__name__ == "ZMQInteractiveShell"


def view(self, *, height=700, budget=20_000_000, state=""):
    """Shows the viewer: in the cell's output of a notebook, `height` pixels high, else in a browser's tab. state: as to_html() has it."""
    if _in_notebook():
        import html

        from IPython.display import HTML, display

        page = html.escape(self.to_html(budget=budget, state=state), quote=True)
        return display(HTML(f'<iframe srcdoc="{page}" width="100%" height="{height}" style="border:0"></iframe>'))
    import tempfile
    import webbrowser

    handle, path = tempfile.mkstemp(prefix="clearhead-", suffix=".html")
    os.close(handle)
    self.to_html(path, budget=budget, state=state)
    webbrowser.open("file://" + path)
    return None


Model.generate = generate
Trace.to_html = to_html
Trace.view = view
