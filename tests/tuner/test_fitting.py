"""Batches as large as fit: in chunks where 64 rows do not, and the largest there can be."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, TrainingError
from finetuner.inference import encoder, length
from finetuner.tuner import fitting, found, room
from tests.fresh import run
from tests.models import clusters, cnn, framework, mlp


@pytest.fixture
def small(backend, monkeypatch):
    """A function that leaves memory for so many items in the model at a time, as if it were on a GPU."""
    kind = load(framework(backend), 'tuner').Tuner

    def limit(most):
        def limited(method, chunked):
            def step(self, inputs, *arguments):
                if self.chunked == chunked and length(inputs) > most:
                    raise MemoryError
                return method(self, inputs, *arguments)

            return step

        monkeypatch.setattr(kind, 'train_step', limited(kind.train_step, False))
        monkeypatch.setattr(kind, 'forward', limited(kind.forward, True))
        monkeypatch.setattr(fitting, '_reckoned', fitting._tried)

    return limit


def trained(model, data, **arguments):
    model, history = finetuner.fit(model, data, **{'epochs': 1, 'val_split': 0, 'return_history': True} | arguments)
    return list(encoder(model).weights().values()), history


def test_what_does_not_fit_goes_in_chunks_and_learns_the_same(backend, small, said):
    small(7)
    sought, history = trained(mlp(backend), clusters())
    assert history.found == {'mini_batch_size': 5}
    assert 'A batch of 40 does not fit into memory: 5 items are in the model at a time' in ' '.join(said().split())
    if backend == 'keras-jax':  # which compiles it anew
        return
    given, other = trained(mlp(backend), clusters(), mini_batch_size=5)
    for a, b in zip(sought, given, strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.found == {}


@pytest.mark.backends('torch')
def test_where_a_batch_cannot_even_be_embedded_a_part_of_it_is(backend, small, monkeypatch, said):
    small(7)
    kind, data = load(framework(backend), 'encoder').Encoder, clusters(10, 40)
    embed, seen, limit = kind.embed, [], 12

    def embedded(self, inputs):
        if length(inputs) > limit:
            raise MemoryError
        seen.append(length(inputs))
        return embed(self, inputs)

    monkeypatch.setattr(kind, 'embed', embedded)
    _, history = trained(mlp(backend), data, val_split=0.1, batch_size=None)
    assert history.found['mini_batch_size'] <= 7
    assert history.before and history.after  # it is measured in parts, too
    assert max(seen) <= 12
    limit = 0
    with pytest.raises(MemoryError):
        trained(mlp(backend), data)


@pytest.mark.backends('torch')
def test_what_cannot_go_in_chunks_says_what_fits(backend, small):
    small(7)
    model = mlp(backend, noisy=True)
    before = encoder(model).weights()
    with pytest.raises(TrainingError, match='With 5 items at a time it would, but .*BatchNorm1d.*: give batch_size=5'):
        trained(model, clusters())
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])
    small(0)
    with pytest.raises(TrainingError, match='not even one item does: take a smaller model'):
        trained(mlp(backend), clusters())


def test_the_largest_batch_that_fits(backend, small, said):
    small(250)  # so that 256 would fit, and nothing be spare
    _, history = trained(mlp(backend, (10, 8)), clusters(20, 150), batch_size='largest')
    assert history.found == {'batch_size': 128}
    assert 'The largest batch: 120 rows (twice as many do not fit into memory)' in ' '.join(said().split())
    assert 'learning rate 0.001, linear · 25 batches of 120 an epoch' in ' '.join(said().split())


@pytest.mark.backends('torch')
def test_an_epoch_keeps_some_batches_and_a_resumed_training_knows_the_size(tmp_path, said, monkeypatch):
    data, arguments = clusters(20, 100), {'batch_size': 'largest', 'epochs': 2, 'val_split': 0.1}
    saving = TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2)
    whole, history = trained(mlp('torch', (10, 8)), data, **arguments, callbacks=[saving])
    assert history.found == {'batch_size': 128}
    assert 'an epoch would have fewer than 10 batches' in ' '.join(said().split())
    monkeypatch.setattr(fitting, 'largest', None)
    part, after = trained(mlp('torch', (10, 8)), data, **arguments, resume=tmp_path / 'saved_model_epoch_01')
    assert after.found == history.found
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.backends('torch', 'paddle', 'keras-torch')
def test_on_a_cpu_it_is_reckoned_from_small_parts(backend, monkeypatch):
    if room.measured(lambda: None)[1] is None:
        pytest.skip('this system does not say how much a process took')
    data = np.random.default_rng(0).standard_normal((64, 64, 64)).astype(np.float32), np.arange(64) % 8
    monkeypatch.setattr(room, 'left', lambda: 100 * 2**20)
    _, history = trained(cnn(backend, (1, 64), dim=8, side=64), data)
    assert 1 <= history.found['mini_batch_size'] <= 32


@pytest.mark.backends('torch')
def test_where_nobody_knows_what_is_left_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(room, 'left', lambda: None)
    _, history = trained(mlp('torch', (10, 8)), clusters(20, 100), batch_size='largest')
    assert history.found == {'batch_size': 64}


LIMITED = """
import resource
import numpy as np
import finetuner
from tests.models import cnn

rng = np.random.default_rng(0)
small = rng.standard_normal((16, 64, 64)).astype(np.float32), np.arange(16) % 4
data = rng.standard_normal((64, 64, 64)).astype(np.float32), np.arange(64) % 8
finetuner.fit(cnn('torch', (1, 64), dim=8, side=64), small, epochs=1)  # whatever is made once is made
with open('/proc/self/statm') as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20, -1))
_, history = finetuner.fit(cnn('torch', (1, 64), dim=8, side=64), data, epochs=1, return_history=True)
assert len(history.epochs) == 1 and 1 <= history.found['mini_batch_size'] <= 32, history
"""


@pytest.mark.backends('torch')
def test_under_a_real_limit_it_trains():
    run(LIMITED)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('large', None, None), "batch_size='large': expected a whole number. Did you mean 'largest'"),
        (('largest', 8, None), "batch_size='largest' is the largest that is in the model as a whole"),
        (('largest', None, None, None, 2), "batch_size='largest' is looked for on one device, and 2 train together"),
        ((None, None, 'find', None, 2), "learning_rate='find' is looked for on one device"),
    ],
)
def test_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        found.sought(*arguments, *[None] * (4 - len(arguments)))


def test_the_longest_texts_are_tried():
    from finetuner.data.readers import read
    from finetuner.losses import registry
    from finetuner.tuner.loading import make_loader

    texts = [(f'{place} ' + 'long ' * (place == 17), place % 5) for place in range(40)]
    objective = registry.resolve(None, None, loss_options=None, miner_options=None, kind='class', width=1, scores=None)
    loader = make_loader(
        read(texts), objective, batch_size=8, num_items_per_class=2, preprocess_fn=None,
        collate_fn=lambda texts: np.array([[len(text)] for text in texts]), num_workers=0, seed=0,
    )  # fmt: skip
    inputs, codes = fitting._batch(loader)
    assert inputs.max() == len(texts[17][0]) and len(inputs) == len(codes['item']) == 8
