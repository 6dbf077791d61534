"""What the benchmarks share: places, commands, texts, rounds, and pages made of figures."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import itertools
import json
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.cli.frame import Parser, add_setting, given_values, settings
from ov_emotions.errors import OvEmotionsError
from ov_emotions.files import write_text
from ov_emotions.quantization.timing import spread
from ov_emotions.schema import param_texts, write_json
from ov_emotions.system import environment

T = TypeVar("T")
Natural = Annotated[int, msgspec.Meta(ge=0)]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CHECKPOINTS = {
    "emotions-ru-small": ROOT / "quantize" / "checkpoints" / "emotions-ru-small-desk",
    "emotions-ru-tiny": ROOT / "quantize" / "checkpoints" / "emotions-ru-tiny",
}
"""What the shipped models are made of."""

SPLIT = "test_goemotions"
SEED = 20261122


def load(name: str, folder: Path = RESULTS) -> Any:
    """Read committed figures; None where there are none."""
    path = folder / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


# Commands

FLAGS = {
    "batch": "texts in a request",
    "budget": "minutes; no round begins beyond it",
    "data": "what `data prepare` wrote",
    "model": "a bundle, or the name of a shipped one",
    "output": "JSON to write",
    "seconds": "of a measurement, at least",
    "seed": "of what is chosen by chance",
    "texts": "to classify",
    "threads": "of a model (default: all cores)",
    "write": "put the committed figures into the page, and measure nothing",
}
"""What flags mean; a function's own `:param` texts say more."""

_COMMAND: list[str] = []


def command(name: str, *runs: Callable[..., Any], given: Sequence[str] | None = None) -> int:
    """Run a function as the command line says; of several the one that it names.

    Parameters that are keyword-only are flags, the others arguments, and one that is a settings
    class stands for its fields.

    :param name: of the module.
    :param given: in place of the command line's arguments.
    :return: what the function returns, 0 for None; 1 if it failed, 130 if it was interrupted.
    """
    words = list(sys.argv[1:] if given is None else given)
    parser = Parser(prog=f"python -m {name}")
    if len(runs) == 1:
        _take(parser, runs[0])
    else:
        verbs = parser.add_subparsers(metavar="VERB", required=True)
        for run in runs:
            told = (inspect.getdoc(run) or "").partition("\n")[0]
            _take(verbs.add_parser(run.__name__, help=told), run)
    args = parser.parse_args(words)
    _COMMAND[:] = [parser.prog, shlex.join(words)]
    try:
        return int(args.run(**args.gather(args)) or 0)
    except (OvEmotionsError, OSError, RuntimeError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def command_line() -> str:
    """Return the command that runs, as it could be given again."""
    return " ".join(_COMMAND)


def _take(parser: argparse.ArgumentParser, run: Callable[..., Any]) -> None:
    """Add what a function takes."""
    hints = get_type_hints(run, include_extras=True)
    parameters = inspect.signature(run).parameters.values()
    own = [p for p in parameters if not dataclasses.is_dataclass(hints[p.name])]
    kind = dataclasses.make_dataclass(
        "Own",
        [
            (p.name, hints[p.name], dataclasses.MISSING if p.default is p.empty else p.default)
            for p in own
        ],
        kw_only=True,
    )
    texts = FLAGS | param_texts(inspect.getdoc(run) or "")
    kind.__doc__ = "\n".join(f":param {name}: {text}" for name, text in texts.items())
    kinds = {p.name: hints[p.name] for p in parameters if p not in own}
    arguments = [p.name for p in own if p.kind is not p.KEYWORD_ONLY]
    for setting in itertools.chain(*map(settings, (kind, *kinds.values()))):
        flag = dataclasses.replace(setting.command, positional=setting.name in arguments)
        setting = dataclasses.replace(setting, command=flag)
        add_setting(parser, setting, required=setting.required)

    def gather(args: argparse.Namespace) -> dict[str, Any]:
        values = {name: made(**given_values(settings(made), args)) for name, made in kinds.items()}
        return {**given_values(settings(kind), args), **values}

    parser.set_defaults(run=run, gather=gather)


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


def record(path: Path | None, packages: str, **figures: Any) -> dict[str, Any]:
    """Give figures with the command, the machine and the versions behind them, and write them.

    :param path: JSON file; None for none.
    :param packages: whose versions count, in one text.
    """
    answer = {"command": command_line(), **environment(*packages.split()), **figures}
    if path is not None:
        write_json(path, answer)
        say(f"wrote {path}")
    return answer


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
        "failures": failures,
    }
    return environment.get_template(template).render(figures)


def spread_text(figure: Mapping[str, float], form: str = ".2f") -> str:
    """Write a median with the smallest and the largest."""
    return f"{figure['median']:{form}} ({figure['min']:{form}} to {figure['max']:{form}})"


def three_digits(value: float) -> str:
    """Write a figure with three digits at least, none behind a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def failures(levels: Sequence[Mapping[str, Any]]) -> str:
    """Count the failed requests of levels of load, by kind."""
    kinds = sum((Counter(figures["errors"]) for figures in levels), Counter[str]())
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "0"


def renewed(page: str, sections: str) -> str:
    """Put rendered sections in the place of those of the same names in a page."""
    new = {found[1]: found[0] for found in _SECTION.finditer(sections)}
    return _SECTION.sub(lambda old: new.get(old[1], old[0]), page)


def renew(path: Path, sections: str) -> None:
    """Put rendered sections into a page on disk."""
    write_text(path, renewed(path.read_text(encoding="utf-8"), sections))
