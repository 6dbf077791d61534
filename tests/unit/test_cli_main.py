"""The command as a whole: usage, help, errors, exit codes, standard streams, progress."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

import ov_emotions
from ov_emotions.cli import bar as bars
from ov_emotions.cli import main as command
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import UsageError, Verb
from ov_emotions.cli.main import VERBS, load_verb, main
from ov_emotions.errors import DataError
from ov_emotions.progress import Progress, counted
from ov_emotions.schema import Count, Flag


@dataclass(frozen=True)
class Made:
    """Settings of a verb that is made up.

    :param files: what is read.
    :param output: where to.
    :param rate: how fast, 100 % at most.
    :param rows: how many.
    :param kind: of what.
    :param weight: by name.
    :param parts: which; told one | after the other.
    :param also: more files.
    :param careful: look twice.
    :param loud: say so.
    """

    files: Annotated[tuple[Path, ...], Flag("FILE", positional=True)]
    output: Annotated[Path, Flag("DIR", short="-o")]
    rate: float = 0.5
    rows: Count | None = None
    kind: Literal["one", "other"] = "one"
    weight: dict[str, float] = field(default_factory=dict)
    parts: Annotated[tuple[str, ...], Flag(each=True)] = ()
    also: tuple[Path, ...] = ()
    careful: bool = True
    loud: bool = False


@pytest.fixture
def made(monkeypatch):
    """Put a verb `classify` in place that does what it is given."""

    def put(action: Callable[[Made], int] = lambda _made: 0) -> list[Made]:
        seen: list[Made] = []

        def run(settings: Made) -> int:
            """Do what is told."""
            seen.append(settings)
            return action(settings)

        monkeypatch.setattr(command, "load_verb", lambda _name: Verb(run, config=True))
        return seen

    return put


NEEDED = ["classify", "a", "-o", "b"]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], {}),
        (
            ["--rate", "1e-3", "--rows=7", "--kind", "other"],
            {"rate": 1e-3, "rows": 7, "kind": "other"},
        ),
        (["--weight", "a=b=2", "--weight", "c=-1"], {"weight": {"a=b": 2.0, "c": -1.0}}),
        (["--also", "c", "d", "--also", "e"], {"also": (Path("c"), Path("d"), Path("e"))}),
        (["--parts", "x", "--parts", "-"], {"parts": ("x", "-")}),
        (["--no-careful", "--loud"], {"careful": False, "loud": True}),
        (["--loud", "--no-loud", "--careful"], {}),
    ],
)
def test_flags_make_the_settings(made, arguments, values):
    seen = made()
    assert main([*NEEDED, *arguments]) == 0
    assert seen == [Made((Path("a"),), Path("b"), **values)]


BAD_USAGE = [
    ([], "name a verb"),
    (["clasify", "x"], "there is no verb 'clasify'; did you mean classify?"),
    (["ovm", "impart"], "there is no verb 'ovm'; did you mean ovms?"),
    (["data", "impart"], "there is no verb 'impart'; did you mean import?"),
    (["data"], "name a verb"),
    (["--versoin"], "there is no flag '--versoin'; did you mean --version?"),
    (["classify", "a"], "arguments are required: --output"),
    (["classify", "-o", "b"], "arguments are required: FILE"),
    ([*NEEDED, "--rat", "1"], "unrecognized arguments: --rat"),
    ([*NEEDED, "--weigth", "a=1"], "did you mean --weight?"),
    ([*NEEDED, "--rows", "0"], "--rows: must be at least 1, not 0"),
    ([*NEEDED, "--rows", "many"], "'many' is not a whole number"),
    ([*NEEDED, "--rate", "fast"], "'fast' is not a number"),
    ([*NEEDED, "--kind", "othr"], "'othr' is not one of one, other; did you mean other?"),
    ([*NEEDED, "--weight", "a"], "'a' is not of the form NAME=NUMBER"),
    ([*NEEDED, "--weight", "=1"], "'=1' is not of the form NAME=NUMBER"),
    ([*NEEDED, "--also"], "expected at least one argument"),
    ([*NEEDED, "--x\udcff"], "unrecognized arguments: --x?"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_USAGE)
def test_wrong_usage_shows_the_usage_and_is_exit_code_2(made, arguments, message, capsys):
    seen = made()
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert (exit_info.value.code, seen) == (2, [])
    usage, *_, error, _ = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: ov-emotions")
    assert message in error


BAD_USAGE_OF_VERBS = [
    ("classify текст --input a.txt", "give texts or --input, not both"),
    ("classify текст --json --output-format csv", "give --json or --output-format, not both"),
    ("classify текст --chunk-size -1", "must be at least 1, not -1"),
    ("classify текст --format docx", "'docx' is not one of"),
    ("classify текст --threshold joy", "'joy' is not of the form NAME=NUMBER"),
    ("classify текст --threads 0", "must be at least 1"),
    ("classify текст --precision int8", "'int8' is not one of f32, bf16"),
    ("classify текст --long-texts cut", "'cut' is not one of window, truncate"),
    ("dialog", "required: FILE"),
    ("dialog a.txt --segment-by x", "'x' is not one of share, quantile"),
    ("dialog a.txt --handover-run x", "'x' is not a whole number"),
    ("data prepare --outpu x", "unrecognized arguments: --outpu x; did you mean --output?"),
    ("data augment d --output o --method asr", "'asr' is not one of back-translation"),
    ("prune b o", "a corpus is needed: give --text, --data or both"),
    ("prune b o --text", "expected at least one argument"),
    ("prune b o --data d --keep-digits --keep-cyrillic", "exclude each other"),
    ("train --data d", "required: --base, --output"),
    ("train --preset ruroberta-large --data d", "required: --output"),
    ("train --base b --data d --out o", "unrecognized arguments: --out o"),
    ("train --base b --data d --output o --dropout 1.5", "must be below 1, not 1.5"),
    ("train --base b --data d --output o --epoch 3", "did you mean --epochs?"),
    ("train --base b --data d --output o --pooling max", "'max' is not one of"),
    ("train --base b --data d --output o --origin-weight cedr", "of the form NAME=NUMBER"),
    ("train --base b --data d --output o --task", "expected one argument"),
    ("train --base b --data d --output o --task poetry", "'poetry' is not one of labels"),
    ("train --base b --data d --output o --max-target-length 8", "unrecognized arguments"),
    ("train --task text-to-text --pooling cls", "unrecognized arguments: --pooling cls"),
    ("train --task=text-to-text --data d --output o", "required: --base"),
    ("distill --base b --data d --output o", "required: --teachers"),
    ("distill --teachers t --data d", "required: --base, --output"),
    ("quantize a b", "a source, an output folder and --data are required"),
    ("quantize a b --data d --record no/such/r.json", "there is no folder no/such"),
    ("quantize a b --data d --precision f64", "'f64' is not one of f32, bf16"),
    ("report o", "a source and --data are required, or --from-study"),
    ("report s o --from-study j", "--from-study goes without a source and --data"),
    ("report s o --data d --from-study j", "--from-study goes without a source and --data"),
    ("report s o --data d --rounds 0", "must be at least 1, not 0"),
    ("evaluate a --data d --compare", "--compare needs two models at least"),
    ("thresholds a --data d --seed -1", "must be at least 0, not -1"),
    ("ovms render --output d --cores 0", "must be at least 1, not 0"),
    ("ovms render --output d --cores 2.5", "'2.5' is not a whole number"),
    ("ovms render --output d --profile speed", "'speed' is not one of latency, throughput"),
    ("ovms validate c.json --mount models", "is not of the form /PATH=DIR"),
    ("ovms validate c.json --mount =models", "is not of the form /PATH=DIR"),
    ("ovms validate c.json --mount models=x", "is not of the form /PATH=DIR"),
    ("ovms validate c.json --mount /models=", "is not of the form /PATH=DIR"),
    ("ovms check http://a/b --header x", "a header is given as NAME=VALUE"),
    ("bench --cores 0", "must be at least 1, not 0"),
]


@pytest.mark.parametrize(("line", "message"), BAD_USAGE_OF_VERBS)
def test_wrong_usage_of_a_verb_is_told_before_any_work(line, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    told = capsys.readouterr().err
    assert told.startswith("usage: ov-emotions " + line.split()[0])
    assert message in told


def test_a_verb_refuses_what_does_not_go_together(made, capsys):
    def refuse(_made: Made) -> int:
        raise UsageError("one or the other")

    made(refuse)
    with pytest.raises(SystemExit, match="2"):
        main(NEEDED)
    assert capsys.readouterr().err.splitlines() == [
        "usage: ov-emotions classify FILE ... --output DIR [flags]",
        "ov-emotions classify: error: one or the other",
        "`ov-emotions classify --help` tells all.",
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (
            'rate = 2\nalso = ["c"]\nkind = "other"\n',
            {"rate": 0.25, "kind": "other", "also": (Path("c"),)},
        ),
        (
            "careful = false\n[weight]\na = 1\n",
            {"rate": 0.25, "careful": False, "weight": {"a": 1.0}},
        ),
    ],
)
def test_a_file_gives_settings_and_a_flag_wins(made, tmp_path, text, values):
    seen = made()
    file = tmp_path / "run.toml"
    file.write_text('output = "b"\n' + text)
    assert main(["classify", "a", "--config", str(file), "--rate", "0.25"]) == 0
    assert seen == [Made((Path("a"),), Path("b"), **values)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rat = 1", "unknown key 'rat'; did you mean rate?"),
        ("rows = 0", "rows: expected int >= 1"),
        ('rate = "fast"', "rate: expected float, got str"),
        ('kind = "third"', "kind: invalid enum value 'third'; it must be one of one, other"),
        ("rate =", "is not valid TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(made, tmp_path, capsys, text, message):
    seen = made()
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert (main([*NEEDED, "--config", str(file)]), seen) == (1, [])
    told = capsys.readouterr().err
    assert told.startswith(f"ov-emotions: error: {file}")
    assert message in told
    assert told.count("\n") == 1


def failing(error: BaseException) -> Callable[[Made], int]:
    def action(_made: Made) -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.csv does not exist"), 1, "ov-emotions: error: a.csv does not exist\n"),
        (OSError(28, "No space left"), 1, "ov-emotions: error: No space left\n"),
        (OSError(28, "No space left", "a"), 1, "ov-emotions: error: a: No space left\n"),
        (DataError("name \udcff"), 1, "ov-emotions: error: name ?\n"),
        (KeyboardInterrupt(), 130, "ov-emotions: interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(made, capsys, error, code, message):
    made(failing(error))
    assert main(NEEDED) == code
    assert capsys.readouterr() == ("", message)


def test_a_mistake_in_the_library_is_not_hidden(made):
    made(failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(NEEDED)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_unwinds_and_is_handled_as_before_afterwards(made, capsys):
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def action(_made: Made) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(True)
        return 0

    made(action)
    assert (main(NEEDED), cleaned) == (143, [True])
    assert capsys.readouterr().err == "ov-emotions: terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "logged"), [(["-v", *NEEDED], True), ([*NEEDED, "-v"], True), (NEEDED, False)]
)
def test_logging_is_off_unless_asked_for_on_either_side_of_the_verb(
    made, capsys, arguments, logged
):
    def action(_made: Made) -> int:
        logging.getLogger("ov_emotions.somewhere").info("what goes on")
        return 0

    made(action)
    package = logging.getLogger("ov_emotions")
    before = (package.handlers, package.level)
    assert main(arguments) == 0
    assert (package.handlers, package.level) == before, "a caller of main keeps its own"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("ov_emotions.somewhere: what goes on" in captured.err) is logged


@pytest.mark.parametrize("name", VERBS)
def test_every_help_tells_each_flag_and_its_default(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit, match="0"):
        main([*name.split(), "--help"])
    told = capsys.readouterr().out
    assert told.startswith(f"usage: ov-emotions {name}")
    flags = told[told.index("\noptions:") :]
    assert "\n  --json " in flags
    for setting in load_verb(name).settings:
        assert setting.text, setting.name
        if setting.command.positional or setting.kind is bool:
            continue
        entry = re.split(rf"\n  (?:-.[^,\n]*, )?{setting.flag} ", flags)[1].split("\n  -")[0]
        word = "(required)" if setting.required else "default"
        assert word in entry or setting.default == "", entry


def test_help_comes_without_any_heavy_import():
    # In a process of its own, because this one has imported much already.
    code = (
        "import contextlib, io, sys\n"
        "from ov_emotions.cli.main import VERBS, main\n"
        "calculating = {'adapt', 'thresholds', 'calibrate', 'evaluate'}\n"
        "for name in ['', *VERBS.keys() - calculating]:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([*name.split(), '--help'])\n"
        "heavy = {'torch', 'transformers', 'openvino', 'nncf', 'optimum', 'pyarrow', 'numpy',"
        " 'rich', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_package_can_be_run_as_a_module():
    told = [sys.executable, "-m", "ov_emotions", "--version"]
    done = subprocess.run(told, capture_output=True, text=True, check=True)
    assert done.stdout == f"ov-emotions {ov_emotions.__version__}\n"


SHELL = Path("/bin/sh")


@pytest.mark.skipif(not SHELL.exists() or not Path("/dev/full").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("shell", "code", "message"),
    [
        ("{} info >&-", 1, "standard output cannot be written: it is closed"),
        ("{} info --json >/dev/full", 1, "standard output cannot be written: No space left"),
        ("{} info >/dev/full 2>&1", 1, ""),
        ("{} info >/dev/null 2>&-", 0, ""),
        ("{} classify <&-", 1, "standard input cannot be read: it is closed"),
        ("{} classify -o /dev/full ура", 1, "/dev/full cannot be written: No space left"),
        ("LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 {} classify --russian ура", 0, ""),
        ("HOME=/proc/none XDG_CACHE_HOME=/proc/none {} info", 0, ""),
    ],
)
def test_streams_and_surroundings_that_fail_are_one_sentence(shell, code, message):
    line = shell.format(f"{sys.executable} -m ov_emotions")
    line = line.replace(" classify ", " classify -m emotions-ru-tiny ")
    done = subprocess.run([SHELL, "-c", line], capture_output=True, stdin=subprocess.DEVNULL)
    told = done.stderr.decode()
    assert (done.returncode, told.count("\n")) == (code, 1 if message else 0), told
    assert message in told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(bars, "time", clock)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    return clock


def test_a_terminal_has_a_bar_that_vanishes_and_quick_work_has_none(clock):
    stream = Terminal()
    with Bar("texts", stream=stream, delay=1.0) as bar:
        clock.now += 0.9
        bar.update(5, 10)
        assert stream.getvalue() == ""
        clock.now += 75
        bar(Progress(50, 200, "steps", "loss [0.31]"))
        assert "50 of 200 steps, 25%, 4:05 left, loss [0.31]" in stream.getvalue()
        bar.message("row 17: the text is empty \udcff")
    assert stream.getvalue().endswith("row 17: the text is empty ?\n")


def test_a_log_has_a_line_now_and_then_and_no_bar(clock):
    stream = io.StringIO()
    with Bar("texts", stream=stream) as bar:
        for done in counted(range(901, 1000), None):
            clock.now += 1
            bar.update(done, 1000, "loss 0.31")
    # A run that went on at 900: what was done before does not count into the rate.
    assert stream.getvalue().splitlines() == [
        "910 of 1,000 texts, 91%, 1:21 left, loss 0.31",
        "940 of 1,000 texts, 94%, 0:59 left, loss 0.31",
        "970 of 1,000 texts, 97%, 0:30 left, loss 0.31",
    ]
