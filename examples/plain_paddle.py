"""A loop of PaddlePaddle alone: our batches, our loss with a miner as a layer, your optimizer."""

import paddle
from paddle import nn

import finetuner
from finetuner.data.sampler import ClassSampler
from finetuner.losses import get


def main(epochs=5):
    paddle.seed(0)
    images, labels = finetuner.data.samples.digits()
    train, test = (images[::2], labels[::2]), (images[1::2], labels[1::2])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    before = finetuner.evaluate(model, test)['map_at_r']

    sampler = ClassSampler(train[1], batch_size=64, num_items_per_class=8)
    criterion = get('TripletMarginLoss', margin=0.2).module('paddle', miner='TripletMarginMiner')
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=[*model.parameters(), *criterion.parameters()])
    model.train()
    for _ in range(epochs):
        for batch in sampler:  # lists of items, another order in every epoch
            x, y = paddle.to_tensor(train[0][batch]), paddle.to_tensor(train[1][batch])
            criterion(model(x), y).backward()
            optimizer.step()
            optimizer.clear_grad()
    model.eval()
    return before, finetuner.evaluate(model, test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main()))
