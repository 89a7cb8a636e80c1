"""Losses on sets, on ranked lists and on views: their values and slopes in pytorch-metric-learning, with torch."""

import inspect

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.typing import Layout
from tests.gradients import value_and_grad
from tests.losses import cases
from tests.losses.peers import FEW, compare

pytestmark = pytest.mark.backends('torch')

NAMES = [
    'CircleLoss',
    'GeneralizedLiftedStructureLoss',
    'IntraPairVarianceLoss',
    'LiftedStructureLoss',
    'SignalToNoiseRatioContrastiveLoss',
    'SupConLoss',
    'ThresholdConsistentMarginLoss',
    'TupletMarginLoss',
]
# As many classes as items in each, without which theirs mixes up the classes.
SQUARE = np.repeat(np.arange(5), 5)
# No class of one item, which our PNP leaves out. Through the steep sigmoids of its default float32 has few places.
SEVERAL = np.repeat(np.arange(5), [2, 3, 4, 5, 9])


@pytest.fixture
def peer():
    for part in ('losses', 'miners', 'reducers'):
        pytest.importorskip(f'pytorch_metric_learning.{part}')
    return pytest.importorskip('pytorch_metric_learning')


@pytest.mark.parametrize('name', [*NAMES, 'FastAPLoss'])
def test_defaults(peer, name):
    compare(get(name), getattr(peer.losses, name)(), labels=FEW)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('CircleLoss', {'m': 0.25, 'gamma': 16.0}),
        ('GeneralizedLiftedStructureLoss', {'neg_margin': 0.3, 'pos_margin': 0.5}),
        ('IntraPairVarianceLoss', {'pos_eps': 0.3, 'neg_eps': 0.2}),
        ('LiftedStructureLoss', {'neg_margin': 0.3, 'pos_margin': 0.5}),
        ('SignalToNoiseRatioContrastiveLoss', {'pos_margin': 1.0, 'neg_margin': 2.5}),
        ('SupConLoss', {'temperature': 0.5}),
        ('TupletMarginLoss', {'margin': 20.0, 'scale': 8.0}),
        (
            'ThresholdConsistentMarginLoss',
            {'lambda_plus': 2, 'margin_plus': 0.4, 'lambda_minus': 3, 'margin_minus': 0.2},
        ),
        ('FastAPLoss', {'num_bins': 4}),
        *[('PNPLoss', {'anneal': 0.2, 'variant': variant}) for variant in ('O', 'Ds', 'Dq', 'Iu', 'Ib')],
        ('PNPLoss', {'anneal': 0.2, 'variant': 'Dq', 'alpha': 4}),
        ('PNPLoss', {'anneal': 0.2, 'variant': 'Ib', 'b': 5}),
    ],
)
def test_options(peer, name, options):
    compare(get(name, **options), getattr(peer.losses, name)(**options), labels=SEVERAL)


@pytest.mark.parametrize('name', NAMES)
def test_mined_triplets(peer, name):
    compare(
        get(name),
        getattr(peer.losses, name)(),
        TripletMarginMiner(0.2, 'semihard', distance='euclidean'),
        peer.miners.TripletMarginMiner(0.2, 'semihard'),
        labels=FEW,
    )


def test_default_options_are_theirs(peer):
    for name in (*NAMES, 'FastAPLoss', 'PNPLoss', 'RankedListLoss', 'SmoothAPLoss', 'VICRegLoss'):
        theirs = getattr(peer.losses, name, None)
        ours = get(name)
        for option in inspect.signature(theirs).parameters.values() if theirs else ():
            if option.default is not option.empty:
                assert getattr(ours, option.name) == option.default


def both(ours, theirs, *arrays, rel):
    value, slopes = value_and_grad('torch', ours, *arrays, dtype='float64')
    expected, right = value_and_grad('torch', theirs, *arrays, dtype='float64')
    assert value == pytest.approx(expected, rel=rel)
    for found, slope in zip(slopes, right, strict=True):
        assert np.abs(slope).max() > 0
        assert np.abs(found - slope).max() <= 3 * rel * np.abs(slope).max()


def test_steep_pnp(peer):
    import torch

    labels = torch.tensor(SQUARE)
    ours, theirs = get('PNPLoss'), peer.losses.PNPLoss()
    both(lambda x: ours(x, labels), lambda x: theirs(x, labels), cases.vectors(25, 16), rel=1e-9)


@pytest.mark.parametrize('temperature', [0.01, 0.2])
def test_smooth_ap_which_they_collect_in_float32(peer, temperature):
    import torch

    if not hasattr(peer.losses, 'SmoothAPLoss'):
        pytest.skip('this release has no SmoothAPLoss')
    labels = torch.tensor(SQUARE)
    ours, theirs = get('SmoothAPLoss', temperature=temperature), peer.losses.SmoothAPLoss(temperature)
    both(lambda x: ours(x, labels), lambda x: theirs(x, labels), cases.vectors(25, 16), rel=1e-6)


@pytest.mark.parametrize('options', [{'margin': 0.4, 'Tn': 10.0}, {'margin': 1.0, 'Tn': 2, 'Tp': 3, 'imbalance': 0.2}])
def test_ranked_list_but_for_what_they_add_to_the_weights(peer, options):
    import torch

    labels = torch.tensor(FEW)
    ours, theirs = get('RankedListLoss', **options), peer.losses.RankedListLoss(**options)
    both(lambda x: ours(x, labels), lambda x: theirs(x, labels), cases.vectors(len(FEW), 16), rel=1e-5 * len(FEW))


@pytest.mark.parametrize('width', [1, 2])
@pytest.mark.parametrize('options', [{}, {'invariance_lambda': 2, 'variance_mu': 3, 'covariance_v': 4, 'eps': 0.1}])
def test_vicreg(peer, options, width):
    import torch

    n = 12
    ours, theirs = Objective(get('VICRegLoss', **options)), peer.losses.VICRegLoss(**options)
    label = torch.arange(n).repeat(2)[:, None].int()
    codes = {'item': torch.arange(2 * n, dtype=torch.int32), 'label': label}
    layout = Layout(2 * n // width, width, 1)
    both(
        lambda a, b: ours(torch.cat([a, b]), codes, layout),
        lambda a, b: theirs(a, ref_emb=b),
        cases.vectors(n, 6),
        cases.vectors(n, 6, seed=1),
        rel=1e-9,
    )
