import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from finetuner.errors import ArgumentError, MissingExtraError
from finetuner.evaluation.engines import Faiss, Numpy, engine
from finetuner.evaluation.search import DISTANCES, ExactIndex, top_k


def test_an_unknown_engine_is_refused():
    with pytest.raises(ArgumentError, match="no engine 'fais'.*'faiss'"):
        top_k(np.ones((2, 3)), np.ones((5, 3)), 2, engine='fais')


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(MissingExtraError, match=r"pip install 'finetuner\[faiss\]'"):
        engine('faiss')


@pytest.mark.parametrize('name', ['numpy', 'faiss'])
def test_a_device_is_of_pytorch(name):
    with pytest.raises(ArgumentError, match="device='cuda' is of PyTorch: pass engine='torch'"):
        engine(name, 'cuda')


def test_numpy_searches_unless_pytorch_is_there_already(monkeypatch):
    monkeypatch.delitem(sys.modules, 'torch', raising=False)
    assert engine().name == 'numpy'
    assert engine(device='cpu').name == 'numpy'


@pytest.mark.parametrize('k', [1, 5, 40])
def test_faiss_finds_what_numpy_finds(rng, k):
    pytest.importorskip('faiss')
    queries, tile = (rng.standard_normal((n, 12)).astype(np.float32) for n in (30, 200))
    tile[50:90] = tile[:40]  # at a place of k + 16 there may be more of the same
    bound = np.where(np.arange(30) % 2, -np.inf, 2).astype(np.float32)
    slack = np.full(30, 0.5, np.float32)
    ours, theirs = (set(zip(*e.best(queries, tile, k, bound, slack)[:2], strict=True)) for e in (Numpy(), Faiss()))
    last = np.sort(queries @ tile.T, axis=1)[:, -k]
    needed = {(r, c) for r, c in ours if (queries @ tile.T)[r, c] >= max(bound[r], last[r] - 0.49)}
    assert needed <= theirs <= ours


def takes_little_of_much(engine, rng):
    queries, tile = (rng.standard_normal((n, 12)).astype(np.float32) for n in (30, 2000))
    slack = np.full(30, 0.1, np.float32)
    rows, columns, found = engine.best(engine.place(queries), engine.place(tile), 5, np.full(30, -9e9, 'f4'), slack)
    assert len(rows) < 30 * 40
    scores = queries.astype(float) @ tile.T
    rows_, columns_ = np.nonzero(scores >= np.sort(scores, axis=1)[:, -5:-4] - 0.09)
    assert set(zip(rows_, columns_, strict=True)) <= set(zip(rows, columns, strict=True))
    assert np.abs(found - scores[rows, columns]).max() < 1e-5
    assert (np.diff(rows * 2000 + columns) > 0).all()


def test_of_a_tile_better_than_all_before_no_more_is_taken_than_needed(rng):
    takes_little_of_much(Numpy(), rng)


@pytest.mark.backends('torch')
@pytest.mark.parametrize('where', ['host', 'device'])
def test_of_a_tile_better_than_all_before_pytorch_takes_no_more_than_needed(rng, where):
    from finetuner.backends.torch.search import Device, Host

    takes_little_of_much(Host() if where == 'host' else Device('cpu'), rng)


@pytest.mark.backends('torch')
@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('where', ['host', 'device'])
def test_pytorch_finds_what_numpy_finds(rng, metric, where):
    from finetuner.backends.torch.search import Device

    index = rng.standard_normal((3000, 20)).astype(np.float32)
    index[2000:] = index[:1000]
    index[100:130] = index[100] + 1e-9
    own = np.arange(80)
    expected = top_k(index[:80], index, 5, metric, own, engine='numpy')
    searched = ExactIndex(index, metric, 1 << 15, engine='torch')
    if where == 'device':  # what a GPU does, here on the CPU
        searched.engine = Device('cpu')
    assert searched.engine.name == 'torch'
    places, distances = searched.search(index[:80], 5, own)
    assert_array_equal(places, expected[0])
    assert_array_equal(distances, expected[1])


@pytest.mark.backends('torch')
@pytest.mark.parametrize('where', ['host', 'device'])
def test_a_program_that_allows_coarse_products_is_searched_exactly(rng, where):
    import torch

    from finetuner.backends.torch.search import Device, Host

    queries, tile = (rng.standard_normal((n, 300)).astype(np.float32) for n in (70, 900))
    engine = Host() if where == 'host' else Device('cpu')
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('medium')  # bfloat16, where the CPU can
    try:
        with torch.autocast('cpu', torch.bfloat16):
            placed = engine.place(queries), engine.place(tile)
            rows, columns, scores = engine.best(*placed, 9, np.full(70, -np.inf, np.float32), np.zeros(70, np.float32))
        assert torch.get_float32_matmul_precision() == 'medium'
    finally:
        torch.set_float32_matmul_precision(before)
    exact = (queries.astype(float) @ tile.T.astype(float))[rows, columns]
    assert np.abs(scores - exact).max() < 1e-4


@pytest.mark.backends('torch')
def test_pytorch_searches_where_it_is_imported_already():
    import torch

    assert engine().name == 'torch'
    with pytest.raises(ArgumentError, match="device='gpu'"):
        engine('torch', 'gpu')
    if not torch.cuda.is_available():
        with pytest.raises(ArgumentError, match='PyTorch sees no GPU here'):
            engine('torch', 'cuda')


@pytest.mark.backends('torch')
@pytest.mark.parametrize('own', [None, 'ieee', 'tf32'])
def test_precisions_that_a_program_sets_for_all_go_on_being_inherited(rng, own):
    import torch

    if not hasattr(torch.backends.mkldnn, 'matmul'):
        pytest.skip('before PyTorch 2.9 there is one precision')
    matmuls, x = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul), rng.standard_normal((2000, 16))
    before = [each.fp32_precision for each in (torch.backends, *matmuls)]
    try:
        torch.backends.fp32_precision = 'tf32' if own is None else 'none'
        for matmul in matmuls:
            matmul.fp32_precision = own or 'none'
        top_k(x[:5], x, 3, engine='torch')
        assert [matmul.fp32_precision for matmul in matmuls] == [own or 'tf32'] * 2
        torch.backends.fp32_precision = 'ieee'
        assert [matmul.fp32_precision for matmul in matmuls] == [own or 'ieee'] * 2
    finally:
        for each, precision in zip((torch.backends, *matmuls), before, strict=True):
            each.fp32_precision = precision
