"""Accumulated attention times the norm of the value. Source: Guo et al. 2024, Attention score is not all you need for token importance."""

from . import eviction_policy
from .received import with_recent


@eviction_policy("value-weighted", "as received, times the norms of the values v (after Guo et al. 2024, with the 2-norm)")
def value_weighted(cache, recent=0.5):
    return with_recent(cache, (cache.received * cache.value_norms).sum(1), recent)
