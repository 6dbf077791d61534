"""The command line: runs, kills, resumes, and compares with plain `classify`."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cluster.kills import command, interrupt, kill_an_actor, kill_driver, parts_done
from benchmarks.cluster.rows import FORMATS, check_rows, real_texts, write_rows
from benchmarks.readme_table import insert
from ov_emotions.cli.frame import positive_int
from ov_emotions.cli.output import table
from ov_emotions.errors import ClusterError, OvEmotionsError
from ov_emotions.files import sha256_file, write_json, write_text
from ov_emotions.system import environment

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cluster.json"
README = Path(__file__).resolve().parent / "README.md"
_LIMIT = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser().parse_args(given)
    folder = Path(tempfile.mkdtemp(prefix="ov-emotions-cluster-"))
    try:
        answer = _measure(args, folder)
    except (OvEmotionsError, OSError, RuntimeError) as error:
        print(f"benchmarks.cluster: error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    answer["command"] = shlex.join(["python", "-m", "benchmarks.cluster", *given])
    if args.output is not None:
        write_json(args.output, answer)
        if args.output.resolve() == RESULTS:
            write_text(
                README, insert(README.read_text(encoding="utf-8"), for_readme(answer), "run")
            )
    print(render(answer))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description="Bulk classification on a local Ray, with kills, beside plain classify.",
    )
    parser.add_argument("--data", type=Path, required=True, help="what `data prepare` wrote")
    parser.add_argument("--utterances", type=Path, required=True, help="a text a line")
    parser.add_argument("--rows", type=positive_int, default=1_000_000)
    parser.add_argument("--model", default="emotions-ru-tiny")
    parser.add_argument("--actors", type=positive_int, default=2)
    parser.add_argument("--part-rows", type=positive_int, default=10_000)
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON to write")
    return parser


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    source = folder / "in"
    texts = real_texts(args.data, args.utterances)
    empty = write_rows(source, texts, args.rows)
    options = ["--model", args.model, "--part-rows", args.part_rows, "--threads", 1]

    def words(target: Path, actors: int) -> list[str]:
        return command(source, target, *options, "--actors", actors, "--json")

    runs: dict[str, Any] = {}
    _say("plain classify")
    runs["classify"] = _plain(args, source, folder / "plain.jsonl")
    several = f"{args.actors} actors"
    for name, actors in ((several, args.actors), ("1 actor", 1)):
        _say(name)
        runs[name] = _whole(words(folder / name, actors), folder / name, args.rows)
    for name, strike in (("actor killed", kill_an_actor), ("driver killed", kill_driver)):
        _say(name)
        target = folder / name
        killed = _interrupted(words(target, args.actors), target, runs[several]["parts"], strike)
        again = _whole(words(target, args.actors), target, args.rows)
        runs[name] = {**again, **killed, "seconds": again["seconds"] + killed["seconds_before"]}
        if name == "actor killed":  # that run went on to its end; the second had nothing to do
            runs[name]["seconds"] = killed["seconds_before"]
        runs[name]["rows_per_second"] = round(args.rows / runs[name]["seconds"], 1)
    reference = _hashes(folder / several)
    differing = [
        name for name in runs if name != "classify" and _hashes(folder / name) != reference
    ]
    if differing:
        raise ClusterError(f"other bytes than in the unbroken run: {', '.join(differing)}")
    return {
        "rows": args.rows,
        "rows_without_text": empty,
        "texts": len(texts),
        "formats": list(FORMATS),
        "model": args.model,
        **environment("openvino", "ray", "pyarrow", "tokenizers", "numpy"),
        "runs": runs,
        "against_classify": {
            name: round(run["rows_per_second"] / runs["classify"]["rows_per_second"], 3)
            for name, run in runs.items()
        },
    }


def _say(name: str) -> None:
    print(name, file=sys.stderr, flush=True)


def _plain(args: argparse.Namespace, source: Path, target: Path) -> dict[str, Any]:
    files = [str(source / f"rows.{name}") for name in FORMATS]
    options = ["--json", "--output", str(target), "--model", args.model]
    words = [sys.executable, "-m", "ov_emotions", "classify", *options, "--input", *files]
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1) or not target.is_file():
        raise ClusterError(f"classify failed: {done.stderr[-500:]}")
    return {"seconds": round(seconds, 3), "rows_per_second": round(args.rows / seconds, 1)}


def _whole(words: Sequence[str], target: Path, rows: int) -> dict[str, Any]:
    """Run the command to its end, timed from outside, Ray's start and end included."""
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1) or not done.stdout:
        raise ClusterError(f"classify-many failed: {done.stderr[-500:]}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return {
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds, 1),
        "parts": summary["parts"],
        "parts_before": summary["parts_before"],
        "processes": summary["processes"],
        "checked": check_rows(target, rows),
    }


def _interrupted(
    words: Sequence[str], target: Path, parts: int, strike: Callable[[int], None]
) -> dict[str, Any]:
    """Strike when a third of the parts stands."""
    started = time.perf_counter()
    code, _ = interrupt(words, lambda: parts_done(target) >= max(parts // 3, 1), strike, _LIMIT)
    return {
        "seconds_before": round(time.perf_counter() - started, 3),
        "exit_code": code,
        "parts_before": parts_done(target),
    }


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
    """Lay the figures out as Markdown.

    :param answer: what was measured.
    :return: lines without an end.
    """
    machine, versions = answer["machine"], answer["versions"]
    lines = [
        f"{answer['rows']:,} rows of {answer['texts']:,} texts ({answer['rows_without_text']:,} "
        f"without one), {answer['model']}, {machine['cores']} cores of {machine['cpu']}, Ray "
        f"{versions['ray']}, OpenVINO {versions['openvino']}.",
        "",
        "| run | seconds | rows a second | of plain `classify` | lost | doubled |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in _cells(answer, 0)]
    return "\n".join(lines)


def render(answer: dict[str, Any]) -> str:
    """Lay the figures out.

    :param answer: what was measured.
    :return: lines without an end.
    """
    head = ["run", "seconds", "rows/s", "of classify", "lost", "doubled"]
    rows: list[list[object]] = [list(cells) for cells in (head, *_cells(answer, 1))]
    machine = answer["machine"]
    return (
        f"{table(rows)}\n\n{answer['rows']:,} rows, {answer['model']}, {machine['cores']} cores of "
        f"{machine['cpu']}; from start to end of the command, Ray's start included."
    )
