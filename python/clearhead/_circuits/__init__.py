"""ch.circuits and ch.head_effects: heads of a transformers decoder as circuits.

    _weights.py     finds the matrices of a model: embeddings, norms, projections; refuses what it does not know
    _circuits.py    Circuits: what heads read and write over the vocabulary, copying, composition, induction
    _effects.py     head_effects(): ablation, activation patching and path patching, by runs of the model

The matrices over vocabulary × vocabulary are computed in C++ (explain/circuits.h), as for `clearhead circuits`.
"""

from ._circuits import Circuits, Head, circuits
from ._effects import HeadEffects, head_effects

__all__ = ["Circuits", "Head", "HeadEffects", "circuits", "head_effects"]
