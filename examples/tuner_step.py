"""The step of `finetuner.fit` in a loop of your own: python examples/tuner_step.py keras, or torch, or paddle."""

import sys

import finetuner
from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.sampler import make_sampler
from finetuner.demo import network
from finetuner.dispatch import load
from finetuner.inference import encoder
from finetuner.losses import registry
from finetuner.tuner.schedule import Optimization


def main(framework='torch', epochs=3):
    images, labels = finetuner.data.samples.digits()
    train, test = (images[::2], labels[::2]), (images[1::2], labels[1::2])
    model = network(framework)
    before = finetuner.evaluate(model, test)['map_at_r']

    records = read(train)  # any data that fit takes
    dataset = Dataset(records)
    loader = Loader(dataset, make_sampler(dataset, batch_size=64))
    objective = registry.resolve('InfoNCELoss', 'TripletMarginMiner', kind=records.kind)
    coder = encoder(model)
    coder.place(None)  # a GPU if there is one
    tuner = load(framework, 'tuner').Tuner(coder, objective, dim=16, optimization=Optimization(learning_rate=1e-3))
    tuner.begin(loader)
    for epoch in range(epochs):
        for inputs, codes in loader.epoch(epoch):
            value = tuner.step(inputs, codes)  # forward, loss, backward, update
        print(f'epoch {epoch}: {float(value):.3f}')
    tuner.release()  # the model is in the mode it came in
    return before, finetuner.evaluate(model, test)['map_at_r']


if __name__ == '__main__':
    print('map_at_r before {:.3f}, after {:.3f}'.format(*main(*sys.argv[1:])))
