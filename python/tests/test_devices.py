"""Models on a device other than the CPU (faked by elsewhere.py): watching and editing work, and our kernel refuses the device."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")
import clearhead as ch
from torch import nn

pytest.importorskip("torch.utils.backend_registration")
if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip("this torch has no devices written in Python (2.10 and later do)", allow_module_level=True)
from elsewhere import DEVICE, Device, Elsewhere, moved
from test_watch import IDS, SMALL, build, llama


def deberta():
    return build("DebertaV2Model", **SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=4,
                 max_relative_positions=32)


def encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def left_padded():
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    return mask


def watched(model, inputs, **edits):
    with torch.no_grad(), ch.watch(model, check=True, **edits) as trace:
        out = model(*inputs) if isinstance(inputs, tuple) else model(**inputs)
    assert trace.left_out == [] and trace.verify() < 1e-6
    return trace, out if isinstance(out, torch.Tensor) else out[0]


CASES = {
    "llama, sdpa": (lambda: llama(attn_implementation="sdpa"),
                    lambda: {"input_ids": IDS, "attention_mask": left_padded(), "use_cache": False}),
    "llama, eager": (lambda: llama(attn_implementation="eager"), lambda: {"input_ids": IDS, "use_cache": False}),
    "bert": (lambda: build("BertModel", **SMALL), lambda: {"input_ids": IDS, "attention_mask": left_padded().flip(1)}),
    "deberta": (deberta, lambda: {"input_ids": IDS, "attention_mask": left_padded().flip(1)}),
    "torch": (encoder, lambda: (torch.randn(2, 17, 32, generator=torch.Generator().manual_seed(3)),)),
}


@pytest.mark.parametrize("edits", [{}, {"knock_out": ["L1.H2"], "cut": [(3, 8, 1, 4)], "keep_only": [(9, 11, 0, 3, "L0.H1")]}])
@pytest.mark.parametrize("name", CASES)
def test_a_model_on_another_device_is_watched_and_edited_there(name, edits):
    make, inputs = CASES[name]
    model, given = make(), inputs()
    expected, expected_out = watched(model, given, **edits)
    there = moved(copy.deepcopy(model))
    carry = lambda x: Elsewhere(x) if isinstance(x, torch.Tensor) else x
    with Device():
        found, out = watched(there, tuple(map(carry, given)) if isinstance(given, tuple)
                             else {key: carry(one) for key, one in given.items()}, **edits)
    assert out.device == DEVICE
    np.testing.assert_allclose(out.inner, expected_out, atol=1e-5)
    for layer in range(2):
        for head in range(4):
            rows = [np.stack([of.map(layer).head(head).row(query).weights for query in range(of.map(layer).queries)])
                    for of in (found, expected)]
            np.testing.assert_allclose(*rows, atol=1e-6)


def test_a_generation_on_another_device_is_watched():
    model = llama(attn_implementation="sdpa")
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    with ch.watch(model) as expected:
        tokens = model.generate(IDS, attention_mask=left_padded(), **options)
    there = moved(copy.deepcopy(model))
    with Device(), ch.watch(there) as found:
        out = there.generate(Elsewhere(IDS), attention_mask=Elsewhere(left_padded()), **options)
    assert torch.equal(out.inner, tokens) and found.left_out == [] and found.verify() < 1e-6 and found.ids == expected.ids
    np.testing.assert_allclose(found.received_attention(1), expected.received_attention(1), atol=1e-4)


def test_the_clearhead_kernel_refuses_tensors_on_other_devices():
    model = llama()
    model.set_attn_implementation("clearhead")
    there = moved(model)
    with Device(), torch.no_grad(), pytest.raises(ch.UnsupportedError,
                                                  match=r"q is torch.float32 on elsewhere:0; expected .* on the CPU.*ch.watch"):
        there(Elsewhere(IDS), attention_mask=Elsewhere(left_padded()))
    from clearhead._operator import attention

    q, k = torch.randn(1, 2, 3, 8), torch.randn(1, 2, 3, 8)
    with pytest.raises(ch.UnsupportedError, match="v is torch.float32 on elsewhere:0"):
        attention(q, k, Elsewhere(k), ch.Description())
    with pytest.raises(ch.UnsupportedError, match="k is torch.float64 on cpu"):
        attention(q, k.double(), k, ch.Description())
    with pytest.raises(ch.UnsupportedError, match="q is torch.float32 on meta"):
        attention(q.to("meta"), k, k, ch.Description())


def test_a_model_on_the_meta_device_is_left_out():
    model = llama(attn_implementation="sdpa").to("meta")
    reason = 'it ran on the device "meta", whose tensors hold no numbers'
    with pytest.warns(UserWarning, match=reason), torch.no_grad(), ch.watch(model) as trace:
        model(IDS.to("meta"))
    assert [one for _, one in trace.left_out] == [reason] * 2
    with pytest.raises(ch.NotFoundError, match=reason):
        trace.map(0)
    with (
        pytest.raises(ch.UnsupportedError, match="cannot be edited: it ran on the device"),
        torch.no_grad(),
        ch.edits(model, cut=[(0, 3, 0, 2)]),
    ):
        model(IDS.to("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: what elsewhere.py plays is all that is known of other devices here")
def test_a_model_on_a_gpu_is_watched():
    model = llama(attn_implementation="sdpa")
    expected, _ = watched(model, {"input_ids": IDS, "attention_mask": left_padded(), "use_cache": False})
    found, _ = watched(model.to("cuda"), {"input_ids": IDS.to("cuda"), "attention_mask": left_padded().to("cuda"), "use_cache": False})
    for head in range(4):
        rows = [np.stack([of.map(1).head(head).row(query).weights for query in range(13)]) for of in (found, expected)]
        np.testing.assert_allclose(*rows, atol=1e-4)
