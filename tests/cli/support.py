"""Shared by all tests of the command line: running it, models with known answers, and safetensors without any package."""

import array
import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
import unicodedata
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("CLEARHEAD", ROOT / "build/release/clearhead"))
KNOWN_MODELS = Path(os.environ.get("CLEARHEAD_KNOWN_MODELS", ROOT / "build/release/clearhead-known-models"))
KINDS = {"F32": ("f", 4), "BF16": ("H", 2), "I32": ("i", 4), "BOOL": ("B", 1), "I64": ("q", 8)}

# Tolerances, like those of tests/tolerance.h for C++: times max(1, |value|), or in decimal places.
SUM = 1e-5  # f32 sums and results that depend on them
KEPT = 1e-6  # the same f32, saved to a file and found by another run
TOTAL = 1e-4  # sums over the f32 numbers of a tensor
DOUBLE = 1e-9  # the same double, from two commands
BF16 = 0.01  # a weight of a model in bf16
LAW_PLACES = 3  # weights that the law of a known model predicts; other keys get the rest
SHARE_PLACES = 4  # fractions of a row of f32
ROW_PLACES = 5  # a row's sum
LINE_PLACES = 5  # the answer for a line, alone and among others
F32_PLACES = 6  # one f32, as printed


class Done:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout.decode("utf-8")
        self.errors = process.stderr.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.out)


HANGS = 300  # seconds; no process of these tests takes longer, even on a busy machine


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARHEAD", "HF_", "NO_COLOR", "COLUMNS"))}
    return kept | {"LC_ALL": "C.UTF-8"} | changes


def run(*arguments, stdin=b"", folder=None, timeout=600, **changes):
    """Runs clearhead with these arguments; raises after `timeout` seconds, which no run should need even on a busy machine."""
    command = [BINARY, *(item if isinstance(item, bytes) else str(item) for item in arguments)]
    return Done(subprocess.run(command, input=stdin, capture_output=True, env=environment(**changes), cwd=folder, timeout=timeout, check=False))


def await_handler(process, signal):
    """Waits until a process has a handler for a signal. Before that, the signal ends the process without an exit code."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) >> (signal - 1) & 1:
            return
        time.sleep(0.01)


def write_wordpiece(folder, words):
    """Writes a tokenizer with these words, and with BERT's special tokens around a text or a pair."""
    vocabulary = {token: at for at, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    special = {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    cls, end = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, [{"SpecialToken": {"id": "[SEP]", "type_id": side}} for side in (0, 1)]
    text, pair = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": at, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                         for at, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": False, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [cls, text, end[0]], "pair": [cls, text, end[0], pair, end[1]], "special_tokens": special},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    }), encoding="utf-8")


def write_safetensors(path, tensors, metadata=None):
    """tensors: name → (dtype, shape, values)."""
    header, blocks, at = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, values) in tensors.items():
        data = array.array(KINDS[dtype][0], values).tobytes()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        blocks.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def read_safetensors(path):
    """name → (shape, flat list)."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = array.array(KINDS[entry["dtype"]][0])
        values.frombytes(data[8 + size + begin : 8 + size + end])
        out[name] = (entry["shape"], list(values))
    return out


def columns(text):
    """Number of terminal columns of a line, for texts without joined emoji."""
    wide = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text if unicodedata.combining(c) == 0)
    return wide - sum(1 for c in text if unicodedata.category(c) in ("Cf", "Mn"))


class Case(unittest.TestCase):
    """Provides the two known models, a text with a needle, and a temporary folder."""

    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        if not hasattr(Case, "shelf"):
            Case.shelf = Path(tempfile.mkdtemp(prefix="clearhead-cli-"))
            for kind in ("causal", "bidirectional"):
                subprocess.run([KNOWN_MODELS, kind, Case.shelf / kind], check=True)
            told = subprocess.run([KNOWN_MODELS, "text", Case.shelf / "known.txt", "--bytes", "1200"], check=True, capture_output=True)
            Case.known = json.loads(told.stdout)
        cls.causal = Case.shelf / "causal"
        cls.both = Case.shelf / "bidirectional"
        cls.text = Case.shelf / "known.txt"

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(dir=Case.shelf))

    def ok(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual((done.code, done.errors), (0, ""), arguments)
        return done

    def refused(self, code, message, *arguments, **options):
        """Expects this exit code, exactly this one line on stderr, and no other output."""
        done = run(*arguments, **options)
        self.assertEqual(done.errors, f"clearhead: {message}\n")
        self.assertEqual((done.code, done.out), (code, ""))

    def manifests(self, page):
        """The manifest of each trace in an offline page."""
        text = page.read_text(encoding="utf-8")
        begin = text.index(">", text.index('id="clearhead-manifest"')) + 1
        return json.loads(text[begin : text.index("</script", begin)])

    def copy_of(self, model):
        copied = self.folder / "model"
        shutil.copytree(model, copied)
        return copied


def clean_up():
    if hasattr(Case, "shelf"):
        shutil.rmtree(Case.shelf, ignore_errors=True)
