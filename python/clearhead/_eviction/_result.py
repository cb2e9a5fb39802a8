"""Eviction: the attention that a policy would have lost, by layer, head and step."""

import html

import numpy as np

from ..errors import OutOfRangeError


class Eviction:
    """The attention mass that each step of a trace would have lost under an eviction policy.

    The weights are those of the full model. A model that runs with the policy on the same text has the same queries and keys in its first
    layer, so there the losses are its own. In later layers its hidden states are others; there the figures are the weight that the full
    model puts on missing keys. Positions are not reassigned within the cache.

    Attributes
    ----------
    policy : str
        Name of the policy. options: dict of its options.
    budget : int
        Largest number of keys that a step attends to, its own included.
    per : str
        The heads that share a cache: "key_head", "query_head" or "layer".
    layers : list of int
        Numbers of the layers; axis `layer` of the arrays. family: name of the maps' family.
    begin : int
        The query of step 0.
    lost : f64 array [layer, head, step]
        The weight that the full model puts on keys that are no longer in the cache, for each query head.
    evicted_at : i32 array [layer, cache, key]
        The first step for which a key is no longer in the cache; -1 if it never leaves. The policy top-k evicts no key.
    lost_by_key : f64 array [layer, key]
        The lost weight by key, as the sum over heads and steps.
    trace : Trace
    """

    def __init__(self, trace, policy, options, family, layers, budget, per, begin, sizes):
        self.trace, self.policy, self.options = trace, policy, dict(options)
        self.family, self.layers = family, list(layers)
        self.budget, self.per, self.begin = budget, per, begin
        heads, caches, queries, keys = sizes
        self.lost = np.zeros((len(layers), heads, queries - begin))
        self.evicted_at = np.full((len(layers), caches, keys), -1, np.int32)
        self.lost_by_key = np.zeros((len(layers), keys))
        self._first_key, self._shift = trace.map(layers[0], family).key_range[0], keys - queries

    def add(self, at, step, evicted, lost):
        """Records a step. evicted: keys that left before it, [cache, n] or None. lost: f32 [head, key]."""
        if evicted is not None:
            np.put_along_axis(self.evicted_at[at], evicted, step, 1)
        self.lost[at, :, step] = lost.sum(1, dtype=np.float64)
        self.lost_by_key[at, : lost.shape[1]] += lost.sum(0, dtype=np.float64)

    def set_source(self, source, is_permanent):
        """source: for each layer its Rows and a function that runs its steps again, from which top() computes the lost weights."""
        self._source, self._is_permanent = source, is_permanent

    def __repr__(self):
        return (f"clearhead.Eviction({self.policy}, {self.budget} of {self.evicted_at.shape[2]} keys, {self.lost.shape[2]} steps; "
                f"mean lost {self.lost.mean():.2%}, worst {self.lost.max():.2%})")

    @property
    def mean(self):
        """The lost weight, as the mean over steps: f64 [layer, head]."""
        return self.lost.mean(2)

    @property
    def worst(self):
        """The lost weight of the step that loses most: f64 [layer, head]."""
        return self.lost.max(2)

    def _at(self, layer):
        if layer not in self.layers:
            raise OutOfRangeError(f"eviction: layer {layer}: expected one of {', '.join(map(str, self.layers))}")
        return self.layers.index(layer)

    def _step(self, step):
        count = self.lost.shape[2]
        if not -count <= step < count:
            raise OutOfRangeError(f"eviction: step {step}: expected {-count} to {count - 1}")
        return step % count

    def _head(self, head):
        heads = self.lost.shape[1]
        if not -heads <= head < heads:
            raise OutOfRangeError(f"eviction: head {head}: expected {-heads} to {heads - 1}")
        return head % heads

    def token_of(self, key):
        """Returns the index in trace.tokens of a key."""
        return int(key) + self._first_key

    def _named(self, key):
        return f'token {self.token_of(key)} "{self.trace.tokens[self.token_of(key)]}"'

    def _step_named(self, step):
        return f"step {step}, {self._named(self.begin + step + self._shift)}"

    def evicted(self, layer, head, step=-1):
        """Returns [(index in trace.tokens, token)] of the keys that have left the cache of a query head before a step.

        step: default: the last.
        """
        step, caches, heads = self._step(step), self.evicted_at.shape[1], self.lost.shape[1]
        left = self.evicted_at[self._at(layer), self._head(head) * caches // heads]
        tokens = self.trace.tokens
        return [(self.token_of(key), tokens[self.token_of(key)]) for key in np.flatnonzero((left >= 0) & (left <= step))]

    def lost_weights(self, layer, step):
        """Returns the lost weights of one step, f32 [head, key]; 0 for the keys that the step attends to. Reads the trace again."""
        at, step = self._at(layer), self._step(step)
        rows, run = self._source[at]
        if not self._is_permanent:
            return next(lost for of, _, lost in run() if of == step)
        left = self.evicted_at[at]
        is_lost = np.repeat((left >= 0) & (left <= step), rows.heads // len(left), 0)
        return np.where(is_lost, rows.row(self.begin + step), 0)

    def top(self, step, count=5, *, layer=None, head=None):
        """Returns [(index in trace.tokens, token, lost weight)] of the keys whose loss weighs most at a step, the largest first.

        The weight is the mean over heads and layers, or that of one layer or head. Keys that are still in the cache are not listed.
        """
        layers = self.layers if layer is None else [layer]
        found = np.stack([self.lost_weights(one, step) if head is None else self.lost_weights(one, step)[self._head(head)][None]
                          for one in layers])
        return self._largest(found.mean((0, 1), dtype=np.float64), count)

    def top_tokens(self, count=5):
        """Returns [(index in trace.tokens, token, lost weight)] of the keys that lose most, as the mean over layers, heads and steps."""
        return self._largest(self.lost_by_key.sum(0) / self.lost.size, count)

    def _largest(self, mass, count):
        tokens, order = self.trace.tokens, np.argsort(-mass, kind="stable")[:count]
        return [(self.token_of(key), tokens[self.token_of(key)], float(mass[key])) for key in order if mass[key] > 0]

    def _summary(self):
        caches = {"key_head": "key head", "query_head": "query head", "layer": "layer"}[self.per]
        return (f"{self.policy}: at most {self.budget:,} of {self.evicted_at.shape[2]:,} keys, one cache for each {caches}; "
                f"{self.lost.shape[2]:,} steps from query {self.begin:,}")

    def table(self, count=5):
        """Returns the losses as text: one line for each layer, then the `count` tokens whose eviction loses most."""
        lines = [self._summary(), "", f"{'layer':<8}{'mean lost':>10}{'worst head':>17}{'worst step':>12}"]
        for at, layer in enumerate(self.layers):
            of, mean = self.lost[at], self.mean[at]
            head, step = np.unravel_index(of.argmax(), of.shape)
            worst = f"{mean.max():.2%} (H{mean.argmax()})"
            lines.append(f"{layer:<8}{mean.mean():>10.2%}{worst:>17}{of.max():>12.2%}  H{head}, {self._step_named(step)}")
        lines.append(f"{'all':<8}{self.lost.mean():>10.2%}{self.mean.max():>12.2%}{'':>5}{self.lost.max():>12.2%}")
        found = self.top_tokens(count)
        lines += ["", "lost tokens, mean over layers, heads and steps:" if found else "no weight is lost"]
        lines += [f'  {mass:8.3%}  token {at} "{token}"' for at, token, mass in found]
        return "\n".join(lines)

    def to_dict(self):
        """Returns the result as a dict that json.dumps accepts, with `lost` as nested lists [layer][head][step]."""
        return {"policy": self.policy, "options": {name: repr(value) if callable(value) else value for name, value in self.options.items()},
                "budget": self.budget, "per": self.per, "family": self.family, "layers": self.layers, "begin": self.begin,
                "lost": self.lost.tolist(), "evicted_at": self.evicted_at.tolist(),
                "top_tokens": [{"token": at, "text": text, "lost": mass} for at, text, mass in self.top_tokens(20)]}

    def plot(self, axes=None):
        """Draws the mean loss of each layer over the steps, with matplotlib. Returns the axes. axes: matplotlib axes to draw into."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(7, 3.5), layout="constrained")[1] if axes is None else axes
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(self.layers)))
        for at, layer in enumerate(self.layers):
            axes.plot(self.lost[at].mean(0), color=colours[at], label=f"layer {layer}", linewidth=1.2)
        axes.set_xlabel(f"step (from query {self.begin})")
        axes.set_ylabel("lost attention, mean over heads")
        axes.set_ylim(bottom=0)
        axes.set_title(f"{self.policy}, {self.budget:,} of {self.evicted_at.shape[2]:,} keys")
        if len(self.layers) <= 12:
            axes.legend(frameon=False)
        return axes

    def _repr_html_(self):
        """A table: one row for each layer, one column for each head, with the mean loss over steps."""
        head = "".join(f"<th>H{one}</th>" for one in range(self.lost.shape[1]))
        rows = "".join(f"<tr><th>L{layer}</th>" + "".join(f'<td style="background: rgba(181, 83, 42, {mass:.3f})">{mass:.1%}</td>'
                                                         for mass in self.mean[at]) + "</tr>" for at, layer in enumerate(self.layers))
        lost = "<br>".join(f"{mass:.2%} token {at} {html.escape(repr(token))}" for at, token, mass in self.top_tokens())
        return f"<p>{html.escape(self._summary())}</p><table><tr><th></th>{head}</tr>{rows}</table><p>{lost or 'no weight is lost'}</p>"
