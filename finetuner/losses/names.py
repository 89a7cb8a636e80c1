"""Losses and miners by name, imported when they are asked for."""

from dataclasses import fields
from importlib import import_module
from typing import Any

from finetuner.errors import ArgumentError, nearest

LOSSES = {
    'ArcFaceLoss': 'arcface',
    'CoSENTLoss': 'scores',
    'ContrastiveLoss': 'contrastive',
    'InfoNCELoss': 'infonce',
    'MarginMSELoss': 'scores',
    'MultiSimilarityLoss': 'multi_similarity',
    'NTXentLoss': 'infonce',
    'SiameseLoss': 'contrastive',
    'TripletLoss': 'triplet',
    'TripletMarginLoss': 'triplet',
}
WRAPPERS = {
    'CrossBatchMemory': 'memory',
}
"""Losses made of others, which they are given: `get('CrossBatchMemory', loss='InfoNCELoss')`."""
MINERS = {
    'AllMiner': 'base',
    'SiameseEasyHardMiner': 'easyhard',
    'SiameseMiner': 'base:AllMiner',
    'SiameseSessionMiner': 'base:AllMiner',
    'TripletEasyHardMiner': 'easyhard',
    'TripletMarginMiner': 'band',
    'TripletMiner': 'base:AllMiner',
    'TripletSessionMiner': 'base:AllMiner',
}
_NO_LOSSES = {
    'BaseMetricLossFunction': 'derive from finetuner.losses.base.Loss for a loss of your own',
    'EmbeddingRegularizerMixin': 'use a loss, and the weight decay of the optimizer',
    'GenericPairLoss': 'use ContrastiveLoss, or derive from finetuner.losses.base.Loss',
    'WeightRegularizerMixin': 'use a loss, and the weight decay of the optimizer',
}


def find(name: str, kind: str = 'loss') -> type:
    """The class of a loss or, with `kind='miner'`, of a miner.

    Raises:
        ArgumentError: there is none of that name.
    """
    table, package = (MINERS, 'finetuner.losses.miners') if kind == 'miner' else (LOSSES | WRAPPERS, 'finetuner.losses')
    if name in _NO_LOSSES:
        raise ArgumentError(f'{name} is a building block and no loss: {_NO_LOSSES[name]}.')
    if name not in table:
        raise ArgumentError(f'There is no {kind} {name!r}. {nearest(name, table)}')
    module, _, other = table[name].partition(':')
    found: type = getattr(import_module(f'{package}.{module}'), other or name)
    return found


def get(name: str, kind: str = 'loss', **options: Any) -> Any:
    """The loss or, with `kind='miner'`, the miner of that name.

    Raises:
        ArgumentError: the name or an option is unknown; suggests the nearest.

    >>> get('TripletMarginLoss', margin=0.3)
    TripletMarginLoss(margin=0.3, distance='euclidean', normalize=True, reducer='nonzero')
    """
    return build(find(name, kind), **options)


def build(found: type, **options: Any) -> Any:
    """`found(**options)` for a dataclass, refusing options it does not have.

    Raises:
        ArgumentError: an option is unknown; suggests the nearest.
    """
    known = [field.name for field in fields(found)]
    for option in options:
        if option not in known:
            hint = nearest(option, known) if known else 'It takes none.'
            raise ArgumentError(f'{found.__name__} has no option {option!r}. {hint}')
    return found(**options)


def as_loss(what: Any) -> Any:
    """A loss that a wrapper is given, of what people name it by.

    Args:
        what: a loss, its name, or `(name, options)`.

    Raises:
        ArgumentError: there is none of that name, or it is none.
    """
    if isinstance(what, str):
        return get(what)
    if isinstance(what, tuple | list) and len(what) == 2 and isinstance(what[0], str) and isinstance(what[1], dict):
        return get(what[0], **what[1])
    if not hasattr(what, 'members'):
        raise ArgumentError(
            f"{what!r} is no loss: expected one, its name, or (name, options) such as ('InfoNCELoss', {{}})."
        )
    return what
