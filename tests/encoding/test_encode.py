"""`finetuner.encode` on every framework: one length together, precisions, unit vectors, files, processes, dtypes."""

import numpy as np
import pytest

import finetuner
from finetuner import precision
from finetuner.data.tokens import tokens
from finetuner.encoding import batches, trial
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.encoding.stand_ins import PreTrainedTokenizerBase, texts
from tests.models import clusters, framework, mlp
from tests.tuner.test_group_by_length import computed, reader

TOLERANCE = {'torch': 2e-6}
HALVES = ('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax')


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosine(a, b):
    return (unit(a) * unit(b)).sum(1).min()


def test_encode_is_embed():
    assert finetuner.encode is finetuner.embed


def test_texts_of_like_length_go_together_and_the_vectors_are_the_same(backend, monkeypatch):
    monkeypatch.setitem(batches.BUDGET, 'cpu', 64)
    monkeypatch.setitem(batches.OVERHEAD, 'cpu', 4)
    data, seen = texts(40, longest=6 if framework(backend) == 'keras' else 20), []  # each length is compiled
    model = reader(backend, seen)
    found = finetuner.encode(model, data, collate_fn=PreTrainedTokenizerBase())
    if framework(backend) != 'keras':
        widths = [width for _, width, _ in seen[2:]]
        assert widths == sorted(widths, reverse=True) and widths[0] == max(map(len, data))
        assert computed(seen, False) - 2 * widths[0] < 1.1 * sum(map(len, data))
    other = finetuner.encode(model, data, collate_fn=PreTrainedTokenizerBase('left'), batch_size=5)
    np.testing.assert_allclose(unit(other), unit(found), atol=TOLERANCE.get(backend, 1e-5))


@pytest.mark.backends('torch', 'paddle')
def test_vectors_do_not_depend_on_the_batches_where_padding_counts(backend):
    data = texts(40)
    model = reader(backend, [], careless=True)
    found = finetuner.encode(model, data, collate_fn=PreTrainedTokenizerBase())
    for size in (1, 7):
        other = finetuner.encode(model, data, collate_fn=PreTrainedTokenizerBase(), batch_size=size)
        np.testing.assert_allclose(unit(other), unit(found), atol=TOLERANCE.get(backend, 1e-5))


def test_normalized_vectors_are_of_length_one_and_zeros_stay(backend):
    model, (data, _) = mlp(backend), clusters()
    data[3] = 0
    found = finetuner.encode(model, data, normalize=True)
    assert found.dtype == np.float32 and not found[3].any()
    rest = np.arange(len(data)) != 3
    np.testing.assert_allclose(np.linalg.norm(found[rest], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[rest], unit(finetuner.encode(model, data)[rest]), atol=1e-6)


def test_half_precision_is_for_the_model_and_the_call_alone(backend):
    model, (data, _) = mlp(backend), clusters()
    before, weights = finetuner.encode(model, data), encoder(model).weights()
    if backend not in HALVES:
        with pytest.raises(ArgumentError, match="on a CPU Paddle's own auto_cast does nothing"):
            finetuner.encode(model, data, precision='bf16')
    else:
        found = finetuner.encode(model, data, precision='bf16')
        assert found.dtype == np.float32 and 0.999 < cosine(found, before)
        assert 1e-4 < np.abs(unit(found) - unit(before)).max()
    np.testing.assert_array_equal(finetuner.encode(model, data), before)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, weights[name], strict=True)


@pytest.mark.backends('torch')
@pytest.mark.parametrize('options', [{}, {'num_workers': 2}, {'processes': 2}])
def test_half_precision_is_not_for_what_prepares_the_data(backend, options):
    import torch

    def prepared(row):
        return (torch.from_numpy(row) @ torch.eye(10)).numpy()  # numpy has no bf16

    def collate(rows):
        found = torch.from_numpy(np.stack(rows)) @ torch.eye(10)
        assert found.dtype == torch.float32
        return found

    model, (data, _) = mlp(backend), clusters()
    right = finetuner.encode(model, data, precision='bf16')
    options = {'precision': 'bf16', 'preprocess_fn': prepared, 'collate_fn': collate, **options}
    np.testing.assert_array_equal(finetuner.encode(model, data, **options), right)


@pytest.mark.backends(*HALVES)
def test_within_half_precision_a_model_can_compute_as_it_is(backend):
    coder, (data, _) = encoder(mlp(backend)), clusters()
    coder.place('cpu')
    right = coder.embed(data)
    with coder.computing('bf16'):
        half = coder.embed(data)
        for _ in range(2):
            with coder.as_is(), coder.as_is():
                np.testing.assert_array_equal(coder.embed(data), right)
            np.testing.assert_array_equal(coder.embed(data), half)
    assert (half != right).any()
    np.testing.assert_array_equal(coder.embed(data), right)


@pytest.mark.backends('torch')
@pytest.mark.parametrize('own', [True, False])
def test_whether_padding_counts_is_tried_in_float32(backend, own):
    import torch

    model, tokenizer = reader(backend, []), PreTrainedTokenizerBase()
    forward = model.forward

    def rough(input_ids, attention_mask):  # as in bf16 other numbers come from other widths
        half = torch.is_autocast_enabled('cpu')
        return forward(input_ids, attention_mask) + 0.01 * half * input_ids.shape[1]

    model.forward = rough
    coder = encoder(model)
    coder.place('cpu')
    finetuner.encode(coder, texts(400), collate_fn=tokens(tokenizer) if own else tokenizer, precision='bf16')
    assert coder.pads is False


def test_auto_is_float32_where_bf16_is_not_faster_and_says_so(backend, log, monkeypatch):
    monkeypatch.setattr(trial, 'FEWEST', 0)
    model, (data, _) = mlp(backend), clusters()
    found = finetuner.encode(model, data, precision='auto')
    np.testing.assert_array_equal(found, finetuner.encode(model, data))
    assert log.text.count("precision='auto': float32, because bf16 is not faster for this model here") == 1


@pytest.mark.backends(*HALVES)
@pytest.mark.parametrize('apart', [0.0, 300.0])
def test_auto_takes_bf16_where_it_is_as_good(backend, log, monkeypatch, apart):
    monkeypatch.setattr(trial, 'FEWEST', 0)
    monkeypatch.setattr(precision, 'gains', lambda coder: True)
    model, (data, _) = mlp(backend, (10, 32)), clusters()
    weights = encoder(model).weights()
    kernel = next(name for name, value in weights.items() if value.ndim == 2)
    turned = weights[kernel] if weights[kernel].shape[0] == 10 else weights[kernel].T
    turned[0], turned[1] = turned[0] + apart, turned[1] - apart  # large numbers that cancel each other
    encoder(model).assign(weights)
    data[:, 1] = data[:, 0] * (1 if apart else -1)
    found, right = finetuner.encode(model, data, precision='auto'), finetuner.encode(model, data)
    if apart:
        assert 'float32, because in bf16 the cosine falls to' in log.text
        np.testing.assert_array_equal(found, right)
    else:
        assert 'bf16; on 8 items the cosine to float32 is 0.9999' in log.text
        assert trial.LEAST <= cosine(found, right) and (found != right).any()


@pytest.mark.backends('torch')
@pytest.mark.parametrize('size', [None, 3])
def test_auto_is_tried_on_as_much_as_fits(backend, monkeypatch, size):
    monkeypatch.setattr(trial, 'FEWEST', 0)
    monkeypatch.setattr(precision, 'gains', lambda coder: True)
    model, (data, _) = mlp(backend), clusters()
    right, forward, called = finetuner.encode(model, data), model.forward, []

    def narrow(inputs):
        called.append(len(inputs))
        if len(inputs) > 4:
            raise MemoryError('many')
        return forward(inputs)

    model.forward = narrow
    found = finetuner.encode(model, data, precision='auto', batch_size=size)
    assert trial.LEAST <= cosine(found, right) and (found != right).any()
    assert size is None or max(called) == size


def test_a_file_has_the_same_vectors(backend, tmp_path):
    model, (data, _) = mlp(backend), clusters()
    right = finetuner.encode(model, data, batch_size=16)
    for _ in range(2):
        found = finetuner.encode(model, data, batch_size=16, output=tmp_path / 'vectors.npy')
        assert isinstance(found, np.memmap)
        np.testing.assert_array_equal(found, right)


@pytest.mark.backends('torch', 'paddle')
def test_a_model_that_is_set_otherwise_is_another(backend, tmp_path):
    if backend == 'torch':
        from torch.nn import AvgPool2d as Pool, Flatten, Sequential
    else:
        from paddle.nn import AvgPool2D as Pool, Flatten, Sequential

    def found(stride):
        model = Sequential(Pool(2, stride, padding=0), Flatten())
        return finetuner.encode(model, data, output=tmp_path / 'vectors.npy')

    data = np.random.default_rng(0).random((5, 1, 4, 4), np.float32)
    np.testing.assert_array_equal(found(2), found(2))
    with pytest.raises(CheckpointError, match="'configuration' differs"):
        found(1)


@pytest.mark.backends('torch')
def test_a_tokenizer_that_is_set_otherwise_is_another(backend, tmp_path):
    transformers = pytest.importorskip('transformers')
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    def found(lower):
        made = Tokenizer(models.WordLevel({'[PAD]': 0, 'a': 1, 'b': 2}, unk_token='[PAD]'))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        if lower:
            made.normalizer = normalizers.Lowercase()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token='[PAD]', model_max_length=3)
        return finetuner.encode(model, ['A b', 'b a b a', 'B'], collate_fn=tokenizer, output=tmp_path / 'vectors.npy')

    model = reader(backend, [])
    model_forward = model.forward
    model.forward = lambda input_ids, attention_mask, **rest: model_forward(input_ids, attention_mask)
    np.testing.assert_array_equal(found(True), found(True))
    with pytest.raises(CheckpointError, match="'collate_fn' differs"):
        found(False)


def test_processes_share_the_work_where_they_can(backend):
    model, (data, _) = mlp(backend), clusters()
    if backend != 'torch':
        with pytest.raises(ArgumentError, match=r'processes=2: only models of PyTorch on a CPU.*num_workers'):
            finetuner.encode(model, data, processes=2)
        return
    right = finetuner.encode(model, data, batch_size=8, precision='bf16')
    here = []
    model.register_forward_hook(lambda *of: here.append(of))
    found = finetuner.encode(model, data, batch_size=8, precision='bf16', processes=2, num_workers=1)
    np.testing.assert_array_equal(found, right)
    assert not here


def noting(backend, seen):
    """A model of ids, small numbers and weights, which notes their types."""
    if backend == 'torch':
        import torch

        class Noting(torch.nn.Linear):
            def forward(self, ids, small, weights):
                seen.extend(str(x.dtype).removeprefix('torch.') for x in (ids, small, weights))
                return super().forward(weights)

        return Noting(4, 3)
    if backend == 'paddle':
        import paddle

        class Noting(paddle.nn.Linear):
            def forward(self, ids, small, weights):
                seen.extend(str(x.dtype).removeprefix('paddle.') for x in (ids, small, weights))
                return super().forward(weights)

        return Noting(4, 3)
    import keras

    class Noting(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(3)

        def call(self, ids, small, weights):
            seen.extend(keras.backend.standardize_dtype(x.dtype) for x in (ids, small, weights))
            return self.layer(weights)

    return Noting()


def test_token_ids_keep_their_types_and_floats_are_as_the_model(backend):
    seen = []
    model, rng = noting(backend, seen), np.random.default_rng(0)

    def collate(items):
        ids = np.stack(items)
        return {'ids': ids, 'small': ids.astype(np.int32), 'weights': ids / 7}  # in float64

    data = rng.integers(0, 9, (5, 4))
    finetuner.encode(model, data, collate_fn=collate)
    integers = 'int32' if backend == 'keras-jax' else 'int64'  # jax has no others, unless it is told to
    assert seen[:3] == [integers, 'int32', 'float32']
    if backend == 'torch':
        seen.clear()
        finetuner.encode(model.double(), data, collate_fn=collate)
        assert seen == ['int64', 'int32', 'float64']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'precision': 'bf15'}, "precision='bf15'. Did you mean 'bf16'"),
        ({'precision': '16'}, "precision='16'.*(float16 is for GPUs|auto_cast)"),
        ({'batch_size': 0}, 'batch_size=0: expected an integer of at least 1'),
        ({'normalize': 'yes'}, "normalize='yes': expected True or False"),
        ({'processes': 0}, 'processes=0: expected a whole number of at least 1'),
        ({'num_workers': -1}, 'num_workers=-1'),
        ({'ouput': 'a.npy'}, "no argument 'ouput'. Did you mean 'output'"),
        ({'output': 'vectors.txt'}, "with the ending .npy, such as output='vectors.npy'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(backend, arguments, message):
    def prepared(item):
        raise AssertionError('it was read')

    with pytest.raises(ArgumentError, match=message):
        finetuner.encode(mlp(backend), clusters()[0], preprocess_fn=prepared, **arguments)
