"""Layouts of picture tokens: one file for each, which registers itself.

A layout is a class with the functions fits(call), whether the configuration and the arguments of a call are those of the layout, and
plans(call), the PicturePlan of every picture of the call in the order in which the model makes features.
"""

import importlib
import pkgutil

_layouts = []
_loaded = False


def register(layout):
    """Registers a layout."""
    _layouts.append(layout)
    return layout


def fitting(call):
    """Returns the layouts that fit a call."""
    global _loaded
    if not _loaded:
        for found in pkgutil.iter_modules(__path__):
            importlib.import_module(f"{__name__}.{found.name}")
        _loaded = True
    return [layout for layout in _layouts if layout.fits(call)]
