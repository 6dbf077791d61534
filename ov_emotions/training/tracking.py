"""The course of a run, told to an MLflow server where that is asked for.

transformers' own callback for MLflow is not used: it takes its server from environment variables,
sends the Trainer's arguments in the place of the run's settings, and ends the run with the server.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import TrainerCallback
from typing_extensions import override

from ov_emotions.errors import TrainingError, first_line
from ov_emotions.schema import write_json
from ov_emotions.system import keep_silent, require
from ov_emotions.training.folder import HISTORY_CSV, HISTORY_JSON, writing
from ov_emotions.training.settings import BEST_NAME, CONFIG_NAME, TrainConfig

logger = logging.getLogger(__name__)

_RUN_NAME = "mlflow.json"
_TEXT_LIMIT = 500
"""Characters of a parameter that every MLflow store takes."""


class MlflowTracker(TrainerCallback):
    """Sends parameters, metrics, the best checkpoint and plots to MLflow.

    A run that goes on after a kill goes on in the same MLflow run. A server that fails while the
    run is under way costs a warning, not the run: the files in its folder hold the same.

    :raises MissingExtraError: if mlflow is not installed.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        keep_silent("mlflow")
        self._mlflow = require("mlflow", extra="tracking")
        self._client: Any = None
        self._run = ""

    def _resumed(self) -> str | None:
        path = self._config.output / _RUN_NAME
        if not path.is_file():
            return None
        noted = json.loads(path.read_text(encoding="utf-8"))
        run: str = noted["run_id"]
        if noted["tracking_uri"] != self._config.tracking_uri:
            return None
        self._client.update_run(run, status="RUNNING")
        return run

    def _started(self) -> str:
        config, client = self._config, self._client
        experiment = client.get_experiment_by_name(config.experiment)
        experiment_id = (
            experiment.experiment_id if experiment else client.create_experiment(config.experiment)
        )
        run: str = client.create_run(
            experiment_id, run_name=config.run_name or config.output.resolve().name
        ).info.run_id
        param = self._mlflow.entities.Param
        params = [
            param(key, str(value)[:_TEXT_LIMIT])
            for key, value in config.to_dict().items()
            if value is not None
        ]
        client.log_batch(run, params=params)
        with writing(config.output / _RUN_NAME):
            write_json(
                config.output / _RUN_NAME, {"run_id": run, "tracking_uri": config.tracking_uri}
            )
        return run

    @override
    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Send the numbers of an evaluation."""
        metrics: Mapping[str, float] = kwargs["metrics"]
        now, step = int(time.time() * 1000), int(metrics["step"])
        metric = self._mlflow.entities.Metric
        sent = [metric(k, float(v), now, step) for k, v in metrics.items() if k != "step"]
        self._try(lambda: self._client.log_batch(self._run, metrics=sent))

    @contextmanager
    def tracked(self) -> Iterator[None]:
        """Surround the run: at its end the artefacts are sent, and how it ended.

        :raises TrainingError: at once, if the server does not take the run.
        """
        uri = self._config.tracking_uri
        try:
            self._client = self._mlflow.MlflowClient(uri)
            self._run = self._resumed() or self._started()
        except Exception as error:  # mlflow lets those of its transports through
            raise TrainingError(
                f"MLflow at {uri or 'MLFLOW_TRACKING_URI'} does not take the run "
                f"({first_line(error)}); start the server, or leave tracking out"
            ) from error
        try:
            yield
        except BaseException as error:
            self._end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self._try(self._send_files)
        self._end("FINISHED")

    def _end(self, status: str) -> None:
        # MLflow prints the run's address, which does not belong into the answer of a command.
        with redirect_stdout(sys.stderr):
            self._try(lambda: self._client.set_terminated(self._run, status))

    def _send_files(self) -> None:
        output = self._config.output
        for name in (HISTORY_JSON, HISTORY_CSV, CONFIG_NAME):
            self._client.log_artifact(self._run, str(output / name))
        history = json.loads((output / HISTORY_JSON).read_text(encoding="utf-8"))
        with TemporaryDirectory() as folder:
            plot_history(history, Path(folder))
            self._client.log_artifacts(self._run, folder, "plots")
        self._client.log_artifacts(self._run, str(output / BEST_NAME), BEST_NAME)

    def _try(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            logger.warning("MLflow did not take a message: %s", first_line(error))


def plot_history(history: list[dict[str, Any]], folder: Path) -> None:
    """Draw the curves of a run: loss.png and f1.png, over steps."""
    figures = require("matplotlib.figure", extra="tracking")
    steps = [row["step"] for row in history]
    for name, keys in (("loss", ["loss"]), ("f1", ["weighted_f1", "macro_f1"])):
        figure = figures.Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for key in keys:
            axes.plot(steps, [row[key] for row in history], marker="o", label=key)
        axes.set(xlabel="step", ylabel=name)
        axes.legend()
        figure.savefig(folder / f"{name}.png")
