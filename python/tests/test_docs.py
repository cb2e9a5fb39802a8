"""The Python examples of README.md, README.zh-CN.md and docs/python.md run as they stand, block after block in one session.

The fixture `reader` provides what a reader is assumed to have (a model folder, texts, a run of another library). Everything else must be
defined by the blocks themselves.
"""

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

import clearhead as ch
from test_image_tokens import llava
from test_image_tokens import made as of_picture

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "README.zh-CN.md", "docs/python.md"]
WORDS = "The cat sat on the mat because it was tired and so night falls over a quiet town".split()
needs_checkout = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="not in a checkout")


def blocks(document):
    """Returns (line, source) for each Python block."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(text[: found.start(1)].count("\n") + 1, found[1])
            for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A small Llama with a byte-level tokenizer, as save_pretrained() writes them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.train_from_iterator([" ".join(WORDS)] * 3,
                                  trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    path = tmp_path_factory.mktemp("docs") / "model"
    chat = "{% for message in messages %}<{{ message.role }}> {{ message.content }}\n{% endfor %}<assistant>"
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=chat).save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(hidden_size=64, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4,
                                      intermediate_size=64, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512)
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    return str(path)


class Lens:
    """Stands in for a TransformerLens model with the cache of one layer."""

    class cfg:
        model_name, attn_scale, use_attn_scale, attention_dir, attn_scores_soft_cap = "lens", 4.0, True, "causal", -1.0

    def to_str_tokens(self, text):
        return text.split()

    def cache(self, text):
        count = len(text.split())
        return {f"blocks.0.attn.hook_{name}": torch.randn(1, count, 2, 16) for name in "qk"}


@pytest.fixture
def reader(folder, tmp_path, monkeypatch):
    """The variables that exist before the first block, in a folder with the models of the repository."""
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "models", tmp_path / "models")
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    text, random = "The cat sat on the mat because it was tired", np.random.default_rng(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    lens = Lens()
    with torch.no_grad():
        output = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")(**inputs, output_attentions=True)
    vlm, picture_inputs, _ = of_picture((llava, (1, 1)))
    picture_inputs |= {"attention_mask": torch.ones_like(picture_inputs["input_ids"]), "max_new_tokens": 3}
    q, k, v = (random.standard_normal((1, 8, 3000, 32)).astype(np.float32) for _ in range(3))
    return {"ch": ch, "np": np, "path": folder, "text": text, "texts": ["The red car is here.", "The cat sleeps."], "model": model,
            "tokenizer": tokenizer, "inputs": inputs, "AutoModel": transformers.AutoModel, "output": output,
            "tokens": tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]), "vlm": vlm, "processor": None,
            "picture_inputs": picture_inputs, "lens": lens, "cache": lens.cache(text), "q": q, "k": k, "v": v}


@needs_checkout
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_a_document_run_as_they_stand(document, reader):
    found = blocks(document)
    assert found
    for line, source in found:
        if ".widget(" in source and importlib.util.find_spec("anywidget") is None:
            continue
        try:
            exec(compile("\n" * line + source, document, "exec"), reader)
        except Exception as problem:
            raise AssertionError(f"{document}:{line}: {type(problem).__name__}: {problem}") from problem


@needs_checkout
def test_both_readmes_have_the_same_examples():
    plain = [[re.sub(r"\s*#.*", "", source) for _, source in blocks(document)] for document in DOCUMENTS[:2]]
    assert plain[0] == plain[1]
