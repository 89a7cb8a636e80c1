"""What is told when: the same 26 calls on every framework, and what errors and Ctrl-C do."""

import pytest

import finetuner
from finetuner.tuner.callbacks.base import HOOKS, Callback
from tests.models import clusters, mlp


class Recorder(Callback):
    """Writes down every call and where the training stands."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []


def _record(name: str):
    def hook(self, tuner, *rest):
        state = tuner.state
        self.calls.append(
            (name, state.epoch, state.batch_index, state.num_epochs, state.num_batches_train, state.num_batches_val)
        )

    return hook


for _name in HOOKS:
    setattr(Recorder, _name, _record(_name))


def test_there_are_fourteen_hooks():
    assert len(HOOKS) == 14


def test_trace_of_two_epochs_with_two_batches_and_a_validation(backend):
    recorder = Recorder()
    images, labels = clusters(4, 4)
    finetuner.fit(
        mlp(backend), (images, labels), eval_data=(images[:8], labels[:8]), epochs=2, batch_size=8,
        num_items_per_class=4, callbacks=[recorder],
    )  # fmt: skip
    expected = [('on_fit_begin', 0, 0)]
    for epoch in range(2):
        expected += [
            ('on_epoch_begin', epoch, 0),
            ('on_train_epoch_begin', epoch, 0),
            ('on_train_batch_begin', epoch, 0),
            ('on_train_batch_end', epoch, 0),
            ('on_train_batch_begin', epoch, 1),
            ('on_train_batch_end', epoch, 1),
            ('on_train_epoch_end', epoch, 1),
            ('on_val_begin', epoch, 0),
            ('on_val_batch_begin', epoch, 0),
            ('on_val_batch_end', epoch, 0),
            ('on_val_end', epoch, 0),
            ('on_epoch_end', epoch, 0),
        ]
    expected.append(('on_fit_end', 1, 0))
    assert len(expected) == 26
    assert recorder.calls == [(*call, 2, 2, 1) for call in expected]


def test_an_exception_is_told_and_raised(backend):
    class Breaks(Recorder):
        def on_train_batch_end(self, tuner):
            raise RuntimeError('no more')

    breaks = Breaks()
    with pytest.raises(RuntimeError, match='no more'):
        finetuner.fit(mlp(backend), clusters(), epochs=1, callbacks=[breaks])
    assert breaks.calls[-1][0] == 'on_exception'


def test_ctrl_c_ends_training_and_returns_the_model(backend):
    class Interrupts(Recorder):
        def on_train_batch_end(self, tuner):
            raise KeyboardInterrupt

    interrupts = Interrupts()
    model = mlp(backend)
    assert finetuner.fit(model, clusters(), epochs=3, callbacks=[interrupts]) is model
    assert interrupts.calls[-1][0] == 'on_keyboard_interrupt'


def test_a_callback_can_stop_training(backend):
    class Stops(Callback):
        def on_epoch_end(self, tuner):
            tuner.stop_training = tuner.state.epoch == 1

    _, history = finetuner.fit(mlp(backend), clusters(), epochs=5, callbacks=[Stops()], return_history=True)
    assert [record['epoch'] for record in history.epochs] == [0, 1]
