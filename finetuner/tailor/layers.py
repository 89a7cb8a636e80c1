"""The layers of a model as people see them: names, shapes, what can be an embedding layer, and how one is found."""

import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from finetuner.errors import ArgumentError, ModelError, enumerated, nearest
from finetuner.inference import leaves
from finetuner.typing import Inputs, Tensor

CONTAINERS = ('Sequential', 'ModuleList', 'ModuleDict', 'LayerList', 'LayerDict')
"""Classes that only hold others: they can be cut at by path, and take no number."""

PARAMETER = 'Parameter'
"""The kind of a row that is no layer: a parameter which a composite layer holds by itself, such as a class token."""


class Call(NamedTuple):
    """What a backend saw of one call of a layer, or of a parameter that a composite layer holds by itself.

    Attributes:
        path: its place, '' for the model itself; parts are separated by dots.
        kind: the name of its class, `PARAMETER` for a parameter.
        shape: of its output's main tensor, with None for the batch; None if there is no such tensor.
        dtype: of that tensor: 'float32'; '' if there is none.
        parameters: numbers in it and below it, shared ones once; statistics do not count.
        trainable: whether any of them would be trained.
        name: the framework's own name for it; None where it is made from kind and number.
    """

    path: str
    kind: str
    shape: tuple[int | None, ...] | None
    dtype: str
    parameters: int
    trainable: bool
    name: str | None = None


class Layer(NamedTuple):
    """One call of a layer, in the order in which calls end: children before the block that they are in.

    Attributes:
        name: its class and number, `linear_7`, or what the framework calls it; the path if it only holds others.
        path: its place in the model, `encoder.layer.3`; '' for the model itself.
        call: which of its calls this is, from 1.
        kind: the name of its class.
        shape: of its output, with None for the batch; () if the output is no tensor.
        dtype: of its output: 'float32'.
        parameters: how many numbers it and the layers in it hold.
        trainable: whether any of them is trained.
        embeds: whether its output can be made (B, D): floats, batch first, and an axis more.
    """

    name: str
    path: str
    call: int
    kind: str
    shape: tuple[int | None, ...]
    dtype: str
    parameters: int
    trainable: bool
    embeds: bool


def listed(calls: Iterable[Call]) -> list[Layer]:
    """Rows for people from what a backend saw, in the order in which the calls ended; the model itself comes last."""
    layers: list[Layer] = []
    number, seen = 0, Counter[str]()
    for call in calls:
        seen[call.path] += 1
        numbered = call.path and call.kind != PARAMETER and call.kind not in CONTAINERS
        number += bool(numbered)
        name = call.name or (f'{call.kind.lower()}_{number}' if numbered else call.path)
        shape = call.shape or ()
        embeds = len(shape) > 1 and shape[0] is None and None not in shape[-1:] and 'float' in call.dtype
        embeds = embeds and call.kind != PARAMETER
        layers.append(
            Layer(
                name,
                call.path,
                seen[call.path],
                call.kind,
                shape,
                call.dtype,
                call.parameters,
                call.trainable and call.parameters > 0,
                embeds,
            )
        )
    return layers


MAIN = ('sentence_embedding', 'image_embeds', 'text_embeds', 'last_hidden_state', 'logits', 'pooler_output')
"""In outputs by name, the tensor that is meant: the first of these."""


def main_key(output: Any, tensor: type | tuple[type, ...]) -> Any:
    """Where in an output its main tensor is: None if the output is a tensor, 0 in tuples, a name in mappings.

    Args:
        output: what a layer gave.
        tensor: the framework's class of tensors.

    Raises:
        LookupError: there is no main tensor.
    """
    if isinstance(output, tensor):
        return None
    key: Any = 0
    if isinstance(output, Mapping):
        key = next((k for k in MAIN if isinstance(output.get(k), tensor)), None)
    elif not isinstance(output, list | tuple) or not output or not isinstance(output[0], tensor):
        key = None
    if key is None:
        raise LookupError(f'the output is a {type(output).__name__} without a tensor to take')
    return key


def inside(path: str, block: str) -> bool:
    """Whether `path` is `block` or lies in it; everything lies in ''."""
    return not block or path == block or path.startswith(f'{block}.')


def named(layers: Sequence[Layer], name: str) -> list[int]:
    """The rows that `name` means: a name, a path, a path with its call (`tower#2`), or a pattern of the first two."""
    found = [
        i
        for i, layer in enumerate(layers)
        if layer.path and name in (layer.name, layer.path, f'{layer.path}#{layer.call}')
    ]
    if found:
        return found
    wanted = name.lower()
    return [
        i
        for i, layer in enumerate(layers)
        if layer.path and (fnmatchcase(layer.name.lower(), wanted) or fnmatchcase(layer.path.lower(), wanted))
    ]


def meant(verb: str, layers: Sequence[Layer], name: Any) -> list[int]:
    """The rows that `name` means, as `named` gives them, one at least.

    Args:
        verb: what an error begins with.
        layers: of the model.
        name: a name, a path or a pattern.

    Raises:
        ArgumentError: it means nothing.
    """
    found = named(layers, name) if isinstance(name, str) else []
    if not found:
        raise ArgumentError(f'{verb}: there is no layer {name!r}. {nearest(str(name), known(layers))}')
    return found


def find(layers: Sequence[Layer], name: str) -> int:
    """The row of the one call that `name` means.

    Raises:
        ArgumentError: none or several are meant, or that one gives no tensor to embed with; says what to write.
    """
    if not isinstance(name, str):
        raise ArgumentError(f'layer_name={name!r}: expected the name or path of a layer, as display() shows them.')
    found = [i for i in named(layers, name) if layers[i].kind != PARAMETER]
    if not found:
        raise ArgumentError(f'There is no layer {name!r}. {nearest(name, known(layers))}')
    paths = {layers[i].path for i in found}
    names = [layers[i].name for i in found]
    if len(paths) > 1:
        names = names if len(set(names)) == len(names) else list(dict.fromkeys(layers[i].path for i in found))
        raise ArgumentError(f'layer_name={name!r} means {len(paths)} layers: {enumerated(names)}. Name one of them.')
    if len(found) > 1:
        if len(set(names)) < len(names):
            names = [f'{layers[i].path}#{layers[i].call}' for i in found]
        raise ArgumentError(
            f'The layer {name!r} runs {len(found)} times. Say which call you mean: {enumerated(names, "or")}.'
        )
    return found[0]


def known(layers: Sequence[Layer]) -> list[str]:
    """All names and paths that a layer can be found by."""
    return list(dict.fromkeys(n for layer in layers for n in (layer.name, layer.path) if n and layer.kind != PARAMETER))


def topmost(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without those that lie in another of them, in their order."""
    unique = list(dict.fromkeys(paths))
    return tuple(p for p in unique if not any(p != other and inside(p, other) for other in unique))


def sample(size: Any, dtype: Any = 'float32', batch: int = 2) -> Inputs:
    """A batch of numbers to call a model with once.

    Args:
        size: the shape of one item without the batch, (3, 224, 224); a list or dict of shapes for several inputs.
        dtype: of the numbers; a list or dict of several. Integers are 0, or 1 in inputs whose name speaks of a mask.
        batch: how many items.

    Raises:
        ArgumentError: it is no shape, or no dtype.
    """
    import numpy as np

    def one(shape: Any, kind: Any, name: str = '') -> Any:
        shape = (shape,) if isinstance(shape, int) else shape
        try:
            whole = (batch, *(operator.index(n) for n in shape))
            kind = np.dtype(kind)
            if min(whole) < 1:
                raise ValueError
        except (TypeError, ValueError):
            raise ArgumentError(
                f'input_size={size!r} with input_dtype={dtype!r}: expected the shape of one item without the batch, '
                f"such as (784,) or (3, 224, 224), and a dtype such as 'float32' or 'int64'."
            ) from None
        if kind.kind == 'f':
            return np.random.default_rng(0).standard_normal(whole).astype(kind)
        return np.full(whole, 'mask' in name, kind)

    if isinstance(size, dict):
        return {
            k: one(s, dtype.get(k, 'float32') if isinstance(dtype, dict) else dtype, str(k)) for k, s in size.items()
        }
    if isinstance(size, list | tuple) and size and all(isinstance(s, list | tuple) for s in size):
        kinds = dtype if isinstance(dtype, list | tuple) else [dtype] * len(size)
        return [one(s, k) for s, k in zip(size, kinds, strict=True)]
    return one(size, dtype)


def dtype_of(tensor: Tensor) -> str:
    """The name of a tensor's type: 'float32'."""
    return str(tensor.dtype).rpartition('.')[2]


def uncallable(inputs: Inputs, said: str) -> ModelError:
    """The refusal of inputs that a model cannot be called with.

    Args:
        inputs: the batch; shapes and types of it are shown.
        said: what the framework says of it.
    """
    given = leaves(lambda x: f'{dtype_of(x)} {tuple(x.shape)}' if hasattr(x, 'shape') else repr(x), inputs)
    return ModelError(
        f'The model cannot be called with {given}: {said}. Give input_size (the shape of one item) and input_dtype '
        f"('float32', 'int64'), or a batch as inputs=…, as it expects them."
    )
