"""Distances and relations for miners, with many ties, on the library under test."""

import numpy as np

from finetuner.losses.relation import Relation
from tests.losses import cases


def memory():
    """Four anchors against themselves and what is remembered: item 1 is remembered, -1 is an empty place."""
    item, label = [0, 1, 2, 3, 1, 4, 5, 6, 7, -1], [0, 0, 1, 2, 0, 1, 0, 2, 0, -1]
    embeddings = cases.vectors(14)
    near = np.array([[item[i] != item[j] and label[i] == label[j] for j in range(10)] for i in range(4)])
    far = np.array([[item[i] != item[j] >= 0 and label[i] != label[j] for j in range(10)] for i in range(4)])
    return cases.Batch(embeddings, {}, cases.Layout(4, 1, cases.most(near)), near, far)


EVERY_BATCH = [cases.classes, cases.several_labels, cases.sessions, cases.pairs, cases.views, memory]


def whole_distances(batch, seed=6):
    """(N, M) of 0 to 4: many are equal, and some are 0."""
    return np.random.default_rng(seed).integers(0, 5, batch.positives.shape).astype(np.float32)


def relate(library, batch, lots=0, **more):
    """The relation of a batch in the library under test, with as many lots for each anchor."""
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    if lots:
        drawn = np.random.default_rng(8).random((len(batch.positives), lots), np.float32)
        more['lots'] = library.native(drawn)
    return relation._replace(**more)


def pairs_of(positives, negatives):
    """Rows (anchor, candidate, 1 or 0) of two masks, as `Relation.pairs` orders them."""
    near, far = np.argwhere(positives).tolist(), np.argwhere(negatives).tolist()
    return [[*pair, 1] for pair in near] + [[*pair, 0] for pair in far]
