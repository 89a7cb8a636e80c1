"""Keras 3 on any engine: our loss is a layer, called in `compute_loss`; then `fit` as ever."""

import keras

import finetuner
from finetuner.data.sampler import ClassSampler
from finetuner.losses import get


class Embedder(keras.Model):
    def __init__(self):
        super().__init__()
        dense = keras.layers.Dense
        self.body = keras.Sequential([keras.layers.Flatten(), dense(64, activation='relu'), dense(32)])
        loss = get(
            'MatryoshkaLoss', loss=('MultipleLosses', {'losses': ['InfoNCELoss', 'ProxyAnchorLoss']}), dims=[32, 8]
        )
        self.criterion = loss.module('keras', dim=32, n_classes=10)

    def call(self, x):
        return self.body(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.criterion(y_pred, y, training=training)  # compile(loss=…) would make floats of the labels


def main(epochs=5):
    keras.utils.set_random_seed(0)
    images, labels = finetuner.data.samples.digits()
    train, test = (images[::2], labels[::2]), (images[1::2], labels[1::2])
    model = Embedder()
    model(images[:2])
    before = finetuner.evaluate(model.body, test)['map_at_r']
    sampler = ClassSampler(train[1], batch_size=64, num_items_per_class=8)

    def batches():
        for epoch in range(epochs):
            for batch in sampler.batches(epoch):
                yield train[0][batch], train[1][batch]

    model.compile(keras.optimizers.AdamW(2e-3))
    model.fit(batches(), steps_per_epoch=len(sampler), epochs=epochs, verbose=0)
    return before, finetuner.evaluate(model.body, test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main()))
