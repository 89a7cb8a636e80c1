"""A batch in chunks, for what does not fit into memory at once."""

from collections.abc import Iterator, Mapping
from typing import Any

from finetuner.errors import ArgumentError
from finetuner.inference import length
from finetuner.typing import Inputs


def chunks(inputs: Inputs, n: int, size: int | None) -> Iterator[tuple[slice, Inputs]]:
    """The batch in chunks of at most `size` items, as few and as equal in length as can be.

    Args:
        inputs: an array, or a list or dict of arrays, of `n` items each; or a list of `n` items of any kind. What is no
            array, such as a switch of the model, goes with every chunk.
        n: items in the batch.
        size: items that fit into memory; None for all.

    Yields:
        The place of the chunk in the batch, and its inputs.

    Raises:
        ArgumentError: an array is not of `n` items, so that nobody knows what of it belongs to a chunk.

    >>> import numpy as np
    >>> for place, part in chunks({'x': np.arange(5)}, 5, 2):
    ...     print(place, part['x'])
    slice(0, 1, None) [0]
    slice(1, 3, None) [1 2]
    slice(3, 5, None) [3 4]
    """
    if size is None or n <= size:
        yield slice(0, n), inputs
        return
    count = -(-n // size)
    for number in range(count):
        place = slice(number * n // count, (number + 1) * n // count)
        yield place, _part(inputs, n, place)


def _part(inputs: Any, n: int, place: slice) -> Any:
    if isinstance(inputs, Mapping):
        return {key: _part(value, n, place) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        if len(inputs) == n and not all(length(entry) == n for entry in inputs):  # items, not arrays of all items
            return inputs[place]
        return type(inputs)(_part(value, n, place) for value in inputs)
    shape = getattr(inputs, 'shape', ())
    if not shape:
        return inputs
    if shape[0] != n:
        raise ArgumentError(
            f'mini_batch_size cuts a batch along its first axis: expected {n} items in every array that collate_fn '
            f'gives; one is of shape {tuple(shape)}. Put the items first, or leave mini_batch_size out.'
        )
    return inputs[place]
