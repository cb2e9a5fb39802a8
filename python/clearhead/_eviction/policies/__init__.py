"""Policies that choose the keys of a key-value cache. A policy is one file with a function that is decorated with @eviction_policy.

The function gets a Cache and returns scores, [cache, key], one for each of Cache.keys. The keys with the lowest scores leave the cache; of
keys with equal scores, the older one leaves first. A score of infinity keeps a key as long as the budget allows.
"""

import importlib
import pkgutil
from collections import namedtuple

Policy = namedtuple("Policy", ("name", "description", "scores", "is_permanent"))
POLICIES = {}


def eviction_policy(name, description, is_permanent=True):
    """Registers a function (cache, **options) -> scores.

    is_permanent: evicted keys never return. If False, all keys stay in the cache, and the policy chooses the keys that each step attends
    to; Cache.weights are then those of the step itself.
    """
    def register(scores):
        POLICIES[name] = Policy(name, description, scores, is_permanent)
        return scores

    return register


def count_of(given, whole, name):
    """Converts a number of keys, or a fraction of `whole` keys, to a number of keys. Raises InvalidArgumentError."""
    from ...errors import InvalidArgumentError

    if isinstance(given, float) and 0 < given <= 1:
        return max(1, round(given * whole))
    if isinstance(given, bool) or not hasattr(given, "__index__") or given.__index__() < 0:
        raise InvalidArgumentError(f"eviction: {name}={given!r}; expected a number of keys (an int), or a fraction above 0, up to 1.0")
    return given.__index__()


for _, _name, _ in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_name}", __name__)
