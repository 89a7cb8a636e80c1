import numpy as np
import pytest

from finetuner.data.augmentation import WordDropout
from finetuner.data.chance import seeded
from finetuner.errors import ArgumentError, DataError

TEXT = 'how  do I send\nmoney to a friend'


def view(number, rate=0.4, text=TEXT):
    with seeded(number):
        return WordDropout(rate)(text)


def test_words_are_left_out_in_their_order():
    words = TEXT.split()
    views = [view(number).split() for number in range(50)]
    for left in views:
        places = iter(words)
        assert left and all(word in places for word in left)
    assert len({tuple(left) for left in views}) > 20
    assert np.mean([len(left) for left in views]) == pytest.approx(0.6 * len(words), rel=0.15)


def test_views_hang_on_the_seed_alone():
    assert view(3) == view(3)


def test_spaces_stay_as_they_are_and_rate_0_leaves_the_text():
    assert view(0, 0) == TEXT


@pytest.mark.parametrize('text', ['word', ' word ', '', '  '])
def test_at_least_one_word_stays(text):
    assert view(0, 0.99, text).strip() == text.strip()
    assert all(view(number, 0.99).strip() for number in range(20))


def test_what_is_no_text_is_refused():
    with pytest.raises(DataError, match=r'expected a text, came a list'):
        WordDropout()(['a'])


@pytest.mark.parametrize('rate', [1, -0.1, 2, '0.1', None, True])
def test_rates_that_cannot_be_are_refused(rate):
    with pytest.raises(ArgumentError, match=r'rate=.*(expected|leaves no words)'):
        WordDropout(rate)
