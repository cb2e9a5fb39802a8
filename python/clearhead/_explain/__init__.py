"""ch.explain: attributes an answer of a PyTorch model to parts of its input.

    _prompt.py      the text, the tokens and the named parts of what the model reads
    answers/        the kinds of answers: one file for each kind, which registers itself
    _run.py         runs the model: its attention and gradients, scaled inputs, and removed tokens
    _blocks.py      finds the output projection and the residual connection around an attention layer
    _result.py      Explanation
    _cite.py        the evidence table: the documents behind each sentence of an answer

The attribution methods are those of the command line: they replay the calls of the watched run in C++ (explain/replayed_target.h). What
only the model can compute comes from _run.py.
"""

from ._cite import Evidence, cite
from ._explain import explain, explanation_methods
from ._result import Explanation, Part

__all__ = ["Evidence", "Explanation", "Part", "cite", "explain", "explanation_methods"]
