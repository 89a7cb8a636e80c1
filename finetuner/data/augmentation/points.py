"""Views of point clouds: turned, larger or smaller, with noise, and with fewer of the points."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.data.augmentation.ranges import part, span
from finetuner.errors import ArgumentError, DataError

_AXES = ('x', 'y', 'z')
ROTATIONS = (*_AXES, 'all', None)


@dataclass(frozen=True)
class PointAugmentation:
    """A random view of a point cloud, of the same shape and type as the cloud.

    Args:
        rotation: the axis 'x', 'y' or 'z' through the middle that it is turned around, by any angle; 'all' turns it
            in every direction, None does not.
        scale: the least and the greatest factor of its size.
        jitter: the standard deviation of the noise on each coordinate, as a part of the radius.
        drop: the greatest part of the points that is left out; others stand there twice in their place.

    Raises:
        ArgumentError: a number is out of its range.

    >>> PointAugmentation()(np.zeros((1024, 3))).shape
    (1024, 3)
    """

    rotation: str | None = 'y'
    scale: tuple[float, float] = (0.8, 1.25)
    jitter: float = 0.01
    drop: float = 0.5

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise ArgumentError(f"rotation={self.rotation!r}: expected 'x', 'y', 'z', 'all' or None.")
        span('scale', self.scale)
        part('jitter', self.jitter)
        if self.drop == 1:
            raise ArgumentError('drop=1 leaves no points: expected a number below 1.')
        part('drop', self.drop)

    def __call__(self, content: Any) -> np.ndarray:
        """A view of an (N, 3) cloud.

        Raises:
            DataError: it is none.
        """
        cloud = np.asarray(content)
        if cloud.ndim != 2 or cloud.shape[1] != 3 or len(cloud) < 2 or cloud.dtype.kind not in 'fiu':
            raise DataError(f'a point cloud is (N, 3) numbers; this is {cloud.shape} of {cloud.dtype}')
        points = cloud.astype(np.float64)
        middle = points.mean(0)
        points -= middle
        radius = np.sqrt((points**2).sum(1).max())
        points = points @ self._rotation().T * np.random.uniform(*self.scale)
        points += np.random.normal(0, 1, points.shape) * self.jitter * radius
        gone, kept = np.split(np.random.permutation(len(points)), [int(np.random.uniform(0, self.drop) * len(points))])
        points[gone] = points[np.random.choice(kept, len(gone))]
        view: np.ndarray = (points + middle).astype(cloud.dtype if cloud.dtype.kind == 'f' else np.float32)
        return view

    def _rotation(self) -> np.ndarray:
        if self.rotation == 'all':  # a unit quaternion in any direction
            w, x, y, z = (q := np.random.normal(size=4)) / np.sqrt((q**2).sum())
            return np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
                ]
            )
        turned = np.eye(3)
        if self.rotation is not None:
            place, angle = _AXES.index(self.rotation), np.random.uniform(0, 2 * np.pi)
            others = [axis for axis in range(3) if axis != place]
            turned[np.ix_(others, others)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        return turned
