"""PyTorch Lightning: the loss is a module within the LightningModule, saved in its checkpoints."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import finetuner
from finetuner.data.sampler import ClassSampler
from finetuner.losses import get


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        memory = get('CrossBatchMemory', loss=('InfoNCELoss', {'temperature': 0.1}), memory_size=256)
        self.criterion = memory.module('torch', dim=32)  # remembers in buffers, as long as it is training

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, _):
        x, y = batch
        return self.criterion(self(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-3)


def main(epochs=5):
    lightning.seed_everything(0, verbose=False)
    images, labels = finetuner.data.samples.digits()
    train, test = (images[::2], labels[::2]), (images[1::2], labels[1::2])
    module = Digits()
    before = finetuner.evaluate(module.model, test)['map_at_r']
    sampler = ClassSampler(train[1], batch_size=32, num_items_per_class=4)
    batches = DataLoader(TensorDataset(*map(torch.from_numpy, train)), batch_sampler=sampler)
    quiet = {'logger': False, 'enable_checkpointing': False, 'enable_progress_bar': False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator='cpu', devices=1, **quiet)
    trainer.fit(module, batches)
    return before, finetuner.evaluate(module.model, test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main()))
