"""Replays an eviction policy over the rows of a trace: simulate() is the body of Trace.eviction.

The prompt is read with all keys, and then each step, in this order:

    evict        the keys with the lowest scores leave until budget - 1 are left
    attend       the step's own key is added; the weight of its row on keys that are not in the cache is lost
    record       the weights on the keys in the cache are added to what these have received
"""

import inspect

import numpy as np

from ..errors import InvalidArgumentError, NotFoundError, UnsupportedError
from ._cache import Cache
from ._result import Eviction
from .policies import POLICIES, Policy, count_of

BLOCK = 1 << 22  # weights that are read at once: 16 MB
CACHES = {"key_head": "one cache for each key head", "query_head": "one cache for each query head", "layer": "one cache for each layer"}


class Rows:
    """The rows of one layer. begin: the first query that is a step. shift: position of query 0 among the keys. heads: query heads."""

    def __init__(self, trace, family, layer, begin):
        self._trace, self._family, self._map = trace, family, trace.map(layer, family)
        self.layer, self.begin = layer, begin
        self.heads, self.queries, self.keys = self._map.shape
        self.shift = self.keys - self.queries

    def check_steps(self):
        """Raises an error unless the steps are those of a causal decoder, and their rows were kept."""
        if self._map.query_range[1] != self._map.key_range[1]:
            raise UnsupportedError(f'eviction: "{self._family}" is cross-attention, whose keys are those of the source and are never '
                                   'evicted; pass the family of the decoder\'s own attention, such as "dec"')
        self._check_kept(self.begin)
        seen = min(self.begin, self.queries - 2)
        if seen >= 0 and self._map.has_row(seen) and bool(np.any(self.row(seen)[:, seen + self.shift + 1 :] != 0)):
            raise UnsupportedError(f'eviction: layer {self.layer} of "{self._family}" is not causal (query {seen} attends to later keys), '
                                   "so it has no key-value cache that grows; pass the family of a decoder's own attention")

    def _check_kept(self, begin):
        reached = begin
        for first, last in self._map.rows_kept:
            if first <= reached:
                reached = max(reached, last)
        if reached < self.queries:
            raise NotFoundError(f"eviction: the trace did not keep row {reached} of layer {self.layer}; watch with a larger budget=, or "
                                f"with rows=[({reached}, {self.queries})]")

    def row(self, query):
        """The weights of one query, f32 [head, key]."""
        return self._checked(self._map._rows(query), query)

    def _checked(self, weights, query):
        if np.isnan(weights).any():
            raise UnsupportedError(f"eviction: layer {self.layer}, query {query}: the run was computed in windows, and some pairs were not "
                                   "scored; run the text at once")
        return weights

    def read(self, begin, end):
        """Yields (query, weights f32 [head, key]) of queries, over the keys up to each query. The caller may change the weights."""
        size = max(1, BLOCK // (self.heads * self.keys))
        for first in range(begin, end, size):
            last = min(first + size, end)
            block = np.stack([self._map.head(head)._weights((first, last), (0, last + self.shift)) for head in range(self.heads)], 1)
            for query in range(first, last):  # block: [query, head, key]
                yield query, self._checked(block[query - first, :, : query + self.shift + 1], query)

    def received_by_prompt(self):
        """The sum of the weights of the queries before the first step, f64 [head, key]."""
        self._check_kept(0)
        total = np.zeros((self.heads, self.keys))
        if self.begin <= self.queries - self.begin:
            for query, weights in self.read(0, self.begin):
                total[:, : query + self.shift + 1] += weights
            return total
        total += np.asarray(self._map.sweep("received_attention")["received_attention"]).reshape(self.heads, -1)
        for query, weights in self.read(self.begin, self.queries):
            total[:, : query + self.shift + 1] -= weights
        return np.maximum(total, 0)

    def norms(self, kind):
        """Norms of the values or of the projected values for each query head, f32 [head, key]; None if the trace does not have them."""
        value, output = self._trace.norms(self.layer, self._family)
        found = value if kind == "value" else output
        return None if found is None else np.repeat(found[0], self.heads // found.shape[1], 0)

    def key_heads(self):
        value, _ = self._trace.norms(self.layer, self._family)
        if value is None:
            raise NotFoundError(f'eviction: the trace does not tell the number of key heads of layer {self.layer}; pass per="query_head"')
        return value.shape[1]


def _policy_of(given, options):
    if callable(given):
        policy = Policy(getattr(given, "__name__", type(given).__name__), "", given, True)
    elif given in POLICIES:
        policy = POLICIES[given]
    else:
        raise NotFoundError(f"eviction: there is no policy {given!r}; the policies are {', '.join(POLICIES)}, or a function of the cache")
    try:
        inspect.signature(policy.scores).bind(None, **options)
    except TypeError:
        known = list(inspect.signature(policy.scores).parameters)[1:]
        raise InvalidArgumentError(f"eviction: the policy {policy.name} has no options {', '.join(options)}; expected "
                                   f"{', '.join(known) or 'none'}") from None
    return policy


def _family_of(trace, family):
    if family is None:  # attention of other torch modules is "enc", also if it is causal
        return "dec" if "dec" in trace.families else trace.map(trace.layers()[0]).family
    if family not in trace.families:
        raise NotFoundError(f'eviction: there is no family "{family}"; the families are {", ".join(trace.families)}')
    return family


def _layers_of(trace, family, layers):
    kept = trace.layers(family)
    chosen = kept if layers is None else list(layers)
    if missing := [one for one in chosen if one not in kept]:
        raise NotFoundError(f'eviction: there is no layer {missing[0]} in "{family}"; the trace has {", ".join(map(str, kept))}')
    return chosen


def _begin_of(trace, begin, queries):
    if begin is None:
        if not len(trace.generated):
            raise InvalidArgumentError("eviction: the trace has no generated tokens; pass begin=, the query of the first step with a cache")
        return queries - len(trace.generated)
    if isinstance(begin, bool) or not hasattr(begin, "__index__") or not 0 <= begin.__index__() < queries:
        raise InvalidArgumentError(f"eviction: begin={begin!r}; expected a query, 0 to {queries - 1}")
    return begin.__index__()


def simulate(trace, policy, budget, *, per, begin, layers, family, renormalise, options):
    """Replays a policy. The arguments are those of Trace.eviction. Returns an Eviction."""
    policy = _policy_of(policy, options)
    if per not in CACHES:
        raise InvalidArgumentError(f"eviction: per={per!r}; expected {', '.join(CACHES)}")
    family = _family_of(trace, family)
    layers = _layers_of(trace, family, layers)
    _, queries, keys = trace.map(layers[0], family).shape
    begin = _begin_of(trace, begin, queries)
    size = count_of(budget, keys, "budget")
    if size < 1:
        raise InvalidArgumentError(f"eviction: budget={budget!r}; expected at least one key, the step's own")
    shown, result = [], None
    for at, layer in enumerate(layers):
        rows = Rows(trace, family, layer, begin)
        rows.check_steps()
        caches = {"key_head": rows.key_heads, "query_head": lambda rows=rows: rows.heads, "layer": lambda: 1}[per]()
        run = lambda rows=rows, caches=caches: steps_of(rows, Cache(rows, caches, size, renormalise), policy, options)
        shown.append((rows, run))
        if result is None:
            result = Eviction(trace, policy.name, options, family, layers, size, per, begin, (rows.heads, caches, queries, keys))
        for step, evicted, lost in run():
            result.add(at, step, evicted, lost)
    result.set_source(shown, policy.is_permanent)
    return result


def steps_of(rows, cache, policy, options):
    """Runs the steps of one layer. Yields (step, keys that are evicted before it [cache, n] or None, weights [head, key] without those on
    the keys that the step attends to)."""
    caches, budget = len(cache.keys), cache.budget
    for query, weights in rows.read(rows.begin, rows.queries):
        position, evicted = query + rows.shift, None
        if policy.is_permanent and cache.keys.shape[1] >= budget:
            is_kept = best(scores_of(policy, cache, options), budget - 1)
            evicted = _places(cache.keys, ~is_kept)
            cache.drop(is_kept)
        cache.begin_step(position)
        cache.end_step(cache.of_keys(weights).astype(np.float64))
        kept = cache.keys
        if not policy.is_permanent and kept.shape[1] > budget:
            cache.query = position
            kept = _places(kept, best(scores_of(policy, cache, options), budget))
        lost = weights.reshape(caches, -1, weights.shape[1])
        np.put_along_axis(lost, np.broadcast_to(kept[:, None], (*lost.shape[:2], kept.shape[1])), 0, 2)
        yield query - rows.begin, evicted, lost.reshape(weights.shape)


def _places(keys, is_chosen):
    return keys[is_chosen].reshape(len(keys), -1)


def scores_of(policy, cache, options):
    """Calls a policy. Returns f64 [cache, key]. Raises InvalidArgumentError if it returns anything else than one score for each key."""
    scores = np.asarray(policy.scores(cache, **options))
    if scores.shape != cache.keys.shape:
        raise InvalidArgumentError(f"eviction: the policy {policy.name} returned an array {list(scores.shape)}; expected one score for "
                                   f"each key in each cache, {list(cache.keys.shape)}")
    if np.isnan(scores).any():
        raise InvalidArgumentError(f"eviction: the policy {policy.name} returned NaN at layer {cache.layer}, query {cache.query}")
    return scores


def best(scores, count):
    """Returns bool [cache, key]: the `count` highest scores of each cache; of equal scores, the later keys."""
    is_kept = np.ones(scores.shape, bool)
    surplus = scores.shape[1] - count
    worst = scores.argmin(1)[:, None] if surplus == 1 else np.argsort(scores, 1, kind="stable")[:, :surplus]
    np.put_along_axis(is_kept, worst, False, 1)
    return is_kept
