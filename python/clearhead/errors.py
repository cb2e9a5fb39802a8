"""Exceptions of the library: one for each error code. Each derives from Error and from the built-in exception that fits."""

import re


class Error(RuntimeError):
    """Base class of all errors. The message is one line: what is wrong, where, what was expected, and what to do."""


class InvalidArgumentError(Error, ValueError):
    """A value is outside its documented range."""


class OutOfRangeError(InvalidArgumentError, IndexError):
    """An index is out of range."""


class ShapeError(Error, ValueError):
    """Shapes or dtypes do not fit together."""


class UnsupportedError(Error, NotImplementedError):
    """The request is valid, but this build cannot run it. It is never approximated silently."""


class FormatError(Error, ValueError):
    """A file is malformed."""


class NotFoundError(Error, LookupError):
    """A model, file, tensor, row or name does not exist."""


class FileError(Error, OSError):
    """The operating system refused a read or a write."""


class StaleError(Error):
    """An array was changed after the record that shares it was made."""


class BudgetError(Error, MemoryError):
    """The call needs more memory than its budget allows. Nothing was computed."""


class TooLongError(Error, ValueError):
    """The text has more tokens than the model has positions."""


class CancelledError(Error):
    """The call was cancelled."""


KINDS = {
    "kInvalidArgument": InvalidArgumentError, "kShape": ShapeError, "kUnsupported": UnsupportedError, "kFormat": FormatError,
    "kNotFound": NotFoundError, "kIo": FileError, "kStale": StaleError, "kBudget": BudgetError, "kTooLong": TooLongError,
    "kCancelled": CancelledError,
}

# Python equivalents of the command-line options that messages of the C++ library name. {} is the value of the option.
_KEYWORDS = {
    "budget": "budget={}", "gradients": "trace_gradients(), or watch(..., gradients_of=...)", "head": "head={}", "layers": "layers={}",
    "overlap": "overlap={}", "pair": "pair={}", "port": "port={}", "rows": "rows={}", "truncate": "truncate=True", "window": "window={}",
}
_PHRASES = {
    "pass a text, or --file, or - for standard input": "pass a text",
}
_OPTION = re.compile(r"(?<![\w-])--(" + "|".join(_KEYWORDS) + r")(?![\w-])(?: (\d+)(?::(\d+))?(?!\w))?")


def with_keywords(message):
    """Replaces command-line options in a message of the C++ library by the Python keywords for them."""
    for option, phrase in _PHRASES.items():
        message = message.replace(option, phrase)

    def keyword(match):
        option, first, last = match.groups()
        value = first or ""
        if option == "rows" and first:
            value = f"[({first}, {last or int(first) + 1})]"
        return _KEYWORDS[option].format(value)

    return _OPTION.sub(keyword, message)


_PREFIXES = re.compile(r"\b(?:clearhead\._core|collections\.abc|typing|os|pathlib)\.")


def _parameters(signature):
    """Parses a signature as nanobind prints it: [(name, type, has a default, may be positional)]."""
    begin = signature.index("(")
    depth, part, parts = 0, "", []
    for letter in signature[begin:]:
        depth += letter in "([{"
        depth -= letter in ")]}"
        if depth == 0:
            break
        if letter == "," and depth == 1:
            parts.append(part)
            part = ""
        elif not (letter == "(" and depth == 1):
            part += letter
    out, by_place = [], True
    for one in (*parts, part):
        one = one.strip()
        if one in ("", "/"):
            continue
        if one == "*":
            by_place = False
            continue
        name, _, kind = one.partition(":")
        kind, default, _ = kind.partition(" = ")
        out.append((name.split("=")[0].strip(), _PREFIXES.sub("", kind.split(" =")[0].strip()), bool(default) or "=" in one, by_place))
    return out


_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool, "bytes": bytes, "list": list, "tuple": tuple, "dict": dict}


def _fits(value, kind):
    """Returns whether a value matches a type given by name; True if the type is unknown."""
    if "|" in kind:
        return any(_fits(value, one.strip()) for one in kind.split("|"))
    if kind == "None":
        return value is None
    outer, _, inner = kind.removesuffix("]").partition("[")
    if outer in ("Sequence", "list") and "," not in inner:
        is_sequence = hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, (str, dict))
        return is_sequence and all(_fits(one, inner) for one in value)
    if outer in ("int", "float") and not isinstance(value, str) and hasattr(value, "__index__" if outer == "int" else "__float__"):
        return True
    if outer in _KINDS:
        return isinstance(value, _KINDS[outer])
    if outer in ("object", "Any", "", "handle"):
        return True
    return any(one.__name__ == outer for one in type(value).__mro__)


def _problem(parameters, positional, named):
    """Returns (number of arguments that fit, name of the first that does not, its expected type, what was found)."""
    places = [one for one in parameters if one[3]]
    given = dict(zip((one[0] for one in places), positional))
    if len(positional) > len(places):
        return len(places), None, f"takes {len(places)} positional arguments, found {len(positional)}", None
    for name in named:
        if name in given or name not in (one[0] for one in parameters):
            return 0, None, f'has no argument "{name}"; it has {", ".join(one[0] for one in parameters)}', None
    given.update(named)
    for at, (name, kind, has_default, _) in enumerate(parameters):
        if name not in given:
            if not has_default:
                return at, name, None, None
        elif not _fits(given[name], kind):
            shown = repr(given[name])
            return at, name, kind, type(given[name]).__name__ + (f" {shown}" if len(shown) <= 40 else "")
    return len(parameters), None, "has an argument of the wrong type, or a number beyond 64 bits", None


def wrong_type(message, function, positional, named):
    """Returns the message of a TypeError for a call that matches no signature: the argument, what was expected and what was found.

    message: nanobind's message, with one signature on each line. function: qualified name of the function.
    """
    signatures = [line.split(". ", 1)[1] for line in message.split("\n\nInvoked")[0].split("\n")[1:] if ". " in line]
    function = ".".join(part.removeprefix("_") for part in function.removesuffix(".__init__").split("."))
    overloads = [_parameters(one) for one in signatures]
    if overloads[0] and overloads[0][0][0] == "self":
        overloads, positional = [one[1:] for one in overloads], positional[1:]
    problems = [_problem(parameters, positional, named) for parameters in overloads]
    furthest = max(one[0] for one in problems)
    problems = [one for one in problems if one[0] == furthest]
    _, name, kind, found = problems[0]
    if name is None:
        return f"{function}() {kind}"
    if kind is None:
        return f"{function}(): {name}: missing"
    kinds = dict.fromkeys(part.strip() for one in problems if one[2] for part in one[2].split(" | "))
    return f"{function}(): {name}: expected {' or '.join(kinds)}, found {found}"
