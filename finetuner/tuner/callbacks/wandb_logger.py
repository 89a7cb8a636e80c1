"""Training in Weights & Biases. Requires wandb (extra `wandb`)."""

import os
from typing import Any

from finetuner.console import logger
from finetuner.errors import ArgumentError, MissingExtraError
from finetuner.tuner.callbacks.tracker import Tracker


class WandBLogger(Tracker):
    """Tells Weights & Biases what happens, see `Tracker`.

    Nothing leaves the machine unless you say so: without `mode='online'`, or the environment variable WANDB_MODE, the
    run is written to a folder, and `wandb sync` sends it.

    Args:
        wandb_args: arguments of `wandb.init`, such as `project`, `name` and `mode`; `dir` is the training's own folder.
        every_n_steps: see `Tracker`, like the two that follow.
        metrics_logger_step: 'epoch' or 'batch'.
        log_zero_shot: whether to tell the metrics from before the training.
        **kwargs: of `wandb.init` too.
    """

    def __init__(
        self,
        *,
        wandb_args: dict[str, Any] | None = None,
        every_n_steps: int = 10,
        metrics_logger_step: str = 'epoch',
        log_zero_shot: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            every_n_steps=every_n_steps, metrics_logger_step=metrics_logger_step, log_zero_shot=log_zero_shot
        )
        if wandb_args is not None and not isinstance(wandb_args, dict):
            raise ArgumentError(f"wandb_args={wandb_args!r}: expected a dict, such as {{'project': 'search'}}.")
        self.wandb_args = {**(wandb_args or {}), **kwargs}
        self._run: Any = None

    def library(self) -> Any:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "WandBLogger needs wandb, which is not installed: pip install 'finetuner[wandb]'"
            ) from error
        return wandb

    def begin(self, tuner: Any, parameters: dict[str, Any], run: Any) -> Any:
        arguments: dict[str, Any] = {'project': 'finetuner', 'mode': os.environ.get('WANDB_MODE') or 'offline'}
        arguments |= self.wandb_args
        if 'dir' not in arguments:
            tuner.folder.mkdir(parents=True, exist_ok=True)
            arguments['dir'] = str(tuner.folder)
        if run is not None:
            arguments |= {'id': run} if arguments['mode'] == 'offline' else {'id': run, 'resume': 'allow'}
        arguments['config'] = parameters | dict(arguments.get('config') or {})
        self._run = self.library().init(**arguments)
        for pattern in ('train/loss', 'lr/*', 'steps/*'):
            self._run.define_metric(pattern, step_metric='step')
        axis = 'epoch' if self.metrics_logger_step == 'epoch' else 'step'
        for pattern in ('train/epoch_loss', 'val/*', 'metrics/*', 'seconds'):
            self._run.define_metric(pattern, step_metric=axis)
        if arguments['mode'] == 'offline':
            logger.info('Weights & Biases, offline: to send the run, wandb sync %s', os.path.dirname(self._run.dir))
        return self._run.id

    def log(self, values: dict[str, float], at: int, step: int, epoch: float) -> None:
        self._run.log({**values, 'step': step, 'epoch': epoch})

    def end(self, status: str, summary: dict[str, float]) -> None:
        self._run.summary.update(summary)
        self._run.finish(exit_code=0 if status == 'FINISHED' else 1)
        self._run = None
