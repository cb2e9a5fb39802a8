"""Explanation: the parts of an input and their shares of an answer."""

import numpy as np

from .._image_tokens import map_of_values, parts_of
from ..errors import InvalidArgumentError, NotFoundError


class Part(str):
    """A part of the input: a token, a word, a sentence, a document, a turn or a patch.

    It equals its text. begin, end: its characters in Explanation.text; equal for a part without text, such as a patch. tokens: the range of
    its ids in Explanation.trace. name: the name of a document or a turn, else None.
    """

    __slots__ = ("begin", "end", "name", "tokens")

    def __new__(cls, text, begin, end, tokens, name=None):
        part = super().__new__(cls, text)
        part.begin, part.end, part.tokens, part.name = begin, end, tokens, name
        return part

    @property
    def label(self):
        """The name of the part or, without a name, its text on one line."""
        return self.name if self.name is not None else " ".join(self.split()) or str(self)


class Explanation:
    """The shares that the parts of an input have in an answer.

    Attributes
    ----------
    answer : str
        The answer in words.
    probability : float or None
        Its probability; None if the answer is a number.
    number : float or None
        The number that a regression model or a function of the caller answers with.
    parts : list of Part
        The parts of the input, in its order. units: what they are.
    shares : dict of str to f64 array [part]
        The share of each part by method. Shares have no fixed total. Signed methods give negative shares to parts that lower the answer.
    costs : dict of str to dict
        For each method the number of runs of the model ("runs", where a backward pass counts as two) and the time ("seconds").
    trace : Trace
        The attention of the run, with gradients if a method needed them.
    pictures : list of Picture
        The pictures among the tokens, as in Watch.pictures. pictures_reason: why there are none, or None.
    """

    pictures, pictures_reason = (), "the explanation was not made by ch.explain"

    def __init__(self, answer, value, is_number, parts, units, shares, costs, trace):
        self.answer, self.parts, self.units, self.shares, self.costs, self.trace = answer, parts, units, shares, costs, trace
        self.probability, self.number = (None, value) if is_number else (value, None)

    @property
    def text(self):
        """The text of the run, including the tokens of the answer before its last one."""
        return self.trace.text

    @property
    def methods(self):
        return list(self.shares)

    def __repr__(self):
        value = f"{self.number:.4g}" if self.probability is None else f"{self.probability:.2%}"
        return f"clearhead.Explanation({self.answer}, {value}; {len(self.parts)} parts by {self.units}; {', '.join(self.methods)})"

    def _shares_of(self, method):
        if method is None:
            return next(iter(self.shares.values()))
        if method not in self.shares:
            raise NotFoundError(f'explanation: there is no method "{method}"; this explanation has {", ".join(self.methods)}')
        return self.shares[method]

    def picture_map(self, method=None, picture=0):
        """Returns the shares of the patches of a picture, as a PictureMap.

        method: default: the first. picture: index of the picture, as in Watch.picture_map(). Raises InvalidArgumentError unless the units
        are tokens, NotFoundError if the places of the picture tokens are unknown.
        """
        if self.units != "tokens":
            raise InvalidArgumentError(f'explanation: the units are {self.units}; pass units="tokens" to see shares on a picture')
        parts = parts_of(self.pictures, self.pictures_reason, picture)
        values = np.zeros(len(self.trace.ids))
        for part, share in zip(self.parts, self._shares_of(method)):
            values[part.tokens.start] = share
        name = method if method is not None else self.methods[0]
        return map_of_values(np.nan_to_num(values), parts, f"{parts[0].name.split(', ')[0]}: {name} of {self.answer}")

    def top(self, count=10, method=None):
        """Returns [(part, share)] of the parts with the largest shares by magnitude. method: default: the first."""
        shares = self._shares_of(method)
        order = np.argsort(-np.abs(np.nan_to_num(shares)), kind="stable")[:count]
        return [(self.parts[at], float(shares[at])) for at in order]

    def table(self, count=None, method=None):
        """Returns a table as text: one line for each part, one column for each method.

        count: only the parts with the largest shares by `method` (default: the first). Default: all parts, in the order of the input.
        """
        order = range(len(self.parts))
        if count is not None:
            shares = self._shares_of(method)
            order = np.argsort(-np.abs(np.nan_to_num(shares)), kind="stable")[:count]
        labels = [_shortened(self.parts[at].label) for at in order]
        width = max([len(self.units), *map(len, labels)])
        widths = [max(10, len(name)) for name in self.methods]
        lines = [f"{self.answer}  {self._value()}", ""]
        lines.append("  ".join([self.units.ljust(width), *(name.rjust(size) for name, size in zip(self.methods, widths))]))
        for at, label in zip(order, labels):
            numbers = [f"{self.shares[name][at]:.4g}".rjust(size) for name, size in zip(self.methods, widths)]
            lines.append("  ".join([label.ljust(width), *numbers]))
        return "\n".join(lines)

    def _value(self):
        return f"{self.number:.6g}" if self.probability is None else f"probability {self.probability:.4g}"

    def to_dict(self):
        """Returns the explanation as a dict that json.dumps accepts."""
        parts = [{"text": str(part), "begin": part.begin, "end": part.end, "tokens": [part.tokens.start, part.tokens.stop],
                  **({} if part.name is None else {"name": part.name})} for part in self.parts]
        shares = {name: [None if value != value else float(value) for value in values] for name, values in self.shares.items()}
        value = {"number": self.number} if self.probability is None else {"probability": self.probability}
        return {"answer": self.answer, **value, "units": self.units, "parts": parts, "shares": shares, "costs": self.costs}

    def plot(self, method=None, count=20, axes=None):
        """Draws the largest shares as bars, with matplotlib. Returns the axes.

        method: default: the first. count: number of parts. axes: matplotlib axes to draw into.
        """
        import matplotlib.pyplot as plt

        largest = self.top(count, method)
        shown = sorted(largest, key=lambda one: one[0].tokens.start)
        axes = plt.subplots(figsize=(6, 0.3 * len(shown) + 1))[1] if axes is None else axes
        places = range(len(shown))
        axes.barh(places, [share for _, share in shown], color=["#1f6f8b" if share >= 0 else "#b5532a" for _, share in shown])
        axes.set_yticks(places, [_shortened(part.label) for part, _ in shown])
        axes.invert_yaxis()
        axes.set_xlabel(method or self.methods[0])
        axes.set_title(self.answer)
        return axes

    def view(self, **options):
        """Shows the attention of the run in the viewer: see Trace.view()."""
        return self.trace.view(**options)

    def _repr_html_(self):
        """The text with its parts coloured by the first method: blue for the answer, orange against it."""
        import html

        shares = np.nan_to_num(self._shares_of(None))
        largest = max(float(np.abs(shares).max(initial=0)), 1e-300)
        pieces, at, text = [], 0, self.text
        for part, share in sorted(zip(self.parts, shares), key=lambda one: one[0].begin):
            if part.begin < at or part.end == part.begin:
                continue
            colour = "31, 111, 139" if share >= 0 else "181, 83, 42"
            pieces.append(html.escape(text[at : part.begin]))
            pieces.append(f'<span style="background: rgba({colour}, {abs(share) / largest:.3f})" title="{share:.4g}">'
                          f"{html.escape(text[part.begin : part.end])}</span>")
            at = part.end
        pieces.append(html.escape(text[at:]))
        head = f"<b>{html.escape(self.answer)}</b> {self._value()}, {self.methods[0]}"
        return f'<div>{head}<br><span style="white-space: pre-wrap">{"".join(pieces)}</span></div>'


def _shortened(label, most=40):
    return label if len(label) <= most else label[: most - 1] + "…"
