"""Losses made of others: several, cut vectors, regularizers, and these in one another."""

import math

import numpy as np

from finetuner.losses import get
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.oracles import Tuples


def triplet(batch, dim=None):
    a, b = cut(batch, dim)
    return oracles.triplet(oracles.distances(a, b, 'cosine'), batch.tuples, 1.0, 'mean')


def infonce(batch, dim=None, temperature=0.2):
    if 'session' in batch.codes:
        batch = cases.sessions(across=True)
    a, b = cut(batch, dim)
    return oracles.infonce(1 - oracles.distances(a, b, 'cosine'), batch.tuples, temperature)


def arcface(batch, weights, dim=None):
    item, label, n = batch.codes['item'], batch.codes['label'], batch.layout.n_classes
    own = [[i >= 0 and c in row for c in range(n)] for i, row in zip(item, label, strict=True)]
    far = [[i >= 0 and c not in row for c in range(n)] for i, row in zip(item, label, strict=True)]
    d = oracles.distances(cut(batch, dim)[0], weights[:, :dim].astype(float), 'cosine')
    return oracles.arcface(1 - d, Tuples.of(np.array(own), np.array(far)))


def cut(batch, dim):
    a, b = batch.columns
    return a[:, :dim], b[:, :dim]


def real(batch):
    x, item = batch.embeddings.astype(float).tolist(), batch.codes['item']
    return [row for row, i in zip(x, item, strict=True) if i >= 0]


def lp(rows, p=2, power=1):
    return mean([sum(abs(v) ** p for v in row) ** (power / p) for row in rows])


def zero_mean(rows):
    return mean([abs(sum(row)) for row in rows])


def center_invariant(rows):
    squares = [sum(v * v for v in row) for row in rows]
    return mean([(s - mean(squares)) ** 2 / 4 for s in squares])


def regular_face(rows, centers=1):
    found = []
    for i, row in enumerate(rows):
        others = [other for j, other in enumerate(rows) if j // centers != i // centers]
        found.append(max(oracles.cosine(np.array(row), np.array(other)) for other in others))
    return mean(found)


def sparse_centers(rows, centers):
    near = [
        oracles.distance(np.array(rows[i]), np.array(rows[j]))
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if i // centers == j // centers
    ]
    return mean(near) / 2


def mean(values):
    return math.fsum(values) / len(values)


def learned(objective, batch, name='classes'):
    return cases.learned(objective, batch.embeddings.shape[1], batch.layout.n_classes)[name]


def cosent(batch, dim):
    a, b = cut(batch, dim)
    cosines = [oracles.cosine(u, v) for u, v in zip(a, b, strict=True)]
    return oracles.cosent(cosines, batch.codes['score'][:, 0].astype(float).tolist())


def margin(batch):
    """With one beta for each class, as objective on its own: what counts here is who gets it."""
    own = {'beta': learned(BY_CLASS, batch, 'beta_0').astype(float)}
    single = Objective(get(PER_CLASS[0], **PER_CLASS[1]))
    return float(single(batch.embeddings.astype(float), batch.codes, batch.layout, own))


INFONCE = ('InfoNCELoss', {'temperature': 0.2})
BOTH = Objective(get('MultipleLosses', losses=['TripletLoss', INFONCE], weights=[0.5, 2]))
PER_CLASS = ('MarginLoss', {'learn_beta': True, 'beta_per_class': True})
BY_CLASS = Objective(get('MultipleLosses', losses=[PER_CLASS, 'TripletLoss']))
GRADED = Objective(get('MatryoshkaLoss', loss='CoSENTLoss', dims=[4, 2]))
MIXED = Objective(get('MultipleLosses', losses=['ArcFaceLoss', 'TripletLoss', 'ArcFaceLoss']))
CUT = Objective(get('MatryoshkaLoss', loss=INFONCE, dims=[3, 2], weights=[1, 0.3]))
HALVED = Objective(get('MatryoshkaLoss', loss='ArcFaceLoss'))
REMEMBERED = Objective(get('CrossBatchMemory', loss=('MatryoshkaLoss', {'loss': INFONCE, 'dims': [3, 2]})))
NESTED = Objective(
    get(
        'MultipleLosses',
        losses=[
            (
                'MatryoshkaLoss',
                {'loss': ('MultipleLosses', {'losses': ['TripletLoss', 'ArcFaceLoss']}), 'dims': (2, 1)},
            ),
            ('RegularizedLoss', {'loss': 'ArcFaceLoss', 'weight_regularizer': 'LpRegularizer'}),
        ],
    )
)


def nested(batch):
    first, second = learned(NESTED, batch, 'classes_1_0'), learned(NESTED, batch, 'classes_1')
    both = sum(triplet(batch, dim) + arcface(batch, first, dim) for dim in (2, 1))
    return both + arcface(batch, second) + lp(second.astype(float).tolist())


def of_embeddings(options, oracle, batches=(cases.classes,)):
    loss = get('RegularizedLoss', loss='TripletLoss', embedding_reg_weight=0.3, embedding_regularizer=options)
    value = lambda b: triplet(b) + 0.3 * oracle(real(b))  # noqa: E731
    return [(f'RegularizedLoss {options} on {batch.__name__}', Objective(loss), batch, value) for batch in batches]


def of_classes(options, oracle, inner='ArcFaceLoss'):
    objective = Objective(get('RegularizedLoss', loss=inner, weight_reg_weight=0.3, weight_regularizer=options))
    plain = Objective(get(inner[0], **inner[1])) if isinstance(inner, tuple) else None

    def value(batch):
        weights = learned(objective, batch)
        if plain is None:
            loss = arcface(batch, weights)
        else:  # whose own oracle is elsewhere
            loss = plain(batch.embeddings.astype(float), batch.codes, batch.layout, {'classes': weights.astype(float)})
        return loss + 0.3 * oracle(weights.astype(float).tolist())

    return [(f'RegularizedLoss of classes, {options}', objective, cases.classes, value)]


CASES = [
    *[
        ('MultipleLosses', BOTH, batch, lambda b: 0.5 * triplet(b) + 2 * infonce(b))
        for batch in (cases.classes, cases.sessions, cases.pairs)
    ],
    *[
        (
            'MultipleLosses of items and classes',
            MIXED,
            batch,
            lambda b: sum(arcface(b, learned(MIXED, b, f'classes_{i}')) for i in (0, 2)) + triplet(b),
        )
        for batch in (cases.classes, cases.several_labels)
    ],
    *[
        ('MatryoshkaLoss', CUT, batch, lambda b: infonce(b, 3) + 0.3 * infonce(b, 2))
        for batch in (cases.classes, cases.sessions, cases.pairs)
    ],
    (
        'MatryoshkaLoss of classes',
        HALVED,
        cases.several_labels,
        lambda b: sum(arcface(b, learned(HALVED, b), dim) for dim in (5, 2)),
    ),
    ('MatryoshkaLoss of scores', GRADED, cases.scored, lambda b: cosent(b, 4) + cosent(b, 2)),
    ('MultipleLosses, one by class', BY_CLASS, cases.classes, lambda b: margin(b) + triplet(b)),
    ('CrossBatchMemory of MatryoshkaLoss', REMEMBERED, cases.classes, lambda b: infonce(b, 3) + infonce(b, 2)),
    ('wrappers in wrappers', NESTED, cases.classes, nested),
    *of_embeddings('LpRegularizer', lp, (cases.classes, cases.several_labels, cases.pairs)),
    *of_embeddings(('LpRegularizer', {'p': 1}), lambda rows: lp(rows, 1)),
    *of_embeddings(('LpRegularizer', {'p': 3, 'power': 2}), lambda rows: lp(rows, 3, 2)),
    *of_embeddings('ZeroMeanRegularizer', zero_mean, (cases.classes, cases.sessions)),
    *of_embeddings('CenterInvariantRegularizer', center_invariant, (cases.several_labels,)),
    *of_embeddings('RegularFaceRegularizer', lambda rows: regular_face(rows), (cases.several_labels,)),
    *of_classes('LpRegularizer', lp),
    *of_classes('CenterInvariantRegularizer', center_invariant),
    *of_classes('RegularFaceRegularizer', regular_face),
    *of_classes(
        'RegularFaceRegularizer',
        lambda rows: regular_face(rows, 3),
        ('SubCenterArcFaceLoss', {'sub_centers': 3}),
    ),
    *of_classes(
        'SparseCentersRegularizer',
        lambda rows: sparse_centers(rows, 3),
        ('SoftTripleLoss', {'centers_per_class': 3}),
    ),
]
