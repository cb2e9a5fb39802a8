"""A fake device "elsewhere" for machines that have only a CPU: tensors whose memory only this file can access.

As on a real device, operations refuse to mix its tensors with CPU tensors, and numpy cannot read them. They compute on the CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend  # experimental; torch 2.10 or later


class _Hook(torch._C._acc.PrivateUse1Hooks):
    def is_available(self):
        return False  # other tests in this process must not find an accelerator

    def has_primary_context(self, index):
        return False

    def is_built(self):
        return True


class _Module:
    is_initialized = is_available = _is_in_bad_fork = lambda self: False
    current_device = device_count = lambda self: 0
    manual_seed_all = lambda self, seed: None


_setup_privateuseone_for_python_backend("elsewhere", _Module(), _Hook())
DEVICE = torch.device("elsewhere:0")
# opcheck reads the state of the device's random number generator; this device uses the CPU's.
torch.elsewhere.get_rng_state = lambda device=0: torch.get_rng_state()
torch.elsewhere.set_rng_state = lambda state, device=0: None


class Elsewhere(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
                                                   dtype=inner.dtype, device=DEVICE)

    def __init__(self, inner):
        self.inner = inner

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, positional=(), keywords=None):
        return _run(function, positional, dict(keywords or {}))


# torch.tensor(…, device=…) and indexing with a list call these kernels without passing through __torch_dispatch__.
_kernels = torch.library.Library("aten", "IMPL")


def _kernel(name):
    return lambda function: _kernels.impl(name, function, "PrivateUse1")


@_kernel("empty_strided")
def _(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


@_kernel("empty.memory_format")
def _(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    return Elsewhere(torch.empty(size, dtype=dtype, device="cpu"))


@_kernel("_copy_from")
def _(source, target, non_blocking=False):
    inner = [one.inner if isinstance(one, Elsewhere) else one for one in (source, target)]
    inner[1].copy_(inner[0])
    return target


def _is_there(device):
    return device is not None and torch.device(device).type == DEVICE.type


def _run(function, positional, keywords):
    tensors = [one for one in tree_leaves((positional, keywords)) if isinstance(one, torch.Tensor)]
    there = [isinstance(one, Elsewhere) for one in tensors]
    device = keywords.get("device")
    is_copy = function is torch.ops.aten._to_copy.default
    is_mixed = any(there) and any(one.dim() > 0 for one, is_there in zip(tensors, there) if not is_there)
    if is_mixed and not is_copy and function is not torch.ops.aten.copy_.default:
        raise RuntimeError(f"{function}: expected all tensors to be on the same device, found {DEVICE} and cpu")
    result_there = _is_there(device) if device is not None else any(there)
    if _is_there(device):
        keywords["device"] = torch.device("cpu")
    inner = lambda x: x.inner if isinstance(x, Elsewhere) else x
    out = function(*tree_map(inner, positional), **tree_map(inner, keywords))
    if not result_there:
        return out
    if function._schema.name.endswith("_") and tensors and isinstance(tensors[0], Elsewhere):
        return tensors[0]  # in place
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, torch.Tensor) else x, out)


class Device(TorchDispatchMode):
    """Context in which tensors can be created on the device or moved to it."""

    def __torch_dispatch__(self, function, types, positional=(), keywords=None):
        return _run(function, positional, dict(keywords or {}))


def moved(module):
    """Moves the parameters and buffers of a module to the device."""
    for one in module.modules():
        for name, parameter in list(one._parameters.items()):
            if parameter is not None:
                one._parameters[name] = torch.nn.Parameter(Elsewhere(parameter.detach()), requires_grad=False)
        for name, buffer in list(one._buffers.items()):
            if buffer is not None:
                one._buffers[name] = Elsewhere(buffer)
    return module
