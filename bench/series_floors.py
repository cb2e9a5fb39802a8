#!/usr/bin/env python3
"""Simple baselines (floors) for a classifier of series: nearest neighbours and logistic regression on the inputs of a recipe.

    python3 bench/series_floors.py recipes/ecg-beats.json data=DIR [key=value …]

The inputs are the samples and the features of each series, standardised as the recipe says; features can be left out with --no-features.
The number of neighbours, and the strength and the class weights of the regression, are those with the best macro-F1 on the validation
set. All settings are printed. Install the packages first: pip install numpy scikit-learn
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier


def read(path: Path, task: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns samples [series, number], features [series, feature] and labels [series] of a table without a header."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    cell = lambda row, column: row[int(column) - 1].replace(",", " ")
    samples = np.array([[float(number) for number in cell(row, task["series"]["column"]).split()] for row in rows])
    feature = lambda row, columns: (math.log(float(cell(row, columns[0])) / float(cell(row, columns[1]))) if isinstance(columns, list)
                                    else float(cell(row, columns)))
    features = np.array([[feature(row, columns) for columns in task["series"].get("features", {}).values()] for row in rows])
    return samples, features, np.array([cell(row, task["label"]) for row in rows])


def standardised(part: np.ndarray, training: np.ndarray, how: str) -> np.ndarray:
    if how == "none":
        return part
    if how == "each":
        centred = part - np.median(part, 1, keepdims=True)
        return centred / np.abs(centred).max(1, keepdims=True)
    return (part - training.mean()) / training.std()


def inputs(parts: dict, how: str, with_features: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the inputs and the labels of each part. Features are standardised with the training data, whatever the recipe says."""
    train_samples, train_features, _ = parts["train"]
    out = {}
    for name, (samples, features, labels) in parts.items():
        columns = [standardised(samples, train_samples, how)]
        if with_features:
            columns.append((features - train_features.mean(0)) / train_features.std(0))
        out[name] = np.concatenate(columns, 1), labels
    return out


def measure(title: str, settings: dict, make, data: dict) -> None:
    """Fits each setting, prints macro-F1 on validation and test, and marks the one that is best on validation."""
    found = []
    for name, setting in settings.items():
        model = make(**setting).fit(*data["train"])
        told = {part: model.predict(data[part][0]) for part in ("valid", "test")}
        f1 = {part: f1_score(data[part][1], told[part], average="macro") for part in told}
        found.append((f1["valid"], f1["test"], accuracy_score(data["test"][1], told["test"]), name))
        print(f"{title}, {name}: macro-F1 {f1['valid']:.4f} on valid, {f1['test']:.4f} on test")
    _, f1, accuracy, name = max(found)
    print(f"{title}: {name} is best on valid; on test macro-F1 {f1:.4f}, accuracy {accuracy:.4f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("settings", nargs="+", help="data=DIR")
    parser.add_argument("--no-features", action="store_true", help="samples only")
    arguments = parser.parse_args()
    task = json.loads(arguments.recipe.read_text(encoding="utf-8"))["task"]
    folder = Path(dict(one.split("=", 1) for one in arguments.settings)["data"])
    parts = {part: read(folder / task[part], task) for part in ("train", "valid", "test")}
    data = inputs(parts, task["series"].get("standardise", "data"), not arguments.no_features)
    measure("nearest neighbours", {f"k = {k}": {"n_neighbors": k} for k in (1, 3, 5, 9, 15)}, KNeighborsClassifier, data)
    strengths = {f"C = {c:g}, {weights or 'equal'} weights": {"C": c, "class_weight": weights}
                 for weights in (None, "balanced") for c in (0.001, 0.01, 0.1, 1, 10)}
    measure("logistic regression", strengths, lambda **setting: LogisticRegression(max_iter=5000, **setting), data)


if __name__ == "__main__":
    main()
