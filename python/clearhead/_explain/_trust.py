"""Measures how far shares predict the effect of removals: random removals, rank correlation, and similarity of words as a baseline."""

import math
import re

import numpy as np


def random_sets(documents, count, seed):
    """Random removals, bool [removal, document], each of at least one document and not of all."""
    random, out = np.random.default_rng(seed), []
    while len(out) < count:
        one = random.random(documents) < 0.5
        if 0 < one.sum() < documents:
            out.append(one)
    return np.array(out, bool).reshape(count, documents)


def _words(text):
    return re.findall(r"\w+", text.lower())


def bm25(query, texts, k=1.5, b=0.75):
    """Okapi BM25 of each text for the words of a query (Robertson & Zaragoza 2009)."""
    bags = [_words(text) for text in texts]
    mean = sum(map(len, bags)) / len(bags) or 1.0
    out = np.zeros(len(bags))
    for word in set(_words(query)):
        having = sum(word in bag for bag in bags)
        weight = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
        for at, bag in enumerate(bags):
            count = bag.count(word)
            out[at] += weight * count * (k + 1) / (count + k * (1 - b + b * len(bag) / mean))
    return out


def _ranks(values):
    """Ranks with ties averaged."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _rank_correlation(a, b):
    a, b = _ranks(a), _ranks(b)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def score_of(predicted, sets, drops):
    """The mean over sentences of the rank correlation of predicted and measured drops.

    predicted: of each document alone, [sentence, document]; of a removal, their sum. sets: bool [removal, document]. drops: [sentence,
    removal].
    """
    sums = predicted @ sets.T.astype(np.float64)
    return float(np.mean([_rank_correlation(one, of) for one, of in zip(sums, drops)]))


def trust_of(samples, seed, resamples=500):
    """Returns (mean, low, high): the mean of score_of(*sample) over samples, and its 95 % bootstrap interval over removals.

    NaN if a sample has fewer than three removals.
    """
    if not samples or any(len(sets) < 3 for _, sets, _ in samples):
        return math.nan, math.nan, math.nan
    random = np.random.default_rng(seed)

    def drawn(predicted, sets, drops):
        which = random.integers(0, len(sets), len(sets))
        return score_of(predicted, sets[which], drops[:, which])

    means = [np.mean([drawn(*sample) for sample in samples]) for _ in range(resamples)]
    return float(np.mean([score_of(*sample) for sample in samples])), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def trust_of_random(samples, seed, draws=500):
    """Returns (mean, low, high) of the scores of random shares: the interval contains 95 % of them.

    samples: as in trust_of(), with the shape (sentences, documents) in place of predictions.
    """
    if not samples or any(len(sets) < 3 for _, sets, _ in samples):
        return math.nan, math.nan, math.nan
    random = np.random.default_rng(seed)
    scores = [np.mean([score_of(random.random(shape), sets, drops) for shape, sets, drops in samples]) for _ in range(draws)]
    return float(np.mean(scores)), float(np.quantile(scores, 0.025)), float(np.quantile(scores, 0.975))
