"""Training in TensorBoard. Requires tensorboard (extra `tensorboard`)."""

import socket
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from finetuner.errors import MissingExtraError
from finetuner.tuner.callbacks.tracker import Tracker


class TensorBoardLogger(Tracker):
    """Writes what happens for TensorBoard, see `Tracker`. Look at it with `tensorboard --logdir <log_dir>`.

    Args:
        log_dir: a folder; None takes `tensorboard` in the training's own.
        every_n_steps: see `Tracker`, like the two that follow.
        metrics_logger_step: 'epoch' or 'batch'.
        log_zero_shot: whether to tell the metrics from before the training.
    """

    def __init__(
        self,
        *,
        log_dir: str | Path | None = None,
        every_n_steps: int = 10,
        metrics_logger_step: str = 'epoch',
        log_zero_shot: bool = True,
    ) -> None:
        super().__init__(
            every_n_steps=every_n_steps, metrics_logger_step=metrics_logger_step, log_zero_shot=log_zero_shot
        )
        self.log_dir = log_dir
        self._file: Any = None
        self._records: Any = None

    def library(self) -> Any:
        """The module of its events. What writes records is taken by itself: the whole would import TensorFlow."""
        try:
            import_module('tensorboard.summary.writer.record_writer')
            return import_module('tensorboard.compat.proto.event_pb2')
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "TensorBoardLogger needs tensorboard, which is not installed: pip install 'finetuner[tensorboard]'"
            ) from error

    def begin(self, tuner: Any, parameters: dict[str, Any], run: Any) -> Any:
        folder = Path(run or self.log_dir or tuner.folder / 'tensorboard').absolute()
        folder.mkdir(parents=True, exist_ok=True)
        name = f'events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{time.time_ns()}'
        self._file = (folder / name).open('xb')
        self._records = import_module('tensorboard.summary.writer.record_writer').RecordWriter(self._file)
        self._write(file_version='brain.Event:2')
        if run is None:
            rows = [f'| {name} | {value} |' for name, value in parameters.items()]
            self._write(summary=self._text('parameters', '\n'.join(['| parameter | value |', '|---|---|', *rows])))
        else:  # what was written after the checkpoint is no part of this training
            events = self.library()
            start = events.SessionLog(status=events.SessionLog.START)
            self._write(step=tuner.state.step + 1, session_log=start)
        return str(folder)

    def log(self, values: dict[str, float], at: int, step: int, epoch: float) -> None:
        made = import_module('tensorboard.compat.proto.summary_pb2').Summary
        told = [made.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
        self._write(step=at, summary=made(value=told))

    def end(self, status: str, summary: dict[str, float]) -> None:
        if summary:
            self.log(summary, 0, 0, 0)
        self._records.close()

    def _write(self, **of_event: Any) -> None:
        self._records.write(self.library().Event(wall_time=time.time(), **of_event).SerializeToString())
        self._records.flush()

    def _text(self, name: str, text: str) -> Any:
        proto = 'tensorboard.compat.proto'
        summary = import_module(f'{proto}.summary_pb2')
        tensor = import_module(f'{proto}.tensor_pb2').TensorProto(
            dtype=import_module(f'{proto}.types_pb2').DT_STRING, string_val=[text.encode()]
        )
        data = summary.SummaryMetadata(plugin_data=summary.SummaryMetadata.PluginData(plugin_name='text'))
        return summary.Summary(value=[summary.Summary.Value(tag=name, metadata=data, tensor=tensor)])
