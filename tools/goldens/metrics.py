#!/usr/bin/env python3
"""Makes tests/goldens/metrics/*.json: metrics of made-up predictions, from the reference implementations, with fixed seeds.

Usage: python3 tools/goldens/metrics.py SQUAD1            writes the goldens
       python3 tools/goldens/metrics.py SQUAD1 TIMES SEED  TIMES as many cases from another seed; run the tests, then restore the goldens

Needs pip install scikit-learn scipy seqeval rouge-score jiwer pytrec-eval-terrier 'transformers<5', and SQUAD1, the official evaluation
script of SQuAD 1.1 (https://rajpurkar.github.io/SQuAD-explorer/). Made with Python 3.11, scikit-learn 1.9.1, scipy 1.17.1, seqeval 1.2.2,
rouge-score 0.1.2, jiwer 4.0.0 (RapidFuzz 3.14.6), pytrec-eval-terrier 0.5.11, transformers 4.57.6 (squad_metrics: SQuAD 2.0).

An undefined number (NaN) is null.
"""

import importlib.util
import json
import math
import pathlib
import random
import sys
import types
import warnings

import jiwer
import numpy as np
import pytrec_eval
import scipy.stats
import seqeval.metrics
import sklearn.metrics
from rouge_score import rouge_scorer
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities
from transformers.data.metrics.squad_metrics import normalize_answer, squad_evaluate

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/metrics"
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def plain(value):
    """Converts NumPy numbers to Python numbers, and NaN to None."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def write(name, cases):
    lines = [json.dumps(plain(case), ensure_ascii=True, allow_nan=False, separators=(",", ":")) for case in cases]
    (OUT / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{name}: {len(cases)} cases")


def scores(expected, predicted, **options):
    """Returns scikit-learn's precision, recall, F1 and support; averages have no support."""
    found = sklearn.metrics.precision_recall_fscore_support(expected, predicted, zero_division=0, **options)
    return found[:3] if found[3] is None else list(zip(*found))


# Classification, multi-label classification, regression.


def classification(rng):
    classes = rng.choice([1, 2, 2, 3, 5, 9])
    used = rng.sample(range(classes), rng.randint(1, classes))  # some classes do not occur
    expected = [rng.choice(used) for _ in range(rng.choice([1, 2, 5, 20, 60]))]
    sure = rng.choice([0.0, 0.5, 0.9, 1.0])
    predicted = [label if rng.random() < sure else rng.choice(used if rng.random() < 0.8 else range(classes)) for label in expected]
    if rng.random() < 0.15:
        predicted = [rng.randrange(classes)] * len(expected)
    return {
        "classes": classes, "expected": expected, "predicted": predicted, "accuracy": sklearn.metrics.accuracy_score(expected, predicted),
        "scores": scores(expected, predicted, labels=range(classes)), "matthews": sklearn.metrics.matthews_corrcoef(expected, predicted),
        **{name: scores(expected, predicted, average=name) for name in ("micro", "macro", "weighted")},
    }


def multi_label(rng):
    labels, examples = rng.choice([2, 3, 7]), rng.choice([1, 2, 10, 30])
    dense = rng.choice([0.0, 0.2, 0.5])
    expected = [[int(rng.random() < dense) for _ in range(labels)] for _ in range(examples)]
    predicted = [[bit if rng.random() < 0.7 else 1 - bit for bit in row] for row in expected]
    if rng.random() < 0.2:
        predicted = [[0] * labels for _ in range(examples)]
    return {
        "labels": labels, "expected": [bit for row in expected for bit in row], "predicted": [bit for row in predicted for bit in row],
        "accuracy": sklearn.metrics.accuracy_score(expected, predicted),
        "scores": scores(np.array(expected), np.array(predicted)),
        **{name: scores(np.array(expected), np.array(predicted), average=name) for name in ("micro", "macro", "weighted")},
    }


def regression(rng):
    size, levels = rng.choice([2, 3, 10, 50]), rng.choice([1, 2, 5, 0, 0])
    # few levels: many ties
    number = (lambda: rng.gauss(0, 10 ** rng.randint(-2, 3))) if levels == 0 else (lambda: rng.randrange(levels) / 2)
    expected = [number() for _ in range(size)]
    predicted = [value + rng.choice([0, 0, 1]) * number() for value in expected]
    pearson, spearman = scipy.stats.pearsonr(expected, predicted).statistic, scipy.stats.spearmanr(expected, predicted).statistic
    return {
        "expected": expected, "predicted": predicted, "mean_squared_error": sklearn.metrics.mean_squared_error(expected, predicted),
        "mean_absolute_error": sklearn.metrics.mean_absolute_error(expected, predicted), "pearson": pearson, "spearman": spearman,
    }


# Entities.

TYPES = ["PER", "LOC", "ORG", "a-b", "人"]


def entity_tags(rng, prefixes, length, kinds):
    tags = []
    while len(tags) < length:
        kind = rng.choice(kinds)
        tags += rng.choice([["O"], ["O", "O"], [f"B-{kind}"] + [f"I-{kind}"] * rng.randint(0, 3), [rng.choice(prefixes) + "-" + kind]])
    return tags[:length]


def tagging(rng):
    prefixes = rng.choice(["BI", "BI", "BIES"])
    kinds = TYPES[: rng.choice([1, 2, 5])]
    expected = [entity_tags(rng, prefixes, rng.choice([0, 1, 4, 12]), kinds) for _ in range(rng.choice([1, 1, 3, 6]))]
    predicted = []
    for tags in expected:
        noise = entity_tags(rng, prefixes, len(tags), kinds)
        predicted.append([a if rng.random() < 0.8 else b for a, b in zip(tags, noise)])
    if rng.random() < 0.1:
        predicted = [["O"] * len(tags) for tags in expected]
    if rng.random() < 0.1:
        expected = [[tag.replace("-PER", "") for tag in tags] for tags in expected]  # "B" alone
    strict = prefixes == "BI"
    out = {"expected": expected, "predicted": predicted}
    for mode, options in [("lenient", {})] + ([("strict", {"mode": "strict", "scheme": IOB2})] if strict else []):
        if mode == "strict":
            spans = [[[e.tag, e.start, e.end] for e in sentence] for sentence in Entities(expected, IOB2).entities]
            names = sorted(Entities(expected, IOB2).unique_tags | Entities(predicted, IOB2).unique_tags)
        else:
            spans = [[[kind, begin, end + 1] for kind, begin, end in get_entities(tags)] for tags in expected]
            names = sorted({entity[0] for side in (expected, predicted) for tags in side for entity in get_entities(tags)})
        find = {"strict": seqeval.metrics.v1.precision_recall_fscore_support}.get(
            mode, seqeval.metrics.sequence_labeling.precision_recall_fscore_support
        )
        given = {"scheme": IOB2} if mode == "strict" else {}
        of_types = list(zip(*find(expected, predicted, average=None, zero_division=0, **given)))
        averages = {name: find(expected, predicted, average=name, zero_division=0, **given)[:3] for name in ("micro", "macro", "weighted")}
        check = seqeval.metrics.f1_score(expected, predicted, average="micro", zero_division=0, **options)
        assert abs(check - averages["micro"][2]) < 1e-15
        out[mode] = {"spans": spans, "types": names, "scores": of_types, **averages}
    return out


# Answers.

WORDS = ["the", "The", "a", "an", "An", "cat", "Cats", "theatre", "U.S.", "it's", "state-of-the-art", "1,000", "naïve", "ÉCOLE", "ΟΔΟΣ",
         "οδος", "ΣΑΣ", "straße", "the_cat",
         "«the»", "the…", "猫", "the猫", "a٣", "the\u0301", "\u00a0", "\u3000", "\t", "\n", "“a”", "’", "!", "...", "ǅ", "İstanbul", "𝐀",
         "№", "²", "x\u200bthe"]


def text_of(rng, lengths=(0, 1, 2, 4, 9)):
    return "".join(rng.choice(WORDS) + rng.choice([" ", " ", "", "  "]) for _ in range(rng.choice(lengths)))


def near(rng, text):
    words = text.split(" ")
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        at = rng.randrange(len(words))
        words[at : at + rng.choice([0, 1])] = [rng.choice(WORDS)] * rng.choice([0, 1])
        words = words or [""]
    return " ".join(words)


def answers(rng, official):
    questions, answerable = [], rng.random() < 0.5
    for _ in range(rng.choice([1, 2, 6, 15])):
        gold = [text_of(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
        if not answerable and rng.random() < 0.4:
            gold = []
        prediction = rng.choice(["", text_of(rng)] + [near(rng, text) for text in gold] * 3)
        questions.append({"prediction": prediction, "answers": gold, "no_answer_probability": round(rng.random(), 3)})
    ids = [str(at) for at in range(len(questions))]
    examples = [types.SimpleNamespace(qas_id=i, answers=[{"text": text} for text in q["answers"]]) for i, q in zip(ids, questions)]
    predictions = {i: q["prediction"] for i, q in zip(ids, questions)}
    probabilities = {i: q["no_answer_probability"] for i, q in zip(ids, questions)}
    names = ["exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total", "NoAns_exact", "NoAns_f1", "NoAns_total"]
    out = {"questions": questions, "normalised": [normalize_answer(q["prediction"]) for q in questions]}
    for name, threshold in [("squad2", 1.0), ("squad2_half", 0.5)]:
        found = squad_evaluate(examples, predictions, dict(probabilities), threshold)
        out[name] = [found.get(key, 0) for key in names]
    if all(q["answers"] for q in questions):
        paragraphs = [{"qas": [{"id": i, "answers": [{"text": text} for text in q["answers"]]} for i, q in zip(ids, questions)]}]
        compute = getattr(official, "compute_score", None) or official.evaluate
        found = compute([{"paragraphs": paragraphs}], predictions)
        out["squad1"] = [found["exact_match"], found["f1"]]
    return out


# Summaries.

SUMMARY_WORDS = ["the", "The", "cat", "cats", "sat", "on", "mat", "running", "1,000", "U.S.", "it's", "naïve", "\u212aelvin",
                 "\u0130stanbul", "Σ", "-", "...", "猫", "x2", "a_b"]


def summary_of(rng, vocabulary):
    return "".join(rng.choice(vocabulary) + rng.choice([" ", " ", " ", "", "\n", "\n\n", "\t"])
                   for _ in range(rng.choice([0, 1, 2, 5, 15, 40])))


def rouge(rng):
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=False)
    vocabulary = rng.sample(SUMMARY_WORDS, rng.choice([3, 8, 20]))
    pairs = [(summary_of(rng, vocabulary), summary_of(rng, vocabulary)) for _ in range(rng.choice([1, 2, 4]))]
    found = [scorer.score(reference, summary) for summary, reference in pairs]
    many = scorer.score_multi([reference for _, reference in pairs], pairs[0][0])
    return {
        "summaries": [summary for summary, _ in pairs], "references": [reference for _, reference in pairs],
        "words": [scorer._tokenizer.tokenize(summary) for summary, _ in pairs], "scores": [[one[kind] for kind in kinds] for one in found],
        "mean": [np.mean([one[kind] for one in found], axis=0) for kind in kinds], "best_of_references": [many[kind] for kind in kinds],
    }


# Rankings. Scores are exactly representable in f32, because trec_eval compares them in f32.

DEPTHS = [1, 2, 3, 5, 10, 100]


def query(rng, tied):
    retrieved, levels = rng.choice([0, 1, 2, 5, 12, 30]), rng.choice([[0, 1], [0, 0, 0, 1], [0, 1, 2, 3], [0], [-1, 0, 2]])
    numbers = [rng.randrange(4) / 4 for _ in range(retrieved)] if tied else rng.sample([n / 64 for n in range(-200, 200)], retrieved)
    return {"scores": numbers, "relevance": [rng.choice(levels) for _ in numbers],
            "missed": [rng.choice(levels) for _ in range(rng.choice([0, 0, 1, 4]))]}


def ranking(rng):
    tied = rng.random() < 0.4
    queries = [query(rng, tied) for _ in range(rng.choice([1, 1, 2, 5]))]
    # pytrec_eval skips a query without judgements, and never returns for one whose judgements are all negative.
    queries = [q for q in queries if max(q["relevance"] + q["missed"], default=-1) >= 0] or [{"scores": [1.0], "relevance": [1],
                                                                                              "missed": []}]
    judged, run = {}, {}
    for at, q in enumerate(queries):
        judged[str(at)] = {f"d{i:04}": relevance for i, relevance in enumerate(q["relevance"])} | {f"m{i:04}": r
                                                                                                   for i, r in enumerate(q["missed"])}
        run[str(at)] = {f"d{i:04}": score for i, score in enumerate(q["scores"])}
    cuts = ",".join(map(str, DEPTHS))
    names = {"recip_rank", "map", "set_P", "set_recall", "ndcg"} | {f"{name}.{cuts}"
                                                                    for name in ("map_cut", "P", "recall", "success", "ndcg_cut")}
    found = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(run)
    rows = [found[str(at)] for at in range(len(queries))]
    whole = [[row[name] for name in ("recip_rank", "map", "set_P", "set_recall", "ndcg")] for row in rows]
    cut = [[[row[f"{name}_{k}"] for name in ("map_cut", "P", "recall", "success", "ndcg_cut")] for k in DEPTHS] for row in rows]
    return {"queries": queries, "whole": whole, "cut": cut, "mean": np.mean(whole, axis=0), "depths": DEPTHS}


def binary(rng):
    size, levels = rng.choice([2, 3, 10, 40]), rng.choice([1, 2, 4, 10**6])
    scored, relevance = [rng.randrange(levels) / 8 for _ in range(size)], [rng.choice([0, 0, 1, 2, 5]) for _ in range(size)]
    positive = [rng.randrange(2) for _ in range(size)] if rng.random() < 0.9 else [rng.randrange(2)] * size
    return {
        "scores": scored, "positive": positive, "relevance": relevance, "roc_auc": sklearn.metrics.roc_auc_score(positive, scored),
        "average_precision": sklearn.metrics.average_precision_score(positive, scored), "depths": [0, 1, 3, 5],
        "ndcg": [sklearn.metrics.ndcg_score([relevance], [scored], k=k or None) for k in (0, 1, 3, 5)],
    }


# Error rates.

SPOKEN = ["a", "b", "c", "d", "the", "The", "cat.", "猫", "é", "e\u0301", "😀"]
GAPS = [" ", " ", " ", " ", "  ", "\t", " \t", "\u00a0", "\u3000\u3000", "\n", "\x1f"]


def spoken(rng, vocabulary):
    return rng.choice(["", "", " ", "\t"]) + "".join(rng.choice(vocabulary) + rng.choice(GAPS)
                                                     for _ in range(rng.choice([0, 1, 3, 8, 25, 90])))


def error_rates(rng):
    vocabulary = SPOKEN[: rng.choice([2, 4, 11])]
    references = [spoken(rng, vocabulary) for _ in range(rng.choice([1, 1, 2, 4]))]
    hypotheses = []
    for text in references:
        changed = text.split(" ")
        for _ in range(rng.choice([0, 1, 3, 9])):
            at = rng.randrange(len(changed) + 1)
            changed[at : at + rng.choice([0, 1, 2])] = [rng.choice(vocabulary) for _ in range(rng.choice([0, 1, 2]))]
        hypotheses.append(" ".join(changed) if rng.random() < 0.7 else spoken(rng, vocabulary))
    out = {"hypotheses": hypotheses, "references": references}
    for name, found, rate in (("words", jiwer.process_words(references, hypotheses), "wer"),
                              ("characters", jiwer.process_characters(references, hypotheses), "cer")):
        out[name] = [getattr(found, rate), found.hits, found.substitutions, found.insertions, found.deletions]
    return out


# The bootstrap with the counter-based generator of src/base/random.h and NumPy's percentiles; also scipy's interval, with its own draws.


def mix(z):
    z = (z + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def means_of(values, resamples, seed):
    size = len(values)
    draw = [[mix(mix(seed) ^ mix((b * size + i + 0x6A09E667F3BCC909) % 2**64)) % size for i in range(size)] for b in range(resamples)]
    return np.array(values)[np.array(draw)].mean(axis=1)


def bootstrap(rng):
    size, resamples, seed, confidence = (
        rng.choice([1, 2, 12, 40]),
        rng.choice([1, 50, 200]),
        rng.randrange(2**40),
        rng.choice([0.95, 0.95, 0.5]),
    )
    numbers = np.random.default_rng(seed)
    first, second = numbers.normal(0.1, 1, size), numbers.normal(0, 1, size)
    if rng.random() < 0.3:
        first, second = (first > 0).astype(float), (second > 0).astype(float)  # right or wrong
    shares = [50 * (1 - confidence), 50 * (1 + confidence)]
    means, differences, difference = means_of(first, resamples, seed), means_of(first - second, resamples, seed), np.mean(first - second)
    beyond = np.sum(np.abs(differences - difference) >= abs(difference) - 1e-12)
    return {
        "first": first, "second": second, "resamples": resamples, "seed": seed, "confidence": confidence,
        "mean": [np.mean(first), *np.percentile(means, shares)], "difference": [difference, *np.percentile(differences, shares)],
        "p": (1 + beyond) / (1 + resamples),
    }


def large_bootstrap(seed):
    numbers = np.random.default_rng(seed)
    first, second = numbers.gamma(2, 1, 150), numbers.gamma(2, 0.9, 150)
    found = scipy.stats.bootstrap((first,), np.mean, method="percentile", n_resamples=100000, rng=numbers).confidence_interval
    return {"first": first, "second": second, "interval": [found.low, found.high], "p": scipy.stats.ttest_rel(first, second).pvalue}


# Python's strings (tests/text).


def strings(rng):
    pieces = ["Σ", "ΑΣ", "ΑΣΣ", "Σ.", "Σ'", "’", "\u0301", "\u00ad", "·", "ª", "Ⅷ", "Ⓐ", "A", "z", "ʰ", "ǅ", "İ", "ẞ", "猫", "1", " ",
              "\x1c", "\u0085", "\u2028", "\u200b", "\u3000", ":", "^", "\u0345"]
    text = "".join(rng.choice(pieces) for _ in range(rng.choice([0, 1, 3, 8, 20])))
    return {"text": text, "lower": text.lower(), "strip": text.strip(), "strip_end": text.rstrip(), "split": text.split()}


def main():
    warnings.simplefilter("ignore")
    loaded = importlib.util.spec_from_file_location("squad1", sys.argv[1])
    official = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(official)
    OUT.mkdir(exist_ok=True)
    made = [(classification, 40), (multi_label, 20), (regression, 25), (tagging, 40), (rouge, 25), (ranking, 30), (binary, 30),
            (error_rates, 50), (bootstrap, 12), (strings, 60)]
    for at, (make, count) in enumerate(made):
        rng = random.Random(1000 * SEED + at)
        write(make.__name__, [make(rng) for _ in range(count * TIMES)])
    rng = random.Random(1000 * SEED + 99)
    write("answers", [answers(rng, official) for _ in range(30 * TIMES)])
    write("large_bootstrap", [large_bootstrap(seed) for seed in (1, 2, 3)])


if __name__ == "__main__":
    main()
