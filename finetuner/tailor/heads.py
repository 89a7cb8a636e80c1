"""Where a general model turns its representation into classes: the rule by which a head is recognised."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.inference import unlike_vectors
from finetuner.tailor.layers import CONTAINERS, PARAMETER, Layer, inside

_DENSE = {'linear', 'dense', 'lazylinear', 'nondynamicallyquantizablelinear'}
_PROBABILITIES = {'softmax', 'logsoftmax', 'sigmoid', 'logsigmoid', 'softmax2d'}
_SURE = re.compile(r'(^|[._])(classifier|classification|logits?|lm_head|predictions?|scores?|qa_outputs)([._]|\d|$)')
_LIKELY = re.compile(r'(^|[._])(fc|heads?|outputs?|out)([._]|\d|$)')
_HEADS = re.compile(r'(Classification|Classifier|Prediction|LM)\w*Head')
_CLASS = re.compile(r'For\w*(Classification|LM|Answering)$|Classifier$')


PROBABILITIES, DIRECTIONS, TAILORED = 'probabilities', 'directions', 'tailored'
"""What the numbers of a model, or its origin, say of it: a classifier, none, and none either."""


class Head(NamedTuple):
    """A classification head.

    Attributes:
        row: of its last dense layer.
        sure: whether the evidence is good enough to cut it off unasked.
        why: the evidence, for a sentence.
    """

    row: int
    sure: bool
    why: str


def head(layers: Sequence[Layer], gives: str = '') -> Head | None:
    """The classification head of a model, if its last layer with weights is one.

    Args:
        layers: of the model, the model itself last.
        gives: what `shows` says of its output.
    """
    row = None if gives in (DIRECTIONS, TAILORED) else _last_dense(layers)
    if row is None:
        return None
    layer, width = layers[row], layers[-1 if _is_conv(layers[row]) else row].shape[-1]
    before = representation(layers, row)
    if width is None or (before is None and not any(x.parameters for x in layers[:row])):
        return None
    if gives == PROBABILITIES:
        return Head(row, True, 'the model gives probabilities')
    after = next((x for x in layers[row + 1 :] if x.kind.lower() in _PROBABILITIES), None)
    classes = width % 8 != 0 or width == 1000  # as widths of embeddings are not
    if after is not None:
        return Head(row, True, f'{after.name} follows it')
    if _SURE.search(layer.path.lower()):
        return Head(row, True, f'it is called {layer.path}')
    if _CLASS.search(layers[-1].kind):
        return Head(row, True, f'the model is a {layers[-1].kind}')
    if _LIKELY.search(layer.path.lower()):
        return Head(row, width == 1000, f'it is called {layer.path}')
    narrower = before is not None and ((layers[before].shape[-1] or 0) > width or len(layers[before].shape) > 2)
    if classes and narrower and (width == 1000 or not _is_conv(layer)):
        return Head(row, False, f'its width, {width}, is less than what it reads and no multiple of 8')
    return None


def shows(output: Any) -> str:
    """What the numbers of a (B, D) output show: `PROBABILITIES`, `DIRECTIONS` (rows of length 1), or nothing, ''."""
    if unlike_vectors(output, None) is not None:
        return ''
    rows = get_namespace(output).to_numpy(output).astype(np.float64)
    if rows.shape[1] < 2 or not np.isfinite(rows).all():
        return ''
    if (rows >= 0).all() and np.allclose(rows.sum(1), 1, atol=3e-3):
        return PROBABILITIES
    if (rows <= 0).all() and np.allclose(np.exp(rows).sum(1), 1, atol=3e-3):  # their logarithms
        return PROBABILITIES
    return DIRECTIONS if np.allclose(np.linalg.norm(rows, axis=1), 1, atol=3e-3) else ''


def _last_dense(layers: Sequence[Layer]) -> int | None:
    # The last layer that has weights of its own, if it is dense, not inside something that mixes, and gives the output.
    composite = {layer.path.rpartition('.')[0] for layer in layers if layer.path}
    for row in range(len(layers) - 1, -1, -1):
        layer = layers[row]
        if layer.kind == PARAMETER or not layer.parameters or layer.path in composite or not layer.path:
            continue
        return row if layer.embeds and (layer.kind.lower() in _DENSE or _counts_classes(layers, row)) else None
    return None


def _is_conv(layer: Layer) -> bool:
    return 'conv' in layer.kind.lower()


def _counts_classes(layers: Sequence[Layer], row: int) -> bool:
    # A convolution with a channel for each class, which are averaged after it.
    whole = layers[-1].shape
    return _is_conv(layers[row]) and len(layers[row].shape) > 2 == len(whole) and whole[-1] in layers[row].shape[1:]


def representation(layers: Sequence[Layer], row: int) -> int | None:
    """The last row before `row` that carries the representation: a layer that embeds, and no dropout."""
    heads = [layer.path for layer in layers if layer.path and _HEADS.search(layer.kind)]
    for i in range(row - 1, -1, -1):
        if any(inside(layers[i].path, path) for path in heads) or _is_before_head(layers[i]):
            continue
        if layers[i].embeds and not _is_idle(layers[i]):
            return _within(layers, i, len(layers[row].shape))
    return None


def _within(layers: Sequence[Layer], row: int, rank: int) -> int:
    # What only holds others gives what the last of them gives. A body that gives tokens and their summary is known by
    # the tokens, while a head of vectors reads the summary.
    while row > 0 and inside(layers[row - 1].path, layers[row].path):
        here, last = layers[row], layers[row - 1]
        same = here.kind in CONTAINERS and last.shape == here.shape
        if not last.embeds or not (same or len(last.shape) == rank != len(here.shape)) or _is_idle(last):
            break
        row -= 1
    return row


def _is_before_head(layer: Layer) -> bool:
    # A dense layer that is called after the head which it belongs to: pre_classifier.
    return layer.kind.lower() in _DENSE and bool(_SURE.search(layer.path.rpartition('.')[2].lower()))


def _is_idle(layer: Layer) -> bool:
    return 'dropout' in layer.kind.lower() or layer.kind.lower() in ('identity', 'inputlayer')
