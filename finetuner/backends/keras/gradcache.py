"""A Keras step in chunks, on any engine: compiled trainings that give slopes and leave the weights as they are."""

from typing import Any

import keras

from finetuner.backends.keras.encoder import Shell
from finetuner.inference import checked
from finetuner.typing import Inputs


class Sums(keras.optimizers.Optimizer):
    """In the place of an optimizer: adds slopes up and changes no weight."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0)
        self.sums: list[Any] = []
        self.reached: set[int] = set()

    def build(self, variables: list[Any]) -> None:
        """A sum for every variable."""
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, 'slope')

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Add a slope; not called for a variable that the loss does not depend on."""
        place = self._get_variable_index(variable)
        self.reached.add(place)
        self.assign_add(self.sums[place], gradient)

    def slopes(self) -> list[Any]:
        """The sums in the order of the variables; None where there is no slope, as an optimizer expects it."""
        return [
            keras.ops.convert_to_tensor(total) if place in self.reached else None
            for place, total in enumerate(self.sums)
        ]

    def clear(self) -> None:
        """Begin anew."""
        for total in self.sums:
            total.assign(keras.ops.zeros(total.shape, total.dtype))


class Embeddings(keras.layers.Layer):
    """In the place of the model: gives its input, plus a weight of zeros whose slope is then that of the input."""

    def __init__(self, shape: tuple[int, int], dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.zeros = self.add_weight(shape=shape, initializer='zeros', name='embeddings')

    def call(self, inputs: Any) -> Any:
        """The input."""
        return inputs + self.zeros


class Chunk(Shell):
    """The user's model in training mode, also where it predicts; what it is trained on are the slopes, as `y`.

    Args:
        inner: the user's model.
        items: in the batch, of which a chunk is a part.
    """

    def __init__(self, inner: Any, items: int) -> None:
        super().__init__(inner)
        self.items = items

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        """What the model gives in training mode."""
        return super().call(inputs, training=True)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What has these slopes at the embeddings, and the chunk's share of the regularisation in the model.

        It is no number to tell: the loss that is told is the objective, without regularisation.
        """
        slopes = keras.ops.convert_to_tensor(y)
        embeddings = keras.ops.cast(checked(y_pred, None), slopes.dtype)
        loss = keras.ops.sum(embeddings * slopes)
        share = keras.ops.cast(keras.ops.shape(embeddings)[0], loss.dtype) / self.items
        for extra in self.losses:
            loss = loss + share * keras.ops.cast(extra, loss.dtype)
        return loss
