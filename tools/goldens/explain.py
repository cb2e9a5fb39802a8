#!/usr/bin/env python3
"""Makes tests/goldens/explain/*.json: faithfulness measures of rankings of small models' inputs, from the reference implementations, with
fixed seeds.

Usage: python3 tools/goldens/explain.py

Needs pip install torch captum quantus nltk scikit-learn scipy numpy. Made with Python 3.11, captum 0.9.0, quantus 0.6.0, torch 2.15.0,
scipy 1.17.1, scikit-learn 1.9.1, nltk 3.10.4, numpy 2.4.6.

An input has n items that are present (1) or removed (0). A float64 model answers each of the 2^n sets, and the file contains its complete
table, index Σ removed_i·2^i, so the tests use exactly the answers that the reference implementation saw.

  ERASER     comprehensiveness, sufficiency and AOPC as its scorer averages them: differences to the whole text's answer, over thresholds.
             The scorer is a repository, not a package; its few lines of arithmetic are repeated here (rationale_benchmark/metrics.py,
             _instances_aopc)
  Captum     infidelity (plain and normalised)
  Quantus    PixelFlipping: the curve of deletion; FaithfulnessCorrelation: sensitivity-n over its own random sets, which the file holds;
             Sparseness: Gini. Its SensitivityN pairs sums of single steps with cumulative changes and correlates over texts; it is not
             Ancona et al.'s and is not used
  SciPy, scikit-learn, NLTK  Kendall's tau-b, Spearman, Jensen-Shannon, entropy; average precision; alignment error rate

An undefined number (NaN) is null.
"""

import json
import math
import pathlib
import random
import warnings

import captum.metrics
import nltk.translate.metrics
import numpy as np
import quantus
import scipy.spatial.distance
import scipy.stats
import sklearn.metrics
import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/explain"


def plain(value):
    """Converts numbers of NumPy and torch to Python numbers, and NaN to None."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return plain(value.detach().numpy())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def write(name, cases):
    OUT.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(plain(case), ensure_ascii=True, allow_nan=False, separators=(",", ":")) for case in cases]
    (OUT / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{name}: {len(cases)} cases")


class Small(torch.nn.Module):
    """A classifier of n items that are present or absent: two classes, one hidden layer, tanh, softmax."""

    def __init__(self, items, numbers):
        super().__init__()
        self.first = torch.nn.Parameter(torch.tensor(numbers.normal(0, 1, (items, 6))))
        self.second = torch.nn.Parameter(torch.tensor(numbers.normal(0, 1, (6, 2))))

    def forward(self, present):
        return torch.softmax(torch.tanh(present.double().reshape(len(present), -1) @ self.first) @ self.second, dim=1)


def table_of(model, items):
    sets = torch.tensor([[1.0 - (index >> i & 1) for i in range(items)] for index in range(2**items)], dtype=torch.float64)
    return sets, model(sets)[:, 1].detach().numpy()


def index_of(removed):
    return sum(1 << int(i) for i in removed)


def eraser(scores, table, shares):
    """Differences to the answer on the whole text at each threshold, and their averages: _instances_aopc of one instance."""
    order, n = sorted(range(len(scores)), key=lambda i: -scores[i]), len(scores)
    out = {"comprehensiveness": [], "sufficiency": []}
    for share in shares:
        top = order[: max(1, math.ceil(share * n - 1e-9))]
        out["comprehensiveness"].append(table[0] - table[index_of(top)])
        out["sufficiency"].append(table[0] - table[index_of(set(range(n)) - set(top))])
    return {"shares": shares, **out, **{name + "_aopc": np.average(values) for name, values in list(out.items())}}


class QuantusModel:
    """The interface of a model that Quantus's metrics require, in float64 (Quantus's own wrapper is float32)."""

    def __init__(self, model):
        self.model = model

    def shape_input(self, x, shape, **_):
        return x.reshape(shape)

    def predict(self, x):
        return self.model(torch.tensor(x)).detach().numpy()


def quantus_of(metric, model, scores):
    """Returns the metric of one input that has all of its items."""
    shape = (1, 1, len(scores), 1)
    return np.asarray(
        metric.evaluate_batch(model=QuantusModel(model), x_batch=np.ones(shape), y_batch=np.array([1]),
                              a_batch=np.array(scores).reshape(shape))
    )[0]


def deletion(model, scores, table, step):
    """Returns Quantus's curve, preceded by the answer on the whole input, and scikit-learn's area under it over the fraction removed."""
    n = len(scores)
    metric = quantus.PixelFlipping(features_in_step=step, normalise=False, abs=False, perturb_baseline=0.0, return_aggregate=False,
                                   disable_warnings=True)
    curve = [table[0], *quantus_of(metric, model, scores).tolist()]
    return {"steps": n // step, "curve": curve, "area": sklearn.metrics.auc(np.arange(len(curve)) * step / n, curve)}


def correlation(model, scores, size):
    """Returns Quantus's FaithfulnessCorrelation of one input, and the sets that it drew."""
    drawn = []

    def remembered(arr, indices, **kwargs):
        drawn.append(sorted(int(i) for i in indices[0]))
        return quantus.functions.perturb_func.batch_baseline_replacement_by_indices(arr=arr, indices=indices, perturb_baseline=0.0)

    metric = quantus.FaithfulnessCorrelation(
        nr_runs=40, subset_size=size, normalise=False, abs=False, perturb_func=remembered, perturb_baseline=0.0, return_aggregate=False,
        disable_warnings=True
    )
    return {"correlation": float(quantus_of(metric, model, scores)), "sets": drawn}


def infidelity(model, scores, sets, n):
    masks = torch.tensor([[float(i in removed) for i in range(n)] for removed in sets], dtype=torch.float64)
    whole, given = torch.ones(1, n, dtype=torch.float64), torch.tensor([scores], dtype=torch.float64)

    def changed(inputs):
        return masks[: len(inputs)], inputs - masks[: len(inputs)]

    def found(normalise):
        return captum.metrics.infidelity(model, changed, whole, given, target=1, n_perturb_samples=len(sets), normalize=normalise).item()

    return {"sets": sets, "plain": found(False), "scaled": found(True)}


def faithfulness(seed):
    numbers, rng = np.random.default_rng(seed), random.Random(seed)
    n = rng.choice([4, 6, 8])
    model = Small(n, numbers)
    _, table = table_of(model, n)
    scores = [table[0] - table[1 << i] + rng.choice([0, 0.1]) * numbers.normal() for i in range(n)]
    if rng.random() < 0.3:
        scores = [round(score, 1) for score in scores]  # ties
    sets = [sorted(rng.sample(range(n), rng.randint(1, n))) for _ in range(30)]
    one_out = [table[0] - table[1 << i] for i in range(n)]
    out = {"items": n, "table": table, "scores": scores, "eraser": eraser(scores, table, [0.01, 0.05, 0.1, 0.2, 0.5]),
           "fine": eraser(scores, table, [0.25, 0.5, 0.75, 1.0]),
           "infidelity": infidelity(model, scores, sets, n), "leave_one_out": one_out,
           "tau": scipy.stats.kendalltau(scores, one_out).statistic}
    if len(set(scores)) == n:  # Quantus orders equal scores as NumPy's sort does, so these cases have none
        np.random.seed(seed)
        out |= {"deletion": deletion(model, scores, table, 2 if n % 2 == 0 else 1), "correlation": correlation(model, scores, n // 2)}
    return out


def agreement(seed):
    numbers, rng = np.random.default_rng(seed), random.Random(seed)
    size, levels = rng.choice([2, 3, 10, 60]), rng.choice([1, 2, 4, 0, 0])
    x = numbers.random(size) if levels == 0 else numbers.integers(0, levels + 1, size) / 2
    y = x + rng.choice([0, 1]) * numbers.random(size) if rng.random() < 0.5 else numbers.integers(0, 4, size) / 2
    if x.sum() == 0 or y.sum() == 0:
        x, y = x + 1, y + 1
    # SciPy does not clip rounding errors: for equal distributions it may return NaN, the square root of a tiny negative number.
    js = scipy.spatial.distance.jensenshannon(x, y) ** 2
    return {"x": x, "y": y, "kendall": scipy.stats.kendalltau(x, y).statistic, "spearman": scipy.stats.spearmanr(x, y).statistic,
            "pearson": scipy.stats.pearsonr(x, y).statistic, "jensen_shannon": 0.0 if np.array_equal(x, y) else js}


def clearness(seed):
    numbers, rng = np.random.default_rng(seed), random.Random(seed)
    size = rng.choice([2, 3, 17, 100])
    weights = numbers.gamma(rng.choice([0.1, 1, 10]), 1, size)
    if rng.random() < 0.3:
        weights[: size // 2] = 0
    sparse = quantus.Sparseness(normalise=False, abs=False, disable_warnings=True)
    gini = sparse.evaluate_batch(x_batch=None, a_batch=weights.reshape(1, 1, size) - 1e-7)[0]  # Quantus adds 1e-7 first
    return {"weights": weights, "entropy": scipy.stats.entropy(weights), "gini": float(gini)}


def plausibility(seed):
    rng = random.Random(seed)
    size, levels = rng.choice([2, 5, 30]), rng.choice([2, 5, 10**6])
    scores, marked = [rng.randrange(levels) / 8 for _ in range(size)], [rng.randrange(2) for _ in range(size)]
    marked[rng.randrange(size)] = 1
    return {"scores": scores, "marked": marked, "auprc": sklearn.metrics.average_precision_score(marked, scores)}


def alignment(seed):
    rng = random.Random(seed)

    def links(count):
        return sorted({(rng.randrange(6), rng.randrange(6)) for _ in range(count)})

    sure = links(rng.choice([1, 5, 9]))
    possible = sorted(set(sure) | set(links(rng.choice([0, 6]))))
    found = links(rng.choice([1, 4, 12])) + rng.sample(sure, rng.randint(0, len(sure)))
    found = sorted(set(found))

    def rate(*sides):
        return nltk.translate.metrics.alignment_error_rate(*[nltk.translate.Alignment(side) for side in sides])

    return {"found": found, "sure": sure, "possible": possible, "error_rate": rate(sure, found, possible),
            "without_possible": rate(sure, found)}


def main():
    warnings.simplefilter("ignore")
    for make, count in ((faithfulness, 12), (agreement, 40), (clearness, 20), (plausibility, 25), (alignment, 15)):
        write(make.__name__, [make(seed) for seed in range(count)])


if __name__ == "__main__":
    main()
