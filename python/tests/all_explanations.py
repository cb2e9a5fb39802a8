"""Compares every method of ch.explain() with a slow computation on whole matrices, for small random models of many architectures.

    python python/tests/all_explanations.py                  all architectures, with a summary for each method
    python python/tests/all_explanations.py --only llama     one architecture
    python python/tests/all_explanations.py --tenth          every third architecture, for continuous integration

The reference shares no code with clearhead. It runs a copy of the model with eager attention and reads the softmax weights P, the values V
and the output projection W_O from the calls of torch functions (Eager). Gradients are those of torch.autograd. Occlusion masks columns of
the scores, so that positions are unchanged. clearhead explains the model with its default attention (usually scaled_dot_product_attention).

Numbers are equal if they differ by at most 1e-5 of max(1, the largest share), and by at most 1% of the largest share. A method that
clearhead refuses with UnsupportedError is counted as refused. The exit status is 1 if a number differs, or if anything else is raised.
"""

import argparse
import collections
import contextlib
import copy
import logging
import re
import sys
from types import SimpleNamespace

import clearhead as ch
import numpy as np
import torch
import transformers
from all_models import KEPT, MODELS, Skip, candidates, parameters_of, shrink, time_limit
from own_attention import returned
from torch.overrides import TorchFunctionMode

METHODS = tuple(ch.explanation_methods())
KINDS = ("equal", "refused", "different", "no reference")
OF_A_HEAD = ("attention", "value-weighted", "output-weighted", "attention-gradient")
TOLERANCE, RELATIVE = 1e-5, 1e-2
TOKENS, STEPS, MASK, SECONDS = 10, 4, 4, 120
ARCHITECTURES = [(name, ending) for ending, names in (
    ("ForCausalLM LMHeadModel", """gpt2 llama qwen2 qwen3 gemma gemma2 gemma3 phi phi3 mistral mixtral opt bloom gpt_neo gpt_neox gptj
        falcon stablelm olmo olmo2 olmo3 cohere cohere2 granite granitemoe starcoder2 gpt_bigcode codegen mpt persimmon nemotron glm glm4
        helium smollm3 exaone4 qwen2_moe qwen3_moe olmoe deepseek_v2 deepseek_v3 minicpm3 gpt_oss biogpt xglm phimoe ernie4_5 arcee bitnet
        modernbert_decoder jetmoe openai ctrl seed_oss apertus hunyuan_v1_dense vaultgemma"""),
    ("ForMaskedLM", """bert roberta distilbert electra albert deberta deberta_v2 xlm_roberta modernbert mpnet roformer camembert esm
        megatron_bert mobilebert rembert roberta_prelayernorm convbert ernie nomic_bert eurobert squeezebert layoutlm data2vec"""),
    ("ForSequenceClassification", """bert roberta distilbert electra albert deberta_v2 xlm_roberta modernbert mpnet roformer gpt2 llama
        ernie megatron_bert xlnet flaubert xlm qwen2 mistral"""),
    ("ForConditionalGeneration MTModel", """t5 bart marian mbart pegasus blenderbot blenderbot_small m2m_100 mt5 umt5 plbart
        switch_transformers nllb_moe bigbird_pegasus fsmt"""),
    ("ForImageClassification", "vit deit beit dinov2 dinov2_with_registers ijepa vit_msn data2vec"),
) for name in names.split()]


class Eager(TorchFunctionMode):
    """Records the attention of a run from the torch functions that it calls.

    lengths: the numbers of tokens of the stacks. removed: {number of keys: columns} that no query sees. zeroed: (index of a layer, key)
    whose value vectors are zero. layers, in the order of the calls:
    shape (queries, keys); weights, the operand P, [..., query, key], of P·V; values V [head, key, d_v]; output_weight W_O
    [width, head * d_v]; added, W_O(P·V), and other_summand, what it is added to; read, the inputs of projections before the softmax;
    norms, the LayerNorms after it.
    """

    def __init__(self, lengths, removed=None, zeroed=None):
        super().__init__()
        self.lengths, self.removed, self.zeroed, self.layers, self.read = lengths, removed or {}, zeroed, [], []

    def __torch_function__(self, function, types, positional=(), keywords=None):
        keywords, name = keywords or {}, getattr(function, "__name__", "").strip("_")
        out = function(*positional, **keywords)
        given = list(positional) + [keywords[one] for one in ("input", "other", "mat1", "mat2", "weight") if one in keywords]
        tensors, here = [one for one in given if isinstance(one, torch.Tensor)], self.layers[-1] if self.layers else None
        if name == "softmax":
            return self._softmax(tensors[0], out)
        if name == "linear" or (name == "matmul" and tensors[1].dim() == 2):
            self._projected(here, tensors[0], tensors[1] if name == "linear" else tensors[1].T, out)
        elif name == "addmm" and len(tensors) == 3:
            self._projected(here, tensors[1], tensors[2].T, out)
        elif here is None:
            return out
        elif name == "layer_norm" and len(tensors) > 1:
            epsilon = keywords.get("eps", positional[4] if len(positional) > 4 else 1e-5)
            here.norms.append((flat(tensors[0]), tensors[1].detach(), epsilon))
        elif name in ("matmul", "bmm") and here.values is None and tensors[0].dim() > 2 and tensors[0].shape[-2:] == here.shape:
            if self.zeroed is not None and self.zeroed[0] == len(self.layers) - 1:
                values = tensors[1].clone()
                values[..., self.zeroed[1], :] = 0
                out = function(tensors[0], values)
            self._multiplied(here, *tensors, out)
        elif name in ("add", "iadd", "radd") and len(tensors) == 2 and here.added is not None and here.other_summand is None:
            a, b = (flat(one) if one.dim() > 1 else one for one in tensors)
            here.other_summand = b if torch.equal(a, here.added) else a if torch.equal(b, here.added) else None
        return out

    def _softmax(self, scores, out):
        queries, keys = scores.shape[-2:] if scores.dim() in (3, 4) else (0, 0)
        length = next((one for one in self.lengths if keys in (one, one + 1)), None)  # the last column may be a sink
        if queries not in self.lengths or length is None:
            return out
        if self.removed:
            hidden = torch.zeros(keys, dtype=torch.bool)
            hidden[self.removed.get(length, [])] = True
            out = torch.softmax(scores.masked_fill(hidden, -torch.inf), -1).nan_to_num(0)
        self.layers.append(SimpleNamespace(shape=(queries, length), weights=out, values=None, out=None, output_weight=None, added=None,
                                           other_summand=None, read=self.read, norms=[]))
        self.read = []
        return out

    @staticmethod
    def _multiplied(here, a, b, out):
        own = here.weights[..., : here.shape[1]].reshape(-1, *here.shape)
        if torch.equal(a.reshape(-1, *here.shape), own):
            here.weights, here.values = a, b.expand(*a.shape[:-2], *b.shape[-2:]).reshape(-1, *b.shape[-2:]).detach()
            here.out = out.detach().reshape(-1, *out.shape[-2:]).transpose(0, 1).flatten(1)

    def _projected(self, here, x, weight, out):
        self.read.append(flat(x))
        if here is not None and here.out is not None and here.added is None and torch.equal(self.read[-1], here.out):
            here.output_weight, here.added = weight.detach(), flat(out)


def flat(states):
    """Returns states as [token, width]."""
    return states.detach().reshape(-1, states.shape[-1])


def heads(layer, values=None):
    """Returns the weights of a layer, or other numbers of the same shape, as f64 [head, query, key]."""
    out = (layer.weights if values is None else values).detach().double()[..., : layer.shape[1]]
    return out.reshape(-1, *layer.shape).numpy()


class Reference:
    """Shares by every method, from whole matrices. They are computed for all ids: of the only stack, or of the source and the target.

    y, probability: functions of the model's output. rows: the tokens from which the answer is read; None: those that the gradient of y
    reaches in the last layer.
    """

    def __init__(self, model, inputs, lengths, y, probability, rows):
        self.model, self.inputs, self.lengths, self.y, self.p = model, inputs, lengths, y, probability
        self.is_pair, self.count = len(lengths) == 2, sum(lengths)
        with torch.enable_grad(), Eager(lengths) as eager:
            output = model(**inputs, output_attentions=True, output_hidden_states=True)
            y = self.y(output)
        self.layers = eager.layers
        self.states = [getattr(output, name, None) for name in
                       (("encoder_hidden_states", "decoder_hidden_states") if self.is_pair else ("hidden_states",))]
        gradients = torch.autograd.grad(y, [one.weights for one in self.layers], allow_unused=True)
        self.maps = [heads(one) for one in self.layers]
        self.gradients = [np.zeros_like(of) if grad is None else heads(one, grad)
                          for one, of, grad in zip(self.layers, self.maps, gradients)]
        own = [one for one in returned(output) if one.shape[-2] in lengths]
        if len(own) > len(self.maps):
            raise Skip(f"the model returns {len(own)} attention matrices, and multiplies {len(self.maps)} with values")
        is_known = lambda of: any(one.numel() == of.size and np.allclose(one.detach().reshape(of.shape), of, atol=1e-6) for one in own)
        self.note = "" if not own or all(map(is_known, self.maps)) else "the returned attention matrices are not those that it multiplies"
        if not self.maps:
            raise Skip("no softmax over the tokens")
        self.rows = rows if rows is not None else [int(at) for at in np.flatnonzero(abs(self.gradients[-1]).max((0, 2)) > 0)]

    def whole(self, at, matrix):
        """Returns a matrix [query, key] of a layer as a matrix over all ids."""
        q, k = (0 if not self.is_pair or length == self.lengths[0] else self.lengths[0] for length in self.layers[at].shape)
        out = np.zeros((self.count, self.count))
        out[q : q + matrix.shape[0], k : k + matrix.shape[1]] = matrix
        return out

    def start(self):
        """Returns 1/n at each of the n rows of the answer."""
        out = np.zeros(self.count)
        out[[self.count - self.lengths[-1] + row for row in self.rows]] = 1 / len(self.rows)
        return out

    def one_layer(self, method, layer=None, head=None):
        explained = [at for at, one in enumerate(self.layers) if not self.is_pair or one.shape == tuple(reversed(self.lengths))]
        at = explained[-1 if layer is None else layer]
        weights = self.maps[at]
        if method == "attention-gradient":
            weights = weights * self.gradients[at]
        elif method != "attention":
            if self.layers[at].values is None:
                raise Skip("the values were not found")
            vectors = self.layers[at].values.double().numpy() if method == "value-weighted" else self._projected(at)
            weights = weights * np.linalg.norm(vectors, axis=-1)[:, None]
        return len(self.rows) * self.start() @ self.whole(at, weights.mean(0) if head is None else weights[head])

    def _projected(self, at):
        """Returns the values after the output projection, [head, key, width]."""
        values, weight = self.layers[at].values.double().numpy(), self.layers[at].output_weight
        if weight is None:
            raise Skip("the attention's output is not the input of a projection")
        return np.einsum("hkd,hdw->hkw", values, weight.double().numpy().T.reshape(*values.shape[::2], -1))

    def _vectors(self, at, row):
        """Returns the vectors into which a row is decomposed after the attention of a layer, [key, width] (Kobayashi et al. 2021)."""
        one, states = self.layers[at], flat(self.states[0][at])
        if one.other_summand is None or not torch.equal(one.other_summand, states):
            raise Skip("the attention's output is not added to the states that the block reads")
        summed, parts = one.added + states, np.einsum("hk,hkw->kw", self.maps[at][:, row], self._projected(at))
        parts[row] += states[row].double().numpy()
        if any(torch.equal(x, states) for x in one.read):  # the norm comes after the sum
            weight, epsilon = next((of for x, *of in one.norms if torch.equal(x, summed)), (None, None))
            if weight is None:
                raise Skip("the norm after the sum is not a LayerNorm")
            scale = weight.double() / (summed[row].double().var(correction=0) + epsilon).sqrt()
            parts = (parts - parts.mean(-1, keepdims=True)) * scale.numpy()
        return parts

    def _check_one_stack(self):
        if self.is_pair:
            raise Skip("two stacks")

    def mixed(self, layer=None):
        self._check_one_stack()
        at = len(self.layers) - 1 if layer is None else layer
        return sum(np.linalg.norm(self._vectors(at, row), axis=-1) for row in self.rows) / len(self.rows)

    def alti(self):
        self._check_one_stack()
        r = self.start()
        for at in reversed(range(len(self.layers))):
            rows = []
            for row in range(self.count):
                parts = self._vectors(at, row)
                whole = parts.sum(0)
                near = np.maximum(abs(whole).sum() - abs(whole - parts).sum(-1), 0)
                rows.append(near / near.sum() if near.any() else near)
            r = r @ np.array(rows)
        return r

    def value_zeroing(self):
        self._check_one_stack()
        r = self.start()
        for at in reversed(range(len(self.layers))):
            whole = self._states_after(at, None)
            without = [self._states_after(at, key) for key in range(self.count)]
            distances = np.stack([1 - torch.cosine_similarity(whole, one, -1).numpy() for one in without], 1)
            sums = distances.sum(-1, keepdims=True)
            r = r @ np.divide(distances, sums, out=np.zeros_like(distances), where=sums > 0)
        return r

    def _states_after(self, at, key):
        """Returns what the block that reads the states of a layer returns, without the value of a key: f64 [token, width]."""
        found, before = [], self.states[0][at]

        def take(module, given, keywords, out):
            read = given[0] if given else keywords.get("hidden_states")
            if torch.is_tensor(read) and read.shape == before.shape and torch.equal(read, before):
                found.append(flat(out if torch.is_tensor(out) else out[0]).double().clone())

        hooks = [module.register_forward_hook(take, with_kwargs=True) for path, module in self.model.named_modules()
                 if path.endswith(f".{at}") and not isinstance(module, torch.nn.Linear)]
        try:
            with torch.no_grad(), Eager(self.lengths, zeroed=None if key is None else (at, key)):
                self.model(**self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        if len(found) != 1 or found[0].shape[0] != self.count:
            raise Skip("the block was not found")
        return found[0]

    def information_flow(self):
        """Relevance, where the shares of the answer's own tokens are passed on to the tokens that they were written from."""
        self._check_one_stack()
        positive = [np.maximum(of * gradient, 0).mean(0) for of, gradient in zip(self.maps, self.gradients)]

        def relevance(r):
            out = r
            for of_layer in reversed(positive):
                out = out + out @ of_layer
            return out - r

        shares, first = relevance(self.start()), min(self.rows) + 1 if len(self.rows) > 1 else self.count
        whole = shares.sum()
        while shares[first:].sum() > 0.01 * whole:
            passed = np.zeros(self.count)
            passed[first - 1 : -1] = shares[first:]
            shares[first:] = 0
            reached = relevance(passed)
            shares += reached * passed.sum() / reached.sum()
        return shares

    def rollout(self):
        product = np.eye(self.count)
        for at in range(len(self.layers)):
            attention = self.whole(at, self.maps[at].mean(0))
            residual = np.diag(np.where(attention.any(-1), 0.5, 1))  # rows of the other stack are unchanged
            product = (residual + 0.5 * attention) @ product
        return self.start() @ product

    def flow(self):
        if self.is_pair:
            raise Skip("two stacks")
        count, nodes = self.count, (len(self.maps) + 1) * self.count
        capacities = np.zeros((nodes, nodes))
        for at, of in enumerate(self.maps):
            capacities[(at + 1) * count : (at + 2) * count, at * count : (at + 1) * count] = 0.5 * of.mean(0) + 0.5 * np.eye(count)
        return np.array([np.mean([largest_flow(capacities, len(self.maps) * count + row, sink) for row in self.rows])
                         for sink in range(count)])

    def relevance(self):
        positive = [np.maximum(of * gradient, 0).mean(0) for of, gradient in zip(self.maps, self.gradients)]
        if self.is_pair:
            return self._relevance_of_pair(positive)
        relevance = np.eye(self.count)
        for of_layer in positive:
            relevance = relevance + of_layer @ relevance
        return self.start() @ relevance - self.start()

    def _relevance_of_pair(self, of_layers):
        """Chefer et al. 2021b, equations 6 to 10. source, target: R of each stack; across: of the target's tokens to the source's."""
        source, target = (np.eye(length) for length in self.lengths)
        across = np.zeros(tuple(reversed(self.lengths)))
        for layer, positive in zip(self.layers, of_layers):
            if layer.shape == (self.lengths[0],) * 2:
                source = source + positive @ source
            elif layer.shape == (self.lengths[1],) * 2:
                target, across = target + positive @ target, across + positive @ across
            else:
                across = across + normalised(target).T @ positive @ normalised(source)
        start = self.start()[self.lengths[0] :]
        return np.concatenate([start @ across, start @ target - start])

    def along_the_path(self, scales):
        """Returns x·∂y/∂x, averaged over runs in which the first blocks read these multiples of x."""
        if any(not isinstance(of, tuple) for of in self.states):
            raise Skip("the model returns no hidden states")
        firsts, out = [of[0].detach() for of in self.states], np.zeros(self.count)
        blocks = [one for path, one in self.model.named_modules() if path.endswith(".0") and not isinstance(one, torch.nn.Linear)]
        for scale in scales:
            leaves, read = [(x * scale).requires_grad_(True) for x in firsts], set()

            def scaled(given):
                for at, x in enumerate(firsts):
                    if isinstance(given, torch.Tensor) and at not in read and given.shape == x.shape and torch.equal(given, x):
                        read.add(at)
                        return leaves[at]
                return given

            replace = lambda module, given, keywords: (tuple(map(scaled, given)), {name: scaled(one) for name, one in keywords.items()})
            hooks = [block.register_forward_pre_hook(replace, with_kwargs=True) for block in blocks]
            try:
                with torch.enable_grad():
                    y = self.y(self.model(**self.inputs))
            finally:
                for hook in hooks:
                    hook.remove()
            if len(read) < len(leaves):
                raise Skip("the first block was not found")
            gradients = torch.autograd.grad(y, leaves)
            out += np.concatenate([(x.double() * grad).sum(-1)[0].numpy() for x, grad in zip(firsts, gradients)]) / len(scales)
        return out

    def occlusion(self):
        with torch.no_grad():
            whole, out = self.p(self.model(**self.inputs)), []
            for at in range(self.count):
                side = int(self.is_pair and at >= self.lengths[0])
                with Eager(self.lengths, {self.lengths[side]: [at - side * self.lengths[0]]}):
                    output = self.model(**self.inputs)
                out.append(whole - self.p(output))
        return np.array(out)

    def shares(self, method, **options):
        if method in OF_A_HEAD:
            return self.one_layer(method, **options)
        if method == "gradient-input":
            return self.along_the_path([1.0])
        if method == "integrated-gradients":
            return self.along_the_path([(step + 0.5) / STEPS for step in range(STEPS)])
        return getattr(self, method.replace("-", "_"))(**options)


def normalised(relevance):
    """Returns R̄ = (R − I)/Σ_j (R − I)_ij + I; the identity for rows whose sum is 0."""
    beyond = relevance - np.eye(len(relevance))
    sums = beyond.sum(-1, keepdims=True)
    return np.divide(beyond, sums, out=np.zeros_like(beyond), where=sums != 0) + np.eye(len(relevance))


def largest_flow(capacities, source, sink):
    """Returns the maximum flow by shortest augmenting paths (Edmonds & Karp 1972)."""
    left, total = capacities.copy(), 0.0
    while True:
        paths, queue = {source: [source]}, [source]
        for node in queue:
            for other in map(int, np.flatnonzero(left[node] > 1e-13)):
                if other not in paths:
                    paths[other] = [*paths[node], other]
                    queue.append(other)
        if sink not in paths:
            return total
        edges = list(zip(paths[sink], paths[sink][1:]))
        sent = min(left[edge] for edge in edges)
        for one, other in edges:
            left[one, other] -= sent
            left[other, one] += sent
        total += sent


def with_weights(model, size=1.3):
    """Draws random weights, with biases and norms that matter, and queries and keys that give rows far from uniform."""
    random = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for one in model.parameters():
            noise, fan = torch.randn(one.shape, generator=random), one[0].numel() if one.dim() == 4 else one.shape[-1] if one.dim() else 1
            one.copy_(noise * size / fan**0.5 if one.dim() > 1 else one + 0.2 * noise)
    return model.eval()


def made(folder, endings):
    """Returns a small model of an architecture with random weights."""
    reasons = []
    for kept in KEPT[:-1]:
        for kind in candidates(folder):
            if not any(kind.__name__.endswith(ending) for ending in endings.split()):
                continue
            try:
                config = shrink(kind.config_class(), kept)
                config.num_labels, config.mask_token_id = 3, MASK
                for name in ("emb_dim", "pooler_hidden_size"):  # XLM, DeBERTa-v2
                    if name in vars(config):
                        setattr(config, name, 32)
                if parameters_of(kind, config) > 20_000_000:
                    raise Skip("not small: its config has sizes that all_models.py does not know")
                torch.manual_seed(0)
                model = with_weights(kind(config), 0.7 if folder == "mobilebert" else 1.3)  # MobileBERT has no norms
                with torch.no_grad():
                    for _, _, _, (given, *_), _ in questions(model):
                        if not torch.isfinite(model(**given).logits).all():
                            raise Skip("random weights give numbers that are not finite")
                return model
            except Exception as error:
                reasons.append(f"{kind.__name__}: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
    raise Skip(reasons[0] if reasons else f"no class {endings}")


def questions(model):
    """Yields (what, prompt, arguments of explain, arguments of Reference, the ids that are parts). The answers are the model's own."""
    name, random = type(model).__name__, torch.Generator().manual_seed(3)
    ids = torch.randint(5, 100, (1, TOKENS), generator=random)
    logit = lambda row, one: lambda output: output.logits.float()[0, row, one]
    exp = lambda of: lambda output: float(of(output).exp())
    best = lambda inputs: model(**inputs).logits[0].argmax(-1)
    of_text = lambda ids: {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if name.endswith(("ForImageClassification", "ForSequenceClassification")):
        prompt, given, count, parts = ids[0].tolist(), of_text(ids), TOKENS, TOKENS
        if "Image" in name:
            size, patch = (one if isinstance(one, int) else one[0] for one in (model.config.image_size, model.config.patch_size))
            prompt = given = {"pixel_values": torch.randn(1, 3, size, size, generator=random)}
            count, parts = model(**given, output_hidden_states=True).hidden_states[0].shape[1], (size // patch) ** 2
        chosen = int(best(given))
        p = exp(lambda output: torch.log_softmax(output.logits.double()[0], -1)[chosen])
        yield "class", prompt, {}, (given, [count], lambda output: output.logits[0, chosen], p, None), range(count - parts, count)
        return
    if model.config.is_encoder_decoder:
        model.generation_config.decoder_start_token_id = 1
        written = [int(one) for one in torch.randint(5, 100, (6,), generator=random)]
        given = {**of_text(ids), "decoder_input_ids": torch.tensor([[1, *written[:5]]]), "use_cache": False}
        written[5] = int(best(given)[5])
        cases = [("token", {"answer": written, "target": (5, 6)}, given, [5], written[5:], TOKENS + 6),
                 ("span", {"answer": written, "target": (1, 6)}, given, [1, 2, 3, 4, 5], written[1:], TOKENS + 2)]
    elif name.endswith("ForMaskedLM"):
        ids[0, 3] = MASK
        chosen = int(best(of_text(ids))[3])
        cases = [("word", {"target": [chosen]}, of_text(ids), [3], [chosen], TOKENS)]
    else:
        chosen = int(best(of_text(ids))[-1])
        longer = of_text(torch.cat([ids, torch.tensor([[chosen]])], 1))
        pair = [chosen, int(best(longer)[-1])]
        cases = [("token", {"target": [chosen]}, of_text(ids), [TOKENS - 1], [chosen], TOKENS),
                 ("span", {"target": pair}, longer, [TOKENS - 1, TOKENS], pair, TOKENS)]
    for what, arguments, given, rows, answer, parts in cases:
        log_p = lambda output, rows=rows, answer=answer: sum(torch.log_softmax(output.logits.double()[0, row], -1)[one]
                                                             for row, one in zip(rows, answer))
        lengths = [one.shape[1] for name, one in given.items() if name.endswith("input_ids")]
        y = logit(rows[0], answer[0]) if len(rows) == 1 else log_p
        yield what, ids[0].tolist(), arguments, (given, lengths, y, exp(log_p), rows), range(parts)


def check(folder, endings):
    """Returns (name of the class, {(question, method, variant): "equal", or a verdict with its reason})."""
    model, verdicts = made(folder, endings), {}
    slow = copy.deepcopy(model)
    slow.set_attn_implementation("eager")
    with contextlib.suppress(ValueError, ImportError):  # the architecture has no such implementation
        model.set_attn_implementation("sdpa")
    with torch.no_grad():
        asked = list(questions(model))
    for what, prompt, arguments, of_reference, ids in asked:
        reference = Reference(slow, *of_reference)
        of_first_layer = [*((method, {"layer": 0, "head": 1}) for method in OF_A_HEAD), ("mixed", {"layer": 0})]
        for method, options in [*((method, {}) for method in METHODS), *of_first_layer]:
            key = (what, method, "layer 0" if options else "")
            try:
                expected = reference.shares(method, **options)[list(ids)]
            except Skip as reason:
                expected = reason
            try:
                found = ch.explain(model, None, prompt, methods=method, units="tokens", steps=STEPS, **arguments, **options)
                verdicts[key] = compared(found, method, expected, ids)
            except ch.UnsupportedError as error:
                defined = "" if isinstance(expected, Skip) else " (the reference has numbers)"
                verdicts[key] = f"refused: {re.sub(r'[.][0-9]+[.]', '.N.', ' '.join(str(error).split()))}{defined}"
            except Exception as error:  # a crash must not end the comparison of the other methods
                verdicts[key] = f"different: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if reference.note:
            verdicts[what, "note", ""] = f"note: {reference.note}"
    return type(model).__name__, verdicts


def compared(found, method, expected, ids):
    parts = [at for part in found.parts for at in part.tokens]
    if parts != list(ids):
        return f"different: the parts are tokens {parts}"
    if isinstance(expected, Skip):
        return f"no reference: {expected}"
    off, largest = abs(found.shares[method] - expected).max(), abs(expected).max()
    is_equal = off <= TOLERANCE * max(1, largest) and off <= max(RELATIVE * largest, 1e-9)
    return "equal" if is_equal else f"different: by {off:.2g}, largest share {largest:.2g}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="the name of a folder in transformers/models")
    parser.add_argument("--tenth", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)  # the models are small
    chosen = [one for one in ARCHITECTURES[:: 3 if options.tenth else 1] if options.only in (None, one[0]) and (MODELS / one[0]).is_dir()]
    totals, built, good = collections.Counter(), 0, True
    for folder, endings in chosen:
        try:
            with time_limit(SECONDS):
                name, verdicts = check(folder, endings)
        except Exception as error:
            print(f"{folder}: not compared: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
            continue
        built += 1
        kinds, reasons = collections.Counter(), collections.defaultdict(list)
        for (what, method, variant), verdict in verdicts.items():
            kind, _, reason = verdict.partition(": ")
            kinds[kind] += 1
            totals[method, kind] += 1
            if reason:
                reasons[kind, reason].append(" ".join(one for one in (what, method, variant) if one))
        good &= not kinds["different"]
        print(f"{folder} {name}: {', '.join(f'{kinds[kind]} {kind}' for kind in KINDS)}", flush=True)
        for (kind, reason), methods in reasons.items():
            print(f"    {kind}: {', '.join(methods)}: {reason}", flush=True)
    print(f"\n{built} of {len(chosen)} models, transformers {transformers.__version__}\n\n| method | equal | refused | different | "
          "no reference |\n|---|---|---|---|---|")
    for method in METHODS:
        print(f"| {method} | {' | '.join(str(totals[method, kind]) for kind in KINDS)} |")
    return int(not good or (options.tenth and built < len(chosen)))


if __name__ == "__main__":
    sys.exit(main())
