"""From embeddings and codes to a number: layouts, precision, learned parameters, functions of people's own."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import ArcFaceLoss, CoSENTLoss, InfoNCELoss, MarginMSELoss, TripletMarginLoss, get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Band, Relation, Scores
from tests.losses import cases

LABELS = [0, 0, 1, 1, 2]
X = cases.vectors(5)


@pytest.mark.parametrize('name', ['ContrastiveLoss', 'InfoNCELoss', 'MultiSimilarityLoss', 'TripletLoss'])
def test_labels_and_codes_give_one_value(library, name):
    batch = cases.classes((0, 0, 0, 1, 1, 2, 3))._replace(embeddings=X)
    codes = {'item': np.arange(5, dtype=np.int32), 'label': np.array(LABELS, np.int32)[:, None]}
    batch = batch._replace(codes=codes, layout=batch.layout._replace(rows=5, most=1))
    value, _ = library.run(Objective(get(name)), batch)
    for labels in (LABELS, np.array(LABELS), library.native(np.array(LABELS))):
        assert float(get(name)(library.native(X), labels)) == pytest.approx(value, rel=1e-6)


def test_classes_and_labels_give_one_value(library):
    weights = cases.vectors(3, seed=9)
    codes = {'item': np.arange(5, dtype=np.int32), 'label': np.array(LABELS, np.int32)[:, None]}
    batch = cases.classes()
    batch = batch._replace(embeddings=X, codes=codes, layout=batch.layout._replace(rows=5, most=1, n_classes=3))
    value, _ = library.run(Objective(ArcFaceLoss()), batch, weights)
    for labels in (LABELS, np.array(LABELS), library.native(np.array(LABELS))):
        again = ArcFaceLoss()(library.native(X), labels, classes=library.native(weights))
        assert float(again) == pytest.approx(value, rel=1e-6)


def test_bare_scores_will_do(library):
    a, b = (library.native(cases.vectors(4, seed=i)) for i in range(2))
    score = np.array([0.1, 0.5, 0.4, 0.9])
    whole = Scores(library.native(score[:, None], 'float32'), 1)
    expected = float(CoSENTLoss()(a, b, whole))
    assert float(CoSENTLoss()(a, b, score)) == pytest.approx(expected)
    assert float(CoSENTLoss()(a, b, library.native(score))) == pytest.approx(expected)
    both = library.native(np.concatenate([cases.vectors(4, seed=i) for i in (1, 2)]))
    margins = Scores(library.native(score[:, None], 'float32'), 2)
    assert float(MarginMSELoss()(a, both, score)) == pytest.approx(float(MarginMSELoss()(a, both, margins)))


def test_what_a_call_lacks_is_named():
    with pytest.raises(ArgumentError, match=r'CoSENTLoss expects scores, .*loss\(anchors, candidates, scores\)'):
        CoSENTLoss()(X, LABELS)
    with pytest.raises(ArgumentError, match=r'ArcFaceLoss .*loss\(embeddings, labels, classes=weights\)'):
        ArcFaceLoss()(X, LABELS)


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize(
    ('objective', 'batch'),
    [
        (Objective(InfoNCELoss()), cases.classes),
        (Objective(TripletMarginLoss(), TripletMarginMiner()), cases.pairs),
        (Objective(CoSENTLoss()), cases.scored),
    ],
)
def test_half_precision_is_computed_in_full(xp, library, dtype, objective, batch):
    batch = batch()
    short = library.native(batch.embeddings, dtype)
    rounded = batch._replace(embeddings=xp.to_numpy(xp.cast(short, xp.float32)))
    expected, _ = library.run(objective, rounded)
    value, (slope,) = library.run(objective, rounded, dtype=dtype)
    assert value == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_learned_weights_follow_the_embeddings_precision(library):
    if not library.float64:
        pytest.skip('JAX has float64 only as a setting of the whole process')
    x, weights = library.native(X, 'float64'), library.native(cases.vectors(3))
    assert 'float64' in str(ArcFaceLoss()(x, LABELS, classes=weights).dtype)


def test_any_function_is_a_loss(library, xp):
    seen = []

    def loss(anchors, candidates, relation):
        seen.append((anchors.shape[0], candidates.shape[0], type(relation)))
        return xp.sum(anchors * anchors)

    for batch in (cases.classes(), cases.pairs(), cases.scored()):
        value, _ = library.run(Objective(loss), batch)
        assert value == pytest.approx(np.square(batch.columns[0]).sum(), rel=1e-5)
    assert set(seen) == {(11, 11, Relation), (5, 10, Relation), (6, 6, Scores)}
    assert Objective(loss).parameters(3, 4) == {}


def test_any_function_is_a_miner_and_sees_no_gradient(library, xp):
    def miner(distances, relation):
        return relation._replace(positives=relation.positives & (distances < 0.9), most=relation.most)

    def loss(anchors, candidates, relation):
        return xp.sum(xp.where(relation.positives, xp.matmul(anchors, xp.transpose(candidates)), 0.0))

    batch = cases.classes()
    value, _ = library.run(Objective(loss, miner), batch)
    x = batch.columns[0]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = (x @ x.T)[batch.positives & (1 - unit @ unit.T < 0.9)].sum()
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', ['TripletMarginLoss', 'InfoNCELoss', 'ContrastiveLoss'])
def test_a_miner_may_judge_by_distances_that_it_made(library, name):
    def miner(distances, relation):
        return relation._replace(keep=Band(high=0.0), distances=-distances)

    batch = cases.classes()
    mirrored, _ = library.run(Objective(get(name), miner), batch)
    farther, _ = library.run(
        Objective(get(name), lambda d, relation: relation._replace(keep=lambda p, n, _: n >= p, distances=d)),
        batch,
    )
    plain, _ = library.run(Objective(get(name), TripletMarginMiner(0.0, 'hard')), batch)
    assert mirrored == pytest.approx(farther, rel=1e-6)
    assert mirrored != pytest.approx(plain, rel=1e-2)


def test_other_sessions_are_negatives_only_where_the_loss_wants_them(library):
    batch = cases.sessions()
    alone, _ = library.run(Objective(get('TripletMarginLoss', reducer='sum')), batch)
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    x = library.native(batch.embeddings)
    assert float(get('TripletMarginLoss', reducer='sum')(x, x, relation)) == pytest.approx(alone, rel=1e-6)
    assert float(InfoNCELoss()(x, x, relation)) < library.run(Objective(InfoNCELoss()), batch)[0]


def test_class_directions_are_unit_vectors_and_the_same_each_time():
    first = ArcFaceLoss().parameters(8, 5)['classes']
    assert first.shape == (5, 8) and first.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(first, ArcFaceLoss(margin=1.0).parameters(8, 5)['classes'])
    assert InfoNCELoss().parameters(8, 5) == {}
