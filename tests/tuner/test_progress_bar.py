"""People see how training goes: a bar on a terminal, a line an epoch elsewhere."""

import io
import logging

from rich.console import Console

import finetuner
from finetuner.tuner.callbacks import progress_bar
from tests.models import clusters, mlp


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def trained(backend):
    lines = Lines()
    logger = logging.getLogger('finetuner')
    logger.addHandler(lines)
    try:
        finetuner.fit(mlp(backend), clusters(), clusters(), epochs=2)
    finally:
        logger.removeHandler(lines)
    return lines.lines


def test_what_was_chosen_and_every_epoch_are_a_line(backend):
    chosen, *epochs, verdict = trained(backend)
    for part in ('on cpu', '40 items of 5 classes', 'InfoNCELoss(temperature=0.07', 'AdamW', '2 epochs', 'seed 42'):
        assert part in chosen
    assert [line.partition(' ·')[0] for line in epochs] == ['epoch 1/2', 'epoch 2/2']
    assert all('train_loss: ' in line and 'val_loss: ' in line for line in epochs)
    assert verdict.startswith('map_at_r rose: ')


def test_a_bar_on_a_terminal(backend, monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(progress_bar, 'live_console', terminal)
    trained(backend)
    shown = terminal.file.getvalue()
    for part in ('Training [1/2]', 'Training [2/2]', 'Validating [2/2]', '1/1', 'loss: '):
        assert part in shown
