"""What a frozen part of a model gives is computed once, and the training learns the same from it."""

import importlib
import resource
import shutil
from copy import deepcopy

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import (
    EMA,
    Callback,
    EvaluationCallback,
    GradualUnfreezing,
    TrainingCheckpoint,
    WiSEFTCallback,
)
from finetuner.data.readers import contents
from finetuner.dispatch import load
from finetuner.encoding.records import embed_records
from finetuner.errors import ArgumentError, CheckpointError, TrainingError
from finetuner.inference import encoder
from finetuner.losses import CrossBatchMemory
from finetuner.tailor import summary
from tests.models import clusters, framework, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'return_history': True}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv('FINETUNER_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / 'activations'


class Reads:
    """A preprocess_fn that counts the items that are read, and how many were before the first epoch and the last."""

    def __init__(self):
        self.items, self.epochs = 0, []
        reads = self

        class Notes(Callback):
            def on_epoch_end(self, tuner):
                reads.epochs.append(reads.items)

        self.callback = Notes()

    def __call__(self, x):
        self.items += 1
        return x


def same(a, b, tolerance=1e-6):
    a, b = (encoder(model).weights() for model in (a, b))
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=0, atol=tolerance, err_msg=name)


def test_the_top_of_a_chain_learns_what_it_learns_in_every_epoch(backend, shelf, said):
    x, y = clusters()
    judged = x + 0.1, y
    found = {}
    for cached in (True, False):
        reads, model = Reads(), mlp(backend, noisy=True)
        names = [layer.path for layer in summary(model, inputs=x) if layer.parameters and layer.path]
        found[cached] = finetuner.fit(
            model, (x, y), judged, **ARGUMENTS, freeze=names[:2], preprocess_fn=reads,
            callbacks=[reads.callback], cache_activations=cached,
        )  # fmt: skip
        assert (reads.epochs[0] == reads.epochs[1]) == cached
    same(found[True][0], found[False][0])
    for one, other in zip(found[True][1].epochs, found[False][1].epochs, strict=True):
        for name in ('train_loss', 'val_loss', 'map_at_r'):
            assert one[name] == pytest.approx(other[name], abs=1e-6)
    assert 'computed once: 80 items' in said() and 'Dropout' not in said().partition('computed once')[2]


def test_a_head_is_resumed_to_the_bit_though_the_activations_are_gone(backend, shelf, tmp_path):
    arguments = ARGUMENTS | {'freeze': True, 'output_dim': 8, 'mini_batch_size': 10}
    plain, _ = finetuner.fit(mlp(backend), clusters(), **arguments, cache_activations=False)
    saving = TrainingCheckpoint(save_dir=tmp_path / 'saved', last_k_epochs=2)
    whole, _ = finetuner.fit(mlp(backend), clusters(), **arguments, cache_activations=True, callbacks=[saving])
    same(whole, plain)

    shutil.rmtree(shelf)
    shutil.rmtree(tmp_path / 'saved' / 'saved_model_epoch_02')
    arguments |= {'resume': tmp_path / 'saved'}
    resumed, _ = finetuner.fit(mlp(backend), clusters(), **arguments, cache_activations=True)
    same(whole, resumed, 0)
    assert list(shelf.iterdir())
    with pytest.raises(CheckpointError, match='computed what is frozen once.*resume with cache_activations=True'):
        finetuner.fit(mlp(backend), clusters(), **arguments, cache_activations=False)


@pytest.mark.backends('torch', 'keras-tensorflow', 'paddle')
def test_tokens_of_different_length_reach_a_pooling_that_learns(backend, shelf, said):
    library = framework(backend)
    name = {'torch': 'bert', 'keras': 'subclassed', 'paddle': 'text'}[library]
    case = next(one for one in importlib.import_module(f'tests.tailor.models_{library}').CASES if one.name == name)
    rng = np.random.default_rng(0)
    kind = case.inputs()['input_ids'].dtype
    texts = [rng.integers(1, 20, 3 + 3 * (row % 2)).astype(kind) for row in range(12)]

    def tokens(rows):
        longest = max(map(len, rows))
        ids = np.stack([np.pad(row, (0, longest - len(row))) for row in rows])
        return {'input_ids': ids, 'attention_mask': (ids != 0).astype(kind)}

    class Looks(Callback):
        def on_fit_end(self, tuner):
            self.found = embed_records(tuner.encoder, tuner.loader.dataset.records, batch_size=12, collate_fn=tokens)
            self.lengths = [tuner.loader.rows.batch(items)[0].shape[1] for items in ([0, 2], [0, 1])]

    looks = Looks()
    model = finetuner.fit(
        case.build(), (texts, np.arange(12) % 3), epochs=1, freeze=True, pooling='attention', output_dim=8,
        collate_fn=tokens, callbacks=[looks], cache_activations=True, to_embedding_model=True,
    )  # fmt: skip
    assert looks.lengths == [3, 6] and 'Dropout in it rests' in said()
    np.testing.assert_allclose(looks.found, finetuner.embed(model, texts, collate_fn=tokens), atol=2e-5)


@pytest.mark.backends('torch', 'paddle')
def test_statistics_that_move_are_no_frozen_part(backend, shelf):
    model = mlp(backend, noisy=True)
    for layer in list(model)[:-1] if backend == 'torch' else list(model.children())[:-1]:
        for weight in layer.parameters():
            if backend == 'torch':
                weight.requires_grad_(False)
            else:
                weight.stop_gradient = True
    with pytest.raises(ArgumentError, match='cache_activations=True cannot be: statistics in its frozen part move'):
        finetuner.fit(model, clusters(), epochs=2, cache_activations=True)
    halves = load(framework(backend), 'halves').halves(model)
    before = encoder(model).weights()
    assert load(framework(backend), 'halves').awake(halves.lower, clusters()[0])[1]
    assert all(np.array_equal(value, before[name]) for name, value in encoder(model).weights().items())


def jittered(x):
    return x + np.random.normal(0, 0.1, x.shape).astype(np.float32)


HEAD = {'freeze': True, 'output_dim': 8}


@pytest.mark.backends('torch')
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({}, 'no frozen part that could be run by itself, for its layers are not known'),
        ({**HEAD, 'preprocess_fn': jittered}, 'preprocess_fn or collate_fn draw from chance'),
        ({**HEAD, 'augmentation': jittered}, 'items are changed by chance'),
        ({**HEAD, 'callbacks': [GradualUnfreezing()]}, 'a callback unfreezes'),
        ({'output_dim': 8, 'adapter': 'lora'}, 'adapters train'),
        ({**HEAD, 'cache_activations': 'yes'}, "cache_activations='yes': expected True, False or None"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said, shelf):
    with pytest.raises(ArgumentError, match=said):
        finetuner.fit(mlp('torch'), clusters(), **{'epochs': 2, 'cache_activations': True, **arguments})
    assert not shelf.exists()


@pytest.mark.backends('torch')
def test_by_default_it_is_done_where_it_is_worth_while(shelf, said):
    for sizes, epochs, done in (((10, 64, 32), 2, False), ((10, 256, 64), 1, False), ((10, 256, 64), 2, True)):
        model = finetuner.fit(mlp('torch', sizes), clusters(), epochs=epochs, **HEAD)
        assert ('computed once' in said()) == shelf.exists() == done
    assert all(part.training for part in model.modules())  # as they were


@pytest.mark.backends('torch')
def test_another_head_reads_what_is_there_and_other_data_or_weights_do_not(shelf):
    def trained(data=None, seed=0, **arguments):
        finetuner.fit(
            mlp('torch', seed=seed), data or clusters(), epochs=1, freeze=True, cache_activations=True, **arguments
        )
        return {path.name: path.stat().st_ino for path in shelf.iterdir()}

    first = trained(output_dim=8)
    assert len(first) == 1 and trained(output_dim=4) == first
    (x, y), names = clusters(), [set(first)]
    for other in (
        {'data': (np.concatenate([x[:-1], x[-1:] + 1]), y)},
        {'preprocess_fn': np.negative},
        {'seed': 1},
    ):
        names.append(set(trained(output_dim=8, **other)))
    assert [len(one) for one in names] == [1, 2, 3, 4]

    path = next(shelf.glob(f'{next(iter(first))}/0.bin'))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    trained(output_dim=8)
    assert path.read_bytes() != damaged
    artifact.verify(path.parent)


@pytest.mark.backends('torch')
def test_held_out_data_and_those_of_callbacks_are_run_once_too(shelf):
    def trained(cached):
        reads = Reads()
        _, history = finetuner.fit(
            mlp('torch'), clusters(20, 20), epochs=2, **HEAD, loss='ArcFaceLoss', return_history=True, refit=True,
            preprocess_fn=reads, cache_activations=cached, callbacks=[
                reads.callback, EvaluationCallback(clusters(), clusters(seed=2), name='other', query_sample_size=10)
            ], val_split=0.2,
        )  # fmt: skip
        assert (reads.epochs[0] == reads.epochs[1]) == cached
        return _, history

    (a, one), (b, other) = trained(True), trained(False)
    same(a, b)
    assert one.verdict == pytest.approx(other.verdict) and one.final == pytest.approx(other.final)


@pytest.mark.backends('torch')
def test_without_room_it_is_computed_in_every_epoch(shelf, said):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        model, _ = finetuner.fit(mlp('torch'), clusters(), **ARGUMENTS, **HEAD, cache_activations=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'cannot be kept: [Errno 27] File too large' in said() and not list(shelf.iterdir())
    plain, _ = finetuner.fit(mlp('torch'), clusters(), **ARGUMENTS, **HEAD, cache_activations=False)
    same(model, plain, 0)


X, LABELS = clusters()
ORDERED = X[np.argsort(LABELS, kind='stable')]
IN_PLAY = {
    'pairs': ([(ORDERED[i], ORDERED[i + 1], ORDERED[i - 12]) for i in range(0, 40, 2)], {}),
    'a guide': ((X, LABELS), {'guide': np.ascontiguousarray(X[:, ::-1]), 'miner': 'GuidedMiner'}),
    'averages': ((X, LABELS), {'val_split': 0.5, 'callbacks': [EMA(decay=0.5), WiSEFTCallback(show=False)]}),
    'a memory': ((X, LABELS), {'loss': CrossBatchMemory('InfoNCELoss', memory_size=30), 'accumulate': 2}),
}


@pytest.mark.backends('torch', 'keras-tensorflow', 'paddle')
@pytest.mark.parametrize('what', IN_PLAY)
def test_what_else_is_in_play_learns_the_same(what, backend, shelf, said):
    data, options = IN_PLAY[what]
    arguments = {name: value for name, value in ARGUMENTS.items() if what != 'pairs' or name != 'num_items_per_class'}
    found = []
    for cached in (True, False):
        model = mlp(backend, noisy=True)
        names = [layer.path for layer in summary(model, inputs=X) if layer.parameters and layer.path]
        arguments |= {'freeze': names[:2], 'cache_activations': cached}
        found.append(finetuner.fit(model, data, **arguments, **deepcopy(options)))
    assert said().count('computed once') == 1
    same(found[0][0], found[1][0], 2e-6)
    for one, other in zip(found[0][1].epochs, found[1][1].epochs, strict=True):
        assert one['train_loss'] == pytest.approx(other['train_loss'], abs=1e-5)


@pytest.mark.backends('torch')
def test_weights_that_are_unfrozen_behind_its_back_are_noticed(shelf):
    class Unfreezes(Callback):
        def on_epoch_begin(self, tuner):
            finetuner.tailor.unfreeze(tuner.embed_model)
            tuner.rebuild()

    with pytest.raises(ArgumentError, match='cache_activations=False'):
        finetuner.fit(mlp('torch'), clusters(), epochs=2, **HEAD, cache_activations=True, callbacks=[Unfreezes()])


@pytest.mark.backends('torch')
def test_records_that_nobody_announced_are_embedded_by_the_whole_model(shelf):
    class Looks(Callback):
        def on_fit_end(self, tuner):
            self.found = embed_records(tuner.encoder, contents(x))

    looks, x = Looks(), clusters(seed=5)[0]
    model = finetuner.fit(mlp('torch'), clusters(), epochs=1, **HEAD, cache_activations=True, callbacks=[looks])
    np.testing.assert_array_equal(looks.found, finetuner.embed(model, x))


@pytest.mark.backends('torch')
def test_a_training_that_diverges_names_the_batch(shelf):
    with pytest.raises(TrainingError, match='Its inputs and embeddings are finite'):
        finetuner.fit(
            mlp('torch'),
            clusters(),
            epochs=2,
            **HEAD,
            cache_activations=True,
            loss=lambda a, b, relation: a.sum() * np.nan,
        )


@pytest.mark.backends('torch')
def test_chance_that_changes_few_items_is_found():
    def rarely(x):
        return -x if np.random.random() < 0.02 else x

    with pytest.raises(ArgumentError, match='cache_activations=True cannot be: preprocess_fn or collate_fn draw'):
        finetuner.fit(mlp('torch'), clusters(10, 10), preprocess_fn=rarely, cache_activations=True, **HEAD)
