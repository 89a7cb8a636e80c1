"""From a model and data to vectors.

An `Encoder` is all that Finetuner asks of a model, whatever its framework; everything that only needs vectors
(evaluation, search, serving) stands on it.
"""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np

from finetuner import __version__
from finetuner.data.augmentation.choice import still
from finetuner.data.dataset import Dataset
from finetuner.data.records import Records
from finetuner.data.rows import Kept, Rows
from finetuner.dispatch import get_framework, load
from finetuner.errors import ArgumentError, CheckpointError, ModelError, enumerated
from finetuner.shortening import in_groups
from finetuner.typing import CollateFn, Inputs, PreprocessFn, Tensor

BATCH_SIZE = 64

ORIGIN = '_tailored_from'
"""The attribute in which a model says, as JSON, how Tailor made it of which other; copied and saved with the model."""


class Encoder(ABC):
    """A model of one framework behind a few verbs.

    Args:
        model: the user's model; it is used, never copied.

    Attributes:
        framework: 'torch', 'keras' or 'paddle'.
        model: as given.
        device: where it runs, as placed: 'cpu' or 'cuda'.
        pads: whether the padding of texts changes what the model gives; None as long as nobody tried.
        upper: of the part of the model that is trained on the activations of the part below it; None where the whole
            is run.
        kept: these activations.
    """

    framework: str
    device: str = 'cpu'
    pads: bool | None = None
    upper: Self | None = None
    kept: Kept | None = None

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def trained(self) -> Self:
        """Of what a training runs: the upper part, if it has the activations of the lower one, or the whole."""
        return self.upper or self

    def rows(self, dataset: Dataset, collate_fn: CollateFn | None) -> Rows | None:
        """The activations of the items of a data set, for `trained`; None where there are none."""
        if self.kept is None or dataset.augmentation is not None:
            return None
        return self.kept.of(dataset.records.contents, dataset.preprocess_fn, collate_fn)

    @abstractmethod
    def place(self, device: str | None) -> None:
        """Move the model to 'cpu' or 'cuda'; None takes a GPU if there is one.

        Raises:
            ArgumentError: there is no such device here.
        """

    @property
    def tokenizer(self) -> CollateFn | None:
        """What the model itself has to make inputs of texts; None if it has nothing."""
        return None

    @property
    def shapes_matter(self) -> bool:
        """Whether a batch of a new shape takes long, for the model is compiled for each."""
        return False

    def no_processes(self) -> str | None:
        """Why several processes cannot share the work of encoding here; None if they can."""
        return (
            'only models of PyTorch on a CPU, where there is fork, are shared by processes that begin here. Take '
            'num_workers to prepare batches in others, or encode parts of the data in processes of your own, each with '
            'an output=… of its own.'
        )

    def computing(self, precision: str) -> AbstractContextManager[None]:
        """In here `forward` computes in '32', 'bf16' or '16'; the weights stay as they are.

        What follows is of a model that has one precision; the frameworks have more.
        """
        if precision != '32':
            raise ArgumentError(f'precision={precision!r}: {type(self).__name__} computes in float32 alone.')
        return nullcontext()

    def as_is(self) -> AbstractContextManager[None]:
        """In here, within `computing`, all computes as it does outside of it: for what prepares data, and for trials.

        It is cheap: `computing` goes on afterwards with what it has made.
        """
        return nullcontext()

    @abstractmethod
    def forward(self, inputs: Inputs) -> Any:
        """What the model gives for a batch, in evaluation mode and without gradient; the mode is restored."""

    @abstractmethod
    def weights(self) -> dict[str, np.ndarray]:
        """Copies of all weights and statistics, by a name that is the same in every process."""

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """The names and values of `weights`, one after the other, to be read at once: they need not be copies."""
        yield from self.weights().items()

    @abstractmethod
    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set the weights to what `weights` or `merged` gave.

        Raises:
            CheckpointError: names or shapes are not this model's.
        """

    def average(self, averages: dict[str, Tensor], decay: float) -> None:
        """Move averages towards the present weights: `decay * average + (1 - decay) * weight`.

        Of weights that train, and of statistics; what is no float, such as a count, is copied. What follows is the
        plain way; the frameworks do it with tensors of their own, where the model is, and leave out what is frozen.

        Args:
            averages: tensors beside the model, in float32 at least, by the names of `weights`; changed in place. What
                is missing joins as a copy: an empty dict is filled.
            decay: how much of an average stays.
        """
        for name, value in self.weights().items():
            floats = 'float' in str(value.dtype)
            wide = value.astype(np.result_type(value.dtype, np.float32)) if floats else value
            averages[name] = decay * averages[name] + (1 - decay) * wide if floats and name in averages else wide

    def merged(self) -> dict[str, np.ndarray]:
        """As `weights`, but of the model without adapters: what these learned is added to the weights beside them."""
        return self.weights()

    def adapters(self) -> int:
        """How many layers have an adapter that Tailor made."""
        return 0

    def architecture(self) -> dict[str, Any] | None:
        """What `build` of the same module makes the model from again, for JSON; None where weights are all there is."""
        return None

    def facts(self) -> dict[str, Any]:
        """What a saved model says of itself."""
        return {
            'framework': self.framework,
            'class': type(self.model).__qualname__,
            'finetuner': __version__,
            'architecture': self.architecture(),
            'tailored': origin_when_merged(self.model),
        }

    def size(self) -> int:
        """The number of all weights and statistics, trained or not."""
        return sum(value.size for _, value in self.arrays())

    @abstractmethod
    def trainable(self) -> int:
        """The number of weights that training would change."""

    @abstractmethod
    def layers(self) -> list[str]:
        """The class names of all layers, in the order of registration."""

    def embed(self, inputs: Inputs) -> np.ndarray:
        """The (B, D) float32 vectors of a batch.

        Raises:
            ModelError: the model gives something else.
        """
        output = in_groups(self, inputs, lambda part: checked(self.forward(part), length(part)))
        return np.asarray(load(self.framework, 'ops').to_numpy(output), np.float32)


def origin_when_merged(model: Any) -> dict[str, Any] | None:
    """The `ORIGIN` of a model without the adapters, which are merged when it is saved; None if there is none."""
    found = vars(model).get(ORIGIN)
    return None if found is None else {**found, 'recipe': {**found['recipe'], 'adapter': None}}


def encoder(model: Any) -> Encoder:
    """The encoder of a model, by its framework; an encoder is given back as it is.

    Raises:
        ModelError: `model` is no model of a framework that Finetuner knows.
    """
    if isinstance(model, Encoder):
        return model
    found: Encoder = load(get_framework(model), 'encoder').Encoder(model)
    return found


def wanted_device(device: Any, gpu: bool, library: str) -> str:
    """The device to use: 'cpu', or 'cuda' perhaps with a number.

    Args:
        device: what was asked for; None takes a GPU if there is one.
        gpu: whether there is one.
        library: what an error calls the framework.

    Raises:
        ArgumentError: there is no such device here.
    """
    if device is None:
        return 'cuda' if gpu else 'cpu'
    if not (isinstance(device, str) and re.fullmatch(r'cpu|cuda(:\d+)?', device)):
        raise ArgumentError(f"device={device!r}: expected 'cpu', 'cuda' or 'cuda:1'.")
    if device != 'cpu' and not gpu:
        raise ArgumentError(f'device={device!r}, but {library} sees no GPU here. Use device="cpu" or leave it out.')
    return device


def checked(output: Any, n: int | None) -> Tensor:
    """`output`, if it is a (B, D) tensor of numbers.

    Raises:
        ModelError: says what the model gives, and which arguments would make an embedding model of it.
    """
    what = unlike_vectors(output, n)
    if what is None:
        return output
    raise ModelError(
        f'An embedding model gives one vector per item, shape ({n or "B"}, D) of floats; this one gives {what}. '
        f'Return a (B, D) tensor from the model: cut off its head, or pool its tokens. (What will do so for you are '
        f"Tailor's arguments to_embedding_model=True, layer_name='…', pooling='mean', output_dim=128.)"
    )


def unlike_vectors(output: Any, n: int | None) -> str | None:
    """What an output is if it is no (B, D) tensor of numbers, for a sentence; None if it is one."""
    shape = getattr(output, 'shape', None)
    if shape is None:
        what = f'a {type(output).__name__}'
        if isinstance(output, Mapping):
            what += f' with {", ".join(map(str, output))}'
        elif isinstance(output, Sequence):
            what += f' of {len(output)}'
        return what
    if len(shape) == 2 and n in (None, shape[0]) and 'float' in str(output.dtype):
        return None
    return f'a tensor of shape {tuple(shape)} and type {output.dtype}'


def check_fit(own: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> None:
    """Refuse weights whose names or shapes are not those of a model's own.

    Raises:
        CheckpointError: names them.
    """
    wrong = [
        name
        for name in sorted(own.keys() | weights.keys())
        if name not in own or name not in weights or tuple(own[name].shape) != weights[name].shape
    ]
    if wrong:
        if not own:
            raise CheckpointError('The model has no weights yet: call it once, then give it its saved weights.')
        raise CheckpointError(
            f'The saved weights are of another model: {enumerated(wrong)} '
            f'{"is" if len(wrong) == 1 else "are"} missing on one side or of another shape.'
        )


def leaves(f: Callable[[Any], Any], inputs: Inputs) -> Inputs:
    """`inputs` with `f` applied to every array in it; dicts and lists keep their form."""
    if isinstance(inputs, Mapping):
        return {key: leaves(f, value) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(leaves(f, value) for value in inputs)
    return f(inputs)


def length(inputs: Inputs) -> int | None:
    """B, the number of items in a batch of inputs, if it can be told."""
    while isinstance(inputs, Mapping | list | tuple):
        if not inputs:
            return None
        inputs = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs[0]
    shape = getattr(inputs, 'shape', None)
    return int(shape[0]) if shape else None


def arguments(forward: Callable[..., Any], inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How to call `forward` with a batch: positional and keyword arguments.

    A dict is spread over the parameters of `forward` if they bear its keys, or if it takes any; a list or tuple is
    spread over as many required parameters; everything else is the one argument.
    """
    if not isinstance(inputs, Mapping | list | tuple):
        return (inputs,), {}
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # a compiled function, which does not say
        return (inputs,), {}
    required = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    if isinstance(inputs, Mapping):
        names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters) and {p.name for p in required} <= set(inputs)
        if any_name or set(inputs) <= names:
            return (), dict(inputs)
    elif len(required) == len(inputs) > 1:
        return tuple(inputs), {}
    return (inputs,), {}


def collating(
    coder: Encoder, records: Records, preprocess_fn: PreprocessFn | None, collate_fn: CollateFn | None
) -> CollateFn | None:
    """What makes the model's input of contents: `collate_fn`, or where it is None the model's tokenizer, of texts."""
    if collate_fn is not None or coder.tokenizer is None or not len(records.contents):
        return collate_fn
    return coder.tokenizer if isinstance(Dataset(records, still(preprocess_fn)).content(0), str) else None
