"""Arrays whose memory does not contain their plain values: read correctly, or refused with an error that names the argument."""

import clearhead as ch
import numpy as np
import pytest
from conftest import random_qkv

torch = pytest.importorskip("torch")


def tensors(shape=(1, 2, 2, 9, 9, 8, 8)):
    return tuple(map(torch.from_numpy, random_qkv(shape)))


LAZY = {
    "negative": lambda x: (-x)._neg_view(),
    "imaginary part of a conjugate": lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
    "real part": lambda x: torch.complex(x, x).conj().real,
    "expanded": lambda x: x[:, :1].expand_as(x),
    "backwards in memory": lambda x: x.flip(2).contiguous().flip(2),
}


@pytest.mark.parametrize("lazy", LAZY)
@pytest.mark.parametrize("name", "qkv")
def test_lazy_tensors_have_their_values(lazy, name):
    plain = dict(zip("qkv", tensors()))
    given = {**plain, name: LAZY[lazy](plain[name])}
    same = {**plain, name: given[name].resolve_neg().clone().contiguous()}
    torch.testing.assert_close(ch.attend(**given)[0], ch.attend(**same)[0], atol=0, rtol=0)


@pytest.mark.parametrize("way", ["cache", "bias", "from_qkv", "operator", "bertviz", "gradients", "features"])
def test_every_entry_point_reads_lazily_negated_tensors(way):
    q, k, v = tensors()
    lazy = (-k)._neg_view()
    assert lazy.is_neg() and torch.equal(lazy, k)
    if way == "cache":
        cache = ch.KVCache()
        cache.append(lazy, (-v)._neg_view())
        torch.testing.assert_close(ch.attend(q, cache)[0], ch.attend(q, k, v)[0], atol=2e-6, rtol=0)
    elif way == "bias":
        bias = torch.randn(1, 2, 9, 9)
        torch.testing.assert_close(ch.attend(q, k, v, bias=(-bias)._neg_view())[0], ch.attend(q, k, v, bias=bias)[0], atol=0, rtol=0)
    elif way == "from_qkv":
        traces = [ch.Trace.from_qkv([(q, one, one)], [str(i) for i in range(9)]) for one in (lazy, k)]
        np.testing.assert_array_equal(*(np.asarray(trace.map(0)) for trace in traces))
        np.testing.assert_array_equal(*(trace.norms(0)[0] for trace in traces))
    elif way == "operator":
        description = ch.Description()
        assert ch.register is not None  # imports the operator
        made = [torch.ops.clearhead.attention(q, one, v, description.to_json(), [])[0] for one in (lazy, k)]
        torch.testing.assert_close(*made, atol=0, rtol=0)
    elif way == "bertviz":
        from clearhead.bertviz import trace_of

        weights = torch.softmax(torch.randn(1, 2, 9, 9), -1)
        found = trace_of([(-weights)._neg_view()], [str(i) for i in range(9)]).map(0).head(1).row(4).weights
        np.testing.assert_allclose(found, weights[0, 1, 4], atol=1e-6)
    elif way == "gradients":
        out, record = ch.attend(q, k, v)
        for found, expected in zip(record.gradients((-out)._neg_view()), record.gradients(out)):
            torch.testing.assert_close(found, expected, atol=0, rtol=0)
    else:
        torch.testing.assert_close(ch.elu_plus_one(lazy), ch.elu_plus_one(k), atol=0, rtol=0)


class Wrapped(torch.Tensor):
    """A tensor whose own memory does not contain its values, like quantized and distributed tensors."""

    @staticmethod
    def __new__(cls, inner):
        out = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        out.inner = inner
        return out

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return function(*(one.inner if isinstance(one, cls) else one for one in args), **(kwargs or {}))


def fake(x):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        return mode.from_tensor(x)


UNREADABLE = {
    "sparse": (lambda x: x.to_sparse(), r"q: layout torch.sparse_coo; .*to_dense"),
    "nested": (lambda x: torch.nested.nested_tensor(list(x)), "q: a nested tensor"),
    "quantized": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "q: a quantized tensor"),
    "meta": (lambda x: x.to("meta"), 'q: a tensor on the device "meta"'),
    "fake": (fake, "q: a FakeTensor does not store its values"),
    "wrapped": (Wrapped, "q: a Wrapped does not store its values"),
    "masked": (lambda x: np.ma.masked_array(x.numpy(), x.numpy() > 0), "q: a numpy masked array"),
    "objects": (lambda x: x.numpy().astype(object), "q: dtype object"),
    "complex": (lambda x: torch.complex(x, x), "q: dtype complex64"),
    "text": (lambda x: "q", "q: expected a NumPy, PyTorch or JAX array, .*, found str"),
    "nothing": (lambda x: None, "q: expected a NumPy, .*, found NoneType"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_arrays_are_refused_by_name(kind):
    q, k, v = tensors()
    make, message = UNREADABLE[kind]
    try:
        given = make(q)
    except (RuntimeError, NotImplementedError, AttributeError) as missing:
        pytest.skip(f"this torch cannot make it: {missing}")
    with pytest.raises(ch.Error, match=message):
        ch.attend(given, k, v)


def test_tensors_inside_vmap_are_refused():
    q, k, v = tensors((2, 2, 2, 9, 9, 8, 8))
    with pytest.raises(ch.UnsupportedError, match="q: a tensor inside torch.func.vmap"):
        torch.func.vmap(lambda x: ch.attend(x[None], k, v)[0])(q)


def test_a_zero_tensor_without_memory_is_zeros():
    q, k, v = tensors()
    torch.testing.assert_close(ch.attend(torch._efficientzerotensor(q.shape), k, v)[0], ch.attend(torch.zeros_like(q), k, v)[0], atol=0,
                               rtol=0)


def test_numpy_of_another_byte_order_and_read_only_arrays_have_their_values():
    q, k, v = random_qkv((1, 2, 2, 9, 9, 8, 8))
    expected = ch.attend(q, k, v)[0]
    swapped = k.astype(">f4")
    fixed = q.copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(ch.attend(fixed, swapped, v)[0], expected)
    np.testing.assert_array_equal(ch.attend(memoryview(q), k, v)[0], expected)


def test_a_parameter_and_a_subclass_with_memory_of_its_own_are_read():
    q, k, v = tensors()

    class Named(torch.Tensor):
        pass

    expected = ch.attend(q, k, v)[0]
    out = ch.attend(torch.nn.Parameter(q, requires_grad=False), k.as_subclass(Named), v)[0]
    torch.testing.assert_close(out, expected, atol=0, rtol=0)
    assert isinstance(ch.attend(q.as_subclass(Named), k, v)[0], torch.Tensor)


def test_appending_tensors_that_require_gradients_is_refused_with_advice():
    q, k, v = tensors()
    with pytest.raises(ch.InvalidArgumentError, match=r"k: the tensor requires gradients, .* k.detach\(\)"):
        ch.KVCache().append(k.requires_grad_(), v)
