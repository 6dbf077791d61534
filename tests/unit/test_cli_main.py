from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import ov_emotions
from ov_emotions.cli import main as command
from ov_emotions.cli.main import VERBS, build_parser, main
from ov_emotions.cli.shared import table
from ov_emotions.errors import DataError


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A verb `try` that does what its `action` does."""
    module = SimpleNamespace(action=lambda _args: 0)

    def add_parser(subparsers: Any) -> None:
        subparsers.add_parser("try").set_defaults(run=lambda args: module.action(args))

    module.add_parser = add_parser
    monkeypatch.setattr(command, "VERBS", ("try",))
    monkeypatch.setattr(command.importlib, "import_module", lambda _name: module)
    return module


def raising(error: BaseException) -> Any:
    def action(_args: argparse.Namespace) -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("a.csv does not exist"), 1, "ov-emotions: error: a.csv does not exist\n"),
        (OSError(28, "No space left"), 1, "ov-emotions: error: [Errno 28] No space left\n"),
        (DataError("name \udcff"), 1, "ov-emotions: error: name ?\n"),
        (KeyboardInterrupt(), 130, "ov-emotions: interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    verb: Any,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    verb.action = raising(error)
    assert main(["try"]) == code
    assert capsys.readouterr() == ("", message)


def test_a_mistake_in_the_library_is_not_hidden(verb: Any) -> None:
    verb.action = raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["try"])


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_sigterm_unwinds_and_is_handled_as_before_afterwards(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def action(_args: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(True)
        return 0

    verb.action = action
    assert main(["try"]) == 143
    assert cleaned == [True]
    assert capsys.readouterr().err == "ov-emotions: terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "logged"), [(["-v", "try"], True), (["try", "-v"], True), (["try"], False)]
)
def test_logging_is_off_unless_asked_for_on_either_side_of_the_verb(
    verb: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], logged: bool
) -> None:
    def action(_args: argparse.Namespace) -> int:
        logging.getLogger("ov_emotions.somewhere").info("what goes on")
        return 0

    verb.action = action
    package = logging.getLogger("ov_emotions")
    before = (package.handlers, package.level)
    assert main(arguments) == 0
    assert (package.handlers, package.level) == before, "a caller of main keeps its own"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("ov_emotions.somewhere: what goes on" in captured.err) is logged


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"ov-emotions {ov_emotions.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["no-such-verb"], ["-x"]])
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: ov-emotions" in capsys.readouterr().err


def actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from actions(subparser)
        else:
            yield parser.prog, action


def test_every_verb_answers_in_json_and_every_flag_has_a_help_text() -> None:
    found = list(actions(build_parser()))
    answering = {prog for prog, action in found if "--json" in action.option_strings}
    # A verb that is a group of others, `data` say, has no flags but those that every verb has.
    asked = {prog for prog, action in found if action.dest not in ("help", "verbose", "version")}
    assert answering == asked
    assert {prog.split()[1] for prog in answering} == set(VERBS)
    assert [(prog, action.dest) for prog, action in found if not action.help] == []


@pytest.mark.parametrize("verb_name", VERBS)
def test_help_comes_without_any_heavy_import(verb_name: str) -> None:
    # In a process of its own, because this one has imported much already.
    code = (
        "import contextlib, sys\n"
        "from ov_emotions.cli.main import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main(['{verb_name}', '--help'])\n"
        "heavy = {'torch', 'transformers', 'openvino', 'nncf', 'optimum', 'pyarrow', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"usage: ov-emotions {verb_name}" in done.stdout
    assert done.stderr == "[]\n"


def test_the_package_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "ov_emotions", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"ov-emotions {ov_emotions.__version__}\n"


def test_a_table_aligns_names_to_the_left_and_figures_to_the_right() -> None:
    assert table([("split", "rows"), ("train", 12345), ("a long name", "7")]).splitlines() == [
        "split          rows",
        "train        12,345",
        "a long name       7",
    ]
