"""Golden of resized pictures: PIL's Image.resize and ImageOps.pad on single channels of float values (mode "F").

    pip install pillow safetensors numpy
    python tools/goldens/pictures.py

Writes tests/goldens/pictures/resized.safetensors: "PICTURE" f32 [channels, height, width] in 0 ... 1, and of each case the results
"PICTURE/HEIGHTxWIDTH/FILTER" of Image.resize and "PICTURE/HEIGHTxWIDTH/FILTER/pad" of ImageOps.pad with black. The seed is fixed.
"""

import pathlib

import numpy
from PIL import Image, ImageOps
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "pictures" / "resized.safetensors"
PICTURES = {"wide": (3, 7, 23), "tall": (1, 19, 6), "square": (1, 8, 8), "pixel": (1, 1, 1)}
SIZES = [(8, 8), (5, 11), (3, 2), (16, 17), (1, 1)]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "box": Image.Resampling.BOX}


def of_channels(picture, function):
    return numpy.stack([numpy.asarray(function(Image.fromarray(channel, mode="F")), numpy.float32) for channel in picture])


def main():
    random = numpy.random.default_rng(5)
    tensors = {}
    for name, shape in PICTURES.items():
        picture = tensors[name] = random.random(shape, numpy.float32)
        for height, width in SIZES:
            for filter_name, how in FILTERS.items():
                case, size = f"{name}/{height}x{width}/{filter_name}", (width, height)
                tensors[case] = of_channels(picture, lambda image: image.resize(size, how))
                if min(size) > 1:  # PIL pads a side of less than half a pixel to an empty picture
                    tensors[case + "/pad"] = of_channels(picture, lambda image: ImageOps.pad(image, size, how, color=0))
    OUT.parent.mkdir(exist_ok=True)
    save_file(tensors, OUT)


if __name__ == "__main__":
    main()
