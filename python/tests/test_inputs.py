"""Shipped models that read inputs other than one text: tracing, classification and attribution."""

import json
import math
import struct
import subprocess
import sys
import wave
from pathlib import Path

import clearhead as ch
import numpy as np
import pytest

MODELS = Path(__file__).parents[2] / "models"
pytestmark = pytest.mark.skipif(not (MODELS / "digits/config.json").exists(), reason="the models that ship are not here")


@pytest.fixture(scope="module")
def digits():
    return ch.load(str(MODELS / "digits"))


@pytest.fixture(scope="module")
def stories():
    return ch.load(str(MODELS / "stories"))


STORY = ["John went to the hallway.", "Mary took the football there.", "Mary went to the kitchen."]


def test_a_picture_is_a_path_or_an_array(digits):
    path = MODELS / "digits/example.png"
    assert digits.reads == "picture"
    best = digits.classify(str(path))
    assert best[0][0] == "5" and best[0][1] > 0.99 and sum(p for _, p in best) == pytest.approx(1, abs=1e-5)
    assert digits.classify(path) == best
    pixels = np.zeros((32, 32), np.uint8)
    pixels[4:28, 14:18] = 255
    one = digits.classify(pixels)
    assert digits.classify((pixels / 255).astype("f4")[None]) == one
    assert digits.classify(np.repeat(pixels[:, :, None], 1, 2)) == one
    with pytest.raises(ch.InvalidArgumentError, match="reads a picture: expected a path, u8"):
        digits.classify(np.zeros((32, 32), "f4"))
    with pytest.raises(ch.InvalidArgumentError, match="it takes no question"):
        digits.classify(path, question="what is it?")
    with pytest.raises(ch.ShapeError):
        digits.classify(np.zeros((8, 8), np.uint8))


def test_a_picture_is_traced_and_explained_by_its_patches(digits):
    path = MODELS / "digits/example.png"
    trace = digits.trace(path)
    assert "spatial" in trace.families
    why = digits.why(path, methods=["relevance", "occlusion"])
    assert why["answer"] == 'class "5"' and len(why["items"]) == 256 and why["items"][0] == "patch 1,1"
    assert np.corrcoef(why["shares"]["relevance"], why["shares"]["occlusion"])[0, 1] > 0.5
    assert digits.trace_gradients(path).gradients_of == 'class "5"'


def test_a_forecast_is_explained_in_its_own_unit():
    table = "\n".join(json.loads((MODELS / "bikes/example.json").read_text(encoding="utf-8"))["input"])
    bikes = ch.load(str(MODELS / "bikes"))
    median, upper = (bikes.why(table, methods=["occlusion"], target=target) for target in ("", "0.95"))
    assert median["answer"] == 'forecast of "rentals"' and upper["answer"] == '95 % quantile of "rentals"'
    assert 500 < median["number"] < upper["number"] < 1500 and "probability" not in median
    assert median["shares"]["occlusion"].shape == (len(median["items"]),)


def test_a_story_has_a_question(stories):
    assert stories.reads == "story"
    best = stories.classify(STORY, question="Where is the football?")
    assert best[0][0] == stories.classify(" ".join(STORY), question="Where is the football?")[0][0]
    why = stories.why(STORY, question="Where is the football?", methods=["attention"])
    assert why["items"] == STORY and why["shares"]["attention"].shape == (3,)
    with pytest.raises(ch.InvalidArgumentError, match="reads a story and a question"):
        stories.classify(STORY)
    with pytest.raises(ch.InvalidArgumentError, match="reads a story: expected a str, or a list of them"):
        stories.classify(7, question="Where is John?")


def test_a_document_is_a_text_or_a_list_of_sentences():
    books = ch.load(str(MODELS / "authorship"))
    text = "I had called upon my friend one day in the autumn. He was in deep conversation with a stout gentleman."
    assert books.reads == "document" and books.classify(text)[0][1] == pytest.approx(
        books.classify(["I had called upon my friend one day in the autumn.", "He was in deep conversation with a stout gentleman."])[0][1],
        abs=1e-6)
    assert len(books.why(text, methods=["attention"])["items"]) == 2


def test_a_translator_is_explained_and_unsupported_inputs_are_refused(digits):
    dates = ch.load(str(MODELS / "dates"))
    assert dates.reads == "pair" and dates.translate("the 21st of March 1998") == "1998-03-21"
    why = dates.why("the 21st of March 1998", target="21")  # relevance through attention that runs step by step
    assert why["items"][int(np.argmax(why["shares"]["relevance"]))] == "21st"
    with pytest.raises(ch.UnsupportedError, match="cannot transcribe sounds"):
        digits.transcribe(["x.wav"])
    with pytest.raises(ch.InvalidArgumentError, match="reads a pair: expected a str"):
        dates.why(["the", "21st"])


@pytest.mark.parametrize("name", ["dates", "en-fr"])
def test_a_trace_of_a_translator_is_of_source_and_translation(name):
    model = ch.load(str(MODELS / name))
    given = "the 21st of March 1998" if name == "dates" else "The red car."
    trace = model.trace(given)
    assert model.reads == "pair" and trace.text == given + "\n" + model.translate(given)
    with pytest.raises(ch.UnsupportedError, match="is an encoder-decoder, for which window= is not supported"):
        model.trace(given, window=8)


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    """A speech recognition network, trained for two steps: the quality of its output does not matter here."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = ["file\tword\tvoice\tsplit"]
    for at, part in enumerate(["train", "train", "valid", "test"]):
        tone(folder / f"{at}.wav", 300 + 400 * at)
        rows.append(f"{at}.wav\ttone\tanna\t{part}")
    (folder / "tones.tsv").write_text("\n".join(rows) + "\n")
    recipe = {
        "task": {"kind": "speech-recognition", "table": "tones.tsv", "file": "file", "text": "word", "part": "split", "speaker": "voice",
                 "train": "train", "valid": "valid", "test": "test", "joined": [1, 1], "tested": [1, 1], "best": "loss"},
        "data_source": "made by the test", "tokenizer": {"bpe": 260}, "batch": 2, "length": 8, "steps": 2, "report": 1, "validate": 2,
        "checkpoint": 2,
        "model": {"model_type": "listen_attend_spell", "vocab_size": 260, "embedding_size": 4, "hidden_size": 8, "pyramid_layers": 1,
                  "sound": {"rate": 8000, "window": 128, "hop": 160, "mels": 20}, "max_position_embeddings": 12, "eos_token_id": 0,
                  "pad_token_id": 1, "decoder_start_token_id": 1},
    }
    (folder / "tones.json").write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "clearhead", "train", str(folder / "tones.json"), f"data={folder}", "-o", str(folder / "run")]
    subprocess.run(command, check=True, capture_output=True)
    return ch.load(str(folder / "run/best"))


def tone(path, hertz):
    samples = (0.3 * np.sin(np.arange(4000) * 2 * math.pi * hertz / 8000)).astype("f4")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(struct.pack("<4000h", *(round(float(s) * 32768) for s in samples)))
    return np.round(samples * 32768).astype("f4") / 32768


def test_a_sound_is_read_from_a_file_or_samples(listener, tmp_path):
    samples = tone(tmp_path / "tone.wav", 440)
    assert listener.reads == "sound"
    of_file, of_samples = listener.transcribe([tmp_path / "tone.wav", (samples, 8000)])
    assert isinstance(of_file, str) and of_file == of_samples == listener.transcribe([(samples[None], 8000)])[0]
    trace = listener.trace((samples, 8000))
    assert trace.families == ["cross"] and trace.map(0).keys > 0
    why = listener.why((samples, 8000), methods=["attention", "relevance"])
    assert why["items"][0] == "0.00 s" and why["shares"]["attention"].sum() == pytest.approx(1, abs=1e-4)
    with pytest.raises(ch.InvalidArgumentError, match="expected a path, or .samples, sampling rate."):
        listener.transcribe([samples])
    with pytest.raises(ch.NotFoundError):
        listener.transcribe(["nowhere.wav"])
