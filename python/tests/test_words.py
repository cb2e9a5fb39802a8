"""Readable tokens and words of traces, with their positions in the text; module paths and generated tokens of a trace."""

import clearhead as ch
import numpy as np
import pytest
from clearhead import _core

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers", minversion="5")
TEXT = "The café isn't far: 北京 is 🙂 naïve, unbelievably so"


def byte_level():
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer, made.decoder = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False), tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=280, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
                                             special_tokens=["<s>"])
    made.train_from_iterator(["the cat is far so far unbelievable"], trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>")


def word_piece():
    letters = sorted(set(TEXT) - {" "})
    words = ["[UNK]", "[CLS]", "The", "is", "far", "so", "un", "##believ", "##ably", *letters, *("##" + letter for letter in letters)]
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = tokenizers.pre_tokenizers.BertPreTokenizer(), tokenizers.decoders.WordPiece()
    made.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", cls_token="[CLS]")


def metaspace():
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer, made.decoder = tokenizers.pre_tokenizers.Metaspace(), tokenizers.decoders.Metaspace()
    made.train_from_iterator([TEXT] * 2, tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["<s>"]))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>")


def traced(tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    q, k = np.random.default_rng(0).standard_normal((2, 1, 2, len(ids), 8)).astype(np.float32)
    return ch.Trace.from_qkv([(q, k)], ids=ids, tokenizer=tokenizer), ids


@pytest.mark.parametrize("make", [byte_level, word_piece, metaspace])
def test_words_and_tokens_match_the_text(make):
    tokenizer = make()
    trace, ids = traced(tokenizer)
    assert trace.pieces == tokenizer.convert_ids_to_tokens(ids) and len(trace.tokens) == len(trace.offsets) == len(ids)
    apostrophe = ["isn't"] if "isn't" in trace.text else ["isn", "'", "t"]  # BERT's decoder writes spaces around it
    assert trace.words == ["The", "café", *apostrophe, "far", ":", "北", "京", "is", "🙂", "naïve", ",", "unbelievably", "so"]
    for word in trace.words:
        assert trace.text[word.begin : word.end] == word
        assert all(word.begin <= trace.offsets[at][1] and trace.offsets[at][0] <= word.end for at in word.tokens)
    shown = "".join(trace.tokens)
    assert not set(shown) & set("ĠÃ©▁##") and "�" not in shown
    for token, (begin, end) in zip(trace.tokens, trace.offsets):
        assert token in trace.text or begin == end


def test_words_know_their_tokens():
    trace, _ = traced(word_piece())
    word = next(one for one in trace.words if one == "unbelievably")
    assert trace.tokens[word.tokens.start : word.tokens.stop] == ["un", "believ", "ably"] and trace.tokens[0] == "[CLS]"
    assert trace.pieces[word.tokens.start : word.tokens.stop] == ["un", "##believ", "##ably"]


def test_a_trace_of_a_model_of_this_library_has_words(known_model):
    trace = ch.load(str(known_model)).trace("a b c a b")
    assert trace.words == ["a", "b", "c", "a", "b"] and trace.map(0).module is None


PLAN = {"layers": 1, "heads": 2, "key_heads": 2, "d_k": 8, "causal": False, "is_part": True}


def of_two_sides(generated=()):
    """Returns a trace with a source of 3 tokens and a target of 2."""
    text = {"text": "a b c\nd e", "ids": [1, 2, 3, 4, 5], "offsets": [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)], "special": [0] * 5,
            "pieces": list("abcde"), "segments": [("source", "text", 0, 3), ("target", "text", 3, 5)]}
    random = np.random.default_rng(0)
    q, k = random.standard_normal((1, 2, 2, 8)).astype(np.float32), random.standard_normal((1, 2, 3, 8)).astype(np.float32)
    family = {**PLAN, "name": "cross", "queries": 2, "keys": 3, "first_query": 3, "first_key": 0,
              "modules": {0: "decoder.layers.0.attention"}}
    norms = np.ones((1, 2, 3), np.float32)
    call = ("cross", 0, q, k, ch.Description(), (norms, None), None)
    return _core._trace_of_calls("two", text, [family], iter([call]), list(generated), 1 << 30, 10, [], [], ""), q, k


def test_cross_attention_is_indexed_by_target_and_source_positions(tmp_path):
    trace, q, k = of_two_sides()
    found, expected = trace.map(0, "cross"), ch.Map(ch.attend(q, k, k)[1])
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected)[0])
    assert found.shape == (2, 2, 3) and found.query_range == (3, 5) and found.key_range == (0, 3) and found.rows_kept == [(0, 2)]
    joined = trace.map(0, "cross", joined=True)
    assert joined.shape == (2, 5, 5) and joined.rows_kept == [(3, 5)] and joined.query_range == (0, 5)
    np.testing.assert_array_equal(joined.head(1).row(4).weights[:3], found[1, 1].to_numpy())
    np.testing.assert_allclose(found.attention_between((0, 2), (0, 3)), 1, atol=1e-6)
    np.testing.assert_allclose(found.sweep("received_attention")["received_attention"][0], np.asarray(found).sum(1), atol=1e-6)
    np.testing.assert_array_equal(found.head(0).pool((0, 0))[0], np.asarray(found)[0])
    assert trace.norms(0, "cross")[0].shape == (1, 2, 3)
    trace.save(tmp_path / "two.trace")
    again = ch.Trace.load(tmp_path / "two.trace").map(0, "cross")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(found))
    assert again.module == found.module == "decoder.layers.0.attention" and "module decoder.layers.0.attention" in repr(again)


def test_generated_tokens_of_a_target_are_its_last_ones(tmp_path):
    trace, *_ = of_two_sides([(5, "e", b"e", 0.25)])
    assert trace.generated == [(5, "e", 0.25)] and trace.text == "a b c\nd e" and len(trace.ids) == 5
    trace.save(tmp_path / "two.trace")
    assert ch.Trace.load(tmp_path / "two.trace").generated == trace.generated
    with pytest.raises(ch.InvalidArgumentError, match="generated token 0 has id 4; token 4 of the text has id 5"):
        of_two_sides([(4, "d", b"d", 0.25)])
