#!/usr/bin/env python3
"""clearhead beside PyTorch: the model cases of `clearhead bench model`, same files, same threads, f32 and bf16, alternating.

  bench/side_by_side_model.py --models FOLDER [--minilm FOLDER] [--clearhead build/release/clearhead] [--threads N] [--seconds S] [case …]

Needs torch and transformers. FOLDER keeps the random models that the bench writes. Each case runs as clearhead, PyTorch, clearhead; the better of
clearhead's two runs and the best repetition of PyTorch's are compared (decode: medians). Prints one line a case, or JSON with --json.
"""

import argparse
import json
import statistics
import subprocess
import time

CASES = ["run/minilm/1x32", "run/minilm/1x128", "run/minilm/32x128", "run/bert-base/1x512", "run/bert-base/8x128",
         "prefill/gpt2-small/1024", "decode/gpt2-small/128", "decode/gpt2-small/1024"]
CASES += [f"{case}/bf16" for case in CASES]


def ours(options, case):
    command = [options.clearhead, "--threads", str(options.threads), "bench", "model", "--json", "--models", options.models, "--seconds",
               str(options.seconds), "--filter", case]
    if options.minilm:
        command += ["--minilm", options.minilm]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return next(item for item in done["cases"] if item["name"] == case)


def repeat(seconds, action, warm=1):
    for _ in range(warm):
        action()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


def theirs(options, case, models={}):  # noqa: B006  (models stay loaded from case to case)
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    kind, name, shape, *dtype = case.split("/")
    folder = options.minilm if name == "minilm" and options.minilm else f"{options.models}/{name}"
    if (name, *dtype) not in models:
        models.clear()
        loader = transformers.AutoModel if kind == "run" else transformers.AutoModelForCausalLM
        models[(name, *dtype)] = loader.from_pretrained(folder, dtype=torch.bfloat16 if dtype else torch.float32).eval()
    model = models[(name, *dtype)]
    with torch.inference_mode():
        if kind == "run":
            batch, length = map(int, shape.split("x"))
            ids = torch.randint(1000, 20000, (batch, length))
            return batch * length / min(repeat(options.seconds, lambda: model(ids)))
        ids = torch.randint(1000, 20000, (1, int(shape)))
        if kind == "prefill":
            return int(shape) / min(repeat(options.seconds, lambda: model(ids, use_cache=True, logits_to_keep=1)))
        cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
        token = torch.tensor([[1000]])
        return 1 / statistics.median(repeat(options.seconds, lambda: model(token, past_key_values=cache, use_cache=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--minilm", default="")
    parser.add_argument("--clearhead", default="build/release/clearhead")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    rows = []
    for case in [case for case in CASES if not options.cases or any(part in case for part in options.cases)]:
        first = ours(options, case)
        torch_rate = theirs(options, case)
        again = ours(options, case)
        best = max(first, again, key=lambda item: item["tokens_per_second"])
        rows.append({"case": case, "clearhead": best["tokens_per_second"], "torch": torch_rate, "ratio": best["tokens_per_second"] / torch_rate,
                     "fraction_of_limit": best["fraction_of_limit"], "limit": best["limit"]})
        if not options.json:
            row = rows[-1]
            print(f"{case:<26} clearhead {row['clearhead']:>9.0f}  torch {torch_rate:>9.0f} tokens/s   {row['ratio']:.2f}x   "
                  f"{100 * row['fraction_of_limit']:.0f} % of {row['limit']}", flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
