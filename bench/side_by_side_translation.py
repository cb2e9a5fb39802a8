#!/usr/bin/env python3
"""Compares translation of a file by clearhead and CTranslate2: same weights, beams, length penalty and threads, in alternating rounds.

    python3 bench/side_by_side_translation.py models/en-fr SOURCES.txt [--references REFERENCES.txt] [--rounds 3] [--types float32 bfloat16
    int8]

Install the packages first: pip install ctranslate2 transformers torch tokenizers. Loading time is excluded on both sides: for clearhead,
the time for a file with one line is subtracted. The model files are converted correctly: the decoder starts with its start token's
embedding (CTranslate2's loader of Marian's models puts zeros there and drops the padding token, which has another index in these files).
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

OURS = {"float32": [], "bfloat16": ["--precision", "bf16"], "int8": ["--weights", "int8-dynamic"]}


def clearhead_seconds(binary: str, model: str, lines: list[str], options: list[str]) -> tuple[float, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "lines.txt")
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        begin = time.perf_counter()
        command = [binary, "run", "translate", model, "--file", str(text), *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return time.perf_counter() - begin, done.stdout.splitlines()


def converted(model: str, folder: str) -> None:
    import transformers
    from ctranslate2.converters.transformers import MarianMTLoader

    class Loader(MarianMTLoader):
        def _remove_pad_weights(self, spec: object) -> None:
            pass

        def set_decoder(self, spec: object, decoder: object) -> None:
            super().set_decoder(spec, decoder)
            spec.start_from_zero_embedding = False

    network = transformers.MarianMTModel.from_pretrained(model, dtype="float32")
    tokens = [None] * network.config.vocab_size
    for token, number in tokenizer_of(model).get_vocab().items():
        tokens[number] = token
    spec = Loader().get_model_spec(network)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.eos_token = tokens[network.config.eos_token_id]
    spec.config.unk_token = tokens[network.config.eos_token_id]
    spec.config.decoder_start_token = tokens[network.config.decoder_start_token_id]
    spec.validate()
    spec.save(folder)


def tokenizer_of(model: str) -> object:
    import tokenizers

    return tokenizers.Tokenizer.from_file(f"{model}/tokenizer.json")


class Peer:
    def __init__(self, model: str, folder: str, kind: str, workers: int, threads: int, settings: dict) -> None:
        import ctranslate2

        if kind not in ctranslate2.get_supported_compute_types("cpu"):
            kind = "float32"
        self.kind = kind
        self.tokenizer = tokenizer_of(model)
        self.translator = ctranslate2.Translator(folder, compute_type=kind, intra_threads=threads, inter_threads=workers)
        self.settings = settings

    def translate(self, lines: list[str]) -> list[str]:
        sources = [self.tokenizer.encode(line).tokens for line in lines]
        made = self.translator.translate_batch(
            sources, beam_size=self.settings["num_beams"], length_penalty=self.settings["length_penalty"],
            max_batch_size=self.settings["batch"])
        numbers = [[self.tokenizer.token_to_id(token) for token in one.hypotheses[0]] for one in made]
        return self.tokenizer.decode_batch(numbers)

    def seconds(self, lines: list[str]) -> tuple[float, list[str]]:
        begin = time.perf_counter()
        translated = self.translate(lines)
        return time.perf_counter() - begin, translated


def bleu(binary: str, translated: list[str], references: str | None) -> str:
    if references is None:
        return ""
    command = [binary, "bleu", "-", references, "--json"]
    done = subprocess.run(command, input="\n".join(translated) + "\n", check=True, capture_output=True, text=True)
    return f"{json.loads(done.stdout)['score']:.2f} BLEU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sources")
    parser.add_argument("--references")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="*", default=[32, 64, 128], help="batch sizes for CTranslate2; its best result counts")
    parser.add_argument("--binary", default="build/release/clearhead")
    parser.add_argument("--types", nargs="*", default=list(OURS))
    arguments = parser.parse_args()
    lines = Path(arguments.sources).read_text(encoding="utf-8").splitlines()
    settings = json.loads(Path(arguments.model, "generation_config.json").read_text(encoding="utf-8"))

    with tempfile.TemporaryDirectory() as folder:
        converted(arguments.model, folder)
        for kind in arguments.types:
            options = [*OURS[kind], "--threads", str(arguments.threads)]
            # CTranslate2 in two settings: all threads share a batch, or each translates its own batches, as in clearhead.
            peers = {(batch, workers): Peer(arguments.model, folder, kind, workers, arguments.threads // workers,
                                            settings | {"batch": batch})
                     for batch in arguments.batches for workers in {1, arguments.threads}}
            for peer in peers.values():
                peer.translate(lines[:64])
            ours, theirs, times = (float("inf"), []), (float("inf"), []), dict.fromkeys(peers, float("inf"))
            for _ in range(arguments.rounds):
                loading, _ = clearhead_seconds(arguments.binary, arguments.model, lines[:1], options)
                whole, translated = clearhead_seconds(arguments.binary, arguments.model, lines, options)
                ours = min(ours, (whole - loading, translated))
                for which, peer in peers.items():
                    took = peer.seconds(lines)
                    theirs, times[which] = min(theirs, took), min(times[which], took[0])
            together = min(seconds for (_, workers), seconds in times.items() if workers == 1)
            print(f"{kind:<9} clearhead {ours[0]:.2f} s {bleu(arguments.binary, ours[1], arguments.references)}   "
                  f"CTranslate2 ({next(iter(peers.values())).kind}) {theirs[0]:.2f} s "
                  f"{bleu(arguments.binary, theirs[1], arguments.references)}   clearhead is {theirs[0] / ours[0]:.2f} x as fast; "
                  f"{together / ours[0]:.2f} x where CTranslate2's threads share each batch ({together:.2f} s)", flush=True)


if __name__ == "__main__":
    main()
