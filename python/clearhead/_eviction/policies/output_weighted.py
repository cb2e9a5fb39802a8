"""Accumulated attention times the norm of the value after the output projection. Norms: Kobayashi et al. 2020, equation 5."""

from . import eviction_policy
from .received import with_recent


@eviction_policy("output-weighted", "as received, times the norms of the values after the output projection, v W_O")
def output_weighted(cache, recent=0.5):
    return with_recent(cache, (cache.received * cache.output_norms).sum(1), recent)
