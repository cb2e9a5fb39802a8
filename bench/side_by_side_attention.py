#!/usr/bin/env python3
"""Compares clearhead's attention with PyTorch, ONNX Runtime, OpenVINO and ggml: same shapes, same threads, interleaved.

  bench/side_by_side_attention.py [--clearhead build/release/clearhead] [--threads N] [--seconds S] [--rounds R] [--json FILE] [--svg FILE]
  [--all] [case …]
  bench/side_by_side_attention.py --from FILE.json --svg FILE.svg          draws earlier measurements without running anything

Each round runs every peer of a case once, clearhead first and last; the best of all rounds counts (decode: the best median). Peers that are
not installed, or do not support a case, are skipped and listed. Needs torch; onnxruntime + onnx, openvino and ggml-python are optional:

  pip install torch onnxruntime onnx openvino ggml-python
"""

import argparse
import ctypes
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import time

CASES = [
    "forward/f32/full/h8/n4096/d64", "forward/f32/full/h8/n4096/d128", "forward/f32/causal/h8/n4096/d64",
    "forward/f32/causal/h8/n4096/d128",
    "forward/f32/full/h12/n512/d64", "backward/f32/full/h8/n4096/d64", "backward/f32/causal/h8/n4096/d64",
    "decode/f32/rows/h32kv8/n32768/d64", "decode/f32/rows/h8kv8/n32768/d64",
    "forward/bf16/full/h8/n4096/d64", "forward/bf16/full/h8/n4096/d128", "forward/bf16/causal/h8/n4096/d64",
    "backward/bf16/full/h8/n4096/d64",
]
# Added by --all: other lengths, a window, and the remaining cases in bf16 and with d = 128.
MORE_CASES = [
    "forward/f32/full/h8/n2048/d64", "forward/f32/causal/h8/n2048/d64", "forward/f32/full/h8/n8192/d64", "forward/f32/causal/h8/n8192/d64",
    "forward/f32/window1024/h8/n8192/d64", "forward/bf16/causal/h8/n4096/d128", "backward/f32/full/h8/n4096/d128",
    "backward/f32/causal/h8/n4096/d128",
    "backward/bf16/full/h8/n4096/d128", "backward/bf16/causal/h8/n4096/d64", "backward/bf16/causal/h8/n4096/d128",
    "decode/bf16/pages/h32kv8/n32768/d64/bf16",
]


class Case:
    """A case, from its name in `clearhead bench attention`: kind/dtype/shape/hN[kvM]/nN/dN[/…]."""

    def __init__(self, name):
        self.name = name
        self.kind, self.dtype, self.shape, heads, length, width = name.split("/")[:6]
        numbers = heads[1:].split("kv")
        self.heads, self.key_heads = int(numbers[0]), int(numbers[-1])
        self.keys, self.d = int(length[1:]), int(width[1:])
        self.queries = 1 if self.kind == "decode" else self.keys
        self.causal = self.shape == "causal"
        # number of keys that a query sees; its own key is the last
        self.window = int(self.shape.removeprefix("window")) if self.shape.startswith("window") else None

    def seen(self):
        """Returns bool [query, key] for peers that need a mask; None if all keys are visible."""
        import numpy

        if self.window is None and not self.causal:
            return None
        everything = numpy.ones((self.queries, self.keys), bool)
        return numpy.tril(everything) & ~numpy.tril(everything, -(self.window or self.keys))


def best_of(seconds, action):
    action()
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def clearhead(options, case):
    command = [options.clearhead, "--threads", str(options.threads), "bench", "attention", "--json", "--seconds", str(options.seconds),
               "--filter", case.name]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = next(item for item in done["cases"] if item["name"] == case.name)
    options.limits[case.name] = (found["work"], found["limit"], max(found["limit_value"], options.limits.get(case.name, (0, "", 0))[2]))
    return found["wall_seconds"]


# --- PyTorch ------------------------------------------------------------------------------------------------------------------------------


def torch_inputs(case, grad=False):
    import torch

    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[case.dtype]
    shape = lambda heads, length: (1, heads, length, case.d)
    return [torch.randn(shape(heads, length), dtype=dtype, requires_grad=grad)
            for heads, length in ((case.heads, case.queries), (case.key_heads, case.keys), (case.key_heads, case.keys))]


def torch_sdpa(options, case):
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    grouped = case.heads != case.key_heads
    mask = None if case.window is None else torch.from_numpy(case.seen())
    if case.kind == "backward":
        q, k, v = torch_inputs(case, grad=True)
        out = sdpa(q, k, v, is_causal=case.causal)
        upstream = torch.randn_like(out)
        return best_of(options.seconds, lambda: torch.autograd.grad(out, (q, k, v), upstream, retain_graph=True))
    q, k, v = torch_inputs(case)
    with torch.inference_mode():
        return best_of(options.seconds, lambda: sdpa(q, k, v, attn_mask=mask, is_causal=case.causal, enable_gqa=grouped))


def torch_folded(options, case):
    """Merges the query heads of a group into the queries of their key head, so that each key is read once."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    if case.kind != "decode" or case.heads == case.key_heads:
        return None
    q, k, v = torch_inputs(case)
    q = q.reshape(1, case.key_heads, case.heads // case.key_heads, case.d)
    with torch.inference_mode():
        return best_of(options.seconds, lambda: sdpa(q, k, v))


def torch_eager(options, case):
    """The cost of inspecting weights without clearhead: N x N weights are allocated."""
    import torch

    if case.kind != "forward":
        return None
    q, k, v = torch_inputs(case)
    seen = case.seen()
    hidden = None if seen is None else torch.from_numpy(~seen)

    def run():
        scores = q @ k.transpose(-1, -2) / math.sqrt(case.d)
        if hidden is not None:
            scores.masked_fill_(hidden, float("-inf"))
        return scores.softmax(-1) @ v

    with torch.inference_mode():
        return best_of(options.seconds, run)


def torch_flex(options, case):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    if case.kind != "forward":
        return None
    q, k, v = torch_inputs(case)
    far = case.window or case.keys
    sees = (lambda b, h, i, j: i >= j) if case.causal else (lambda b, h, i, j: (i >= j) & (i - j < far))
    mask = create_block_mask(sees, None, None, case.queries, case.keys, device="cpu") if case.causal or case.window else None
    compiled = torch.compile(flex_attention, dynamic=False)
    with torch.inference_mode():
        return best_of(options.seconds, lambda: compiled(q, k, v, block_mask=mask))


# --- ONNX Runtime -------------------------------------------------------------------------------------------------------------------------


def onnx_session(options, nodes, inputs, outputs, domains):
    import onnxruntime
    from onnx import TensorProto, helper

    value = lambda name, dtype: helper.make_tensor_value_info(name, dtype, None)
    graph = helper.make_graph(nodes, "attention", [value(n, t) for n, t in inputs], [value(n, TensorProto.FLOAT) for n in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in domains], ir_version=10)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def onnx_run(options, session, feeds):
    import onnxruntime

    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return best_of(options.seconds, lambda: session.run_with_iobinding(binding, onnxruntime.RunOptions()))


def onnx_multi_head(options, case):
    import numpy
    from onnx import TensorProto, helper

    if case.kind != "forward" or case.dtype != "f32" or case.window:
        return None
    node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["out"], domain="com.microsoft", num_heads=case.heads,
                            unidirectional=int(case.causal))
    session = onnx_session(options, [node], [(n, TensorProto.FLOAT) for n in "qkv"], ["out"], [("", 17), ("com.microsoft", 1)])
    feed = lambda: numpy.random.randn(1, case.keys, case.heads * case.d).astype(numpy.float32)
    return onnx_run(options, session, {n: feed() for n in "qkv"})


def onnx_grouped(options, case):
    import numpy
    from onnx import TensorProto, helper

    if case.dtype != "f32" or case.kind == "backward" or not (case.causal or case.window or case.kind == "decode"):
        return None
    names = ["q", "k", "v", "past_key", "past_value", "lengths", "total"]
    node = helper.make_node("GroupQueryAttention", names, ["out", "present_key", "present_value"], domain="com.microsoft",
                            num_heads=case.heads, kv_num_heads=case.key_heads, local_window_size=case.window or -1)
    kinds = [TensorProto.FLOAT] * 5 + [TensorProto.INT32] * 2
    session = onnx_session(options, [node], list(zip(names, kinds)), ["out", "present_key", "present_value"],
                           [("", 17), ("com.microsoft", 1)])
    random = lambda *shape: numpy.random.randn(*shape).astype(numpy.float32)
    past = case.keys - case.queries
    feeds = {"q": random(1, case.queries, case.heads * case.d), "k": random(1, case.queries, case.key_heads * case.d),
             "v": random(1, case.queries, case.key_heads * case.d), "past_key": random(1, case.key_heads, past, case.d),
             "past_value": random(1, case.key_heads, past, case.d), "lengths": numpy.array([case.keys - 1], numpy.int32),
             "total": numpy.array(case.keys, numpy.int32)}
    return onnx_run(options, session, feeds)


def onnx_attention(options, case):
    import numpy
    from onnx import TensorProto, helper

    if case.kind == "backward" or case.dtype != "f32":
        return None
    mask = {"mask": case.seen()} if case.window else {}
    node = helper.make_node("Attention", ["q", "k", "v", *mask], ["out"], is_causal=int(case.causal))
    session = onnx_session(options, [node], [(n, TensorProto.FLOAT) for n in "qkv"] + [(n, TensorProto.BOOL) for n in mask], ["out"],
                           [("", 23)])
    random = lambda heads, length: numpy.random.randn(1, heads, length, case.d).astype(numpy.float32)
    feeds = {"q": random(case.heads, case.queries), "k": random(case.key_heads, case.keys), "v": random(case.key_heads, case.keys)} | mask
    return onnx_run(options, session, feeds)


# --- OpenVINO, ggml -----------------------------------------------------------------------------------------------------------------------


def openvino_sdpa(options, case):
    import numpy
    import openvino
    from openvino import opset13

    if case.kind == "backward" or case.heads != case.key_heads:
        return None
    sizes = [[1, case.heads, length, case.d] for length in (case.queries, case.keys, case.keys)]
    inputs = [opset13.parameter(size, numpy.float32) for size in sizes]
    if case.window:
        inputs.append(opset13.parameter([case.queries, case.keys], numpy.float32))
    model = openvino.Model([opset13.scaled_dot_product_attention(*inputs, causal=case.causal)], inputs)
    settings = {"INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": case.dtype, "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    for i, size in enumerate(sizes):
        request.set_input_tensor(i, openvino.Tensor(numpy.random.randn(*size).astype(numpy.float32)))
    if case.window:
        request.set_input_tensor(3, openvino.Tensor(numpy.where(case.seen(), 0, -math.inf).astype(numpy.float32)))
    return best_of(options.seconds, request.infer)


def ggml_flash(options, case):
    import ggml
    import numpy

    if case.kind == "backward" or (case.dtype != "f32" and case.kind != "decode"):
        return None
    of_keys = ggml.GGML_TYPE_F32 if case.dtype == "f32" else ggml.GGML_TYPE_BF16  # queries are f32 in any case
    bytes_ = 4 * case.d * (2 * case.heads * case.queries + 2 * case.key_heads * case.keys) + 2 * case.keys * case.queries + (256 << 20)
    context = ggml.ggml_init(ggml.ggml_init_params(mem_size=bytes_, mem_buffer=None, no_alloc=False))

    def made(kind, values):
        """Returns a tensor with the axes of the numpy array in reverse order, as ggml stores them."""
        tensor = ggml.ggml_new_tensor_4d(context, kind, *reversed(values.shape))
        ctypes.memmove(ggml.ggml_get_data(tensor), numpy.ascontiguousarray(values).ctypes.data, values.nbytes)
        return tensor

    def random(kind, heads, length):
        values = numpy.random.randn(1, heads, length, case.d).astype(numpy.float32)
        return made(kind, values if kind == ggml.GGML_TYPE_F32 else (values.view(numpy.uint32) >> 16).astype(numpy.uint16))

    q, k, v = (
        random(ggml.GGML_TYPE_F32, case.heads, case.queries),
        random(of_keys, case.key_heads, case.keys),
        random(of_keys, case.key_heads, case.keys),
    )
    seen = case.seen()
    mask = None if seen is None else made(ggml.GGML_TYPE_F16, numpy.where(seen, 0, -math.inf).astype(numpy.float16)[None, None])
    out = ggml.ggml_flash_attn_ext(context, q, k, v, mask, 1 / math.sqrt(case.d), 0.0, 0.0)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, out)
    try:
        return best_of(options.seconds, lambda: ggml.ggml_graph_compute_with_ctx(context, graph, options.threads))
    finally:
        ggml.ggml_free(context)


PEERS = {
    "PyTorch SDPA": torch_sdpa, "PyTorch SDPA, groups folded": torch_folded, "PyTorch flex_attention": torch_flex,
    "PyTorch eager, with weights": torch_eager, "ONNX Runtime MultiHeadAttention": onnx_multi_head,
    "ONNX Runtime GroupQueryAttention": onnx_grouped, "ONNX Runtime Attention": onnx_attention, "OpenVINO": openvino_sdpa,
    "ggml": ggml_flash,
}


def versions():
    found = {}
    for module in ("torch", "onnxruntime", "openvino", "ggml"):
        try:
            found[module] = __import__(module).__version__
        except (ImportError, AttributeError) as error:
            found[module] = str(error)
    return found


INSTRUCTION_SETS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8",
                    "asimd", "bf16", "sve")


def machine(options):
    """Returns the caption: the machine and versions of the measurement."""
    listed = pathlib.Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    told = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = told.get("flags", told.get("Features", "")).split()
    doctor = json.loads(subprocess.run([options.clearhead, "doctor", "--json"], check=True, capture_output=True, text=True).stdout)
    return {"processor": told.get("model name", platform.processor()), "family": told.get("cpu family"), "model": told.get("model"),
            "cores": os.cpu_count(), "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
            "system": platform.platform(),
            "clearhead": {key: doctor[key] for key in ("version", "isa", "bf16")}, "date": time.strftime("%Y-%m-%d")}


def run_case(options, case):
    best = {}

    def take(name, action):
        try:
            seconds = action(options, case)
        except Exception as error:  # a peer that cannot run a case is listed, whatever it raises
            print(f"  {name}: left out: {str(error).splitlines()[0][:120] if str(error) else type(error).__name__}", file=sys.stderr)
            options.missing.setdefault(case.name, {})[name] = str(error)[:200]
            return
        if seconds is not None:
            best[name] = min(seconds, best.get(name, math.inf))

    for _ in range(options.rounds):
        take("clearhead", clearhead)
        for name, peer in PEERS.items():
            if name not in options.missing.get(case.name, {}):
                take(name, peer)
        take("clearhead", clearhead)
    return best


def text_of(case, best, limit):
    work, what, value = limit
    lines = [f"{case.name}   limit {value / 1e9:.0f} {'GB/s' if what == 'read' else 'GFLOP/s'}"]
    ours = best["clearhead"]
    for name, seconds in sorted(best.items(), key=lambda item: item[1]):
        ratio = "" if name == "clearhead" else f"   clearhead is {seconds / ours:.2f}x as fast"
        lines.append(f"  {name:<34} {seconds * 1e3:9.3f} ms  {100 * work / seconds / value:5.1f} %{ratio}")
    return "\n".join(lines)


def svg_of(results):
    """Draws bars of the fraction of the limit, one group per case."""
    rows, y = [], 10
    for result in results:
        rows.append(f'<text x="10" y="{y + 12}" font-weight="bold">{result["name"]}</text>')
        y += 20
        for name, seconds in sorted(result["seconds"].items(), key=lambda item: item[1]):
            share = result["work"] / seconds / result["limit_value"]
            fill = "#2b6cb0" if name == "clearhead" else "#a0aec0"
            rows.append(f'<text x="250" y="{y + 11}" text-anchor="end">{name}</text>'
                        f'<rect x="258" y="{y + 1}" width="{share * 400:.1f}" height="12" fill="{fill}"/>'
                        f'<text x="{262 + share * 400:.1f}" y="{y + 11}">{share * 100:.0f} %</text>')
            y += 16
        y += 10
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y}" font-family="sans-serif" font-size="11">'
            f'<rect width="720" height="{y}" fill="white"/>{"".join(rows)}</svg>\n')


def measured(options):
    """Returns the contents of --json: everything that --from needs for drawing."""
    import torch

    torch.set_num_threads(options.threads)
    done = {"machine": machine(options), "versions": versions(), "threads": options.threads, "cases": []}
    print(f"{options.threads} threads, {done['machine']['processor']}, "
          f"{', '.join(done['machine']['instruction_sets'])}\n{done['versions']}")
    for case in map(Case, options.cases or (CASES + MORE_CASES if options.all else CASES)):
        best = run_case(options, case)
        work, what, value = options.limits[case.name]
        print(text_of(case, best, (work, what, value)), flush=True)
        done["cases"].append({"name": case.name, "work": work, "limit": what, "limit_value": value, "seconds": best,
                              "left_out": options.missing.get(case.name, {})})
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clearhead", default="build/release/clearhead")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time for each peer in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="run the long list of cases")
    parser.add_argument("--json", help="write the measurements, with versions and the machine")
    parser.add_argument("--from", dest="source", help="read the file of an earlier --json instead of measuring")
    parser.add_argument("--svg", help="draw the results")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    options.limits, options.missing = {}, {}
    if options.source:
        with open(options.source) as file:
            done = json.load(file)
    else:
        done = measured(options)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(done, file, indent=1)
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(svg_of(done["cases"]))


if __name__ == "__main__":
    main()
