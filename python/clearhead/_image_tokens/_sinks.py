"""Sinks: patches of a picture that receive much more attention than the others, from nearly all queries.

The ratio of a patch for a query is its weight divided by the mean weight of all patches of the picture. A patch is a sink if its ratio is
at least 5 for at least 90 % of the queries that see all patches of the picture. Such patches often show background and have large
features (Darcet et al. 2024, "Vision transformers need registers"; Kang et al. 2025, "See what you are told: visual attention sink in large
multimodal models").
"""

from dataclasses import dataclass

import numpy as np

from ..errors import InvalidArgumentError

RATIO = 5.0
SHARE = 0.9
FEWEST, MOST = 4, 256  # queries that are compared


@dataclass
class Sink:
    """A patch that was set aside. token: its index in the trace. name, row, column: its grid and its place there. weight: its weight in
    this map. ratio: 90 % of the queries give it at least this many times the mean weight of a patch. queries: number of these queries."""

    token: int
    name: str
    row: int
    column: int
    weight: float
    ratio: float
    queries: int


def sinks_of(rows, last_query, parts, weights):
    """Returns the sinks of a picture, the one with the largest ratio first.

    rows: function that returns the weights of a query, f64 [token], NaN for hidden tokens. last_query: index of the last query. weights:
    f64 [token], those of the map. Raises InvalidArgumentError if fewer than 4 queries see the whole picture.
    """
    tokens = np.concatenate([part.tokens.ravel() for part in parts])
    names = [(part.name, row, column) for part in parts for row, column in np.ndindex(part.tokens.shape)]
    names = [name for name, token in zip(names, tokens) if token >= 0]
    tokens = tokens[tokens >= 0]
    queries = np.arange(int(tokens.min()), last_query + 1)
    queries = queries[np.unique(np.linspace(0, len(queries) - 1, MOST).round().astype(int))] if len(queries) > MOST else queries
    found = [row[tokens] for row in map(rows, queries.tolist()) if row is not None]
    ratios = np.array([row / row.mean() for row in found if not np.isnan(row).any() and row.sum() > 0])
    if len(ratios) < FEWEST:
        raise InvalidArgumentError(f"without_sinks: {len(ratios)} queries see all patches of the picture; expected at least {FEWEST}, "
                                   "because a sink is a patch that nearly all queries look at; use a longer text or keep more rows")
    reached = np.sort(ratios, 0)[len(ratios) - int(np.ceil(SHARE * len(ratios)))]
    order = sorted(np.flatnonzero(reached >= RATIO), key=lambda at: -reached[at])
    return [Sink(int(tokens[at]), *names[at], float(weights[tokens[at]]), float(reached[at]), len(ratios)) for at in order]
