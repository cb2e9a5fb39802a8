"""Makes tests/goldens/safetensors/tiny.safetensors and tiny.npy with the Python packages safetensors and numpy.

Run from the repository's root: python3 tools/goldens/tensor_files.py (needs torch, safetensors, numpy). Deterministic.
"""

import pathlib
import sys

import numpy
import torch

# This file's own name must not shadow the package.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]
from safetensors.torch import save_file  # noqa: E402

out = pathlib.Path("tests/goldens/safetensors")
out.mkdir(parents=True, exist_ok=True)
tensors = {
    "f32": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4 - 0.5,
    "bf16": torch.tensor([1.0, -2.5, 3.140625], dtype=torch.bfloat16),
    "f16": torch.tensor([[0.5], [-0.25]], dtype=torch.float16),
    "i32": torch.tensor(-7, dtype=torch.int32),
    "i64": torch.tensor([1 << 40, -1], dtype=torch.int64),
    "u8": torch.tensor([0, 255, 7], dtype=torch.uint8),
    "bool": torch.tensor([[True, False], [False, True]]),
    'odd "name"\\ 中\n': torch.zeros(0, 4),
}
save_file(tensors, out / "tiny.safetensors", metadata={"note": "made by Python: é\t😀"})
save_file({**tensors, "f64": torch.tensor([0.5], dtype=torch.float64)}, out / "double.safetensors")
numpy.save(out / "tiny.npy", numpy.arange(6, dtype="<f4").reshape(2, 3))
numpy.save(out / "fortran.npy", numpy.asfortranarray(numpy.arange(6, dtype="<i8").reshape(2, 3)))
