#!/usr/bin/env python3
"""Compares sentence embeddings per second: clearhead and sentence-transformers on ONNX Runtime and OpenVINO, in alternating rounds.

    python3 bench/side_by_side_embedding.py MODEL SENTENCES.txt [--rounds 3] [--binary build/release/clearhead] [--backends onnx openvino
    openvino-f32]

OpenVINO uses bf16 by default if the machine has it; "openvino-f32" disables that. Therefore clearhead runs in both precisions.
Install the packages first: pip install "sentence-transformers[onnx,openvino]". MODEL is the folder that tools/demo-model prints. Loading
time is excluded on both sides: for clearhead, the time for a file with one line is subtracted.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path


def clearhead_seconds(binary: str, model: str, lines: list[str], precision: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "lines.txt")
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        begin = time.perf_counter()
        subprocess.run([binary, "run", "embed", model, "--file", text, "--lines", "--precision", precision, "-o", Path(folder, "out.npy")],
                       check=True)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sentences")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--binary", default="build/release/clearhead")
    parser.add_argument("--backends", nargs="*", default=["onnx", "openvino", "openvino-f32"])
    arguments = parser.parse_args()
    lines = Path(arguments.sentences).read_text(encoding="utf-8").splitlines()

    def ours(precision: str) -> float:
        whole = clearhead_seconds(arguments.binary, arguments.model, lines, precision)
        return whole - clearhead_seconds(arguments.binary, arguments.model, lines[:1], precision)

    runs = {"clearhead f32": lambda: ours("f32"), "clearhead bf16": lambda: ours("bf16")}
    if arguments.backends:
        from sentence_transformers import SentenceTransformer

        for backend in arguments.backends:
            settings = {"model_kwargs": {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}} if backend.endswith("-f32") else {}
            peer = SentenceTransformer(arguments.model, backend=backend.removesuffix("-f32"), device="cpu", **settings)
            peer.encode(lines[:64])  # compiles

            def timed(peer: SentenceTransformer = peer) -> float:
                begin = time.perf_counter()
                peer.encode(lines, batch_size=arguments.batch)
                return time.perf_counter() - begin

            runs[backend] = timed
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            best[name] = min(best[name], run())
    for name, seconds in best.items():
        ratios = "  ".join(f"{one.removeprefix('clearhead ')}: {seconds / best[one]:.2f} x as fast" for one in best
                           if one.startswith("clearhead"))
        print(f"{name:<14} {len(lines) / seconds:>8.0f} sentences/s   clearhead in {ratios}")


if __name__ == "__main__":
    main()
