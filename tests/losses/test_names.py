"""Losses and miners by name, and what people are told about names that are none."""

import pickle
import re
import subprocess
import sys
from dataclasses import fields

import pytest

from finetuner import losses
from finetuner.errors import ArgumentError
from finetuner.losses import miners, names
from finetuner.losses.base import Loss
from finetuner.losses.miners.base import Miner
from finetuner.losses.names import LOSSES, MINERS, WRAPPERS, as_loss, build, find, get
from finetuner.losses.registry import resolve


@pytest.mark.parametrize('name', LOSSES)
def test_losses(name):
    loss = get(name)
    assert isinstance(loss, Loss)
    assert type(loss) is getattr(losses, name)
    assert name in dir(losses) and name in losses.__all__
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(loss) == hash(get(name))


@pytest.mark.parametrize('name', MINERS)
def test_miners(name):
    miner = get(name, 'miner')
    assert isinstance(miner, Miner)
    assert type(miner) is getattr(miners, name)
    assert name in dir(miners) and name in miners.__all__
    assert pickle.loads(pickle.dumps(miner)) == miner


@pytest.mark.parametrize('name', LOSSES)
def test_losses_say_when_to_use_them_what_they_take_and_where_from(name):
    text = find(name).__doc__
    assert 'When to use: ' in text and 'Source: ' in text and '>>> ' in text
    for field in fields(find(name)):
        assert f'        {field.name}: ' in text


@pytest.mark.parametrize('name', [name for name in MINERS if ':' not in MINERS[name]])
def test_miners_say_when_to_use_them_and_what_they_take(name):
    text = find(name, 'miner').__doc__
    assert 'When to use: ' in text and '>>> ' in text
    for field in fields(find(name, 'miner')):
        assert f'        {field.name}: ' in text


def test_the_originals_spelling():
    assert find('NTXLoss') is find('NTXentLoss')


def test_options():
    assert get('TripletLoss', margin=0.3).margin == 0.3
    assert get('TripletEasyHardMiner', 'miner', neg_strategy='easy').neg_strategy == 'easy'


@pytest.mark.parametrize(
    ('name', 'kind', 'message'),
    [
        ('TripletMargin', 'loss', r"There is no loss 'TripletMargin'. Did you mean 'TripletMarginLoss'"),
        ('infonceloss', 'loss', "Did you mean 'InfoNCELoss'"),
        ('xyz', 'loss', 'Known are: AnglELoss, AngularLoss'),
        ('TripletMarginLoss', 'miner', "There is no miner 'TripletMarginLoss'. Did you mean 'TripletMarginMiner'"),
        ('GenericPairLoss', 'loss', 'is a building block: use ContrastiveLoss'),
        (
            'CachedGISTEmbedLoss',
            'loss',
            r'is GISTEmbedLoss in small parts: take that with fit\(…, mini_batch_size=32\)',
        ),
        ('WeightRegularizerMixin', 'loss', 'use RegularizedLoss'),
        ('P2SGradLoss', 'loss', 'P2SGradLoss is not here: use CosFaceLoss or ArcFaceLoss'),
        ('SelfSupervisedLoss', 'loss', 'is not needed: give items without labels'),
    ],
)
def test_unknown_names(name, kind, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, kind)


@pytest.mark.parametrize(
    ('name', 'kind', 'option', 'message'),
    [
        (
            'TripletLoss',
            'loss',
            'margn',
            r"TripletLoss has no option 'margn'. Did you mean 'margin'\? It is TripletLoss\(distance='cosine'",
        ),
        ('InfoNCELoss', 'loss', 'temprature', "Did you mean 'temperature'"),
        ('TripletMarginMiner', 'miner', 'type_of_triplet', "Did you mean 'type_of_triplets'"),
        ('TripletMarginMiner', 'miner', 'xyz', 'Known are: distance, margin, type_of_triplets'),
        ('SiameseMiner', 'miner', 'margin', "AllMiner has no option 'margin'. It takes none"),
    ],
)
def test_unknown_options(name, kind, option, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, kind, **{option: 1})


@pytest.mark.parametrize(
    ('name', 'option', 'value', 'message'),
    [
        ('ContrastiveLoss', 'distance', 'euclid', "Did you mean 'euclidean'"),
        ('TripletLoss', 'reducer', 'average', "There is no reducer 'average'"),
        ('InfoNCELoss', 'temperature', 0.0, 'temperature must be a positive number, got 0.0'),
        ('NTXentLoss', 'temperature', float('nan'), 'temperature must be a positive number'),
    ],
)
def test_impossible_values(name, option, value, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **{option: value})


def test_what_is_missing_is_shown_with_the_rest():
    with pytest.raises(
        ArgumentError, match=r"needs the option 'loss'. It is CrossBatchMemory\(loss, memory_size=1024\)\."
    ):
        get('CrossBatchMemory')


def test_a_loss_of_ones_own_need_not_be_a_dataclass():
    class Own(Loss):
        def __init__(self, power=2):
            self.power = power

        def compute(self, anchors, candidates, relation, **learned):
            return (anchors**self.power).sum()

    assert build(Own, power=3).power == 3
    assert resolve(Own).loss.power == 2
    assert as_loss(Own).power == 2


def test_every_loss_that_is_not_here_says_what_to_use():
    known = {**LOSSES, **WRAPPERS}
    for name, sentence in names._NO_LOSSES.items():
        assert name not in known
        used = re.findall(r'\w*Loss\b', sentence)
        assert used
        assert {*used} <= {*known, 'Loss'}


def test_a_missing_attribute_is_no_loss():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = losses.Nothing
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = miners.Nothing


def test_names_are_known_without_importing_formulas():
    code = 'import sys, finetuner.losses; assert not any("infonce" in m or m == "torch" for m in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
