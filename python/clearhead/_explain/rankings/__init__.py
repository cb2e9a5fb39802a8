"""The ways to give each document of a prompt its share in the sentences of an answer. A way is one file with a class that has

name : str
    The name in the evidence table.
shares(cited) : function
    Returns (shares, elsewhere) of a Cited (_cited.py): f64 [sentence, document], each at least 0, and f64 [sentence], the part of the
    other tokens of the prompt. The shares of a sentence and its `elsewhere` sum to 1; they are NaN if nothing was found.
"""

import numpy as np


def normalized(scores, rest):
    """Returns (shares, elsewhere) from the scores of documents [sentence, document] and of the rest of the prompt [sentence]. Negative
    scores count 0."""
    scores, rest = np.maximum(scores, 0.0), np.maximum(rest, 0.0)
    total = scores.sum(1) + rest
    total[total == 0] = np.nan
    return scores / total[:, None], rest / total
