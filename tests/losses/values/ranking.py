"""Losses on sets of pairs and on ranked lists: Circle has its own test, for its weights have no slope."""

import math

import numpy as np

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.oracles import Tuples, reduced


def cos(batch):
    return 1 - oracles.distances(*batch.columns, 'cosine')


def euclidean(batch):
    return oracles.distances(*batch.columns, 'euclidean', True)


def of(found, anchor):
    """The other ends of an anchor's pairs, as often as they count."""
    return [j for i, j in found if i == anchor]


def once(tuples):
    return tuples._replace(positives=sorted(set(tuples.positives)), negatives=sorted(set(tuples.negatives)))


def mean(terms):
    return sum(terms) / len(terms) if terms else 0.0


def circle(s, tuples, m=0.4, gamma=80.0, reducer='mean', weights=None):
    w = s if weights is None else weights
    terms = []
    for a in range(len(s)):
        exponents = [
            gamma * (max(w[a, n] + m, 0) * (s[a, n] - m) - max(1 + m - w[a, p], 0) * (s[a, p] - 1 + m))
            for n in of(tuples.negatives, a)
            for p in of(tuples.positives, a)
        ]
        if exponents:
            terms.append((a, math.log1p(sum(math.exp(e) for e in exponents))))
    return reduced(terms, reducer)


def lifted(batch, tuples, neg_margin=1.0, pos_margin=0.0, distance='euclidean', normalize=True, reducer='mean'):
    d = oracles.distances(*batch.columns, distance, normalize)
    terms = []
    for a, p in tuples.positives:
        far = [d[a, n] for n in of(tuples.negatives, a)]
        if batch.layout.width == 1:
            far += [d[p, n] for n in of(tuples.negatives, p)]
        else:
            far += [d[i, p] for i, n in tuples.negatives if n == p]
        cost = d[a, p] - pos_margin + math.log(sum(math.exp(neg_margin - x) for x in far)) if far else 0.0
        terms.append((a, max(cost, 0.0) ** 2 / 2))
    return reduced(terms, reducer)


def generalized(batch, tuples, neg_margin=1.0, pos_margin=0.0, distance='euclidean', normalize=True, reducer='mean'):
    d = oracles.distances(*batch.columns, distance, normalize)
    terms = []
    for a in range(len(d)):
        if not (batch.positives[a].any() or batch.negatives[a].any()):
            continue
        near = [math.exp(d[a, p] - pos_margin) for p in of(tuples.positives, a)]
        far = [math.exp(neg_margin - d[a, n]) for n in of(tuples.negatives, a)]
        terms.append((a, max(sum(math.log(sum(x)) for x in (near, far) if x), 0.0)))
    return reduced(terms, reducer)


def tuplet(s, tuples, margin=5.73, scale=64.0, reducer='mean'):
    terms = []
    for a, p in tuples.positives:
        own = math.cos(math.acos(s[a, p]) - math.radians(margin))
        terms.append((a, math.log1p(sum(math.exp(scale * (s[a, n] - own)) for n in of(tuples.negatives, a)))))
    return reduced(terms, reducer)


def intra_pair(s, tuples, pos_eps=0.01, neg_eps=0.01, reducer='mean'):
    near, far = (mean([s[i, j] for i, j in found]) for found in (tuples.positives, tuples.negatives))
    towards = [(a, max((1 - pos_eps) * near - s[a, p], 0.0) ** 2) for a, p in tuples.positives]
    away = [(a, max(s[a, n] - (1 + neg_eps) * far, 0.0) ** 2) for a, n in tuples.negatives]
    return reduced(towards, reducer) + reduced(away, reducer)


def threshold(s, tuples, lambda_plus=1.0, lambda_minus=1.0, margin_plus=0.9, margin_minus=0.5, reducer='nonzero'):
    near = [(a, max(margin_plus - s[a, p], 0.0)) for a, p in tuples.positives]
    far = [(a, max(s[a, n] - margin_minus, 0.0)) for a, n in tuples.negatives]
    return lambda_plus * reduced(near, reducer) + lambda_minus * reduced(far, reducer)


def supcon(s, tuples, temperature=0.1, reducer='mean'):
    terms = []
    for a in range(len(s)):
        near = of(tuples.positives, a)
        others = near + of(tuples.negatives, a)
        total = sum(math.exp(s[a, j] / temperature) for j in others)
        if near and len(others) > 1:
            terms.append((a, -mean([math.log(math.exp(s[a, p] / temperature) / total) for p in near])))
    return reduced(terms, reducer)


def fastap(batch, tuples, num_bins=10, reducer='mean'):
    d = oracles.distances(*batch.columns, 'sqeuclidean', True)
    width = 4 / num_bins
    terms = []
    for a in range(len(d)):
        near, every = [[0.0] * (num_bins + 1) for _ in range(2)]
        for j in of(tuples.positives, a) + of(tuples.negatives, a):
            low = int(d[a, j] / width)
            part = d[a, j] / width - low
            for bin_, share in ((low, 1 - part), (low + 1, part)):
                every[bin_] += share
                near[bin_] += share if (a, j) in tuples.positives else 0
        total = sum(h * sum(near[: i + 1]) / sum(every[: i + 1]) for i, h in enumerate(near) if h)
        if of(tuples.positives, a):
            terms.append((a, 1 - total / len(of(tuples.positives, a))))
    return reduced(terms, reducer)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def lists(s, tuples):
    """By anchor with positives: the similarities of its positives, itself first, and of its negatives."""
    for a in range(len(s)):
        if of(tuples.positives, a):
            yield a, [1.0] + [s[a, p] for p in of(tuples.positives, a)], [s[a, n] for n in of(tuples.negatives, a)]


def smoothap(s, tuples, temperature=0.01, reducer='mean'):
    terms = []
    for a, near, far in lists(s, tuples):
        precisions = []
        for i, own in enumerate(near):
            among = 1 + sum(sigmoid((x - own) / temperature) for j, x in enumerate(near) if j != i)
            precisions.append(among / (among + sum(sigmoid((x - own) / temperature) for x in far)))
        terms.append((a, 1 - mean(precisions)))
    return reduced(terms, reducer)


def pnp(s, tuples, b=2.0, alpha=1.0, anneal=0.01, variant='O', reducer='mean'):
    judge = {
        'O': lambda r: r,
        'Ds': lambda r: math.log1p(r),
        'Dq': lambda r: 1 - 1 / (1 + r) ** alpha,
        'Iu': lambda r: (1 + r) * math.log1p(r),
        'Ib': lambda r: (b * r - math.log1p(b * r)) / b**2,
    }[variant]
    terms = [
        (a, mean([judge(sum(sigmoid((x - own) / anneal) for x in far)) for own in near]))
        for a, near, far in lists(s, tuples)
    ]
    return reduced(terms, reducer)


def ranked_list(batch, tuples, margin=0.4, Tn=10.0, imbalance=0.5, alpha=None, Tp=0.0, distance='euclidean'):
    d = oracles.distances(*batch.columns, distance, True)
    alpha = 1 + margin / 2 if alpha is None else alpha

    def weighed(costs, temperature):
        weights = [math.exp(temperature * c) for c in costs]
        return sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights) if costs else 0.0

    terms = []
    for a in range(len(d)):
        if batch.positives[a].any() or batch.negatives[a].any():
            near = [d[a, p] - alpha + margin for p in of(tuples.positives, a) if d[a, p] > alpha - margin]
            far = [alpha - d[a, n] for n in of(tuples.negatives, a) if d[a, n] < alpha]
            terms.append((1 - imbalance) * weighed(near, Tp) + imbalance * weighed(far, Tn))
    return mean(terms)


def noise_to_signal(batch):
    a, b = ([row / math.sqrt(sum(row * row)) for row in x] for x in batch.columns)
    return np.array([[np.var(x - y, ddof=1) / np.var(x, ddof=1) for y in b] for x in a])


def one_class():
    return cases.classes((0, 0, 0, 0))


def strangers():
    return cases.classes((0, 1, 2, 3, -1, 5))


def across(batch):
    return cases.sessions(across=True) if 'session' in batch.codes else batch


# By name: the oracle of (batch, tuples, **options), the distance that a miner judges by, and whether other sessions
# are negatives and a mined pair counts once.
LOSSES = {
    'LiftedStructureLoss': (lifted, euclidean, False, False),
    'GeneralizedLiftedStructureLoss': (generalized, euclidean, False, True),
    'TupletMarginLoss': (lambda b, t, /, **o: tuplet(cos(b), t, **o), lambda b: 1 - cos(b), True, False),
    'IntraPairVarianceLoss': (lambda b, t, /, **o: intra_pair(cos(b), t, **o), lambda b: 1 - cos(b), False, False),
    'ThresholdConsistentMarginLoss': (
        lambda b, t, /, **o: threshold(cos(b), t, **o),
        lambda b: 1 - cos(b),
        False,
        False,
    ),
    'SupConLoss': (lambda b, t, /, **o: supcon(cos(b), t, **o), lambda b: 1 - cos(b), True, True),
    'FastAPLoss': (fastap, lambda b: 2 - 2 * cos(b), True, True),
    'SmoothAPLoss': (lambda b, t, /, **o: smoothap(cos(b), t, **o), lambda b: 1 - cos(b), True, True),
    'PNPLoss': (lambda b, t, /, **o: pnp(cos(b), t, **o), lambda b: 1 - cos(b), True, True),
    'RankedListLoss': (ranked_list, euclidean, False, True),
    'SignalToNoiseRatioContrastiveLoss': (
        lambda b, t, /, **o: oracles.contrastive(noise_to_signal(b), t, **o),
        noise_to_signal,
        False,
        False,
    ),
}
OPTIONS = [
    ('LiftedStructureLoss', {'neg_margin': 0.5, 'pos_margin': 0.9, 'distance': 'sqeuclidean', 'reducer': 'nonzero'}),
    ('LiftedStructureLoss', {'normalize': False, 'reducer': 'anchor'}),
    ('GeneralizedLiftedStructureLoss', {'neg_margin': -2.0, 'pos_margin': 0.9, 'distance': 'cosine'}),
    ('GeneralizedLiftedStructureLoss', {'normalize': False, 'reducer': 'sum'}),
    ('TupletMarginLoss', {'margin': 20.0, 'scale': 4.0, 'reducer': 'anchor'}),
    ('IntraPairVarianceLoss', {'pos_eps': 0.5, 'neg_eps': 0.4, 'reducer': 'nonzero'}),
    ('SupConLoss', {'temperature': 0.5, 'reducer': 'sum'}),
    (
        'ThresholdConsistentMarginLoss',
        {'lambda_plus': 2.0, 'lambda_minus': 3.0, 'margin_plus': 0.3, 'margin_minus': 0.1, 'reducer': 'mean'},
    ),
    ('FastAPLoss', {'num_bins': 3, 'reducer': 'sum'}),
    ('SmoothAPLoss', {'temperature': 0.2, 'reducer': 'sum'}),
    *[('PNPLoss', {'anneal': 0.1, 'variant': variant}) for variant in ('O', 'Ds', 'Dq', 'Iu', 'Ib')],
    ('PNPLoss', {'anneal': 0.1, 'variant': 'Dq', 'alpha': 3.0, 'reducer': 'sum'}),
    ('PNPLoss', {'anneal': 0.1, 'variant': 'Ib', 'b': 5.0}),
    ('RankedListLoss', {'margin': 1.0, 'Tn': 3.0, 'Tp': 2.0, 'imbalance': 0.3}),
    ('RankedListLoss', {'alpha': 1.6, 'Tn': 0.0, 'distance': 'sqeuclidean'}),
    ('SignalToNoiseRatioContrastiveLoss', {'pos_margin': 0.5, 'neg_margin': 2.5, 'reducer': 'mean'}),
]


def value(name, options):
    oracle, _, wide, _ = LOSSES[name]

    def expected(batch):
        batch = across(batch) if wide else batch
        return oracle(batch, batch.tuples, **options)

    return expected


def mined(name, options):
    oracle, distance, _, alone = LOSSES[name]

    def expected(batch):
        tuples: Tuples = batch.tuples.keep(oracles.in_band(distance(batch), 'all', 0.3))
        return oracle(batch, once(tuples) if alone else tuples, **options)

    return expected


# Margins that mined negatives do not keep.
WIDE = {
    'SignalToNoiseRatioContrastiveLoss': {'neg_margin': 4.0},
    'ThresholdConsistentMarginLoss': {'margin_minus': -0.9},
}
CASES = [
    *[
        (f'{name} on {batch.__name__}', Objective(get(name)), batch, value(name, {}))
        for name in LOSSES
        for batch in (cases.classes, cases.several_labels, cases.sessions, cases.pairs)
    ],
    *[
        (f'{name} {options}', Objective(get(name, **options)), cases.classes, value(name, options))
        for name, options in OPTIONS
    ],
    *[
        (
            f'{name} of mined triplets on {batch.__name__}',
            Objective(get(name, **WIDE.get(name, {})), TripletMarginMiner(0.3, 'all')),
            batch,
            mined(name, WIDE.get(name, {})),
        )
        for name in LOSSES
        for batch in ((cases.classes, cases.pairs) if name == 'LiftedStructureLoss' else (cases.classes,))
    ],
    *[
        (f'{name} of {batch.__name__}', Objective(get(name)), batch, value(name, {}))
        for name in LOSSES
        for batch in (one_class, strangers)
    ],
]
