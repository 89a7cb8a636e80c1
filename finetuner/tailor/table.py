"""The layers of a model as a table for people."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.markup import escape
from rich.table import Table

from finetuner.tailor.blocks import blocks, repeated
from finetuner.tailor.layers import PARAMETER, Layer, inside, meant
from finetuner.tailor.plan import shown

LONG = 40
"""Tables of more rows are folded, unless told otherwise."""

_COLOURS = {True: 'green', False: 'cyan', None: 'bright_black'}


def table(layers: Sequence[Layer], unfold: bool | str | Iterable[str] | None = None, caption: str = '') -> Table:
    """The layers in the order in which they end, a row for each call.

    Args:
        layers: as a backend's trace gives them.
        unfold: True shows what is in repeated blocks, False one row for each; names, paths or patterns are of those to
            unfold; None folds long tables.
        caption: something to say below.
    """
    numbers = {path: str(i) for i, path in enumerate(blocks(layers), 1)}
    folded = _folded(layers, unfold)
    result = Table(box=box.SIMPLE, caption=_legend(caption, bool(folded)), caption_justify='left')
    for column in ('name', 'path', 'output shape', 'parameters', 'trainable', 'embeds', 'block'):
        justify: Literal['left', 'right'] = 'right' if column == 'parameters' else 'left'
        result.add_column(column, justify=justify, no_wrap=True)
    for i, layer in enumerate(layers[:-1]):
        if any(layer.path != path and inside(layer.path, path) for path in folded):
            continue
        hidden = 0
        if layer.path in folded:
            hidden = sum(x.path != layer.path and inside(x.path, layer.path) for x in layers[:i])
        result.add_row(
            '' if layer.kind == PARAMETER else escape(layer.name),
            escape(layer.path) + (f' [dim](+{hidden})[/]' if hidden else ''),
            escape(shown(layer.shape)) if layer.shape else '-',
            f'{layer.parameters:,}',
            str(layer.trainable),
            'yes' if layer.embeds else '',
            numbers.get(layer.path, ''),
            style=_COLOURS[layer.trainable if layer.parameters else None],
        )
    whole = layers[-1]
    result.add_section()
    result.add_row('', escape(whole.kind), escape(shown(whole.shape)) if whole.shape else '-', f'{whole.parameters:,}')
    return result


def _folded(layers: Sequence[Layer], unfold: bool | str | Iterable[str] | None) -> set[str]:
    if unfold is True or (unfold is None and len(layers) <= LONG):
        return set()
    parts = {*repeated(layers), *(b for b in blocks(layers) if any(x.path != b and inside(x.path, b) for x in layers))}
    parts &= {layer.path for layer in layers}  # what is never called has no row of its own
    if unfold is None or unfold is False:
        return parts
    open_: set[str] = set()
    for name in [unfold] if isinstance(unfold, str) else unfold:
        open_ |= {layers[row].path for row in meant('unfold', layers, name)}
    return {part for part in parts if not any(inside(path, part) for path in open_)}


def _legend(caption: str, folded: bool) -> str:
    lines = [
        '[green]green[/]: trained; [cyan]cyan[/]: has weights that are not trained; grey: has none.',
        "embeds: can be an embedding layer, with to_embedding_model(model, layer_name='…').",
    ]
    if folded:
        lines.append("(+n): rows folded into a block; unfold=True or unfold='name' shows them.")
    return '\n'.join([*lines, escape(caption)] if caption else lines)
