"""A bulk job from the input folder to the summary, on Ray for the length of a block."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ov_emotions.cluster.output import PLAN_NAME, SUCCESS_NAME, Output, take_output
from ov_emotions.cluster.plan import Part, Plan, Settings, differences, find_files, make_plan
from ov_emotions.cluster.worker import Outcome, PartWorker
from ov_emotions.errors import ClusterError, DataError, first_line
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import write_json
from ov_emotions.system import cpu_budget, keep_silent, require

_OBJECT_STORE_BYTES = 128 * 2**20
"""Of a local Ray: descriptions of parts go through it and nothing else."""


def import_ray(*, local: bool) -> Any:
    """Import Ray and Ray Data, their reports of use switched off.

    :raises MissingExtraError: if it is not installed.
    """
    keep_silent("ray")
    if local:
        _lock_local_ray()
    # Its C++ part writes to standard error whatever Python's loggers say.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with warnings.catch_warnings():
        # Ray warns of its own modules' use of each other.
        warnings.simplefilter("ignore")
        require("ray.data", extra="cluster")
        return require("ray", extra="cluster")


@contextlib.contextmanager
def ray_session(address: str | None, processors: int, scratch: Path) -> Iterator[Any]:
    """Start Ray on this machine, or connect to a cluster.

    :raises MissingExtraError: if Ray is not installed.
    :raises ClusterError: if it does not start or is not reached.
    """
    before = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = import_ray(local=address is None)
        with _quiet_loggers("ray", "ray.data"):
            try:
                _start(ray, address, processors, scratch)
                if threading.current_thread() is threading.main_thread():
                    # Ray puts its own in the place of ours, which cleans up.
                    signal.signal(signal.SIGTERM, before)
                context = ray.data.DataContext.get_current()
                context.enable_progress_bars = False
                context.print_on_execution_start = False
                yield ray
            finally:
                ray.shutdown()


def _start(ray: Any, address: str | None, processors: int, scratch: Path) -> None:
    own: dict[str, Any] = {"address": address}
    if address is None:
        own = {
            "address": "local",
            "num_cpus": processors,
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(scratch),
        }
    try:
        with _quiet_stderr():
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # of many kinds
        reason = first_line(error)
        if "InvalidAuthToken" in str(error.__cause__):
            reason = "it asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to that"
        what = "Ray did not start" if address is None else f"no Ray cluster answers at {address}"
        raise ClusterError(f"{what}: {reason}") from error


def _lock_local_ray() -> None:
    """Have a Ray of this machine ask for a token that nobody else knows, unless the user set one.

    It listens on all interfaces, and runs what anyone sends who is let in. Ray reads this at its
    import and never again, so it stays, and does nothing where the program imported Ray before.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _quiet_loggers(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Point the descriptor elsewhere: what is started meanwhile would keep a pipe open too."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as nowhere:
        own = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)


_SHOWN = 3


@dataclass(frozen=True)
class Summary:
    """What a job came to.

    :param rows_in: of all input files.
    :param rows_out: classified.
    :param rows_bad: set aside.
    :param parts: of the job.
    :param parts_before: that earlier runs had done.
    :param seconds: of this run, from the plan to the last part.
    :param rows_per_second: of this run; None if nothing was left to do.
    :param actors: of this run; 0 if nothing was left to do.
    :param threads: of each.
    :param processes: that did parts: more than actors where some died.
    :param failed: what kept parts from being done, one sentence each.
    """

    rows_in: int
    rows_out: int
    rows_bad: int
    parts: int
    parts_before: int
    seconds: float
    rows_per_second: float | None
    actors: int
    threads: int
    processes: int
    failed: tuple[str, ...] = ()


def classify_many(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    actors: int | None = None,
    threads: int = 1,
    address: str | None = None,
    restart: bool = False,
    tell: Tell = lambda _: None,
) -> Summary:
    """Classify all rows of a folder, or go on where an earlier run was stopped.

    Actors and threads change no answer but for rounding.

    :param actors: processes that classify; None is one for every `threads` cores.
    :param threads: of each.
    :param address: of a Ray cluster; None starts Ray on this machine.
    :raises DataError: if the input cannot be read, or the output is of another job.
    :raises ClusterError: if Ray does not start or does not do its work.
    :raises MissingExtraError: if Ray is not installed.
    """
    started = time.perf_counter()
    find_files(source, settings.reading)  # before a folder is made for nothing
    with take_output(target, source, restart=restart) as output:
        plan = _plan(source, output, settings, local=address is None)
        left = [part for part in plan.parts if not output.is_done(part)]
        waiting = {part.number for part in left}
        bad = sum(output.count_bad(p) for p in plan.parts if p.number not in waiting)
        rows = before = plan.rows - sum(part.rows for part in left)
        used, processes, failed = 0, set(), []

        def told() -> Progress:
            return Progress(rows, plan.rows, "rows", f"{bad:,} set aside" if bad else "")

        if left:
            tell(told())
            used = actors or max(1, cpu_budget().cores // threads)
            with output.scratch() as scratch, ray_session(address, used * threads, scratch) as ray:
                if address is not None and actors is None:
                    used = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
                used = min(used, len(left))
                for outcome in _outcomes(ray, plan, left, output, used, threads):
                    if outcome.fatal:
                        raise ClusterError(f"{outcome.host}: {outcome.error}")
                    processes.add((outcome.host, outcome.process))
                    if outcome.error:
                        failed.append(outcome.error)
                        continue
                    rows += outcome.rows
                    bad += outcome.bad
                    tell(told())
        seconds = time.perf_counter() - started
        summary = Summary(
            rows_in=plan.rows,
            rows_out=rows - bad,
            rows_bad=bad,
            parts=len(plan.parts),
            parts_before=len(plan.parts) - len(left),
            seconds=round(seconds, 3) if left else 0.0,
            rows_per_second=round((rows - before) / seconds, 1) if left else None,
            actors=used,
            threads=threads,
            processes=len(processes),
            failed=tuple(failed),
        )
        if not failed and (left or not (output.folder / SUCCESS_NAME).is_file()):
            write_json(output.folder / SUCCESS_NAME, summary)
    return summary


def _plan(source: Path, output: Output, settings: Settings, *, local: bool) -> Plan:
    """Read the plan of the job that was begun, or make one."""
    path = output.folder / PLAN_NAME
    if not path.is_file():
        import_ray(local=local)  # where it is missing, that is told before the input is read
        plan = make_plan(source, settings)
        write_json(path, plan)
        return plan
    plan = Plan.read(path)
    if found := list(differences(plan, source, settings)):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(
            f"{output.folder} was begun with other input or options "
            f"({'; '.join(found[:_SHOWN])}{more}); name another folder, or give --restart to "
            "delete what it holds"
        )
    return plan


def _outcomes(
    ray: Any, plan: Plan, left: Sequence[Part], output: Output, actors: int, threads: int
) -> Iterator[Outcome]:
    """Let Ray Data hand the parts out; each is one block, so that it is one task."""
    items = [{"part": part.number} for part in left]
    # An actor has the part that it does, and one that waits: the rest is held back.
    pool = ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2)
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        PartWorker,
        batch_size=None,
        batch_format="numpy",
        fn_constructor_args=(plan, output, threads),
        compute=pool,
        num_cpus=threads,
    )
    try:
        for row in dataset.iter_rows():
            yield Outcome(**row)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ClusterError(
            f"Ray gave up ({reason}); the parts that are done stand, and the same command goes on"
        ) from error
