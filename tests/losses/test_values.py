"""Every loss on every library: its value is the naive oracle's, its slope that of numpy's central differences."""

import importlib
import pkgutil

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from tests.gradients import central_differences
from tests.losses import cases, oracles, values
from tests.losses.oracles import Tuples

# Tolerances, relative to the largest number compared: of float64 against the oracle, and of float32 against float64.
DOUBLE, SINGLE = 1e-9, 3e-6
SLOPE = {'float64': 2e-7, 'float32': 2e-4}


def cos(batch):
    return 1 - oracles.distances(*batch.columns, 'cosine')


def d(batch, name, unit):
    return oracles.distances(*batch.columns, name, unit)


def two_ways(batch, temperature):
    back = Tuples.of(batch.positives.T, batch.negatives.T)
    s = cos(batch)
    return (oracles.infonce(s, batch.tuples, temperature) + oracles.infonce(s.T, back, temperature)) / 2


def own(batch):
    a, b = batch.columns
    return [[np.dot(a[i], c[i]) for i in range(len(a))] for c in b.reshape(batch.layout.width - 1, *a.shape)]


def own_cosine(batch):
    a, b = batch.columns
    return [oracles.cosine(a[i], b[i]) for i in range(len(a))]


def classified(batch):
    item, label, n = batch.codes['item'], batch.codes['label'], batch.layout.n_classes
    near = np.array([[i >= 0 and c in row for c in range(n)] for i, row in zip(item, label, strict=True)])
    far = np.array([[i >= 0 and c not in row for c in range(n)] for i, row in zip(item, label, strict=True)])
    s = 1 - oracles.distances(batch.columns[0], cases.class_weights(4).astype(float), 'cosine')
    return s, Tuples.of(near, far)


def reducers(name, make, oracle):
    return [
        (f'{name} {reducer}', make(reducer), batch, oracle(reducer))
        for reducer in ('mean', 'nonzero', 'anchor', 'sum')
        for batch in (RELATED if reducer == 'mean' else RELATED[:1])
    ]


RELATED = [cases.classes, cases.several_labels, cases.sessions, cases.pairs]

# (name, objective, batch, the oracle's value)
CASES = [
    *reducers(
        'ContrastiveLoss',
        lambda r: Objective(get('ContrastiveLoss', pos_margin=0.3, neg_margin=1.2, reducer=r)),
        lambda r: lambda b: oracles.contrastive(d(b, 'euclidean', True), b.tuples, 0.3, 1.2, r),
    ),
    *reducers(
        'SiameseLoss',
        lambda r: Objective(get('SiameseLoss', margin=0.9, reducer=r)),
        lambda r: lambda b: oracles.siamese(d(b, 'cosine', True), b.tuples, 0.9, r),
    ),
    *reducers(
        'TripletMarginLoss',
        lambda r: Objective(get('TripletMarginLoss', reducer=r)),
        lambda r: lambda b: oracles.triplet(d(b, 'euclidean', True), b.tuples, 0.05, r),
    ),
    *reducers(
        'InfoNCELoss',
        lambda r: Objective(get('InfoNCELoss', temperature=0.2, reducer=r)),
        lambda r: lambda b: oracles.infonce(cos(across(b)), across(b).tuples, 0.2, r),
    ),
    *[
        (
            f'{name} {distance} unit={unit}',
            Objective(get(name, distance=distance, normalize=unit)),
            cases.classes,
            value,
        )
        for distance in ('cosine', 'euclidean', 'sqeuclidean')
        for unit in (True, False)
        for name, value in {
            'ContrastiveLoss': lambda b, n=distance, u=unit: oracles.contrastive(d(b, n, u), b.tuples),
            'SiameseLoss': lambda b, n=distance, u=unit: oracles.siamese(d(b, n, u), b.tuples),
            'TripletMarginLoss': lambda b, n=distance, u=unit: oracles.triplet(d(b, n, u), b.tuples, 0.05, 'nonzero'),
            'TripletLoss': lambda b, n=distance, u=unit: oracles.triplet(d(b, n, u), b.tuples, 1.0, 'mean'),
        }.items()
    ],
    *[
        (f'{name} on {batch.__name__}', Objective(get(name)), batch, value)
        for batch in (cases.classes, cases.several_labels, cases.sessions, cases.pairs, cases.views, cases.many)
        for name, value in {
            'NTXentLoss': lambda b: oracles.infonce(cos(across(b)), across(b).tuples, 0.1),
            'TripletLoss': lambda b: oracles.triplet(d(b, 'cosine', True), b.tuples, 1.0, 'mean'),
            'MultiSimilarityLoss': lambda b: real_rows(b, oracles.multi_similarity),
        }.items()
    ],
    (
        'InfoNCELoss symmetric',
        Objective(get('InfoNCELoss', temperature=0.3, symmetric=True)),
        cases.pairs,
        lambda b: two_ways(b, 0.3),
    ),
    *[
        (f'ArcFaceLoss on {batch.__name__}', Objective(get('ArcFaceLoss', **o)), batch, arc)
        for batch in (cases.classes, cases.several_labels)
        for o in ({}, {'margin': 100.0, 'scale': 2.0, 'reducer': 'sum'})
        for arc in [lambda b, o=o: oracles.arcface(*classified(b), **o)]
    ],
    ('CoSENTLoss', Objective(get('CoSENTLoss')), cases.scored, lambda b: cosent(b, True)),
    ('CoSENTLoss sum', Objective(get('CoSENTLoss', normalize=False)), cases.scored, lambda b: cosent(b, False)),
    ('MarginMSELoss', Objective(get('MarginMSELoss')), cases.margins, lambda b: margin_mse(b)),
    ('MarginMSELoss of two scores', Objective(get('MarginMSELoss')), lambda: cases.margins(2), lambda b: margin_mse(b)),
    *[
        (
            f'{name} of {kind} triplets on {batch.__name__} judged by {distance}',
            Objective(get(name), TripletMarginMiner(0.3, kind, distance)),
            batch,
            lambda b, k=kind, n=distance, own_=own_, value=value: value(
                b, b.tuples.keep(oracles.in_band(d(b, n or own_, True), k, 0.3))
            ),
        )
        for kind in ('all', 'hard', 'semihard', 'easy')
        for batch, distance in ((cases.classes, None), (cases.classes, 'sqeuclidean'), (cases.many, None))
        for name, own_, value in (
            ('ContrastiveLoss', 'euclidean', lambda b, t: oracles.contrastive(d(b, 'euclidean', True), t)),
            ('SiameseLoss', 'cosine', lambda b, t: oracles.siamese(d(b, 'cosine', True), t)),
            ('TripletLoss', 'cosine', lambda b, t: oracles.triplet(d(b, 'cosine', True), t, 1.0, 'mean')),
            (
                'TripletMarginLoss',
                'euclidean',
                lambda b, t: oracles.triplet(d(b, 'euclidean', True), t, 0.05, 'nonzero'),
            ),
            ('InfoNCELoss', 'cosine', lambda b, t: oracles.infonce(cos(b), t, 0.07)),
            ('MultiSimilarityLoss', 'cosine', lambda b, t: oracles.multi_similarity(cos(b), t)),
        )
        # SiameseLoss and TripletLoss leave vectors as they are, so the oracle's directions are not theirs.
        if distance is None or name not in ('SiameseLoss', 'TripletLoss')
    ],
]


# Every module in `values` has further CASES of a family of losses, with their oracles.
for found in pkgutil.iter_modules(values.__path__):
    CASES += importlib.import_module(f'{values.__name__}.{found.name}').CASES


def across(batch):
    return cases.sessions(across=True) if 'session' in batch.codes else batch


def real_rows(batch, oracle):
    # The oracle's mean is over all rows; rows that only fill the batch have no pair and no term.
    rows = (batch.positives | batch.negatives).any(axis=1)
    return oracle(cos(batch), batch.tuples) * len(rows) / rows.sum()


def cosent(batch, normalize):
    return oracles.cosent(own_cosine(batch), batch.codes['score'][:, 0].astype(float).tolist(), normalize=normalize)


def margin_mse(batch):
    score = batch.codes['score'].astype(float)
    target = score[:, 0] - score[:, 1] if score.shape[1] == 2 else score[:, 0]
    return oracles.margin_mse(*own(batch), target.tolist())


@pytest.mark.backends('numpy', 'torch', 'keras-tensorflow', 'keras-torch', 'paddle')
@pytest.mark.parametrize('case', CASES, ids=[f'{case[0]} ({i})' for i, case in enumerate(CASES)])
def test_value_is_the_oracles_and_slope_that_of_central_differences(library, case):
    compare(library, *case[1:])


def compare(library, objective, batch, oracle):
    batch = batch()
    if len(batch.embeddings) > 20:
        batch = batch._replace(embeddings=batch.embeddings[:, :3])  # few numbers to differentiate
    expected = oracle(batch)
    learned = cases.learned(objective, batch.embeddings.shape[1], batch.layout.n_classes)
    names = list(learned)
    arrays = [batch.embeddings, *learned.values()]

    def reference(x, *weights):
        return objective(x, batch.codes, batch.layout, dict(zip(names, weights, strict=True)))

    assert reference(*(a.astype(float) for a in arrays)) == pytest.approx(expected, rel=DOUBLE, abs=DOUBLE)
    if library.name == 'numpy':
        assert reference(*arrays) == pytest.approx(expected, rel=SINGLE, abs=SINGLE)
        return
    slopes = central_differences(reference, *arrays)
    for dtype, near in {'float32': SINGLE, 'float64': DOUBLE}.items():
        if dtype == 'float32' or library.float64:
            value, found = library.run(objective, batch, *arrays[1:], dtype=dtype)
            assert value == pytest.approx(expected, rel=near, abs=near)
            for slope, right in zip(found, slopes, strict=True):
                assert np.abs(slope - right).max() <= SLOPE[dtype] * max(np.abs(right).max(), 1e-3)
