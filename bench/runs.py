"""What the scripts that train with clearhead share: calls of the program, and results that are kept."""

import json
import shutil
import subprocess


def ask(*command):
    """Runs a command and returns what it printed. Ends the script with the command's error message if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {done.stderr}")
    return done.stdout


def kept(folder, measure):
    """The result in folder/result.json, or what measure() returns, which is written there."""
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    values = measure()
    result.write_text(json.dumps(values), encoding="utf-8")
    return values


def train(clearhead, recipe, data, out):
    """Trains `recipe` with the folder `data` into the folder `out`, removing what an interrupted run left there. Returns the best model."""
    shutil.rmtree(out, ignore_errors=True)
    ask(clearhead, "train", recipe, f"data={data}", "-o", out)
    return out / "best"
