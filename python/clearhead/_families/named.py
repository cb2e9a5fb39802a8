"""Modules whose attention is not a map of queries and keys, or is computed from parts of one: they are listed in `left_out`."""

from . import register

_SAMPLED = "it attends to sampled points of a picture (deformable attention), not to keys"
_CONTEXT = "it is linear attention: one softmax over all tokens gives one context vector, so there are no weights for each query"
_ADDITIVE = "it is additive attention with one sum over all queries, so there is no weight for each pair of a query and a key"
_HASHED = "it sorts tokens by hash and attends within chunks of the sorted tokens, in several rounds"
_CHUNKS = "it attends in chunks of the text, each with its own keys, and writes softmax as exp(s - logsumexp(s))"
_LANDMARKS = "it approximates attention by averages of tokens (landmarks), so weights for pairs of a query and a key never exist"
_RESOLUTIONS = "it approximates attention by some blocks of weights and averages of the others, so a whole row never exists"
_SPHERES = "it estimates weights (1 - angle / pi)^n by hashes instead of softmax, in its own kernel"
_BLOCKS = "it computes attention in blocks of the text, each with its own keys"
_DELAYS = (
    "its softmax is over the delays of a series that correlate most; it sums shifted values and has no weights for pairs of query and key"
)

_REASONS = {
    **dict.fromkeys((
        "DFineMultiscaleDeformableAttention", "DeformableDetrMultiscaleDeformableAttention", "Deimv2MultiscaleDeformableAttention",
        "GroundingDinoMultiscaleDeformableAttention", "LwDetrMultiscaleDeformableAttention", "MMGroundingDinoMultiscaleDeformableAttention",
        "Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention", "OmDetTurboMultiscaleDeformableAttention",
        "OneFormerPixelDecoderEncoderMultiscaleDeformableAttention", "PPDocLayoutV2MultiscaleDeformableAttention",
        "PPDocLayoutV3MultiscaleDeformableAttention", "PPDocLayoutV4MultiscaleDeformableAttention", "RTDetrMultiscaleDeformableAttention",
        "RTDetrV2MultiscaleDeformableAttention", "RfDetrMultiscaleDeformableAttention"), _SAMPLED),
    "MobileViTV2LinearSelfAttention": _CONTEXT,
    "SwiftFormerEfficientAdditiveAttention": _ADDITIVE,
    "LSHSelfAttention": _HASHED,
    "LocalSelfAttention": _CHUNKS,
    "NystromformerSelfAttention": _LANDMARKS,
    "MraSelfAttention": _RESOLUTIONS,
    "YosoSelfAttention": _SPHERES,
    **dict.fromkeys(("BigBirdBlockSparseAttention", "BigBirdPegasusBlockSparseAttention"),
                    _BLOCKS + '; attention_type="original_full" computes attention whose map is shown'),
    **dict.fromkeys(("LongT5LocalAttention", "LongT5TransientGlobalAttention", "PegasusXGlobalLocalAttention"), _BLOCKS),
    "InformerProbSparseAttention": "it computes attention only for some queries, which it selects by sampled scores",
    "AutoformerAttention": _DELAYS,
    "PatchTSMixerGatedAttention": "its softmax is a gate over the features of each position; it has no weights for pairs of query and key",
    "GroupViTAssignAttention": "its softmax is over queries (groups), not over keys",
}


def name(watch, module, reason):
    """Adds a module to left_out, or raises UnsupportedError if the watch has edits."""
    path = watch.paths[id(module)] or type(module).__name__
    if watch._edits:
        kept = watch._layer(path, module)
        kept.problem = reason
        watch._edited(kept)
    else:
        watch.leave_out(path, reason)


@register(*_REASONS)
class Named:
    @staticmethod
    def fits(module):
        """Returns False for a Nystromformer with one landmark per token: it computes exact attention, which the recorder follows."""
        return not 0 < getattr(module, "num_landmarks", 0) == getattr(module, "seq_len", None)

    @staticmethod
    def attended(watch, module, positional, keywords, result):
        name(watch, module, _REASONS[type(module).__name__])
        return result
