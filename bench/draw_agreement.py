"""The share of drawn pictures whose class an independent classifier finds: models/digits.

    python3 bench/draw_agreement.py build/release/clearhead models/draw-digits [COUNT] [TEMPERATURE] [GUIDANCE]

Draws COUNT pictures (default: 50) of each class with seed 1, writes them as a table of bitmaps, and measures models/digits on it with
`train --test`. Also prints, for each class, the mean bits of a picture.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def answer(*command: str) -> dict:
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def figures(rows: list[str]) -> str:
    bits = "".join("1" if pixel == "#" else "0" for row in rows for pixel in row)
    return "".join(f"{int(bits[at:at + 4], 2):x}" for at in range(0, len(bits), 4))


def main() -> None:
    binary, model, count, temperature, guidance = (*sys.argv[1:], *("", "", "50", "1", "0")[len(sys.argv) - 1:])
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for label in json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["label2id"]:
            drawn = answer(binary, "run", "draw", model, label, "--count", count, "--seed", "1", "--temperature", temperature,
                           "--guidance", guidance, "--json")
            own = [f"{label}\t{figures(one['rows'])}\n" for one in drawn["pictures"]]
            Path(folder, "drawn.tsv").write_text("".join(own), encoding="utf-8")
            found = agreement(binary, folder)
            bits = sum(one["bits"] for one in drawn["pictures"]) / len(own)
            print(f"{label}: {100 * found:.1f} % of {len(own)} agree, {bits:.1f} bits per picture")
            lines += own
        Path(folder, "drawn.tsv").write_text("".join(lines), encoding="utf-8")
        print(f"{100 * agreement(binary, folder):.1f} % of {len(lines)} agree, temperature {temperature}, guidance {guidance}")


def agreement(binary: str, folder: str) -> float:
    labels = json.dumps([str(digit) for digit in range(10)])
    return answer(binary, "train", "recipes/digits.json", f"data={folder}", "task.train=drawn.tsv", "task.valid=drawn.tsv",
                  "task.test=drawn.tsv", f"task.labels={labels}", "--test", "models/digits", "--json")["accuracy"]


if __name__ == "__main__":
    main()
