"""Drop-in replacements of BertViz' head_view and model_view: import them from clearhead.bertviz instead of bertviz.

    output = model(**inputs, output_attentions=True)
    head_view(output.attentions, tokens)                     # tokens: the labels of rows and columns
    model_view(output.attentions, tokens, sentence_b_start)

The given weights become a Trace whose scores are their logarithms, so that the viewer shows them to within 1e-6. Such a trace stores all
N x N weights. `ch.watch` of a model does not store them, at any length.
"""

import re

import numpy as np

from . import _core
from .errors import InvalidArgumentError, ShapeError

_SUM = 5e-7  # largest deviation from 1 of the sum of a softmax row
_MARKS = ("\u0120", "\u2581")
_LARGEST_LOGIT = 40.0  # logit of a weight of 1: the logistic function is 1 there in f32


def head_view(attention=None, tokens=None, sentence_b_start=None, prettify_tokens=True, layer=None, heads=None, encoder_attention=None,
              decoder_attention=None, cross_attention=None, encoder_tokens=None, decoder_tokens=None, include_layers=None,
              html_action="view"):
    """Shows the tokens in two columns, with lines from each token to the tokens that it attends to, for each head.

    Parameters
    ----------
    attention : sequence of arrays [1, head, query, key], one per layer
        The weights, as `output_attentions=True` returns them.
    tokens : list of str
        One token for each query.
    sentence_b_start : int, optional
        Index of the first token of the second sentence.
    prettify_tokens : bool
        Join the pieces of words and remove the marks of the tokenizer.
    layer, heads : int, list of int, optional
        The layer and the heads that are shown first.
    encoder_attention, decoder_attention, cross_attention : sequence of arrays, optional
        Instead of `attention`, for an encoder-decoder: one, two or all three of them.
    encoder_tokens, decoder_tokens : list of str, optional
        The tokens of the source and of the target.
    include_layers : list of int, optional
        Numbers of the layers to keep. `attention` may have all layers or only these.
    html_action : {"view", "return"}
        Show the page, or return it as an IPython HTML object (as a str without IPython).

    Raises ShapeError, InvalidArgumentError.
    """
    trace = trace_of(attention, tokens, sentence_b_start, prettify_tokens, encoder_attention, decoder_attention, cross_attention,
                     encoder_tokens, decoder_tokens, include_layers)
    return _shown(trace, "lines", layer, heads, html_action)


def model_view(attention=None, tokens=None, sentence_b_start=None, prettify_tokens=True, display_mode="light", encoder_attention=None,
               decoder_attention=None, cross_attention=None, encoder_tokens=None, decoder_tokens=None, include_layers=None,
               include_heads=None, html_action="view"):
    """Shows all heads of all layers on one page; click a head to open it.

    Parameters as in head_view(), except: include_heads: the heads that are shown first. display_mode: accepted and ignored, because the
    page has its own setting. Raises ShapeError, InvalidArgumentError.
    """
    del display_mode
    trace = trace_of(attention, tokens, sentence_b_start, prettify_tokens, encoder_attention, decoder_attention, cross_attention,
                     encoder_tokens, decoder_tokens, include_layers)
    return _shown(trace, "atlas", None, include_heads, html_action)


def trace_of(attention=None, tokens=None, sentence_b_start=None, prettify_tokens=True, encoder_attention=None, decoder_attention=None,
             cross_attention=None, encoder_tokens=None, decoder_tokens=None, include_layers=None):
    """Returns the Trace behind the views. Its map(layer).head(h).row(i).weights equal the given weights to within 1e-6.

    Parameters as in head_view(). Raises ShapeError, InvalidArgumentError.
    """
    given = {"enc": encoder_attention, "dec": decoder_attention, "cross": cross_attention}
    given = {name: layers for name, layers in given.items() if layers is not None}
    if (attention is None) == (not given):
        raise InvalidArgumentError("attention: expected either attention, or any of encoder_attention, "
                                   "decoder_attention and cross_attention")
    if attention is not None:
        if tokens is None:
            raise InvalidArgumentError("tokens: missing; expected one token for each query")
        text, ranges = _text([("", tokens)], prettify_tokens)
        given = {"enc": attention}
        sides = {"enc": ("", "")}
        if sentence_b_start is not None:
            if not 0 < sentence_b_start < len(tokens):
                raise InvalidArgumentError(f"sentence_b_start: {sentence_b_start}; expected 1 to {len(tokens) - 1}, within the tokens")
            text["segments"] = [("first", "text", 0, sentence_b_start), ("second", "text", sentence_b_start, len(tokens))]
    else:
        needed = {"enc": ("source", "source"), "dec": ("target", "target"), "cross": ("target", "source")}
        sides = {name: needed[name] for name in given}
        words = {"source": ("encoder_tokens", encoder_tokens), "target": ("decoder_tokens", decoder_tokens)}
        for side in dict.fromkeys(side for pair in sides.values() for side in pair):
            if words[side][1] is None:
                raise InvalidArgumentError(f"{words[side][0]}: missing")
        text, ranges = _text([(side, one) for side, (_, one) in words.items() if one is not None], prettify_tokens)
        text["segments"] = [(side, "text", *ranges[side]) for side in ranges]
    families, calls = [], []
    for name, layers in given.items():
        queries, keys = (ranges[side] for side in sides[name])
        family, of_family = _family(name, layers, queries, keys, attention is None, include_layers)
        families.append(family)
        calls.append(of_family)
    every = (one for of_family in calls for one in of_family)
    return _core._trace_of_calls("attention", text, families, every, [], 1 << 40, 0, [], [], "")


def _family(name, layers, queries, keys, is_part, include_layers):
    """Returns the description of a family of maps for the trace, and an iterator over its calls."""
    shape = (queries[1] - queries[0], keys[1] - keys[0])
    layers = list(layers)
    if not layers:
        raise InvalidArgumentError("attention: no layers")
    numbers = range(len(layers))
    if include_layers is not None:
        numbers = list(include_layers)
        if len(layers) != len(numbers):
            if max(numbers, default=0) >= len(layers):
                raise InvalidArgumentError(f"include_layers: there is no layer {max(numbers)}; attention has {len(layers)}, counted from 0")
            layers = [layers[number] for number in numbers]
    heads = _weights(layers[0], shape).shape[1]
    is_causal = shape[0] == shape[1] > 1 and all(_is_causal(_weights(one, shape)) for one in layers)
    family = {"name": name, "layers": max(numbers) + 1, "heads": heads, "key_heads": heads, "d_k": 1, "queries": shape[0], "keys": shape[1],
              "causal": is_causal, "is_part": is_part, "first_query": queries[0], "first_key": keys[0]}
    if name == "enc" and is_causal and not is_part:
        family["name"] = "dec"

    def calls():
        zeros = [np.zeros((1, heads, count, 1), np.float32) for count in shape]
        for number, one in zip(numbers, layers):
            weights = _weights(one, shape)
            if weights.shape[1] != heads:
                raise ShapeError(f"attention: layer {number} has {weights.shape[1]} heads, but the first one has {heads}; "
                                 "expected equal numbers")
            yield family["name"], number, *zeros, _description(weights, is_causal), None, None

    return family, calls()


def _weights(given, shape):
    """Returns the weights of one layer, f32 [1, head, query, key]."""
    if hasattr(given, "detach"):
        given = given.detach().float().cpu().resolve_neg()
    array = np.asarray(given, np.float32)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[0] != 1 or array.shape[2:] != shape or array.shape[1] == 0:
        raise ShapeError(f"attention: expected layer shape [1, head, {shape[0]}, {shape[1]}] for these tokens, found {list(array.shape)}"
                         + ("; choose a text: [a[0:1] for a in attention]" if array.ndim == 4 and array.shape[0] != 1 else ""))
    return array


def _is_causal(weights):
    """Returns whether no query attends to a later key. Row 0 is checked first, because it decides most maps that are not causal."""
    if weights[0, :, 0, 1:].any():
        return False
    return not np.triu(np.abs(weights[0]).max(0), 1).any()


def _description(weights, is_causal):
    """Returns a description that yields these weights: its scores are log P if rows sum to one, else logits. A weight of 0 hides its
    pair."""
    low, high = weights.min(), weights.max()
    if not (low >= 0 and high <= 1 + 1e-3):
        raise InvalidArgumentError(f"attention: weights from {low:.6g} to {high:.6g}; expected numbers from 0 to 1, as softmax gives them")
    sums = weights.sum(-1)
    is_softmax = bool((np.abs(sums - 1)[sums != 0] <= _SUM).all())
    scores = np.empty_like(weights, order="C")
    with np.errstate(divide="ignore"):
        np.log(weights, out=scores)
        if not is_softmax:
            scores -= np.log1p(-np.minimum(weights, 1))
            np.minimum(scores, _LARGEST_LOGIT, out=scores)
    return _core.Description(score=_core.Dot(1.0), terms=[_core.Bias(scores)], topology=_core.causal() if is_causal else _core.full(),
                             normaliser=_core.Softmax() if is_softmax else _core.Sigmoid())


def _text(sides, prettify):
    """Returns the tokens joined to one text, and the range of tokens of each side."""
    text = {"text": "", "ids": [], "offsets": [], "special": [], "pieces": [], "segments": [], "items": []}
    ranges, at = {}, 0
    for side, tokens in sides:
        if text["text"]:
            text["text"] += "\n"
            at += 1
        begin, words = len(text["ids"]), [str(token) for token in tokens]
        spell = _speller(words) if prettify else lambda token, is_first: token if is_first else " " + token
        is_first = True
        for word in words:
            is_special = bool(re.fullmatch(r"\[[A-Z]+\d*\]|<[^<> ]+>", word))
            spelled = "" if is_special else spell(word, is_first)
            is_first = is_first and is_special
            size = len(spelled.encode())
            text["offsets"].append((at + size - len(spelled.lstrip().encode()), at + len(spelled.rstrip().encode())) if spelled.strip()
                                   else (at, at))
            text["special"].append(int(is_special))
            text["pieces"].append(word)
            text["ids"].append(len(text["ids"]))
            text["text"] += spelled
            at += size
        ranges[side] = (begin, len(text["ids"]))
    return text, ranges


def _speller(tokens):
    """Returns a function that converts a token to text. It detects how the tokens mark word boundaries: GPT-2's or SentencePiece's marks,
    BPE's end-of-word marks, or BERT's "##" pieces."""
    if any(token[:1] in _MARKS for token in tokens):
        return lambda token, is_first: ("" if is_first else " ") + token[1:] if token[:1] in _MARKS else token.replace("\u010a", "\n")
    if any(token.endswith("</w>") for token in tokens):
        return lambda token, is_first: token[:-4] + " " if token.endswith("</w>") else token
    return lambda token, is_first: token[2:] if token.startswith("##") else token if is_first else " " + token


def _shown(trace, view, layer, heads, html_action):
    if html_action not in ("view", "return"):
        raise InvalidArgumentError(f'html_action: "{html_action}"; expected "view" or "return"')
    chosen = [f"{layer or 0}.{head}" for head in ([0] if heads is None else heads)] if layer is not None or heads is not None else []
    state = "&".join([f"v={view}", *(["h=" + ",".join(chosen)] if chosen else [])])
    if html_action == "view":
        return trace.view(state=state)
    page = trace.to_html(state=state)
    try:
        from IPython.display import HTML
    except ImportError:
        return page
    return HTML(page)
