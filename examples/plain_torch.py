"""A loop of PyTorch alone: our batches, our losses as a module, your optimizer."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import finetuner
from finetuner.data.sampler import ClassSampler
from finetuner.losses import get


def main(epochs=5):
    torch.manual_seed(0)
    images, labels = finetuner.data.samples.digits()
    train, test = (images[::2], labels[::2]), (images[1::2], labels[1::2])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    before = finetuner.evaluate(model, test)['map_at_r']

    # A sampler is a batch_sampler: here 8 images of each of 8 digits in every batch.
    sampler = ClassSampler(train[1], batch_size=64, num_items_per_class=8)
    batches = DataLoader(TensorDataset(*map(torch.from_numpy, train)), batch_sampler=sampler)

    # What the losses learn (the classes of ArcFace) are parameters like any, with a learning rate of their own.
    loss = get('MultipleLosses', losses=['InfoNCELoss', 'ArcFaceLoss'], weights=[1.0, 0.05])
    criterion = loss.module('torch', dim=32, n_classes=10)
    optimizer = torch.optim.AdamW(
        [{'params': model.parameters(), 'lr': 1e-3}, {'params': criterion.parameters(), 'lr': 1e-2}]
    )
    model.train()
    for _ in range(epochs):
        for x, y in batches:
            value = criterion(model(x), y)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    model.eval()
    return before, finetuner.evaluate(model, test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main()))
