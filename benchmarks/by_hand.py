"""What people write who do without `fit`: a loop in each framework, with our formula as its loss.

Each is a generator that stops after every step, so that two loops can take turns.
"""

from collections.abc import Iterator
from typing import Any

from finetuner.data.batch import Loader
from finetuner.losses import InfoNCELoss
from finetuner.losses.relation import relate
from finetuner.tuner.schedule import Optimization

formula = InfoNCELoss()


def torch(model: Any, loader: Loader, epochs: int, numbers: Optimization) -> Iterator[Any]:
    import torch

    total, most = epochs * len(loader), loader.layout.most
    parameters = list(model.parameters())
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': numbers.weight_decay},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(numbers.beta_1, numbers.beta_2), eps=numbers.epsilon)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: numbers.rate(step, total))
    clipped = [p for group in groups for p in group['params']]
    model.train()
    for epoch in range(epochs):
        for inputs, codes in loader.epoch(epoch):
            if isinstance(inputs, dict):
                embeddings = model(**{name: torch.as_tensor(array) for name, array in inputs.items()})
            else:
                embeddings = model(torch.from_numpy(inputs))
            codes = {name: torch.from_numpy(code) for name, code in codes.items()}
            loss = formula(embeddings, embeddings, relate(codes, codes, most))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(clipped, numbers.clip)
            optimizer.step()
            scheduler.step()
            yield loss.detach()


def paddle(model: Any, loader: Loader, epochs: int, numbers: Optimization) -> Iterator[Any]:
    import paddle

    total, most = epochs * len(loader), loader.layout.most
    decayed = {p.name for p in model.parameters() if p.ndim > 1}
    scheduler = paddle.optimizer.lr.LambdaDecay(1.0, lambda step: numbers.rate(step, total))
    optimizer = paddle.optimizer.AdamW(
        scheduler,
        beta1=numbers.beta_1,
        beta2=numbers.beta_2,
        epsilon=numbers.epsilon,
        parameters=model.parameters(),
        weight_decay=numbers.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(numbers.clip),
    )
    model.train()
    for epoch in range(epochs):
        for inputs, codes in loader.epoch(epoch):
            embeddings = model(paddle.to_tensor(inputs))
            codes = {name: paddle.to_tensor(code) for name, code in codes.items()}
            loss = formula(embeddings, embeddings, relate(codes, codes, most))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            scheduler.step()
            yield loss.detach()


def keras(model: Any, loader: Loader, epochs: int, numbers: Optimization) -> Iterator[Any]:
    import keras

    total, most = epochs * len(loader), loader.layout.most

    class Model(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            codes = {name: keras.ops.convert_to_tensor(code) for name, code in y.items()}
            return formula(y_pred, y_pred, relate(codes, codes, most))

    class Around(Model):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, inputs, training=None):
            return self.inner(inputs, training=training)

    trained = Model(model.inputs, model.outputs[0]) if getattr(model, 'inputs', None) else Around()
    optimizer = keras.optimizers.AdamW(
        numbers.learning_rate,
        weight_decay=numbers.weight_decay,
        beta_1=numbers.beta_1,
        beta_2=numbers.beta_2,
        epsilon=numbers.epsilon,
        global_clipnorm=numbers.clip,
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
    trained.compile(optimizer)
    step = 0
    for epoch in range(epochs):
        for inputs, codes in loader.epoch(epoch):
            optimizer.learning_rate = numbers.rate(step, total)
            loss = trained.train_on_batch(inputs, codes)
            step += 1
            yield loss
