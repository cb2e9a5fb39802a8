"""Goldens of attribution: shares of tokens in one answer, computed with full matrices and PyTorch's gradients.

    pip install torch transformers safetensors numpy networkx
    python tools/goldens/attribution.py

Reads the small models of tests/goldens (models.py), runs them in float64 with eager attention, and writes tests/goldens/attribution.json.
Each method is implemented from its paper on N×N matrices: rollout (Abnar & Zuidema 2020), relevance (Chefer, Gur & Wolf 2021, eq. 5, 6 and
8 to 11), attention × gradient, gradient × input, integrated gradients at midpoints; attention flow by networkx.
"""

import json
import pathlib

import networkx
import torch
import transformers as hf

ROOT = pathlib.Path(__file__).parents[2] / "tests" / "goldens"
STEPS = 8


class Watched:
    """Runs a model on scaled embeddings and keeps every attention matrix with its gradient."""

    def __init__(self, model, embeddings):
        self.model, self.embeddings = model.double().eval(), embeddings

    def run(self, inputs, answer, scale=1.0):
        kept, handles = {}, []

        def scaled(name):
            def hook(module, args, output):
                kept[name] = output
                output = output * scale
                output.retain_grad()
                kept[name + ".scaled"] = output
                return output
            return hook

        for name, module in self.embeddings.items():
            handles.append(module.register_forward_hook(scaled(name)))
        out = self.model(**inputs, output_attentions=True)
        maps = {"enc": [], "dec": [], "cross": []}
        if hasattr(out, "cross_attentions") and out.cross_attentions:
            maps["enc"], maps["dec"], maps["cross"] = out.encoder_attentions, out.decoder_attentions, out.cross_attentions
        else:
            maps["enc"] = out.attentions
        for layer in (*maps["enc"], *maps["dec"], *maps["cross"]):
            layer.retain_grad()
        y = answer(out)
        y.backward()
        for handle in handles:
            handle.remove()
        return y.item(), maps, {name: (kept[name].detach()[0], kept[name + ".scaled"].grad[0]) for name in self.embeddings}


def matrices(layers):
    return [(layer.detach()[0], layer.grad[0]) for layer in layers]


def relevance_matrix(weights, gradient):
    return (weights * gradient).clamp(min=0).mean(0)


def normalised(relevance):
    rest = relevance - torch.eye(len(relevance), dtype=relevance.dtype)
    sums = rest.sum(1, keepdim=True)
    return torch.where(sums == 0, torch.zeros_like(rest), rest / torch.where(sums == 0, torch.ones_like(sums), sums)) + torch.eye(
        len(rest), dtype=rest.dtype
    )


def inputs_shares(pairs):
    return torch.cat([(values * gradient).sum(1) for values, gradient in pairs])


def integrated(watched, inputs, answer, order):
    total = 0
    for step in range(STEPS):
        _, _, found = watched.run(inputs, answer, (step + 0.5) / STEPS)
        total = total + inputs_shares([found[name] for name in order]) / STEPS
    return total


def flow(mixed, row):
    """The maximum flow from the row through all layers to every token (Abnar & Zuidema 2020), by networkx."""
    graph = networkx.DiGraph()
    for at, layer in enumerate(mixed):
        for i, j in (layer > 0).nonzero().tolist():
            graph.add_edge((at + 1, i), (at, j), capacity=layer[i, j].item())
    return torch.tensor([networkx.maximum_flow_value(graph, (len(mixed), row), (0, j)) if graph.has_node((0, j)) else 0.0
                         for j in range(len(mixed[0]))], dtype=torch.float64)


def of_stack(watched, inputs, answer, row):
    y, maps, found = watched.run(inputs, answer)
    layers = matrices(maps["enc"])
    tokens = layers[0][0].shape[-1]
    identity = torch.eye(tokens, dtype=torch.float64)
    relevance, rollout = identity, identity
    for weights, gradient in layers:
        relevance = relevance + relevance_matrix(weights, gradient) @ relevance
        rollout = (0.5 * weights.mean(0) + 0.5 * identity) @ rollout
    mixed = [0.5 * weights.mean(0) + 0.5 * identity for weights, _ in layers]
    weights, gradient = layers[-1]
    return {"y": y, "attention": weights.mean(0)[row], "rollout": rollout[row], "flow": flow(mixed, row),
            "attention-gradient": (weights * gradient).mean(0)[row],
            "relevance": (relevance - identity)[row], "gradient-input": inputs_shares(found.values()),
            "integrated-gradients": integrated(watched, inputs, answer, found.keys())}


def of_pair(watched, inputs, answer, row):
    y, maps, found = watched.run(inputs, answer)
    encoder, own, cross = (matrices(maps[name]) for name in ("enc", "dec", "cross"))
    source, target = cross[0][0].shape[-1], cross[0][0].shape[-2]
    r_source = torch.eye(source, dtype=torch.float64)
    roll_source = torch.eye(source, dtype=torch.float64)
    for weights, gradient in encoder:
        r_source = r_source + relevance_matrix(weights, gradient) @ r_source
        roll_source = (0.5 * weights.mean(0) + 0.5 * torch.eye(source, dtype=torch.float64)) @ roll_source
    r_target, r_cross = torch.eye(target, dtype=torch.float64), torch.zeros(target, source, dtype=torch.float64)
    roll_target, roll_cross = torch.eye(target, dtype=torch.float64), torch.zeros(target, source, dtype=torch.float64)
    for (w, g), (cross_w, cross_g) in zip(own, cross):
        own_map = relevance_matrix(w, g)
        r_target, r_cross = r_target + own_map @ r_target, r_cross + own_map @ r_cross
        r_cross = r_cross + normalised(r_target).T @ relevance_matrix(cross_w, cross_g) @ normalised(r_source)
        mixed = 0.5 * w.mean(0) + 0.5 * torch.eye(target, dtype=torch.float64)
        roll_target, roll_cross = mixed @ roll_target, mixed @ roll_cross
        roll_target, roll_cross = 0.5 * roll_target, 0.5 * roll_cross + 0.5 * cross_w.mean(0) @ roll_source
    weights, gradient = cross[-1]
    nothing = torch.zeros(target, dtype=torch.float64)
    return {"y": y, "attention": torch.cat([weights.mean(0)[row], nothing]), "rollout": torch.cat([roll_cross[row], roll_target[row]]),
            "attention-gradient": torch.cat([(weights * gradient).mean(0)[row], nothing]),
            "relevance": torch.cat([r_cross[row], (r_target - torch.eye(target, dtype=torch.float64))[row]]),
            "gradient-input": inputs_shares([found["source"], found["target"]]),
            "integrated-gradients": integrated(watched, inputs, answer, ["source", "target"])}


def ids(seed, length, vocabulary):
    return torch.randint(5, vocabulary, (1, length), generator=torch.Generator().manual_seed(seed))



def case(folder, kind, length, seed):
    model = kind.from_pretrained(ROOT / folder, attn_implementation="eager")
    base = model.base_model
    if folder.startswith("marian"):
        layers = {"source": base.encoder.layers[0], "target": base.decoder.layers[0]}
    elif folder.startswith("bert"):
        layers = {"text": base.embeddings}
    else:
        layers = {"text": base.h[0] if hasattr(base, "h") else base.layers[0]}
    # Scales the input of the first layer: at the output of the embedding module if there is one, otherwise by a hook before the layer.
    hooked = {}
    for name, module in layers.items():
        if folder.startswith("bert"):
            hooked[name] = module
            continue
        step = torch.nn.Identity()
        forward = module.forward
        module.forward = lambda hidden_states, *args, forward=forward, step=step, **named: forward(step(hidden_states), *args, **named)
        hooked[name] = step
    watched = Watched(model, hooked)
    text = ids(seed, length, model.config.vocab_size)
    if folder.startswith("marian"):
        before = torch.cat([torch.tensor([[model.config.decoder_start_token_id]]), ids(seed + 1, length - 4, model.config.vocab_size)], 1)
        row, of = before.shape[1] - 1, 7
        found = of_pair(watched, {"input_ids": text, "decoder_input_ids": before}, lambda out: out.logits[0, row, of], row)
        splits = pair_splits(watched.model, {"input_ids": text, "decoder_input_ids": before},
                             [("enc", 1, 0, 2, 5), ("dec", 1, 1, row, 1), ("cross", 1, 1, row, 3), ("cross", 0, 0, 2, 4)])
        return {"folder": folder, "ids": text[0].tolist(), "written": before[0].tolist(), "of": of} | listed(found) | splits
    is_class = "classify" in folder
    row, of = (0 if folder.startswith("bert") else length - 1), (1 if is_class else 7)
    more = (
        ({} if is_class else inside(watched.model, text, of))
        | score_split(watched.model, text, 1, length - 3, length - 5)
        | listed(mixed(watched.model, text, row))
    )
    found = of_stack(watched, {"input_ids": text}, (lambda out: out.logits[0, of]) if is_class else (lambda out: out.logits[0, -1, of]),
                     row)
    return {"folder": folder, "ids": text[0].tolist(), "of": of} | listed(found) | more


def inside(model, text, of):
    """Returns every head's direct contribution to the logit `of` at the last token, with a fixed norm scale, and every layer's answer."""
    base = model.base_model
    gpt2 = hasattr(base, "h")
    layers, norm = (base.h, base.ln_f) if gpt2 else (base.layers, base.norm)
    kept, handles = {}, []
    for at, layer in enumerate(layers):
        projection = layer.attn.c_proj if gpt2 else layer.self_attn.o_proj
        handles.append(
            projection.register_forward_hook(lambda module, args, output, at=at: kept.__setitem__(at, (module, args[0][0, -1].detach())))
        )
    handles.append(norm.register_forward_hook(lambda module, args, output: kept.__setitem__("final", args[0][0, -1].detach())))
    out = model(input_ids=text, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    x, heads = kept["final"], model.config.num_attention_heads
    eps = norm.eps if gpt2 else norm.variance_epsilon

    def scaled(part):
        centred = part - part.mean() if gpt2 else part
        whole = x - x.mean() if gpt2 else x
        return centred / (whole.pow(2).mean() + eps).sqrt() * norm.weight

    adds = []
    for at in range(len(layers)):
        module, read = kept[at]
        weight = module.weight if gpt2 else module.weight.T  # [in, out]
        width = read.shape[0] // heads
        for head in range(heads):
            part = read[head * width:(head + 1) * width] @ weight[head * width:(head + 1) * width]
            adds.append((model.lm_head.weight[of] @ scaled(part)).item())
    states = [state[0, -1] for state in out.hidden_states[:-1]] + [x]
    lens = [model.lm_head(norm(state)).softmax(-1)[of].item() for state in states]
    return {"adds": adds, "lens": lens}


def kind_of(model):
    """Returns (name of the architecture, its layers)."""
    base = model.base_model
    return ("bert", base.encoder.layer) if hasattr(base, "encoder") else ("gpt2", base.h) if hasattr(base, "h") else ("llama", base.layers)


def modules_of(kind, layer):
    """Returns a layer's output projection, its norms, and its MLP."""
    if kind == "bert":
        return {"o": layer.attention.output.dense, "n1": layer.attention.output.LayerNorm, "mlp": layer.output.dense,
                "n2": layer.output.LayerNorm}
    if kind == "gpt2":
        return {"o": layer.attn.c_proj, "n1": layer.ln_1, "mlp": layer.mlp}
    return {"o": layer.self_attn.o_proj, "n1": layer.input_layernorm, "mlp": layer.mlp}


class Residual:
    """The residual stream of one run as a sum of components: embeddings, then each layer's heads and MLP, then biases. Norms use the scale
    of the run."""

    def __init__(self, model, text):
        self.model, self.heads, self.kept = model, model.config.num_attention_heads, {}
        self.kind, self.layers = kind_of(model)
        handles = [self.keep((at, name), module) for at, layer in enumerate(self.layers)
                   for name, module in modules_of(self.kind, layer).items()]
        self.embeddings = model(input_ids=text, output_hidden_states=True).hidden_states[0][0].detach()
        for handle in handles:
            handle.remove()

    def keep(self, name, module):
        return module.register_forward_hook(lambda module, args, output: self.kept.__setitem__(name, (
            args[0].detach()[0] if args else None, (output[0] if isinstance(output, tuple) else output).detach()[0])))

    def scaled(self, norm, part, whole):
        if self.kind != "llama":
            part, whole = part - part.mean(-1, keepdim=True), whole - whole.mean()
        eps = norm.variance_epsilon if self.kind == "llama" else norm.eps
        return part / (whole.pow(2).mean() + eps).sqrt() * norm.weight

    def through(self, norm, found, bias, whole):
        shift = getattr(norm, "bias", torch.zeros(1).double())
        return [self.scaled(norm, part, whole) for part in found], self.scaled(norm, bias, whole) + shift

    def parts(self, row):
        """Returns the components of the input of the last layer's projections at a row: [component, width]."""
        found, bias, last = [self.embeddings[row]], 0 * self.embeddings[row], len(self.layers) - 1
        for at in range(last):
            modules = modules_of(self.kind, self.layers[at])
            weight = modules["o"].weight if self.kind == "gpt2" else modules["o"].weight.T
            read = self.kept[at, "o"][0][row]
            width = read.shape[0] // self.heads
            found += [read[h * width:(h + 1) * width] @ weight[h * width:(h + 1) * width] for h in range(self.heads)]
            bias = bias + (modules["o"].bias if modules["o"].bias is not None else 0)
            if self.kind == "bert":
                found, bias = self.through(modules["n1"], found, bias, self.kept[at, "n1"][0][row])
            found.append(self.kept[at, "mlp"][1][row])
            if self.kind == "bert":
                found, bias = self.through(modules["n2"], found, bias, self.kept[at, "n2"][0][row])
        if self.kind != "bert":
            found, bias = self.through(modules_of(self.kind, self.layers[last])["n1"], found, bias, self.kept[last, "n1"][0][row])
        return torch.stack([*found, bias])

    def projection(self, is_key):
        """Returns the last layer's (weight [in, out], bias or None) of queries or keys."""
        layer = self.layers[-1]
        if self.kind == "gpt2":
            size = self.model.config.hidden_size
            return layer.attn.c_attn.weight.split(size, 1)[is_key], layer.attn.c_attn.bias.split(size)[is_key]
        of = layer.attention.self if self.kind == "bert" else layer.self_attn
        module = ((of.key if is_key else of.query) if self.kind == "bert" else (of.k_proj if is_key else of.q_proj))
        return module.weight.T, module.bias

    def projected(self, row, head, is_key):
        weight, bias = self.projection(is_key)
        out = self.parts(row) @ weight
        if bias is not None:
            out[-1] += bias
        count = getattr(self.model.config, "num_key_value_heads", self.heads) if is_key else self.heads
        width = out.shape[1] // count
        at = head // (self.heads // count)
        out = out[:, at * width:(at + 1) * width]
        if self.kind == "llama":
            cos, sin = self.model.base_model.rotary_emb(out, torch.tensor([[row]]))
            turned = torch.cat([-out[:, width // 2:], out[:, :width // 2]], 1)
            out = out * cos[0] + turned * sin[0]
        return out


def score_split(model, text, head, query, key):
    """Decomposes a score of the last layer into components of the residual stream at its query and at its key."""
    residual = Residual(model, text)
    q, k = residual.projected(query, head, False), residual.projected(key, head, True)
    scale = q.shape[1] ** -0.5
    return {"score": {"layer": len(residual.layers) - 1, "head": head, "query": query, "key": key,
                      "of_query": (q @ k.sum(0) * scale).tolist(), "of_key": (k @ q.sum(0) * scale).tolist()}}


def blocks(stack, layer):
    """Yields (output projection, norm, family) of a layer's attention and MLP. An MLP has no family."""
    yield layer.self_attn.out_proj, layer.self_attn_layer_norm, stack
    if stack == "dec":
        yield layer.encoder_attn.out_proj, layer.encoder_attn_layer_norm, "cross"
    yield layer.fc2, layer.final_layer_norm, None


def pair_splits(model, inputs, asked):
    """score_split for a post-norm encoder-decoder. asked: a list of (family, layer, head, query, key)."""
    kept, handles = {}, []
    heads_of = {"enc": model.config.encoder_attention_heads, "dec": model.config.decoder_attention_heads}
    stacks = {"enc": model.model.encoder, "dec": model.model.decoder}

    def keep(name, module):
        handles.append(
            module.register_forward_hook(lambda module, args, output: kept.__setitem__(name, (args[0].detach()[0], output.detach()[0])))
        )

    for stack, of in stacks.items():
        of.layers[0].register_forward_pre_hook(lambda module, args, stack=stack: kept.__setitem__(stack, args[0].detach()[0]))
        for at in range(len(of.layers)):
            for module, norm, family in blocks(stack, stacks[stack].layers[at]):
                keep((stack, at, family), module)
                keep((stack, at, family, "norm"), norm)
    model(**inputs)
    for handle in handles:
        handle.remove()

    def parts_at(stack, row, layer, before_cross):
        found, heads = [kept[stack][row]], heads_of[stack]
        bias = 0 * found[0]
        for at in range(len(stacks[stack].layers)):
            for module, norm, family in blocks(stack, stacks[stack].layers[at]):
                if at == layer and family == ("cross" if before_cross else stack):
                    return torch.stack([*found, bias])
                read, written = kept[stack, at, family]
                if family is None:
                    found.append(written[row])
                else:
                    width = read.shape[1] // heads
                    found += [module.weight[:, h * width:(h + 1) * width] @ read[row, h * width:(h + 1) * width] for h in range(heads)]
                    bias = bias + module.bias
                whole = kept[stack, at, family, "norm"][0][row]
                spread = ((whole - whole.mean()).pow(2).mean() + norm.eps).sqrt()
                found, bias = (
                    [(part - part.mean()) / spread * norm.weight for part in found],
                    (bias - bias.mean()) / spread * norm.weight + norm.bias,
                )
        return torch.stack([*found, bias])

    def split(family, layer, head, query, key):
        own, last = "enc" if family == "enc" else "dec", len(stacks["enc"].layers)
        attention = stacks[own].layers[layer].encoder_attn if family == "cross" else stacks[own].layers[layer].self_attn
        sides = []
        for projection, row, is_key in ((attention.q_proj, query, False), (attention.k_proj, key, True)):
            parts = parts_at("enc", row, last, False) if is_key and family == "cross" else parts_at(own, row, layer, family == "cross")
            out = parts @ projection.weight.T
            out[-1] += projection.bias
            width = out.shape[1] // heads_of[own]
            sides.append(out[:, head * width:(head + 1) * width])
        q, k = sides
        of_query, of_key = q @ k.sum(0) * q.shape[1] ** -0.5, k @ q.sum(0) * q.shape[1] ** -0.5
        if family == "cross":  # components of the query, then of the key, then the biases of both
            of_query, of_key = torch.cat([of_query[:-1], 0 * of_key[:-1], of_query[-1:]]), torch.cat([0 * of_query[:-1], of_key])
        return {"family": family, "layer": layer, "head": head, "query": query, "key": key, "of_query": of_query.tolist(),
                "of_key": of_key.tolist()}

    return {"scores": [split(*one) for one in asked]}


def mixed(model, text, row):
    """Norm of each token's contribution to a row of the last layer: heads, residual connection, layer norm (Kobayashi et al. 2021)."""
    kind, layers = kind_of(model)
    layer, kept = layers[-1], {}
    of = layer.attention.self if kind == "bert" else layer.attn if kind == "gpt2" else layer.self_attn
    value = of.value if kind == "bert" else of.c_attn if kind == "gpt2" else of.v_proj
    handles = [
        value.register_forward_hook(lambda module, args, output: kept.__setitem__("v", output[0].detach())),
        layer.register_forward_pre_hook(
            lambda module, args, named: kept.__setitem__("x", (args[0] if args else named["hidden_states"])[0].detach()), with_kwargs=True
        ),
    ]
    if kind == "bert":
        handles.append(
            layer.attention.output.LayerNorm.register_forward_hook(
                lambda module, args, output: kept.__setitem__("whole", args[0][0].detach())
            )
        )
    weights = model(input_ids=text, output_attentions=True).attentions[-1][0].detach()
    for handle in handles:
        handle.remove()
    v = kept["v"].split(model.config.hidden_size, 1)[2] if kind == "gpt2" else kept["v"]
    heads = model.config.num_attention_heads
    width = getattr(model.config, "head_dim", None) or model.config.hidden_size // heads
    v = v.view(v.shape[0], -1, width).repeat_interleave(heads // (v.shape[1] // width), 1)  # [key, head, width]
    out = modules_of(kind, layer)["o"].weight
    out = out if kind == "gpt2" else out.T
    added = torch.einsum("hj,jhc,hcd->jd", weights[:, row], v, out.view(heads, width, -1))
    added[row] += kept["x"][row]
    if kind == "bert":
        norm, whole = layer.attention.output.LayerNorm, kept["whole"][row]
        added = (added - added.mean(1, keepdim=True)) / ((whole - whole.mean()).pow(2).mean() + norm.eps).sqrt() * norm.weight
    return {"mixed": added.norm(dim=1)}


def listed(found):
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in found.items()}


if __name__ == "__main__":
    cases = [case("bert/classify", hf.BertForSequenceClassification, 11, 1), case("gpt2/plain", hf.GPT2LMHeadModel, 13, 2),
             case("llama/gqa", hf.LlamaForCausalLM, 12, 3), case("llama/mistral", hf.MistralForCausalLM, 17, 4),
             case("marian/shared", hf.MarianMTModel, 9, 5)]
    (ROOT / "attribution.json").write_text(json.dumps({"steps": STEPS, "cases": cases}, indent=1) + "\n")
