"""Model families whose attention modules need their own description: one self-registering file per family.

Most modules that compute attention by themselves need no file here: the recorder (_recorder.py) follows their softmax. A family needs a
file in three cases: its attention has a shorter description than its scores (DeBERTa: tables of relative positions instead of a bias for
every pair); it is computed in blocks; or its weights are not a map of queries and keys, and the module is only listed in `left_out`.
"""

import importlib
import pkgutil

_families = {}  # class name of a module: [family]
_loaded = False


def register(*class_names):
    """Registers a family for modules whose class has one of these names. A family has the functions fits(module) and
    attended(watch, module, positional, keywords, result), which returns the module's result, with edits if there are any."""

    def add(family):
        for name in class_names:
            _families.setdefault(name, []).append(family)
        return family

    return add


def of(module):
    """Returns the family that describes the attention of a module, or None."""
    global _loaded
    if not _loaded:
        _loaded = True
        for found in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{found.name}")
    for family in _families.get(type(module).__name__, ()):
        if family.fits(module):
            return family
    return None
