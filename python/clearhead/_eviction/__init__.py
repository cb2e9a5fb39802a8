"""Trace.eviction: the attention mass that a policy for evicting keys from a key-value cache would lose.

    _simulate.py    replays a policy over the rows of a trace
    _cache.py       the state of the caches of one layer, as a policy sees it
    _result.py      Eviction
    policies/       one file for each policy, which registers itself
"""

from ._result import Eviction
from .policies import POLICIES

__all__ = ["Eviction", "eviction_policies"]


def eviction_policies():
    """Returns {name: description} of the policies that Trace.eviction() knows by name."""
    return {name: policy.description for name, policy in POLICIES.items()}
