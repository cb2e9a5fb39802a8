"""attend() and Map compared with the formula in double, for every kind of array and for objects that are not arrays."""

import gc

import clearhead as ch
import numpy as np
import pytest
from conftest import causal, eager, random_qkv


def check(q, k, v, expected, **described):
    out, record = ch.attend(q, k, v, **described)
    o, weights = expected
    np.testing.assert_allclose(out, o, atol=2e-6)
    found = ch.Map(record)
    for batch, head, query in ((0, 0, 0), (1, 3, q.shape[2] - 1), (1, 1, q.shape[2] // 2)):
        np.testing.assert_allclose(found.head(batch, head).row(query).weights, weights[batch, head, query], atol=1e-6)
    return record


def test_the_defaults_are_scaled_dot_product_attention():
    q, k, v = random_qkv()
    check(q, k, v, eager(q, k, v))


def test_a_causal_window_includes_the_query_position():
    q, k, v = random_qkv()
    record = check(q, k, v, eager(q, k, v, causal(60, 90, back=9)), topology=ch.causal(window=10))
    assert np.count_nonzero(ch.Map(record).head(0, 0).row(59).weights) == 10


def test_topologies_are_intersected_with_the_and_operator():
    q, k, v = random_qkv()
    mask = np.random.default_rng(1).random((2, 1, 60, 90)) > 0.3
    visible = mask & causal(60, 90)
    check(q, k, v, eager(q, k, v, visible), topology=ch.causal() & ch.mask(mask))
    check(q, k, v, eager(q, k, v, causal(60, 90, 4)), topology=ch.causal(window=5) & ch.window(20, 0))
    with pytest.raises(ch.InvalidArgumentError, match="both sides of & have a mask"):
        ch.mask(mask) & ch.mask(mask)


def test_segments_and_graphs_equal_dense_masks():
    q, k, v = random_qkv((2, 4, 4, 60, 60, 32, 16))
    ids = np.sort(np.random.default_rng(2).integers(0, 4, (2, 60)))  # int64, as numpy has them
    check(q, k, v, eager(q, k, v, (ids[:, None, :, None] == ids[:, None, None, :])), topology=ch.segments(ids))
    edges = np.array([[i, j] for i in range(60) for j in range(60) if (i * 7 + j) % 5 == 0]).T
    visible = np.zeros((60, 60), bool)
    visible[edges[0], edges[1]] = True
    check(q, k, v, eager(q, k, v, visible), topology=ch.graph(edges, 60))


def test_keywords_and_a_description_apply_scale_softcap_and_bias_in_order():
    q, k, v = random_qkv()
    bias = np.random.default_rng(3).standard_normal((1, 4, 60, 90)).astype(np.float32)
    check(q, k, v, eager(q, k, v, bias=bias, scale=0.5, cap=3.0), scale=0.5, softcap=3.0, bias=bias)
    check(q, k, v, eager(q, k, v, bias=bias, scale=0.5, cap=3.0),
          description=ch.Description(score=ch.Dot(0.5), terms=[ch.SoftCap(3.0), ch.Bias(bias)]))


def test_gradients_equal_finite_differences():
    q, k, v = random_qkv((1, 2, 1, 5, 7, 4, 3))
    d_out = np.random.default_rng(4).standard_normal((1, 2, 5, 3)).astype(np.float32)
    out, record = ch.attend(q, k, v)
    found = record.gradients(d_out)
    for gradient, name in zip(found, "qkv"):
        for at in ((0, 0, 1, 2), (0, 0, 4, 0)):
            sides = []
            for step in (1e-4, -1e-4):
                moved = {"q": q.astype(np.float64), "k": k.astype(np.float64), "v": v.astype(np.float64)}
                moved[name][at] += step
                sides.append((eager(**moved)[0] * d_out).sum())
            assert gradient[at] == pytest.approx((sides[0] - sides[1]) / 2e-4, abs=1e-4), name


def test_rows_columns_tiles_and_statistics_of_maps_equal_dense_weights():
    q, k, v = random_qkv()
    _, weights = eager(q, k, v)
    found = ch.Map(ch.attend(q, k, v)[1])
    head = found.head(1, 2)
    best = head.row(7).top_k(3)
    assert [one.key for one in best] == list(np.argsort(-weights[1, 2, 7])[:3])
    np.testing.assert_allclose(head.column(11, (5, 40)), weights[1, 2, 5:40, 11], atol=1e-6)
    largest, mean = head.pool((0, 0), (10, 20), slice(30, 60))
    np.testing.assert_allclose(largest, weights[1, 2, 10:20, 30:60], atol=1e-6)
    largest, mean = head.pool((6, 9))
    cells = weights[1, 2].reshape(6, 10, 9, 10)
    np.testing.assert_allclose(largest, cells.max((1, 3)), atol=1e-6)
    np.testing.assert_allclose(mean, cells.mean((1, 3)), atol=1e-6)
    np.testing.assert_allclose(found.attention_between((0, 10), (0, 45)), weights[:, :, :10, :45].sum(-1).mean(-1), atol=1e-5)
    sums = found.sweep("entropy", "received_attention", top_k=2)
    np.testing.assert_allclose(sums["entropy"], -(weights * np.log(weights)).sum(-1), atol=1e-4)
    np.testing.assert_allclose(sums["received_attention"], weights.sum(-2), atol=1e-4)
    assert (sums["top_keys"] == np.argsort(-weights, -1)[..., :2]).all()


def test_a_cache_contains_the_appended_keys_and_values():
    q, k, v = random_qkv((2, 4, 2, 1, 90, 32, 16))
    cache = ch.KVCache()
    for begin in (0, 40, 89):
        end = {0: 40, 40: 89, 89: 90}[begin]
        cache.append(k[:, :, begin:end], v[:, :, begin:end])
    assert len(cache) == 90
    out, _ = ch.attend(q, cache, topology=ch.causal())
    np.testing.assert_allclose(out, eager(q, k, v)[0], atol=2e-6)


def test_strided_and_broadcast_arrays_give_the_same_bits():
    q, k, v = random_qkv()
    packed = np.ascontiguousarray(q.transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(ch.attend(packed.transpose(0, 2, 1, 3), k, v)[0], ch.attend(q, k, v)[0])
    np.testing.assert_array_equal(ch.attend(q[:, :, ::-1], k, v)[0], ch.attend(q[:, :, ::-1].copy(), k, v)[0])
    wide = np.broadcast_to(q[:1], q.shape)
    np.testing.assert_array_equal(ch.attend(wide, k, v)[0], ch.attend(wide.copy(), k, v)[0])
    q.flags.writeable = False
    ch.attend(q, k, v)


def test_outputs_and_records_outlive_their_inputs():
    q, k, v = random_qkv()
    expected = eager(q, k, v)
    out, record = ch.attend(q.copy(), k.copy(), v.copy())
    gc.collect()
    np.testing.assert_allclose(out, expected[0], atol=2e-6)
    np.testing.assert_allclose(ch.Map(record).head(0, 0).row(3).weights, expected[1][0, 0, 3], atol=1e-6)
    assert record.unpinned and not record.pin().unpinned


def test_float16_inputs_give_float16_outputs():
    q, k, v = random_qkv()
    out, _ = ch.attend(*(x.astype(np.float16) for x in (q, k, v)))
    assert out.dtype == np.float16
    np.testing.assert_allclose(out, eager(q, k, v)[0], atol=3e-3)


@pytest.mark.parametrize("bad, kind, message", [
    (lambda q, k, v: ch.attend(q.astype(np.float64), k, v), ch.UnsupportedError,
     r'q: dtype float64; expected float32.* x.astype\("float32"\)'),
    (lambda q, k, v: ch.attend(q[0], k, v), ch.ShapeError, r"q: expected \[batch, head, query, d_k\]"),
    (lambda q, k, v: ch.attend("q", k, v), ch.InvalidArgumentError, "q: expected a NumPy, PyTorch or JAX array"),
    (lambda q, k, v: ch.attend(q, k[..., :8], v), ch.ShapeError, "d_k"),
    (lambda q, k, v: ch.attend(q, k.astype(np.float16), v), ch.UnsupportedError, "dtype"),
    (lambda q, k, v: ch.attend(q, k), ch.InvalidArgumentError, "v is missing"),
    (lambda q, k, v: ch.attend(q, k, v, ch.Description(), scale=1.0), ch.InvalidArgumentError, "a description, or keywords"),
    (lambda q, k, v: ch.attend(q, k, v, ch.Description(), dropout_seed=3), ch.InvalidArgumentError, "a description, or keywords"),
    (lambda q, k, v: ch.attend(q, k, v, scale=1.0, score=ch.Dot()), ch.InvalidArgumentError, "give scale or score, not both"),
    (lambda q, k, v: ch.attend(q, k, v, bias=np.zeros((3, 3), np.float32)), ch.ShapeError, 'operand "bias"'),
    (lambda q, k, v: ch.causal(window=0), ch.InvalidArgumentError, "1 or more keys"),
    (lambda q, k, v: ch.Map(ch.attend(q, k, v)[1]).head(2, 0).row(0), ch.InvalidArgumentError, "batch 2: expected -2 to 1"),
    (lambda q, k, v: ch.Map(ch.attend(q, k, v)[1]).head(0, 0).row(60), ch.Error, "60"),
    (lambda q, k, v: ch.Map(ch.attend(q, k, v)[1]).sweep("entropie"), ch.InvalidArgumentError, "entropy, received_attention"),
])
def test_invalid_inputs_raise_descriptive_exceptions(bad, kind, message):
    with pytest.raises(kind, match=message):
        bad(*random_qkv())


def test_descriptions_print_and_are_equal():
    bias = np.zeros((1, 1, 1, 90), np.float32)
    one = ch.Description(topology=ch.causal(window=5), terms=[ch.SoftCap(30), ch.Bias(bias)], dropout=0.1)
    assert one == ch.Description(topology=ch.causal(window=5), terms=[ch.SoftCap(30), ch.Bias(bias.copy())], dropout=0.1)
    assert one != ch.Description(topology=ch.causal(window=5), terms=[ch.SoftCap(30), ch.Bias(bias + 1)], dropout=0.1)
    assert one.to_dict()["topology"]["band"]["back"] == 4


def test_arrays_of_torch_come_back_as_such():
    torch = pytest.importorskip("torch")
    arrays = random_qkv()
    tensors = [torch.from_numpy(x).to(torch.bfloat16).requires_grad_() for x in arrays]
    out, record = ch.attend(*tensors, topology=ch.causal())
    assert isinstance(out, torch.Tensor) and out.dtype == torch.bfloat16
    rounded = [x.detach().float().numpy() for x in tensors]
    expected = eager(*rounded, causal(60, 90))
    np.testing.assert_allclose(out.detach().float().numpy(), expected[0], atol=2e-2)
    np.testing.assert_allclose(ch.Map(record).head(0, 0).row(9).weights, expected[1][0, 0, 9], atol=1e-5)


def test_a_cache_may_grow_while_others_read_it():
    import threading

    q, k, v = random_qkv((1, 2, 2, 1, 40, 16, 16))
    cache = ch.KVCache()
    cache.append(k, v)
    problems = []

    def grow():
        for at in range(300):
            cache.append(k[:, :, at % 40 : at % 40 + 1], v[:, :, :1])

    def read():
        try:
            for _ in range(100):
                out, record = ch.attend(q, cache)
                assert np.isfinite(out).all() and abs(ch.Map(record).head(0, 0).row(0).weights.sum() - 1) < 1e-4
        except Exception as problem:  # in a thread; reported at the end
            problems.append(problem)

    threads = [threading.Thread(target=of) for of in (grow, grow, read, read)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not problems and len(cache) == 640


def torch_eager(q, k, v, bias, visible):
    import torch

    k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], 1) for one in (k, v))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
    return torch.softmax(scores.masked_fill(~torch.from_numpy(visible), -torch.inf), -1) @ v


@pytest.mark.parametrize("wanted", ["q", "k", "v", "bias", "all"])
def test_autograd_gradients_equal_eager_attention_for_each_input(wanted):
    torch = pytest.importorskip("torch")
    given = dict(zip("qkv", map(torch.from_numpy, random_qkv((2, 4, 2, 20, 30, 8, 8)))), bias=torch.randn(1, 4, 20, 30))
    for name, one in given.items():
        one.requires_grad_(wanted in (name, "all"))
    d_out = torch.randn(2, 4, 20, 8)
    out, record = ch.attend(**given, topology=ch.causal())
    assert out.requires_grad
    np.testing.assert_array_equal(out.detach(), ch.attend(**{name: one.detach() for name, one in given.items()}, topology=ch.causal())[0])
    names = [name for name, one in given.items() if one.requires_grad]
    found = torch.autograd.grad(out, [given[name] for name in names], d_out)
    expected = torch.autograd.grad(torch_eager(**given, visible=causal(20, 30)), [given[name] for name in names], d_out)
    for name, one, other in zip(names, found, expected):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5, msg=name)
    for one, name in zip(record.gradients(d_out), "qkv"):
        if name in names:
            torch.testing.assert_close(one, found[names.index(name)], atol=0, rtol=0)
    with torch.no_grad():
        assert not ch.attend(**given)[0].requires_grad
    with pytest.raises(ch.StaleError, match='"v"'):
        given["v"].detach().mul_(2)
        record.gradients(d_out)


def test_queries_that_require_gradients_are_refused_with_a_cache():
    torch = pytest.importorskip("torch")
    q, k, v = map(torch.from_numpy, random_qkv((1, 2, 2, 1, 40, 8, 8)))
    cache = ch.KVCache()
    cache.append(k, v)
    with pytest.raises(ch.UnsupportedError, match="q requires gradients, which do not go through a KVCache"):
        ch.attend(q.requires_grad_(), cache)
    with torch.no_grad():
        ch.attend(q, cache)
