"""The exceptions of the library: one for each error code, all of them Error, and of the built-in kind that fits."""


class Error(RuntimeError):
    """What the library refuses, in one line: what is wrong, where, what was expected, and what to do."""


class InvalidArgumentError(Error, ValueError):
    """A value outside its documented range."""


class ShapeError(Error, ValueError):
    """Shapes or dtypes that do not fit together."""


class UnsupportedError(Error, NotImplementedError):
    """A valid request that this build cannot run. It is never approximated silently."""


class FormatError(Error, ValueError):
    """Malformed bytes in a file."""


class NotFoundError(Error, LookupError):
    """A model, file, tensor, row or name that does not exist."""


class FileError(Error, OSError):
    """The operating system refused a read or a write."""


class StaleError(Error):
    """An operand changed after a record of it was made."""


class BudgetError(Error, MemoryError):
    """More memory needed than allowed; nothing was started."""


class TooLongError(Error, ValueError):
    """A text with more tokens than the model has positions."""


class CancelledError(Error):
    """The call was cancelled."""


KINDS = {
    "kInvalidArgument": InvalidArgumentError, "kShape": ShapeError, "kUnsupported": UnsupportedError, "kFormat": FormatError,
    "kNotFound": NotFoundError, "kIo": FileError, "kStale": StaleError, "kBudget": BudgetError, "kTooLong": TooLongError,
    "kCancelled": CancelledError,
}
