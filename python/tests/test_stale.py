"""Records over external arrays: maps and gradients raise StaleError once the bytes have changed."""

import clearhead as ch
import numpy as np
import pytest
from conftest import eager, random_qkv

LOOKS = {
    "row": lambda record: ch.Map(record).head(0, 1).row(3), "column": lambda record: ch.Map(record).head(0, 1).column(3),
    "pool": lambda record: ch.Map(record).head(0, 1).pool((0, 0)),
    "attention_between": lambda record: ch.Map(record).attention_between(),
    "sweep": lambda record: ch.Map(record).sweep("entropy"), "array": lambda record: np.asarray(ch.Map(record)),
    "after": lambda record: ch.Map(record).after().head(0, 1).row(3), "picture": lambda record: ch.Map(record).head(0, 1).to_image(),
}


def arrays(kind):
    made = {**dict(zip("qkv", random_qkv((2, 4, 2, 20, 30, 8, 8)))),
            "bias": np.random.default_rng(1).standard_normal((1, 4, 20, 30)).astype(np.float32),
            "mask": np.random.default_rng(2).random((2, 1, 20, 30)) > 0.2}
    if kind == "torch":
        torch = pytest.importorskip("torch")
        made = {name: torch.from_numpy(one.copy()) for name, one in made.items()}
    return made


def attended(made):
    return ch.attend(made["q"], made["k"], made["v"], bias=made["bias"], topology=ch.mask(made["mask"]))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["q", "k", "v", "out", "bias", "mask"])
def test_gradients_after_a_change_of_any_operand_are_refused(kind, name):
    made = arrays(kind)
    out, record = attended(made)
    record.gradients(out)
    changed = {**made, "out": out}[name]
    changed[0, 0, 3, 2] = not changed[0, 0, 3, 2] if name == "mask" else changed[0, 0, 3, 2] + 1
    with pytest.raises(ch.StaleError, match=f'"{name}" was changed after the record was made'):
        record.gradients(np.ones((2, 4, 20, 8), np.float32))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["q", "k", "bias", "mask"])
@pytest.mark.parametrize("look", LOOKS)
def test_reading_a_map_after_a_change_is_refused(kind, name, look):
    made = arrays(kind)
    _, record = attended(made)
    LOOKS[look](record)
    made[name][0, :2] = False if name == "mask" else 2 * made[name][0, :2]
    with pytest.raises(ch.StaleError, match=f'"{name}" was changed'):
        LOOKS[look](record)


def test_reading_one_head_checks_only_the_operands_of_that_head():
    made = arrays("numpy")
    _, record = attended(made)
    made["k"][0, 1] *= 2  # the key head of heads 2 and 3
    found = ch.Map(record)
    found.head(0, 1).row(3), found.head(1, 3).row(3)
    for head in (2, 3):
        with pytest.raises(ch.StaleError):
            found.head(0, head).row(3)


def test_values_and_output_may_change_under_a_map():
    made = arrays("numpy")
    out, record = attended(made)
    before = np.asarray(ch.Map(record))
    made["v"] *= 2
    out *= 2
    np.testing.assert_array_equal(np.asarray(ch.Map(record)), before)


def test_a_pinned_record_is_not_touched_by_any_change():
    made = arrays("numpy")
    out, record = attended(made)
    pinned, d_out = record.pin(), np.random.default_rng(3).standard_normal(out.shape).astype(np.float32)
    weights, gradients = np.asarray(ch.Map(record)), record.gradients(d_out)
    for one in (*made.values(), out):
        one[...] = 0
    np.testing.assert_array_equal(np.asarray(ch.Map(pinned)), weights)
    for found, expected in zip(pinned.gradients(d_out), gradients):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ch.StaleError):
        record.pin()


def test_a_reverted_change_does_not_make_a_record_stale():
    made = arrays("numpy")
    out, record = attended(made)
    kept = made["k"].copy()
    made["k"] *= -1
    made["k"][...] = kept
    record.gradients(out)


@pytest.mark.parametrize("change", [lambda x: np.negative(x, out=x), lambda x: np.negative(x[..., 1::2], out=x[..., 1::2]),
                                    lambda x: x.__setitem__((0, 0, 0, 0), -x[0, 0, 0, 0]),
                                    lambda x: x.__setitem__(slice(None), x[:, :, ::-1].copy())])
@pytest.mark.parametrize("strided", [False, True])
def test_changes_of_signs_and_places_are_seen_in_any_strides(change, strided):
    q, k, v = random_qkv((2, 4, 2, 20, 30, 8, 8))
    if strided:
        k = np.ascontiguousarray(k.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    _, record = ch.attend(q, k, v)
    change(k)
    with pytest.raises(ch.StaleError, match='"k"'):
        np.asarray(ch.Map(record))


def test_a_record_over_a_cache_guards_its_queries():
    q, k, v = random_qkv((1, 2, 2, 1, 40, 8, 8))
    cache = ch.KVCache()
    cache.append(k, v)
    _, record = ch.attend(q, cache)
    k *= 2  # the cache has copied it
    np.testing.assert_allclose(ch.Map(record).head(0, 0).row(0).weights, eager(q, k / 2, v)[1][0, 0, 0], atol=1e-6)
    q *= 2
    with pytest.raises(ch.StaleError, match='"q"'):
        ch.Map(record).head(0, 0).row(0)
