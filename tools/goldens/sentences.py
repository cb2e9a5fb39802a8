"""Sentence embeddings of sentence-transformers for the settings in a model's folder: tests/goldens/sentences.json.

    pip install torch transformers sentence-transformers
    python tools/goldens/sentences.py

The model is that of tests/goldens/bert/pooler, with a small cased tokenizer. Each case is a set of files. The
embeddings are computed in float64.
"""

import json
import pathlib
import shutil
import tempfile

import torch
from golden_files import ROOT
from sentence_transformers import SentenceTransformer

TEXTS = ["Hello World", "query: hello", "hello world hello"]
WORDS = ["[PAD]", "[UNK]", "query", ":", "hello", "Hello", "world", "World"]
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": id, "content": WORDS[id], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for id in (0, 1)
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: id for id, word in enumerate(WORDS)},
    },
}
CLASS = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 20}
PROMPTS = {"query": "query: ", "plain": ""}
CASES = [
    {},
    {"sentence_bert_config.json": {"max_seq_length": 10, "do_lower_case": True}},
    {"sentence_bert_config.json": {"max_seq_length": 2, "do_lower_case": False}},
    {"config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": "query"}},
    {"config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None}},
    {"config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": "plain"}},
    {"tokenizer_config.json": CLASS | {"model_max_length": 2}},
]


def make(place, files):
    shutil.copytree(ROOT / "bert/pooler", place)
    files = {
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": CLASS,
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    } | files
    for name, value in files.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value))
    vectors = SentenceTransformer(str(place), device="cpu", model_kwargs={"dtype": torch.float64}).encode(TEXTS, batch_size=1)
    return {"files": files, "vectors": vectors.tolist()}


if __name__ == "__main__":
    made = []
    for number, files in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            made.append(make(pathlib.Path(folder) / "model", files))
        print(number, [sum(vector) for vector in made[-1]["vectors"]])
    lines = ",\n".join(json.dumps(case) for case in made)
    (ROOT / "sentences.json").write_text(f'{{"texts": {json.dumps(TEXTS)}, "cases": [\n{lines}\n]}}\n')
