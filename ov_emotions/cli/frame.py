"""Verbs from functions, flags from dataclasses.

A verb is a function; its parameters are frozen dataclasses, and every field of theirs is a flag, a
key of the file of `--config`, and a row of the help and of README's tables. Name, type, default and
`:param` text stand in the dataclass and nowhere else. A `Flag` in its annotation or `@verb` says
what only a command line has.

argparse reads the arguments. Cyclopts and Typer, which read dataclasses as well, cost 80 to 180 ms
of import, as much as the rest of a help text, and know no `NAME=VALUE` flags.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import operator
import os
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cached_property
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from ov_emotions.cli.output import print_json, print_text
from ov_emotions.errors import InputError
from ov_emotions.schema import Flag, from_builtins, param_texts, read_toml

T = TypeVar("T")
CONFIG = "config"

_LIMITS = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
}
_SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)
_METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


class UsageError(Exception):
    """The arguments do not go together: the verb's usage is shown, and the exit code is 2."""


class Given(dict[str, Any], Generic[T]):
    """The values of a settings class that were given: of a verb that adds others to them."""


@dataclass(frozen=True)
class Answer:
    """How a verb answers.

    :param json: print JSON.
    """

    json: bool = False

    def give(self, found: Any, told: str) -> int:
        """Print what was found, as JSON or told in words; return the exit code 0."""
        if self.json:
            print_json(found)
        else:
            print_text(told)
        return 0


@dataclass(frozen=True)
class Setting:
    """One field of a settings class, as flags, files and tables see it.

    :param name: of the flag, and of the key in files.
    :param field: of the class.
    :param kind: type of one value, without `None` and annotations.
    :param several: whether it takes several values.
    :param hint: the whole annotation.
    :param default: MISSING where a value must be given.
    :param text: what the class's docstring says of it.
    :param limits: what `msgspec.Meta` says of the range of a value: ge, gt, le, lt.
    :param command: what only a command line has.
    :param asked_for: whether the command line refuses to do without it.
    """

    name: str
    field: str
    kind: Any
    several: bool
    hint: Any
    default: Any
    text: str
    limits: Mapping[str, float]
    command: Flag
    asked_for: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def metavar(self) -> str:
        """What stands for a value in the help."""
        origin = get_origin(self.kind)
        if self.command.metavar:
            return self.command.metavar
        if self.command.positional or (self.several and origin is Literal):
            return self.name.upper()
        if origin is Literal:
            return "{" + ",".join(map(str, get_args(self.kind))) + "}"
        return _pair_form(self.kind) if origin is dict else _METAVARS.get(self.kind, "")

    def told_default(self) -> str:
        """Say what holds where no value is given.

        Nothing for switches, for values that must be given, and where the text says.
        """
        value = self.default
        if value is MISSING or isinstance(value, bool) or value == "" or "default" in self.text:
            return ""
        if value in (None, (), {}):
            return "none"
        return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    def help(self) -> str:
        """Write what the setting means, what it may be, and what holds where it is not given."""
        text = self.text.rstrip(".")
        if self.default is True:  # the flag that is shown switches it off
            return f"do not {text}"
        if self.several and (choices := get_args(self.kind)):
            text += f"; of {', '.join(map(str, choices))}"
        if told := self.told_default():
            return f"{text} (default: {told})"
        return f"{text} (required)" if self.required and not self.command.positional else text

    def read(self, text: str) -> Any:
        """Read one value.

        :raises ArgumentTypeError: if it is none; says why.
        """
        origin, parts = get_origin(self.kind), get_args(self.kind)
        if origin is Literal:
            return _choice(text, parts)
        if origin is dict:
            return _pair(text, self.kind)
        return _in_range(_value(text, self.kind), self.limits)

    def gather(self, values: Any) -> Any:
        """Make of what flags gave what the class takes."""
        if self.several:
            return tuple(values)
        return dict(values) if get_origin(self.kind) is dict else values


def settings(kind: type[Any]) -> tuple[Setting, ...]:
    """List what a settings class holds: a dataclass with a `:param` text for each field."""
    hints = get_type_hints(kind, include_extras=True)
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        texts |= param_texts(base.__doc__ or "")
    found = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        bare, limits, flag = _bare(hint)
        several = get_origin(bare) is tuple
        if several:
            bare, limits, _ = _bare(get_args(bare)[0])
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        text, name = texts.get(field.name, ""), flag.name or field.name
        found.append(Setting(name, field.name, bare, several, hint, default, text, limits, flag))
    return tuple(found)


def settings_table(kind: type[Any]) -> str:
    """Write the settings of a class as a Markdown table: name, default, meaning."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for setting in settings(kind):
        default = setting.told_default()
        if isinstance(setting.default, bool):
            default = "on" if setting.default else "off"
        shown = "required" if setting.required else f"`{default}`" if default else ""
        text = setting.text.rstrip(".").replace("|", "\\|")
        rows.append(f"| `{setting.flag}` | {shown} | {text} |")
    return "\n".join(rows)


def _bare(hint: Any) -> tuple[Any, dict[str, float], Flag]:
    """Take `None` and annotations out of a type, and read range and flag from them."""
    limits: dict[str, float] = {}
    flag = Flag()
    while True:
        if get_origin(hint) is Annotated:
            for meta in hint.__metadata__:
                if isinstance(meta, Flag):
                    flag = meta
                found = {name: getattr(meta, name, None) for name in _LIMITS}
                limits |= {name: limit for name, limit in found.items() if limit is not None}
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, types.UnionType):
            hint = next(part for part in get_args(hint) if part is not type(None))
        else:
            return hint, limits, flag


@dataclass(frozen=True)
class Verb:
    """A function with what its command line needs to know.

    :param run: takes the dataclasses of its annotations, gives the exit code.
    :param without: fields of a room's class that are no flags of this verb.
    :param texts: help texts by field, where the verb means something other than the dataclass says.
    :param defaults: default values by field in place of the dataclass's, of a verb that fills them
        in itself.
    :param config: whether a TOML file can give what flags give.
    :param environment: what the environment variables begin with that can give what flags give: the
        rest of their names is the field's, in capitals. None where it is empty.
    :param variants: by value of a flag, another verb that reads the arguments in place of this one.
    """

    run: Callable[..., int]
    without: tuple[str, ...] = ()
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: bool = False
    environment: str = ""
    variants: Mapping[tuple[str, str], Verb] = dataclasses.field(default_factory=dict)

    @cached_property
    def kinds(self) -> dict[str, tuple[type[Any], bool]]:
        """The dataclasses of its parameters, and whether it takes only what is given of them."""
        hints = get_type_hints(self.run)
        kinds = {}
        for name in inspect.signature(self.run).parameters:
            partial = get_origin(hints[name]) is Given
            kinds[name] = (get_args(hints[name])[0] if partial else hints[name], partial)
        return kinds

    def settings_of(self, kind: type[Any]) -> list[Setting]:
        """Give what can be set of one of its dataclasses, as that says it."""
        return [setting for setting in settings(kind) if setting.field not in self.without]

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """What can be set, in the order of the help: what is positional first."""
        found = []
        for kind, partial in self.kinds.values():
            for setting in self.settings_of(kind):
                default = self.defaults.get(setting.name, setting.default)
                found.append(
                    dataclasses.replace(
                        setting,
                        text=self.texts.get(setting.name, setting.text),
                        default=default,
                        asked_for=default is MISSING and not partial,
                    )
                )
        return tuple(sorted(found, key=lambda setting: not setting.command.positional))

    def variant(self, arguments: Sequence[str]) -> tuple[Verb, list[str], str]:
        """Choose the verb that reads the arguments.

        :return: the verb, the arguments without what chose it, and what chose it.
        """
        rest = list(arguments)
        for (flag, value), other in self.variants.items():
            for i, argument in enumerate(arguments):
                if argument == f"{flag}={value}":
                    del rest[i]
                elif list(arguments[i : i + 2]) == [flag, value]:
                    del rest[i : i + 2]
                else:
                    continue
                return other, rest, f" {flag} {value}"
        return self, rest, ""


def verb(**options: Any) -> Callable[[Callable[..., int]], Verb]:
    """Make a function a verb, with the fields of `Verb`; its docstring is its help.

    Two paragraphs stand before the flags, the others after them.
    """
    return lambda run: Verb(run, **options)


class Parser(argparse.ArgumentParser):
    """Takes flags by their full names, and says which was probably meant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; what is left over is an error that names the nearest flag."""
        found, extra = self.parse_known_args(args, namespace)
        if extra:
            flags = [name for action in self._actions for name in action.option_strings]
            hints = [
                hint
                for argument in extra
                if argument.startswith("-")
                if (hint := did_you_mean(argument.partition("=")[0], flags))
            ]
            self.error(f"unrecognized arguments: {' '.join(extra)}{''.join(hints[:1])}")
        return found

    def error(self, message: str) -> NoReturn:
        """Show the usage and what was wrong, and exit with 2."""
        usage = self.format_usage()
        told = f"{usage}{self.prog}: error: {message}\n`{self.prog} --help` tells all.\n"
        self.exit(2, told.encode("utf-8", "replace").decode("utf-8"))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name what was probably meant; empty where nothing is near."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def make_parser(verb: Verb, prog: str) -> Parser:
    """Make the parser of a verb's arguments; what is not given is not in its result."""
    paragraphs = (inspect.getdoc(verb.run) or "").split("\n\n")
    if verb.environment:
        paragraphs[2:] = [
            *paragraphs[2:],
            f"Environment variables give what flags give: {verb.environment}NAME, with the flag's "
            "name in capitals and underscores. A flag wins over its variable, that over --config.",
        ]
    parser = Parser(
        prog=prog,
        usage=_usage(verb, prog),
        description="\n\n".join(paragraphs[:2]),
        epilog="\n\n".join(paragraphs[2:]) or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for setting in verb.settings:
        # What a file may give is asked for once it was read.
        add_setting(parser, setting, required=setting.asked_for and not verb.config)
    if verb.config:
        parser.add_argument(
            f"--{CONFIG}",
            type=Path,
            metavar="FILE",
            default=argparse.SUPPRESS,
            help="TOML file of settings, whose keys are these flags with underscores; a flag wins "
            "over the file (default: none)",
        )
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="log as well"
    )
    return parser


def _usage(verb: Verb, prog: str) -> str:
    """Write the usage in a line or two: what must be given."""
    parts = [prog]
    for setting in verb.settings:
        if setting.command.positional:
            name = setting.metavar + (" ..." if setting.several else "")
            parts.append(name if setting.required else f"[{name}]")
        elif setting.required:
            parts.append(f"{setting.flag} {setting.metavar}")
    return " ".join([*parts, "[flags]"]).replace("%", "%%")


def add_setting(
    parser: argparse.ArgumentParser, setting: Setting, *, required: bool = False
) -> None:
    """Add a flag, or a positional argument."""
    options: dict[str, Any] = {
        "help": setting.help().replace("%", "%%"),
        "default": argparse.SUPPRESS,
    }
    if setting.kind is bool:
        # Of NAME and no-NAME, the one is shown that changes something.
        for flag, value in ((setting.flag, True), (f"--no-{setting.flag[2:]}", False)):
            shown = {"help": argparse.SUPPRESS} if value is setting.default else {}
            parser.add_argument(
                flag,
                **{**options, "dest": setting.name, **shown},
                action="store_const",
                const=value,
            )
        return
    options |= {"type": setting.read, "metavar": setting.metavar}
    if setting.command.positional:
        if setting.several:
            options["nargs"] = "+" if setting.required else "*"
        elif not setting.required:
            options["nargs"] = "?"
        parser.add_argument(setting.name, **options)
        return
    if get_origin(setting.kind) is dict or setting.command.each:
        options["action"] = "append"
    elif setting.several:
        options |= {"action": "extend", "nargs": "+"}
    names = [name for name in (setting.command.short, setting.flag) if name]
    parser.add_argument(*names, dest=setting.name, required=required, **options)


def parse(verb: Verb, parser: Parser, arguments: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Read a verb's arguments.

    :return: what its function takes, and whether to log.
    :raises OvEmotionsError: if a file or a value is refused.
    """
    found = parser.parse_args(arguments)
    given = _from_environment(verb) | given_values(verb.settings, found)
    if verb.config and hasattr(found, CONFIG):
        given = _from_file(getattr(found, CONFIG), verb) | given
    if missing := [s.flag for s in verb.settings if s.asked_for and s.name not in given]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    values: dict[str, Any] = {}
    for parameter, (kind, partial) in verb.kinds.items():
        own = {s.field: given[s.name] for s in verb.settings_of(kind) if s.name in given}
        values[parameter] = Given(own) if partial else kind(**own)
    return values, getattr(found, "verbose", False)


def given_values(found: Iterable[Setting], args: argparse.Namespace) -> dict[str, Any]:
    """Collect what a parser with these settings was given."""
    return {s.name: s.gather(getattr(args, s.name)) for s in found if hasattr(args, s.name)}


def _from_environment(verb: Verb) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in verb.settings if verb.environment else ():
        variable = verb.environment + setting.name.upper()
        if not (text := os.environ.get(variable, "").strip()):
            continue
        try:
            if setting.kind is bool:
                values[setting.name] = _SWITCHES[text.lower()]
            elif setting.several:
                values[setting.name] = tuple(map(setting.read, text.split()))
            else:
                values[setting.name] = setting.read(text)
        except KeyError:
            raise InputError(f"{variable} must be true or false, not {text!r}") from None
        except argparse.ArgumentTypeError as error:
            raise InputError(f"the environment variable {variable}: {error}") from None
    return values


def _from_file(path: Path, verb: Verb) -> dict[str, Any]:
    table = read_toml(path, dict[str, Any], InputError)
    hints = {setting.name: setting.hint for setting in verb.settings}
    for key in table:
        if key not in hints:
            hint = did_you_mean(key, hints) or f"; it may have {', '.join(hints)}"
            raise InputError(f"{path}: unknown key {key!r}{hint}")
    return {
        key: from_builtins(value, hints[key], f"{path}: {key}", InputError)
        for key, value in table.items()
    }


def _choice(text: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if text == str(choice):
            return choice
    names = [str(choice) for choice in choices]
    raise argparse.ArgumentTypeError(
        f"{text!r} is not one of {', '.join(names)}{did_you_mean(text, names)}"
    )


def _value(text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        name = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"{text!r} is not {name}") from None


def _in_range(value: Any, limits: Mapping[str, float]) -> Any:
    for name, limit in limits.items():
        holds, words = _LIMITS[name]
        if not holds(value, limit):
            raise argparse.ArgumentTypeError(f"must be {words} {limit:g}, not {value}")
    return value


def _pair(text: str, kind: Any) -> tuple[str, Any]:
    name, equals, value = text.rpartition("=")  # a name may hold one too
    read = str if get_args(kind)[1] is str else float
    try:
        if name and equals and value:
            return name, read(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form {_pair_form(kind)}")


def _pair_form(kind: Any) -> str:
    return "NAME=TEXT" if get_args(kind)[1] is str else "NAME=NUMBER"
