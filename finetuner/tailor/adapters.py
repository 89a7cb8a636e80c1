"""Where adapters go: what is asked for, made a part of the recipe; a pure function of the list of layers."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any

from finetuner.errors import ArgumentError, enumerated, nearest
from finetuner.tailor.layers import Layer, inside, known, named
from finetuner.tailor.plan import Arguments, Plan, plan
from finetuner.tailor.recipe import Adapter

ADAPTERS = ('lora',)
OPTIONS = ('r', 'alpha', 'dropout', 'target_modules')
ALL = 'all-linear'


def check(adapter: Any, options: Any, freeze: Any) -> dict[str, Any]:
    """The options of an adapter, if they can be had.

    Args:
        adapter: its name, as in `finetuner.to_embedding_model`; None for no adapter.
        options: a dict, or None.
        freeze: what else is frozen.

    Raises:
        ArgumentError: a name is unknown, a value is impossible, or it contradicts `freeze`.
    """
    if adapter is None:
        if options is not None:
            raise ArgumentError("adapter_options, but no adapter: give adapter='lora' too.")
        return {}
    if adapter not in ADAPTERS:
        raise ArgumentError(f'There is no adapter {adapter!r}. {nearest(adapter, ADAPTERS)}')
    if freeze is True:
        raise ArgumentError(
            f'freeze=True trains nothing but the head, and adapter={adapter!r} is there to train: leave freeze out '
            f'(the weights of the body stand still anyhow), or leave adapter out.'
        )
    if not isinstance(options, Mapping | NoneType):
        raise ArgumentError(f"adapter_options={options!r}: expected a dict, such as {{'r': 8, 'alpha': 16}}.")
    found: dict[str, Any] = dict(options or {})
    for name, value in found.items():
        if name not in OPTIONS:
            raise ArgumentError(f'adapter_options: {adapter} has no option {name!r}. {nearest(name, OPTIONS)}')
        fits, expected = _fits(name, value)
        if not fits:
            raise ArgumentError(f'adapter_options: {name}={value!r}: expected {expected}.')
    return found


def _fits(name: str, value: Any) -> tuple[bool, str]:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if name == 'r':
        return number and isinstance(value, Integral) and int(value) >= 1, 'a whole number of at least 1'
    if name == 'alpha':
        return number and 0 < value < float('inf'), 'a positive number'
    if name == 'dropout':
        return number and 0 <= value < 1, 'a number from 0 to below 1'
    names = [value] if isinstance(value, str) else value
    fits = isinstance(names, list | tuple | set) and len(names) > 0 and all(isinstance(n, str) for n in names)
    return value is None or fits, f'names, paths or patterns of layers, or {ALL!r}'


def plan_with_adapter(
    layers: Sequence[Layer],
    arguments: Arguments,
    channels_first: bool,
    adapter: str,
    options: Mapping[str, Any],
    places: Mapping[str, bool],
    gives: str = '',
) -> Plan:
    """The recipe for what was asked, with adapters beside layers of the body, and nothing else of the body trained.

    Layers that `freeze` or `freeze_layer` mean get none.

    Args:
        layers: as in `plan`, like the next two.
        arguments: what else was asked for.
        channels_first: whether images are (B, C, H, W).
        adapter: its name.
        options: what `check` gave.
        places: of the layers that can have an adapter, whether they have one by default.
        gives: what is known of the model's output, as in `plan`.

    Raises:
        ArgumentError: no layer can have one, or a name means none.
    """
    found = plan(layers, arguments, channels_first, gives)
    recipe = found.recipe
    last = next(i for i, layer in enumerate(layers) if (layer.path, layer.call) == (recipe.at, recipe.call))
    used = list(dict.fromkeys(layer.path for layer in layers[: last + 1] if layer.path in places))
    if not used:
        raise ArgumentError(
            f'adapter={adapter!r} adapts linear layers, and none runs before the cut: freeze_layer=-1 trains only the '
            f'last block, freeze=True only the head.'
        )
    wanted = options.get('target_modules')
    paths = _targets(layers, used, places, wanted)
    paths = [path for path in paths if not any(inside(path, place) for place in recipe.frozen)]
    if not paths:
        raise ArgumentError(
            f'freeze={arguments.freeze!r}, freeze_layer={arguments.freeze_layer!r}: all layers that would have an '
            f'adapter are frozen, and get none. Freeze less.'
        )
    numbers = {name: value for name, value in options.items() if name != 'target_modules'}
    return found._replace(recipe=recipe._replace(frozen=('',), adapter=Adapter(adapter, tuple(paths), **numbers)))


def _targets(
    layers: Sequence[Layer], used: Sequence[str], places: Mapping[str, bool], wanted: str | Iterable[str] | None
) -> list[str]:
    if wanted is None:
        return [path for path in used if places[path]] or list(used)
    if wanted == ALL:
        return list(used)
    found: set[str] = set()
    for name in [wanted] if isinstance(wanted, str) else wanted:
        blocks = {layers[i].path for i in named(layers, name)}
        blocks |= {layer.path for layer in layers if layer.path.endswith(f'.{name}')}  # as peft reads names
        if not blocks:
            ends = {path.rpartition('.')[2] for path in used}
            hint = nearest(name, {*known(layers), *ends, ALL})
            raise ArgumentError(f'target_modules: there is no layer {name!r}. {hint}')
        inner = {path for path in used if any(inside(path, block) for block in blocks)}
        if not inner:
            raise ArgumentError(
                f'target_modules: {name!r} is no linear layer before the cut, nor is there one in it. Such are '
                f'{enumerated(used)}.'
            )
        found |= inner
    return [path for path in used if path in found]
