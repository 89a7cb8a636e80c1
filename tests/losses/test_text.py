"""Losses of text and images: what their options mean, and what is refused."""

import math

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation, Scores, same_class
from finetuner.losses.rows import in_row
from tests.losses import cases
from tests.losses.values import text

MNRL = 'MultipleNegativesRankingLoss'
X = cases.vectors(4)
PLAIN = Relation(np.eye(4, dtype=bool), ~np.eye(4, dtype=bool), 1)


@pytest.mark.parametrize('mode', ['in_batch_negatives', 'hard_negatives', 'all_negatives'])
def test_harder_negatives_weigh_more_as_a_constant(library, mode):
    # Not among the cases of the oracle: differences see the slope of what the formula takes for a constant.
    options = {'hardness_mode': mode, 'hardness_strength': 5.0, 'scale': 3.0}
    value, (slope,) = library.run(Objective(get(MNRL, **options)), cases.pairs())
    assert value == pytest.approx(text.ranking(cases.pairs(), **options), rel=3e-6)
    plain, (usual,) = library.run(Objective(get(MNRL, scale=3.0)), cases.pairs())
    assert abs(value - plain) > 1e-3
    assert np.abs(slope - usual).max() > 1e-3


def test_the_rows_of_candidates():
    relation = Relation(np.zeros((2, 7), bool), np.zeros((2, 7), bool), 1)
    expected = [[1, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0]]  # three columns, and one that is remembered
    for width in (3, None):
        np.testing.assert_array_equal(in_row(relation._replace(width=width)), np.array(expected, bool))
    assert in_row(relation._replace(width=1)).sum() == 2


def test_a_batch_of_labels_has_one_direction():
    labels = [0, 0, 1, 1]
    value = get(MNRL)(X, labels)
    for directions in (text.ALL, text.BOTH):
        assert get(MNRL, directions=directions)(X, labels) == value
    assert get('MultipleNegativesSymmetricRankingLoss')(X, labels) == pytest.approx(value)


@pytest.mark.parametrize('name', [MNRL, 'MultipleNegativesSymmetricRankingLoss', 'CLIPLoss', 'SigLIPLoss'])
def test_a_memory_adds_negatives(library, name):
    options = {'directions': text.ALL} if name == MNRL else {}
    batch = cases.pairs()
    objective = Objective(get('CrossBatchMemory', loss=get(name, **options), memory_size=30))
    codes = {key: library.native(code) for key, code in batch.codes.items()}
    x = library.native(batch.embeddings)
    memory = {k: library.native(v) for k, v in objective.memory(5, batch.codes, batch.layout).items()}
    empty = float(objective(x, codes, batch.layout, {}, memory))
    plain, _ = library.run(Objective(get(name, **options)), batch, *get(name, **options).parameters(1, 1).values())
    assert empty == pytest.approx(plain, rel=1e-5)
    older = {key: library.native(value + 100 if key == 'item' else value) for key, value in batch.codes.items()}
    older['label'] = library.native(batch.codes['label'] + 100)
    memory = objective.remember(memory, library.native(cases.vectors(15, seed=4)), older, batch.layout)
    assert float(objective(x, codes, batch.layout, {}, memory)) > empty + 1e-3


def test_the_scale_of_clip_ends_and_can_come_back(library):
    def value(t):
        def f(x, scale):
            near = np.eye(4, dtype=bool)
            relation = Relation(library.native(near), library.native(~near), 1)
            return get('CLIPLoss')(x, library.native(cases.vectors(4, seed=1)), relation, logit_scale=scale)

        return library.value_and_grad(f, X, np.array([t], np.float32))

    most, beyond = value(math.log(100)), value(math.log(100) + 2)
    assert beyond[0] == pytest.approx(most[0], rel=1e-5)
    if library.name != 'numpy':  # whose slopes are differences
        assert beyond[1][1] == pytest.approx(most[1][1], rel=1e-4)
        assert abs(beyond[1][1][0]) > 1e-3


def test_what_is_learned_starts_where_it_was_published():
    assert get('CLIPLoss').parameters(3, 2) == {'logit_scale': pytest.approx(math.log(1 / 0.07))}
    start = get('SigLIPLoss').parameters(3, 2)
    assert start == {'logit_scale': pytest.approx(math.log(10)), 'logit_bias': -10.0}
    assert all(value.dtype == np.float32 for value in start.values())
    native = get('SigLIPLoss')(X, X + 1, PLAIN, **start)
    assert get('SigLIPLoss')(X, X + 1, PLAIN) == pytest.approx(native)  # without them, from there


def test_gist_leaves_out_what_its_guide_holds_for_more_similar():
    angles = np.radians([0, 60, 30, 100])
    guide = np.column_stack([np.cos(angles), np.sin(angles)])
    plain = same_class([0, 0, 1, 1])
    trusted = plain._replace(negatives=plain.negatives & (guide @ guide.T < 0.3))  # 0 and 3 are strangers, no others
    assert trusted.negatives.sum() == 2
    loss, ranking = get('GISTEmbedLoss', temperature=0.5), get(MNRL, scale=2.0)
    value = loss(X, X, plain._replace(guide=(guide, guide)))
    assert value == pytest.approx(ranking(X, X, trusted))
    assert value < ranking(X, X, plain) - 0.1
    wider = get('GISTEmbedLoss', temperature=0.5, margin=0.9)
    assert wider(X, X, plain._replace(guide=(guide, guide))) == 0


def test_gist_needs_a_guide():
    with pytest.raises(ArgumentError, match=r'needs a guide: give fit\(…, guide=model\)'):
        get('GISTEmbedLoss')(X, [0, 0, 1, 1])
    with pytest.raises(ArgumentError, match='has no guide'):
        PLAIN.guide_similarity()


def test_a_guide_is_seen_without_slope(library):
    def f(x):
        relation = Relation(library.native(np.eye(4, dtype=bool)), library.native(~np.eye(4, dtype=bool)), 1)
        return get('GISTEmbedLoss')(x, library.native(cases.vectors(4, seed=1)), relation._replace(guide=(x, x)))

    value, (slope,) = library.value_and_grad(f, X)
    assert np.isfinite(value) and np.isfinite(slope).all()


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        (MNRL, {'scale': 0}, 'scale must be a positive number, got 0'),
        (MNRL, {'directions': ()}, "directions are empty: expected some of 'query_to_doc'"),
        (MNRL, {'directions': ('doc_to_query',)}, "lack the pairs themselves: add 'query_to_doc'"),
        (MNRL, {'directions': ('query_to_docs',)}, "directions='query_to_docs': expected 'query_to_doc', 'query"),
        (MNRL, {'partition_mode': 'each'}, "partition_mode='each': expected 'joint' or 'per_direction'"),
        (
            MNRL,
            {'directions': text.ALL, 'partition_mode': 'per_direction'},
            "not in 'query_to_query' and 'doc_to_doc': take partition_mode='joint'",
        ),
        (MNRL, {'hardness_mode': 'hard'}, "hardness_mode='hard': expected None, 'in_batch_negatives'"),
        (MNRL, {'hardness_mode': 'hard_negatives'}, 'expected a mode and a positive strength'),
        (MNRL, {'hardness_strength': 5.0}, "such as 'hard_negatives' and 5, or None and 0"),
        ('GISTEmbedLoss', {'margin_strategy': 'both'}, "margin_strategy='both': expected 'absolute' or 'relative'"),
        ('GISTEmbedLoss', {'temperature': 0}, 'temperature must be a positive number'),
        ('CLIPLoss', {'temperature': 0}, 'temperature must be a positive number, got'),
        ('CLIPLoss', {'max_scale': 10}, 'expected a scale of at least 14.28'),
        ('SigLIPLoss', {'scale': -1}, 'scale must be a positive number'),
        ('DistillKLDivLoss', {'teacher_temperature': 0}, 'teacher_temperature must be a positive number, got 0'),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **options)


def test_one_direction_may_be_given_alone():
    assert get(MNRL, directions='query_to_doc') == get(MNRL)
    assert get(MNRL, directions=['query_to_doc', 'doc_to_doc']).directions == ('query_to_doc', 'doc_to_doc')


def test_fewer_candidates_than_anchors_are_no_pairs():
    relation = Relation(np.eye(4, 2, dtype=bool), ~np.eye(4, 2, dtype=bool), 1)
    with pytest.raises(ArgumentError, match='these are 4 anchors with 2 candidates'):
        get(MNRL, directions=text.ALL)(X, X[:2], relation)


@pytest.mark.parametrize(
    ('name', 'width', 'came', 'message'),
    [
        ('CosineSimilarityLoss', 1, 2, 'CosineSimilarityLoss expects 1 score in each row of 2 columns, got 2'),
        ('CoSENTLoss', 1, 2, 'CoSENTLoss expects 1 score '),
        ('AnglELoss', 1, 2, 'AnglELoss expects 1 score '),
        ('MarginMSELoss', 3, 1, 'MarginMSELoss expects 2 or 3 scores in each row of 4 columns, got 1'),
        ('DistillKLDivLoss', 3, 2, 'DistillKLDivLoss expects 3 scores'),
    ],
)
def test_rows_with_another_number_of_scores(name, width, came, message):
    with pytest.raises(ArgumentError, match=message):
        get(name)(X, np.concatenate([X] * width), Scores(np.ones((4, came), np.float32), width))


@pytest.mark.parametrize('scale', [1.0, 1e-7, 6e4])
@pytest.mark.parametrize('name', ['AnglELoss', 'CosineSimilarityLoss', 'DistillKLDivLoss', 'MarginMSELoss'])
def test_scores_of_any_vectors_give_numbers(library, name, scale):
    width = 2 if get(name).columns == 2 else 3
    for x in (np.zeros((4 * width, 3)), np.ones((4 * width, 3)), scale * np.eye(4 * width, 3), scale * np.ones((4, 3))):
        x = np.resize(x, (4 * width, 3)).astype(np.float32)
        score = np.array([[1e3], [-1e3], [0], [0.5]], np.float32) * np.ones((1, width - 1), np.float32)
        batch = cases.scored()._replace(
            embeddings=x, codes={'item': np.arange(4 * width, dtype=np.int32), 'score': score}
        )
        batch = batch._replace(layout=batch.layout._replace(rows=4, width=width))
        value, (slope,) = library.run(Objective(get(name)), batch)
        assert np.isfinite(value) and value >= 0 and np.isfinite(slope).all()


@pytest.mark.backends('keras-tensorflow', 'keras-jax', 'paddle')
@pytest.mark.parametrize(
    ('name', 'options', 'batch'),
    [
        (MNRL, {'directions': text.ALL, 'hardness_mode': 'hard_negatives', 'hardness_strength': 2.0}, cases.pairs),
        ('GISTEmbedLoss', {'temperature': 0.2}, text.guided(cases.pairs)),
    ],
)
def test_a_compiler_changes_nothing_of_blocks_within_columns(library, name, options, batch):
    objective, made = Objective(get(name, **options)), batch()
    codes = {key: library.native(code) for key, code in made.codes.items()}

    def f(x):
        return objective(x, codes, made.layout)

    value, (slope,) = library.value_and_grad(f, made.embeddings)
    again, (other,) = library.value_and_grad(f, made.embeddings, compiled=True)
    assert again == pytest.approx(value, rel=1e-5)
    assert np.abs(other - slope).max() <= 1e-5 * np.abs(slope).max()
