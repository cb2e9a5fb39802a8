"""The first and the most recent keys. Source: Xiao et al. 2023, Efficient streaming language models with attention sinks."""

import numpy as np

from ...errors import InvalidArgumentError
from . import count_of, eviction_policy


@eviction_policy("window", "the first `sinks` keys (4) and the most recent ones (StreamingLLM, Xiao et al. 2023)")
def window(cache, sinks=4):
    sinks = count_of(sinks, cache.budget, "sinks")
    if sinks >= cache.budget:
        raise InvalidArgumentError(f"eviction: sinks={sinks}, budget={cache.budget}; expected a budget larger than the number of sinks")
    return np.where(cache.keys < sinks, np.inf, cache.keys)
