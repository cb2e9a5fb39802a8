"""Methods of Model, Trace and LayerMap that are written in Python: generation, statistics, cache eviction and the viewer."""

import os

from ._attach import attach_methods
from ._core import LayerMap, Model, Trace, _page


def generate(self, prompt: str, max_tokens: int = 128, *, temperature: "float | None" = None, top_k: int = 0, top_p: float = 1.0,
             seed: int = 0, watch: bool = False):
    """Generates text: the continuation of the prompt or, for an encoder-decoder, the target text of this source.

    Parameters
    ----------
    prompt : str
        The text to continue, or the source text of an encoder-decoder.
    max_tokens : int
        Largest number of tokens to generate.
    temperature : float, optional
        Softmax temperature for sampling. Default: greedy decoding; an encoder-decoder uses its own beam search settings.
    top_k : int
        Sample among the k most probable tokens; 0 for all.
    top_p : float
        Sample among the most probable tokens that together have this probability.
    seed : int
        Seed for sampling.
    watch : bool
        Also keep the attention of every step.

    Returns
    -------
    str, or (str, Trace) with watch=True
        The generated text.
    """
    text, trace = self._generate(prompt, max_tokens, temperature, top_k, top_p, seed, watch)
    return (text, trace) if watch else text


def sweep(
    self, *statistics: str, top_k: int = 0, cells=(0, 0), matches=(), offset_reach: int = 64, heads=None, sampled_rows: int = 0
) -> dict:
    """Computes statistics of the layer in one pass over the kept rows. Returns a dict of arrays, as Map.sweep() does for a batch of 1.

    Parameters
    ----------
    statistics : str
        "entropy" (in nats) and "distance", each f32 [1, head, row]; "received_attention", f32 [1, head, key]; "offsets", f32
        [1, head, 2 * offset_reach + 1].
    top_k : int
        If positive, adds "top_keys" and "top_weights" [1, head, row, top_k].
    cells : (int, int)
        If not (0, 0), adds "pooled_max" and "pooled_mean": the map, pooled to this many rows and columns.
    matches : sequence of (int array [token], int array [token])
        Adds "matches" [match, 1, head, row]: for each pair of tag arrays (of queries, of keys), the weight on keys with an equal tag.
    offset_reach : int
        Range of "offsets"; larger distances are added to the ends.
    heads : range of heads, optional
        (begin, end), a slice or a single index.
    sampled_rows : int
        If positive, reads only this many rows.

    The dict also has "queries", the query of each row, and "exact", which is False if rows were sampled.
    Raises InvalidArgumentError, StaleError.
    """
    return self._sweep(list(statistics), top_k=top_k, cells=list(cells), matches=list(matches), offset_reach=offset_reach, heads=heads,
                       sampled_rows=sampled_rows)


def received_attention(self, layer, family=None, *, heads=None):
    """Accumulated weight that each key has received after each generation step, f32 [step, head, key].

    Step 0 is the prompt; one step follows for each generated token. Entry [s, h, j] is the sum of the weights on key j over all queries
    up to step s. A key-value cache can use it to choose the keys that it evicts.

    layer: number of the layer. family: name of the map's family (Trace.families); default: the main one. heads: heads to compute;
    default: all.
    """
    import numpy as np

    of_layer = self.map(layer, family) if family is not None else self.map(layer)
    chosen = list(range(of_layer.heads)) if heads is None else list(heads)
    total = np.asarray(of_layer.sweep("received_attention")["received_attention"]).reshape(-1, of_layer.keys)[chosen].astype(np.float64)
    steps = [total]
    for query in range(of_layer.queries - 1, of_layer.queries - 1 - len(self.generated), -1):
        total = total - np.nan_to_num(np.stack([of_layer.head(head).row(query).weights for head in chosen]))
        steps.append(total)
    return np.maximum(np.stack(steps[::-1]), 0).astype(np.float32)


def eviction(self, policy, budget, *, per: str = "key_head", begin: "int | None" = None, layers=None, family: "str | None" = None,
             renormalise: bool = False, **options):
    """Computes the attention that would be lost if a policy evicted keys from the key-value cache, from the exact weights of the trace.

        lost = trace.eviction("received", budget=0.2)
        print(lost.table())
        trace.eviction("window", budget=1024, sinks=4).top(step=7)

    The prompt is read with all keys. Before each step the policy evicts keys until budget - 1 are left; then the step's own key is added,
    and the weight of its row on keys that are no longer in the cache is lost. Evicted keys never return. Rows are read one block at a time
    and never as a whole map. The weights are those of the full model (see Eviction).

    Parameters
    ----------
    policy : str or function
        One of eviction_policies(): "window" (StreamingLLM), "received" (H2O), "value-weighted", "output-weighted", or "top-k", a lower
        bound in which each step has the keys with its largest weights. Or a function of the cache that returns one score for each of
        `cache.keys`, [cache, key]; the keys with the lowest scores leave, of equal ones the older. A cache has `keys`, `weights` (of the
        last query), `received`, `value_norms`, `output_norms`, `layer`, `query` (position of the next step) and `budget`.
    budget : int or float
        Largest number of keys that a step attends to, its own included; or a fraction of the keys of the trace.
    per : str
        The heads that share a cache. "key_head": the query heads of one key head, as real caches do with grouped-query attention; the
        policies add up the weights of these heads. "query_head": each query head has its own. "layer": all heads of a layer.
    begin : int, optional
        The query of the first step. Default: the first generated token. Required for a trace without generated tokens.
    layers : list of int, optional
        Default: all layers of the family.
    family : str, optional
        Default: "dec", in an encoder-decoder the decoder's own attention; without one, the main family. Cross-attention is refused: its
        keys are never evicted.
    renormalise : bool
        Divide the weights of each step by their sum over the cache before they are added to what the keys have received. Default: add the
        weights of the full model. `lost` always counts the weights of the full model.
    options
        Options of the policy: `sinks` of "window" (4); `recent` of the weighted policies and "received", the number of most recent keys
        that are kept in any case, the step's own included, or a fraction of the budget (0.5).

    Returns
    -------
    Eviction

    Raises
    ------
    InvalidArgumentError
        Malformed arguments, or a policy that does not return one score for each key.
    NotFoundError
        An unknown policy, layer or family; rows or norms that the trace did not keep.
    UnsupportedError
        Attention that is not causal, cross-attention, or a text that was run in windows.
    """
    from ._eviction._simulate import simulate  # imports numpy

    return simulate(self, policy, budget, per=per, begin=begin, layers=layers, family=family, renormalise=renormalise, options=options)


def to_html(self, path=None, *, others=(), budget: int = 20_000_000, state: str = "", model=None):
    """Exports the viewer as one HTML page that works offline.

    Parameters
    ----------
    path : str or path, optional
        File to write. Default: return the page as a string.
    others : sequence of Trace
        Traces that the page compares with this one, such as other checkpoints or runs with edits.
    budget : int
        Largest size of the page, in bytes.
    state : str
        Initial view, as in the page's URL after `#`: "v=map&h=5.3" shows the map of L5.H3.
    model : Model, optional
        The model that computed the traces, as load() returns it. The page then contains it, with an engine, and also runs other texts,
        explains answers and tries edits. The model must read a text, of at most 2,048 tokens.
    """
    if path is not None:
        return _page([self, *[getattr(one, "trace", one) for one in others]], str(path), budget, state, model)
    import tempfile  # imported here, because its own imports take longer than the whole package

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "page.html")
        to_html(self, name, others=others, budget=budget, state=state, model=model)
        with open(name, encoding="utf-8") as page:
            return page.read()


def _in_notebook():
    try:
        shell = get_ipython()
    except NameError:
        return False
    return shell.__class__.__name__ == "ZMQInteractiveShell"


def view(self, *others, height=700, budget=20_000_000, state=""):
    """Shows the viewer in the output of a notebook cell or, outside a notebook, in a browser tab. The page contains its data, so it still
    works when the notebook is opened later without this process; widget() shows a page that asks this process for its numbers.

    others: traces to compare side by side. height: of the notebook frame, in pixels. budget (bytes) and state: as for to_html().
    """
    if _in_notebook():
        import html

        from IPython.display import display

        page = html.escape(self.to_html(others=others, budget=budget, state=state), quote=True)
        frame = f'<iframe srcdoc="{page}" width="100%" height="{height}" style="border:0"></iframe>'
        return display({"text/html": frame, "text/plain": "HTML page of a trace"}, raw=True)  # display.HTML() would warn about the iframe
    import tempfile
    import webbrowser

    handle, path = tempfile.mkstemp(prefix="clearhead-", suffix=".html")
    os.close(handle)
    self.to_html(path, others=others, budget=budget, state=state)
    webbrowser.open("file://" + path)
    return None


def widget(self, *others, model=None, height: int = 700, state: str = ""):
    """Returns the viewer as a notebook widget, which needs the package anywidget.

    The page asks this process for its numbers, so every weight is exact at any length; view() shows a page that contains its data instead.
    Requests are answered one at a time, in kernels with a single thread only between the cells that run. Do not use the trace in another
    thread meanwhile.

    Parameters
    ----------
    others : sequence of Trace
        Traces that the page compares with this one.
    model : Model, optional
        The model that computed the trace, as load() returns it. With it the page also runs other texts, explains answers and tries edits.
    height : int
        Height in pixels.
    state : str
        Initial view, as for to_html().

    Returns
    -------
    widget : anywidget.AnyWidget
        `widget.selected` is what the reader selected: {"trace": int, "family": str, "layer": int, "head": int, "heads": [(layer, head)],
        "queries": [(begin, end)], "keys": [(begin, end)]}. Queries and keys are ranges of indices into `trace.tokens`, as
        `trace.map(layer, family, joined=True)` takes them; `heads` has all pinned heads. It is empty while the state names no head. After
        the page has run another text, it refers to that text. `widget.state` is the page's state; assigning to it changes what the page
        shows. Both can be observed, as any trait.

    Raises
    ------
    ImportError
        If anywidget is not installed.
    ValueError
        For a state that cannot be read, also when it is assigned.
    """
    from ._widget import TraceWidget  # imports anywidget

    return TraceWidget([self, *[getattr(one, "trace", one) for one in others]], model, height, state)


attach_methods(LayerMap, sweep=sweep)
attach_methods(Model, generate=generate)
attach_methods(Trace, eviction=eviction, received_attention=received_attention, to_html=to_html, view=view, widget=widget)
