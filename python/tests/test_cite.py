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
    assert (tmp_path / "evidence.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_arguments_are_checked(copier):
    model, tokenizer = copier
    with pytest.raises(ch.InvalidArgumentError, match="1 documents; expected two or more"):
        ch.cite(model, tokenizer, "what?", ["one"])
    with pytest.raises(ch.InvalidArgumentError, match="either a prompt or messages"):
        ch.cite(model, tokenizer, None, ["one", "two"])
    with pytest.raises(ch.NotFoundError, match='"document 1" has no token'):
        ch.cite(model, tokenizer, "what?", ["one", ""], answer="x")
