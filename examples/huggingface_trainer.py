"""Hugging Face Trainer: a model whose output holds our loss; what the loss learns is trained and saved with it."""

import tempfile

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertModel, Trainer, TrainingArguments

import finetuner
from finetuner.data.sampler import ClassSampler
from finetuner.losses import get


class Embedder(torch.nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        config = BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
        config.intermediate_size, config.hidden_dropout_prob = 64, 0.0
        self.bert = BertModel(config, add_pooling_layer=False)
        self.criterion = get('ProxyAnchorLoss').module('torch', dim=32, n_classes=n_classes)

    def forward(self, input_ids, labels=None):
        embeddings = self.bert(input_ids).last_hidden_state.mean(1)
        return embeddings if labels is None else {'loss': self.criterion(embeddings, labels)}


class ClassTrainer(Trainer):
    def get_train_dataloader(self):
        labels = [int(row['labels']) for row in self.train_dataset]
        sampler = ClassSampler(labels, self.args.train_batch_size, num_items_per_class=4)
        return DataLoader(self.train_dataset, batch_sampler=sampler, collate_fn=self.data_collator)


def sentences(n=400, n_classes=10, words=12, seed=0):
    """Tokens (N, words): of a class's own six every fourth, of all others the rest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    own = labels[:, None] * 6 + rng.integers(0, 6, (n, words))
    return np.where(rng.random((n, words)) < 0.25, own, rng.integers(60, 200, (n, words))), labels


def main(epochs=6):
    torch.manual_seed(0)
    tokens, labels = sentences()
    test = sentences(seed=1)
    model = Embedder(10)
    before = finetuner.evaluate(model, test)['map_at_r']
    rows = [{'input_ids': x, 'labels': y} for x, y in zip(torch.from_numpy(tokens), labels.tolist(), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        options = {'num_train_epochs': epochs, 'per_device_train_batch_size': 40, 'learning_rate': 3e-3}
        quiet = {'report_to': [], 'save_strategy': 'no', 'disable_tqdm': True, 'use_cpu': True}
        ClassTrainer(model, TrainingArguments(folder, **options, **quiet), train_dataset=rows).train()
    return before, finetuner.evaluate(model.eval(), test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main()))
