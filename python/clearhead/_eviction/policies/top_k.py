"""The largest weights of each step: the least that any choice of as many keys can lose."""

from . import eviction_policy


@eviction_policy("top-k", "the keys with the largest weights of each step, chosen among all: a lower bound", is_permanent=False)
def top_k(cache):
    return cache.weights.sum(1)
