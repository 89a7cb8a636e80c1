"""Which loss for which data, and what people are told when it is the wrong one."""

import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import (
    CoSENTLoss,
    DistillKLDivLoss,
    InfoNCELoss,
    MarginMSELoss,
    NTXentLoss,
    SiameseLoss,
    TripletLoss,
)
from finetuner.losses.base import Loss
from finetuner.losses.miners import SiameseEasyHardMiner, TripletEasyHardMiner, TripletMarginMiner
from finetuner.losses.names import LOSSES, get
from finetuner.losses.objective import Objective
from finetuner.losses.registry import KINDS, check, choose, resolve

PACKAGED = 'EmbeddingsAlreadyPackagedAsTriplets'
WIDTHS = {'class': [1], 'session': [1], 'instance': [1], 'pair': [2, 3, 5], 'score': [2, 3, 5]}
OF_CLASSES = (
    'ArcFaceLoss',
    'CosFaceLoss',
    'LargeMarginSoftmaxLoss',
    'NormalizedSoftmaxLoss',
    'ProxyAnchorLoss',
    'ProxyNCALoss',
    'SoftTripleLoss',
    'SoftmaxLoss',
    'SphereFaceLoss',
    'SubCenterArcFaceLoss',
)
SITUATIONS = [(kind, width) for kind, widths in WIDTHS.items() for width in widths]

# Those that go by scores, and in how many columns.
SCORED = {
    'AnglELoss': [2],
    'CoSENTLoss': [2],
    'CosineSimilarityLoss': [2],
    'DistillKLDivLoss': [3, 5],
    'MarginMSELoss': [3, 5],
}


@pytest.mark.parametrize(
    ('kind', 'width', 'loss'),
    [
        ('class', 1, InfoNCELoss(0.07)),
        ('session', 1, InfoNCELoss(0.07)),
        ('instance', 1, InfoNCELoss(0.1)),
        ('pair', 2, InfoNCELoss(0.05, symmetric=True)),
        ('pair', 4, InfoNCELoss(0.05, symmetric=True)),
        ('score', 2, CoSENTLoss()),
        ('score', 3, MarginMSELoss()),
        ('score', 5, MarginMSELoss()),
    ],
)
def test_the_loss_that_nobody_named(kind, width, loss):
    assert resolve(kind=kind, width=width) == Objective(loss)


@pytest.mark.parametrize(
    ('width', 'scores', 'loss'),
    [
        (3, 1, MarginMSELoss()),
        (3, 2, MarginMSELoss()),
        (4, 2, MarginMSELoss()),
        (4, 3, DistillKLDivLoss()),
        (5, 4, DistillKLDivLoss()),
        (5, None, MarginMSELoss()),
    ],
)
def test_a_score_of_each_document_is_a_distribution(width, scores, loss):
    assert resolve(kind='score', width=width, scores=scores) == Objective(loss)


@pytest.mark.parametrize('name', [TripletEasyHardMiner, 'TripletEasyHardMiner', TripletEasyHardMiner()])
@pytest.mark.parametrize('loss', ['SiameseLoss', 'TripletLoss'])
def test_ways_to_name_the_miner_of_a_loss(loss, name):
    assert resolve(loss, loss_options={'miner': name}).loss.miner == TripletEasyHardMiner()


@pytest.mark.parametrize(('kind', 'width'), SITUATIONS)
def test_what_is_chosen_fits(kind, width):
    check(choose(kind, width), kind, width)


@pytest.mark.parametrize(('kind', 'width'), SITUATIONS)
@pytest.mark.parametrize('name', LOSSES)
def test_losses_and_data_that_fit(name, kind, width):
    fits = {
        **dict.fromkeys(OF_CLASSES, kind == 'class'),
        **{scored: kind == 'score' and width in widths for scored, widths in SCORED.items()},
    }.get(name, kind != 'score')
    if fits:
        assert resolve(name, kind=kind, width=width) == Objective(get(name))
        return
    with pytest.raises(ArgumentError) as caught:
        resolve(name, kind=kind, width=width)
    message = str(caught.value)
    assert message.startswith(f'{name} needs ')
    assert KINDS[kind] in message
    suited = message.partition('Losses that fit: ')[2].rstrip('.').partition(' and ')[0].split(', ')
    assert type(choose(kind, width)).__name__ == suited[0] and len(suited) <= 12
    for other in suited:
        resolve(other, kind=kind, width=width)


def test_data_that_no_loss_fits():
    with pytest.raises(ArgumentError, match='scores in 1 columns. No loss fits such data'):
        resolve('CoSENTLoss', kind='score', width=1)


def test_lists_of_scored_documents_have_losses_of_their_own():
    with pytest.raises(ArgumentError, match=r'needs scores in 2 columns; .* Losses that fit: MarginMSELoss, Distill'):
        resolve('CosineSimilarityLoss', kind='score', width=5)
    with pytest.raises(ArgumentError, match='needs scores in 3 or more columns; this data has scores in 2 columns'):
        resolve('DistillKLDivLoss', kind='score', width=2)


@pytest.mark.parametrize(
    ('given', 'options', 'expected'),
    [
        ('TripletLoss', {}, TripletLoss()),
        ('TripletLoss', {'margin': 0.3}, TripletLoss(margin=0.3)),
        (TripletLoss, {'margin': 0.3}, TripletLoss(margin=0.3)),
        (TripletLoss(margin=0.4), {}, TripletLoss(margin=0.4)),
    ],
)
def test_ways_to_name_a_loss(given, options, expected):
    assert resolve(given, loss_options=options).loss == expected


@pytest.mark.parametrize(
    ('given', 'options', 'expected'),
    [
        (None, {}, None),
        ('TripletMarginMiner', {'margin': 0.3}, TripletMarginMiner(0.3)),
        (TripletMarginMiner, {}, TripletMarginMiner()),
        (TripletEasyHardMiner('easy'), {}, TripletEasyHardMiner('easy')),
    ],
)
def test_ways_to_name_a_miner(given, options, expected):
    assert resolve('TripletLoss', given, miner_options=options).miner == expected


def test_functions_are_taken_as_they_are():
    def loss(anchors, candidates, relation):
        return 0

    def miner(distances, relation):
        return relation

    assert resolve(loss, miner) == Objective(loss, miner)
    assert resolve(loss, kind='score', width=7) == Objective(loss)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'loss': 'Tripletloss'}, "Did you mean 'TripletLoss'"),
        ({'loss': 'TripletLoss', 'miner': 'TripletMargnMiner'}, "Did you mean 'TripletMarginMiner'"),
        ({'loss': 3}, 'loss=3 is no loss: expected a name, a Loss, a class of them, or a function'),
        ({'loss': dict}, "loss=<class 'dict'> is no loss"),
        ({'loss': TripletMarginMiner()}, 'is no loss'),
        ({'miner': TripletLoss()}, 'is no miner'),
        ({'miner': 0.2}, 'miner=0.2 is no miner'),
        ({'loss': 'TripletLoss', 'loss_options': {'margins': 1}}, "Did you mean 'margin'"),
        ({'loss': TripletLoss(), 'loss_options': {'margin': 1}}, 'are for a loss given by name'),
        ({'miner': TripletMarginMiner(), 'miner_options': {'margin': 1}}, 'are for a miner given by name'),
        ({'loss_options': {'margin': 1}}, 'need a loss: name one'),
        ({'miner_options': {'margin': 1}}, "need a miner: name one of .*'TripletMarginMiner'"),
        ({'loss': 'ArcFaceLoss', 'miner': 'TripletMiner'}, 'AllMiner has nothing to choose from: ArcFaceLoss compares'),
        ({'miner': 'TripletMiner', 'kind': 'score', 'width': 2}, 'CoSENTLoss goes by the scores'),
        ({'miner': SiameseEasyHardMiner(), 'kind': 'pair', 'width': 2}, 'this data has 2 columns'),
        (
            {'loss': SiameseLoss(miner=SiameseEasyHardMiner()), 'kind': 'pair', 'width': 2},
            'SiameseEasyHardMiner looks for pairs within one batch, and this data has 2 columns',
        ),
        (
            {'loss': 'CrossBatchMemory', 'loss_options': {'loss': 'SiameseLoss'}, 'miner': PACKAGED},
            'Leave it out and give rows',
        ),
        ({'loss': 'TripletLoss', 'miner': PACKAGED}, r'give rows \(anchor, positive, negative\)'),
        ({'loss': 'TripletLoss', 'miner': PACKAGED, 'kind': 'session'}, 'and here batches are drawn'),
        ({'loss': TripletLoss(miner=PACKAGED)}, 'and here batches are drawn'),
        ({'loss': 'TripletLoss', 'loss_options': {'miner': 'TripletEasyHrdMiner'}}, "mean 'TripletEasyHardMiner'"),
        ({'loss': 'TripletLoss', 'loss_options': {'miner': InfoNCELoss()}}, 'miner must be a miner'),
        ({'loss': TripletLoss(miner=TripletEasyHardMiner()), 'miner': 'TripletMiner'}, 'has its own miner already'),
    ],
)
def test_what_cannot_be(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        resolve(**arguments)


def test_class_losses_need_classes():
    with pytest.raises(ArgumentError, match='ArcFaceLoss needs class labels; this data has pairs without scores'):
        resolve('ArcFaceLoss', kind='pair', width=2)


def test_a_loss_of_ones_own_is_checked_by_what_it_expects():
    class Own(Loss):
        candidates = 'classes'

        def compute(self, anchors, candidates, relation, **learned):
            return 0

    with pytest.raises(ArgumentError, match='Own needs class labels'):
        check(Own(), 'session')
    assert isinstance(resolve(Own()).loss, Own)


def test_views_are_told_apart_by_the_originals_loss():
    assert resolve('NTXentLoss', kind='instance').loss == NTXentLoss()
