"""What the benchmarks share: places, commands, texts, rounds, and pages made of figures."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.errors import OvEmotionsError
from ov_emotions.files import write_text
from ov_emotions.quantization.timing import spread

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SPLIT = "test_goemotions"
SEED = 20261122


def load(name: str, folder: Path = RESULTS) -> Any:
    """Read committed figures; None where there are none."""
    path = folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


# Commands

Flag = tuple[Callable[[str], Any], Any, str]
"""Type, default (`...` where it must be given), and help."""


def add_flags(parser: argparse.ArgumentParser, **flags: Flag) -> None:
    """Add flags; underscores of their names become hyphens."""
    for name, (kind, default, told) in flags.items():
        shown = "" if default in (None, ...) else "default: %(default)s"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            required=default is ...,
            default=None if default is ... else default,
            help=", ".join(part for part in (told, shown) if part),
        )


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run what a parser set as `run`, which finds the whole command in `args.command`.

    :param parser: named by the words that start it, `python -m MODULE`.
    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage, 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser.parse_args(given)
    args.command = f"{parser.prog} {shlex.join(given)}"
    name = parser.prog.rpartition(" ")[2]
    try:
        return int(args.run(args))
    except (OvEmotionsError, OSError, RuntimeError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


# Measuring


def shuffled(texts: Sequence[T], seed: int = SEED, count: int | None = None) -> list[T]:
    """Choose texts, all if there is no count, in an order of chance."""
    order = np.random.default_rng(seed).permutation(len(texts))
    return [texts[i] for i in order[:count]]


def token_lengths(bundle: Bundle, texts: Sequence[str]) -> list[int]:
    """Count the tokens of texts as they are classified, cut at the model's length."""
    tokenizer = bundle.tokenizer()
    tokenizer.enable_truncation(bundle.manifest.max_length)
    return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts))]


def rounds_within(seconds: float, rounds: int) -> Iterator[int]:
    """Count rounds; after the first none begins that would end too late, if it is the longest."""
    began, longest = time.monotonic(), 0.0
    for number in range(rounds):
        started = time.monotonic()
        if number and started - began + longest > seconds:
            return
        yield number
        longest = max(longest, time.monotonic() - started)
        say(f"round {number + 1} of {rounds}, {longest:.0f} s")


def summary(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Give median, min and max of each figure over the rounds."""
    return {key: spread([figures[key] for figures in rounds]) for key in rounds[0]}


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


# Pages

_SECTION = re.compile(r"<!-- ([^>]+?): start -->.*?<!-- \1: end -->", re.DOTALL)


def rendered(template: str, **figures: Any) -> str:
    """Render a template of `benchmarks/templates`: sections of a page, each between its marks."""
    import jinja2

    def number(value: Any, form: str = ",.0f", unit: str = "") -> str:
        missing = value is None or isinstance(value, jinja2.Undefined)
        return "–" if missing else f"{value:{form}}{unit}"

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "benchmarks" / "templates"),
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "f": number,
        "spread": spread_text,
        "three": three_digits,
        "table": markdown_table,
    }
    return environment.get_template(template).render(figures)


def spread_text(figure: Mapping[str, float], form: str = ".2f") -> str:
    """Write a median with the smallest and the largest."""
    return f"{figure['median']:{form}} ({figure['min']:{form}} to {figure['max']:{form}})"


def three_digits(value: float) -> str:
    """Write a figure with three digits at least, none behind a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows as a Markdown table, the header first."""
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *others])


def renewed(page: str, sections: str) -> str:
    """Put rendered sections in the place of those of the same names in a page."""
    new = {found[1]: found[0] for found in _SECTION.finditer(sections)}
    return _SECTION.sub(lambda old: new.get(old[1], old[0]), page)


def renew(path: Path, sections: str) -> None:
    """Put rendered sections into a page on disk."""
    write_text(path, renewed(path.read_text(encoding="utf-8"), sections))
