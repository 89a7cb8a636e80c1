"""What is asked for, made a recipe: a pure function of the list of layers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from finetuner.errors import ArgumentError, enumerated, nearest
from finetuner.losses.pooling import POOLINGS
from finetuner.tailor.blocks import blocks, is_norm
from finetuner.tailor.heads import head as classification_head, representation
from finetuner.tailor.layers import Layer, find, inside, meant, topmost
from finetuner.tailor.recipe import Pooling, Recipe

_FIRST = ('conv', 'batchnorm', 'instancenorm', 'groupnorm', 'pool')
_LAST = ('linear', 'layernorm', 'embedding', 'lstm', 'gru', 'rnn', 'attention', 'rmsnorm')


class Arguments(NamedTuple):
    """What the user asked for; see `finetuner.to_embedding_model`."""

    layer_name: str | None = None
    freeze: bool | str | Sequence[str] | None = False
    freeze_layer: int | None = None
    output_dim: int | None = None
    pooling: str | Mapping[str, Any] | None = None
    projection_head: Any = None
    normalize: bool = False


class Plan(NamedTuple):
    """A recipe, and the sentence that explains where the cut is."""

    recipe: Recipe
    why: str


def plan(layers: Sequence[Layer], arguments: Arguments, channels_first: bool = True, gives: str = '') -> Plan:
    """The recipe for what was asked.

    Args:
        layers: of the general model, the model itself last.
        arguments: what was asked for.
        channels_first: whether images are (B, C, H, W) in the backend.
        gives: what is known of the model's output, see `heads.shows`.

    Raises:
        ArgumentError: a name means nothing, or the arguments cannot be had together.
    """
    row, why = _cut(layers, arguments.layer_name, gives)
    layer = layers[row]
    if not layer.embeds:
        raise ArgumentError(_no_vectors(layers, row))
    pooling = _pooling(layers, row, arguments.pooling, channels_first)
    width = pooling.width if pooling else int(layer.shape[-1] or 0)
    head = _head(arguments, width)
    frozen = _frozen(layers, row, arguments)
    learns = bool(pooling and (pooling.name == 'attention' or (pooling.name == 'gem' and pooling.learn)))
    trains = any(step[0] in ('linear', 'batchnorm', 'module') for step in head) or learns
    if frozen and not trains and _is_all(layers[: row + 1], frozen):
        raise ArgumentError(
            'Everything would be frozen, and there is no head to train: give output_dim=128 or a projection_head.'
        )
    places = _places(layers, (layer.path, *frozen))
    recipe = Recipe(layer.path, layer.call, frozen, pooling, head, places=places, layers=len(layers))
    return Plan(recipe, why)


def _places(layers: Sequence[Layer], paths: Sequence[str]) -> tuple[tuple[str, int, str], ...]:
    rows: dict[str, int] = {}
    for row, layer in enumerate(layers):
        rows.setdefault(layer.path, row)
    return tuple((path, rows[path], layers[rows[path]].kind) for path in dict.fromkeys(paths) if path)


def _cut(layers: Sequence[Layer], name: str | None, gives: str) -> tuple[int, str]:
    if name is not None:
        row = find(layers, name)
        return row, f'Cut at {_called(layers[row])}, as asked.'
    last = len(layers) - 1
    found = classification_head(layers, gives)
    if found is not None:
        body = representation(layers, found.row)
        if body is None:
            return last, (
                f'Nothing is cut off: {layers[found.row].name} is a classification head ({found.why}), but no layer '
                f'before it gives floats with the batch first. To end at what the head reads, pass that through a '
                f'layer of its own, such as an Identity, and name it with layer_name=….'
            )
        return body, f'Cut at {_called(layers[body])}: {layers[found.row].name} is a classification head ({found.why}).'
    if not layers[last].embeds:
        before = representation(layers, last)
        if before is None:
            raise ArgumentError('No layer of this model gives floats with the batch first, so none can embed.')
        return before, f'Cut at {_called(layers[before])}: the last layer whose output can be made (B, D).'
    return last, 'Nothing is cut off: no classification head was recognised (name a layer with layer_name=…).'


def _called(layer: Layer) -> str:
    names = ' '.join(dict.fromkeys(n for n in (layer.name, layer.path and f'({layer.path})') if n))
    return f'{names or "the output"} of shape {shown(layer.shape)}'


def shown(shape: Sequence[int | None]) -> str:
    """A shape for people: (B, 49, 768)."""
    return f'({", ".join("B" if i == 0 and n is None else "?" if n is None else str(n) for i, n in enumerate(shape))})'


def _no_vectors(layers: Sequence[Layer], row: int) -> str:
    layer = layers[row]
    if not layer.shape:
        what = f'The output of {layer.name or "the model"} is no tensor'
    elif 'float' not in layer.dtype:
        what = f'{layer.name} gives {layer.dtype}, not floats'
    else:
        what = f'{layer.name} gives {shown(layer.shape)}, and the first axis is not the batch'
    near = [x.name for x in layers[max(row - 3, 0) : row + 4] if x.embeds and x.path]
    return f'{what}, so it cannot be an embedding layer. ' + (f'Near it are {enumerated(near)}.' if near else '')


def _pooling(layers: Sequence[Layer], row: int, asked: Any, channels_first: bool) -> Pooling | None:
    layer = layers[row]
    options = dict(asked) if isinstance(asked, Mapping) else {'name': asked} if asked is not None else {}
    name = options.get('name')
    if asked is not None and name not in POOLINGS:
        raise ArgumentError(f'There is no pooling {name!r}. {nearest(str(name), POOLINGS)}')
    unknown = sorted(set(options) - {'name', 'p', 'eps', 'learn'})
    if unknown:
        raise ArgumentError(
            f'pooling has no option {unknown[0]!r}. {nearest(unknown[0], ("name", "p", "eps", "learn"))}'
        )
    for option in ('p', 'eps'):
        value = options.get(option, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ArgumentError(f'pooling: {option}={value!r}, expected a number of more than 0.')
    rank = len(layer.shape)
    if rank == 2:
        if asked is not None:
            raise ArgumentError(
                f'pooling={name!r}, but {layer.name or "the output"} gives {shown(layer.shape)}: nothing to pool; '
                f'cut at a layer with tokens or positions, or leave pooling out.'
            )
        return None
    axis = _channels(layers, row) if channels_first else -1
    if name == 'cls' and (rank > 3 or axis == 1):
        raise ArgumentError(
            f"pooling='cls' takes the first token; {layer.name} gives {shown(layer.shape)}: use 'mean'."
        )
    width = layer.shape[axis]
    if width is None:
        raise ArgumentError(f'{layer.name} gives {shown(layer.shape)}: the number of channels is not known.')
    return Pooling(**{'name': 'mean', **options, 'axis': axis, 'width': width})


def _channels(layers: Sequence[Layer], row: int) -> int:
    # The nearest layer of the same rank that is known to look along one axis; ReLU and blocks do not say.
    rank = len(layers[row].shape)
    for layer in reversed(layers[: row + 1]):
        kind = layer.kind.lower()
        if len(layer.shape) == rank and layer.shape == layers[row].shape:
            if any(word in kind for word in _LAST):
                return -1
            if any(word in kind for word in _FIRST) and 'block' not in kind:
                return 1
    return 1 if rank > 3 else -1


def _head(arguments: Arguments, width: int) -> tuple[tuple[Any, ...], ...]:
    dim, wanted = arguments.output_dim, arguments.projection_head
    if not isinstance(arguments.normalize, bool):
        raise ArgumentError(f'normalize={arguments.normalize!r}: expected True or False.')
    if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int) or dim < 1):
        raise ArgumentError(f'output_dim={dim!r}: expected a whole number of at least 1.')
    out = dim or 128
    steps: tuple[tuple[Any, ...], ...]
    if wanted is None or wanted is False:
        steps = (('linear', width, dim),) if dim else ()
    elif wanted == 'linear':
        steps = (('linear', width, out),)
    elif wanted == 'identity':
        steps = (('linear', width, dim or width, 'identity'),)
    elif wanted is True or wanted == 'mlp':
        steps = (
            ('linear', width, width, 'unbiased'),
            ('batchnorm', width),
            ('relu',),
            ('linear', width, out, 'unbiased'),
            ('batchnorm', out),
        )
    elif isinstance(wanted, str):
        raise ArgumentError(f'There is no head {wanted!r}. {nearest(wanted, ("linear", "mlp", "identity"))}')
    else:
        if dim is not None:
            raise ArgumentError('Give output_dim or a module as projection_head, not both: the module sets the width.')
        steps = (('module',),)
    return (*steps, ('normalize',)) if arguments.normalize else steps


def _frozen(layers: Sequence[Layer], cut: int, arguments: Arguments) -> tuple[str, ...]:
    names, count = arguments.freeze or False, arguments.freeze_layer
    if count is not None and names is not False:
        raise ArgumentError('Give freeze or freeze_layer, not both.')
    if count is not None:
        return _first_blocks(layers, cut, count)
    if isinstance(names, bool):
        return ('',) if names else ()
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple | set) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f'freeze={names!r}: expected True, or names, paths or patterns of layers as display() shows them; the '
            f'number of blocks goes to freeze_layer.'
        )
    used = [layer.path for layer in layers[: cut + 1]]
    frozen = []
    for name in names:
        paths = [layers[i].path for i in meant('freeze', layers, name)]
        kept = [path for path in paths if any(inside(u, path) for u in used)]
        if not kept:
            raise ArgumentError(f'freeze: {name!r} runs only after the cut at {layers[cut].name}, so it is not there.')
        frozen += kept
    return topmost(frozen)


def _is_all(used: Sequence[Layer], frozen: Sequence[str]) -> bool:
    # Whether no weights are left; blocks consist of what is in them.
    holders = {layer.path.rpartition('.')[0] for layer in used}
    heavy = [layer.path for layer in used if layer.parameters and layer.path and layer.path not in holders]
    return all(any(inside(path, place) for place in frozen) for path in heavy)


def _first_blocks(layers: Sequence[Layer], cut: int, count: int) -> tuple[str, ...]:
    if isinstance(count, bool) or not isinstance(count, int):
        raise ArgumentError(f'freeze_layer={count!r}: expected a number of blocks, such as 2, or -1.')
    used = layers[: cut + 1]
    row = [block for block in blocks(layers) if any(inside(layer.path, block) for layer in used)]
    if not -len(row) <= count <= len(row):
        raise ArgumentError(
            f'freeze_layer={count}, but there are {len(row)} blocks before the cut: {enumerated(row)}. '
            f'Take a number from {-len(row)} to {len(row)}.'
        )
    count = count if count >= 0 else len(row) + count
    if count == 0:
        return ()
    end = max(i for i, layer in enumerate(used) if inside(layer.path, row[count - 1]))
    for layer in used[end + 1 :]:  # norms that belong to the block
        if layer.parameters and (not is_norm(layer.kind) or any(inside(layer.path, block) for block in row)):
            break
        end += 1
    return topmost(layer.path for layer in used[: end + 1] if layer.parameters and layer.path)
