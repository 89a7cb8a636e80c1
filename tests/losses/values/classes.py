"""Losses that compare items with learned classes: what they mean, in loops over items and classes."""

import math

import numpy as np

from finetuner.losses import get
from finetuner.losses.objective import Objective
from tests.losses import cases
from tests.losses.oracles import cosine, reduced

SEVERAL = {'SubCenterArcFaceLoss': ('sub_centers', 3), 'SoftTripleLoss': ('centers_per_class', 10)}


def length(x):
    return math.sqrt(sum(x * x))


def logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def items(batch):
    """(item, vector, its classes, the classes that it is not in)."""
    for i, x in enumerate(batch.embeddings.astype(float)):
        if batch.codes['item'][i] >= 0:
            own = {int(c) for c in batch.codes['label'][i] if c >= 0}
            yield i, x, own, [c for c in range(batch.layout.n_classes) if c not in own]


def learned(batch, name, options):
    found = cases.learned(Objective(get(name, **options)), batch.embeddings.shape[1], batch.layout.n_classes)
    return {key: value.astype(float) for key, value in found.items()}


def softmax(name, logit):
    """An oracle of a cross-entropy: `logit(x, rows of the class, its bias, is it the own one, options)`."""

    def value(batch, reducer='mean', **options):
        found = learned(batch, name, options)
        option, default = SEVERAL.get(name, ('', 1))
        k = options.get(option, default)
        bias = found.get('bias', np.zeros(batch.layout.n_classes))

        def of(x, c, own):
            return logit(x, found['classes'][k * c : k * (c + 1)], bias[c], own, **options)

        terms = []
        for i, x, own, others in items(batch):
            for c in own:
                mine = of(x, c, True)
                terms.append((i, logsumexp([mine, *(of(x, n, False) for n in others)]) - mine))
        return reduced(terms, reducer)

    return value


def turned(cos, margin):
    m = math.radians(margin)
    return math.cos(math.acos(cos) + m) if math.acos(cos) < math.pi - m else cos - m * math.sin(m)


def subcenter(x, rows, bias, own, margin=28.6, scale=64.0, sub_centers=3):
    cos = max(cosine(x, w) for w in rows)
    return scale * (turned(cos, margin) if own else cos)


def cosface(x, rows, bias, own, margin=0.35, scale=64.0):
    return scale * (cosine(x, rows[0]) - (margin if own else 0))


def angle_times(cos, margin):
    theta = math.acos(cos)
    k = math.floor(margin * theta / math.pi)
    return (-1) ** k * math.cos(margin * theta) - 2 * k


def sphereface(x, rows, bias, own, margin=4, scale=1.0):
    cos = cosine(x, rows[0])
    return scale * length(x) * (angle_times(cos, margin) if own else cos)


def large_margin(x, rows, bias, own, margin=4, scale=1.0):
    return length(rows[0]) * sphereface(x, rows, bias, own, margin, scale)


def normalized(x, rows, bias, own, temperature=0.05):
    return cosine(x, rows[0]) / temperature


def plain(x, rows, bias, own):
    return sum(x * rows[0]) + bias


def nca(x, rows, bias, own, softmax_scale=1.0):
    apart = x / length(x) - rows[0] / length(rows[0])
    return -softmax_scale * sum(apart * apart)


def softtriple(x, rows, bias, own, centers_per_class=10, la=20.0, gamma=0.1, margin=0.01):
    s = [cosine(x, w) for w in rows]
    shares = [math.exp(v / gamma) for v in s]
    near = sum(share * v for share, v in zip(shares, s, strict=True)) / sum(shares)
    return la * (near - (margin if own else 0))


def proxy_anchor(batch, margin=0.1, alpha=32.0, reducer='mean'):
    proxies = learned(batch, 'ProxyAnchorLoss', {})['classes']
    pull, push = [], []
    for c, proxy in enumerate(proxies):
        near = [cosine(x, proxy) for _, x, own, _ in items(batch) if c in own]
        far = [cosine(x, proxy) for _, x, own, _ in items(batch) if c not in own]
        if near:
            pull.append((c, math.log(1 + sum(math.exp(-alpha * (s - margin)) for s in near))))
        push.append((c, math.log(1 + sum(math.exp(alpha * (s + margin)) for s in far))))
    return reduced(pull, reducer) + reduced(push, reducer)


def missing():
    """A class of which no item is there, an item of no class, and more classes than labels."""
    batch = cases.classes((0, 3, 3, -1, 1, 0, 1))
    return batch._replace(layout=batch.layout._replace(n_classes=6))


ORACLES = {
    'CosFaceLoss': softmax('CosFaceLoss', cosface),
    'LargeMarginSoftmaxLoss': softmax('LargeMarginSoftmaxLoss', large_margin),
    'NormalizedSoftmaxLoss': softmax('NormalizedSoftmaxLoss', normalized),
    'ProxyAnchorLoss': proxy_anchor,
    'ProxyNCALoss': softmax('ProxyNCALoss', nca),
    'SoftTripleLoss': softmax('SoftTripleLoss', softtriple),
    'SoftmaxLoss': softmax('SoftmaxLoss', plain),
    'SphereFaceLoss': softmax('SphereFaceLoss', sphereface),
    'SubCenterArcFaceLoss': softmax('SubCenterArcFaceLoss', subcenter),
}
OPTIONS = [
    ('CosFaceLoss', {'margin': 0.1, 'scale': 5.0, 'reducer': 'sum'}),
    ('LargeMarginSoftmaxLoss', {'margin': 3, 'scale': 0.5, 'reducer': 'nonzero'}),
    ('NormalizedSoftmaxLoss', {'temperature': 0.5, 'reducer': 'anchor'}),
    ('ProxyAnchorLoss', {'margin': 0.3, 'alpha': 4.0, 'reducer': 'sum'}),
    ('ProxyNCALoss', {'softmax_scale': 6.0, 'reducer': 'sum'}),
    ('SoftTripleLoss', {'centers_per_class': 2, 'la': 5.0, 'gamma': 0.5, 'margin': 0.2, 'reducer': 'sum'}),
    ('SoftmaxLoss', {'reducer': 'sum'}),
    ('SphereFaceLoss', {'margin': 1, 'scale': 2.0, 'reducer': 'sum'}),
    ('SphereFaceLoss', {'margin': 7, 'scale': 0.3}),
    ('SubCenterArcFaceLoss', {'margin': 80.0, 'scale': 3.0, 'sub_centers': 2, 'reducer': 'sum'}),
]


def case(name, batch, options=None):
    options = options or {}
    title = ' '.join([name, 'on', batch.__name__, *(f'{k}={v}' for k, v in options.items())])
    return title, Objective(get(name, **options)), batch, lambda b: ORACLES[name](b, **options)


CASES = [
    *(case(name, batch) for name in ORACLES for batch in (cases.classes, cases.several_labels, missing)),
    *(case(name, cases.several_labels, options) for name, options in OPTIONS),
]
