"""Places of picture tokens: the token whose embedding changes most when only one place of a picture changes must be the placed one."""

import warnings

import clearhead as ch
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.0")

IMAGE, VIDEO = 100, 101
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 120, "max_position_embeddings": 1024, "head_dim": 8, "pad_token_id": 0}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
LLAMA, CLIP = {"model_type": "llama", **TEXT}, {"model_type": "clip_vision_model", "projection_dim": 32, **TOWER}
QWEN = {**TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}


class Words:
    """A tokenizer whose tokens are given words."""

    all_special_ids = ()
    is_fast = False

    def __init__(self, words):
        self.words = words

    def convert_ids_to_tokens(self, ids):
        return [self.words.get(int(one), "x") for one in ids]

    def decode(self, ids, **_):
        return " ".join(self.convert_ids_to_tokens(ids))


def smooth(height, width):
    """A picture without repetition, f32 [3, height, width]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([torch.sin(4 * y + 3 * x), torch.cos(5 * x - y * y), y * x + torch.sin(7 * x * y)]) + 0.1


def cut(picture, rows, columns, size):
    """The tiles of a picture, row by row, and a thumbnail."""
    tiles = [picture[:, r * size : (r + 1) * size, c * size : (c + 1) * size] for r in range(rows) for c in range(columns)]
    return torch.stack([*tiles, torch.nn.functional.adaptive_avg_pool2d(picture[None], size)[0]])


def llava(_):
    config = transformers.LlavaConfig(vision_config=CLIP, text_config=LLAMA, image_token_index=IMAGE)
    return transformers.LlavaForConditionalGeneration(config), {"pixel_values": smooth(32, 32)[None]}, [IMAGE] * 16, None


def paligemma(_):
    config = transformers.PaliGemmaConfig(vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
                                          text_config={"model_type": "gemma", **TEXT}, image_token_index=IMAGE, projection_dim=32)
    return transformers.PaliGemmaForConditionalGeneration(config), {"pixel_values": smooth(32, 32)[None]}, [IMAGE] * 16, None


def gemma3(_):
    config = transformers.Gemma3Config(vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
                                       text_config={"model_type": "gemma3_text", **TEXT}, image_token_index=IMAGE, mm_tokens_per_image=4,
                                       boi_token_index=110, eoi_token_index=111)
    model = transformers.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    return model, {"pixel_values": smooth(32, 32)[None]}, [IMAGE] * 4, None


def qwen(kind):
    def make(size):
        rows, columns = size
        vision = {"depth": 2, "num_heads": 4, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
        sizes = {"Qwen2VL": {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
                 "Qwen2_5_VL": {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "fullatt_block_indexes": [1],
                                "window_size": 32},
                 "Qwen3VL": {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32, "num_position_embeddings": 64,
                             "deepstack_visual_indexes": [0]}}[kind]
        text = {**QWEN, "rope_parameters": {**QWEN["rope_parameters"], "mrope_interleaved": True}} if kind == "Qwen3VL" else QWEN
        config = getattr(transformers, f"{kind}Config")(vision_config={**vision, **sizes}, text_config=text, image_token_id=IMAGE,
                                                        video_token_id=VIDEO, vision_start_token_id=110, vision_end_token_id=111)
        picture = smooth(16 * rows, 16 * columns)[None].expand(2, -1, -1, -1)
        patches = picture.reshape(2, 3, rows, 2, 8, columns, 2, 8).permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(rows * columns * 4, -1)
        grid = torch.tensor([[1, 2 * rows, 2 * columns]])
        types = [0, 0, 0] + [1] * (rows * columns) + [0] * 8
        inputs = {"pixel_values": patches, "image_grid_thw": grid, "mm_token_type_ids": torch.tensor([types])}
        return getattr(transformers, f"{kind}ForConditionalGeneration")(config), inputs, [IMAGE] * (rows * columns), None

    return make


def pixtral(size):
    rows, columns = size
    config = transformers.LlavaConfig(vision_config={"model_type": "pixtral", **TOWER, "image_size": 64, "head_dim": 8}, text_config=LLAMA,
                                      image_token_index=IMAGE, vision_feature_layer=-1, vision_feature_select_strategy="full")
    pixels = torch.nn.functional.pad(smooth(8 * rows, 8 * columns), (0, 8, 0, 16))[None]
    ids = ([IMAGE] * columns + [50]) * rows
    return (transformers.LlavaForConditionalGeneration(config),
            {"pixel_values": pixels, "image_sizes": torch.tensor([[8 * rows, 8 * columns]])}, ids, None)


def mistral3(size):
    rows, columns = size
    config = transformers.Mistral3Config(vision_config={"model_type": "pixtral", **TOWER, "image_size": 96, "head_dim": 8},
                                         text_config={"model_type": "mistral", **TEXT}, image_token_index=IMAGE, spatial_merge_size=2)
    inputs = {"pixel_values": smooth(16 * rows, 16 * columns)[None], "image_sizes": torch.tensor([[16 * rows, 16 * columns]])}
    return transformers.Mistral3ForConditionalGeneration(config), inputs, ([IMAGE] * columns + [50]) * rows, None


def internvl(size):
    rows, columns = size
    config = transformers.InternVLConfig(vision_config={**TOWER, "image_size": [32, 32], "patch_size": [8, 8]}, text_config={
        "model_type": "qwen2", **TEXT}, image_token_id=IMAGE, image_seq_length=4)
    tiles = cut(smooth(32 * rows, 32 * columns), rows, columns, 32)
    return transformers.InternVLForConditionalGeneration(config), {"pixel_values": tiles}, [IMAGE] * (4 * len(tiles)), None


def smolvlm(size):
    rows, columns = size
    config = transformers.SmolVLMConfig(vision_config=TOWER, text_config=LLAMA, image_token_id=IMAGE, scale_factor=2)
    tiles, ids = cut(smooth(32 * rows, 32 * columns), rows, columns, 32), []
    words = {60: "<global-img>"}
    for row in range(rows):
        for column in range(columns):
            words[61 + row * columns + column] = f"<row_{row + 1}_col_{column + 1}>"
            ids += [61 + row * columns + column] + [IMAGE] * 4
    return transformers.SmolVLMForConditionalGeneration(config), {"pixel_values": tiles[None]}, [*ids, 60, *[IMAGE] * 4], Words(words)


def llava_next(size):
    height, width = size[0] * 16, size[1] * 16
    config = transformers.LlavaNextConfig(vision_config=CLIP, text_config=LLAMA, image_token_index=IMAGE, image_grid_pinpoints=[
        [32, 64], [64, 32], [64, 64]])
    model = transformers.LlavaNextForConditionalGeneration(config)
    canvas = {(2, 4): (32, 64), (4, 2): (64, 32)}[size]
    tiles = cut(smooth(*canvas), canvas[0] // 32, canvas[1] // 32, 32)
    count = 16 + canvas[0] // 8 * (canvas[1] // 8 + 1)
    inputs = {"pixel_values": tiles[[-1, *range(len(tiles) - 1)]][None], "image_sizes": torch.tensor([[height, width]])}
    return model, inputs, [IMAGE] * count, None


CASES = [(llava, (1, 1)), (paligemma, (1, 1)), (gemma3, (1, 1))]
CASES += [(make, size) for make in (qwen("Qwen2VL"), qwen("Qwen2_5_VL"), qwen("Qwen3VL"), pixtral, mistral3) for size in ((3, 5), (4, 2))]
CASES += [(make, size) for make in (internvl, smolvlm) for size in ((2, 3), (3, 1))] + [(llava_next, (2, 4)), (llava_next, (4, 2))]
PAIRS = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl", "pixtral", "mistral3", "internvl", "smolvlm", "llava-next")
KINDS = ["llava", "paligemma", "gemma3", *(kind for kind in PAIRS for _ in range(2))]
NAMES = [f"{kind}-{rows}x{columns}" for kind, (_, (rows, columns)) in zip(KINDS, CASES)]


def made(case):
    make, size = case
    torch.manual_seed(0)
    model, inputs, ids, words = make(size)
    model = model.eval()
    model.set_attn_implementation("eager")
    inputs["input_ids"] = torch.tensor([[1, 5, 110, *ids, 111, 7, 8, 9, 10, 11, 12, 13]])
    return model, inputs, words


def embeddings(model, inputs):
    """What the language model reads, [token, d]."""
    found = []
    layer = next(one for name, one in model.named_modules() if name.endswith("language_model") or name.endswith("text_model"))
    hook = layer.register_forward_pre_hook(lambda _, args, keywords: found.append(keywords["inputs_embeds"].detach()[0]), with_kwargs=True)
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return found[0]


def marked(inputs, shown):
    """Yields (Picture, row, column, pixel values that differ from `inputs` only at this place)."""
    pixels = inputs["pixel_values"]
    order = [one for one in shown if one.is_thumbnail] + [one for one in shown if not one.is_thumbnail]
    if inputs.get("image_sizes") is None or pixels.dim() == 4:
        order = shown
    for begin, one in enumerate(order):
        rows, columns = one.tokens.shape
        for row, column in {(0, columns - 1), (rows - 1, 0), (rows // 2, columns // 2)}:
            changed = pixels.clone()
            if pixels.dim() == 2:  # patches of merged squares
                changed[4 * (row * columns + column) : 4 * (row * columns + column) + 4] += 3
            else:
                flat = changed.reshape(-1, *changed.shape[-3:])
                size = 8 if pixels.dim() == 5 and "image_sizes" in inputs else flat.shape[-1] // columns
                if pixels.dim() == 4 and "image_sizes" in inputs:
                    size = int(inputs["image_sizes"][0, 1]) // columns
                top, left, tile = row * size, column * size, begin
                if one.name.endswith("tiles"):
                    tile, top, left = 1 + row // 4 * (columns // 4) + column // 4, row % 4 * size, column % 4 * size
                flat[tile, :, top : top + size, left : left + size] += 3
            yield one, row, column, changed


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_token_that_changes_is_the_token_at_the_changed_place(case):
    model, inputs, words = made(case)
    with ch.watch(model, words) as trace, torch.no_grad():
        model(**inputs)
    assert trace.pictures_reason is None
    assert sum((one.tokens >= 0).sum() for one in trace.pictures) <= int((inputs["input_ids"] == IMAGE).sum())
    before = embeddings(model, inputs)
    for shown, row, column, changed in marked(inputs, trace.pictures):
        after = embeddings(model, {**inputs, "pixel_values": changed})
        assert int((after - before).norm(dim=-1).argmax()) == shown.tokens[row, column], (shown, row, column)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_map_has_the_weights_of_eager_attention(case):
    model, inputs, words = made(case)
    with ch.watch(model, words) as trace, torch.no_grad():
        model(**inputs)
    with torch.no_grad():
        known = model(**inputs, output_attentions=True).attentions[1][0].numpy()
    found = trace.picture_map(1, -2)
    tokens = np.concatenate([one.tokens.ravel() for one in trace.pictures])
    np.testing.assert_allclose(found.weights.sum(), known[:, -2, tokens].mean(0).sum(), atol=1e-5)
    if len(trace.pictures) == 1:
        of_head = trace.picture_map(1, -2, head=3)
        np.testing.assert_allclose(of_head.weights, known[3, -2, trace.pictures[0].tokens], atol=1e-5)


def test_generated_words_have_maps_and_unknown_places_a_reason():
    model, inputs, _ = made((llava, (1, 1)))
    with ch.watch(model) as trace:
        model.generate(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert len(trace.ids) > inputs["input_ids"].shape[1]
    assert trace.picture_map(0, -1).to_image()[:4] == b"\x89PNG"
    assert trace.pictures[0].pixels.shape == (32, 32, 3)
    with warnings.catch_warnings(), ch.watch(model) as plain, torch.no_grad():
        model(input_ids=torch.tensor([[1, 2, 3]]))
    assert plain.pictures == []
    with pytest.raises(ch.NotFoundError, match="LlavaForConditionalGeneration: no call of it was seen"):
        plain.picture_map(0, -1)


def test_a_patch_that_all_queries_look_at_is_set_aside_by_name():
    from clearhead._image_tokens._picture import Picture
    from clearhead._image_tokens._sinks import sinks_of

    weights = np.full(40, 0.01)
    weights[13] = 0.3
    part = Picture("picture 1", 0, np.arange(4, 24).reshape(4, 5), (0, 0, 1, 1), None)
    found = sinks_of(lambda query: weights, 39, [part], weights)
    assert [(one.token, one.row, one.column, one.weight) for one in found] == [(13, 1, 4, 0.3)]
    np.testing.assert_allclose(found[0].ratio, 0.3 / weights[4:24].mean())


def test_shares_of_tokens_are_placed_on_the_picture():
    from clearhead._explain._result import Explanation, Part

    model, inputs, _ = made((llava, (1, 1)))
    with ch.watch(model) as trace, torch.no_grad():
        model(**inputs)
    shares = np.random.default_rng(0).standard_normal(len(trace.ids))
    parts = [Part(str(at), 0, 0, range(at, at + 1)) for at in range(len(shares))]
    found = Explanation("y", 1.0, True, parts, "tokens", {"relevance": shares}, {}, trace.trace)
    with pytest.raises(ch.NotFoundError, match="no known places"):
        found.picture_map()
    found.pictures = trace.pictures
    np.testing.assert_allclose(found.picture_map("relevance").weights, shares[trace.pictures[0].tokens])
    found.units = "words"
    with pytest.raises(ch.InvalidArgumentError, match='pass units="tokens"'):
        found.picture_map()


def test_a_wrong_number_of_placeholders_and_an_unclear_arrangement_are_refused():
    model, inputs, _ = made((internvl, (2, 3)))
    with ch.watch(model) as trace, torch.no_grad():
        model(**{**inputs, "pixel_values": torch.rand_like(inputs["pixel_values"])})
    assert trace.pictures == [] and "does not contain their arrangement" in trace.pictures_reason
    model, inputs, _ = made((gemma3, (1, 1)))
    model.config.mm_tokens_per_image = 9
    with ch.watch(model) as trace, torch.no_grad():
        model(**inputs)
    assert "PooledGrid has 9 tokens for its images, but the text has 4 placeholders" in trace.pictures_reason


def test_several_pictures_and_a_video_of_the_second_text_of_a_batch_are_named_and_placed():
    model, inputs, _ = made((qwen("Qwen2VL"), (2, 3)))
    patches, ids = inputs["pixel_values"], [1, 2, *[IMAGE] * 6, 5, *[IMAGE] * 6, 7, *[VIDEO] * 12, 8, 9]
    batch = {"input_ids": torch.tensor([ids, ids]), "pixel_values": patches.repeat(4, 1), "pixel_values_videos": patches.repeat(4, 1),
             "image_grid_thw": torch.tensor([[1, 4, 6]] * 4), "video_grid_thw": torch.tensor([[2, 4, 6]] * 2)}
    batch["mm_token_type_ids"] = (batch["input_ids"] == IMAGE).long() + 2 * (batch["input_ids"] == VIDEO).long()
    with ch.watch(model, sequence=1) as trace, torch.no_grad():
        model(**batch)
    assert [one.name for one in trace.pictures] == ["picture 1", "picture 2", "video 1, frames 1 to 2", "video 1, frames 3 to 4"]
    assert [one.tokens[0, 0] for one in trace.pictures] == [2, 9, 16, 22]
    assert trace.picture_map(1, -1, picture=3).shape == (2, 3)
    assert trace.pictures[0].pixels.shape == (32, 48, 3)
