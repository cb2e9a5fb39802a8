"""Measures how far shares predict the effect of removals, by the linear datamodeling score (explain/evaluate/datamodeling.h)."""

import numpy as np

from .. import _core


class Removals:
    """The documents of one prompt that were removed, and the drops that were measured.

    sets: bool [removal, document]. drops: f64 [sentence, removal].
    """

    def __init__(self, sets, drops):
        self.sets, self.drops = sets, drops

    def as_lists(self):
        return self.sets.astype(np.uint8).tolist(), self.drops.tolist()


def trust_of(predicted, prompts, seed=0, resamples=500):
    """Returns (mean, low, high): the rank correlation of predicted and measured drops, as the mean over the sentences of all prompts, and
    its 95 % bootstrap interval over removals.

    predicted: for each prompt the predicted drop of each document alone, [sentence, document]; that of a removal is their sum. prompts:
    list of Removals, with equally many removals. NaN for fewer than three of them.
    """
    return _core._datamodeling_score([of.tolist() for of in predicted], [one.as_lists() for one in prompts], seed, resamples)


def score_of(predicted, removals):
    """Returns the mean of trust_of() for one prompt."""
    return trust_of([predicted], [removals], resamples=1)[0]


def trust_of_random(prompts, seed):
    """Returns (mean, low, high) of the scores of random shares: the interval contains 95 % of them."""
    return _core._random_score([one.as_lists() for one in prompts], seed)
