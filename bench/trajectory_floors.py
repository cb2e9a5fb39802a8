#!/usr/bin/env python3
"""The floor of recipes/pedestrians.json, without clearhead: constant velocity, measured on every scene of the recipe's protocol.

    python3 bench/trajectory_floors.py recipes/pedestrians.json DIR

ADE and FDE in metres of the displacement of the last observed step, repeated, for every person with a complete track; and the FDE of the
third of the tracks with the largest distance of a position from the line through the first and the last one. Needs no packages.
"""

import json
import math
import sys
from pathlib import Path

SCENES = ("eth", "hotel", "univ", "zara1", "zara2")  # those that are left out in turn


def tracks(path: Path, steps: int, frames: int) -> list[list[tuple[float, float]]]:
    """Returns every run of `steps` positions of one person, `frames` frames apart."""
    at: dict[tuple[int, int], tuple[float, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        frame, person, x, y = line.split("\t")
        at[int(person), int(frame)] = float(x), float(y)
    runs = ([at.get((person, frame + step * frames)) for step in range(steps)] for person, frame in at)
    return [[place for place in run if place] for run in runs if all(run)]


def curvature(track: list[tuple[float, float]]) -> float:
    (x, y), (end_x, end_y) = track[0], track[-1]
    dx, dy = end_x - x, end_y - y
    return max(abs((at_x - x) * dy - (at_y - y) * dx) for at_x, at_y in track) / max(1e-6, math.hypot(dx, dy))


def errors(track: list[tuple[float, float]], observed: int) -> list[float]:
    (before_x, before_y), (x, y) = track[observed - 2 : observed]
    return [math.hypot(x + step * (x - before_x) - at_x, y + step * (y - before_y) - at_y)
            for step, (at_x, at_y) in enumerate(track[observed:], 1)]


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["task"]
    observed, predicted, frames = (task.get(name, default) for name, default in
                                   (("observed_steps", 8), ("predicted_steps", 12), ("frames_per_step", 10)))
    sums = [0.0] * 3
    for scene in SCENES:
        found = [track for file in task["scenes"][scene] for track in tracks(Path(sys.argv[2]) / file, observed + predicted, frames)]
        measured = [errors(track, observed) for track in sorted(found, key=curvature, reverse=True)]
        curved = measured[: len(measured) // 3]
        row = [sum(sum(one) / predicted for one in measured) / len(measured), sum(one[-1] for one in measured) / len(measured),
               sum(one[-1] for one in curved) / len(curved)]
        sums = [total + one for total, one in zip(sums, row, strict=True)]
        print(f"{scene}: {len(measured)} tracks, ADE {row[0]:.3f}, FDE {row[1]:.3f}, FDE of the most curved third {row[2]:.3f}")
    print("mean of the scenes: ADE {:.3f}, FDE {:.3f}, FDE of the most curved third {:.3f}".format(*(one / len(SCENES) for one in sums)))


if __name__ == "__main__":
    main()
