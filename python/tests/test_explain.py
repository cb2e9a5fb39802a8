"""ch.explain: equal to the command line's methods on models that clearhead loads too, and its errors."""

import json

import clearhead as ch
import numpy as np
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

METHODS = tuple(ch.explanation_methods())
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat dog ran . ##s a".split()
TEXT = "the cat sat on a mat."


def byte_tokenizer():
    """A tokenizer with one token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = ["<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={one: at for at, one in enumerate(vocabulary)}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return tf.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"), len(vocabulary)


def word_tokenizer(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return tf.BertTokenizerFast(str(folder / "vocab.txt")), len(WORDS)


def with_weights(model, seed=1):
    """Moves every parameter away from zero and one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if type(model).__name__ == "MarianMTModel" and "embed_positions" in name:  # computed, not stored
                continue
            noise = torch.randn(one.shape, generator=generator)
            one.copy_(noise * 1.3 / one.shape[-1] ** 0.5 if one.dim() > 1 else one + 0.2 * noise)
    return model.eval()


def made(kind, folder):
    """Returns (model, tokenizer) of a small model with random weights, and saves both."""
    words = kind.startswith("bert")
    tokenizer, size = word_tokenizer(folder) if words else byte_tokenizer()
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    gpt2 = {"vocab_size": size, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "num_labels": 3, **ids}
    grouped = {"vocab_size": size, "num_key_value_heads": 2, **SMALL, **ids}
    bert = tf.BertConfig(vocab_size=size, num_labels=3, **SMALL)
    model = {
        "gpt2": lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**gpt2)),
        "gpt2-class": lambda: tf.GPT2ForSequenceClassification(tf.GPT2Config(**gpt2)),
        "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**grouped)),
        "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**grouped)),
        "bert-class": lambda: tf.BertForSequenceClassification(bert),
        "bert-mask": lambda: tf.BertForMaskedLM(bert),
        "bert-tag": lambda: tf.BertForTokenClassification(bert),
        "bert-number": lambda: tf.BertForSequenceClassification(tf.BertConfig(vocab_size=size, num_labels=1, **SMALL)),
        "marian": lambda: tf.MarianMTModel(tf.MarianConfig(
            vocab_size=size, d_model=32, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
            forced_eos_token_id=None)),
    }[kind]()
    with_weights(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


CASES = [
    ("gpt2", TEXT, {}), ("gpt2", TEXT, {"target": "abc"}), ("gpt2", TEXT, {"target": "a", "contrast": "b"}),
    ("gpt2", TEXT, {"target": "token 5"}), ("gpt2", TEXT, {"target": "token 5", "contrast": "b"}),
    ("llama", TEXT, {"target": "ab"}), ("qwen2", TEXT, {}), ("gpt2-class", TEXT, {}),
    ("bert-class", TEXT, {"target": "LABEL_2"}), ("bert-class", TEXT, {"target": "LABEL_2", "contrast": "LABEL_0"}),
    ("bert-mask", "the cat [MASK] on a mat.", {"target": "sat"}), ("bert-tag", TEXT, {"target": "token 3"}),
    ("bert-tag", TEXT, {"target": "token 2 LABEL_1"}), ("bert-number", TEXT, {}), ("marian", TEXT, {"target": "y"}),
    ("marian", TEXT, {"target": "yz"}),
]


@pytest.mark.parametrize(("kind", "text", "options"), CASES)
def test_every_method_equals_that_of_models_that_clearhead_loads(kind, text, options, tmp_path):
    model, tokenizer = made(kind, tmp_path)
    ours = ch.load(str(tmp_path))
    of_target = ({"pair": "wxyz"}, {"answer": "wxyz"}) if kind == "marian" else ({}, {})  # the same translation
    for units, plural in (("token", "tokens"), ("word", "words")):
        for method in METHODS:
            if kind == "marian" and method in ("flow", "mixed", "alti", "value-zeroing", "information-flow"):
                with pytest.raises(ch.UnsupportedError):
                    ch.explain(model, tokenizer, text, methods=method, **options, **of_target[1])
                continue
            known = ours.why(text, methods=[method], units=units, steps=4, **options, **of_target[0])
            found = ch.explain(model, tokenizer, text, methods=method, units=plural, steps=4, **options, **of_target[1])
            expected = known["shares"][method]
            assert len(expected) == len(found.parts) > 2, method
            off = np.abs(found.shares[method] - expected).max()
            assert off < 1e-5 * max(1, np.abs(expected).max()), (method, units)
            assert found.answer == known["answer"] or "\ufffd" in found.answer
            value = found.number if found.probability is None else found.probability
            assert value == pytest.approx(known.get("probability", known.get("number")), abs=1e-5)


def eager_maps(model, ids, number):
    """Returns (weights, gradients of the number with respect to them), f64 [layer, head, query, key], from eager attention."""
    model.set_attn_implementation("eager")
    out = model(ids, output_attentions=True)
    for one in out.attentions:
        one.retain_grad()
    number(out.logits[0]).backward()
    maps = np.stack([one.detach()[0].double().numpy() for one in out.attentions])
    gradients = np.stack([one.grad[0].double().numpy() for one in out.attentions])
    model.set_attn_implementation("sdpa")
    model.zero_grad(set_to_none=True)
    return maps, gradients


def test_information_flow_passes_the_shares_of_the_answers_tokens_on(tmp_path):
    model, tokenizer = made("llama", tmp_path)
    found = ch.explain(model, tokenizer, TEXT, answer="wxyz", methods=["information-flow", "relevance"], units="tokens")
    ids = tokenizer(TEXT + "wxy", return_tensors="pt")["input_ids"]
    answer, rows = tokenizer("wxyz")["input_ids"], list(range(len(TEXT) - 1, len(TEXT) + 3))
    maps, gradients = eager_maps(model, ids, lambda logits: torch.log_softmax(logits[rows], -1)[range(4), answer].sum())
    layers = np.maximum(maps * gradients, 0).mean(1)

    def relevance(start):
        r = start.copy()
        for layer in layers[::-1]:
            r = r + r @ layer
        return r - start

    start = np.zeros(ids.shape[1])
    start[rows] = 1 / 4
    shares = relevance(start)
    np.testing.assert_allclose(found.shares["relevance"], shares[: len(TEXT)], atol=1e-6)
    whole = shares.sum()
    while shares[len(TEXT) :].sum() > 0.01 * whole:
        passed = np.zeros_like(shares)
        passed[len(TEXT) - 1 : -1] = shares[len(TEXT) :]
        shares[len(TEXT) :] = 0
        reached = relevance(passed)
        shares += reached * passed.sum() / reached.sum()
    np.testing.assert_allclose(found.shares["information-flow"], shares[: len(TEXT)], atol=1e-6)
    assert found.shares["information-flow"].sum() > 0.98 * whole > found.shares["relevance"].sum()
    part = ch.explain(model, tokenizer, TEXT, answer="wxyz", target="z", methods="information-flow", units="tokens")
    assert [str(one) for one in part.parts] == list(TEXT + "wxy") and (part.shares["information-flow"][-3:] < 0.01).all()


@pytest.mark.parametrize("kind", ["bert-class", "gpt2"])
def test_alti_equals_the_formula_on_whole_vectors(kind, tmp_path):
    model, tokenizer = made(kind, tmp_path)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    found = ch.explain(model, tokenizer, TEXT, methods="alti", units="tokens", target="LABEL_1" if kind == "bert-class" else "a")
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model(ids, output_attentions=True, output_hidden_states=True)
    count, width = ids.shape[1], 32
    r = np.zeros(count)
    r[0 if kind == "bert-class" else -1] = 1
    for at in (2, 1, 0):
        x, weights = out.hidden_states[at][0], out.attentions[at][0]
        with torch.no_grad():
            if kind == "gpt2":
                block = model.transformer.h[at]
                value = block.attn.c_attn(block.ln_1(x))[:, 2 * width :]
                project = block.attn.c_proj.weight
            else:
                block = model.bert.encoder.layer[at].attention
                value, project = block.self.value(x), block.output.dense.weight.T
            value = value.view(count, 4, 8)
            parts = torch.einsum("hij,jhd,hdw->ijw", weights, value, project.view(4, 8, width))  # [query, key, width]
            parts[range(count), range(count)] += x
            if kind != "gpt2":
                whole = parts.sum(1) + block.output.dense.bias  # the scale of the row includes the bias
                scale = block.output.LayerNorm.weight / (whole.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
                parts = (parts - parts.mean(-1, keepdim=True)) * scale[:, None]
        y = parts.sum(1, keepdim=True)
        near = (y.abs().sum(-1) - (y - parts).abs().sum(-1)).clamp(min=0).double().numpy()
        r = r @ (near / near.sum(1, keepdims=True))
    shown = slice(1, -1) if kind == "bert-class" else slice(None)
    np.testing.assert_allclose(found.shares["alti"], r[shown], atol=2e-6)


@pytest.mark.parametrize("kind", ["bert-class", "gpt2", "llama"])
def test_value_zeroing_equals_runs_with_a_value_projection_that_is_zero_for_a_token(kind, tmp_path):
    model, tokenizer = made(kind, tmp_path)
    inputs = tokenizer(TEXT, return_tensors="pt")
    found = ch.explain(model, tokenizer, TEXT, methods="value-zeroing", units="tokens", target="LABEL_1" if kind == "bert-class" else "a")
    layers = model.transformer.h if kind == "gpt2" else model.model.layers if kind == "llama" else model.bert.encoder.layer
    project = {"gpt2": lambda of: (of.attn.c_attn, 64), "llama": lambda of: (of.self_attn.v_proj, 0),
               "bert-class": lambda of: (of.attention.self.value, 0)}[kind]

    def states(at, token):
        def zero(_, positional, out):
            if token is not None:
                out[:, token, begin:] = 0
            return out

        seen, (module, begin) = [], project(layers[at])
        hooks = [module.register_forward_hook(zero), layers[at].register_forward_hook(
            lambda _, positional, out: seen.append((out if torch.is_tensor(out) else out[0])[0].double().clone()))]
        with torch.no_grad():
            model(**inputs)
        for hook in hooks:
            hook.remove()
        return seen[0]

    count = inputs["input_ids"].shape[1]
    r = np.zeros(count)
    r[0 if kind == "bert-class" else -1] = 1
    for at in (2, 1, 0):
        whole = states(at, None)
        distance = np.stack([1 - torch.cosine_similarity(whole, states(at, token), -1).numpy() for token in range(count)], 1)
        r = r @ (distance / distance.sum(1, keepdims=True))
    shown = slice(1, -1) if kind == "bert-class" else slice(None)
    np.testing.assert_allclose(found.shares["value-zeroing"], r[shown], atol=1e-5)


@pytest.mark.parametrize("other", [0, 2])
def test_layers_with_different_heads_are_explained_together(other, tmp_path):
    model, tokenizer = made("gpt2", tmp_path)
    model.transformer.h[other].attn.num_heads, model.transformer.h[other].attn.head_dim = 2, 16
    inputs = tokenizer(TEXT, return_tensors="pt")
    count = inputs["input_ids"].shape[1]
    found = ch.explain(model, tokenizer, TEXT, methods=["occlusion", "value-zeroing", "alti", "attention"], units="tokens", target="a")
    assert found.trace.families == ["dec", "dec-2"]
    assert found.costs["alti"]["runs"] == 3 and found.costs["value-zeroing"]["runs"] == 3 * count
    model.set_attn_implementation("eager")
    with torch.no_grad():
        last = model(**inputs, output_attentions=True).attentions[2][0]
    np.testing.assert_allclose(found.shares["attention"], last[:, -1].mean(0), atol=1e-6)
    answer = tokenizer("a")["input_ids"][0]
    probability = lambda mask: float(model(inputs["input_ids"], attention_mask=mask).logits[0, -1].softmax(-1)[answer])
    with torch.no_grad():
        whole = probability(torch.ones(1, count))
        drops = [whole - probability(torch.ones(1, count).index_fill(1, torch.tensor(at), 0)) for at in range(count - 1)]
    np.testing.assert_allclose(found.shares["occlusion"][:-1], drops, atol=1e-6)  # the last token is the row that the answer is read from


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return made("gpt2", tmp_path_factory.mktemp("gpt2"))


def test_the_model_is_unchanged_afterwards(gpt2):
    model, tokenizer = gpt2
    model.train()
    model.transformer.wte.weight.requires_grad_(False)
    before = [one.requires_grad for one in model.parameters()]
    ch.explain(model, tokenizer, TEXT, methods=["relevance", "integrated-gradients", "occlusion"], steps=2)
    assert model.training and model.lm_head.training and [one.requires_grad for one in model.parameters()] == before
    assert all(one.grad is None for one in model.parameters())
    assert not model._forward_pre_hooks and not model.transformer.h[0]._forward_pre_hooks
    model.transformer.wte.weight.requires_grad_(True)
    model.eval()


def test_a_whole_answer_is_explained_by_the_sum_of_its_log_probabilities(gpt2):
    model, tokenizer = gpt2
    found = ch.explain(model, tokenizer, TEXT, answer="xyz", methods=["occlusion", "gradient-input"], units="tokens")
    ids = tokenizer(TEXT + "xyz", return_tensors="pt")["input_ids"]
    log_p = torch.log_softmax(model(ids).logits[0].double(), -1)
    y = sum(log_p[at - 1, ids[0, at]] for at in range(ids.shape[1] - 3, ids.shape[1]))
    assert found.probability == pytest.approx(float(y.detach().exp()), rel=1e-4)
    assert [str(part) for part in found.parts] == list(TEXT)
    inner = ch.explain(model, tokenizer, TEXT, answer="xyz", target="yz", units="tokens")
    assert inner.answer == 'next tokens "yz"' and [str(part) for part in inner.parts] == list(TEXT + "x")
    assert ch.explain(model, tokenizer, TEXT, answer="xyz", target=(1, 3), units="tokens").answer == inner.answer
    generated = ch.explain(model, tokenizer, TEXT, target="the answer", max_tokens=3, units="tokens")
    assert len(generated.trace.ids) == len(ids[0]) - 1


def test_a_contrast_of_phrases_subtracts_two_explanations(gpt2):
    model, tokenizer = gpt2
    one, other = (ch.explain(model, tokenizer, TEXT, target=of, methods=["gradient-input", "relevance"]) for of in ("abc", "de"))
    both = ch.explain(model, tokenizer, TEXT, target="abc", contrast="de", methods=["gradient-input", "relevance"])
    assert both.answer == 'next tokens "abc" against "de"' == f'{one.answer} against "de"'
    for method in both.methods:
        np.testing.assert_allclose(both.shares[method], one.shares[method] - other.shares[method], atol=1e-6)
    assert both.probability == pytest.approx(one.probability / (one.probability + other.probability), rel=1e-4)


def test_documents_and_turns_are_parts(gpt2):
    model, tokenizer = gpt2
    documents = ["cats sit", {"title": "Dogs", "text": "dogs run"}]
    found = ch.explain(model, tokenizer, "who sits?", documents=documents, target="c", methods=["occlusion", "relevance"])
    assert [part.name for part in found.parts] == ["document 0", "Dogs"] and [str(part) for part in found.parts] == ["cats sit", "dogs run"]
    of_tokens = ch.explain(model, tokenizer, "who sits?", documents=documents, target="c", units="tokens")
    assert of_tokens.shares["relevance"][:8].sum() == pytest.approx(found.shares["relevance"][0], abs=1e-7)
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<a>"
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "who?"}]
    chat = ch.explain(model, tokenizer, messages=messages, target="c")
    assert [(part.name, str(part)) for part in chat.parts] == [("user 0", "hi"), ("assistant 1", "yes"), ("user 2", "who?")]
    both = ch.explain(model, tokenizer, messages=messages, documents=documents, target="c")
    assert [str(part) for part in both.parts] == ["cats sit", "dogs run"] and "cats sit\n\ndogs run\n\nwho?" in both.text
    tokenizer.chat_template = None


def test_a_function_of_the_output_explains_any_model(tmp_path):
    config = tf.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=16, patch_size=4)
    model = with_weights(tf.ViTModel(config))
    pixels = torch.rand(1, 3, 16, 16)
    found = ch.explain(model, None, {"pixel_values": pixels}, target=lambda output: output.last_hidden_state[0, 0, 3],
                       methods=["relevance", "attention", "occlusion", "gradient-input"])
    assert found.number == pytest.approx(float(model(pixels).last_hidden_state[0, 0, 3].detach()), abs=1e-5)
    assert len(found.parts) == 16 and found.units == "items" and all(np.abs(of).max() > 0 for of in found.shares.values())


def test_a_function_of_the_output_explains_a_classifier_too(tmp_path):
    model, tokenizer = made("bert-class", tmp_path)
    found = ch.explain(model, tokenizer, TEXT, target=lambda output: output.logits[0, 2], methods=["relevance", "gradient-input"])
    known = ch.explain(model, tokenizer, TEXT, target="LABEL_2", methods=["relevance", "gradient-input"])
    for method in found.methods:
        np.testing.assert_allclose(found.shares[method], known.shares[method], atol=1e-6)


def test_arguments_that_an_answer_cannot_use_are_refused(tmp_path):
    model, tokenizer = made("bert-number", tmp_path)
    model.config.problem_type = "regression"
    with pytest.raises(ch.InvalidArgumentError, match="answers with a number; expected no contrast="):
        ch.explain(model, tokenizer, TEXT, contrast="LABEL_0")
    with pytest.raises(ch.InvalidArgumentError, match="a number that the target computes; expected no answer="):
        ch.explain(model, tokenizer, TEXT, target=lambda output: output.logits[0, 0], answer="x")
    with pytest.raises(ch.InvalidArgumentError, match="expected its name as the target"):
        ch.explain(*made("bert-class", tmp_path), TEXT, target=[1])


def test_an_explanation_is_shown_as_a_table_html_and_json(gpt2):
    model, tokenizer = gpt2
    found = ch.explain(model, tokenizer, TEXT, target="a", methods=["relevance", "occlusion"])
    lines = found.table(3).splitlines()
    assert lines[0].startswith('next token "a"') and lines[2].split() == ["words", "relevance", "occlusion"] and len(lines) == 6
    known = json.loads(json.dumps(found.to_dict()))
    assert [part["text"] for part in known["parts"]] == [str(part) for part in found.parts]
    assert known["costs"]["occlusion"]["runs"] == len(found.parts)
    assert "rgba" in found._repr_html_() and "next token" in found._repr_html_()
    assert found.top(1)[0][1] == pytest.approx(np.abs(found.shares["relevance"]).max())
    assert found.trace.map(0).gradients("for").shape[0] == 4


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"prompt": TEXT, "methods": "relevanse"}, ch.NotFoundError, "there is no method"),
    ({"prompt": TEXT, "units": "letters"}, ch.InvalidArgumentError, "expected tokens, words"),
    ({"prompt": TEXT, "units": "documents"}, ch.InvalidArgumentError, "pass documents="),
    ({"prompt": TEXT, "layer": 1}, ch.InvalidArgumentError, "can be set only for the methods attention"),
    ({"prompt": TEXT, "methods": "attention", "layer": 9}, ch.InvalidArgumentError, "layers are 0 to 2"),
    ({"prompt": TEXT, "removal": "cut"}, ch.InvalidArgumentError, "unseen"),
    ({}, ch.InvalidArgumentError, "either a prompt or messages="),
    ({"prompt": TEXT, "answer": "xyz", "target": "q"}, ch.NotFoundError, 'is not in the answer: "xyz"'),
    ({"prompt": TEXT, "answer": "xyz", "target": (2, 9)}, ch.NotFoundError, "the answer has 3 tokens"),
    ({"prompt": TEXT, "target": "a", "contrast": "a"}, ch.InvalidArgumentError, "the same answer"),
    ({"prompt": TEXT, "target": lambda output: output.logits}, ch.InvalidArgumentError, "expected a tensor of one number"),
    ({"prompt": TEXT, "methods": "occlusion", "max_seconds": 0}, ch.BudgetError, "runs of the model"),
    ({"prompt": TEXT, "budget": 1000}, ch.BudgetError, "budget"),
    ({"prompt": {"input_ids": torch.ones(2, 4, dtype=torch.long)}}, ch.InvalidArgumentError, "batch of 2"),
    ({"prompt": {"input_ids": torch.ones(1, 4, dtype=torch.long), "attention_mask": torch.tensor([[0, 1, 1, 1]])}}, ch.InvalidArgumentError,
     "padding"),
])
def test_errors_say_what_was_expected(gpt2, arguments, error, message):
    model, tokenizer = gpt2
    with pytest.raises(error, match=message):
        ch.explain(model, tokenizer, **arguments)


def test_a_model_without_a_known_answer_needs_a_function(tmp_path):
    model = with_weights(tf.BertModel(tf.BertConfig(vocab_size=20, **SMALL)))
    with pytest.raises(ch.UnsupportedError, match="pass a function of the model's output"):
        ch.explain(model, None, [1, 2, 3])
    found = ch.explain(model, None, [1, 2, 3], target=lambda output: output.last_hidden_state[0, 1, 0], methods="attention")
    row = found.trace.map(2)._rows(1).mean(0)  # the gradient finds the row
    np.testing.assert_allclose(found.shares["attention"], row, atol=1e-6)
