"""Maps as arrays: numpy.asarray, to_numpy, indexing, len and repr, of records, layers, heads and rows; and messages for wrong arguments."""

import re
from pathlib import Path

import clearhead as ch
import numpy as np
import pytest
from clearhead import _core
from clearhead.errors import _KEYWORDS, with_keywords
from conftest import causal, eager, random_qkv

LENGTH, HEADS = 12, 3


@pytest.fixture(scope="module")
def given():
    """Returns (a trace of one layer, its weights [head, query, key])."""
    q, k, v = random_qkv((1, HEADS, HEADS, LENGTH, LENGTH, 8, 8))
    trace = ch.Trace.from_qkv([(q, k)], [f"t{i}" for i in range(LENGTH)], topology=ch.causal())
    return trace, eager(q, k, v, causal(LENGTH, LENGTH))[1][0]


@pytest.mark.parametrize("index", [np.s_[1], np.s_[-1], np.s_[1, 5], np.s_[1, -2], np.s_[1, 5, 2], np.s_[:], np.s_[:, 3],
                                   np.s_[1:, 2:9, ::2], np.s_[..., 4],
                                   np.s_[0, ::-1], np.s_[2, 3:3], np.s_[:, 4, 4], np.s_[5:], np.s_[1, ..., 2], np.s_[2, 9:2:-3, 1]])
def test_a_layer_is_indexed_as_its_array(given, index):
    trace, weights = given
    found = trace.map(0)[index]
    assert np.shape(found) == weights[index].shape
    np.testing.assert_allclose(np.asarray(found), weights[index], atol=1e-6)


def test_indices_give_heads_rows_and_numbers(given):
    layer = given[0].map(0)
    assert isinstance(layer[1], ch.MapHead) and isinstance(layer[1, 2], ch.MapRow) and isinstance(layer[1, 2, 0], float)
    assert isinstance(layer[1][2], ch.MapRow) and isinstance(layer[1][2][0], float) and layer[1][2][0] == layer[1, 2, 0]
    assert (len(layer), len(layer[0]), len(layer[0, 0])) == (HEADS, LENGTH, LENGTH) and layer.shape == (HEADS, LENGTH, LENGTH)
    assert len(list(layer)) == HEADS and len(list(layer[0])) == LENGTH and sum(layer[0, 3]) == pytest.approx(1, abs=1e-5)


def test_layers_heads_and_rows_convert_to_numpy_arrays(given):
    trace, weights = given
    layer = trace.map(0)
    for found, expected in ((layer, weights), (layer[1], weights[1]), (layer[1, 4], weights[1, 4])):
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)
        np.testing.assert_allclose(found.to_numpy(), expected, atol=1e-6)
    assert np.asarray(layer, np.float64).dtype == np.float64
    np.testing.assert_allclose(layer.to_numpy((2, 5), slice(0, 3)), weights[:, 2:5, :3], atol=1e-6)
    np.testing.assert_allclose(layer[2].to_numpy(7, columns=(0, 3)), weights[2, 7:8, :3], atol=1e-6)


def test_a_record_is_indexed_by_sequence_and_head():
    q, k, v = random_qkv((2, 4, 2, 6, 9, 8, 8))
    found, weights = ch.Map(ch.attend(q, k, v)[1]), eager(q, k, v)[1]
    np.testing.assert_allclose(np.asarray(found), weights, atol=1e-6)
    np.testing.assert_allclose(found[1, 2, 3:, -1], weights[1, 2, 3:, -1], atol=1e-6)
    np.testing.assert_allclose(found[-1, -1, 0], weights[-1, -1, 0], atol=1e-6)
    np.testing.assert_allclose(found.to_numpy((0, 2), 4), weights[:, :, :2, 4:5], atol=1e-6)
    with pytest.raises(ch.InvalidArgumentError, match=r"expected map\[batch, head\]"):
        found[0]


@pytest.mark.parametrize("index, message", [((3,), "head 3: expected -3 to 2"), ((0, 12), "query 12"), ((0, 0, -13), "key -13"),
                                            ((0, 0, 0, 0), "an index with 4 entries")])
def test_invalid_indices_are_refused_with_a_descriptive_error(given, index, message):
    with pytest.raises(IndexError, match=message) as problem:
        given[0].map(0)[index]
    assert isinstance(problem.value, ch.InvalidArgumentError)
    with pytest.raises(ch.InvalidArgumentError, match="type str"):
        given[0].map(0)["enc"]


def test_rows_that_were_not_kept_are_refused_and_the_others_shown():
    q, k, v = random_qkv((1, 2, 2, 400, 400, 8, 8))
    trace = ch.Trace.from_qkv([(q, k)], [str(i) for i in range(400)], topology=ch.causal(), budget=140_000, tail=50)
    layer, weights = trace.map(0), eager(q, k, v, causal(400, 400))[1][0]
    assert layer.rows_kept == [(350, 400)]
    np.testing.assert_allclose(layer[:, 350:], weights[:, 350:], atol=1e-6)
    with pytest.raises(ch.NotFoundError, match=r"rows=\[\(0, 1\)\], or with a larger budget="):
        np.asarray(layer)


@pytest.mark.parametrize("index", [3, -4, 2**40])
def test_a_head_that_does_not_exist_is_an_index_error_for_records_and_traces_alike(given, index):
    of_record, of_trace = ch.Map(ch.attend(*random_qkv((2, 3, 3, 5, 5, 8, 8)))[1]), given[0].map(0)
    for call in (lambda: of_record.head(1, index), lambda: of_record[1, index], lambda: of_trace.head(index), lambda: of_trace[index]):
        with pytest.raises(IndexError, match=f"^head {index}: expected -3 to 2$") as problem:
            call()
        assert problem.type is ch.OutOfRangeError
    with pytest.raises(IndexError, match="^batch 2: expected -2 to 1$"):
        of_record.head(2, 0)
    np.testing.assert_array_equal(of_record.head(-1, -1).to_numpy(), of_record.head(1, 2).to_numpy())
    np.testing.assert_array_equal(of_trace.head(-3).to_numpy(), of_trace.head(0).to_numpy())


def test_reprs_name_the_type_and_the_shape(given):
    layer = given[0].map(0)
    assert repr(layer) == 'clearhead.LayerMap(layer 0 of "dec", 3 heads, 12 queries x 12 keys)'
    assert repr(layer[1]) == 'clearhead.MapHead(head 1 of layer 0 of "dec", 12 queries x 12 keys)'
    assert repr(layer[1, 0]) == "clearhead.MapRow(12 keys; heaviest: key 0: 1)"
    assert repr(ch.Map(ch.attend(*random_qkv())[1]).head(1, 2)) == "clearhead.MapHead(head 2 of sequence 1, 60 queries x 90 keys)"


@pytest.mark.parametrize("call, message", [
    (lambda layer: layer.head("two"), r"LayerMap.head\(\): head: expected int, found str 'two'"),
    (lambda layer: layer.head(), r"LayerMap.head\(\): head: missing"),
    (lambda layer: layer.head(0).row(1.5), r"MapHead.row\(\): query: expected int, found float 1.5"),
    (lambda layer: layer.head(0).row(query=None), r"MapHead.row\(\): query: expected int, found NoneType None"),
    (lambda layer: layer.head(0).row(1, 2), r"MapHead.row\(\) takes 1 positional arguments, found 2"),
    (lambda layer: layer.head(0).row(place=1), r'MapHead.row\(\) has no argument "place"; it has query'),
    (lambda layer: layer.head(2**70), r"LayerMap.head\(\) has an argument of the wrong type, or a number beyond 64 bits"),
    (lambda layer: ch.Trace.load(3), r"Trace.load\(\): path: expected .*str.*, found int 3"),
    (lambda layer: ch.causal("wide"), r"causal\(\): window: expected int or None, found str 'wide'"),
    (lambda layer: ch.Alibi(), r"Alibi\(\): "),
    (lambda layer: ch.KVCache(16), r"KVCache\(\): dtype: expected str, found int 16"),
    (lambda layer: ch.load(None), r"load\(\): name: expected str, found NoneType None"),
    (lambda layer: layer.attention_between(1, 2, 3), r"LayerMap.attention_between\(\) takes 2 positional arguments, found 3"),
    (lambda layer: layer.sweep(5), r"LayerMap.sweep\(\): statistics: expected Sequence\[str\], found list \[5\]"),
    (lambda layer: layer.head(0).pool(cells=5), r"MapHead.pool\(\): cells: expected "),
])
def test_a_wrong_type_names_the_argument(given, call, message):
    with pytest.raises(TypeError, match=message) as problem:
        call(given[0].map(0))
    assert "Invoked with" not in str(problem.value) and "\n" not in str(problem.value)


def test_messages_name_keywords_of_python():
    said = ("the text has 9,214 tokens; use --window 512, --truncate, or trace again with --rows 5:9 and a larger --budget; "
            "--mine is a file's name")
    assert with_keywords(said) == ("the text has 9,214 tokens; use window=512, truncate=True, or trace again with rows=[(5, 9)] and a "
                                   "larger budget=; --mine is a file's name")


def test_every_option_that_a_message_of_the_library_names_has_a_keyword():
    """Messages are written for the command line; the package rewrites the options in them from one table."""
    source = Path(__file__).parents[2] / "src"
    if not source.is_dir():
        pytest.skip("not in a checkout")
    reachable = [path for room in ("observe", "models", "judge", "generate", "ops", "spec", "base", "text", "io")
                 for path in (source / room).rglob("*.cc")]
    named = set()
    for path in reachable:
        for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r'"\s*\n\s*"', "", re.sub(r"//.*", "", path.read_text(encoding="utf-8")))):
            named |= set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", with_keywords(text)))
    assert not named, f"no keyword in errors._KEYWORDS for {sorted(named)}; it has {sorted(_KEYWORDS)}"


def test_extension_functions_do_not_raise_the_default_nanobind_type_error():
    for name, member in vars(_core).items():
        if type(member).__name__ == "nb_func" and not name.startswith("__"):
            with pytest.raises((TypeError, ch.Error)) as problem:
                member(object(), object(), object(), object(), object(), object(), object(), object(), object(), object(), object(),
                       object())
            assert "Invoked with" not in str(problem.value), name
