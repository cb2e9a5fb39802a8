"""Measures how far shares predict the effect of removals, by the linear datamodeling score (explain/evaluate/datamodeling.h)."""

import math

import numpy as np

from .. import _core

RESAMPLES = 500


def random_sets(documents, count, seed):
    """Random removals, bool [removal, document], each of at least one document and not of all."""
    return np.array(_core._random_document_sets(documents, count, seed), bool).reshape(count, documents)


def _sums(predicted, sets):
    """The predicted drop of each removal, [sentence, removal]: the sum of the predictions of the removed documents."""
    return predicted @ sets.T.astype(np.float64)


def _score(sums, drops, seed=0, resamples=1):
    """The mean over sentences of the rank correlation of predicted and measured drops [sentence, removal], with its interval."""
    each = np.eye(sums.shape[1], dtype=np.uint8).tolist()
    return _core._datamodeling_score(sums.tolist(), each, drops.tolist(), seed, resamples)


def score_of(predicted, sets, drops):
    """The mean over sentences of the rank correlation of predicted and measured drops.

    predicted: of each document alone, [sentence, document]; of a removal, their sum. sets: bool [removal, document]. drops: [sentence,
    removal].
    """
    return _score(_sums(predicted, sets), drops)[0]


def trust_of(samples, seed):
    """Returns (mean, low, high): the mean of score_of() over the sentences of all samples, and its 95 % bootstrap interval over removals.

    samples: [(predicted, sets, drops)] with equally many removals. NaN for fewer than three removals.
    """
    sums = np.concatenate([_sums(predicted, sets) for predicted, sets, _ in samples])
    return _score(sums, np.concatenate([drops for _, _, drops in samples]), seed, RESAMPLES)


def trust_of_random(samples, seed):
    """Returns (mean, low, high) of the scores of random shares: the interval contains 95 % of them.

    samples: as in trust_of(), with the shape (sentences, documents) in place of predictions.
    """
    if len(samples[0][1]) < 3:
        return math.nan, math.nan, math.nan
    random, drops = np.random.default_rng(seed), np.concatenate([of for _, _, of in samples])
    scores = [_score(np.concatenate([_sums(random.random(shape), sets) for shape, sets, _ in samples]), drops)[0] for _ in range(RESAMPLES)]
    return float(np.mean(scores)), float(np.quantile(scores, 0.025)), float(np.quantile(scores, 0.975))
