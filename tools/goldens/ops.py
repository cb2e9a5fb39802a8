"""Goldens of the ops that are recorded in training: PyTorch's results in float64, forward and backward.

    pip install torch safetensors numpy
    python tools/goldens/ops.py

Writes tests/goldens/ops/ops.safetensors. For each case NAME it contains the inputs (NAME/x …), the result NAME/out, the given gradient
NAME/d_out, and the gradients of the inputs NAME/d.x …; an input on which the result does not depend differentiably has no gradient. Inputs
are float32, the run is float64, what is stored is rounded once. Seeds are fixed: another run of the same version writes the same numbers.
"""

import pathlib

import numpy
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "ops" / "ops.safetensors"
torch.set_num_threads(1)
tensors = {}
generator = torch.Generator().manual_seed(5)


def random(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def keep(name, tensor):
    tensors[name] = numpy.ascontiguousarray(tensor.detach().double().numpy().astype(numpy.float32))


def case(name, function, inputs, constants=()):
    """Runs function(*inputs) in double precision. constants: names of the inputs without gradients."""
    leaves = {key: value.double().requires_grad_(key not in constants) for key, value in inputs.items()}
    out = function(*leaves.values())
    d_out = random(*out.shape).double()
    (out * d_out).sum().backward()
    for key, leaf in leaves.items():
        keep(f"{name}/{key}", leaf)
        if key not in constants:
            keep(f"{name}/d.{key}", leaf.grad)
    keep(f"{name}/out", out)
    keep(f"{name}/d_out", d_out)


def dense():
    case("linear", F.linear, {"input": random(5, 7), "weight": random(6, 7), "bias": random(6)})
    case("embedding", lambda table: F.embedding(torch.tensor([2, 0, 8, 2]), table), {"table": random(9, 4)})
    case("layer_norm", lambda x, weight, bias: F.layer_norm(x, (21,), weight, bias, 1e-5),
         {"x": random(3, 21), "weight": random(21), "bias": random(21)})
    case("rms_norm", lambda x, weight: F.rms_norm(x, (21,), weight, 1e-5), {"x": random(3, 21), "weight": random(21)})
    functions = {"relu": F.relu, "gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "tanh": torch.tanh,
                 "sigmoid": torch.sigmoid}
    for name, function in functions.items():
        case(f"activation.{name}", function, {"x": 2 * random(4, 9)})
        case(f"gated.{name}", lambda x: function(x[:, :7]) * x[:, 7:], {"x": random(3, 14)})
    for smoothing in (0, 0.1):
        targets = torch.tensor([3, -100, 0, 10, 10])
        case(f"cross_entropy.{smoothing}", lambda logits: F.cross_entropy(logits, targets, label_smoothing=smoothing)[None],
             {"logits": 2 * random(5, 11)})


def rotary():
    angles = 3 * random(3, 2)
    constants = {"cosine": angles.cos(), "sine": angles.sin()}

    def interleaved(x, cosine, sine):
        turned = torch.view_as_complex(x[..., :4].reshape(3, 2, 2, 2).clone()) * torch.complex(cosine, sine)[:, None]
        return torch.cat([torch.view_as_real(turned).reshape(3, 2, 4), x[..., 4:]], -1)

    def halves(x, cosine, sine):
        first, second = x[..., :2], x[..., 2:4]
        c, s = cosine[:, None], sine[:, None]
        return torch.cat([first * c - second * s, second * c + first * s, x[..., 4:]], -1)

    for function in (interleaved, halves):
        case(f"rotary.{function.__name__}", function, {"x": random(3, 2, 5)} | constants, constants)


def attention():
    for name, key_heads, causal in (("dot", 4, False), ("causal", 4, True), ("grouped", 2, True)):
        inputs = {"q": random(2, 4, 5, 8), "k": random(2, key_heads, 5, 8), "v": random(2, key_heads, 5, 6)}
        case(f"attention.{name}", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True), inputs)


def shapes():
    case("add", lambda a, b: a + b, {"a": random(4, 3), "b": random(4, 3)})
    case("multiply", lambda a, row, column: a * row * column, {"a": random(4, 3, 5), "row": random(1, 1, 5), "column": random(4, 1, 1)})
    for axis in range(3):
        case(f"sum.{axis}", lambda x: x.sum(axis), {"x": random(3, 5, 4)})
        case(f"mean.{axis}", lambda x: x.mean(axis), {"x": random(3, 5, 4)})
        # Few distinct values, so that there are ties. The golden contains which of the equal elements receives PyTorch's gradient.
        case(f"max.{axis}", lambda x: x.max(axis).values, {"x": (2 * random(3, 5, 4)).round()})
    case("concat", lambda a, b: torch.cat([a, b, a], 1), {"a": random(2, 3, 2), "b": random(2, 1, 2)})
    case("split", lambda x: (lambda a, b, c: a * b + c)(*x.split(3, 1)), {"x": random(2, 9)})
    case("scatter", lambda x: torch.zeros(5, 3, dtype=x.dtype).index_add(0, torch.tensor([4, 0, 4, 2]), x), {"x": random(4, 3)})
    case("softmax", lambda x: x.softmax(-1), {"x": 3 * random(2, 3, 13)})


def convolutions():
    case("conv2d.plain", F.conv2d, {"input": random(2, 3, 6, 5), "weight": random(4, 3, 3, 2), "bias": random(4)})
    everything = {"stride": (2, 1), "padding": (2, 3), "dilation": (1, 2), "groups": 2}
    case("conv2d.everything", lambda input, weight, bias: F.conv2d(input, weight, bias, **everything),
         {"input": random(2, 12, 7, 6), "weight": random(4, 6, 3, 3), "bias": random(4)})
    case("conv2d.depthwise", lambda input, weight: F.conv2d(input, weight, stride=(2, 1), padding=1, groups=3),
         {"input": random(2, 3, 5, 6), "weight": random(6, 1, 3, 3)})
    case("conv1d", lambda input, weight, bias: F.conv1d(input, weight, bias, stride=2, padding=2),
         {"input": random(2, 3, 11), "weight": random(4, 3, 5), "bias": random(4)})
    case("max_pool2d", lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1)), {"x": random(2, 3, 7, 5)})
    case("mean_pool2d", lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1)), {"x": random(2, 3, 7, 5)})
    case("max_pool1d", lambda x: F.max_pool1d(x, 4, 3, 2), {"x": random(1, 3, 12)})
    case("mean_pool1d", lambda x: F.avg_pool1d(x, 4, 3, 2), {"x": random(1, 3, 12)})
    for name, shape in {"rows": (7, 4), "sequences": (3, 4, 5), "planes": (2, 4, 3, 4)}.items():
        for training in (True, False):
            mean, variance = random(4).double(), random(4).double() ** 2 + 0.5
            full = f"batch_norm.{name}.{'training' if training else 'evaluation'}"
            keep(f"{full}/mean.before", mean)
            keep(f"{full}/variance.before", variance)
            mean, variance = (torch.from_numpy(tensors[f"{full}/{what}.before"]).double() for what in ("mean", "variance"))
            case(full, lambda x, weight, bias: F.batch_norm(x, mean, variance, weight, bias, training, momentum=0.3),
                 {"x": 2 * random(*shape) + 1, "weight": random(4), "bias": random(4)})
            keep(f"{full}/mean.after", mean)
            keep(f"{full}/variance.after", variance)


def recurrent(kind, name, *, bias=True, initial=True, lengths=None):
    """Runs both directions. For each, the padded states and then the last state (and cell) are concatenated along time:
    [batch, 2·(time + 1 or 2), hidden]."""
    batch, time, width, hidden = 3, 5, 4, 6
    gates = 3 if kind is torch.nn.GRU else 4
    inputs = {"x": random(batch, time, width)}
    for way in ("", ".back"):
        inputs |= {f"input_weight{way}": 0.5 * random(gates * hidden, width), f"hidden_weight{way}": 0.5 * random(gates * hidden, hidden)}
        if bias:
            inputs |= {f"input_bias{way}": random(gates * hidden), f"hidden_bias{way}": random(gates * hidden)}
        if initial:
            inputs |= {f"state{way}": random(batch, hidden)} | ({f"cell{way}": random(batch, hidden)} if gates == 4 else {})

    def function(*values):
        given = dict(zip(inputs, values, strict=True))
        layer = kind(width, hidden, batch_first=True, bidirectional=True, bias=bias).double()
        weights = {}
        for way, suffix in (("", ""), (".back", "_reverse")):
            weights |= {f"weight_ih_l0{suffix}": given[f"input_weight{way}"], f"weight_hh_l0{suffix}": given[f"hidden_weight{way}"]}
            if bias:
                weights |= {f"bias_ih_l0{suffix}": given[f"input_bias{way}"], f"bias_hh_l0{suffix}": given[f"hidden_bias{way}"]}
        start = None
        if initial:
            start = torch.stack([given["state"], given["state.back"]])
            start = (start, torch.stack([given["cell"], given["cell.back"]])) if gates == 4 else start
        x = given["x"]
        if lengths:
            x = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        out, last = torch.func.functional_call(layer, weights, (x, start))
        if lengths:
            out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=time)
        last = last if gates == 4 else (last,)
        return torch.cat(
            [torch.cat([out[..., way * hidden : (way + 1) * hidden]] + [state[way][:, None] for state in last], 1) for way in range(2)], 1
        )

    case(name, function, inputs)


if __name__ == "__main__":
    dense()
    rotary()
    attention()
    shapes()
    convolutions()
    for layer, prefix in ((torch.nn.GRU, "gru"), (torch.nn.LSTM, "lstm")):
        recurrent(layer, f"{prefix}.plain", initial=False)
        recurrent(layer, f"{prefix}.unbiased", bias=False)
        recurrent(layer, f"{prefix}.lengths", lengths=[5, 2, 3])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT, metadata={"made_by": "tools/goldens/ops.py"})
    print(f"{len(tensors)} tensors, {OUT.stat().st_size} bytes")
