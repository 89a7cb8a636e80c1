"""A tokenizer as transformers has them, and a model of numpy that reads what it gives."""

import numpy as np

from finetuner.data.tokens import KIND
from finetuner.inference import Encoder


class PreTrainedTokenizerBase:
    """A token for every letter, from 1; known by its name, as those of transformers are."""

    __module__ = KIND[0]
    pad_token_id, pad_token_type_id = 0, 0
    truncation_side, model_max_length = 'right', 100

    def __init__(self, padding_side='right'):
        self.padding_side, self.seen = padding_side, []

    def __len__(self):
        return 50

    def __call__(self, texts, truncation):
        self.seen += texts
        ids = [[ord(letter) % 49 + 1 for letter in text[: self.model_max_length]] for text in texts]
        return {'input_ids': ids, 'attention_mask': [[1] * len(row) for row in ids]}


class Reader(Encoder):
    """The mean of a table's rows.

    Args:
        careless: whether padding counts.
        room: the tokens that fit into memory.
        shapes_matter: as if it were compiled.
    """

    framework = 'numpy'
    shapes_matter = False

    def __init__(self, careless=False, room=10**9, shapes_matter=False):
        super().__init__(np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32))
        self.careless, self.room, self.shapes_matter = careless, room, shapes_matter
        self.shapes = []

    def forward(self, inputs):
        ids, mask = inputs['input_ids'], inputs['attention_mask']
        if ids.size > self.room:
            raise RuntimeError('DefaultCPUAllocator: not enough memory')
        self.shapes.append(ids.shape)
        mask = np.ones_like(mask) if self.careless else mask
        return (self.model[ids] * mask[..., None]).sum(1) / np.maximum(mask.sum(1, keepdims=True), 1)

    def place(self, device):
        pass

    def weights(self):
        return {'table': self.model.copy()}

    def assign(self, weights):
        self.model[:] = weights['table']

    def trainable(self):
        return self.model.size

    def layers(self):
        return []


def texts(n=60, longest=40, seed=0):
    """Texts of letters, most of them short."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(2 + rng.exponential(6, n).astype(int), longest)
    return [''.join(rng.choice(list('abcdefghij'), length)) for length in lengths]
