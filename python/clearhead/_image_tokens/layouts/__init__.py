"""Layouts of picture tokens: one file for each, which registers itself.

A layout is a class with two functions. fits(call) returns True if the configuration and the arguments of a call are those of the layout.
plans(call) returns the PicturePlan of every picture of the call, in the order in which the model computes their features.
"""

import importlib
import pkgutil

_layouts = []


def register(layout):
    """Registers a layout."""
    _layouts.append(layout)
    return layout


def fitting(call):
    """Returns the layouts that fit a call."""
    return [layout for layout in _layouts if layout.fits(call)]


for _, _name, _ in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_name}", __name__)
