#!/usr/bin/env python3
"""Compares clearhead with PyTorch, OpenVINO and ONNX Runtime: the model cases of `clearhead bench model`, same files, same threads, f32 and
bf16, alternating.

  bench/side_by_side_model.py --models FOLDER [--minilm FOLDER] [--clearhead build/release/clearhead] [--threads N] [--seconds S] [case …]

Needs torch and transformers; also openvino, and onnxruntime with onnx, if these are compared (--peers). The bench writes its random models
to FOLDER. Each case runs in clearhead, then in the other libraries, then in clearhead again. The better of clearhead's two runs is compared
with the best repetition of each other library (decode: medians). OpenVINO and ONNX Runtime run encoders, ONNX Runtime in f32. Prints one
line per case, or JSON with --json.
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


def loaded(options, case, dtype, models={}):  # noqa: B006  (a model stays loaded between cases)
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    kind, name, *_ = case.split("/")
    folder = options.minilm if name == "minilm" and options.minilm else f"{options.models}/{name}"
    if (name, dtype) not in models:
        models.clear()
        loader = transformers.AutoModel if kind == "run" else transformers.AutoModelForCausalLM
        models[(name, dtype)] = loader.from_pretrained(folder, dtype=dtype).eval()
    return models[(name, dtype)]


def of_torch(options, case):
    import torch

    kind, _, shape, *dtype = case.split("/")
    model = loaded(options, case, torch.bfloat16 if dtype else torch.float32)
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


def last_hidden(model):
    """Wraps an encoder for the other peers: from ids to the last hidden state."""
    import torch

    class LastHidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            return self.model(ids).last_hidden_state

    return LastHidden().eval()


def ids_of(case):
    import torch

    batch, length = map(int, case.split("/")[2].split("x"))
    return torch.randint(1000, 20000, (batch, length))


def of_openvino(options, case):
    import openvino
    import torch

    if not case.startswith("run/"):
        return None
    ids = ids_of(case)
    model = openvino.convert_model(last_hidden(loaded(options, case, torch.float32)), example_input=ids,
                                   input=[openvino.PartialShape(list(ids.shape))])
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if case.endswith("/bf16") else "f32", "INFERENCE_NUM_THREADS": options.threads,
                "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    given = ids.numpy()
    return ids.numel() / min(repeat(options.seconds, lambda: request.infer([given])))


def of_onnx(options, case):
    import io

    import onnxruntime
    import torch

    if not case.startswith("run/") or case.endswith("/bf16"):
        return None
    ids, file = ids_of(case), io.BytesIO()
    torch.onnx.export(last_hidden(loaded(options, case, torch.float32)), (ids,), file, input_names=["ids"], dynamo=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(file.getvalue(), settings, providers=["CPUExecutionProvider"])
    given = ids.numpy()
    return ids.numel() / min(repeat(options.seconds, lambda: session.run(None, {"ids": given})))


PEERS = {"torch": of_torch, "openvino": of_openvino, "onnx": of_onnx}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--minilm", default="")
    parser.add_argument("--clearhead", default="build/release/clearhead")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peers", nargs="*", default=["torch"], choices=list(PEERS))
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    rows = []
    for case in [case for case in CASES if not options.cases or any(part in case for part in options.cases)]:
        first = ours(options, case)
        rates = {name: rate for name in options.peers if (rate := PEERS[name](options, case)) is not None}
        again = ours(options, case)
        best = max(first, again, key=lambda item: item["tokens_per_second"])
        own = best["tokens_per_second"]
        rows.append({"case": case, "clearhead": own, **rates, "ratios": {name: own / rate for name, rate in rates.items()},
                     "fraction_of_limit": best["fraction_of_limit"], "limit": best["limit"]})
        if not options.json:
            beside = "".join(f"   {name} {rate:>7.0f} ({own / rate:.2f}x)" for name, rate in rates.items())
            print(f"{case:<26} clearhead {own:>7.0f} tokens/s{beside}   {100 * best['fraction_of_limit']:.0f} % of {best['limit']}",
                  flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
