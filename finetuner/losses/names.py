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
    table, package = (LOSSES, 'finetuner.losses') if kind == 'loss' else (MINERS, 'finetuner.losses.miners')
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
