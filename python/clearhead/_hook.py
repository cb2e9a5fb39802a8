"""attn_implementation="clearhead" is known as soon as both packages are imported, whichever comes first, and neither imports the other."""

import sys

_MODULE = "transformers.modeling_utils"


class _Loader:  # importlib.abc, whose classes these two are like, takes longer to import than all of this package
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
    """Steps aside after it has found the one module that it waits for."""

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

    try:
        register()
    except (ImportError, AttributeError):
        pass  # a transformers without attention interfaces: register() says so when it is asked


def install():
    if _MODULE in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _Finder())
