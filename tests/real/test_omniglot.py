"""A network from scratch learns to tell drawn characters apart, also those of alphabets it has never seen."""

import numpy as np

import finetuner
from finetuner.data.samples import omniglot
from tests.models import cnn

UNSEEN = ('Balinese', 'Early_Aramaic')


def test_characters_of_unseen_alphabets_are_found_better(backend, real_data):
    images, characters, alphabets = omniglot()
    unseen = np.isin(alphabets, UNSEEN)
    assert 500 < unseen.sum() < len(images) - 500
    characters = np.array(characters)
    judged = (images[unseen], characters[unseen])
    model = cnn(backend)
    before = finetuner.evaluate(model, judged, limit=1)
    finetuner.fit(model, (images[~unseen], characters[~unseen]), epochs=8)
    after = finetuner.evaluate(model, judged, limit=1)
    assert after['map_at_r'] > before['map_at_r'] + 0.1
    assert after['precision_at_k'] > before['precision_at_k'] + 0.1
