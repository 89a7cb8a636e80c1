"""Views of images: a part of the picture, mirrored, in other colours, blurred.

Source: Chen et al., 2020 (SimCLR), with the numbers of Chen et al., 2020 (MoCo v2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.data.augmentation.pixels import closed, opened
from finetuner.data.augmentation.ranges import part, span

_FULL = 224  # the side of pictures that the radius of the blur is given for


@dataclass(frozen=True)
class ImageAugmentation:
    """A random view of an image, of the same shape, type and range of numbers as the image.

    So the model that takes the image takes the view, and without the augmentation it is encoded as it is.

    Args:
        scale: the least and the greatest part of the area that is cut out.
        ratio: the least and the greatest width over height of what is cut out.
        flip: how often it is mirrored.
        jitter: how often the colours are changed.
        brightness: by how much at most, like the next two.
        contrast: by how much.
        saturation: by how much.
        hue: by which part of the circle of colours.
        grayscale: how often the colours are taken away.
        blur: how often it is blurred.

    Raises:
        ArgumentError: a number is out of its range.

    >>> view = ImageAugmentation()(np.zeros((32, 48, 3), np.uint8))
    >>> view.shape, view.dtype
    ((32, 48, 3), dtype('uint8'))
    """

    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.5

    def __post_init__(self) -> None:
        span('scale', self.scale, 1)
        span('ratio', self.ratio)
        for name in ('flip', 'jitter', 'brightness', 'contrast', 'saturation', 'grayscale', 'blur'):
            part(name, getattr(self, name))
        part('hue', self.hue, 0.5)

    def __call__(self, content: Any) -> np.ndarray:
        """A view of a content.

        Args:
            content: (H, W), (H, W, C) or (C, H, W) with 1 or 3 channels, from 0 to 1 or from 0 to 255; or a picture
                of Pillow, which gives an array.

        Raises:
            DataError: it is no image.
        """
        picture, form = opened(content)
        return closed(self.draw(picture, picture.size), form)

    def draw(self, picture: Any, size: tuple[int, int]) -> Any:
        """A view of a picture of Pillow, of this width and height."""
        from PIL import Image, ImageFilter

        view = picture.resize(size, Image.Resampling.BILINEAR, box=self._box(*picture.size))
        if _happens(self.flip):
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if _happens(self.jitter):
            for change in np.random.permutation(4):
                view = self._changed(view, int(change))
        if _happens(self.grayscale):
            view = view.convert('L').convert(view.mode)
        if _happens(self.blur):
            view = view.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2) * min(size) / _FULL))
        return view

    def _box(self, width: int, height: int) -> tuple[float, float, float, float]:
        # Left, upper, right and lower edge of what is cut out.
        area = np.random.uniform(*self.scale) * width * height
        ratio = np.exp(np.random.uniform(*np.log(self.ratio)))
        w, h = min(width, np.sqrt(area * ratio)), min(height, np.sqrt(area / ratio))
        left, upper = np.random.uniform(0, width - w), np.random.uniform(0, height - h)
        return float(left), float(upper), min(float(left + w), width), min(float(upper + h), height)

    def _changed(self, view: Any, change: int) -> Any:
        # The amount is drawn for pictures without colours too, so that a setting changes nothing but what it is for.
        from PIL import Image, ImageEnhance

        amount = (self.brightness, self.contrast, self.saturation, self.hue)[change]
        drawn = np.random.uniform(-amount, amount)
        if change < 2:
            kind = (ImageEnhance.Brightness, ImageEnhance.Contrast)[change]
            return kind(view).enhance(1 + drawn)
        if view.mode == 'L' or not amount:
            return view
        if change == 2:
            return ImageEnhance.Color(view).enhance(1 + drawn)
        shift = round(drawn * 256)
        hue, *others = view.convert('HSV').split()
        turned = hue.point([(value + shift) % 256 for value in range(256)])
        return Image.merge('HSV', (turned, *others)).convert('RGB')


def _happens(probability: float) -> bool:
    return bool(np.random.random() < probability)
