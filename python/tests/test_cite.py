"""ch.cite: the evidence table, on a model that is known to copy from one document."""

import json
import math

import clearhead as ch
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

LETTERS = list("abcdefghijklmnopqrstuvwxyz ")


def documents(count, length, planted, needle, seed=1):
    """Random documents; one of them contains the needle in its middle."""
    random = np.random.default_rng(seed)
    texts = ["".join(random.choice(LETTERS, length)) + "." for _ in range(count)]
    middle = length // 2
    texts[planted] = texts[planted][:middle] + needle + texts[planted][middle:]
    return texts


@pytest.fixture(scope="module")
def copier(known_model):
    from known_torch_model import loaded

    return loaded(known_model)


def test_the_model_in_pytorch_has_the_logits_of_the_original(copier, known_model):
    model, tokenizer = copier
    text = "abcdefab"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    np.testing.assert_allclose(model(ids).logits[0].detach().numpy(), ch.load(str(known_model)).run(text)["causal_logits"][0], atol=1e-3)


def test_the_planted_document_has_the_largest_share_and_drop(copier):
    model, tokenizer = copier
    texts = documents(8, 60, 5, "QZXJKV!")
    for method in ("information-flow", "relevance", "rollout"):
        found = ch.cite(model, tokenizer, "what follows? QZ", texts, max_tokens=4, method=method, removals=40)
        assert "".join(found.sentences) == "XJKV" and found.documents[5] == "document 5"
        assert found.shares[0].argmax() == found.drops[0].argmax() == 5, method
        assert found.drops[0, 5] > 1 > np.abs(np.delete(found.drops[0], 5)).max()
        assert found.expected.sum() < 1 and found.expected[5] == pytest.approx(68 / (8 * 63 + 7 + 16 - 8), rel=0.2)
        assert found.shares[0].sum() + found.elsewhere[0] == pytest.approx(1, abs=1e-6)
    found = ch.cite(model, tokenizer, "what follows? QZ", texts, max_tokens=4, removals=40)
    assert found.trust["shares"][0] > 0.6 and found.trust["shares"][1] > found.trust["random"][2]
    assert found.top(0, 1)[0][0] == "document 5"
    known = json.loads(json.dumps(found.to_dict()))
    assert known["sentences"][0]["documents"][5]["share"] == pytest.approx(found.shares[0, 5])
    assert "document 5" in found.table(2) and "rank correlation" in found.table() and "document 5" in found._repr_html_()


def test_sentences_of_an_answer_are_explained_apart(copier, tmp_path):
    model, tokenizer = copier
    texts = documents(5, 60, 1, "QZXJ. ")
    texts[3] += "WYKV. "
    found = ch.cite(model, tokenizer, "and? QZ", texts, answer="XJ. WYKV.", removals=0)
    assert [one.strip() for one in found.sentences] == ["XJ.", "WYKV."]
    assert found.sentences[0].tokens.stop == found.sentences[1].tokens.start and math.isnan(found.trust["shares"][0])
    assert found.shares[0].argmax() == found.drops[0].argmax() == 1 and found.drops[1, 3] > 10 > 1e-3 > abs(found.drops[1, 2])
    ids = tokenizer("\n\n".join(texts) + "\n\nand? QZXJ. WYKV.", return_tensors="pt")["input_ids"]
    log_p = torch.log_softmax(model(ids).logits[0].double(), -1)[range(ids.shape[1] - 10, ids.shape[1] - 1), ids[0, -9:]]
    first = len(found.sentences[0])
    assert found.sentences[0].log_probability == pytest.approx(float(log_p[:first].sum().detach()), abs=1e-4)
    found.to_html(tmp_path / "evidence.html")
    page = (tmp_path / "evidence.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and texts[3] in page and page.endswith("</html>\n")


def test_arguments_are_checked(copier):
    model, tokenizer = copier
    with pytest.raises(ch.InvalidArgumentError, match="1 documents; expected two or more"):
        ch.cite(model, tokenizer, "what?", ["one"])
    with pytest.raises(ch.InvalidArgumentError, match="either a prompt or messages"):
        ch.cite(model, tokenizer, None, ["one", "two"])
    with pytest.raises(ch.NotFoundError, match='"document 1" has no token'):
        ch.cite(model, tokenizer, "what?", ["one", ""], answer="x")


def examples(count, seed):
    """Questions about documents, one of which contains the answer."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list("ABCDEFGHIJKLMNOP"), 5)) for _ in range(count)]
    return [{"question": "what follows? QZ", "documents": documents(5, 50, int(random.integers(5)), f"QZ{word}!", seed + number),
             "answer": word} for number, word in enumerate(words)]


def test_learned_head_weights_find_the_copying_head(copier, tmp_path):
    model, tokenizer = copier
    learned = ch.learn_head_weights(model, tokenizer, examples(5, seed=3), removals=16)
    family, layer, head, weight = learned.top(1)[0]
    assert (family, layer, head) == ("dec", 1, 0) and weight > 0  # it attends from a byte to what followed the same bytes before
    assert learned.trust["shares"][1] > learned.trust["random"][0] and learned.trust["shares"][0] > learned.trust["equal"][0]
    learned.save(tmp_path / "weights.json")
    again = ch.HeadWeights.load(tmp_path / "weights.json")
    assert again.layers == learned.layers and all((a == b).all() for a, b in zip(again.weights, learned.weights))
    texts = documents(8, 60, 5, "QZXJKV!")
    found = ch.cite(model, tokenizer, "what follows? QZ", texts, answer="XJKV", method=again, removals=24)
    assert found.shares[0].argmax() == found.drops[0].argmax() == 5 and found.method == "head weights"
    assert found.trust["shares"][1] > found.trust["random"][0]


def test_shares_of_head_weights_are_the_weighted_attention_of_a_sentence(copier):
    model, tokenizer = copier
    texts = documents(4, 30, 2, "QZXJ. WYKV.")
    given = ch.HeadWeights([("dec", 0), ("dec", 1)], [np.array([1.0, 0.5]), np.array([0.25, 2.0])], "any", {"shares": (0, 0, 0)})
    found = ch.cite(model, tokenizer, "and? QZ", texts, answer="XJ. WYKV.", method=given, removals=0)
    trace, weights = found.trace, np.concatenate(given.weights)
    maps = np.concatenate([np.asarray(trace.map(layer)) for layer in (0, 1)])  # [head, query, key]
    begin, prompt = trace.text.index(texts[2]), len(trace.ids) - 8  # of the 9 tokens of the answer, the last one is not read
    inside = [at for at, (first, last) in enumerate(trace.offsets) if first >= begin and last <= begin + len(texts[2])]
    for at, sentence in enumerate(found.sentences):
        rows = [prompt - 1 + token for token in sentence.tokens]
        every = (weights @ maps[:, rows, :prompt].sum(2)).mean()
        assert found.shares[at, 2] == pytest.approx((weights @ maps[:, rows][..., inside].sum(2)).mean() / every, abs=1e-5)
        assert found.shares[at].sum() + found.elsewhere[at] == pytest.approx(1)


def test_weights_of_another_model_and_bad_examples_are_refused(copier, tmp_path):
    model, tokenizer = copier
    other = ch.HeadWeights([("dec", 0)], [np.ones(3)], "Other", {"shares": (0, 0, 0)})
    with pytest.raises(ch.ShapeError, match="1 layers of 3 heads; this model has 2 layers of 2 heads"):
        ch.cite(model, tokenizer, "what?", ["one", "two"], answer="x", method=other)
    with pytest.raises(ch.InvalidArgumentError, match="1 examples"):
        ch.learn_head_weights(model, tokenizer, examples(1, seed=1))
    with pytest.raises(ch.InvalidArgumentError, match=r'examples\[1\] has "docs"'):
        ch.learn_head_weights(model, tokenizer, [*examples(1, seed=1), {"docs": []}], removals=3)
    (tmp_path / "weights.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ch.InvalidArgumentError, match="not a file of head weights"):
        ch.HeadWeights.load(tmp_path / "weights.json")


def test_a_surrogate_finds_the_documents_that_matter(copier):
    model, tokenizer = copier
    found = ch.cite(model, tokenizer, "what follows? QZ", documents(8, 60, 5, "QZXJKV!"), answer="XJKV", method="surrogate", removals=24)
    assert found.shares[0].argmax() == 5 and found.shares[0, 5] > 0.95 and found.trust["shares"][0] > 0.9


def test_regression_agrees_with_its_definition():
    from clearhead._explain.rankings._regression import fit

    random = np.random.default_rng(2)
    features, true = random.normal(size=(60, 4)), np.array([2.0, 0.0, -1.0, 0.5])
    values = features @ true
    gram, moments = features.T @ features / 60, features.T @ values / 60
    np.testing.assert_allclose(fit(gram, moments), true, atol=1e-6)
    positive = fit(gram, moments, is_positive=True)
    gradient = gram @ positive - moments  # Karush-Kuhn-Tucker conditions
    assert (positive >= 0).all() and positive[2] == 0 and (gradient > -1e-6).all() and np.abs(gradient[positive > 0]).max() < 1e-6
    sparse = fit(gram, moments, penalty=0.4)
    gradient = moments - gram @ sparse
    assert sparse[1] == 0 and np.abs(gradient).max() <= 0.4 + 1e-6
    np.testing.assert_allclose(gradient[sparse != 0], 0.4 * np.sign(sparse[sparse != 0]), atol=1e-6)


@pytest.fixture(scope="module")
def random_llama(tmp_path_factory, known_model):
    """(folder, model, tokenizer) of a small Llama with random weights, and the tokenizer of bytes of the known model."""
    import shutil

    import transformers

    vocabulary = json.loads((known_model / "config.json").read_text())["vocab_size"]
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, initializer_range=0.3, bos_token_id=None, eos_token_id=None)
    model = transformers.LlamaForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("llama")
    model.save_pretrained(folder)
    shutil.copy(known_model / "tokenizer.json", folder)
    return folder, model, transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def command_line():
    """The program `clearhead` of the same build, or None."""
    import os
    import shutil
    from pathlib import Path

    beside = Path(os.environ.get("CLEARHEAD_KNOWN_MODELS", "")).with_name("clearhead")
    return str(beside) if beside.is_file() else shutil.which("clearhead")


@pytest.mark.parametrize("method", ["information-flow", "relevance", "rollout"])
def test_the_command_line_finds_the_same_shares_and_drops(random_llama, tmp_path, method):
    import subprocess

    program = command_line()
    if not program:
        pytest.skip("clearhead is not beside clearhead-known-models, nor on the path")
    folder, model, tokenizer = random_llama
    texts, answer = documents(5, 40, 2, "QZXJ. "), "XJ. The second sentence. W"
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    options = ["--documents", str(tmp_path / "docs.jsonl"), "--answer", answer, "--method", method, "--removals", "16", "--json"]
    done = subprocess.run([program, "cite", str(folder), "and? QZ", *options], capture_output=True, check=True)
    theirs = json.loads(done.stdout)
    ours = ch.cite(model, tokenizer, "and? QZ", texts, answer=answer, method=method, removals=16).to_dict()
    assert [one["text"] for one in theirs["sentences"]] == [one["text"] for one in ours["sentences"]] and len(ours["sentences"]) == 3
    for their, our in zip(theirs["sentences"], ours["sentences"]):
        assert their["tokens"] == our["tokens"] and their["log_probability"] == pytest.approx(our["log_probability"], abs=1e-4)
        for one, other in zip([*their["documents"], {"share": their["elsewhere"]}], [*our["documents"], {"share": our["elsewhere"]}]):
            assert one["share"] == pytest.approx(other["share"], abs=1e-5)
            assert one.get("drop", 0) == pytest.approx(other.get("drop", 0), abs=1e-4)
    assert theirs["documents"] == [{"name": one["name"], "expected": pytest.approx(one["expected"])} for one in ours["documents"]]
    for name, of in ours["trust"].items():
        assert theirs["trust"][name] == pytest.approx(of, abs=0.06 if name == "random" else 0.02), name


def test_the_score_is_the_mean_rank_correlation_with_its_bootstrap_interval():
    random = np.random.default_rng(5)
    shares, sets = random.random((2, 6)), np.array(ch._core._random_document_sets(6, 40, 1), bool)
    assert all(0 < one.sum() < 6 for one in sets) and abs(sets.mean() - 0.5) < 0.1
    drops = shares @ sets.T + 0.3 * random.standard_normal((2, 40))
    drops[:, ::4] = drops[:, :1]  # ties

    def ranks(values):
        return np.array([(values < one).sum() + ((values == one).sum() + 1) / 2 for one in values])

    def score(drawn):
        sums = (shares @ sets.T)[:, drawn]
        return np.mean([np.corrcoef(ranks(x), ranks(y))[0, 1] for x, y in zip(sums, drops[:, drawn])])

    mean, low, high = ch._core._datamodeling_score([shares.tolist()], [(sets.astype(int).tolist(), drops.tolist())], 1)
    assert mean == pytest.approx(score(np.arange(40)), abs=1e-12)
    drawn = [score(random.integers(0, 40, 40)) for _ in range(1000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.05)
