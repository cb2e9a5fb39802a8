#!/usr/bin/env python3
"""Measures what pre-training on five books gives a small encoder or decoder: docs/mechanisms/fine-tuning.md.

    python3 bench/pretraining.py --books DIR --texts DIR --entities DIR --out runs/pretraining

Pre-trains a model on the books with the recipe encoder-books.json or decoder-books.json (--model). Then trains the tasks of sentiment.json,
question-kind.json and entities.json, once from the pre-trained weights and once from new weights, with the same architecture, vocabulary,
data and number of steps. Each of the two starts gets the learning rate that is better on the validation data with the first
seed. Prints the figures on the test data, the mean over --seeds with its 95 % interval (Student's t), as a table in Markdown, and writes
results.json to --out. Finished runs are kept, so the script can be interrupted.
"""

import argparse
import csv
import json
import math
import statistics
from pathlib import Path

from runs import ask, kept, train

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
TASKS = {"sentiment": "accuracy", "question-kind": "accuracy", "entities": "f1"}  # the recipe and its metric
STARTS = ("pre-trained", "new")
RATES = (3e-4, 1e-3)
MODELS = ("encoder-books", "decoder-books")  # recipes that pre-train
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # quantile of Student's t for this number of seeds


def recipe_of(task, start, rate, seed, pretrained):
    made = json.loads((RECIPES / f"{task}.json").read_text(encoding="utf-8"))
    made["seed"], made["schedule"]["learning_rate"] = seed, rate
    made["optimiser"].pop("groups", None)  # one learning rate for all weights, because new weights have no other part to spare
    if start == "pre-trained":
        made["from"] = str(pretrained)
        return made
    del made["from"]
    config = json.loads((pretrained / "config.json").read_text(encoding="utf-8"))
    made["tokenizer"], made["model"] = str(pretrained), {key: value for key, value in config.items() if key != "architectures"}
    return made


def fine_tune(options, task, start, rate, seed, pretrained):
    """Trains unless the run is finished. Returns its best validation metric and its metric on the test data."""
    folder = options.out / options.model / task / f"{start}-{rate:g}-{seed}"

    def run():
        path, metric = folder / "recipe.json", TASKS[task]
        path.write_text(json.dumps(recipe_of(task, start, rate, seed, pretrained), indent=1), encoding="utf-8")
        data = options.entities if task == "entities" else options.texts
        best = train(options.clearhead, path, data, folder / "run")
        with (folder / "run" / "log.csv").open(encoding="utf-8") as log:
            valid = max(float(row[metric]) for row in csv.DictReader(log) if row[metric])
        tested = ask(options.clearhead, "train", path, f"data={data}", "--test", best, "--json")
        return {"valid": valid, "test": json.loads(tested)[metric]}

    return kept(folder, run)


def measure(options, task, start, pretrained):
    rate = max(RATES, key=lambda one: fine_tune(options, task, start, one, 1, pretrained)["valid"])
    figures = [100 * fine_tune(options, task, start, rate, seed, pretrained)["test"] for seed in range(1, options.seeds + 1)]
    half = T_975[len(figures)] * statistics.stdev(figures) / math.sqrt(len(figures))
    return {"rate": rate, "figures": figures, "mean": statistics.mean(figures), "half_interval": half}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODELS[0], choices=MODELS, help="the recipe that pre-trains (default: %(default)s)")
    parser.add_argument("--books", type=Path, required=True, help="folder with the books")
    parser.add_argument("--texts", type=Path, required=True, help="folder with the data of sentiment.json and question-kind.json")
    parser.add_argument("--entities", type=Path, required=True, help="folder with the data of entities.json")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="recipes to fine-tune with (default: all)")
    parser.add_argument("--seeds", type=int, default=3, choices=T_975, help="seeds of each fine-tuning (default: %(default)s)")
    parser.add_argument("--clearhead", default="build/release/clearhead", help="the program (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining"), help="folder of the runs (default: %(default)s)")
    options = parser.parse_args()
    results = {}
    print("| task | pre-trained on the books | new weights |\n|---|---|---|")
    folder, recipe = options.out.resolve() / options.model, RECIPES / f"{options.model}.json"
    pretrained = Path(kept(folder, lambda: str(train(options.clearhead, recipe, options.books, folder / "run"))))
    for task in options.tasks:
        results[task] = {start: measure(options, task, start, pretrained) for start in STARTS}
        cells = [f"{of['mean']:.1f} ± {of['half_interval']:.1f}" for of in results[task].values()]
        print(f"| {task} | {cells[0]} | {cells[1]} |", flush=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


main()
