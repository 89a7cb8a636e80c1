"""Texts go through a model the longest first, with little padding, and come back in their order."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from finetuner import console
from finetuner.data import tokens
from finetuner.data.dataset import Dataset
from finetuner.data.readers import contents
from finetuner.encoding import batches
from finetuner.encoding.batches import Place, plan
from finetuner.encoding.records import embed_records
from finetuner.errors import DataError
from tests.encoding.stand_ins import PreTrainedTokenizerBase, Reader, texts


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Several windows, blocks and batches of a few texts."""
    monkeypatch.setattr(batches, 'WINDOW', 10)
    monkeypatch.setattr(batches, 'BLOCK', 150)
    monkeypatch.setitem(batches.BUDGET, 'cpu', 64)
    monkeypatch.setitem(batches.OVERHEAD, 'cpu', 4)


def encoded(coder, data, tokenizer=None, **options):
    return embed_records(coder, contents(data), collate_fn=tokenizer or PreTrainedTokenizerBase(), **options)


def alone(coder, data):
    """The vectors of texts that never stood beside another."""
    return np.concatenate([encoded(coder, [text]) for text in data])


@pytest.mark.parametrize('side', ['left', 'right'])
@pytest.mark.parametrize('options', [{}, {'batch_size': 1}, {'batch_size': 7}, {'num_workers': 2}])
def test_vectors_come_back_in_order_whatever_the_batches(side, options):
    data, coder = texts(), Reader()
    right = alone(coder, data)
    np.testing.assert_allclose(encoded(coder, data, PreTrainedTokenizerBase(side), **options), right, atol=1e-6)


def test_the_longest_come_first_and_little_is_padded():
    data, coder = texts(), Reader()
    encoded(coder, data)
    tried, computed = coder.shapes[:2], coder.shapes[2:]
    assert [rows for rows, _ in tried] == [1, 1]
    assert computed[0][1] == max(map(len, data))
    assert all(rows * width <= 64 or rows == 1 for rows, width in computed)
    assert sum(rows * width for rows, width in computed) < 1.1 * sum(map(len, data))
    assert sum(rows for rows, _ in computed) == len(data)
    coder = Reader()
    encoded(coder, data, batch_size=8)
    assert max(rows for rows, _ in coder.shapes) == 8


def test_texts_of_other_length_do_not_meet_where_padding_counts():
    data, coder = texts(), Reader(careless=True)
    np.testing.assert_allclose(encoded(coder, data), alone(coder, data), atol=1e-6)
    assert coder.pads


def test_a_model_that_is_compiled_for_each_shape_sees_few(monkeypatch):
    monkeypatch.setattr(batches, 'BLOCK', 10**6)
    data, coder = texts(400, longest=90), Reader(shapes_matter=True)
    np.testing.assert_allclose(encoded(coder, data), alone(Reader(), data), atol=1e-6)
    longest = max(map(len, data))
    computed = set(coder.shapes[2:])
    assert {width for _, width in computed} <= {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, longest}
    assert all(rows == max(64 // width, 1) for rows, width in computed)


def test_every_text_is_tokenized_once_and_the_tokens_of_a_block_alone_are_held():
    data, tokenizer = texts(), PreTrainedTokenizerBase()
    found = plan(Reader(), Dataset(contents(data)), tokenizer)
    coming = found.batches(Place())
    next(coming)
    assert len(tokenizer.seen) < len(data)
    assert sorted([*tokenizer.seen]) == sorted(dict.fromkeys(tokenizer.seen))
    for _ in coming:
        pass
    assert sorted(tokenizer.seen) == sorted(set(data))
    del tokenizer.seen[:]
    tokens.tokens(tokenizer)(data[:3])
    assert tokenizer.seen == data[:3]  # none was kept
    encoded(Reader(), data, tokenizer)
    assert not set(tokenizer.seen[3:]) & set(data[:3])  # what was kept is used


def test_a_plan_goes_on_from_every_place_as_it_would_have_gone():
    data, tokenizer = texts(), PreTrainedTokenizerBase()
    for found in (
        plan(Reader(), Dataset(contents(data)), tokenizer),
        plan(Reader(), Dataset(contents(np.eye(30, dtype=np.float32))), None, 7),
    ):
        whole = list(found.batches(Place()))
        assert len(whole) > 4
        for number, batch in enumerate(whole):
            rest = list(found.batches(batch.after))
            assert [one.items.tolist() for one in rest] == [one.items.tolist() for one in whole[number + 1 :]]


def test_what_is_prepared_is_not_prepared_twice_to_sort_it():
    asked = []

    def prepared(text):
        asked.append(text)
        return text.upper()

    data, coder = texts(), Reader()
    found = encoded(coder, data, preprocess_fn=prepared)
    np.testing.assert_allclose(found, alone(Reader(), [text.upper() for text in data]), atol=1e-6)
    assert len(asked) == len(data) + 1  # the first shows that these are texts
    assert asked[1:] == sorted(data, key=len, reverse=True)


def test_texts_without_a_tokenizer_are_sorted_by_their_letters():
    data, coder = texts(200), Reader()
    tokenizer, widths = PreTrainedTokenizerBase(), []

    def own(some):
        widths.append(max(map(len, some)))
        return tokens.tokens(tokenizer)(some)

    np.testing.assert_allclose(encoded(coder, data, own), alone(Reader(), data), atol=1e-6)
    assert len(widths) == 4 and widths == sorted(widths, reverse=True)


def test_empty_texts_have_vectors_too():
    assert encoded(Reader(), ['', 'ab', '']).tolist()[0] == [0.0] * 6


def test_a_batch_that_does_not_fit_goes_in_halves_and_those_after_it_too(log):
    data = texts(200)
    np.testing.assert_allclose(encoded(Reader(room=45), data), alone(Reader(), data), atol=1e-6)
    assert log.text.count('Out of memory: going on with') == 1


def test_an_item_that_does_not_fit_alone_is_named():
    with pytest.raises(DataError, match=r'item \d+ alone does not fit into memory: take a smaller model'):
        encoded(Reader(room=5), texts())


def test_of_a_batch_the_item_that_does_not_fit_is_named():
    class Picky(Reader):
        def forward(self, inputs):
            if (inputs['input_ids'] == ord('z') % 49 + 1).any():
                raise MemoryError
            return super().forward(inputs)

    data = ['abcd'] * 9
    data[5] = 'abcz'
    with pytest.raises(DataError, match='item 5 alone does not fit into memory'):
        encoded(Picky(), data)


def test_a_bar_counts_the_items(monkeypatch):
    shown = StringIO()
    monkeypatch.setattr(console, 'live_console', Console(file=shown, force_terminal=True, width=80))
    encoded(Reader(), texts())
    assert 'Encoding' in shown.getvalue() and '100%' in shown.getvalue()
    shown.truncate(0)
    encoded(Reader(), texts(), show_progress=False)
    assert 'Encoding' not in shown.getvalue()
