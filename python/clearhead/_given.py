"""Methods and properties written in Python for the types of the extension module."""


def give(kind, **methods):
    """Adds them under these names as the type's own: so help() and the stubs show them, which are made from the type."""
    for name, method in methods.items():
        functions = {method.fget} if isinstance(method, property) else {method, getattr(method, "__func__", method)}  # a static method's, too
        for of in functions:
            of.__module__, of.__name__, of.__qualname__ = kind.__module__, name, f"{kind.__name__}.{name}"
        setattr(kind, name, method)
