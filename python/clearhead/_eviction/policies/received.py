"""Keys that have received the most attention, and recent ones. Source: Zhang et al. 2023, H2O: heavy-hitter oracle."""

import numpy as np

from . import count_of, eviction_policy


def with_recent(cache, scores, recent):
    """Returns the scores, with infinity for the keys that are among the `recent` last ones of the next step, its own key included."""
    recent = count_of(recent, cache.budget, "recent")
    return np.where(cache.keys > cache.query - recent, np.inf, scores)


@eviction_policy("received", "the keys with the greatest accumulated attention, and the `recent` last ones (H2O, Zhang et al. 2023)")
def received(cache, recent=0.5):
    return with_recent(cache, cache.received.sum(1), recent)
