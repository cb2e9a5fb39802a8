"""Places the picture tokens of a vision-language model on their pictures.

A text with pictures contains placeholder tokens, which the model replaces by the features of patches. A layout knows, for one way of making
these features, the order of the tokens on each picture.

    _call.py      the ids, pictures and sizes that a call was given
    layouts/      one file for each layout, which registers itself
    _place.py     finds the layout of a call, checks the number of its tokens, and places them in the trace
    _picture.py   Picture: one placed grid of tokens
    _map.py       PictureMap: weights or shares on a picture
    _sinks.py     patches that receive much attention from nearly all queries
    _draw.py      PNG files and matplotlib axes of a PictureMap
    _of_watch.py  the methods of a watch
"""

from ._map import PictureMap, map_of_values, parts_of
from ._of_watch import WithPictures
from ._picture import Picture

__all__ = ["Picture", "PictureMap", "WithPictures", "map_of_values", "parts_of"]
