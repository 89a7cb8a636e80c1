"""What is remembered stands beside the batch: where nothing is yet, every loss is what it is without a memory."""

import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.base import Loss
from finetuner.losses.memory import CrossBatchMemory
from finetuner.losses.names import LOSSES, get
from finetuner.losses.objective import Objective
from tests.losses import cases

WITHOUT = {'BarlowTwinsLoss', 'VICRegLoss'}
DIRECTIONS = ('query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc')
OPTIONS = [
    ('MultipleNegativesRankingLoss', {'directions': DIRECTIONS}),
    ('GISTEmbedLoss', {'temperature': 0.1}),
    ('TripletMarginLoss', {'swap': True}),
    ('LiftedStructureLoss', {'reducer': 'sum'}),
]


def taken():
    for name in LOSSES:
        loss = get(name)
        if loss.candidates == 'items' and loss.expects is Loss.expects and name not in WITHOUT:
            yield name, {}
    yield from OPTIONS


def _values(loss, batch, native=lambda x: x):
    dim = batch.embeddings.shape[1]
    codes = dict(batch.codes)
    if loss.guided:
        codes['guide'] = cases.vectors(len(batch.embeddings), 4, seed=5)
    remembering = Objective(CrossBatchMemory(loss, memory_size=len(batch.embeddings) + 6))
    plain = Objective(loss)
    learned = plain.parameters(dim, batch.layout.n_classes)
    empty = remembering.memory(dim, codes, batch.layout)
    x = native(batch.embeddings)
    codes, learned, empty = ({k: native(v) for k, v in some.items()} for some in (codes, learned, empty))
    return plain(x, codes, batch.layout, learned), remembering(x, codes, batch.layout, learned, empty)


@pytest.mark.parametrize('batch', [cases.classes, cases.sessions, cases.pairs], ids=lambda batch: batch.__name__)
@pytest.mark.parametrize(('name', 'options'), taken())
def test_an_empty_memory_changes_nothing(name, options, batch):
    loss, batch = get(name, **options), batch()
    if loss.by_class and 'session' in batch.codes:
        pytest.skip('learns of each class')
    plain, remembering = _values(loss, batch)
    assert float(remembering) == pytest.approx(float(plain), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('name', sorted(WITHOUT))
def test_losses_that_compare_no_items_take_no_memory(name):
    with pytest.raises(ArgumentError, match=f'{name} compares no item with others: it has no use for a memory'):
        CrossBatchMemory(get(name))
