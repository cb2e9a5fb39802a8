"""The torch operator compared with F.scaled_dot_product_attention, following PyTorch's own tests of that function."""

import pytest

torch = pytest.importorskip("torch")
import clearhead as ch
from clearhead._operator import attention
from torch.nn import functional as F


def qkv(heads=4, key_heads=4, queries=13, keys=17, d=8, d_v=8, batch=2, dtype=torch.float32):
    torch.manual_seed(7)
    shapes = ((batch, heads, queries, d), (batch, key_heads, keys, d), (batch, key_heads, keys, d_v))
    return [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]


def check(arrays, described, tolerance=1e-6, **options):
    """Returns outputs and gradients of both, for tensors with any strides."""
    q, k, v = arrays
    out, _ = attention(q, k, v, described)
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1], **options)
    assert out.shape == expected.shape and out.dtype == expected.dtype
    seen = ~expected.isnan()
    scale = max(1.0, float(expected[seen].abs().max())) if expected[seen].numel() else 1.0
    assert torch.allclose(torch.nan_to_num(out), torch.nan_to_num(expected), atol=tolerance * scale, rtol=0)
    d_out = torch.randn_like(out)
    leaves = [one for one in arrays if one.requires_grad]
    if leaves and out.numel():
        for found, wanted in zip(torch.autograd.grad(out, leaves, d_out), torch.autograd.grad(expected, leaves, d_out)):
            assert torch.allclose(torch.nan_to_num(found), torch.nan_to_num(wanted),
                                  atol=20 * tolerance * max(1.0, float(wanted.abs().max())), rtol=0)


def test_the_defaults_and_a_scale():
    check(qkv(), ch.Description())
    check(qkv(), ch.Description(score=ch.Dot(0.2)), scale=0.2)


def test_causal_where_lengths_are_unequal():
    for queries, keys in ((13, 17), (17, 13), (13, 13), (1, 17)):
        check(qkv(queries=queries, keys=keys), ch.Description(topology=ch.causal(align="start")), is_causal=True)


@pytest.mark.parametrize("shape", [(13, 17), (2, 1, 13, 17), (1, 4, 13, 17), (2, 4, 13, 17), (2, 1, 1, 17)])
def test_masks_of_bool_and_of_numbers(shape):
    torch.manual_seed(1)
    mask = torch.rand(shape) > 0.4
    mask[..., 0] = True
    four = mask.reshape(*[1] * (4 - mask.dim()), *mask.shape)
    check(qkv(), ch.Description(topology=ch.mask(four)), attn_mask=mask)
    bias = torch.randn(shape)
    check(qkv(), ch.Description(terms=[ch.Bias(bias.reshape(four.shape))]), attn_mask=bias)


def test_rows_that_see_nothing_are_zeros():
    mask = torch.rand(2, 1, 13, 17) > 0.4
    mask[0, 0, 3] = False
    out, _ = attention(*qkv(), ch.Description(topology=ch.mask(mask)))
    assert bool((out[0, :, 3] == 0).all()) and torch.isfinite(out).all()


def test_grouped_queries_and_values_of_another_width():
    check(qkv(heads=6, key_heads=2), ch.Description())
    check(qkv(heads=6, key_heads=1, d_v=5), ch.Description(topology=ch.causal(align="start")), is_causal=True)


def test_any_strides():
    q, k, v = (one.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for one in qkv())
    check((q, k, v), ch.Description())
    wide = [one.detach().repeat_interleave(2, -1)[..., ::2].requires_grad_() for one in qkv()]
    check(wide, ch.Description())
    q, k, v = qkv()
    one_key_head = [one[:1, :1].detach().expand(2, 4, -1, -1) for one in (k, v)]
    check((q, *one_key_head), ch.Description())


def test_no_queries_and_no_batch():
    for options in ({"queries": 0}, {"batch": 0}):
        q, k, v = (one.detach() for one in qkv(**options))
        assert attention(q, k, v, ch.Description())[0].shape == F.scaled_dot_product_attention(q, k, v).shape


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_half_precision(dtype, tolerance):
    check(qkv(dtype=dtype), ch.Description(), tolerance)


def test_large_scores_and_nan():
    q, k, v = (one.detach() * scale for one, scale in zip(qkv(), (12, 12, 1)))
    check((q, k, v), ch.Description(), 1e-3)  # scores in the hundreds, which f32 has to 4 eps of their size
    q[0, 0, 2, 1] = torch.nan
    out, _ = attention(q, k, v, ch.Description())
    assert bool(out[0, 0, 2].isnan().all()) and not bool(out[0, 0, 3:].isnan().any()) and not bool(out[1].isnan().any())
