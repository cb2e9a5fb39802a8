"""The floor of recipes/detect-digits.json: the cells of a grid, classified one by one, in mAP@0.5 on scenes of test bitmaps.

A scene of 64 x 64 pixels is divided into cells of 8 x 8. For each cell, a network with one hidden layer says which digit has its centre
there, or that none has, and where its box is (centre and sides, relative to the cell). It reads the pixels of the cell alone, or of the
cell and its eight neighbours. Of detections that overlap by half, only the most probable one is kept.

    python3 bench/detection_floor.py ../shared/data/vision
"""

import sys
from pathlib import Path

import numpy as np

SIDE, CELL, DIGIT, CLASSES, HIDDEN = 64, 8, 16, 10, 128
GRID = SIDE // CELL


def bitmaps(path: Path) -> list[tuple[int, np.ndarray]]:
    """Digits, shrunk to 16 x 16 and cut to the bounding box of their ink."""
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        label, figures = line.split("\t")
        bits = np.array([int(bit) for figure in figures for bit in f"{int(figure, 16):04b}"], dtype=np.float32)
        small = bits.reshape(DIGIT, 2, DIGIT, 2).mean(axis=(1, 3))
        rows, columns = np.nonzero(small >= 0.2)
        out.append((int(label), small[rows.min():rows.max() + 1, columns.min():columns.max() + 1]))
    return out


def scene(digits: list[tuple[int, np.ndarray]], random: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """A picture with 1 to 5 digits, and their labels and boxes (left, top, right, bottom)."""
    picture, boxes = np.zeros((SIDE, SIDE), np.float32), []
    for _ in range(random.integers(1, 6)):
        label, ink = digits[random.integers(len(digits))]
        high, wide = ink.shape
        for _ in range(50):
            top, left = random.integers(SIDE - high + 1), random.integers(SIDE - wide + 1)
            box = np.array([left, top, left + wide, top + high], np.float32)
            if any(common(box, other) > 0.1 * min(area(box), area(other)) for _, other in boxes):
                continue
            part = picture[top:top + high, left:left + wide]
            np.maximum(part, ink, out=part)
            boxes.append((label, box))
            break
    return picture, boxes


def area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def common(a: np.ndarray, b: np.ndarray) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return float(max(wide, 0) * max(high, 0))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    both = common(a, b)
    return both / (area(a) + area(b) - both)


def windows(picture: np.ndarray, around: int) -> np.ndarray:
    """The pixels of each cell and of `around` pixels on each side: [cell, pixel]."""
    padded, side = np.pad(picture, around), CELL + 2 * around
    return np.stack([padded[y:y + side, x:x + side].ravel() for y in range(0, SIDE, CELL) for x in range(0, SIDE, CELL)])


def targets(boxes: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The class of each cell (10: none), and its box relative to the cell's middle, in cells."""
    labels, numbers = np.full(GRID * GRID, CLASSES), np.zeros((GRID * GRID, 4), np.float32)
    for label, box in boxes:
        x, y = (box[0] + box[2]) / 2 / CELL, (box[1] + box[3]) / 2 / CELL
        column, row = min(int(x), GRID - 1), min(int(y), GRID - 1)
        labels[row * GRID + column] = label
        numbers[row * GRID + column] = x - column - 0.5, y - row - 0.5, (box[2] - box[0]) / CELL, (box[3] - box[1]) / CELL
    return labels, numbers


class CellNetwork:
    """x -> relu(x A) -> class logits and box; trained by Adam on cross-entropy plus squared error of boxes."""

    def __init__(self, inputs: int, random: np.random.Generator) -> None:
        outputs = CLASSES + 1 + 4
        self.weights = [random.normal(0, (2 / inputs) ** 0.5, (inputs, HIDDEN)).astype(np.float32), np.zeros(HIDDEN, np.float32),
                        random.normal(0, (1 / HIDDEN) ** 0.5, (HIDDEN, outputs)).astype(np.float32), np.zeros(outputs, np.float32)]
        self.moments = [(np.zeros_like(one), np.zeros_like(one)) for one in self.weights]
        self.steps = 0

    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hidden = np.maximum(x @ self.weights[0] + self.weights[1], 0)
        out = hidden @ self.weights[2] + self.weights[3]
        logits = out[:, :CLASSES + 1] - out[:, :CLASSES + 1].max(axis=1, keepdims=True)
        p = np.exp(logits)
        return hidden, p / p.sum(axis=1, keepdims=True), out[:, CLASSES + 1:]

    def step(self, x: np.ndarray, labels: np.ndarray, numbers: np.ndarray, rate: float) -> None:
        hidden, p, boxes = self.run(x)
        is_object = (labels < CLASSES)[:, None]
        slope = np.concatenate([p - np.eye(CLASSES + 1, dtype=np.float32)[labels], 2 * (boxes - numbers) * is_object], axis=1) / len(x)
        back = slope @ self.weights[2].T * (hidden > 0)
        gradients = [x.T @ back, back.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)]
        self.steps += 1
        for weight, (mean, square), gradient in zip(self.weights, self.moments, gradients):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient ** 2 - square)
            weight -= rate * mean / (1 - 0.9 ** self.steps) / (np.sqrt(square / (1 - 0.999 ** self.steps)) + 1e-8)


def detections(network: CellNetwork, picture: np.ndarray, around: int) -> list[tuple[float, int, np.ndarray]]:
    _, p, boxes = network.run(windows(picture, around))
    found = []
    for cell, (probabilities, (x, y, wide, high)) in enumerate(zip(p[:, :CLASSES], boxes)):
        x, y, wide, high = x + cell % GRID + 0.5, y + cell // GRID + 0.5, max(wide, 0.1), max(high, 0.1)
        box = CELL * np.array([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2])
        found.append((float(probabilities.max()), int(probabilities.argmax()), box))
    kept: list[tuple[float, int, np.ndarray]] = []
    for one in sorted(found, key=lambda item: -item[0]):
        if all(overlap(one[2], other[2]) < 0.5 for other in kept):
            kept.append(one)
    return kept


def mean_average_precision(found: list, expected: list) -> float:
    scores = []
    for label in range(CLASSES):
        boxes = [[box for one, box in of if one == label] for of in expected]
        ranked = sorted(((p, at, box) for at, of in enumerate(found) for p, one, box in of if one == label), key=lambda item: -item[0])
        taken, correct = [set() for _ in boxes], []
        for _, at, box in ranked:
            free = [(overlap(box, other), index) for index, other in enumerate(boxes[at]) if index not in taken[at]]
            best = max(free, default=(0.0, -1))
            correct.append(best[0] >= 0.5)
            if correct[-1]:
                taken[at].add(best[1])
        precision = np.cumsum(correct) / (1 + np.arange(len(correct)))
        interpolated = np.maximum.accumulate(precision[::-1])[::-1]
        scores.append(float(interpolated[np.array(correct, bool)].sum()) / sum(map(len, boxes)))
    return float(np.mean(scores))


def main() -> None:
    folder, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    train, test = bitmaps(folder / "optdigits_train.tsv"), bitmaps(folder / "optdigits_test.tsv")
    random = np.random.default_rng(2)
    scenes = [scene(test, random) for _ in range(1000)]
    for around in (0, CELL):
        random = np.random.default_rng(1)
        network = CellNetwork((CELL + 2 * around) ** 2, random)
        for step in range(steps):
            made = [scene(train, random) for _ in range(8)]
            of = [targets(boxes) for _, boxes in made]
            network.step(np.concatenate([windows(picture, around) for picture, _ in made]), np.concatenate([one for one, _ in of]),
                         np.concatenate([one for _, one in of]), 0.002 * (1 - step / steps))
        found = [detections(network, picture, around) for picture, _ in scenes]
        name = "the cell and its neighbours" if around else "the cell alone"
        print(f"mAP@0.5 {mean_average_precision(found, [boxes for _, boxes in scenes]):.3f}  {name}")


if __name__ == "__main__":
    main()
