"""Random arrays and numbers give a correct result or a descriptive exception, never a crash."""

import resource
import warnings

import clearhead as ch
import numpy as np
import pytest
from conftest import causal, eager

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st

SOON = hypothesis.settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
REFUSALS = (ch.Error, TypeError, ValueError, BufferError, OverflowError, MemoryError)
SIZES = st.sampled_from([0, 1, 2, 3, 5, 17])
DTYPES = ["f4", "f4", "f4", "f4", "f2", "f8", "i4", "i8", "u1", "?", "c8", ">f4", "O", "S3", "M8[s]", [("a", "f4")]]


@st.composite
def arrays(draw, shape=None, dtype=None):
    """Returns an array of a random library, dtype and memory layout."""
    if shape is None:
        shape = tuple(draw(st.lists(SIZES, min_size=0, max_size=6)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)) if dtype is None else dtype)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    plain = random.standard_normal(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = plain.astype(dtype) if dtype.kind not in "SMV" else np.zeros(shape, dtype)
    layout = draw(st.sampled_from(["plain", "plain", "fortran", "backward", "sparse", "expanded", "read-only", "unaligned", "nan"]))
    if layout == "fortran":
        made = np.asfortranarray(made)
    elif layout == "backward" and made.ndim:
        made = np.flip(made, draw(st.integers(0, made.ndim - 1)))
    elif layout == "sparse" and made.ndim:
        made = np.repeat(made, 2, axis=-1)[..., ::2]
    elif layout == "expanded" and made.ndim and made.shape[0]:
        made = np.broadcast_to(made[:1], made.shape)
    elif layout == "read-only":
        made.flags.writeable = False
    elif layout == "unaligned" and dtype.kind == "f" and dtype.isnative:
        made = np.frombuffer(b"x" + made.tobytes(), dtype, offset=1).reshape(made.shape) if made.size else made
    elif layout == "nan" and dtype.kind == "f" and made.size:
        made.flat[0] = np.nan
    return made


@pytest.fixture(autouse=True, scope="module")
def little_memory():
    """Limits memory: an allocation of more than 1 GiB raises MemoryError."""
    with open("/proc/self/statm", encoding="ascii") as status:
        used = int(status.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def is_refused(call):
    """Returns the result, or None if a descriptive exception was raised."""
    try:
        return call()
    except REFUSALS as problem:
        assert str(problem), repr(problem)
        return None


@SOON
@hypothesis.given(st.data())
def test_any_three_arrays(data):
    q, k, v = (data.draw(arrays()) for _ in range(3))
    made = is_refused(lambda: ch.attend(q, k, v))
    if made is not None:
        assert q.ndim == k.ndim == v.ndim == 4 and made[0].shape == q.shape[:3] + v.shape[3:]


@SOON
@hypothesis.given(st.data())
def test_arrays_that_fit_give_the_formula(data):
    batch, groups, key_heads, queries, keys, d_k, d_v = (data.draw(st.sampled_from(sizes)) for sizes in (
        [0, 1, 2], [1, 3], [1, 2], [0, 1, 7], [0, 1, 9, 50], [1, 3, 16], [1, 4, 16]))
    dtype = data.draw(st.sampled_from(["f4", "f4", "f2"]))
    q = data.draw(arrays((batch, groups * key_heads, queries, d_k), dtype))
    k = data.draw(arrays((batch, key_heads, keys, d_k), dtype))
    v = data.draw(arrays((batch, key_heads, keys, d_v), dtype))
    is_causal = data.draw(st.booleans())
    made = is_refused(lambda: ch.attend(q, k, v, topology=ch.causal() if is_causal else None))  # noqa: F821  (del q, below)
    if made is None:
        return
    out, record = made
    assert out.shape == q.shape[:3] + v.shape[3:] and out.dtype == q.dtype
    shown = causal(queries, keys) if is_causal else np.ones((queries, keys), bool)
    if q.size and k.size and v.size and all(np.isfinite(x).all() for x in (q, k, v)):
        expected, weights = eager(q, k, v, visible=shown)
        np.testing.assert_allclose(out, expected, atol=1e-5 if dtype == "f4" else 5e-3)
        np.testing.assert_allclose(ch.Map(record).head(batch - 1, 0).pool((0, 0))[0][shown], weights[-1, 0][shown],
                                   atol=1e-6 if dtype == "f4" else 1e-5)
    elif not keys:
        assert not np.any(out)
    del q, k, v, made
    is_refused(lambda: ch.Map(record).sweep("entropy", "received_attention", top_k=2))


@SOON
@hypothesis.given(st.data())
def test_any_description(data):
    q, k, v = (np.random.default_rng(1).standard_normal((2, 2, n, 8)).astype("f4") for n in (5, 9, 9))
    number = st.one_of(st.integers(-3, 12), st.sampled_from([2**31, 2**63 - 1, 2**64, -(2**63)]))
    ids = st.integers(-2, 12)
    near = st.sampled_from([(), (9,), (2, 5), (2, 9), (1, 1, 1, 9), (2, 2, 5, 9), (1, 2, 5, 9), (2, 1, 3), (3, 4, 5, 6)])
    array = st.one_of(arrays(), near.flatmap(lambda shape: arrays(shape)))
    index = near.flatmap(lambda shape: st.lists(ids, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda values: np.array(values, "i8").reshape(shape)))
    offsets = st.lists(st.integers(-1, 12), min_size=6, max_size=6).map(lambda values: np.array([[values]], "i4"))
    entries = st.lists(ids, min_size=0, max_size=12).map(lambda values: np.array([[values]], "i4"))
    edges = st.lists(st.tuples(ids, ids), max_size=12).map(lambda pairs: np.array(pairs, "i8").reshape(-1, 2).T)
    draw = data.draw
    makers = [
        lambda: dict(topology=ch.causal(draw(number))), lambda: dict(topology=ch.window(draw(number), draw(number))),
        lambda: dict(topology=ch.mask(draw(array))), lambda: dict(topology=ch.segments(draw(index), draw(index))),
        lambda: dict(topology=ch.block_sparse(draw(offsets), draw(entries), draw(number), draw(number))),
        lambda: dict(topology=ch.graph(draw(edges), draw(number))),
        lambda: dict(topology=ch.big_bird(draw(st.integers(-1, 99)), draw(number))),
        lambda: dict(bias=draw(array)), lambda: dict(scale=draw(st.floats())), lambda: dict(softcap=draw(st.floats())),
        lambda: dict(terms=[ch.Alibi(draw(array))]), lambda: dict(terms=[ch.EdgeBias(draw(array))]),
        lambda: dict(score=ch.Additive(draw(array))), lambda: dict(score=ch.Relative(draw(array))),
        lambda: dict(normaliser=ch.Softmax(draw(array))), lambda: dict(head_mask=draw(array)), lambda: dict(dropout=draw(st.floats())),
        lambda: dict(terms=[ch.t5_bias(draw(array), draw(st.booleans()), draw(number))]), lambda: dict(topology=ch.prefix_lm(draw(index))),
        lambda: dict(topology=ch.longformer(draw(number), draw(index))), lambda: dict(topology=ch.dilated(draw(number), draw(number))),
        lambda: dict(terms=[ch.rule(lambda s, b, h, i, j: s + ch.table(draw(array))[h])]),
    ]
    made = is_refused(lambda: ch.attend(q, k, v, **draw(st.sampled_from(makers))()))
    if made is not None:
        assert made[0].shape == (2, 2, 5, 8)
        is_refused(lambda: ch.Map(made[1]).sweep("received_attention"))


@SOON
@hypothesis.given(st.data())
def test_any_look(data):
    q, k, v = (np.random.default_rng(1).standard_normal((2, 2, n, 8)).astype("f4") for n in (5, 9, 9))
    found = ch.Map(ch.attend(q, k, v)[1])
    number = st.one_of(st.integers(-3, 12), st.sampled_from([10**9, 2**63 - 1, -(2**63), 2**64]))
    span = st.one_of(st.none(), number, st.tuples(number, number), st.tuples(number, number).map(lambda pair: slice(*pair)), st.just("all"))
    draw = data.draw
    looks = [
        lambda: found.head(draw(number), draw(number)).row(draw(number)).top_k(draw(number)),
        lambda: found.head(0, 1).row(draw(number)), lambda: found.head(0, 1).row(2).top_k(draw(number)),
        lambda: found.head(1, 0).column(draw(number), draw(span)),
        lambda: found.head(1, 0).pool((draw(number), draw(number)), draw(span), draw(span)),
        lambda: found.head(1, 0).pool((0, 0), key_factors=draw(st.lists(st.floats(), max_size=9))),
        lambda: found.attention_between(draw(span), draw(span)), lambda: found.sweep("entropy", top_k=draw(number)),
        lambda: found.sweep(cells=(draw(number), draw(number))), lambda: found.sweep("offsets", offset_reach=draw(number)),
        lambda: found.sweep("entropy", heads=draw(span)), lambda: found.sweep("entropy", sampled_rows=draw(number)),
        lambda: found.sweep(matches=[(draw(arrays()), draw(arrays()))]),
        lambda: found.head(0, 0).to_image(draw(span), draw(span), pixels=draw(number)),
    ]
    is_refused(draw(st.sampled_from(looks)))


@SOON
@hypothesis.given(st.data())
def test_any_cache_and_gradient(data):
    cache = ch.KVCache(data.draw(st.sampled_from(["f32", "f16", "bf16"])))
    for _ in range(3):
        shape = data.draw(st.sampled_from([(1, 2, 3, 4), (1, 2, 0, 4), (1, 2, 300, 4), (2, 2, 3, 4), (1, 2, 3)]))
        k, v = data.draw(arrays(shape, "f4")), data.draw(st.one_of(arrays(shape, "f4"), arrays()))
        is_refused(lambda: cache.append(k, v))
        is_refused(lambda: cache.keep_last(data.draw(st.integers(-2, 300))))
    made = is_refused(lambda: ch.attend(data.draw(arrays((1, 2, 2, 4), "f4")), cache, topology=ch.causal()))
    if made is not None:
        is_refused(lambda: made[1].gradients(data.draw(arrays())))
    q, k, v = (np.ones((1, 1, n, 4), "f4") for n in (3, 5, 5))
    record = ch.attend(q, k, v)[1]
    is_refused(lambda: record.gradients(data.draw(st.one_of(arrays(), arrays((1, 1, 3, 4))))))


@pytest.mark.parametrize("nothing", [None, 3, 2.5, "q", b"bytes", [[1.0]], {}, object(), ch, np.float32(1), memoryview(b"abc"), type])
def test_what_is_no_array_is_refused(nothing):
    good = np.ones((1, 1, 3, 4), "f4")
    for arguments in ((nothing, good, good), (good, nothing, good), (good, good, nothing)):
        with pytest.raises((ch.Error, TypeError)):
            ch.attend(*arguments)
    with pytest.raises((ch.Error, TypeError)):
        ch.Map(nothing)


def test_freed_or_unreadable_memory_is_refused():
    torch = pytest.importorskip("torch")
    good = torch.ones(1, 1, 3, 4)
    freed = torch.ones(1, 1, 3, 4)
    freed.untyped_storage().resize_(0)  # as FSDP does between steps
    with pytest.raises(ch.InvalidArgumentError, match="k: its memory was freed"):
        ch.attend(good, freed, good)
    with pytest.raises((ch.Error, TypeError)):
        ch.attend(good.to("meta"), good, good)
    with pytest.raises((ch.Error, TypeError)):
        ch.attend(torch.ones(1, 1, 3, 4).to_sparse(), good, good)
    capsule = good.__dlpack__()
    torch.utils.dlpack.from_dlpack(capsule)  # a capsule can be used only once
    with pytest.raises((ch.Error, TypeError)):
        ch.attend(capsule, good, good)
    view = memoryview(np.ones((1, 1, 3, 4), "f4"))
    view.release()
    with pytest.raises((ch.Error, TypeError, ValueError)):
        ch.attend(view, good, good)
