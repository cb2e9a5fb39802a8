"""Cache: the keys that the key-value caches of one layer hold, and what a policy may know about them.

All caches of a layer hold equally many keys, so each array has one row for each cache. Only keys in a cache have entries: a step costs
O(heads * budget) besides its row of weights.
"""

import numpy as np

from ..errors import NotFoundError


class Cache:
    """The caches of one layer, before the step of one query. A policy reads it and returns a score for each entry of `keys`.

    Attributes
    ----------
    layer, query : int
        Number of the layer; position of the step's query among the keys.
    budget : int
        Largest number of keys that a step attends to, its own key included.
    keys : int64 array [cache, key]
        Positions of the keys in each cache, ascending.
    weights : f64 array [cache, head, key]
        Weights of the last query before the step. The heads are the query heads that share the cache.
    received : f64 array [cache, head, key]
        Sum of the weights of all queries before the step.
    value_norms, output_norms : f32 array [cache, head, key]
        Norms of the values, and of the values after the output projection. NotFoundError if the trace does not have them.
    """

    def __init__(self, rows, caches, budget, renormalise):
        self._rows, self._renormalise = rows, renormalise
        self.layer, self.budget, self.query = rows.layer, budget, rows.begin + rows.shift
        self._shape = (caches, rows.heads // caches)
        self.keys = np.tile(np.arange(self.query), (caches, 1))
        self._received = np.zeros((*self._shape, self.query))  # by the steps; the prompt's part is computed when a policy reads it
        self._weights = self._of_prompt = None

    @property
    def weights(self):
        if self._weights is None:
            self._weights = self.of_keys(self._rows.row(self._rows.begin - 1).astype(np.float64))
        return self._weights

    @property
    def received(self):
        if self._of_prompt is None:
            self._of_prompt = self._rows.received_by_prompt()
        return self.of_keys(self._of_prompt) + self._received

    @property
    def value_norms(self):
        return self.of_keys(self._norms("value"))

    @property
    def output_norms(self):
        return self.of_keys(self._norms("output"))

    def _norms(self, kind):
        norms = self._rows.norms(kind)
        if norms is None:
            way = ("; ch.explain(model, tokenizer, prompt, answer=..., methods=\"output-weighted\").trace has them, or use the policy "
                   "value-weighted" if kind == "output" else "")
            raise NotFoundError(f"eviction: the trace has no norms of the {'projected ' if kind == 'output' else ''}values of layer "
                                f"{self.layer}{way}")
        return norms

    def of_keys(self, of_heads):
        """Selects the entries of the keys in the caches from an array [head, key of the map]: [cache, head, key]."""
        return np.take_along_axis(of_heads.reshape(*self._shape, -1), self.keys[:, None], 2)

    def begin_step(self, query):
        """Adds the step's own key."""
        caches = len(self.keys)
        self.query = query
        self.keys = np.concatenate([self.keys, np.full((caches, 1), query)], 1)
        self._received = np.concatenate([self._received, np.zeros((*self._shape, 1))], 2)

    def end_step(self, weights):
        """Records the weights of a step, f64 [cache, head, key]. The next step is that of the next query."""
        if self._renormalise:
            sums = weights.sum(2, keepdims=True)
            weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
        self._weights = weights
        self._received += weights
        self.query += 1

    def drop(self, is_kept):
        """Removes keys from the caches. is_kept: bool [cache, key], with equally many in each cache."""
        self.keys = self.keys[is_kept].reshape(len(self.keys), -1)
        wide = np.broadcast_to(is_kept[:, None], self._received.shape)
        self._received = self._received[wide].reshape(*self._shape, -1)
        if self._weights is not None:
            self._weights = self._weights[wide].reshape(*self._shape, -1)
