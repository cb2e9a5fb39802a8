"""Attaches methods and properties written in Python to types of the extension module."""


def attach_methods(kind, **methods):
    """Adds methods to a type under these names, as if they were its own, so that help() and the generated stubs list them."""
    for name, method in methods.items():
        # also the function inside a staticmethod
        functions = {method.fget} if isinstance(method, property) else {method, getattr(method, "__func__", method)}
        for of in functions:
            of.__module__, of.__name__, of.__qualname__ = kind.__module__, name, f"{kind.__name__}.{name}"
        setattr(kind, name, method)
