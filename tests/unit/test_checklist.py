"""Check lists: what passes, what fails, and lines that say nothing sensible."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace

import pytest

from ov_emotions.errors import DataError
from ov_emotions.evaluation.checklist import read_checklist, run_checklist

LABELS = ("joy", "anger", "neutral")
HEAD = "group,text,must,any_of,may,must_not\n"


class Model(SimpleNamespace):
    """Answers texts by their names."""

    labels = LABELS
    label_names_ru = MappingProxyType({"joy": "радость"})

    def __call__(self, texts):
        return [SimpleNamespace(labels=self.found[text]) for text in texts]


def test_lines_pass_or_fail_by_what_must_may_and_must_not_be_found(tmp_path):
    path = tmp_path / "list.csv"
    lines = [
        "радость,a,joy,,,anger",
        'радость,b,joy,,"neutral",anger',
        'радость,c,,"joy, neutral",,',
        "спокойствие,d,,,joy,anger",
    ]
    path.write_text(HEAD + "\n".join(lines), encoding="utf-8")
    answers = {"a": ("joy",), "b": ("joy", "anger"), "c": ("anger",), "d": ("joy",)}
    found = run_checklist(path, Model(found=answers), "m")
    assert [(g.name, g.lines, g.passed) for g in found.groups] == [
        ("радость", 3, 1),
        ("спокойствие", 1, 1),
    ]
    assert (found.passed, found.lines) == (2, 4)
    first, second = found.failures
    assert (first.text, first.forbidden, first.missing) == ("b", ("anger",), ())
    assert (second.any_of, second.missing) == (True, ("joy", "neutral"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,must\na,joy\n", "it needs the columns group"),
        ("group,text\na,b\n", "at least one of must"),
        (HEAD + "g,a,fear,,,\n", "row 1: the model has no label 'fear'"),
        (HEAD + "g,a,joy,,,joy\n", "joy must and must not be found"),
        (HEAD + "g,a,,,joy,\n", "nothing must or must not be found"),
        (HEAD + ",a,joy,,,\n", "in no group"),
        (HEAD, "no"),
    ],
)
def test_a_table_that_is_no_check_list_is_told(tmp_path, content, message):
    path = tmp_path / "list.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_checklist(path, LABELS)
