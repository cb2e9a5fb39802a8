"""Models and traces from Python: the same answers as on the command line, and exported pages."""

import os

import clearhead as ch
import numpy as np
import pytest


def test_a_trace_of_a_text_shows_exact_weights_and_is_saved_whole(known_model, tmp_path):
    model = ch.load(str(known_model))
    trace = model.trace("one two three one two")
    assert repr(trace).startswith("clearhead.Trace of") and repr(trace).endswith(f"on {len(trace.ids)} tokens")
    layer = trace.map(1)
    row = layer.head(0).row(layer.queries - 1)
    assert len(trace.tokens) == layer.keys == len(row)
    assert row.weights.sum() == pytest.approx(1, abs=1e-5)
    trace.save(str(tmp_path / "text.trace"))
    again = ch.Trace.load(str(tmp_path / "text.trace"))
    assert (again.id, again.text) == (trace.id, "one two three one two")
    np.testing.assert_array_equal(again.map(1).head(0).row(3).weights, layer.head(0).row(3).weights)
    kinds = {(one["layer"], one["head"]): one["kind"] for one in trace.atlas()}
    assert kinds[0, 0] == "previous" and kinds[1, 0] == "induction"


def test_watching_a_generation_does_not_change_it(known_model):
    model = ch.load(str(known_model))
    plain = model.generate("one two three one two", 8)
    text, trace = model.generate("one two three one two", 8, watch=True)
    assert text == plain != ""
    assert trace.text == "one two three one two" + text
    assert len(model.score("one two three")) == len(model.encode("one two three")) - 1


def test_every_token_of_a_sequence_has_a_label(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                     num_labels=3, task_specific_params={"token-classification": {"aggregation_strategy": "simple"}})
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "c", "##a", "##c"]), encoding="utf-8")
    model = ch.load(str(tmp_path))
    logits = model.run("acca")["class_logits"][0][1:-1].astype(np.float64)
    found = model.label("acca")
    assert [text for _, text, _ in found] == ["a", "c", "c", "a"]
    assert [label for label, _, _ in found] == [f"LABEL_{row.argmax()}" for row in logits]
    expected = [np.exp(row.max()) / np.exp(row).sum() for row in logits]
    np.testing.assert_allclose([probability for _, _, probability in found], expected, rtol=1e-5)


def test_to_html_writes_a_self_contained_page(known_model, tmp_path):
    trace = ch.load(str(known_model)).trace("one two three one two")
    page = trace.to_html()
    assert page.startswith("<!doctype html>") and "clearhead-blob-" in page
    trace.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 100_000


def test_to_html_with_a_model_writes_a_page_that_contains_it(known_model):
    model = ch.load(str(known_model))
    trace = model.trace("one two three one two")
    page = trace.to_html(model=model)
    assert f'"path":"{known_model}/config.json"' in page and 'id="clearhead-engine-script"' in page
    assert 'id="clearhead-engine-script"' not in trace.to_html()
    with pytest.raises(ch.BudgetError, match="the budget is"):
        trace.to_html(model=model, budget=1_000_000)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ch.NotFoundError, match='model "nobody" was not found'):
        ch.load("nobody")
    with pytest.raises(ch.NotFoundError, match="missing.trace"):
        ch.Trace.load("missing.trace")


def test_runs_answer_for_texts_and_ids_alike(known_model):
    model = ch.load(str(known_model))
    ids = model.encode("one two three")
    assert model.decode(ids) == "one two three"
    of_text, of_ids = model.run("one two three", all_hidden=True), model.run(ids)
    np.testing.assert_array_equal(of_text["causal_logits"], of_ids["causal_logits"])
    assert of_text["hidden"].shape == (1, len(ids), model.width) and len(of_text["all_hidden"]) == model.layers + 1
    logits = of_ids["causal_logits"][0].astype(np.float64)
    expected = [row[token] - np.log(np.exp(row - row.max()).sum()) - row.max() for row, token in zip(logits, ids[1:])]
    np.testing.assert_allclose(model.score("one two three"), expected, atol=1e-4)
    np.testing.assert_array_equal(model.hidden("one two three"), of_ids["hidden"])
    for wrong in (lambda: model.translate("one"), lambda: model.tag("one"), lambda: model.summarise(["one"])):
        with pytest.raises(ch.UnsupportedError):
            wrong()
    with pytest.raises(ch.ShapeError, match="expected a text, or ids"):
        model.run([[1, 2]])


@pytest.fixture(scope="module")
def translator():
    folder = os.path.join(os.path.dirname(__file__), "../../models/en-fr")
    if not os.path.exists(os.path.join(folder, "config.json")):
        pytest.skip("models/en-fr is not here")
    return ch.load(folder)


def test_a_translator_translates_scores_and_shows_both_texts(translator):
    model = translator
    one = model.translate("The car is red.")
    assert "voiture" in one and model.translate(["The car is red.", "I am here."])[0] == one
    assert model.translate("The car is red.", beams=1)
    assert model.score("The car is red.", one).sum() > model.score("The car is red.", "Le chat mange du poisson.").sum()
    text, trace = model.generate("The car is red.", watch=True)
    assert text == one and {"enc", "dec", "cross"} == set(trace.families)
    written = [id for id, _, _ in trace.generated]
    assert model.decode(written) == text and trace.ids[-len(written) :] == written and all(0 < p <= 1 for *_, p in trace.generated)
    # the generated tokens follow the first token of the target
    assert trace.map(0, "cross").query_range[1] - len(written) == trace.map(0, "cross").query_range[0] + 1


def test_a_trace_keeps_the_layers_that_were_chosen(known_model):
    trace = ch.load(str(known_model)).trace("one two three one two", layers=[1])
    assert trace.layers() == [1]
    assert trace.map(1).has_row(2) and trace.map(1).rows_kept == [(0, len(trace.ids))]


def test_why_attributes_an_answer_to_every_token(known_model):
    model = ch.load(str(known_model))
    text = "abcdefab"
    found = model.why(text, methods=["attention", "relevance", "occlusion"], units="token")
    assert sorted(found["shares"]) == ["attention", "occlusion", "relevance"]
    assert [text.encode()[begin:end].decode() for begin, end in found["bytes"]] == found["items"] == list("abcdefab")
    assert found["answer"] == 'next token "c"' and found["probability"] > 0.99
    assert found["items"][int(np.argmax(found["shares"]["relevance"]))] == "c"  # what the induction head copies
    assert found["shares"]["occlusion"] == pytest.approx([0.996, 0.996, 0.996, 0, 0, 0, 0.996, 0], abs=0.01)
    several = model.why(text, target="cd", methods=["occlusion"])
    assert several["answer"] == 'next tokens "cd"' and several["probability"] > 0.98
    with pytest.raises(ch.NotFoundError, match="there is no method"):
        model.why(text, methods=["relevanse"])
    with pytest.raises(ch.InvalidArgumentError, match="a layer can be set only for the methods attention"):
        model.why(text, layer=99)
    with pytest.raises(ch.InvalidArgumentError, match="layer 99; this model's layers are 0 to 1"):
        model.why(text, methods=["attention"], layer=99)
    with pytest.raises(ch.InvalidArgumentError, match="expected \"word\""):
        model.why(text, units="letter")


def test_trace_gradients_find_the_token_that_the_induction_head_copies(known_model):
    model = ch.load(str(known_model))
    trace = model.trace_gradients("abcdefab")
    assert trace.gradients_of == 'next token "c"'
    found = trace.map(1).gradients("for").head(0).row(trace.map(1).queries - 1)
    assert trace.tokens[found.top_k(1)[0].key] == "c"  # what the induction head copies
    shares = model.why("abcdefab", methods=["attention-gradient"], units="token")["shares"]["attention-gradient"]
    rows = [trace.map(1).gradients().head(head).row(trace.map(1).queries - 1).weights for head in range(trace.map(1).heads)]
    assert np.mean(rows, 0)[: len(shares)] == pytest.approx(shares, abs=1e-6)
    with pytest.raises(ch.NotFoundError, match="token 99 of a text of 8 tokens"):
        model.trace_gradients("abcdefab", target="token 99")


def test_split_score_decomposes_a_score_into_contributions(known_model):
    model = ch.load(str(known_model))
    split = model.split_score("abcdefab", 1, 0, 7, 2)
    names, of_query, of_key = zip(*split["parts"])
    assert names[0] == "embeddings" and names[-1] == "biases" and "L0.H0" in names
    assert sum(of_query) == pytest.approx(split["score"], abs=1e-5) == sum(of_key)
    assert model.trace("abcdefab").map(1).head(0).row(7).scores[2] == pytest.approx(split["score"], abs=1e-4)
    assert names[int(np.argmax(of_key))] == "L0.H0"  # the previous-token head provides the keys of the induction head
    with pytest.raises(ch.InvalidArgumentError, match="cannot attend to"):
        model.split_score("abcdefab", 1, 0, 2, 7)


def test_split_score_of_a_translator_separates_encoder_and_decoder_terms(translator):
    split = translator.split_score("The red car is here.", 2, 1, 2, 1, family="cross")
    names, of_query, of_key = zip(*split["parts"])
    assert {"dec embeddings", "cross L0.H1", "dec L2.H0", "enc L1 MLP", "biases"} <= set(names) and "cross L2.H0" not in names
    assert all(key == 0 for name, key in zip(names, of_key) if name.startswith(("dec", "cross")))
    assert all(query == 0 for name, query in zip(names, of_query) if name.startswith("enc"))
    assert sum(of_query) == pytest.approx(split["score"], abs=1e-5) == sum(of_key)
    with pytest.raises(ch.InvalidArgumentError, match="expected enc, dec or cross"):
        translator.split_score("The red car is here.", 2, 1, 2, 1)


def test_judge_compares_methods_with_random_and_reversed_rankings(known_model):
    model = ch.load(str(known_model))
    texts = ["abcdefghab", "gfedcbahgf", "qrstuvwxyzqr"]
    marks = [[(2, 3)]] * 3  # the byte that is copied
    judged = model.judge(texts, methods=["relevance", "attention"], units="token", marks=marks)
    assert list(judged) == ["relevance", "attention", "random", "reverse of relevance"]
    mean, low, high = judged["relevance"]["comprehensiveness"]
    assert low <= mean <= high and mean > judged["random"]["comprehensiveness"][0] > judged["reverse of relevance"]["comprehensiveness"][0]
    assert judged["relevance"]["auprc"] == (1, 1, 1) and judged["random"]["auprc"][0] < 0.8
    assert np.isnan(model.judge(texts, methods=["relevance"], units="token")["relevance"]["auprc"][0])
    with pytest.raises(ch.InvalidArgumentError, match="2 entries for 3 texts"):
        model.judge(texts, targets=["a", "b"])
