"""What is held out: enough to judge by, and nothing that is trained on."""

import numpy as np
import pytest

from finetuner.data.problems import class_sizes, problems
from finetuner.data.readers import read
from finetuner.data.split import hold_out, part


def _parts(data, **options):
    records = read(data)
    kept, out = hold_out(records, **options)
    count = len(records) if records.rows is None else len(records.rows)
    assert sorted([*kept, *out]) == list(range(count))
    return part(records, kept)[0], part(records, out)[0]


def _labelled(sizes):
    labels = [f'class {place}' for place, size in enumerate(sizes) for _ in range(size)]
    order = np.random.default_rng(0).permutation(len(labels))
    return [f'text {place}' for place in order], [labels[place] for place in order]


def test_of_many_classes_some_are_held_out_whole():
    train, held = _parts(_labelled([10] * 40))
    assert not class_sizes(train).keys() & class_sizes(held).keys()
    assert class_sizes(held).keys() | class_sizes(train).keys() == {f'class {n}' for n in range(40)}
    assert list(class_sizes(held).values()) == [10] * 4


def test_of_few_classes_each_has_items_on_both_sides():
    train, held = _parts(_labelled([300, 40, 4, 3, 1]))
    assert class_sizes(held) == {'class 0': 30, 'class 1': 4, 'class 2': 2}
    assert class_sizes(train) == {'class 0': 270, 'class 1': 36, 'class 2': 2, 'class 3': 3, 'class 4': 1}


def test_no_more_than_asked_for_is_held_out():
    for sizes in ([500] * 30, [5_000] * 3):
        _, held = _parts(_labelled(sizes), most=1_000)
        assert 990 <= len(held) <= 1_000


def test_classes_larger_than_the_part_are_held_out_in_part():
    train, held = _parts(_labelled([1_000, 1_000, *[1] * 20]))
    assert class_sizes(held) == {'class 0': 100, 'class 1': 100}
    assert class_sizes(train)['class 0'] == 900


def test_items_of_several_labels_are_parted_by_their_first():
    texts = [f'text {n}' for n in range(200)]
    train, held = _parts((texts, [['a', 'b'] if n % 2 else ['b'] for n in range(200)]))
    assert len(held) == 20
    assert class_sizes(held) == {'a': 10, 'b': 20}
    assert len(train) == 180


def test_pairs_that_stand_there_both_ways_are_held_out_both_ways():
    rows = [(f'a{n}', f'b{n}') for n in range(200)]
    train, held = _parts(rows + [(b, a) for a, b in rows])
    assert 20 <= len(held.rows) <= 40
    assert not set(train.contents) & set(held.contents)


def test_an_anchor_of_many_rows_does_not_stand_in_the_way():
    rows = [('hub', f'document {n}') for n in range(1_000)] + [(f'q{n}', f'd{n}') for n in range(1_000)]
    for seed in range(5):
        _, held = _parts(rows, seed=seed)
        assert 150 <= len(held.rows) <= 200
        assert 'hub' not in list(held.contents)


def test_of_very_many_classes_no_more_than_a_part_is_held_out():
    labels = [f'class {n // 4}' for n in range(8_000)]
    _, held = _parts(([f'text {n}' for n in range(8_000)], [['a', 'b'], *labels[1:]]))
    assert 800 <= len(held) <= 802


def test_where_most_items_are_of_few_classes_these_are_judged_too():
    _, held = _parts(_labelled([1_000] * 18 + [10] * 2))
    assert len(class_sizes(held)) == 20
    assert 1_700 <= len(held) <= 1_900


def test_pairs_of_one_anchor_stay_together():
    rows = [(f'query {n // 3}', f'document {n}') for n in range(300)]
    train, held = _parts(rows)
    assert len(held.rows) == 30
    assert not {train.contents[row] for row in train.rows[:, 0]} & {held.contents[row] for row in held.rows[:, 0]}
    texts = [(held.contents[a], held.contents[b]) for a, b in held.rows]
    assert set(texts) <= set(rows)
    assert not problems(train)


def test_rows_with_fewer_negatives_than_others_stay_whole():
    rows = [(f'q{n}', f'p{n}', *(f'n{n} {k}' for k in range(n % 3))) for n in range(100)]
    _, held = _parts(rows)
    texts = {tuple(held.contents[cell] for cell in row if cell >= 0) for row in held.rows}
    assert len(texts) == 10
    assert texts <= set(rows)


def test_scores_keep_their_rows():
    rows = [(f'a{n}', f'b{n}', n / 100) for n in range(100)]
    _, held = _parts(rows)
    assert len(held.rows) == 10
    for (a, b), score in zip(held.rows, held.scores[:, 0], strict=True):
        assert (held.contents[a], held.contents[b], pytest.approx(score)) in rows


def test_sessions_stay_whole():
    docarray = pytest.importorskip('docarray')
    documents = docarray.DocumentArray(
        docarray.Document(
            text=f'root {n}',
            matches=[docarray.Document(text=f'{n} {k}', tags={'finetuner_label': k}) for k in (1, -1)],
        )
        for n in range(100)
    )
    train, held = _parts(documents)
    assert len(held) == 30
    assert not set(train.session) & set(held.session)
    assert (np.unique(held.session, return_counts=True)[1] == 3).all()


def test_the_seed_decides():
    records = read(_labelled([10] * 40))
    one, same, other = (hold_out(records, seed=seed)[1] for seed in (1, 1, 2))
    assert (one == same).all()
    assert set(one) != set(other)


def test_names_and_contents_are_those_of_the_data():
    records = read(_labelled([10] * 40))
    held, items = part(records, hold_out(records)[1])
    assert [held.contents[n] for n in range(len(held))] == [records.contents[item] for item in items]
    assert held.names[3] == records.names[items[3]]
