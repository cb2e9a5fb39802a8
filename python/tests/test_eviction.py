"""Trace.eviction against simulations of the policies on whole attention matrices, and against a model that runs with keys hidden."""

import json

import clearhead as ch
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

TOLERANCE = 1e-6
PROMPT, WRITTEN = 40, 12


def gpt2():
    torch.manual_seed(1)
    config = transformers.GPT2Config(vocab_size=100, n_positions=128, n_embd=32, n_layer=2, n_head=4)
    return transformers.GPT2LMHeadModel(config).eval()


def llama():
    torch.manual_seed(2)
    config = transformers.LlamaConfig(vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2,
                                      intermediate_size=64, max_position_embeddings=128)
    return transformers.LlamaForCausalLM(config).eval()


def sharpened(model):
    """Enlarges the weights, so that attention is far from uniform."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in ("c_attn.weight", "q_proj", "k_proj")):
                weight *= 8
    return model


class Written:
    """A generation: its trace, and the maps [layer, head, query, key] and value norms [layer, head, key] of an eager run on the text."""

    def __init__(self, make):
        self.model = model = sharpened(make())
        ids = torch.randint(5, 100, (1, PROMPT))
        with torch.no_grad(), ch.watch(model) as self.watch:
            written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=WRITTEN, min_new_tokens=WRITTEN,
                                     do_sample=True, pad_token_id=0)
        self.trace, self.ids = self.watch.trace, written[:, :-1]
        model.set_attn_implementation("eager")
        values = []
        hooks = [one.register_forward_hook(lambda module, given, out: values.append(out)) for name, one in model.named_modules()
                 if name.endswith(("c_attn", "v_proj"))]
        with torch.no_grad():
            self.maps = np.stack([one[0].numpy() for one in model(self.ids, output_attentions=True).attentions]).astype(np.float64)
        for hook in hooks:
            hook.remove()
        heads, config = self.maps.shape[1], model.config
        self.key_heads = getattr(config, "num_key_value_heads", heads)
        width = config.hidden_size // heads * self.key_heads
        norms = [one[0, :, -width:].reshape(-1, self.key_heads, config.hidden_size // heads).norm(dim=-1).T.numpy() for one in values]
        self.value_norms = np.repeat(np.stack(norms), heads // self.key_heads, 1)


@pytest.fixture(scope="module", params=[gpt2, llama], ids=["gpt2", "llama"])
def written(request):
    return Written(request.param)


def simulated(maps, groups, budget, begin, score, renormalise=False):
    """Lost weight [head, step] and the sets of missing keys, from one layer's maps [head, query, key]. groups: the heads of each cache.

    score: function (received [head, key], heads, key, query) -> the score of a key before the step of `query`.
    """
    heads, queries = maps.shape[:2]
    lost, gone = np.zeros((heads, queries - begin)), []
    for group in groups:
        kept, received = set(range(begin)), maps[:, :begin].sum(1)
        missing = []
        for query in range(begin, queries):
            while len(kept) > budget - 1:
                kept.remove(min(kept, key=lambda key: (score(received, group, key, query), key)))
            kept.add(query)
            order = sorted(kept)
            for head in group:
                row = maps[head, query]
                lost[head, query - begin] = row[: query + 1].sum() - row[order].sum()
                received[head, order] += row[order] / (row[order].sum() if renormalise else 1)
            missing.append(set(range(query + 1)) - kept)
        gone.append(missing)
    return lost, gone


def groups_of(written, per):
    heads = written.maps.shape[1]
    count = {"key_head": written.key_heads, "query_head": heads, "layer": 1}[per]
    return np.arange(heads).reshape(count, -1).tolist()


def by_received(factor=None, recent=6):
    def score(received, heads, key, query):
        if key > query - recent:
            return np.inf
        return sum(received[head, key] * (1 if factor is None else factor[head, key]) for head in heads)

    return score


@pytest.mark.parametrize("per", ["key_head", "query_head", "layer"])
@pytest.mark.parametrize("policy", ["window", "received", "value-weighted"])
def test_the_loss_equals_a_simulation_on_whole_maps(written, policy, per):
    options = {"sinks": 3} if policy == "window" else {"recent": 6}
    found = written.trace.eviction(policy, 16, per=per, **options)
    assert found.lost.shape == (2, written.maps.shape[1], WRITTEN - 1) and found.begin == PROMPT
    for layer, maps in enumerate(written.maps):
        score = {"window": lambda received, heads, key, query: np.inf if key < 3 else key, "received": by_received(),
                 "value-weighted": by_received(written.value_norms[layer])}[policy]
        lost, gone = simulated(maps, groups_of(written, per), 16, PROMPT, score)
        np.testing.assert_allclose(found.lost[layer], lost, atol=TOLERANCE)
        for head in range(len(maps)):
            cache = next(at for at, group in enumerate(groups_of(written, per)) if head in group)
            for step in (0, WRITTEN - 2):
                assert {at for at, _ in found.evicted(layer, head, step)} == gone[cache][step]
    assert found.lost.max() > 0.05


def test_received_attention_can_be_renormalised(written):
    options = {"recent": 4, "begin": 10}
    found = written.trace.eviction("received", 24, renormalise=True, **options)
    for layer, maps in enumerate(written.maps):
        lost, _ = simulated(maps, groups_of(written, "key_head"), 24, 10, by_received(recent=4), renormalise=True)
        np.testing.assert_allclose(found.lost[layer], lost, atol=TOLERANCE)
    assert np.abs(found.lost - written.trace.eviction("received", 24, **options).lost).max() > 1e-3


def test_every_query_of_a_text_can_be_a_step(written):
    for begin in (0, 1, 10):
        found = written.trace.eviction("received", 8, recent=6, begin=begin)
        lost, _ = simulated(written.maps[1], groups_of(written, "key_head"), 8, begin, by_received())
        np.testing.assert_allclose(found.lost[1], lost, atol=TOLERANCE)


def test_top_k_is_the_least_that_can_be_lost(written):
    found = written.trace.eviction("top-k", 10, per="query_head")
    rows = np.sort(written.maps[:, :, PROMPT:], -1)
    np.testing.assert_allclose(found.lost, rows[..., :-10].sum(-1), atol=TOLERANCE)
    for policy in ("window", "received", "value-weighted"):
        assert (found.lost <= written.trace.eviction(policy, 10, per="query_head").lost + TOLERANCE).all()
    shared = written.trace.eviction("top-k", 10)
    of_groups = written.maps[:, :, PROMPT:].reshape(2, written.key_heads, -1, *written.maps[:, :, PROMPT:].shape[2:]).sum(2)
    least = np.sort(of_groups, -1)[..., :-10].sum(-1)
    np.testing.assert_allclose(shared.lost.reshape(2, written.key_heads, -1, WRITTEN - 1).sum(2), least, atol=TOLERANCE)
    weights = shared.lost_weights(1, 4)
    assert weights.sum(1) == pytest.approx(shared.lost[1, :, 4], abs=TOLERANCE) and not found.evicted(0, 0)


def test_a_function_is_a_policy(written):
    shapes = []

    def largest_last_weight(cache, recent):
        shapes.append((cache.keys.shape, cache.weights.shape, cache.value_norms.shape))
        return np.where(cache.keys > cache.query - recent, np.inf, cache.weights.max(1))

    found = written.trace.eviction(largest_last_weight, 16, recent=6)
    groups = groups_of(written, "key_head")
    for layer, maps in enumerate(written.maps):
        score = lambda _, heads, key, query, maps=maps: np.inf if key > query - 6 else max(maps[head, query - 1, key] for head in heads)
        np.testing.assert_allclose(found.lost[layer], simulated(maps, groups, 16, PROMPT, score)[0], atol=TOLERANCE)
    assert found.policy == "largest_last_weight"
    assert shapes[0] == ((len(groups), PROMPT), *[(len(groups), len(groups[0]), PROMPT)] * 2)


def test_the_loss_is_the_softmax_mass_of_the_hidden_keys(written):
    """A model whose first layer hides the evicted keys in the first step has rows that are larger by 1 / (1 - lost)."""
    found = written.trace.eviction("received", 0.3)
    heads, length = written.maps.shape[1], PROMPT + 1
    mask = torch.zeros(1, heads, length, length).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    for head in range(heads):
        mask[0, head, PROMPT, [at for at, _ in found.evicted(0, head, 0)]] = -torch.inf
    attention = next(one for name, one in written.model.named_modules() if name.endswith(("h.0.attn", "layers.0.self_attn")))
    hook = attention.register_forward_pre_hook(lambda module, given, keywords: (given, {**keywords, "attention_mask": mask}),
                                               with_kwargs=True)
    with torch.no_grad():
        row = written.model(written.ids[:, :length], output_attentions=True).attentions[0][0, :, PROMPT].double().numpy()
    hook.remove()
    key = row.argmax(1)
    full = written.maps[0, np.arange(heads), PROMPT, key]
    np.testing.assert_allclose(found.lost[0, :, 0], 1 - full / row.max(1), atol=1e-6)
    assert found.lost[0, :, 0].min() > 1e-3


def test_a_budget_for_all_keys_loses_nothing(written):
    for policy in ("window", "received", "top-k"):
        found = written.trace.eviction(policy, 1.0)
        assert not found.lost.any() and "no weight is lost" in found.table() and not found.top(-1)


def test_a_saved_trace_gives_the_same_result(written, tmp_path):
    written.trace.save(tmp_path / "x.trace")
    loaded = ch.Trace.load(tmp_path / "x.trace")
    for policy in ("received", "value-weighted", "top-k"):
        a, b = written.trace.eviction(policy, 12), loaded.eviction(policy, 12)
        np.testing.assert_array_equal(a.lost, b.lost)
        np.testing.assert_array_equal(a.evicted_at, b.evicted_at)


def test_the_result_names_tokens_and_agrees_with_itself(written):
    found = written.watch.eviction("window", 12, sinks=2)
    weights = found.lost_weights(1, 3)
    np.testing.assert_allclose(weights.sum(1), found.lost[1, :, 3], atol=TOLERANCE)
    assert [at for at, _ in found.evicted(0, 1, 0)] == list(range(2, PROMPT + 1 - 10))
    (key, token, mass), *_ = found.top(3, layer=1, head=2)
    assert mass == pytest.approx(weights[2].max()) and weights[2, key] == weights[2].max() and token == written.trace.tokens[key]
    every = sum(mass for _, _, mass in found.top(3, count=1000))
    assert every == pytest.approx(found.lost[:, :, 3].mean(), abs=TOLERANCE)
    assert sum(mass for _, _, mass in found.top_tokens(1000)) == pytest.approx(found.lost.mean(), abs=TOLERANCE)
    assert found.mean.shape == found.worst.shape == (2, written.maps.shape[1]) and (found.mean <= found.worst).all()
    known = json.loads(json.dumps(found.to_dict()))
    np.testing.assert_allclose(known["lost"], found.lost)
    assert "window: at most 12 of 51 keys" in found.table() and "H0" in found._repr_html_() and "window" in repr(found)


def test_norms_of_projected_values_come_from_an_explained_run():
    model = sharpened(llama())
    ids = torch.randint(5, 100, (1, 30)).tolist()[0]
    trace = ch.explain(model, None, ids, methods="output-weighted").trace
    found = trace.eviction("output-weighted", 8, begin=20, recent=2)
    with torch.no_grad():
        model.set_attn_implementation("eager")
        maps = np.stack([one[0].numpy() for one in model(torch.tensor([ids]), output_attentions=True).attentions]).astype(np.float64)
        states = model.model.layers[0].input_layernorm(model.model.embed_tokens(torch.tensor(ids)))
        attention = model.model.layers[0].self_attn
        values = attention.v_proj(states).view(30, 2, 8).repeat_interleave(4, 1)
        norms = torch.einsum("khd,whd->hkw", values, attention.o_proj.weight.view(64, 8, 8)).norm(dim=-1).numpy()

    def score(received, heads, key, query):
        return np.inf if key > query - 2 else sum(received[head, key] * norms[head, key] for head in heads)

    np.testing.assert_allclose(found.lost[0], simulated(maps[0], [[0, 1, 2, 3], [4, 5, 6, 7]], 8, 20, score)[0], atol=TOLERANCE)


def test_the_decoders_own_attention_of_an_encoder_decoder():
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=60, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0)
    model = transformers.T5ForConditionalGeneration(config).eval()
    ids = torch.randint(5, 60, (1, 12))
    with torch.no_grad(), ch.watch(model) as trace:
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, min_new_tokens=10, do_sample=False)
    found = trace.eviction("window", 4, sinks=1)
    map_of = np.asarray(trace.map(0, "dec"), np.float64)
    expected = [[map_of[head, query, 1 : max(1, query - 2)].sum() for query in range(1, 10)] for head in range(4)]
    np.testing.assert_allclose(found.lost[0], expected, atol=TOLERANCE)
    with pytest.raises(ch.UnsupportedError, match='"cross" is cross-attention'):
        trace.eviction("window", 4, family="cross", sinks=1)
    with pytest.raises(ch.UnsupportedError, match="is not causal"):
        trace.eviction("window", 4, family="enc", begin=3, sinks=1)


def test_an_encoder_has_no_cache_to_evict_from():
    config = transformers.BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    model = transformers.BertModel(config).eval()
    with torch.no_grad(), ch.watch(model) as trace:
        model(torch.randint(5, 60, (1, 12)))
    for begin in (0, 11):
        with pytest.raises(ch.UnsupportedError, match='layer 0 of "enc" is not causal'):
            trace.eviction("window", 6, begin=begin)


def test_rows_that_were_not_kept_are_an_error():
    model = llama()
    ids = torch.randint(5, 100, (1, 100))
    with torch.no_grad(), ch.watch(model, budget=630_000, tail=20) as trace:
        model(ids)
    assert trace.eviction("window", 8, begin=80).lost.shape == (2, 8, 20)
    with pytest.raises(ch.NotFoundError, match="did not keep row 0 of layer 0"):
        trace.eviction("received", 8, begin=80)
    with pytest.raises(ch.NotFoundError, match="did not keep row 10"):
        trace.eviction("window", 8, begin=10)


def test_arguments_are_checked(written):
    trace = written.trace
    assert {"window", "received", "top-k"} < set(ch.eviction_policies())
    for error, message, policy, budget, options in [
            (ch.NotFoundError, "no policy 'lru'; the policies are .*window", "lru", 8, {}),
            (ch.InvalidArgumentError, "budget=0", "window", 0, {}), (ch.InvalidArgumentError, "budget=1.5", "window", 1.5, {}),
            (ch.InvalidArgumentError, "budget=True", "window", True, {}), (ch.InvalidArgumentError, "sinks=4, budget=3", "window", 3, {}),
            (ch.InvalidArgumentError, "window has no options recent; expected sinks", "window", 8, {"recent": 3}),
            (ch.InvalidArgumentError, "per='token'", "window", 8, {"per": "token"}),
            (ch.InvalidArgumentError, "begin=51; expected a query, 0 to 50", "window", 8, {"begin": 51}),
            (ch.NotFoundError, "no layer 7", "window", 8, {"layers": [7]}),
            (ch.NotFoundError, 'no family "x"', "window", 8, {"family": "x"}),
            (ch.NotFoundError, "no norms of the projected values of layer 0; ch.explain", "output-weighted", 8, {}),
            (ch.InvalidArgumentError, r"returned an array \[3\]", lambda cache: np.zeros(3), 8, {}),
            (ch.InvalidArgumentError, "returned NaN at layer 0", lambda cache: cache.keys * np.nan, 8, {})]:
        with pytest.raises(error, match=message):
            trace.eviction(policy, budget, **options)
    with torch.no_grad(), ch.watch(written.model) as given:
        written.model(written.ids)
    with pytest.raises(ch.InvalidArgumentError, match="no generated tokens; pass begin="):
        given.eviction("window", 8)
    found = trace.eviction("window", 8)
    for call in (lambda: found.top(11), lambda: found.top(0, layer=9), lambda: found.evicted(0, 99)):
        with pytest.raises(ch.OutOfRangeError):
            call()
