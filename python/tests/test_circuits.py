"""ch.circuits and ch.head_effects: equal to products of whole matrices and to runs with edited weights; heads of a known model."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import clearhead as ch
import numpy as np
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

from test_explain import SMALL, TEXT, byte_tokenizer, made, with_weights

SMALL_VOCABULARY = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **SMALL}
OTHER = "a dog sat on the mat."


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(model, tokenizer) by name, made once."""
    kept = {}

    def get(kind):
        if kind not in kept:
            kept[kind] = made(kind, tmp_path_factory.mktemp(kind))
        return kept[kind]

    return get


def parts_of(kind, model, layer):
    """Returns what the modules of a layer compute for every embedding: (q, k, v without constant terms, W_O [channel, width], the gain and
    whether the final norm centres, the table of embeddings)."""
    with torch.no_grad():
        if kind == "gpt2":
            block, table = model.transformer.h[layer], model.transformer.wte.weight
            split = lambda x: block.attn.c_attn(x).split(model.config.n_embd, -1)
            q, k, v = split(block.ln_1(table))
            v = v - split(block.ln_1.bias)[2]
            return q, k, v, block.attn.c_proj.weight, (model.transformer.ln_f.weight, True), table
        block, table = model.model.layers[layer], model.model.embed_tokens.weight
        x, attention = block.input_layernorm(table), block.self_attn
        v = attention.v_proj(x) - attention.v_proj(torch.zeros_like(x))
        return attention.q_proj(x), attention.k_proj(x), v, attention.o_proj.weight.T, (model.model.norm.weight, False), table


def whole_circuits(kind, model, layer, head):
    """Both matrices over vocabulary × vocabulary in double."""
    q, k, v, output, (gain, centres), _ = (one.double() if isinstance(one, torch.Tensor) else one for one in parts_of(kind, model, layer))
    heads = model.config.num_attention_heads
    size = q.shape[-1] // heads
    group = heads // (k.shape[-1] // size)
    of = lambda x, at: x[:, at * size : (at + 1) * size]
    qk = of(q, head) @ of(k, head // group).T / size**0.5
    added = of(v, head // group) @ output[head * size : (head + 1) * size]
    added = added - added.mean(-1, keepdim=True) if centres else added
    ov = (added * gain.double()) @ model.lm_head.weight.double().T
    return tuple((one - one.mean(-1, keepdim=True)).detach().numpy() for one in (qk, ov))


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2"])
def test_circuits_equal_products_of_whole_matrices(kind, models):
    model, tokenizer = models(kind)
    found = ch.circuits(model, tokenizer)
    for layer, head in ((0, 0), (2, 3)):
        one = found.head(layer, head)
        for (a, b), expected in zip((one.qk, one.ov), whole_circuits(kind, model, layer, head)):
            np.testing.assert_allclose(a @ b.T, expected, atol=1e-5 * np.abs(expected).max())
        qk, ov = whole_circuits(kind, model, layer, head)
        best = np.unravel_index(np.argsort(-qk.ravel())[:5], qk.shape)
        assert [(query.id, key.id) for query, key, _ in one.reads(count=5)] == list(zip(*map(list, best)))
        a = tokenizer("a", add_special_tokens=False)["input_ids"][0]
        raises, lowers = one.writes("a", count=4)
        assert [token.id for token, _ in raises] == np.argsort(-ov[a])[:4].tolist()
        assert [token.id for token, _ in lowers] == np.argsort(ov[a])[:4].tolist()
        eigenvalues = np.linalg.eigvals(ov)
        eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues))][: one.ov[0].shape[1]]
        assert abs(one.copying - eigenvalues.real.sum() / np.abs(eigenvalues).sum()) < 1e-3
        assert abs(one.copying_rank - np.mean([(row < row[at]).sum() / (len(row) - 1) for at, row in enumerate(ov)])) < 1e-3
    assert np.all(np.abs(found.copying_null[:, 0]) < 0.2) and found.table(2).count("\n") == 2


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_command_line_has_the_same_circuits(kind, models, tmp_path):
    if not (Path(ch.__file__).parent / "bin" / "clearhead").exists():
        pytest.skip("the command line is not built")
    model, tokenizer = models(kind)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    run = lambda *words: json.loads(subprocess.run([sys.executable, "-m", "clearhead", "circuits", str(tmp_path), *words, "--json"],
                                                   capture_output=True, check=True).stdout)
    found = ch.circuits(model, tokenizer)
    assert all(abs(one["z"] - found.copying_z[one["layer"], one["head"]]) < 1e-5 for one in run()["heads"])
    told, head = run("--head", "L2.H3", "--top", "6"), found.head(2, 3)
    assert [(one["query"]["id"], one["key"]["id"]) for one in told["reads"]] == [(a.id, b.id) for a, b, _ in head.reads(count=6)]
    assert [(one["source"]["id"], one["output"]["id"]) for one in told["writes"]] == [(a.id, b.id) for a, b, _ in head.writes(count=6)]


def test_a_model_in_bf16_has_nearly_the_same_circuits(models):
    model, tokenizer = models("gpt2")
    half = ch.circuits(copy.deepcopy(model).to(torch.bfloat16), tokenizer)
    assert np.abs(half.copying - ch.circuits(model, tokenizer).copying).max() < 0.02


@pytest.mark.parametrize("name", ["GPTNeoX", "Phi3", "Gemma", "GPTJ", "Falcon", "Mixtral"])
def test_other_layouts_of_projections_are_found(name):
    """A single token attends to itself only, so the outputs of the heads of layer 0 are its values."""
    own = {"Phi3": {"num_key_value_heads": 2}, "Mixtral": {"num_key_value_heads": 2}, "Gemma": {"num_key_value_heads": 2, "head_dim": 8},
           "GPTJ": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}}
    model = with_weights(getattr(tf, f"{name}ForCausalLM")(getattr(tf, f"{name}Config")(**{**SMALL_VOCABULARY, **own.get(name, {})})))
    found = ch.circuits(model)
    read = []
    project = next(module for path, module in model.named_modules() if path.endswith(("o_proj", "out_proj", "attention.dense")))
    project.register_forward_pre_hook(lambda module, given: read.append(given[0].detach()[0, 0].unflatten(0, (4, 8))))
    with torch.no_grad():
        for token in (7, 8):
            model(input_ids=torch.tensor([[token]]))
    for head in range(4):
        values = found.head(0, head).ov[0]  # without the constant terms, which cancel
        np.testing.assert_allclose(values[7] - values[8], (read[0] - read[1])[head].numpy(), atol=1e-5)


def test_queries_and_keys_keep_their_places_in_any_order_of_modules():
    config = tf.OPTConfig(**{**SMALL_VOCABULARY, "ffn_dim": 48, "word_embed_proj_dim": 32})  # its modules are k_proj, v_proj, q_proj
    model = with_weights(tf.OPTForCausalLM(config))
    layer, attention = ch.circuits(model)._weights.layers[1], model.model.decoder.layers[1].self_attn
    for name, module in (("query", attention.q_proj), ("key", attention.k_proj), ("value", attention.v_proj)):
        assert torch.equal(layer[name], module.weight)
    assert abs(layer["scale"] - 8**-0.5) < 1e-6 and torch.equal(layer["query_bias"], attention.q_proj.bias)


@pytest.mark.parametrize("name, message", [
    ("Qwen3", r"model\.layers\.0\.self_attn: its queries, keys and values are not plain projections"),
    ("Gemma2", r"model\.layers\.0\.self_attn: the block does not add the output of attention"),
    ("Bert", "the block does not add the output of attention"),
    ("Cohere", "lm_head: the model changes its logits afterwards"),
])
def test_models_that_are_not_products_of_their_matrices_are_refused(name, message):
    more = {} if name == "Bert" else {"num_key_value_heads": 2, **({} if name == "Cohere" else {"head_dim": 8})}
    config = getattr(tf, f"{name}Config")(**SMALL_VOCABULARY, **more)
    kind = getattr(tf, "BertForMaskedLM" if name == "Bert" else f"{name}ForCausalLM")
    with pytest.raises(ch.UnsupportedError, match=message):
        ch.circuits(with_weights(kind(config)))


def test_wrong_arguments_are_refused(models):
    model, tokenizer = models("gpt2")
    found = ch.circuits(model, tokenizer)
    with pytest.raises(ch.InvalidArgumentError, match=r"there is no head L3\.H0; the model has layers 0 to 2 with heads 0 to 3"):
        found.head(3, 0)
    with pytest.raises(ch.InvalidArgumentError, match="'abc' is not a single token"):
        found.head(0, 0).writes("abc")
    with pytest.raises(ch.InvalidArgumentError, match='expected "Q", "K" or "V"'):
        found.composition("O")
    with pytest.raises(ch.InvalidArgumentError, match="both must have the same number of tokens"):
        ch.head_effects(model, tokenizer, TEXT, target="a", other=TEXT + "!")
    with pytest.raises(ch.InvalidArgumentError, match='expected "zero" or "mean"'):
        ch.head_effects(model, tokenizer, TEXT, ablation="noise")
    with pytest.raises(ch.UnsupportedError, match="families"):
        ch.head_effects(*models("marian"), TEXT, answer="y")


def test_composition_equals_norms_of_whole_matrices(models):
    model, tokenizer = models("gpt2")
    found, size, width = ch.circuits(model, tokenizer), 8, 32

    def matrices(layer, head):
        block = model.transformer.h[layer]
        centred = torch.eye(width).sub(1 / width) @ torch.diag(block.ln_1.weight)  # x ↦ (x − mean x)·gain, from the right
        q, k, v = (one[:, head * size : (head + 1) * size] for one in (centred @ block.attn.c_attn.weight).split(width, 1))
        return q, k, v @ block.attn.c_proj.weight[head * size : (head + 1) * size]

    with torch.no_grad():
        _, _, ov = matrices(0, 1)
        q, k, later = matrices(2, 3)
        expected = {"Q": ov @ q @ k.T, "K": ov @ k @ q.T, "V": ov @ later}
        own = {"Q": q @ k.T, "K": q @ k.T, "V": later}
        for kind, product in expected.items():
            share = float(product.norm() / (ov.norm() * own[kind].norm()))
            assert abs(found.composition(kind)[2, 3, 0, 1] - share) < 1e-6
    composed = found.composition("K")
    assert np.isnan(composed[1, 0, 1, 0]) and np.isnan(composed[0, 0, 1, 0])
    assert abs(np.sqrt(np.nanmean(composed**2)) / found.composition_baseline - 1) < 0.1  # random weights


def test_the_induction_heads_of_a_known_model_are_found(known_model):
    from known_torch_model import loaded

    model, tokenizer = loaded(str(known_model))
    found = ch.circuits(model, tokenizer)
    assert abs(found.copying[1, 0] - 1) < 1e-4 and np.isnan(found.copying[1, 1]) and found.copying_z[1, 0] > 5
    assert found.head(1, 0).writes("q", count=1).raises[0][0] == "q" and found.head(1, 0).copying_rank == 1
    scores = found.induction(length=40, repeats=2)
    assert scores["induction"][1, 0] > 0.9 and scores["control"][1, 0] < 0.1
    assert scores["previous"][0, 0] > 0.95 and scores["induction"][0].max() < 0.1
    composed = found.composition("K")[1, :, 0]  # [head, earlier head]
    assert composed[0].min() > 1.5 * found.composition_baseline  # the induction head reads both heads of layer 0 through its keys
    assert np.nan_to_num(composed[1]).max() < 1e-6  # L1.H1 reads positions only
    text = "abcdefg hijklm abcdefg hijk"
    effects = ch.head_effects(model, tokenizer, text, target="l")
    assert effects.top(1)[0][:2] in ((1, 0), (0, 0), (0, 1)) and effects.effects[1, 0] < -1 and abs(effects.effects[1, 1]) < 1e-4
    direct = ch.head_effects(model, tokenizer, text, target="l", path="direct")
    assert direct.effects[1, 0] < -1 and np.abs(direct.effects[0]).max() < 1e-4  # heads of layer 0 act only through L1.H0


@pytest.mark.parametrize("kind, target, contrast", [("gpt2", "a", "b"), ("llama", "abc", None), ("gpt2-class", "LABEL_2", None)])
def test_zero_ablation_equals_zeroing_the_rows_of_the_output_projection(kind, target, contrast, models):
    model, tokenizer = models(kind)
    found = ch.head_effects(model, tokenizer, TEXT, target=target, contrast=contrast)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    for layer, head in ((0, 1), (2, 3)):
        edited = copy.deepcopy(model)
        with torch.no_grad():
            if kind.startswith("gpt2"):
                edited.transformer.h[layer].attn.c_proj.weight[head * 8 : (head + 1) * 8] = 0
            else:
                edited.model.layers[layer].self_attn.o_proj.weight[:, head * 8 : (head + 1) * 8] = 0
        y = ch.head_effects(edited, tokenizer, TEXT, target=target, contrast=contrast).value
        assert abs(found.effects[layer, head] - (y - found.value)) < 1e-4
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_mean_ablation_equals_a_constant_in_the_bias(models):
    model, tokenizer = models("gpt2")
    found = ch.head_effects(model, tokenizer, TEXT, target="a", ablation="mean")
    read = []
    hook = model.transformer.h[1].attn.c_proj.register_forward_pre_hook(lambda module, given: read.append(given[0][0]))
    with torch.no_grad():
        model(**tokenizer(TEXT, return_tensors="pt"))
        hook.remove()
        edited = copy.deepcopy(model)
        project = edited.transformer.h[1].attn.c_proj
        project.bias += read[0][:, 16:24].mean(0) @ project.weight[16:24]
        project.weight[16:24] = 0
    y = ch.head_effects(edited, tokenizer, TEXT, target="a").value
    assert abs(found.effects[1, 2] - (y - found.value)) < 1e-4


@pytest.mark.parametrize("path", ["total", "direct"])
def test_patching_equals_runs_with_replaced_outputs(path, models):
    model, tokenizer = models("gpt2")
    found = ch.head_effects(model, tokenizer, TEXT, target="a", contrast="b", other=OTHER, path=path)
    projections = [block.attn.c_proj for block in model.transformer.h]
    ids = [tokenizer(text, return_tensors="pt")["input_ids"] for text in (TEXT, OTHER)]
    a, b = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in "ab")

    def run(tokens, replace=lambda layer, x: x):
        read, hooks = {}, []
        for layer, project in enumerate(projections):
            def hook(module, given, layer=layer):
                read[layer] = given[0].clone()
                return (replace(layer, given[0].clone()),)

            hooks.append(project.register_forward_pre_hook(hook))
        with torch.no_grad():
            logits = model(tokens).logits[0, -1]
        for hook in hooks:
            hook.remove()
        return read, float(logits[a] - logits[b])

    clean, y = run(ids[0])
    other, y_other = run(ids[1])
    assert abs(found.value - y) < 1e-5 and abs(found.other_value - y_other) < 1e-5
    for sender, head in ((0, 2), (1, 0), (2, 3)):
        def replace(layer, x, sender=sender, head=head):
            if layer == sender:
                x[:, :, head * 8 : (head + 1) * 8] = other[layer][:, :, head * 8 : (head + 1) * 8]
            return clean[layer] if path == "direct" and layer > sender else x

        assert abs(found.effects[sender, head] - (run(ids[0], replace)[1] - y)) < 1e-4
    np.testing.assert_allclose(found.recovered, found.effects / (y_other - y), rtol=1e-3)
    same = ch.head_effects(model, tokenizer, TEXT, target="a", contrast="b", other=TEXT, path=path)
    assert np.abs(same.effects).max() < 1e-5


def test_effects_can_be_shown(models):
    model, tokenizer = models("llama")
    found = ch.head_effects(model, tokenizer, TEXT, target="a")
    assert found.table(3).count("\n") == 4 and np.asarray(found).shape == (3, 4)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert found.plot().get_title() == 'next token "a"'
    _, count = byte_tokenizer()
    assert ch.circuits(model).head(0, 0).reads(count=1)[0][0].startswith("#") and count > 200
