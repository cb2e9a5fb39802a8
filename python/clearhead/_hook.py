"""Registers attn_implementation="clearhead" as soon as both packages are imported, in either order. Neither imports the other.

An import hook is the only way: transformers loads no plug-ins, and the entry points "torch.backends", which torch loads on import, would
import this package into every program that uses torch.
"""

import contextlib
import sys

_MODULE = "transformers.modeling_utils"


class _Loader:  # not a subclass of importlib.abc.Loader: importing importlib.abc takes longer than this whole package
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _register()

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _Finder:
    """Waits for the import of one module, and removes itself from sys.meta_path once it has found it."""

    def find_spec(self, name, path=None, target=None):
        if name != _MODULE:
            return None
        from importlib import util

        sys.meta_path.remove(self)
        spec = util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _register():
    from ._operator import register

    with contextlib.suppress(ImportError, AttributeError):  # no attention interface in this transformers; an explicit register() reports it
        register()


def install():
    if _MODULE in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Finder())
