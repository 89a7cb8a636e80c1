"""Losses of text and of text with images: what they mean, in loops over queries, documents and scores."""

import math

import numpy as np

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.typing import Layout
from tests.losses import cases, oracles
from tests.losses.oracles import cosine, reduced

ALL = ('query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc')
BOTH = ('query_to_doc', 'doc_to_query')


def across(batch):
    return cases.sessions(across=True) if 'session' in batch.codes else batch


def similarity(a, b, cos=True):
    return cosine(a, b) if cos else float(sum(a * b))


def hardness(mode, own):
    return {'all_negatives': True, 'hard_negatives': own, 'in_batch_negatives': not own}.get(mode, False)


def ranking(
    batch, tuples=None, scale=20.0, cosine=True, directions=ALL[:1], partition_mode='joint', reducer='mean', **hard
):
    """Multiple negatives ranking; of all directions where a batch is not compared with itself."""
    tuples = tuples or across(batch).tuples
    queries, documents = batch.columns
    n = len(queries)
    itself = batch.layout.width == 1

    def s(a, b):
        return scale * similarity(a, b, cosine)

    terms = []
    for i, p in tuples.positives:
        own = s(queries[i], documents[p])
        rest = dict.fromkeys(ALL, 0.0)
        for j, k in tuples.negatives:
            if j == i:
                near = s(queries[i], documents[k])
                if hardness(hard.get('hardness_mode'), k % n == i):
                    near += hard['hardness_strength'] * near / scale
                rest['query_to_doc'] += math.exp(near)
                if k < n:
                    rest['query_to_query'] += math.exp(s(queries[i], queries[k]))
                if k % n != i:
                    rest['doc_to_doc'] += math.exp(s(documents[i], documents[k]))
            if k == p:
                rest['doc_to_query'] += math.exp(s(queries[j], documents[p]))
        used = ALL[:1] if itself else directions
        if partition_mode == 'joint':
            times = 2 if 'doc_to_query' in used else 1
            term = math.log(times * math.exp(own) + sum(rest[name] for name in used)) - own
        else:
            term = sum(math.log(math.exp(own) + rest[name]) - own for name in used) / len(used)
        terms.append((i, term))
    return reduced(terms, reducer)


def clip(batch, **options):
    scale = cases.learned(Objective(get('CLIPLoss', **options)), 5, 1)['logit_scale']
    t = min(math.exp(float(scale[0])), options.get('max_scale', 100.0))
    return ranking(batch, scale=t, directions=BOTH, partition_mode='per_direction')


def siglip(batch, reducer='mean', tuples=None):
    learned = cases.learned(Objective(get('SigLIPLoss')), 5, 1)
    t, bias = math.exp(float(learned['logit_scale'][0])), float(learned['logit_bias'][0])
    texts, images = batch.columns
    tuples = tuples or across(batch).tuples
    rows = {}
    for sign, found in ((1, tuples.positives), (-1, tuples.negatives)):
        for i, j in found:
            cost = math.log1p(math.exp(-sign * (t * cosine(texts[i], images[j]) + bias)))
            rows[i] = rows.get(i, 0.0) + cost
    return reduced(list(rows.items()), reducer)


def guided(batch):
    """A batch with the vectors of a guide."""

    def make():
        made = batch()
        return made._replace(codes={**made.codes, 'guide': cases.vectors(len(made.embeddings), 4, seed=5)})

    make.__name__ = batch.__name__
    return make


def gist(
    batch,
    temperature=0.01,
    margin_strategy='absolute',
    margin=0.0,
    contrast_anchors=True,
    contrast_positives=True,
    tuples=None,
):
    queries, documents = batch.columns
    guide = batch.codes['guide'].astype(float)
    n = len(queries)
    itself = batch.layout.width == 1
    g, h = (guide, guide) if itself else (guide[:n], guide[n:])
    tuples = tuples or across(batch).tuples
    terms = []
    for i, p in tuples.positives:
        mean = np.mean([cosine(g[i], h[q]) for q in np.flatnonzero(across(batch).positives[i])])
        limit = mean - (margin if margin_strategy == 'absolute' else abs(mean) * margin)
        own = cosine(queries[i], documents[p])
        total = 1.0
        for j, k in tuples.negatives:
            blocks = [(queries[i], documents[k], g[i], h[k])]
            if k < n and not itself:
                blocks += [(queries[i], queries[k], g[i], g[k])] * contrast_anchors
                blocks += [(documents[i], documents[k], h[i], h[k])] * contrast_positives
            if j == i:
                for a, b, seen, other in blocks:
                    if cosine(seen, other) <= limit:
                        total += math.exp((cosine(a, b) - own) / temperature)
        terms.append((i, math.log(total)))
    return reduced(terms, 'mean')


def graded(batch):
    a, b = batch.columns
    return a, b.reshape(batch.layout.width - 1, *a.shape), batch.codes['score'].astype(float)


def cosine_similarity(batch):
    a, b, score = graded(batch)
    return np.mean([(cosine(x, y) - s[0]) ** 2 for x, y, s in zip(a, b[0], score, strict=True)])


def angle(batch, normalize=True):
    """As published: complex numbers from the halves of each vector, divided one by the other."""
    a, b, score = graded(batch)
    if a.shape[1] % 2:
        a, b = (np.concatenate([x, np.zeros((*x.shape[:-1], 1))], axis=-1) for x in (a, b))
    angles = []
    for x, y in zip(a, b[0], strict=True):
        half = len(x) // 2
        z, w = x[:half] + 1j * x[half:], y[:half] + 1j * y[half:]
        turned = sum(z * w.conjugate()) / math.sqrt(sum(abs(z) ** 2)) / math.sqrt(sum(abs(w) ** 2))
        angles.append(abs(turned.real + turned.imag))
    return oracles.cosent(angles, score[:, 0].tolist(), normalize=normalize)


def lists(several=3, n_scores=None):
    """Queries with several documents each, all scored by a teacher; or with the margins of the first."""

    def make():
        rows = 4
        score = np.random.default_rng(7).standard_normal((rows, n_scores or several)).astype(np.float32)
        none = np.zeros((rows, rows * several), bool)
        n = rows * (1 + several)
        codes = {'item': np.arange(n, dtype=np.int32), 'score': score}
        return cases.Batch(cases.vectors(n), codes, Layout(rows, several + 1), none, none)

    make.__name__ = f'lists of {several}'
    return make


def softmax(values):
    top = [math.exp(v) for v in values]
    return [v / sum(top) for v in top]


def divergence(batch, student=1.0, teacher=1.0, cos=False):
    a, b, score = graded(batch)
    terms = []
    for i, x in enumerate(a):
        p = softmax([s / teacher for s in score[i]])
        q = softmax([similarity(x, y[i], cos) / student for y in b])
        terms.append(sum(u * math.log(u / v) for u, v in zip(p, q, strict=True)))
    return student**2 * np.mean(terms)


def margins(batch):
    a, b, score = graded(batch)
    if score.shape[1] == len(b):
        score = score[:, :1] - score[:, 1:]
    errors = []
    for i, x in enumerate(a):
        errors += [(sum(x * b[0][i]) - sum(x * b[k][i]) - score[i][k - 1]) ** 2 for k in range(1, len(b))]
    return np.mean(errors)


def mined(batch):
    d = oracles.distances(*batch.columns, 'cosine')
    return batch.tuples.keep(oracles.in_band(d, 'semihard', 0.5))


MINER = TripletMarginMiner(0.5, 'semihard')
MNRL, SYMMETRIC = 'MultipleNegativesRankingLoss', 'MultipleNegativesSymmetricRankingLoss'

CASES = [
    *[
        (f'{MNRL} on {batch.__name__}', Objective(get(MNRL)), batch, ranking)
        for batch in (cases.classes, cases.several_labels, cases.sessions, cases.pairs)
    ],
    *[
        (f'{MNRL} {o}', Objective(get(MNRL, **o)), cases.pairs, lambda b, o=o: ranking(b, **o))
        for o in (
            {'directions': ALL},
            {'directions': BOTH, 'scale': 3.0},
            {'directions': BOTH, 'partition_mode': 'per_direction'},
            {'cosine': False, 'scale': 1.0, 'reducer': 'anchor'},
        )
    ],
    (
        f'{MNRL} of mined triplets in all directions',
        Objective(get(MNRL, directions=ALL), MINER),
        cases.pairs,
        lambda b: ranking(b, mined(b), directions=ALL),
    ),
    (
        SYMMETRIC,
        Objective(get(SYMMETRIC)),
        cases.pairs,
        lambda b: ranking(b, directions=BOTH, partition_mode='per_direction'),
    ),
    *[
        (f'CLIPLoss on {batch.__name__}', Objective(get('CLIPLoss')), batch, clip)
        for batch in (cases.classes, cases.sessions, cases.pairs)
    ],
    *[
        (f'SigLIPLoss on {batch.__name__}', Objective(get('SigLIPLoss')), batch, siglip)
        for batch in (cases.classes, cases.sessions, cases.pairs)
    ],
    ('SigLIPLoss sum', Objective(get('SigLIPLoss', reducer='sum')), cases.pairs, lambda b: siglip(b, 'sum')),
    (
        'SigLIPLoss of mined triplets',
        Objective(get('SigLIPLoss'), MINER),
        cases.pairs,
        lambda b: siglip(b, tuples=mined(b)),
    ),
    *[
        (f'GISTEmbedLoss on {batch.__name__}', Objective(get('GISTEmbedLoss')), guided(batch), gist)
        for batch in (cases.classes, cases.sessions, cases.pairs)
    ],
    *[
        (f'GISTEmbedLoss {o}', Objective(get('GISTEmbedLoss', **o)), guided(cases.pairs), lambda b, o=o: gist(b, **o))
        for o in (
            {'temperature': 0.3, 'margin': 0.2},
            {'margin_strategy': 'relative', 'margin': 0.3},
            {'contrast_anchors': False},
            {'contrast_positives': False},
        )
    ],
    (
        'GISTEmbedLoss of mined triplets',
        Objective(get('GISTEmbedLoss', temperature=0.1), MINER),
        guided(cases.pairs),
        lambda b: gist(b, 0.1, tuples=mined(b)),
    ),
    ('CosineSimilarityLoss', Objective(get('CosineSimilarityLoss')), cases.scored, cosine_similarity),
    ('AnglELoss', Objective(get('AnglELoss')), cases.scored, angle),
    ('AnglELoss sum', Objective(get('AnglELoss', normalize=False)), cases.scored, lambda b: angle(b, False)),
    ('DistillKLDivLoss', Objective(get('DistillKLDivLoss')), lists(), divergence),
    ('DistillKLDivLoss of two', Objective(get('DistillKLDivLoss')), lists(2), divergence),
    (
        'DistillKLDivLoss with temperatures',
        Objective(get('DistillKLDivLoss', temperature=3.0, student_temperature=0.2, cosine=True)),
        lists(),
        lambda b: divergence(b, 0.2, 3.0, cos=True),
    ),
    ('MarginMSELoss of three margins', Objective(get('MarginMSELoss')), lists(4, 3), margins),
    ('MarginMSELoss of three scores', Objective(get('MarginMSELoss')), lists(3), margins),
]
