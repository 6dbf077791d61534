"""Bulk classification on a local Ray, with kills, beside plain `classify`; see README.md.

python -m benchmarks.cluster --data prepared --utterances FILE --output FILE
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cluster.kills import command, interrupt, kill_an_actor, kill_driver, parts_done
from benchmarks.cluster.rows import FORMATS, check_rows, real_texts, write_rows
from benchmarks.common import RESULTS, add_flags, rendered, renew, run_command, say
from ov_emotions.cli.frame import positive_int
from ov_emotions.cli.output import table
from ov_emotions.errors import ClusterError
from ov_emotions.files import sha256_file, write_json
from ov_emotions.system import environment

README = Path(__file__).with_name("README.md")
_LIMIT = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description="Bulk classification on a local Ray, with kills, beside plain classify.",
    )
    add_flags(
        parser,
        data=(Path, ..., "what `data prepare` wrote"),
        utterances=(Path, ..., "a text a line"),
        rows=(positive_int, 1_000_000, ""),
        model=(str, "emotions-ru-tiny", ""),
        actors=(positive_int, 2, ""),
        part_rows=(positive_int, 10_000, ""),
        output=(Path, None, "JSON to write"),
    )
    parser.set_defaults(run=_run)
    return run_command(parser, arguments)


def _run(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(
        prefix="ov-emotions-cluster-", ignore_cleanup_errors=True
    ) as folder:
        answer = {**_measure(args, Path(folder)), "command": args.command}
    if args.output is not None:
        write_json(args.output, answer)
        if args.output.resolve() == RESULTS / "cluster.json":
            renew(README, for_readme(answer))
    machine = answer["machine"]
    head = ["run", "seconds", "rows/s", "of classify", "lost", "doubled"]
    print(
        f"{table([head, *_cells(answer, 1)])}\n\n{answer['rows']:,} rows, {answer['model']}, "
        f"{machine['cores']} cores of {machine['cpu']}; from start to end of the command, Ray's "
        "start included."
    )
    return 0


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    source = folder / "in"
    texts = real_texts(args.data, args.utterances)
    empty = write_rows(source, texts, args.rows)
    options = ["--model", args.model, "--part-rows", args.part_rows, "--threads", 1]

    def words(target: Path, actors: int) -> list[str]:
        return command(source, target, *options, "--actors", actors, "--json")

    runs: dict[str, Any] = {}
    say("plain classify")
    runs["classify"] = _plain(args, source, folder / "plain.jsonl")
    several = f"{args.actors} actors"
    for name, actors in ((several, args.actors), ("1 actor", 1)):
        say(name)
        runs[name] = _whole(words(folder / name, actors), folder / name, args.rows)
    for name, strike in (("actor killed", kill_an_actor), ("driver killed", kill_driver)):
        say(name)
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
    """Render the README's section, with its marks."""
    return rendered("cluster.md", answer=answer, cells=_cells(answer, 0))


if __name__ == "__main__":
    sys.exit(main())
