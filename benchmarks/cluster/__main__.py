"""Bulk classification on a local Ray, with kills, beside plain `classify`; see README.md.

python -m benchmarks.cluster --data prepared --utterances FILE --output FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cluster.kills import command as classify_many
from benchmarks.cluster.kills import interrupt, kill_an_actor, kill_driver, parts_done
from benchmarks.cluster.rows import FORMATS, check_rows, real_texts, write_rows
from benchmarks.common import RESULTS, command, record, rendered, renew, say
from ov_emotions.cli.output import table
from ov_emotions.errors import ClusterError
from ov_emotions.files import sha256_file
from ov_emotions.schema import Count

README = Path(__file__).with_name("README.md")
HEAD = ["run", "seconds", "rows/s", "of classify", "lost", "doubled"]
_LIMIT = 3600.0


def cluster(
    *,
    data: Path,
    utterances: Path,
    rows: Count = 1_000_000,
    model: str = "emotions-ru-tiny",
    actors: Count = 2,
    part_rows: Count = 10_000,
    output: Path | None = None,
) -> None:
    """Measure, and write the figures and README's section.

    :param utterances: a text a line.
    """
    with tempfile.TemporaryDirectory(
        prefix="ov-emotions-cluster-", ignore_cleanup_errors=True
    ) as folder:
        source, texts = Path(folder, "in"), real_texts(data, utterances)
        empty = write_rows(source, texts, rows)
        options = ["--model", model, "--part-rows", part_rows, "--threads", 1, "--json"]
        runs = _measure(source, Path(folder), rows, model, actors, options)
    answer = record(
        output,
        "openvino ray pyarrow tokenizers numpy",
        rows=rows,
        rows_without_text=empty,
        texts=len(texts),
        formats=FORMATS,
        model=model,
        runs=runs,
        against_classify={
            name: round(run["rows_per_second"] / runs["classify"]["rows_per_second"], 3)
            for name, run in runs.items()
        },
    )
    if output is not None and output.resolve() == RESULTS / "cluster.json":
        renew(README, for_readme(answer))
    print(table([HEAD, *_cells(answer, 1)]))


def _measure(
    source: Path, folder: Path, rows: int, model: str, actors: int, options: Sequence[object]
) -> dict[str, Any]:
    def words(target: Path, several: int) -> list[str]:
        return classify_many(source, target, *options, "--actors", several)

    files = [str(source / f"rows.{name}") for name in FORMATS]
    plain = [sys.executable, "-m", "ov_emotions", "classify", "--json", "--model", model]
    say("plain classify")
    seconds, _ = _timed([*plain, "--output", str(folder / "plain.jsonl"), "--input", *files])
    runs: dict[str, Any] = {"classify": _rates(seconds, rows)}
    whole = f"{actors} actors"
    for name, several in ((whole, actors), ("1 actor", 1)):
        say(name)
        runs[name] = _whole(words(folder / name, several), folder / name, rows)
    for name, strike in (("actor killed", kill_an_actor), ("driver killed", kill_driver)):
        say(name)
        target, third = folder / name, max(runs[whole]["parts"] // 3, 1)
        started = time.perf_counter()
        code, _ = interrupt(
            words(target, actors),
            lambda target=target, third=third: parts_done(target) >= third,
            strike,
            _LIMIT,
        )
        before = round(time.perf_counter() - started, 3)
        done = {"seconds_before": before, "exit_code": code, "parts_before": parts_done(target)}
        again = _whole(words(target, actors), target, rows)
        # Without an actor the run went on to its end; the second had nothing to do.
        seconds = before if name == "actor killed" else before + again["seconds"]
        runs[name] = {**again, **done, **_rates(seconds, rows)}
    hashes = {name: _hashes(folder / name) for name in runs if name != "classify"}
    if differing := [name for name, found in hashes.items() if found != hashes[whole]]:
        raise ClusterError(f"other bytes than in the unbroken run: {', '.join(differing)}")
    return runs


def _timed(words: Sequence[str]) -> tuple[float, str]:
    """Run a command to its end, timed from outside; give its seconds and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise ClusterError(f"{words[3]} failed: {done.stderr[-500:]}")
    return time.perf_counter() - started, done.stdout


def _rates(seconds: float, rows: int) -> dict[str, float]:
    return {"seconds": round(seconds, 3), "rows_per_second": round(rows / seconds, 1)}


def _whole(words: Sequence[str], target: Path, rows: int) -> dict[str, Any]:
    """Run the command to its end, Ray's start and end included, and check what it wrote."""
    seconds, said = _timed(words)
    summary: dict[str, Any] = json.loads(said)
    told = {key: summary[key] for key in ("parts", "parts_before", "processes")}
    return {**_rates(seconds, rows), **told, "checked": check_rows(target, rows)}


def _hashes(target: Path) -> dict[str, str]:
    paths = [*target.glob("part-*"), *target.glob("_bad/*")]
    return {path.relative_to(target).as_posix(): sha256_file(path) for path in paths}


def _cells(answer: dict[str, Any], digits: int) -> Iterator[list[str]]:
    """Yield of each run its name, seconds to so many digits, speed, ratio, rows lost, doubled."""
    for name, run in answer["runs"].items():
        checked = run.get("checked", {})
        yield [
            name,
            f"{run['seconds']:,.{digits}f}",
            f"{run['rows_per_second']:,.0f}",
            f"{answer['against_classify'][name]:.2f}",
            str(checked.get("lost", "–")),
            str(checked.get("doubled", "–")),
        ]


def for_readme(answer: dict[str, Any]) -> str:
    """Render the README's section, with its marks."""
    return rendered("cluster.md", answer=answer, cells=_cells(answer, 0))


if __name__ == "__main__":
    sys.exit(command("benchmarks.cluster", cluster))
