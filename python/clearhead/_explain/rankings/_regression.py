"""Linear regression with a penalty or without negative coefficients, by coordinate descent."""

import numpy as np

LARGEST_CHANGE, SWEEPS = 1e-8, 1000


def fit(gram, moments, penalty=0.0, is_positive=False):
    """Minimizes ½ wᵀ·gram·w − moments·w + penalty·Σ|w|, with w ≥ 0 if is_positive, and returns w.

    With features X [sample, feature] and values y: gram = Xᵀ·X / samples, moments = Xᵀ·y / samples. Features that are always 0 get 0.
    """
    weights, scale = np.zeros(len(moments)), max(np.abs(moments).max(initial=0.0), 1e-300)
    used = np.flatnonzero(np.diag(gram) > 0)
    for _ in range(SWEEPS):
        largest = 0.0
        for at in used:
            residual = moments[at] - gram[at] @ weights + gram[at, at] * weights[at]
            shrunk = max(0.0, abs(residual) - penalty) * np.sign(residual) / gram[at, at]
            new = max(0.0, shrunk) if is_positive else shrunk
            largest = max(largest, abs(new - weights[at]) * gram[at, at])
            weights[at] = new
        if largest <= LARGEST_CHANGE * scale:
            break
    return weights
