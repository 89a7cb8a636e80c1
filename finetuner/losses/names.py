"""Losses and miners by name, imported when they are asked for."""

from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from typing import Any

from finetuner.errors import ArgumentError, nearest

LOSSES = {
    'AngularLoss': 'angular',
    'AnglELoss': 'angle',
    'ArcFaceLoss': 'arcface',
    'BatchAllTripletLoss': 'batch_triplets',
    'BatchHardSoftMarginTripletLoss': 'batch_triplets',
    'BatchHardTripletLoss': 'batch_triplets',
    'BatchSemiHardTripletLoss': 'batch_triplets',
    'CentroidTripletLoss': 'centroid',
    'CLIPLoss': 'clip',
    'CoSENTLoss': 'scores',
    'ContrastiveLoss': 'contrastive',
    'CosFaceLoss': 'softmax',
    'CosineSimilarityLoss': 'scores',
    'DistillKLDivLoss': 'distill',
    'GISTEmbedLoss': 'gist',
    'InfoNCELoss': 'infonce',
    'LargeMarginSoftmaxLoss': 'sphereface',
    'MarginLoss': 'margin',
    'MarginMSELoss': 'distill',
    'MultiSimilarityLoss': 'multi_similarity',
    'NCALoss': 'nca',
    'NPairsLoss': 'npairs',
    'MultipleNegativesRankingLoss': 'ranking',
    'MultipleNegativesSymmetricRankingLoss': 'ranking',
    'NTXentLoss': 'infonce',
    'NormalizedSoftmaxLoss': 'softmax',
    'OnlineContrastiveLoss': 'online_contrastive',
    'ProxyAnchorLoss': 'proxies',
    'ProxyNCALoss': 'proxies',
    'SiameseLoss': 'contrastive',
    'SigLIPLoss': 'clip',
    'SoftTripleLoss': 'softtriple',
    'SoftmaxLoss': 'softmax',
    'SphereFaceLoss': 'sphereface',
    'SubCenterArcFaceLoss': 'arcface',
    'ThresholdConsistentMarginLoss': 'threshold',
    'TripletLoss': 'triplet',
    'TripletMarginLoss': 'triplet',
    'BarlowTwinsLoss': 'barlow',
    'CircleLoss': 'circle',
    'FastAPLoss': 'fastap',
    'GeneralizedLiftedStructureLoss': 'lifted',
    'IntraPairVarianceLoss': 'intra_pair',
    'LiftedStructureLoss': 'lifted',
    'PNPLoss': 'pnp',
    'RankedListLoss': 'ranked_list',
    'SignalToNoiseRatioContrastiveLoss': 'snr',
    'SmoothAPLoss': 'smoothap',
    'SupConLoss': 'supcon',
    'TupletMarginLoss': 'tuplet',
    'VICRegLoss': 'vicreg',
}
WRAPPERS = {
    'CrossBatchMemory': 'memory',
    'MatryoshkaLoss': 'matryoshka',
    'MultipleLosses': 'multiple',
    'RegularizedLoss': 'regularized',
}
"""Losses made of others, which they are given: `get('CrossBatchMemory', loss='InfoNCELoss')`."""
REGULARIZERS = {
    'CenterInvariantRegularizer': 'regularizers',
    'LpRegularizer': 'regularizers',
    'RegularFaceRegularizer': 'regularizers',
    'SparseCentersRegularizer': 'regularizers',
    'ZeroMeanRegularizer': 'regularizers',
}
"""What `RegularizedLoss` adds to a loss."""
MINERS = {
    'AllMiner': 'base',
    'AngularMiner': 'angular',
    'BatchEasyHardMiner': 'batch',
    'BatchHardMiner': 'batch',
    'DistanceWeightedMiner': 'distance_weighted',
    'EmbeddingsAlreadyPackagedAsTriplets': 'packaged',
    'GuidedMiner': 'guided',
    'HDCMiner': 'hdc',
    'MaximumLossMiner': 'maximum_loss',
    'MultiSimilarityMiner': 'multi_similarity',
    'PairMarginMiner': 'pair_margin',
    'SiameseEasyHardMiner': 'easyhard',
    'SiameseMiner': 'base:AllMiner',
    'SiameseSessionMiner': 'base:AllMiner',
    'TripletEasyHardMiner': 'easyhard',
    'TripletMarginMiner': 'band',
    'TripletMiner': 'base:AllMiner',
    'TripletSessionMiner': 'base:AllMiner',
    'UniformHistogramMiner': 'histogram',
}
_NO_LOSSES = {
    'BaseMetricLossFunction': 'is a building block: derive from finetuner.losses.base.Loss for a loss of your own',
    'DynamicSoftMarginLoss': 'is not here: use TripletMarginLoss(smooth_loss=True), which has no hard margin either',
    'EmbeddingRegularizerMixin': "is a building block: use RegularizedLoss(embedding_regularizer='LpRegularizer')",
    'GenericPairLoss': 'is a building block: use ContrastiveLoss, or derive from finetuner.losses.base.Loss',
    'HistogramLoss': 'is not here: use FastAPLoss, which counts distances in bins too, or SmoothAPLoss',
    'InstanceLoss': 'is not here: use SoftmaxLoss, which classifies items the same way',
    'ManifoldLoss': 'is not here: use ProxyAnchorLoss, which learns proxies too, or InfoNCELoss',
    'P2SGradLoss': 'is not here: use CosFaceLoss or ArcFaceLoss, which compare items with learned classes too',
    'SelfSupervisedLoss': 'is not needed: give items without labels, and InfoNCELoss compares their views',
    'WeightRegularizerMixin': "is a building block: use RegularizedLoss(weight_regularizer='RegularFaceRegularizer')",
}
_OTHER_NAMES = {'NTXLoss': 'NTXentLoss'}  # as the original's documents spell it


def find(name: str, kind: str = 'loss') -> type:
    """The class of a loss or, with `kind`, of a 'miner' or a 'regularizer'.

    Raises:
        ArgumentError: there is none of that name.
    """
    table = {'miner': MINERS, 'regularizer': REGULARIZERS}.get(kind, LOSSES | WRAPPERS)
    package = 'finetuner.losses.miners' if kind == 'miner' else 'finetuner.losses'
    name = _OTHER_NAMES.get(name, name)
    if name in _NO_LOSSES:
        raise ArgumentError(f'{name} {_NO_LOSSES[name]}.')
    plain = name.removeprefix('Cached')
    if plain != name and plain in table:
        raise ArgumentError(f'{name} is {plain} in small parts: take that with fit(…, mini_batch_size=32), say.')
    if name not in table:
        raise ArgumentError(f'There is no {kind} {name!r}. {nearest(name, table)}')
    module, _, other = table[name].partition(':')
    found: type = getattr(import_module(f'{package}.{module}'), other or name)
    return found


def get(name: str, kind: str = 'loss', **options: Any) -> Any:
    """The loss or, with `kind`, the 'miner' or 'regularizer' of that name.

    Raises:
        ArgumentError: the name or an option is unknown; suggests the nearest.

    >>> get('SiameseLoss', margin=0.3).margin
    0.3
    """
    return build(find(name, kind), **options)


def build(found: type, **options: Any) -> Any:
    """`found(**options)`, where a dataclass refuses options it does not have.

    Raises:
        ArgumentError: an option is unknown, for which it suggests the nearest; or one is missing.
    """
    if not is_dataclass(found):
        return found(**options)
    known = [field.name for field in fields(found)]
    for option in options:
        if option not in known:
            hint = f'{nearest(option, known)} {_signature(found)}' if known else 'It takes none.'
            raise ArgumentError(f'{found.__name__} has no option {option!r}. {hint}')
    for field in fields(found):
        if _required(field) and field.name not in options:
            raise ArgumentError(f'{found.__name__} needs the option {field.name!r}. {_signature(found)}')
    return found(**options)


def _signature(found: Any) -> str:
    options = [field.name if _required(field) else f'{field.name}={field.default!r}' for field in fields(found)]
    return f'It is {found.__name__}({", ".join(options)}).'


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def as_loss(what: Any) -> Any:
    """A loss that a wrapper is given, of what people name it by.

    Args:
        what: a loss, its name, or `(name, options)`.

    Raises:
        ArgumentError: there is none of that name, or it is none.
    """
    what = _named(what, 'loss')
    if not hasattr(what, 'members'):
        raise ArgumentError(
            f"{what!r} is no loss: expected one, its name, or (name, options) such as ('InfoNCELoss', {{}})."
        )
    if getattr(what, 'outermost', False):
        name = type(what).__name__
        raise ArgumentError(f'{name} must stand outermost, around the other wrappers: {name}(MatryoshkaLoss(…)), say.')
    return what


def as_regularizer(what: Any) -> Any:
    """A regulariser, of what people name it by: one, its name, or `(name, options)`.

    Raises:
        ArgumentError: there is none of that name, or it is none.
    """
    made = _named(what, 'regularizer')
    if not hasattr(made, 'penalty'):
        raise ArgumentError(f'{what!r} is no regularizer. {nearest(str(what), REGULARIZERS)}')
    return made


def _named(what: Any, kind: str) -> Any:
    if isinstance(what, str):
        return get(what, kind)
    if isinstance(what, tuple | list) and len(what) == 2 and isinstance(what[0], str) and isinstance(what[1], dict):
        return get(what[0], kind, **what[1])
    return build(what) if isinstance(what, type) and (hasattr(what, 'members') or hasattr(what, 'penalty')) else what
