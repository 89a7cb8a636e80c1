"""Triplets by the angle at the negative."""

import math
from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class Wide:
    """The rule that keeps the triplets with `d_ap > slope * |x_n - (x_a + x_p) / 2|`, of euclidean distances."""

    slope: float

    def __call__(self, near: Tensor, far: Tensor, between: Tensor) -> Tensor:
        """(N, M) whether the triplets of (N, 1) `near`, (N, M) `far` and (N, M) `between` are kept."""
        xp = get_namespace(near)
        side = near * near
        # The line from a corner to the middle of the other side, from the three sides.
        centre = xp.relu((far * far + between * between) / 2 - side / 4)
        return side > self.slope**2 * centre


@dataclass(frozen=True)
class AngularMiner(Miner):
    """The triplets with `atan(d_ap / (2 |x_n - (x_a + x_p) / 2|)) > angle`.

    Seen from the negative, half of anchor and positive spans that angle: a wide angle is a pair that is long for the
    distance at which the negative stands. The rule does not depend on the scale of distances and looks at all three
    sides of a triplet.

    When to use: with `AngularLoss`, whose hinge it repeats, or with triplet losses in place of a fixed margin. A larger
    angle keeps fewer and harder triplets.

    Args:
        angle: in degrees, above 0 and below 90.

    Raises:
        ArgumentError: there is no such angle.

    Source: Wang et al., 2017; default of pytorch-metric-learning, which takes vectors as they come: here they are
    brought to length 1.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 0.1], [0.9, 0.8, 0.1, 0.0]])
    >>> AngularMiner()(d, same_class(['a', 'a', 'b', 'b'])._replace(between=d)).triplets().tolist()
    [[0, 1, 2], [1, 0, 2]]
    """

    angle: float = 20.0
    distance = 'euclidean'
    unit: ClassVar[bool] = True
    third_side: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.settle(self, angle=options.number(above=0, below=90))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with the angle as its rule for triplets."""
        if relation.between is None:
            raise ArgumentError(
                'AngularMiner looks at the distances between candidates too: give it '
                'relation._replace(between=distances) with (M, M) of them.'
            )
        return relation._replace(keep=Wide(2 * math.tan(math.radians(self.angle))), distances=distances)
