"""Options of any kind: each is refused in words, or trains."""

from dataclasses import fields

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.names import LOSSES, MINERS, REGULARIZERS, WRAPPERS, find, get
from finetuner.losses.objective import Objective
from finetuner.losses.registry import resolve
from finetuner.losses.relation import Scores
from finetuner.tuner.optimizers import for_loss
from tests.losses import cases

VALUES = [None, 'a', float('nan'), [1], -1]
NEEDED = {
    'CrossBatchMemory': {'loss': 'TripletLoss'},
    'MatryoshkaLoss': {'loss': 'InfoNCELoss', 'dims': [3, 2]},
    'MultipleLosses': {'losses': ['InfoNCELoss']},
    'RegularizedLoss': {'loss': 'InfoNCELoss', 'embedding_regularizer': 'LpRegularizer'},
}
KINDS = [*((name, 'loss') for name in [*LOSSES, *WRAPPERS]), *((name, 'miner') for name in MINERS)]
KINDS += [(name, 'regularizer') for name in REGULARIZERS]
OPTIONS = [(name, kind, field.name) for name, kind in KINDS for field in fields(find(name, kind))]


def value_of(made, kind):
    loss = made if kind == 'loss' else get('TripletMarginLoss')
    if kind == 'regularizer':
        several = get('SoftTripleLoss', centers_per_class=2)
        loss = get('RegularizedLoss', loss=several, **{'weight_regularizer': made})
    batch = cases.views()
    if loss.expects is Scores:
        batch = cases.scored() if loss.columns == 2 else cases.margins(2 if 'KL' in type(loss).__name__ else 1)
    miner = made.prepared(5) if kind == 'miner' else None
    objective = Objective(loss, miner)
    codes = dict(batch.codes)
    rows = len(batch.embeddings)
    codes['guide'] = cases.vectors(rows, seed=4)
    codes['lots'] = np.random.default_rng(0).random((rows, miner.lots(batch.layout) if miner else 1), np.float32)
    learned = cases.learned(objective, 5, max(batch.layout.n_classes or 0, 4))
    return objective(batch.embeddings, codes, batch.layout, learned)


@pytest.mark.parametrize(('name', 'kind', 'option'), OPTIONS)
def test_an_option_is_refused_or_trains(name, kind, option):
    for value in VALUES:
        try:
            made = get(name, kind, **(NEEDED.get(name, {}) | {option: value}))
        except ArgumentError:
            continue
        assert np.isfinite(float(value_of(made, kind))), value


@pytest.mark.parametrize(('name', 'kind', 'option'), OPTIONS)
def test_numbers_of_numpy_are_kept_as_pythons(name, kind, option):
    usual = getattr(get(name, kind, **NEEDED.get(name, {})), option)
    if isinstance(usual, bool | int | float):
        kept = getattr(get(name, kind, **(NEEDED.get(name, {}) | {option: np.asarray(usual)[()]})), option)
        assert kept == usual
        assert type(kept) is type(usual)


@pytest.mark.parametrize(
    ('name', 'given', 'message'),
    [
        ('ArcFaceLoss', {'margin': '20'}, "margin must be a finite number of at least 0 and below 180, got '20'"),
        ('ArcFaceLoss', {'scale': 1e40}, 'scale must be a positive number, got 1e'),
        ('InfoNCELoss', {'temperature': None}, 'temperature must be a positive number, got None'),
        ('CircleLoss', {'m': True}, 'm must be a finite number, got True'),
        ('CoSENTLoss', {'scale': -1}, 'scale must be a positive number, got -1'),
        ('CoSENTLoss', {'normalize': 'no'}, "normalize must be True or False, got 'no'"),
        ('FastAPLoss', {'num_bins': 'a'}, "num_bins must be a whole number of at least 1, got 'a'"),
        ('TripletLoss', {'distance': ['x']}, r"There is no distance \['x'\]. Known are: cosine, euclidean"),
        ('TripletLoss', {'reducer': None}, 'There is no reducer None'),
        ('TripletLoss', {'miner': 5}, r'miner must be a miner, such as TripletEasyHardMiner\(\), got 5'),
        ('MultipleNegativesRankingLoss', {'directions': 5}, "directions=5: expected 'query_to_doc'"),
        ('MatryoshkaLoss', {'loss': 'InfoNCELoss', 'dims': ['a']}, r"dims=\['a'\]: expected sizes"),
    ],
)
def test_what_is_said(name, given, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **given)


@pytest.mark.parametrize('given', ['margin', ['lr'], 3, {1: 2}])
def test_options_are_given_by_name(given):
    with pytest.raises(ArgumentError, match='loss_options must be a dict of options by name, such as'):
        options.mapping('loss_options', given)
    with pytest.raises(ArgumentError, match='loss_optimizer_options must be a dict'):
        for_loss('SGD', given)
    with pytest.raises(ArgumentError, match='loss_options must be a dict'):
        resolve('TripletLoss', loss_options=given)
    with pytest.raises(ArgumentError, match='miner_options must be a dict'):
        resolve('TripletLoss', 'TripletMarginMiner', miner_options=given)
    assert options.mapping('loss_options', None) == {}
