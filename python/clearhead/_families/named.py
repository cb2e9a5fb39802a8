"""Modules whose attention is no map of queries and keys, or is computed from parts of it: they are named in `left_out`."""

from . import register

_SAMPLED = "its weights are of points that it samples from a picture, not of queries and keys"
_LINEAR = "it is linear attention: a softmax over single tokens, and no weights of queries and keys"
_HASHED = "it computes attention in chunks of tokens that it has sorted or hashed"
_APPROXIMATED = "it approximates attention, and the weights of queries and keys never exist"
_BLOCKS = "it computes attention in blocks of the text, each with keys of its own"

_REASONS = {
    **dict.fromkeys((
        "DFineMultiscaleDeformableAttention", "DeformableDetrMultiscaleDeformableAttention", "Deimv2MultiscaleDeformableAttention",
        "GroundingDinoMultiscaleDeformableAttention", "LwDetrMultiscaleDeformableAttention", "MMGroundingDinoMultiscaleDeformableAttention",
        "Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention", "OmDetTurboMultiscaleDeformableAttention",
        "OneFormerPixelDecoderEncoderMultiscaleDeformableAttention", "PPDocLayoutV2MultiscaleDeformableAttention",
        "PPDocLayoutV3MultiscaleDeformableAttention", "PPDocLayoutV4MultiscaleDeformableAttention", "RTDetrMultiscaleDeformableAttention",
        "RTDetrV2MultiscaleDeformableAttention", "RfDetrMultiscaleDeformableAttention"), _SAMPLED),
    **dict.fromkeys(("MobileViTV2LinearSelfAttention", "SwiftFormerEfficientAdditiveAttention"), _LINEAR),
    **dict.fromkeys(("LSHSelfAttention", "LocalSelfAttention"), _HASHED),
    **dict.fromkeys(("NystromformerSelfAttention", "MraSelfAttention", "YosoSelfAttention"), _APPROXIMATED),
    **dict.fromkeys(("BigBirdBlockSparseAttention", "BigBirdPegasusBlockSparseAttention"),
                    _BLOCKS + '; attention_type="original_full" computes attention whose map is shown'),
    **dict.fromkeys(("LongT5LocalAttention", "LongT5TransientGlobalAttention", "PegasusXGlobalLocalAttention"), _BLOCKS),
    "InformerProbSparseAttention": "only some queries attend, which it chooses by a sample of their scores",
    "AutoformerAttention": "it aggregates delays of a series by their autocorrelation",
    "GroupViTAssignAttention": "its softmax is over queries (groups), not over keys",
}


def name(watch, module, reason):
    """Puts a module into left_out, or raises UnsupportedError if it is edited."""
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
        return True

    @staticmethod
    def attended(watch, module, positional, keywords, result):
        name(watch, module, _REASONS[type(module).__name__])
        return result
