"""How fast to learn: the defaults of all frameworks in one table, and the rate as a function of the step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Optimization:
    """AdamW with warm-up, decay to zero and clipping; the same numbers on every framework.

    Weight decay is for matrices: biases, norms and what a loss learns are left out.

    Args:
        learning_rate: the highest rate, reached after the warm-up.
        weight_decay: per step, times the rate.
        beta_1: decay of the mean of the slopes.
        beta_2: decay of the mean of their squares.
        epsilon: added to the root of the latter.
        clip: the longest that all slopes together may be.
        warmup: the part of all steps in which the rate rises from zero.

    Source: Loshchilov and Hutter, 2019.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0
    warmup: float = 0.1

    def rate(self, step: int, total: int) -> float:
        """The learning rate of update `step` (from 0) of `total`.

        >>> [round(Optimization(learning_rate=1.0, warmup=0.5).rate(step, 4), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rising = round(self.warmup * total)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * (total - step) / max(total - rising, 1)


def learning_rate(layers: list[str], n_weights: int) -> float:
    """The learning rate for a kind of model.

    Pretrained transformers are tuned gently (1e-4 up to 50 million weights, 3e-5 beyond, where the best rate falls
    with size); what else there is, is small and learns at 1e-3.

    Args:
        layers: the class names of the model's layers.
        n_weights: how many weights are trained.
    """
    if is_transformer(layers):
        return 1e-4 if n_weights < 50_000_000 else 3e-5
    return 1e-3


def is_transformer(layers: list[str]) -> bool:
    """Whether there is attention in it, by the class names of the layers."""
    return any('Attention' in name or 'Transformer' in name for name in layers)
