"""cite(): an evidence table. It shows how much each sentence of an answer depends on each document, by shares and by measured drops."""

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError
from ._cited import Cited
from ._evidence import Evidence
from ._run import evaluated
from ._trust import trust_of, trust_of_random
from .rankings import ranking_of
from .rankings.head_weights import HeadWeights, Sample, learned


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
    method : str or HeadWeights
        One of explanation_methods(), except flow, alti and value-zeroing, which are for short texts. Or the weights of heads that
        learn_head_weights() has learned: one run forward for all sentences. Or "surrogate": a sparse linear function that is fitted to 64
        further runs without random halves of the documents (ContextCite, Cohen-Wang et al. 2024).
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
        Fewer than two documents, or no question.
    ShapeError
        Weights of heads of another model.
    Other errors as explain().
    """
    ranking = ranking_of(method)
    with evaluated(model):
        cited = Cited(model, tokenizer, question, documents, messages, answer, max_tokens, budget, seed)
        shares, elsewhere = ranking.shares(cited)
        drops, measured = cited.drops(np.eye(len(cited.ranges), dtype=bool)), cited.removals(removals)
    length = np.array([end - begin for begin, end in cited.ranges], np.float64)
    similarity = np.array([_core._bm25(str(sentence), cited.texts) for sentence in cited.sentences])
    trust = {name: trust_of([of], [measured], seed) for name, of in (("shares", shares), ("bm25", similarity))}
    trust["random"] = trust_of_random([measured], seed)
    return Evidence(cited.sentences, cited.names, shares, elsewhere, length / len(cited.run.removable()), drops, trust, ranking.name,
                    cited.run.trace, cited.texts)


def learn_head_weights(model, tokenizer, examples, *, removals=32, held_out=0.25, seed=1, max_tokens=128, budget=2 << 30):
    """Learns one weight for each attention head, with which attention alone predicts the effect of removing documents.

        weights = ch.learn_head_weights(model, tokenizer, [{"question": …, "documents": […]}, …])
        weights.save("weights.json")
        ch.cite(model, tokenizer, question, documents, method=weights)

    In the manner of AT2 (Cohen-Wang et al. 2025). For each example the model answers once, and `removals` runs without random halves of
    the documents measure the drops of the log-probability of each sentence. The weights are those, not negative, with which the attention
    of a sentence to the removed documents predicts its drop best (ridge regression). Attention is averaged over the tokens of a sentence.

    Parameters
    ----------
    examples : list of dict
        Arguments of cite(): "documents", "question" or "messages", and optionally "answer". They should resemble the later prompts.
    held_out : float
        Part of the examples on which HeadWeights.trust is measured; learning does not see them.
    model, tokenizer, removals, seed, max_tokens, budget : as in cite()

    Returns
    -------
    HeadWeights

    Raises
    ------
    InvalidArgumentError
        Fewer than two examples, unknown keys, or answers that no removal changes. Other errors as cite(), with the number of the example.
    """
    if len(examples) < 2 or not 0 < held_out < 1 or removals < 3:
        raise InvalidArgumentError(f"learn_head_weights: {len(examples)} examples, held_out={held_out}, removals={removals}; expected at "
                                   "least 2 examples, a part between 0 and 1, and at least 3 removals")
    known, samples, layers = {"question", "documents", "messages", "answer"}, [], None
    for number, example in enumerate(examples):
        if unknown := sorted(set(example) - known):
            raise InvalidArgumentError(f'learn_head_weights: examples[{number}] has "{unknown[0]}"; expected {", ".join(sorted(known))}')
        arguments = {name: example.get(name) for name in known}
        with evaluated(model):
            cited = Cited(model, tokenizer, **arguments, max_tokens=max_tokens, budget=budget, seed=seed + number)
            layers, attention, _ = cited.attention()
            samples.append(Sample(np.concatenate(attention, -1), cited.removals(removals)))
    sizes = [of.shape[-1] for of in attention]
    order = np.random.default_rng(seed).permutation(len(samples))
    count = min(len(samples) - 1, max(1, round(held_out * len(samples))))
    weights = learned([samples[at] for at in order[count:]])
    tests = [samples[at] for at in order[:count]]
    measured = [one.removals for one in tests]
    trust = {name: trust_of([one.predicted(of) for one in tests], measured, seed)
             for name, of in (("shares", weights), ("equal", np.ones_like(weights)))}
    trust["random"] = trust_of_random(measured, seed)
    return HeadWeights(layers, np.split(weights, np.cumsum(sizes)[:-1]), type(model).__name__, trust)
