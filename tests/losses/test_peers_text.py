"""Losses of text and images beside those of sentence-transformers, or of their papers: values and slopes are theirs."""

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation, Scores
from finetuner.typing import Layout
from tests.gradients import value_and_grad
from tests.losses.cases import vectors

pytestmark = pytest.mark.backends('torch')

N, DIM = 7, 6
NEAR = {'float64': 1e-9, 'float32': 2e-6}
ALL = ('query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc')
BOTH = ('query_to_doc', 'doc_to_query')


@pytest.fixture(scope='module')
def theirs():
    return pytest.importorskip('sentence_transformers').sentence_transformer.losses


def columns(count):
    return vectors(N * count, DIM).reshape(count, N, DIM)


def rows(count, guide=None):
    """The relation of rows without duplicates: candidate i is the positive of anchor i, all others are negatives."""
    import torch

    own = torch.cat([torch.eye(N, dtype=torch.bool), torch.zeros((N, (count - 2) * N), dtype=torch.bool)], dim=1)
    if guide is not None:
        guide = guide[0], guide[1:].reshape(-1, guide.shape[-1])
    return Relation(own, ~own, 1, width=count - 1, guide=guide)


def compare(loss, other, x, relation):
    """Value and slopes of our loss and of `other(list of columns)`, in float64 and float32."""

    def ours(x):
        return loss(x[0], x[1:].reshape(-1, DIM), relation(x))

    for dtype, near in NEAR.items():
        value, (slope,) = value_and_grad('torch', ours, x, dtype=dtype)
        expected, (right,) = value_and_grad('torch', lambda x: other(list(x)), x, dtype=dtype)
        assert value == pytest.approx(expected, rel=near)
        assert np.abs(right).max() > 0
        assert np.abs(slope - right).max() <= 3 * near * np.abs(right).max()


@pytest.mark.parametrize('count', [2, 3, 4])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'scale': 3.0, 'directions': ALL},
        {'directions': BOTH},
        {'directions': BOTH, 'partition_mode': 'per_direction'},
        {'hardness_mode': 'in_batch_negatives', 'hardness_strength': 9.0},
        {'hardness_mode': 'hard_negatives', 'hardness_strength': 5.0, 'directions': ALL},
        {'hardness_mode': 'all_negatives', 'hardness_strength': 5.0},
    ],
)
def test_multiple_negatives_ranking(theirs, options, count):
    other = theirs.MultipleNegativesRankingLoss(None, **options)
    loss = get('MultipleNegativesRankingLoss', **options)
    compare(loss, lambda x: other.compute_loss_from_embeddings(x, None), columns(count), lambda _: rows(count))


def test_multiple_negatives_ranking_by_dot_product(theirs):
    from sentence_transformers.util import dot_score

    other = theirs.MultipleNegativesRankingLoss(None, scale=1.0, similarity_fct=dot_score)
    loss = get('MultipleNegativesRankingLoss', scale=1.0, cosine=False)
    compare(loss, lambda x: other.compute_loss_from_embeddings(x, None), columns(3), lambda _: rows(3))


def test_symmetric_ranking(theirs):
    other = theirs.MultipleNegativesSymmetricRankingLoss(None)
    loss = get('MultipleNegativesSymmetricRankingLoss')
    compare(loss, lambda x: other.compute_loss_from_embeddings(x, None), columns(3), lambda _: rows(3))


@pytest.mark.parametrize('count', [2, 3])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'temperature': 0.1, 'margin': 0.1},
        {'margin_strategy': 'relative', 'margin': 0.2},
        {'contrast_anchors': False},
        {'contrast_positives': False, 'temperature': 0.3},
    ],
)
def test_gist(theirs, monkeypatch, options, count):
    import torch

    guide = torch.tensor(vectors(N * count, 4, seed=5).reshape(count, N, 4)).double()
    guide[1] += guide[0]  # or most positives would be less similar than all else
    other = theirs.GISTEmbedLoss.__new__(theirs.GISTEmbedLoss)
    torch.nn.Module.__init__(other)
    settings = {'temperature': 0.01, 'margin_strategy': 'absolute', 'margin': 0.0}
    settings |= {'contrast_anchors': True, 'contrast_positives': True, **options}
    vars(other).update(settings, gather_across_devices=False, must_retokenize=False, model='ours', guide='guide')
    other.similarity_fct, other.cross_entropy_loss = torch.nn.CosineSimilarity(dim=-1), torch.nn.CrossEntropyLoss()
    # The embeddings come instead of the texts.
    monkeypatch.setattr(
        'sentence_transformers.sentence_transformer.losses.gist_embed.embed_columns',
        lambda model, features: [f[model] for f in features],
    )

    def peer(x):
        return other([{'ours': a, 'guide': g.to(a.dtype)} for a, g in zip(x, guide, strict=True)], None)

    loss = get('GISTEmbedLoss', **options)
    compare(loss, peer, columns(count), lambda x: rows(count, guide.to(x.dtype)))


def graded(count, width=1):
    return np.random.default_rng(2).random((N, width)).astype(np.float32)


def scored(loss, other, count, scores):
    def relation(x):
        import torch

        return Scores(torch.tensor(scores).to(x.dtype), count - 1)

    def peer(x):
        return other(x, relation(x[0]).values)

    compare(loss, peer, columns(count), relation)


def test_cosent_and_angle(theirs):
    for name in ('CoSENTLoss', 'AnglELoss'):
        other = getattr(theirs, name)(None)
        scored(get(name, normalize=False), other.compute_loss_from_embeddings, 2, graded(2))


def test_angle_of_odd_length(theirs):
    import torch

    x = vectors(2 * N, 5).reshape(2, N, 5)
    scores = torch.tensor(graded(2)).double()
    ours = get('AnglELoss', normalize=False)(*torch.tensor(x).double(), Scores(scores, 1))
    other = theirs.AnglELoss(None).compute_loss_from_embeddings(list(torch.tensor(x).double()), scores)
    assert float(ours) == pytest.approx(float(other), rel=1e-9)


def test_cosine_similarity(theirs):
    import torch

    other = theirs.CosineSimilarityLoss(torch.nn.Identity())

    def peer(x, values):
        return torch.nn.functional.mse_loss(torch.cosine_similarity(x[0], x[1]), values.view(-1))

    scored(get('CosineSimilarityLoss'), peer, 2, graded(2))
    x, y = torch.tensor(columns(2)), torch.tensor(graded(2))
    assert float(other.compute_loss_from_embeddings(list(x), y)) == pytest.approx(float(peer(x, y)))


@pytest.mark.parametrize(('count', 'width'), [(3, 1), (3, 2), (5, 3), (5, 4)])
def test_margin_mse(theirs, count, width):
    other = theirs.MarginMSELoss(None)
    scored(get('MarginMSELoss'), other.compute_loss_from_embeddings, count, graded(count, width))


@pytest.mark.parametrize('count', [3, 5])
@pytest.mark.parametrize(
    'options', [{}, {'temperature': 2.0}, {'student_temperature': 0.5, 'teacher_temperature': 0.1}]
)
def test_kl_divergence(theirs, options, count):
    other = theirs.DistillKLDivLoss(None, **options)
    scored(get('DistillKLDivLoss', **options), other.compute_loss_from_embeddings, count, graded(count, count - 1))


def unit(x):
    import torch

    return [torch.nn.functional.normalize(column) for column in x]


def test_clip_as_its_paper_has_it():
    import torch

    t = torch.tensor([np.log(1 / 0.07)])

    def paper(x):
        images, texts = unit(x)
        logits = images @ texts.T * torch.exp(t)
        labels = torch.arange(N)
        entropy = torch.nn.functional.cross_entropy
        return (entropy(logits, labels) + entropy(logits.T, labels)) / 2

    compare(lambda *given: get('CLIPLoss')(*given, logit_scale=t), paper, columns(2), lambda _: rows(2))


def test_siglip_as_its_paper_has_it():
    import torch

    t, bias = torch.tensor([np.log(10.0)]), torch.tensor([-10.0]).double()

    def paper(x):
        images, texts = unit(x)
        signs = 2 * torch.eye(N) - torch.ones(N, N)
        logits = images @ texts.T * torch.exp(t) + bias
        return -torch.sum(torch.nn.functional.logsigmoid(signs * logits)) / N

    def ours(*given):
        return get('SigLIPLoss')(*given, logit_scale=t, logit_bias=bias)

    compare(ours, paper, columns(2), lambda _: rows(2))


def test_duplicates_are_no_negatives_as_they_are_of_theirs(theirs):
    import torch

    x = columns(2)
    x[:, 1] = x[:, 0]  # the same pair twice
    codes = {
        'item': torch.tensor([0, 0, *range(1, N - 1), 100, 100, *range(101, 99 + N)]),
        'label': torch.tensor([[i] for i in [0, 0, *range(1, N - 1)] * 2]),
    }
    embeddings = torch.tensor(x).reshape(-1, DIM)
    codes = {name: code.int() for name, code in codes.items()}
    ours = Objective(get('MultipleNegativesRankingLoss', scale=1.0, reducer='anchor'))(
        embeddings, codes, Layout(N, 2, 2)
    )
    other = theirs.MultipleNegativesRankingLoss(None, scale=1.0)
    other = other.compute_loss_from_embeddings(list(torch.tensor(x)), None)
    assert float(ours) < float(other) - 0.03
