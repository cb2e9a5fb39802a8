"""Shares of documents by a sparse linear surrogate of the model (Cohen-Wang et al. 2024, ContextCite)."""

import numpy as np

from ...errors import InvalidArgumentError
from . import named, normalized
from ._regression import fit

PENALTY = 0.01  # of the sum of the magnitudes of the coefficients, for measured drops of variance 1, as in ContextCite


@named
class Surrogate:
    """Runs the model without random halves of the documents and fits a linear function with few coefficients to the measured drops.

    It needs many runs, and is the reference for methods that need few. ContextCite fits the logit of the answer's probability; this fits
    the drop of its log-probability, which the evidence table shows. The rest of the prompt gets no share: it is never removed.

    removals: number of runs.
    """

    name = "surrogate"

    def __init__(self, removals=64):
        if removals < 4:
            raise InvalidArgumentError(f"surrogate: {removals} removals; expected at least 4")
        self.removals = removals

    def shares(self, cited):
        measured = cited.removals(self.removals, stream=1)
        coefficients = np.array([_coefficients(measured.sets, drops) for drops in measured.drops])
        return normalized(coefficients, np.zeros(len(coefficients)))


def _coefficients(sets, drops):
    """The coefficient of each document, f64 [document], from removals, bool [removal, document], and drops, f64 [removal]."""
    spread = drops.std()
    if spread == 0:
        return np.zeros(sets.shape[1])
    features, values = sets - sets.mean(0), (drops - drops.mean()) / spread
    return spread * fit(features.T @ features / len(sets), features.T @ values / len(sets), penalty=PENALTY)
