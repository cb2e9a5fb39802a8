"""Prepares arrays for the engine, which reads dense memory on the CPU, in native byte order.

Every array that enters the extension module passes through readable() (src/arrays.cc). Framework features whose values are not plain
memory (lazy negation, wrappers, sparse layouts) are resolved here if that is exact; otherwise an error names them.
"""

import sys

from .errors import InvalidArgumentError, UnsupportedError


def plain(array, name):
    """Returns `array`, or a copy with the same values, whose memory can be read directly. Objects of other libraries are returned
    unchanged.

    name: the argument's name, for messages. Raises UnsupportedError and InvalidArgumentError.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return _plain_tensor(torch, array, name)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(array, numpy.ndarray):
        return _plain_ndarray(numpy, array, name)
    return array


def readable(array, name):
    """Returns what the extension module reads: plain(array), or the DLPack capsule of a torch tensor.

    Making the capsule directly takes a tenth of the time of Tensor.__dlpack__(), whose checks plain() has already made.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch._C._to_dlpack(_plain_tensor(torch, array, name))
    return plain(array, name)


def is_torch(array):
    """Returns whether `array` is a torch tensor or an instance of a subclass."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def _plain_tensor(torch, tensor, name):
    if tensor.requires_grad:
        raise InvalidArgumentError(f"{name}: the tensor requires gradients, which are not computed here; pass {name}.detach()")
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise UnsupportedError(f"{name}: a tensor inside torch.func.vmap, grad or functionalize has no memory of its own; call clearhead "
                               "outside the transform")
    if tensor.is_nested:
        raise UnsupportedError(f"{name}: a nested tensor; expected a dense one, as in {name}.to_padded_tensor(0)")
    kind = type(tensor)
    if kind.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl:
        raise UnsupportedError(f"{name}: a {kind.__name__} does not store its values in its own memory; expected a plain torch.Tensor"
                               + (f", as in {name}.full_tensor()" if hasattr(tensor, "full_tensor") else ""))
    if tensor.is_quantized:
        raise UnsupportedError(f"{name}: a quantized tensor; expected float32, bfloat16 or float16, as in {name}.dequantize()")
    if tensor.layout is not torch.strided:
        raise UnsupportedError(f"{name}: layout {tensor.layout}; expected a dense tensor, as in {name}.to_dense()")
    if tensor.device.type == "meta":
        raise UnsupportedError(f'{name}: a tensor on the device "meta" holds no numbers')
    if tensor.is_conj() or tensor.is_neg():
        return tensor.resolve_conj().resolve_neg()
    return tensor.clone() if tensor._is_zerotensor() else tensor


def _plain_ndarray(numpy, array, name):
    if isinstance(array, numpy.ma.MaskedArray):
        raise UnsupportedError(f"{name}: a numpy masked array; its mask would be ignored, so fill it first, as in {name}.filled(0)")
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(f"{name}: dtype {array.dtype}; expected float32, float16, int32, int64, uint8 or bool")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
