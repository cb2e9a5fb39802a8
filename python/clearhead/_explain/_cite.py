"""cite(): an evidence table. It shows how much each sentence of an answer depends on each document, by shares and by measured drops."""

import html
import math
import re

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError
from ._explain import Options, _Explained, _method_named
from ._prompt import Prompt
from ._run import Run, check_padding, evaluated
from .answers import Question, answer_of
from .answers._words import decoded


class Sentence(str):
    """A sentence of the answer. tokens: the range of its tokens in the answer. log_probability: of these tokens, given those before."""

    __slots__ = ("log_probability", "tokens")

    def __new__(cls, text, tokens, log_probability):
        sentence = super().__new__(cls, text)
        sentence.tokens, sentence.log_probability = tokens, log_probability
        return sentence


class Evidence:
    """The evidence table of an answer.

    Attributes
    ----------
    sentences : list of Sentence
        The sentences of the answer.
    documents : list of str
        The names of the documents.
    shares : f64 array [sentence, document]
        The document's part of the total share that `method` gives to the prompt; the rest is `elsewhere`.
    elsewhere : f64 array [sentence]
        The part of the other tokens of the prompt: the question and the chat template.
    expected : f64 array [document]
        The share that a document would have by its length alone.
    drops : f64 array [sentence, document]
        The decrease of the sentence's log-probability when no token attends to the document, measured by running the model.
    trust : dict of str to (mean, low, high)
        The linear datamodeling score (Park et al. 2023): random sets of about half of the documents are removed, and the drop of each
        sentence is measured and predicted, as the sum of the shares of the removed documents. The score is the rank correlation of both,
        averaged over sentences, with its 95 % interval over removals. "shares" is the score of the shares; "bm25" and "random" are those
        of two baselines, similarity of words and random shares. Shares that score no higher than the baselines do not predict the drops.
    method : str
        The attribution method.
    trace : Trace
        The attention of the run over prompt and answer.
    """

    def __init__(self, sentences, documents, shares, elsewhere, expected, drops, trust, method, trace):
        self.sentences, self.documents, self.shares, self.elsewhere = sentences, documents, shares, elsewhere
        self.expected, self.drops, self.trust, self.method, self.trace = expected, drops, trust, method, trace

    def __repr__(self):
        low, high = self.trust["shares"][1:]
        return (f"clearhead.Evidence({len(self.sentences)} sentences, {len(self.documents)} documents, {self.method}; correlation with "
                f"measured drops {self.trust['shares'][0]:.2f} [{low:.2f}, {high:.2f}])")

    def top(self, sentence, count=3):
        """Returns [(document, share, expected share, drop)] of a sentence (its index), the largest shares first."""
        order = np.argsort(-self.shares[sentence], kind="stable")[:count]
        return [(self.documents[at], float(self.shares[sentence, at]), float(self.expected[at]), float(self.drops[sentence, at]))
                for at in order]

    def table(self, count=3):
        """Returns the evidence as text: for each sentence the `count` documents with the largest shares."""
        width = max(len(name) for name in self.documents)
        lines = [f"{'document'.ljust(width)}  {'share':>7}  {'by length':>9}  {'drop':>8}"]
        for at, sentence in enumerate(self.sentences):
            lines += ["", f"{' '.join(sentence.split())}  (log-probability {sentence.log_probability:.3g})"]
            lines += [f"{name.ljust(width)}  {share:7.1%}  {expected:9.1%}  {drop:8.3g}" for name, share, expected, drop in
                      self.top(at, count)]
        lines += ["", *self._lines_of_trust()]
        return "\n".join(lines)

    def _lines_of_trust(self):
        names = {"shares": f"shares ({self.method})", "bm25": "similarity of words (BM25)", "random": "random shares"}
        return ["rank correlation of predicted and measured drops, mean and 95 % interval:"] + [
            f"  {names[name]}: {mean:.2f} [{low:.2f}, {high:.2f}]" for name, (mean, low, high) in self.trust.items()]

    def to_dict(self):
        """Returns the evidence as a dict that json.dumps accepts."""
        number = lambda value: None if math.isnan(value) else float(value)
        rows = [{"text": str(sentence), "tokens": [sentence.tokens.start, sentence.tokens.stop],
                 "log_probability": sentence.log_probability, "elsewhere": number(self.elsewhere[at]),
                 "documents": [{"name": name, "share": number(self.shares[at, of]), "drop": number(self.drops[at, of])}
                               for of, name in enumerate(self.documents)]} for at, sentence in enumerate(self.sentences)]
        return {"method": self.method, "sentences": rows,
                "documents": [{"name": name, "expected": number(self.expected[of])} for of, name in enumerate(self.documents)],
                "trust": {name: dict(zip(("mean", "low", "high"), map(number, of))) for name, of in self.trust.items()}}

    def _repr_html_(self):
        """A table: one row for each sentence, one column for each document, coloured by share, with the drop below it."""
        head = "".join(f"<th>{html.escape(name)}<br><small>by length {expected:.1%}</small></th>"
                       for name, expected in zip(self.documents, self.expected))
        rows = []
        for at, sentence in enumerate(self.sentences):
            cells = "".join(f'<td style="background: rgba(31, 111, 139, {share:.3f})">{share:.1%}<br><small>drop {drop:.3g}</small></td>'
                            for share, drop in zip(self.shares[at], self.drops[at]))
            rows.append(f'<tr><td style="text-align: left">{html.escape(sentence)}</td>{cells}<td>{self.elsewhere[at]:.1%}</td></tr>')
        trust = "<br>".join(map(html.escape, self._lines_of_trust()))
        return f"<table><tr><th>sentence</th>{head}<th>elsewhere</th></tr>{''.join(rows)}</table><p>{trust}</p>"

    def to_html(self, path):
        """Writes the table to a page, either completely or not at all."""
        import os

        part = f"{path}.part"
        with open(part, "w", encoding="utf-8") as file:
            file.write(f'<!doctype html><meta charset="utf-8"><title>Evidence</title><body>{self._repr_html_()}</body>\n')
        os.replace(part, path)


def cite(model, tokenizer=None, question=None, documents=None, *, messages=None, answer=None, method="information-flow", removals=32,
         seed=1, max_tokens=128, budget=2 << 30):
    """Finds the documents that each sentence of an answer depends on.

        evidence = ch.cite(model, tokenizer, "Who was elected?", documents)
        print(evidence.table())

    The shares come from one run forward and back for each sentence; they explain the sum of the logits of its tokens, because the gradient
    of a log-probability vanishes where the model is certain. The drops are measured: one run without each document, for all
    sentences at once. `removals` further runs without random halves of the documents measure how far the shares can be trusted.

    Parameters
    ----------
    model, tokenizer, documents, messages, max_tokens, budget : as in explain()
    question : str
        The text after the documents.
    answer : str, optional
        A given answer. Default: what the model generates.
    method : str
        One of explanation_methods(), except flow and alti, which are for short texts.
    removals : int
        Number of random removals for Evidence.trust; 0 leaves it out (NaN).
    seed : int
        Of the random removals.

    Returns
    -------
    Evidence

    Raises
    ------
    InvalidArgumentError
        Fewer than two documents, or no question. Other errors as explain().
    """
    if not documents or len(documents) < 2:
        raise InvalidArgumentError(f"cite: {len(documents or ())} documents; expected two or more")
    chosen = _method_named(method)
    read = Prompt.of(model, tokenizer, question, messages, documents)
    check_padding(read.inputs)
    with evaluated(model):
        whole = answer_of(Question(model, tokenizer, read, None, None, True if answer is None else answer, max_tokens))
        run = Run(model, tokenizer, read, whole, budget).capture(False)
        names, ranges = map(list, zip(*run.ranges_of(read.named)))
        sentences = _sentences(run, whole)
        found = [_shares_of(model, tokenizer, read, whole, sentence, chosen, budget, ranges) for sentence in sentences]
        shares, elsewhere = np.array([of for of, _ in found]), np.array([rest for _, rest in found])
        sets = _random_sets(len(ranges), removals, seed)
        drops, random_drops = _drops(run, ranges, sentences, np.eye(len(ranges), dtype=bool), sets)
    texts = [run.trace.text[begin:end] for _, begin, end in read.named]
    length = np.array([end - begin for begin, end in ranges], np.float64)
    predictions = {"shares": shares, "bm25": np.array([_bm25(sentence, texts) for sentence in sentences]),
                   "random": np.random.default_rng(seed).random(shares.shape)}
    trust = {name: _trust(of, sets, random_drops, seed) for name, of in predictions.items()}
    return Evidence(sentences, names, shares, elsewhere, length / len(run.removable()), drops, trust, method, run.trace)


def _sentences(run, answer):
    """The sentences of the answer, each with its tokens; every token belongs to one sentence."""
    ids, (text, ends) = answer.ids, decoded(run.vocabulary, answer.ids)
    log_p = run.log_probabilities([[]])[0]
    begin, at, out = 0, 0, []
    for part in _core._sentences(text):
        stop = text.find(part, at) + len(part)
        end = next((token + 1 for token, reached in enumerate(ends) if reached >= stop), len(ids))
        if end > begin:
            out.append(Sentence(text[at:stop], range(begin, end), float(log_p[begin:end].sum())))
            begin, at = end, stop
    if begin < len(ids) and out:
        last = out[-1]
        out[-1] = Sentence(str(last) + text[at:], range(last.tokens.start, len(ids)), float(log_p[last.tokens.start :].sum()))
    return out or [Sentence(text, range(len(ids)), float(log_p.sum()))]


def _shares_of(model, tokenizer, read, whole, sentence, method, budget, ranges):
    """Returns (share of each document, share of the rest of the prompt) for one sentence."""
    target = (sentence.tokens.start, sentence.tokens.stop)
    asked = answer_of(Question(model, tokenizer, read, target, None, whole.ids))
    asked.sums_logits = True
    explained = _Explained(Run(model, tokenizer, read, asked, budget), [method], "tokens", Options())
    of_tokens = np.zeros(len(explained.run.trace.ids))
    for part, share in zip(explained.parts, explained.shares[method.name]):
        of_tokens[part.tokens.start] = max(0.0, share)
    prompt = of_tokens[: whole.given].sum()
    of_documents = np.array([of_tokens[begin:end].sum() for begin, end in ranges]) / (prompt or 1.0)
    return of_documents, 1 - of_documents.sum() if prompt > 0 else math.nan


def _random_sets(documents, count, seed):
    """Random removals, bool [removal, document], each of at least one document and not of all."""
    random, out = np.random.default_rng(seed), []
    while len(out) < count:
        one = random.random(documents) < 0.5
        if 0 < one.sum() < documents:
            out.append(one)
    return np.array(out, bool).reshape(count, documents)


def _drops(run, ranges, sentences, *groups):
    """For each group of removals, bool [removal, document]: the drop of each sentence's log-probability, f64 [sentence, removal]."""
    out = []
    for group in groups:
        sets = [[at for of in np.flatnonzero(removed) for at in range(*ranges[of])] for removed in group]
        log_p = run.log_probabilities(sets) if sets else np.zeros((0, len(run.answer.ids)))
        out.append(np.array([[one.log_probability - row[one.tokens.start : one.tokens.stop].sum() for row in log_p] for one in sentences]))
    return out


def _words(text):
    return re.findall(r"\w+", text.lower())


def _bm25(query, texts, k=1.5, b=0.75):
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


def _trust(predicted, sets, drops, seed, resamples=500):
    """The mean over sentences of the rank correlation of predicted and measured drops, and its 95 % bootstrap interval over removals."""
    if len(sets) < 3:
        return math.nan, math.nan, math.nan
    sums = predicted @ sets.T.astype(np.float64)  # [sentence, removal]
    mean = lambda which: float(np.mean([_rank_correlation(one[which], of[which]) for one, of in zip(sums, drops)]))
    random = np.random.default_rng(seed)
    drawn = [mean(random.integers(0, len(sets), len(sets))) for _ in range(resamples)]
    return mean(slice(None)), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
