"""Learned weights of attention heads, with which attention alone predicts the drops of an answer (Cohen-Wang et al. 2025, AT2)."""

import json
import os

import numpy as np

from ...errors import InvalidArgumentError, ShapeError
from .._trust import score_of
from . import normalized
from ._regression import fit

# Ridge penalties that are tried, relative to the mean of the diagonal of the Gram matrix; the first one if nothing tells them apart.
_RIDGES = (1e-2, 1e-4, 1e-3, 1e-1, 1.0, 10.0)


class HeadWeights:
    """Weights of attention heads: the share of a document is the weighted sum of the attention that the sentence pays to it.

    One run forward explains all sentences of an answer. learn_head_weights() makes it; cite(method=…) takes it.

    Attributes
    ----------
    layers : list of (str, int)
        The family and number of each attention layer, as in Trace.map().
    weights : list of f64 array [head]
        The weights, at least 0, for each of these layers.
    model : str
        The name of the model's class.
    trust : dict of str to (mean, low, high)
        Rank correlation of predicted and measured drops on examples that were held out from learning, with 95 % intervals: of these weights
        ("shares"), of equal weights for all heads ("equal"), and of random shares ("random", with the interval that contains 95 % of them).
    """

    name = "head weights"

    def __init__(self, layers, weights, model, trust):
        self.layers, self.weights, self.model, self.trust = [tuple(one) for one in layers], list(weights), model, trust

    def __repr__(self):
        used = sum(int((of > 0).sum()) for of in self.weights)
        mean, low, high = self.trust["shares"]
        return (f"clearhead.HeadWeights({self.model}: {used} of {sum(map(len, self.weights))} heads; correlation with measured drops on "
                f"held-out examples {mean:.2f} [{low:.2f}, {high:.2f}])")

    def top(self, count=10):
        """Returns [(family, layer, head, weight)] of the heads with the largest weights."""
        found = [(*layer, head, float(weight)) for layer, of in zip(self.layers, self.weights) for head, weight in enumerate(of)]
        return sorted(found, key=lambda one: -one[3])[:count]

    def save(self, path):
        """Writes a JSON file, either completely or not at all."""
        content = {"format": "clearhead head weights 1", "model": self.model, "trust": self.trust,
                   "layers": [{"family": family, "layer": layer, "weights": list(map(float, of))}
                              for (family, layer), of in zip(self.layers, self.weights)]}
        part = f"{path}.part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        os.replace(part, path)

    @classmethod
    def load(cls, path):
        """Reads a file that save() wrote. Raises InvalidArgumentError for other files."""
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if content["format"] != "clearhead head weights 1":
                raise InvalidArgumentError(f'{path}: the format is "{content["format"]}"; expected "clearhead head weights 1"')
            layers = [(str(one["family"]), int(one["layer"])) for one in content["layers"]]
            weights = [np.array(one["weights"], np.float64) for one in content["layers"]]
            return cls(layers, weights, str(content["model"]), {name: tuple(of) for name, of in content["trust"].items()})
        except (ValueError, KeyError, TypeError) as fault:
            raise InvalidArgumentError(f"{path}: not a file of head weights: {fault}") from fault

    def shares(self, cited):
        layers, masses, rest = cited.attention()
        found = [(layer, mass.shape[-1]) for layer, mass in zip(layers, masses)]
        expected = [(layer, len(of)) for layer, of in zip(self.layers, self.weights)]
        if found != expected:
            raise ShapeError(f"head weights: they were learned on {self.model} with {_shape(expected)}; this model has {_shape(found)}")
        weights = np.concatenate(self.weights)
        return normalized(np.concatenate(masses, -1) @ weights, np.concatenate(rest, -1) @ weights)


def _shape(layers):
    return f"{len(layers)} layers of {', '.join(sorted({str(heads) for _, heads in layers}))} heads"


class Sample:
    """The measurements of one example. attention: f64 [sentence, document, head]. removals: Removals."""

    def __init__(self, attention, removals):
        self.attention, self.removals = attention, removals

    def predicted(self, weights):
        return self.attention @ weights  # [sentence, document]

    def moments(self):
        """Returns (Gram matrix, moments, number) of the removals of all sentences, with drops of mean 0 and variance 1 in each."""
        heads = self.attention.shape[-1]
        gram, moments, count = np.zeros((heads, heads)), np.zeros(heads), 0
        for attention, drops in zip(self.attention, self.removals.drops):
            if drops.std() == 0:
                continue
            features = self.removals.sets.astype(np.float64) @ attention  # [removal, head]
            features -= features.mean(0)
            gram += features.T @ features
            moments += features.T @ ((drops - drops.mean()) / drops.std())
            count += len(drops)
        return gram, moments, count


def learned(samples):
    """The weights of all heads, f64 [head] ≥ 0, that predict the drops of the samples best.

    The ridge penalty is the one whose weights predict samples best when they are learned from the others.
    """
    parts = [one.moments() for one in samples]
    gram, moments, count = (sum(of) for of in zip(*parts))
    if count == 0:
        raise InvalidArgumentError("learn_head_weights: no removal of documents changes an answer, so nothing can be learned")
    def rating(ridge):
        return sum(score_of(one.predicted(_ridge(gram - g, moments - m, count - n, ridge)), one.removals)
                   for one, (g, m, n) in zip(samples, parts) if n < count)

    return _ridge(gram, moments, count, max(_RIDGES, key=rating))


def _ridge(gram, moments, count, ridge):
    size = max(np.trace(gram) / len(gram), 1e-300)
    return fit((gram + ridge * size * np.eye(len(gram))) / count, moments / count, is_positive=True)
