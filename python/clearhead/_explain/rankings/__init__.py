"""The ways to give each document of a prompt its share in the sentences of an answer. A way is one file with a class that has

name : str
    The name in the evidence table.
shares(cited) : function
    Returns (shares, elsewhere) of a Cited (_cited.py): f64 [sentence, document], each at least 0, and f64 [sentence], the part of the
    other tokens of the prompt. The shares of a sentence and its `elsewhere` sum to 1. If nothing was found, the shares are 0 and
    `elsewhere` is NaN.

A class that cite() knows by its name, and makes without arguments, is decorated with @named.
"""

import importlib
import pkgutil

import numpy as np

from ...errors import NotFoundError
from .._explain import METHODS

_NAMED = {}


def named(ranking):
    """Registers a class under its name."""
    _NAMED[ranking.name] = ranking
    return ranking


def ranking_of(method):
    """Returns the ranking for an argument of cite(): an object with shares(), the name of one, or that of an attribution method."""
    if hasattr(method, "shares"):
        return method
    if method in _NAMED:
        return _NAMED[method]()
    if method in METHODS:
        from .attribution import ByAttribution  # a module that imports this one

        return ByAttribution(method)
    raise NotFoundError(f"cite: there is no method {method!r}; the methods are {', '.join([*METHODS, *_NAMED])}, or learned head weights")


def normalized(scores, rest):
    """Returns (shares, elsewhere) from the scores of documents [sentence, document] and of the rest of the prompt [sentence]. Negative
    scores count 0."""
    scores, rest = np.maximum(scores, 0.0), np.maximum(rest, 0.0)
    total = scores.sum(1) + rest
    return scores / np.where(total > 0, total, 1)[:, None], rest / np.where(total > 0, total, np.nan)


for _, _name, _ in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_name}", __name__)
