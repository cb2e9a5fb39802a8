"""circuits(): what each head of a decoder reads and writes, from its weights; and its scores beside those of random heads."""

from collections import namedtuple

import numpy as np
import torch

from .. import _core
from ..errors import InvalidArgumentError
from ._weights import ModelWeights

Writes = namedtuple("Writes", ("raises", "lowers"))
NULL_HEADS = 64


class Token(str):
    """A token as text. id: its id in the vocabulary."""

    __slots__ = ("id",)

    def __new__(cls, text, number):
        token = super().__new__(cls, text)
        token.id = number
        return token


def circuits(model, tokenizer=None):
    """Shows what the heads of a decoder read and write over the vocabulary, from the weights alone (Elhage et al. 2021).

        found = ch.circuits(model, tokenizer)
        print(found.table(10))                       # the heads that copy, beside random heads
        found.head(5, 1).reads(count=10)             # QK: the (query, key) pairs with the largest scores
        found.head(5, 1).writes(" Paris", count=10)  # OV: logits that attention to " Paris" raises and lowers

    The QK circuit of a head is the score of query token s for key token t, (W_Q·norm(E_s) + b_Q)·(W_K·norm(E_t)) / √d; its OV circuit is
    the logit of token u per unit of attention to token t, U_u·γ·W_O·W_V·norm(E_t), where γ is the gain of the final norm.

    - Each embedding is normalised by the layer's own norm, as if it were the whole residual stream. This is exact for the first layer of a
      model without position embeddings.
    - Scores are relative to the mean over all keys, logits to the mean over all tokens, because softmax ignores such offsets. So biases of
      keys have no effect.
    - Left out: position encodings (rotary: the score at distance 0) and other terms added to scores, the scale of the final norm, and what
      OV adds for every source token (the biases of values, outputs and norms).

    The matrices over vocabulary × vocabulary are never stored; a vocabulary of 50,000 takes some 50 MB and some seconds for each head. The
    tables of embeddings are shared with the model: after training it further, call circuits() again.

    Parameters
    ----------
    model : torch.nn.Module
        A pre-norm decoder of transformers with a next-token head, such as GPT-2, Llama, Mistral, Qwen2 or GPT-NeoX. It runs twice on a few
        tokens, to check that the matrices are those that it computes with.
    tokenizer : optional
        The model's tokenizer. Without it, tokens are named by their ids.

    Returns
    -------
    Circuits

    Raises
    ------
    UnsupportedError
        A model whose heads are not products of these matrices: post-norm layers, norms of queries and keys, a norm or a factor after
        attention, changed logits, quantised weights. The message names the module.
    """
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgumentError(f"circuits: expected a torch.nn.Module, found {type(model).__name__}")
    return Circuits(ModelWeights(model), tokenizer)


class Circuits:
    """The circuits of a model; see circuits().

    Attributes
    ----------
    layers, heads : int
        Number of layers, and of heads in a layer.
    copying : f64 array [layer, head]
        The copying score Σλ/Σ|λ| over the eigenvalues λ of the OV circuit: 1 if a head raises the tokens that it attends to, −1 if it
        lowers them. NaN for a head that writes nothing.
    copying_null : f64 array [layer, 2]
        Mean and standard deviation of the copying score of 64 random heads of the same shape, behind the norm of the same layer.
    composition_baseline : float
        The root mean square of the composition of heads that are rotated at random: 1/√width.
    """

    def __init__(self, weights, tokenizer):
        self._weights, self.tokenizer = weights, getattr(tokenizer, "tokenizer", tokenizer)
        self.layers, self.heads = len(weights.layers), max(one["heads"] for one in weights.layers)
        self._core = _core._Circuits(**weights.ends, norm=weights.layers[0]["norm"])
        self._layers = [_core._AttentionWeights(one) for one in weights.layers]
        self._copying = self._null = None

    def __repr__(self):
        return f"clearhead.Circuits({self._weights.name}, {self.layers} layers of {self.heads} heads)"

    def head(self, layer, head):
        """Returns the Head at this layer and index. Raises InvalidArgumentError if there is none."""
        if not (0 <= layer < self.layers and 0 <= head < self._weights.layers[layer]["heads"]):
            raise InvalidArgumentError(f"circuits: there is no head L{layer}.H{head}; the model has layers 0 to {self.layers - 1} with "
                                       f"heads 0 to {self.heads - 1}")
        return Head(self, layer, head)

    @property
    def copying(self):
        if self._copying is None:
            self._copying = np.array([self._core.copying(one) for one in self._layers])
        return self._copying

    @property
    def copying_null(self):
        if self._null is None:
            self._null = np.array([self._core.copying_null(one, NULL_HEADS, 1) for one in self._layers])
        return self._null

    @property
    def copying_z(self):
        """The copying scores in standard deviations above those of random heads, f64 [layer, head]."""
        return (self.copying - self.copying_null[:, :1]) / self.copying_null[:, 1:]

    def table(self, count=None):
        """Returns a table as text: the copying score of each head, beside that of random heads.

        count: only the heads with the largest z. Default: all heads, by layer and head.
        """
        copying, null, z = self.copying, self.copying_null, self.copying_z
        order = np.arange(copying.size)
        if count is not None:
            order = np.argsort(-np.nan_to_num(z.ravel(), nan=-np.inf), kind="stable")[:count]
        lines = [f"{'head':<8} {'copying':>8} {'random heads':>17} {'z':>7}"]
        for layer, head in (divmod(int(at), self.heads) for at in order):
            lines.append(f"{f'L{layer}.H{head}':<8} {copying[layer, head]:8.3f} {null[layer, 0]:8.3f} ± {null[layer, 1]:<6.3f} "
                         f"{z[layer, head]:7.1f}")
        return "\n".join(lines)

    def induction(self, length=50, repeats=4, seed=0):
        """Runs the model on random tokens that come twice, and returns what each head attends to (Olsson et al. 2022).

        Returns a dict of f64 arrays [layer, head]. "induction": the mean weight of the rows of the second half on the token after the
        previous occurrence of their own. "previous": the mean weight on the token before. "control": the weight on the same offset as
        "induction" if the tokens do not repeat, so a head that attends to a fixed offset scores equally in both. "z": the difference of
        "induction" and "control" in standard errors over the `repeats`.
        """
        if length < 4 or repeats < 2:
            raise InvalidArgumentError(f"circuits: length={length}, repeats={repeats}; expected at least 4 tokens and 2 repeats")
        random = np.random.default_rng(seed)
        twice, once, before = [], [], []
        for _ in range(repeats):
            ids = random.integers(0, self._weights.table.weight.shape[0], 2 * length)
            at = np.arange(length, 2 * length - 1)
            maps = self._maps(np.concatenate([ids[:length], ids[:length]]))
            twice.append([one[:, at, at - length + 1].mean(-1) for one in maps])
            before.append([one[:, at, at - 1].mean(-1) for one in maps])
            once.append([one[:, at, at - length + 1].mean(-1) for one in self._maps(ids)])
        twice, once, before = (np.array(one, np.float64) for one in (twice, once, before))
        difference = twice - once
        error = difference.std(0, ddof=1) / repeats**0.5
        z = np.divide(difference.mean(0), error, out=np.full(error.shape, np.nan), where=error > 0)
        return {"induction": twice.mean(0), "previous": before.mean(0), "control": once.mean(0), "z": z}

    def _maps(self, ids):
        from .._explain._run import evaluated
        from .._watch import Watch

        model = self._weights.model
        with evaluated(model), torch.no_grad(), Watch(model) as watch:
            model(input_ids=torch.as_tensor(ids, device=next(model.parameters()).device)[None])
        return [np.asarray(watch.trace.map(layer)) for layer in range(self.layers)]

    def composition(self, kind):
        """Returns how strongly later heads read what earlier heads write, f64 [layer, head, earlier layer, earlier head].

        kind: "Q", "K" or "V", through the queries, keys or values of the later head: ‖W·W_OV‖ / (‖W‖·‖W_OV‖) in Frobenius norms, where W
        is W_QKᵀ, W_QK or W_OV of the later head, with the gain and the centring of its norm (Elhage et al. 2021). Two heads without
        relation have about `composition_baseline`. NaN where the layer is not later.
        """
        if kind not in ("Q", "K", "V"):
            raise InvalidArgumentError(f'circuits: composition({kind!r}); expected "Q", "K" or "V"')
        sides = [_Sides(one) for one in self._weights.layers]
        out = np.full((self.layers, self.heads, self.layers, self.heads), np.nan)
        for later in range(self.layers):
            for earlier in range(later):
                out[later, :, earlier] = sides[later].composed_with(sides[earlier], kind).numpy()
        return out

    @property
    def composition_baseline(self):
        return self._weights.ends["embedding"].shape[1] ** -0.5

    def _token(self, number):
        if self.tokenizer is None:
            return Token(f"#{number}", number)
        text = self.tokenizer.decode([number])
        return Token(text if text and "\ufffd" not in text else str(self.tokenizer.convert_ids_to_tokens(number)), number)

    def _id(self, token):
        if isinstance(token, Token):
            return token.id
        if isinstance(token, int) and not isinstance(token, bool):
            return token
        if self.tokenizer is None or not isinstance(token, str):
            raise InvalidArgumentError(f"circuits: token {token!r}; expected an id" + ("" if self.tokenizer is None else " or a text"))
        for spelling in (token, " " + token):
            ids = self.tokenizer(spelling, add_special_tokens=False)["input_ids"]
            if len(ids) == 1:
                return ids[0]
        raise InvalidArgumentError(f"circuits: {token!r} is not a single token; expected the text of one token, or an id")


class _Sides:
    """The products of one layer's matrices that composition needs: each over head_dim × head_dim, or head_dim × width."""

    def __init__(self, layer):
        heads, group = layer["heads"], layer["heads"] // layer["key_heads"]
        split = lambda name: layer[name].unflatten(0, (-1, layer["head_dim"])).double()
        read = {"Q": split("query"), "K": split("key").repeat_interleave(group, 0), "V": split("value").repeat_interleave(group, 0)}
        if layer["norm"] is not None:
            is_rms, _, gain, _ = layer["norm"]
            read = {name: one * gain.double() for name, one in read.items()}
            if not is_rms:
                read = {name: one - one.mean(-1, keepdim=True) for name, one in read.items()}
        self.heads, self.read, self.written = heads, read, split("output")
        self.gram = {name: one @ one.transpose(1, 2) for name, one in {**read, "O": self.written}.items()}  # [head, d, d]

    def composed_with(self, earlier, kind):
        """[head, earlier head]. W = A·B with B what the later head reads: ‖A·B·O·V‖² = tr((BO)ᵀ·(AᵀA)·(BO)·(VVᵀ))."""
        left = self.gram[{"Q": "K", "K": "Q", "V": "O"}[kind]]
        middle = torch.einsum("hcw,gdw->hgcd", self.read[kind], earlier.written)
        through = torch.einsum("hgcd,hce,gdf->hgef", middle, left, earlier.gram["V"])
        product = torch.einsum("hgef,hgef->hg", middle, through).clamp_min(0)
        own = torch.einsum("hcd,hcd->h", left, self.gram[kind])
        other = torch.einsum("gcd,gcd->g", earlier.gram["O"], earlier.gram["V"])
        return (product / (own[:, None] * other[None])).sqrt()


class Head:
    """The circuits of one head. copying: its copying score."""

    def __init__(self, of, layer, head):
        self._of, self.layer, self.index = of, layer, head
        self._qk = self._ov = None

    def __repr__(self):
        return f"clearhead.Head(L{self.layer}.H{self.index}, copying {self.copying:.3f})"

    @property
    def qk(self):
        """The factors (a, b) of the QK circuit, f32 [vocabulary, head_dim] each: the score of query s for key t is a[s]·b[t]."""
        return self._matrix("qk").factors

    @property
    def ov(self):
        """The factors (a, b) of the OV circuit: the logit of token u per unit of attention to token t is a[t]·b[u]."""
        return self._matrix("ov").factors

    def _matrix(self, name):
        found = getattr(self, f"_{name}")
        if found is None:
            found = getattr(self._of._core, name)(self._of._layers[self.layer], self.index)
            setattr(self, f"_{name}", found)
        return found

    @property
    def copying(self):
        return float(self._of.copying[self.layer, self.index])

    @property
    def copying_rank(self):
        """The mean share of the other tokens that a source token's own logit exceeds, over at most 1,024 evenly spaced source tokens: 1/2
        for a random head."""
        return self._matrix("ov").rank_of_own_column()

    def reads(self, token=None, *, count=10):
        """Returns the pairs that the QK circuit scores highest, [(query, key, score)], the highest first.

        token: a text or an id; then [(key, score)] of this query.
        """
        name, matrix = self._of._token, self._matrix("qk")
        if token is None:
            return [(name(query), name(key), score) for query, key, score in matrix.largest(count)]
        return [(name(key), score) for key, score in matrix.largest_of_row(self._of._id(token), count)]

    def writes(self, token=None, *, count=10):
        """Returns the pairs with the largest entries of the OV circuit, [(source, output, logit)], the largest first.

        token: a text or an id; then a named tuple of the logits that attention to it changes most: raises, lowers, each [(output, logit)].
        """
        name, matrix = self._of._token, self._matrix("ov")
        if token is None:
            return [(name(source), name(output), logit) for source, output, logit in matrix.largest(count)]
        row = self._of._id(token)
        return Writes(*([(name(output), logit) for output, logit in found(row, count)]
                        for found in (matrix.largest_of_row, matrix.smallest_of_row)))

    def table(self, count=10):
        """Returns both circuits as text: the pairs with the largest scores and logits."""
        null, line = self._of.copying_null[self.layer], lambda pair: f"  {pair[0]!r:>20} → {pair[1]!r:<20} {pair[2]:9.3f}"
        return "\n".join([f"L{self.layer}.H{self.index}  copying {self.copying:.3f} (random heads {null[0]:.3f} ± {null[1]:.3f})",
                          "reads (QK): query → key, score above the mean key", *map(line, self.reads(count=count)),
                          "writes (OV): source → output, logit above the mean token", *map(line, self.writes(count=count))])
