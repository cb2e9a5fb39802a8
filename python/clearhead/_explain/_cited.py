"""Cited: the run of a model over documents, a question and an answer, as the ways to rank documents need it."""

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError
from ._evidence import Sentence
from ._prompt import Prompt
from ._run import Run, check_padding
from ._trust import Removals
from .answers import Question, answer_of
from .answers._words import decoded


class Cited:
    """An answer to a prompt with documents. Made inside evaluated(model).

    Attributes
    ----------
    run : Run
        The run over prompt and answer, with its attention.
    answer : Answer
        All tokens of the answer. sentences: its sentences, list of Sentence.
    seed : int
        Of the random removals.
    names, texts : list of str
        The names and the texts of the documents. ranges: the range of the tokens of each, [(begin, end)].
    """

    def __init__(self, model, tokenizer, question, documents, messages, answer, max_tokens, budget, seed):
        if not documents or len(documents) < 2:
            raise InvalidArgumentError(f"cite: {len(documents or ())} documents; expected two or more")
        self.model, self.tokenizer, self.budget, self.seed = model, tokenizer, budget, seed
        self.prompt = Prompt.of(model, tokenizer, question, messages, documents)
        check_padding(self.prompt.inputs)
        asked = Question(model, tokenizer, self.prompt, None, None, True if answer is None else answer, max_tokens)
        self.answer = answer_of(asked)
        self.run = Run(model, tokenizer, self.prompt, self.answer, budget).capture(False)
        self.names, self.ranges = map(list, zip(*self.run.ranges_of(self.prompt.named)))
        self.texts = [self.run.trace.text[begin:end] for _, begin, end in self.prompt.named]
        self.sentences = self._sentences()

    def _sentences(self):
        """The sentences of the answer, each with its tokens; every token belongs to one sentence."""
        ids, (text, ends) = self.answer.ids, decoded(self.run.vocabulary, self.answer.ids)
        log_p = self.run.log_probabilities([[]])[0]
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

    def removals(self, count, stream=0):
        """Returns the Removals of `count` random sets of documents. Streams are independent of each other."""
        sets = np.array(_core._random_document_sets(len(self.ranges), count, self.seed + (stream << 32)), bool)
        sets = sets.reshape(count, len(self.ranges))
        return Removals(sets, self.drops(sets))

    def drops(self, sets):
        """The drop of each sentence's log-probability for each removal, f64 [sentence, removal]. sets: bool [removal, document]."""
        removed = [[at for of in np.flatnonzero(one) for at in range(*self.ranges[of])] for one in sets]
        log_p = self.run.log_probabilities(removed) if removed else np.zeros((0, len(self.answer.ids)))
        return np.array([[one.log_probability - row[one.tokens.start : one.tokens.stop].sum() for row in log_p] for one in self.sentences])

    def attention(self):
        """The attention that each sentence pays to the prompt, as the mean over its tokens.

        Returns (layers, to documents, to the rest): [(family, layer)], and for each of these f64 [sentence, document, head] and f64
        [sentence, head]. A token's attention is that of the position that predicts it. The rest has the removable tokens of the prompt
        outside documents, so not those that the tokenizer adds.
        """
        layers, to_documents, to_rest = [], [], []
        side = "dec" if self.answer.side else self.run.side
        queries_of_side = self.run.families[side][0]
        rest = set(self.run.removable()).difference(*(range(*of) for of in self.ranges))
        for family, layer, *_ in self.run.sites:
            queries, (begin, end) = self.run.families[family]
            if queries != queries_of_side or not all(begin <= first and last <= end for first, last in self.ranges):
                continue
            found = self.run.trace.map(layer, family)
            outside = [at - begin for at in sorted(rest) if begin <= at < end]
            documents, others = zip(*(self._of_sentence(found, one, begin, outside) for one in self.sentences))
            layers.append((family, layer))
            to_documents.append(np.array(documents))
            to_rest.append(np.array(others))
        if not layers:
            raise InvalidArgumentError("cite: no attention layer of this model leads from the answer to the documents")
        return layers, to_documents, to_rest

    def _of_sentence(self, found, sentence, begin, outside):
        documents, rest = 0.0, 0.0
        for token in sentence.tokens:
            weights = np.asarray(found._rows(self.answer.rows[token]), np.float64)  # [head, key]
            before = np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(1)], 1)
            documents = documents + np.array([before[:, last - begin] - before[:, first - begin] for first, last in self.ranges])
            rest = rest + weights[:, outside].sum(1)
        return documents / len(sentence.tokens), rest / len(sentence.tokens)
