"""Every loss teaches a small model on every framework, and all frameworks compute the same figures."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import TrainingError
from finetuner.inference import encoder
from tests.models import clusters, mlp

RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((10, 10)).astype(np.float32)
LABELS = np.repeat(np.arange(5), 2)

# The mean loss of three epochs, from the weights of `tests.models.mlp`; computed with PyTorch.
FIGURES = {
    'InfoNCELoss': [2.793983, 2.304989, 2.8276],
    'TripletMarginLoss': [0.1763045, 0.1788155, 0.2063977],
    'ContrastiveLoss': [1.086085, 1.071962, 1.081136],
    'MultiSimilarityLoss': [0.8469657, 0.8043822, 0.8499398],
    'ArcFaceLoss': [11.93857, 9.984622, 9.022327],
}


def separation(vectors: np.ndarray) -> float:
    """By how much the nearest stranger is farther than the partner, at worst, on the unit sphere."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    same = LABELS[:, None] == LABELS[None]
    partner = np.where(same & ~np.eye(10, dtype=bool), distances, -1).max(1)
    return float((np.where(same, np.inf, distances).min(1) - partner).min())


@pytest.mark.parametrize('loss', ['SiameseLoss', 'TripletLoss', 'InfoNCELoss', 'MultiSimilarityLoss', 'ArcFaceLoss'])
def test_random_vectors_are_learned_by_heart(backend, loss):
    model = mlp(backend, (10, 64, 64, 32))
    assert separation(finetuner.embed(model, VECTORS)) < 0
    finetuner.fit(model, (VECTORS, LABELS), loss=loss, epochs=100, num_items_per_class=2, learning_rate=3e-3)
    assert separation(finetuner.embed(model, VECTORS)) > 0.1


@pytest.mark.parametrize('loss', list(FIGURES))
def test_figures_are_the_same_on_every_framework(backend, loss):
    _, history = finetuner.fit(
        mlp(backend), clusters(), loss=loss, epochs=3, batch_size=20, num_items_per_class=4, return_history=True
    )
    losses = [record['train_loss'] for record in history.epochs]
    np.testing.assert_allclose(losses, FIGURES[loss], rtol=2e-5)


def test_dropout_and_batchnorm_train(backend):
    model = mlp(backend, noisy=True)
    before = encoder(model).weights()
    finetuner.fit(model, clusters(), epochs=1)
    after = encoder(model).weights()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == set(before)
    vectors = finetuner.embed(model, clusters()[0])
    np.testing.assert_array_equal(vectors, finetuner.embed(model, clusters()[0]))


def test_a_seed_decides_everything(backend):
    def trained(seed):
        model = mlp(backend, noisy=True)
        finetuner.fit(model, clusters(), epochs=2, batch_size=16, seed=seed)
        return finetuner.embed(model, clusters()[0])

    np.testing.assert_array_equal(trained(1), trained(1))
    assert np.abs(trained(1) - trained(2)).max() > 1e-4


def test_own_optimizer_and_scheduler(backend):
    rates = []

    class Rates(finetuner.callback.Callback):
        def on_train_batch_begin(self, tuner):
            rates.append(next(iter(tuner.state.learning_rates.values())))

    def configure(model):
        if backend == 'torch':
            import torch

            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
        if backend == 'paddle':
            import paddle

            scheduler = paddle.optimizer.lr.ExponentialDecay(1.0, 0.1)
            return paddle.optimizer.SGD(scheduler, parameters=model.parameters()), scheduler
        import keras

        return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.1))

    arguments = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'callbacks': [Rates()]}
    finetuner.fit(mlp(backend), clusters(), **arguments, configure_optimizer=configure)
    np.testing.assert_allclose(rates, [1, 0.1, 0.01, 0.001], rtol=1e-5)
    if not backend.startswith('keras'):
        rates.clear()
        finetuner.fit(mlp(backend), clusters(), **arguments, configure_optimizer=configure, scheduler_step='epoch')
        np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1], rtol=1e-5)


def test_own_loss(backend):
    def pull(anchors, candidates, relation):
        from finetuner.losses.distances import sqeuclidean
        from finetuner.losses.reduce import reduce

        return reduce(sqeuclidean(anchors, candidates), relation.positives, 'mean')

    model = mlp(backend)
    _, history = finetuner.fit(model, clusters(), clusters(), loss=pull, epochs=10, return_history=True)
    losses = [record['val_loss'] for record in history.epochs]
    assert losses[-1] < 0.9 * losses[0]


def test_rows_of_pairs_and_scores(backend):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 10)).astype(np.float32)
    b = a + 0.1 * rng.standard_normal((40, 10)).astype(np.float32)
    pairs = list(zip(a, b, strict=True))
    hard = [(*pair, rng.standard_normal(10).astype(np.float32)) for pair in pairs]
    scored = [(*pair, float(score)) for pair, score in zip(pairs, rng.random(40), strict=True)]
    margins = [(*row, 0.5) for row in hard]
    for data in (pairs, hard, scored, margins):
        _, history = finetuner.fit(mlp(backend), data, epochs=6, batch_size=16, return_history=True)
        assert history.epochs[-1]['train_loss'] < history.epochs[0]['train_loss']


def test_views_of_unlabelled_items(backend):
    rng = np.random.default_rng(0)
    items = list(rng.standard_normal((32, 10)).astype(np.float32))

    def view(item):
        return item + 0.3 * np.random.standard_normal(10).astype(np.float32)

    def trained():
        return finetuner.fit(mlp(backend), items, preprocess_fn=view, epochs=8, batch_size=16, return_history=True)[1]

    losses = [record['train_loss'] for record in trained().epochs]
    assert losses[-1] < losses[0]
    assert losses == [record['train_loss'] for record in trained().epochs]


def test_the_mode_and_the_state_of_chance_are_left_as_they_were(backend):
    model = mlp(backend, noisy=True)
    if backend == 'keras-torch':
        import torch as library
    elif backend.startswith('keras'):
        library = None  # generators belong to layers
    else:
        library = __import__(backend)
        model.eval()
    if backend.startswith('keras'):
        seeds = [variable for variable in model.variables if variable.name == 'seed_generator_state']
        before = [variable.numpy().tolist() for variable in seeds]
        assert len(before) == 1
    if library:
        library.seed(5) if backend == 'paddle' else library.manual_seed(5)
        expected = library.rand([3]).tolist()
        library.seed(5) if backend == 'paddle' else library.manual_seed(5)
    finetuner.fit(model, clusters(), epochs=1)
    if library:
        assert library.rand([3]).tolist() == expected
    if backend.startswith('keras'):
        assert [variable.numpy().tolist() for variable in seeds] == before
    else:
        assert not model.training and not model[3].training


def test_learned_classes_are_those_of_the_training_data(backend):
    vectors, labels = clusters()

    def val_loss(eval_data):
        model, arguments = mlp(backend), {'loss': 'ArcFaceLoss', 'epochs': 1, 'return_history': True}
        return finetuner.fit(model, (vectors, labels), eval_data, **arguments)[1].epochs[0]['val_loss']

    whole = val_loss((vectors, labels))
    assert val_loss((vectors[::-1], labels[::-1])) == pytest.approx(whole, rel=1e-5)
    new = np.where(labels < 4, labels, 9)  # nobody's: left out, as if it were not there
    few = labels < 4
    assert val_loss((vectors, new)) == pytest.approx(val_loss((vectors[few], labels[few])), rel=1e-5)


@pytest.mark.backends('torch')
def test_lazy_layers(backend):
    torch = pytest.importorskip('torch')
    model = torch.nn.Sequential(torch.nn.LazyLinear(16), torch.nn.LazyBatchNorm1d(), torch.nn.LazyLinear(8))
    _, history = finetuner.fit(model, clusters(), epochs=3, return_history=True)
    assert history.epochs[-1]['train_loss'] < history.epochs[0]['train_loss']


@pytest.mark.backends('torch')
def test_what_a_model_keeps_from_being_evaluated_can_be_trained_with(backend):
    torch = pytest.importorskip('torch')

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = torch.nn.Linear(10, 8), None

        def forward(self, x):
            x = self.layer(x)
            if self.scale is None:
                self.scale = torch.linspace(1, 2, 8)
            return x * self.scale

    finetuner.fit(Scaled(), clusters(), epochs=1)


def test_weights_that_an_update_spoiled_come_back(backend):
    before = {}

    class Spoils(finetuner.callback.Callback):
        def on_epoch_begin(self, tuner):
            before.update(tuner.encoder.weights())

        def on_train_epoch_end(self, tuner):
            weights = tuner.encoder.weights()
            name = next(iter(weights))
            tuner.encoder.assign(weights | {name: np.full_like(weights[name], np.nan)})

    model = mlp(backend)
    with pytest.raises(TrainingError, match=r'cannot learn from epoch 1: .* became NaN'):
        finetuner.fit(model, clusters(), epochs=2, callbacks=[Spoils()])
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_learning_rate_warms_up_and_falls_to_zero(backend):
    from finetuner.tuner.schedule import Optimization

    rates = []

    class Rates(finetuner.callback.Callback):
        def on_train_batch_begin(self, tuner):
            rates.append(set(tuner.state.learning_rates.values()))

    finetuner.fit(mlp(backend), clusters(), epochs=10, batch_size=20, num_items_per_class=4, callbacks=[Rates()])
    expected = [Optimization().rate(step, 20) for step in range(20)]
    assert [len(rate) for rate in rates] == [1] * 20
    np.testing.assert_allclose([rate.pop() for rate in rates], expected, rtol=1e-6)
    assert expected[0] < expected[1] == 1e-3 and expected[-1] == pytest.approx(1e-3 / 18)
