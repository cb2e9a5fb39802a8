"""Shares of documents by an attribution method: one run forward and back for each sentence."""

import numpy as np

from .._explain import METHODS, Options, _Explained
from .._run import Run
from ..answers import Question, answer_of
from . import normalized


class ByAttribution:
    """Sums the shares that a method of explanation_methods() gives to the tokens of each document; negative shares count 0."""

    def __init__(self, name):
        self.method, self.name = METHODS[name], name

    def shares(self, cited):
        of_tokens = np.array([self._shares_of_tokens(cited, sentence) for sentence in cited.sentences])
        of_documents = np.array([of_tokens[:, begin:end].sum(1) for begin, end in cited.ranges]).T
        return normalized(of_documents, of_tokens[:, : cited.answer.given].sum(1) - of_documents.sum(1))

    def _shares_of_tokens(self, cited, sentence):
        target = (sentence.tokens.start, sentence.tokens.stop)
        answer = answer_of(Question(cited.model, cited.tokenizer, cited.prompt, target, None, cited.answer.ids))
        answer.sums_logits = True  # the gradient of a log-probability vanishes where the model is certain
        explained = _Explained(Run(cited.model, cited.tokenizer, cited.prompt, answer, cited.budget), [self.method], "tokens", Options())
        shares = np.zeros(len(cited.run.trace.ids))
        for part, share in zip(explained.parts, explained.shares[self.name]):
            shares[part.tokens.start] = max(0.0, share)
        return shares
