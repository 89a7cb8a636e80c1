"""A tokenizer is a collate_fn, and sees every text once."""

import pickle

import numpy as np
import pytest

from finetuner.data.collate import collate
from finetuner.data.tokens import reader
from finetuner.errors import ArgumentError, DataError


@pytest.fixture
def tokenizer():
    tokenizers = pytest.importorskip('tokenizers')
    transformers = pytest.importorskip('transformers')
    words = {'[PAD]': 0, '[UNK]': 1, 'one': 2, 'two': 3, 'three': 4}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token='[UNK]'))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token='[PAD]', unk_token='[UNK]')
    made.model_max_length = 4
    return made


TEXTS = ['one two', 'three', 'one two three four one', 'three']


def named(place):
    return f'item {place}'


@pytest.mark.parametrize('side', ['left', 'right'])
def test_it_gives_what_the_tokenizer_gives(tokenizer, side):
    tokenizer.padding_side = side
    found = collate(TEXTS, named, tokenizer)
    right = tokenizer(TEXTS, padding=True, truncation=True, return_tensors='np')
    assert set(found) == set(right)
    for name, array in right.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_text_is_tokenized_once_and_anew_when_the_tokenizer_is_set_otherwise(tokenizer):
    seen = []

    class Counting(type(tokenizer)):
        def __call__(self, texts, **options):
            seen.extend(texts)
            return super().__call__(texts, **options)

    tokenizer.__class__ = Counting
    for _ in range(2):
        collate(TEXTS, named, tokenizer)
    collate(['two', *TEXTS], named, tokenizer)
    assert seen == [*TEXTS[:3], 'two']
    tokenizer.model_max_length = 2
    assert collate(TEXTS, named, tokenizer)['input_ids'].shape == (4, 2)
    tokenizer.add_tokens(['four'])
    assert collate(['four'], named, tokenizer)['input_ids'].tolist() == [[5]]


def test_it_can_be_pickled_for_workers(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert collate(TEXTS, named, again)['input_ids'].tolist() == collate(TEXTS, named, tokenizer)['input_ids'].tolist()


def test_what_is_no_tokenizer_stays_as_it_is():
    assert reader(len) is len


def test_bad_input(tokenizer):
    with pytest.raises(DataError, match=r'batch of item 0 to item 1: TypeError: a tokenizer takes texts.*is a int'):
        collate(['one', 3], named, tokenizer)
    tokenizer.pad_token = None
    with pytest.raises(ArgumentError, match=r'has no pad_token.*tokenizer\.pad_token = tokenizer\.eos_token'):
        collate(['one'], named, tokenizer)
