"""Trainings by pytorch-metric-learning with the settings of its own examples, in a plain loop as those have it.

Sources: `TripletMarginLossMNIST` and `MetricLossOnly` among the example notebooks of pytorch-metric-learning 2.9.
"""

from collections.abc import Iterator
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, samplers
from torch.utils.data import DataLoader, TensorDataset


class Recipe(NamedTuple):
    """The settings of an example."""

    loss: Any
    miner: Any
    rate: float
    weight_decay: float
    batch_size: int
    per_class: int | None


def recipe(name: str) -> Recipe:
    """'MNIST': semi-hard triplets of shuffled batches. 'MetricLossOnly': chosen pairs of batches of 4 items a class.

    The second example trains a trunk that knows ImageNet at 1e-5 and a head at 1e-4. Networks that start from noise
    learn little at that, so they learn at 1e-3 here, as ours do.
    """
    if name == 'MNIST':
        distance = distances.CosineSimilarity()
        loss = losses.TripletMarginLoss(margin=0.2, distance=distance, reducer=reducers.ThresholdReducer(low=0))
        miner = miners.TripletMarginMiner(margin=0.2, distance=distance, type_of_triplets='semihard')
        return Recipe(loss, miner, 1e-2, 0.0, 256, None)
    loss, miner = losses.TripletMarginLoss(margin=0.1), miners.MultiSimilarityMiner(epsilon=0.1)
    return Recipe(loss, miner, 1e-3, 1e-4, 32, 4)


RECIPES = ('MNIST', 'MetricLossOnly')


def train(
    model: torch.nn.Module, images: np.ndarray, labels: np.ndarray, name: str, seed: int, seconds: float, items: int
) -> Iterator[tuple[str, float, int]]:
    """Train until both are used up, and stop at each: so much CPU time ('time'), so many items ('items').

    Args:
        model: is trained in place.
        images: (N, …) float32.
        labels: (N,) integers.
        name: of the recipe.
        seed: of the order of the items.
        seconds: of CPU time, those of loading with them; what happens while it is stopped does not count.
        items: how many are seen, each as often as it is seen.

    Yields:
        Which of the two is used up, the CPU seconds so far and the items so far.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # what their sampler draws from
    how = recipe(name)
    data = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    if how.per_class is None:
        loader = DataLoader(data, how.batch_size, shuffle=True)
    else:
        sampler = samplers.MPerClassSampler(labels, how.per_class, length_before_new_iter=len(labels))
        loader = DataLoader(data, how.batch_size, sampler=sampler)
    optimizer = torch.optim.Adam(model.parameters(), how.rate, weight_decay=how.weight_decay)
    left = ['time', 'items']
    spent, seen, begun = 0.0, 0, process_time()
    while left:
        for inputs, targets in loader:
            model.train()
            optimizer.zero_grad()
            vectors = model(inputs)
            how.loss(vectors, targets, how.miner(vectors, targets)).backward()
            optimizer.step()
            seen += len(inputs)
            passed = spent + process_time() - begun
            used_up = {'time': passed >= seconds, 'items': seen >= items}
            for part in [part for part in left if used_up[part]]:
                left.remove(part)
                yield part, passed, seen
                spent, begun = passed, process_time()
            if not left:
                return
