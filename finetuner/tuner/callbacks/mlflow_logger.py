"""Training in MLflow. Requires mlflow, or mlflow-skinny with sqlalchemy and alembic (extra `mlflow`)."""

import os
import re
import time
from typing import Any

from finetuner import artifact
from finetuner.errors import MissingExtraError
from finetuner.tuner.callbacks.tracker import Tracker

TELEMETRY = 'MLFLOW_DISABLE_TELEMETRY'


class MLflowLogger(Tracker):
    """Tells MLflow what happens, see `Tracker`.

    Args:
        tracking_uri: as MLflow takes it, 'http://…' or 'sqlite:///…'; None takes the environment variable
            MLFLOW_TRACKING_URI, or the file `mlflow.db` below FINETUNER_HOME.
        experiment_name: the experiment that the run is put into; it is made if it is not there.
        run_name: what the run is called; None leaves it to MLflow.
        tags: of the run.
        every_n_steps: see `Tracker`, like the two that follow.
        metrics_logger_step: 'epoch' or 'batch'.
        log_zero_shot: whether to tell the metrics from before the training.
    """

    def __init__(
        self,
        *,
        tracking_uri: str | None = None,
        experiment_name: str = 'finetuner',
        run_name: str | None = None,
        tags: dict[str, str] | None = None,
        every_n_steps: int = 10,
        metrics_logger_step: str = 'epoch',
        log_zero_shot: bool = True,
    ) -> None:
        super().__init__(
            every_n_steps=every_n_steps, metrics_logger_step=metrics_logger_step, log_zero_shot=log_zero_shot
        )
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.tags = dict(tags or {})
        self._client: Any = None
        self._run = ''

    def library(self) -> Any:
        """The module; where nobody has imported it yet, without its reports of how it is used."""
        asked = TELEMETRY in os.environ
        os.environ.setdefault(TELEMETRY, 'true')
        try:
            import mlflow
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "MLflowLogger needs mlflow, which is not installed: pip install 'finetuner[mlflow]'"
            ) from error
        finally:
            if not asked:
                del os.environ[TELEMETRY]
        return mlflow

    def begin(self, tuner: Any, parameters: dict[str, Any], run: Any) -> Any:
        mlflow = self.library()
        place, files = self.tracking_uri or os.environ.get('MLFLOW_TRACKING_URI'), None
        if place is None:
            home = artifact.home().absolute()
            home.mkdir(parents=True, exist_ok=True)
            place, files = f'sqlite:///{home / "mlflow.db"}', (home / 'mlruns').as_uri()
        self._client = client = mlflow.MlflowClient(tracking_uri=place)
        if run is not None:
            self._run = run
            client.update_run(run, status='RUNNING')
            return run
        known = client.get_experiment_by_name(self.experiment_name)
        number = client.create_experiment(self.experiment_name, files) if known is None else known.experiment_id
        self._run = client.create_run(number, run_name=self.run_name, tags=self.tags).info.run_id
        told = [mlflow.entities.Param(name, str(value)[:500]) for name, value in parameters.items()]
        client.log_batch(self._run, params=told)
        return self._run

    def log(self, values: dict[str, float], at: int, step: int, epoch: float) -> None:
        now, made = int(time.time() * 1000), self.library().entities.Metric
        told = [made(re.sub(r'[^\w\-. :/]', '_', name), float(value), now, at) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=told)

    def end(self, status: str, summary: dict[str, float]) -> None:
        if summary:
            self.log(summary, 0, 0, 0)
        self._client.set_terminated(self._run, status=status)
