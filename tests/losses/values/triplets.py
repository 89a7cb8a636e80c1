"""Losses on triplets and on pairs of two classes: what they mean, in loops over tuples."""

import math

import numpy as np

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.oracles import reduced


def d(batch, name='euclidean', unit=True):
    return oracles.distances(*batch.columns, name, unit)


def cos(a, b):
    return 1 - oracles.distances(a, b, 'cosine')


def sessions_across():
    return cases.sessions(across=True)


def semihard(batch, unit=True):
    return batch.tuples.keep(oracles.in_band(d(batch, unit=unit), 'semihard', 0.3))


def softplus(x):
    return math.log(1 + math.exp(x))


def relu(x):
    return max(x, 0.0)


def triplet_margin(margin=0.05, swap=False, smooth_loss=False, reducer='nonzero', distance='euclidean', mined=False):
    def value(batch):
        near, third = d(batch, distance), oracles.distances(batch.columns[1], batch.columns[1], distance)
        terms = []
        for a, p, n in (semihard(batch) if mined else batch.tuples).triplets:
            far = min(near[a, n], third[p, n]) if swap else near[a, n]
            x = near[a, p] - far + margin
            terms.append((a, softplus(x) if smooth_loss else relu(x)))
        return reduced(terms, reducer)

    return value


def of_anchors(batch):
    """By anchor its positives and its negatives, of anchors that have both."""
    near, far = batch.tuples.positives, batch.tuples.negatives
    found = {a: ([p for b, p in near if b == a], [n for b, n in far if b == a]) for a in range(len(batch.positives))}
    return {a: both for a, both in found.items() if all(both)}


def batch_hard(cost, reducer='mean', distance='euclidean', unit=False):
    def value(batch):
        x = d(batch, distance, unit)
        return reduced(
            [
                (a, cost(max(x[a, p] for p in ps) - min(x[a, n] for n in ns)))
                for a, (ps, ns) in of_anchors(batch).items()
            ],
            reducer,
        )

    return value


def batch_semihard(margin=5.0, reducer='mean', unit=False):
    def value(batch):
        x, terms = d(batch, 'euclidean', unit), []
        for a, (ps, ns) in of_anchors(batch).items():
            for p in ps:
                beyond = [x[a, n] for n in ns if x[a, n] > x[a, p]]
                far = min(beyond) if beyond else max(x[a, n] for n in ns)
                terms.append((a, relu(x[a, p] - far + margin)))
        return reduced(terms, reducer)

    return value


def halves_of_squares(batch):
    x = d(batch, 'cosine')
    terms = [(a, x[a, p] ** 2 / 2) for a, p in batch.tuples.positives]
    return reduced(terms + [(a, relu(0.5 - x[a, n]) ** 2 / 2) for a, n in batch.tuples.negatives], 'mean')


def online_contrastive(margin=0.5, reducer='sum', distance='cosine'):
    def value(batch):
        x = d(batch, distance)
        near, far = [[(a, x[a, b]) for a, b in found] for found in batch.tuples[:2]]
        farthest = max(v for _, v in near) if near else np.mean([v for _, v in far])
        nearest = min(v for _, v in far) if far else np.mean([v for _, v in near])
        terms = [(a, v**2) for a, v in near if v > nearest]
        return reduced(terms + [(a, relu(margin - v) ** 2) for a, v in far if v < farthest], reducer)

    return value


def margin_loss(margin=0.2, nu=0.0, beta=1.2, learned=None, mined=False):
    def value(batch):
        x, boundary = d(batch), {}
        for a in range(len(x)):
            boundary[a] = beta
            if learned is not None:
                values = cases.learned(learned, 5, batch.layout.n_classes)['beta'].astype(float)
                boundary[a] = values[batch.codes['label'][a][0]] if len(values) > 1 else values[0]
        triplets = (semihard(batch) if mined else batch.tuples).triplets
        near = [relu(x[a, p] - boundary[a] + margin) for a, p, _ in triplets]
        far = [relu(boundary[a] - x[a, n] + margin) for a, _, n in triplets]
        parts = sum(part > 0 for part in near + far)
        total = sum(near + far) / parts
        if nu and len(set(boundary.values())) == 1:
            return total + nu * boundary[0]
        return total + nu * sum(boundary[a] for a, _, _ in triplets) / parts

    return value


def angular(alpha=40.0, reducer='mean'):
    def value(batch):
        first, second = [[v / math.sqrt(sum(v * v)) for v in x] for x in batch.columns]
        t, terms = math.tan(math.radians(alpha)) ** 2, []
        for a, (ps, ns) in of_anchors(batch).items():
            for p in ps:
                pull = 2 * (1 + t) * (first[a] @ second[p])
                terms.append(
                    (a, math.log(1 + sum(math.exp(4 * t * (first[a] + second[p]) @ second[n] - pull) for n in ns)))
                )
        return reduced(terms, reducer)

    return value


def npairs(batch):
    s = cos(*batch.columns)
    within = batch.layout.width == 1
    mine = {a: [p for b, p in batch.tuples.positives if b == a] for a in range(len(s))}
    theirs = {a: [n for b, n in batch.tuples.negatives if b == a] for a in range(len(s))}
    taken: dict[int, int] = {}  # positive -> anchor
    for a, ps in mine.items():
        if ps and ps[0] not in taken and not (within and min(ps) < a):
            taken[ps[0]] = a
    everybody = {p for ps in mine.values() for p in ps}
    strangers = [] if within else [c for c in range(s.shape[1]) if c not in everybody]
    terms = []
    for p, a in taken.items():
        others = sum(math.exp(s[a, n]) for n in [*taken, *strangers] if n in theirs[a])
        terms.append((a, -math.log(math.exp(s[a, p]) / (math.exp(s[a, p]) + others))))
    return reduced(terms, 'mean')


def nca(scale=1.0, distance='sqeuclidean', unit=True):
    def value(batch):
        x, terms = d(batch, distance, unit), []
        for a in range(len(x)):
            near = sum(math.exp(-scale * x[a, p]) for b, p in batch.tuples.positives if b == a)
            far = sum(math.exp(-scale * x[a, n]) for b, n in batch.tuples.negatives if b == a)
            if near:
                terms.append((a, -math.log(near / (near + far))))
        return reduced(terms, 'mean')

    return value


def centroid(margin=0.05, smooth=False, swap=False):
    def value(batch):
        first, second = batch.columns
        near, far = batch.tuples.positives, set(batch.tuples.negatives)
        mine = {a: [p for b, p in near if b == a] for a in range(len(first))}
        center = {a: sum(second[p] for p in ps) / len(ps) for a, ps in mine.items() if ps}
        within = batch.layout.width == 1
        place = {a: sum(p < a for p in ps) for a, ps in mine.items()}
        terms = []
        for a, own in center.items():
            things = []
            for n in range(len(second)):
                if (a, n) in far and (not within or place[n] == place[a] % (len(mine[n]) + 1)):
                    things.append(second[n])
            for b in center:
                others = all((a, p) in far for p in mine[b])
                if others and (not within or place[b] == place[a] % (len(mine[b]) + 1)):
                    things.append(center[b])
            for thing in things:
                away = oracles.distance(first[a], thing)
                if swap:
                    away = min(away, oracles.distance(own, thing))
                x = oracles.distance(first[a], own) - away + margin
                terms.append((a, softplus(x) if smooth else relu(x)))
        return reduced(terms, 'nonzero')

    return value


RELATED = (cases.classes, cases.several_labels, cases.sessions, cases.pairs)


def case(name, batch, value, miner=None, **options):
    named = ' '.join(f'{key}={option}' for key, option in options.items())
    return f'{name} {named} on {batch.__name__}', Objective(get(name, **options), miner), batch, value


def learned_margin(batch, **options):
    loss = Objective(get('MarginLoss', learn_beta=True, **options))
    return case('MarginLoss', batch, margin_loss(nu=options.get('nu', 0.0), learned=loss), learn_beta=True, **options)


CASES = [
    *[
        case('TripletMarginLoss', batch, triplet_margin(**options), **options)
        for batch in RELATED
        for options in ({'swap': True}, {'smooth_loss': True, 'margin': 0.3})
    ],
    *[
        case('TripletMarginLoss', cases.classes, triplet_margin(swap=True, **options), swap=True, **options)
        for options in (
            {'reducer': 'mean'},
            {'reducer': 'sum', 'smooth_loss': True},
            {'reducer': 'anchor'},
            {'distance': 'cosine'},
        )
    ],
    case(
        'TripletMarginLoss',
        cases.classes,
        triplet_margin(swap=True, mined=True),
        TripletMarginMiner(0.3, 'semihard'),
        swap=True,
    ),
    case('BatchAllTripletLoss', cases.classes, lambda b: oracles.triplet(d(b, unit=False), b.tuples, 5.0, 'nonzero')),
    *[case('BatchHardTripletLoss', batch, batch_hard(lambda x: relu(x + 5.0))) for batch in RELATED],
    case(
        'BatchHardTripletLoss',
        cases.classes,
        batch_hard(lambda x: relu(x + 0.1), 'nonzero', 'cosine'),
        margin=0.1,
        reducer='nonzero',
        distance='cosine',
    ),
    case('BatchHardSoftMarginTripletLoss', cases.classes, batch_hard(softplus)),
    case('BatchHardSoftMarginTripletLoss', cases.pairs, batch_hard(softplus, unit=True), normalize=True),
    *[case('BatchSemiHardTripletLoss', batch, batch_semihard()) for batch in RELATED],
    case(
        'BatchSemiHardTripletLoss',
        cases.many,
        batch_semihard(0.3, 'nonzero', True),
        margin=0.3,
        reducer='nonzero',
        normalize=True,
    ),
    case('SiameseLoss', cases.classes, halves_of_squares, margin=0.5, squared=True),
    *[case('OnlineContrastiveLoss', batch, online_contrastive()) for batch in RELATED],
    case('OnlineContrastiveLoss', cases.classes, online_contrastive(0.9, 'mean'), margin=0.9, reducer='mean'),
    *[case('MarginLoss', batch, margin_loss()) for batch in RELATED],
    case('MarginLoss', cases.classes, margin_loss(0.1, 0.0, 1.0), margin=0.1, beta=1.0, nu=3.0),
    case('MarginLoss', cases.classes, margin_loss(mined=True), TripletMarginMiner(0.3, 'semihard')),
    learned_margin(cases.classes, nu=0.1),
    learned_margin(cases.sessions),
    learned_margin(cases.classes, nu=0.1, beta_per_class=True),
    learned_margin(cases.several_labels, beta_per_class=True),
    *[case('AngularLoss', batch, angular()) for batch in RELATED],
    case('AngularLoss', cases.classes, angular(65.0, 'anchor'), alpha=65.0, reducer='anchor'),
    *[case('CentroidTripletLoss', batch, centroid()) for batch in (*RELATED, cases.views)],
    case('CentroidTripletLoss', cases.classes, centroid(0.4, True), margin=0.4, smooth_loss=True),
    case('CentroidTripletLoss', cases.classes, centroid(swap=True), swap=True),
    *[case('NPairsLoss', batch, npairs) for batch in (*RELATED[:2], cases.pairs)],
    case('NPairsLoss', cases.sessions, lambda b: npairs(sessions_across())),
    *[case('NCALoss', batch, nca()) for batch in RELATED],
    case(
        'NCALoss',
        cases.classes,
        nca(10.0, 'euclidean', False),
        softmax_scale=10.0,
        distance='euclidean',
        normalize=False,
    ),
]
