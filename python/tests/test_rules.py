"""Rules from lambdas: equal to the formula in numpy; errors where Python would need a value during recording."""

import clearhead as ch
import numpy as np
import pytest
from conftest import eager, random_qkv

B, H, Q, K = 2, 4, 60, 90
b, h, i, j = np.ix_(np.arange(B), np.arange(H), np.arange(Q) + K - Q, np.arange(K))  # the last query is aligned with the last key
TABLE = np.random.default_rng(1).standard_normal((H, 7)).astype(np.float32)


def scores_of(q, k):
    return q.astype(np.float64) @ np.repeat(k, H // k.shape[1], 1).astype(np.float64).swapaxes(-1, -2) / np.sqrt(q.shape[-1])


def check(rule, expected_scores=None, visible=None):
    """Compares output, weights and scores with the formula."""
    q, k, v = random_qkv()
    scores = scores_of(q, k)
    changed = expected_scores(scores) if expected_scores else scores
    out, record = ch.attend(q, k, v, terms=[rule] if isinstance(rule, ch.Rule) else (),
                            topology=None if isinstance(rule, ch.Rule) else rule)
    shown = visible if visible is not None else np.isfinite(changed)
    o, weights = eager(q, k, v, visible=np.broadcast_to(shown, scores.shape), bias=np.where(np.isfinite(changed), changed, 0) - scores)
    np.testing.assert_allclose(out, o, atol=4e-6)
    for batch, head, query in ((0, 0, 0), (1, 3, 59), (1, 1, 30)):
        row = ch.Map(record).head(batch, head).row(query)
        np.testing.assert_allclose(row.weights, weights[batch, head, query], atol=2e-6)
    return record


@pytest.mark.parametrize("body, formula", [
    (lambda s, b, h, i, j: s - 0.1 * abs(i - j), lambda s: s - 0.1 * abs(i - j)),
    (lambda s, b, h, i, j: s * 2 + (1 - h) / (b + 1), lambda s: s * 2 + (1 - h) / (b + 1)),
    (lambda s, b, h, i, j: ch.tanh(s) ** 3 - s ** 2 / 4 + ch.sqrt(i + 1) / 8, lambda s: np.tanh(s) ** 3 - s ** 2 / 4 + np.sqrt(i + 1) / 8),
    (lambda s, b, h, i, j: s + ch.log(j + 2) - ch.exp(-s), lambda s: s + np.log(j + 2) - np.exp(-s)),
    (lambda s, b, h, i, j: -s + ch.minimum(j, 7) - ch.maximum(i % 5, j // 4) * 0.1,
     lambda s: -s + np.minimum(j, 7) - np.maximum(i % 5, j // 4) * 0.1),
    (lambda s, b, h, i, j: ch.where((i == j) | (h >= 2), s + 1, s * 0.5), lambda s: np.where((i == j) | (h >= 2), s + 1, s * 0.5)),
    (lambda s, b, h, i, j: s + 0.3 * (i > j) + (2 ** 0.5) ** 2, lambda s: s + 0.3 * (i > j) + 2),
    (lambda s, b, h, i, j: ch.where(j > i, float("-inf"), s), lambda s: np.where(j > i, -np.inf, s)),
    (lambda s, b, h, i, j: s + ch.table(TABLE)[h, i - j + 3], lambda s: s + TABLE[h, np.clip(i - j + 3, 0, 6)]),
    (lambda s, b, h, i, j: np.float32(0.25) * s + np.int64(2) * (3.5 // (b + 2)), lambda s: 0.25 * s + 2 * (3.5 // (b + 2))),
    (lambda s, b, h, i, j: ch.where(~((i < j) ^ (h == 1)), s, -s), lambda s: np.where(~((i < j) ^ (h == 1)), s, -s)),
    (lambda s, b, h, i, j: 1, lambda s: np.ones_like(s)),
])
def test_a_score_rule_is_the_formula(body, formula):
    check(ch.rule(body), formula)


@pytest.mark.parametrize("body, formula", [
    (lambda b, h, i, j: (i - j) % 3 == 0, (i - j) % 3 == 0),
    (lambda b, h, i, j: (j <= i) & ~(j == 5) | (h == 0), (j <= i) & ~(j == 5) | (h == 0)),
    (lambda b, h, i, j: ch.table(np.arange(K) % 4)[j] < 2 + b, (j % 4) < 2 + b),
    (lambda b, h, i, j: abs(i - j) // 8 != 1, abs(i - j) // 8 != 1),
    (lambda b, h, i, j: True, np.ones((1, 1, 1, 1), bool)),
    (lambda b, h, i, j: (j > 5) & (j < 50), (j > 5) & (j < 50)),
])
def test_a_visibility_rule_is_the_formula(body, formula):
    check(ch.visible(body), visible=np.broadcast_to(formula, (B, H, Q, K)))


def test_a_lambda_is_called_once_and_its_rule_joins_other_parts():
    calls = []

    def every_third(b, h, i, j):
        calls.append(1)
        return (i - j) % 3 == 0

    check(ch.causal(window=20) & ch.visible(every_third), visible=(j <= i) & (i - j < 20) & ((i - j) % 3 == 0) & (h >= 0) & (b >= 0))
    assert calls == [1]


def test_tables_are_operands_with_gradients():
    q, k, v = random_qkv((1, 2, 2, 5, 7, 4, 3))
    weights = np.random.default_rng(5).standard_normal((2, 13)).astype(np.float32)
    d_out = np.random.default_rng(4).standard_normal((1, 2, 5, 3)).astype(np.float32)
    heads, queries, keys = np.ix_(np.arange(2), np.arange(5) + 2, np.arange(7))

    def loss(table):
        return (eager(q, k, v, bias=table.astype(np.float64)[heads, keys - queries + 6][None])[0] * d_out).sum()

    _, record = ch.attend(q, k, v, terms=[ch.rule(lambda s, b, h, i, j: s + ch.table(weights)[h, j - i + 6])])
    assert list(record.description.operands) == ["rule.table"]
    *_, of_operands = record.gradients(d_out, operands=True)
    for at in ((0, 6), (1, 2), (1, 12)):
        step = np.zeros_like(weights, np.float64)
        step[at] = 1e-4
        assert of_operands["rule.table"][at] == pytest.approx((loss(weights + step) - loss(weights - step)) / 2e-4, abs=1e-3)


def test_built_in_rules_equal_their_published_formulas():
    check(ch.dilated(3, 4), visible=(i - j >= 0) & (i - j <= 12) & ((i - j) % 3 == 0) & (h >= 0) & (b >= 0))
    check(ch.prefix_lm(40), visible=((j <= i) | (j < 40)) & (h >= 0) & (b >= 0))
    check(ch.prefix_lm(np.array([10, 50])), visible=((j <= i) | (j < np.array([10, 50])[b])) & (h >= 0))
    check(ch.temperature(2), lambda s: s / 2)
    check(ch.temperature(np.arange(1, 5, dtype=np.float32)), lambda s: s / (h + 1))


@pytest.mark.parametrize("wrong, message", [
    (lambda: ch.rule(lambda s, b, h, i, j: s if i < j else 0), r"Write \(a\) & \(b\) for and.*ch.where"),
    (lambda: ch.visible(lambda b, h, i, j: i < j and h == 0), r"Write \(a\) & \(b\) for and"),
    (lambda: ch.visible(lambda b, h, i, j: 2 < j < 8), r"\(a < b\) & \(b < c\)"),
    (lambda: ch.rule(lambda s, b, h, i, j: s + max(i, j)), "ch.minimum and ch.maximum"),
    (lambda: ch.rule(lambda s, b, h, i, j: s + TABLE[h, 0]), r"index an array by symbols, write ch.table\(array\)"),
    (lambda: ch.rule(lambda s, b, h, i, j: s + float(i)), "a symbol cannot be converted to a number"),
    (lambda: ch.rule(lambda s, b, h, i, j: None), "returned a NoneType"),
    (lambda: ch.visible(lambda b, h, i, j: i - j), "expected a condition"),
    (lambda: ch.rule(lambda s, b, h, i, j: s + float("nan")), "NaN"),
    (lambda: ch.rule(lambda s, b, h, i, j: s ** 0.3), r"ch.exp\(0.3 \* ch.log\(x\)\)"),
    (lambda: ch.rule(lambda s, b, h, i, j: ch.where(1, s, 0)), "expected a comparison as the condition"),
    (lambda: ch.rule(lambda s, b, h, i, j: s + ch.table(TABLE)[h]), "looked up with 1 indices; expected 2"),
    (lambda: ch.exp(np.zeros(3)), "a ndarray cannot be used in a rule"),
])
def test_unsupported_expressions_in_rules_are_refused_with_advice(wrong, message):
    with pytest.raises(ch.Error, match=message):
        wrong()


def test_lambda_exceptions_propagate_and_symbols_expire_after_recording():
    with pytest.raises(ZeroDivisionError):
        ch.rule(lambda s, b, h, i, j: 1 / 0)
    with pytest.raises(TypeError):
        ch.rule(lambda s, b: s)
    with pytest.raises(TypeError):
        ch.rule(lambda s, b, h, i, j: s + "one")
    kept = []
    ch.rule(lambda s, b, h, i, j: kept.append(i) or s)
    with pytest.raises(ch.InvalidArgumentError, match="outside of the lambda"):
        kept[0] + 1
    with pytest.raises(ch.InvalidArgumentError, match="another recording"):
        ch.rule(lambda s, b, h, i, j: s + kept[0])


def test_rules_print_and_equal_as_data():
    one, other = (ch.Description(terms=[ch.rule(lambda s, b, h, i, j: s - abs(i - j) * 0.5)]) for _ in range(2))
    assert one == other and '"abs"' in repr(one)
    assert one != ch.Description(terms=[ch.rule(lambda s, b, h, i, j: s - abs(i - j) * 0.25)])
