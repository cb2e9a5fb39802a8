"""ch.explain: attributes an answer of a PyTorch model to parts of its input.

    _prompt.py      the text, the tokens and the named parts of what the model reads
    answers/        the kinds of answers: one file for each kind, which registers itself
    _run.py         runs the model: its attention and gradients, scaled inputs, and removed tokens
    _blocks.py      finds the output projection and the residual connection around an attention layer
    _result.py      Explanation
    _cite.py        cite(), the documents behind each sentence of an answer, and learn_head_weights()
    _cited.py       a run over documents and an answer: its sentences, measured drops, and attention
    _trust.py       random removals and rank correlation
    _evidence.py    Evidence, the table
    rankings/       the ways to give documents their shares: one file for each way

The attribution methods are those of the command line: they replay the calls of the watched run in C++ (explain/replayed_target.h). What
only the model can compute comes from _run.py.
"""

from ._cite import cite, learn_head_weights
from ._evidence import Evidence
from ._explain import explain, explanation_methods
from ._result import Explanation, Part
from .rankings.head_weights import HeadWeights

__all__ = ["Evidence", "Explanation", "HeadWeights", "Part", "cite", "explain", "explanation_methods", "learn_head_weights"]
