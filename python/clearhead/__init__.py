"""Attention you can see through: fused, exact, at any length.

    out, record = ch.attend(q, k, v, topology=ch.causal(window=4096))   # numpy, torch, jax: anything with DLPack
    ch.Map(record).head(0, 5).row(99_000).top_k(8)                      # exact weights, recomputed when asked for

    model = ch.load("all-MiniLM-L6-v2")
    trace = model.trace("The cat sat on the mat.")
    trace.map(3).head(7).row(2).top_k(3)
    trace.view()
"""

from . import _from_arrays, _indexing, _models, _words
from ._attend import Map, attend
from ._core import (
    Additive,
    Alibi,
    Bias,
    Description,
    Dot,
    EdgeBias,
    Entmax15,
    Hard,
    KVCache,
    LayerMap,
    Linear,
    MapHead,
    MapRow,
    Model,
    Record,
    Relative,
    Rule,
    RuleTable,
    RuleTruth,
    RuleValue,
    Sigmoid,
    SoftCap,
    Softmax,
    Sparsemax,
    Topology,
    Trace,
    Weighted,
    __version__,
    alibi_2d,
    big_bird,
    block_sparse,
    causal,
    dilated,
    elu_plus_one,
    exp,
    fixed,
    floor,
    full,
    graph,
    instruction_set,
    load,
    local_p,
    log,
    longformer,
    mask,
    maximum,
    minimum,
    orthogonal_projection,
    positive_random_features,
    prefix_lm,
    relative_2d,
    rule,
    segments,
    select_same_bucket,
    select_top_blocks,
    select_top_keys,
    set_threads,
    sqrt,
    strided,
    t5_bias,
    table,
    tanh,
    temperature,
    threads,
    visible,
    where,
    window,
)
from .errors import (
    BudgetError,
    CancelledError,
    Error,
    FileError,
    FormatError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    ShapeError,
    StaleError,
    TooLongError,
    UnsupportedError,
)

# imported on first access, because importing torch takes seconds, and numpy a tenth of a second
_IMPORTED_LATE = {
    "_watch": ("edits", "watch"),
    "_explain": ("Evidence", "Explanation", "HeadWeights", "cite", "explain", "explanation_methods", "learn_head_weights"),
    "_eviction": ("Eviction", "eviction_policies"),
    "_circuits": ("Circuits", "HeadEffects", "circuits", "head_effects"),
    "_operator": ("register",),
}
_MODULE_OF = {name: module for module, names in _IMPORTED_LATE.items() for name in names}
__all__ = [name for name in dir() if not name.startswith("_")] + list(_MODULE_OF)


def __getattr__(name):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'clearhead' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def _wait_for_transformers():
    from . import _hook

    _hook.install()


_wait_for_transformers()
