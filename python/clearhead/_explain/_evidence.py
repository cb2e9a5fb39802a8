"""Evidence: the sentences of an answer and the documents that they depend on, with shares, measured drops and trust."""

import html
import json
import math
import os

import numpy as np

from .. import _core


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
        The part of the other tokens of the prompt: the question and the chat template. 0 for "surrogate", which never removes them.
    expected : f64 array [document]
        The share that a document would have by its length alone.
    drops : f64 array [sentence, document]
        The decrease of the sentence's log-probability when no token attends to the document, measured by running the model.
    trust : dict of str to (mean, low, high)
        The linear datamodeling score (Park et al. 2023): random sets of about half of the documents are removed, and the drop of each
        sentence is measured and predicted, as the sum of the shares of the removed documents. The score is the rank correlation of both,
        averaged over sentences, with its 95 % interval over removals. "shares" is the score of the shares, "bm25" that of similarity of
        words, and "random" that of random shares, with the interval that contains 95 % of them. Shares that score no higher than these
        baselines do not predict the drops.
    method : str
        The attribution method, "head weights" or "surrogate".
    trace : Trace
        The attention of the run over prompt and answer.
    """

    def __init__(self, sentences, documents, shares, elsewhere, expected, drops, trust, method, trace, texts):
        self.sentences, self.documents, self.shares, self.elsewhere = sentences, documents, shares, elsewhere
        self.expected, self.drops, self.trust, self.method, self.trace = expected, drops, trust, method, trace
        self._texts = texts

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
        """Writes the evidence to a page: the sentences on the left, the documents on the right. Either completely or not at all."""
        page = _core._evidence_page("Evidence", json.dumps(self.to_dict()), self._texts)
        part = f"{path}.part"
        with open(part, "w", encoding="utf-8") as file:
            file.write(page)
        os.replace(part, path)
