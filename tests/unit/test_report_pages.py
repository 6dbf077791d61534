from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest
from page_reader import PageReader
from report_examples import CHOICE, EXAMPLES, LABELS, eight, failed, study, three

from ov_emotions.errors import DataError
from ov_emotions.reports.language import Language
from ov_emotions.reports.page import asset
from ov_emotions.reports.run import write_report

HOSTILE = (
    "</title></style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> & "
    "| a | `b` ``c`` **d** [e](javascript:f) ![g](http://h) https://i.example www.j.example "
    "<!-- k --> $l$ @m #1\n\n# n\n\x00\x1b\u202e\ud800"
)


def _hostile(value: Any, names: dict[str, str], key: str = "") -> Any:
    """Put hostile words into every text that is not a keyword of the schema."""
    kept = ("kind", "runtime", "status", "weights", "created")
    if isinstance(value, dict):
        return {
            names.get(k, k): _hostile(v, names, k) if k not in kept else v for k, v in value.items()
        }
    if isinstance(value, list):
        return [_hostile(v, names, key) for v in value]
    return value + HOSTILE if isinstance(value, str) else value


def _hostile_study() -> dict[str, Any]:
    made = eight()
    labels = made["model"]["labels"]
    names = {name: name + HOSTILE for name in [*labels, CHOICE, made["data"]["final_split"]]}
    names |= {name: name + HOSTILE for name in made["data"]["splits"]}
    return _hostile(made, names)


def _report(made: dict[str, Any], language: str = "en") -> tuple[str, str, str]:
    """Write a study's report and read page, Markdown and plot."""
    with TemporaryDirectory() as folder:
        _, *paths = write_report(made, Path(folder), language)
        markdown, markup, plot = (path.read_text(encoding="utf-8") for path in paths)
    return markup, markdown, plot


@cache
def _example(name: str, language: str = "en") -> tuple[str, str, str]:
    return _report(EXAMPLES[name](), language)


def _plain(text: str) -> str:
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_report_is_sound_and_asks_for_nothing_outside_itself(name):
    markup, markdown, plot = _example(name)
    page = PageReader(markup)
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    fetched = [v for n, v in page.attributes if n in ("src", "href", "srcset", "action")]
    assert all(value.startswith("#") for value in fetched)
    assert not re.search(r"@import|fetch\(|XMLHttpRequest", markup)
    assert set(re.findall(r"url\((\w+):", markup)) == {"data"}
    ids = set(page.ids)
    assert len(ids) == len(page.ids)
    for attribute, value in page.attributes:
        if attribute == "aria-labelledby":
            assert set(value.split()) <= ids
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == page.tags.count("caption")
    assert page.attributes.count(("class", "chart")) == page.attributes.count(("role", "img"))
    for report in (page.text.split('"use strict"')[0], markdown, plot):
        assert not re.search(r"\b(None|nan|inf|True|False|undefined)\b", report)
    ElementTree.fromstring(plot)
    assert "prefers-color-scheme: dark" in plot
    for candidate in EXAMPLES[name]()["candidates"]:
        drawn = candidate["status"] == "ok"
        assert (candidate["id"] in plot) == drawn or name == "broken"


def test_every_candidate_and_fact_stands_in_page_and_markdown():
    markup, markdown, _ = _example("eight")
    page = _plain(PageReader(markup).text)
    for candidate in eight()["candidates"]:
        assert candidate["id"] in page
        assert f"`{candidate['id']}`" in markdown
    for report in (page, _plain(markdown)):
        assert "NNCF gave up after 3 layers" in report
        assert "ov-emotions report fp32 --data prepared --output report" in report
        assert "Largest changes of a probability" in report
        assert "ну наконец то доехали я так рада вас всех видеть" in report
        for fact in ("AMD EPYC", "ab" * 32, "2026.4.1", "7 rounds", "2,000 bootstrap samples"):
            assert fact in report


def test_the_plot_names_frontier_reference_and_the_chosen_one_and_the_rest_on_pointing():
    plot = _example("sixteen")[2]
    named = set(re.findall(r">([\w.-]+/\w+)</text>", plot))
    pointed = set(re.findall(r'<path aria-label="([\w.-]+/\w+),', plot))
    assert "fp32/f32" in named
    assert EXAMPLES["sixteen"]()["candidates"][0]["id"] in pointed
    assert len(named) < len(pointed) == 16


def test_a_russian_report_has_no_english_words_of_ours_and_decimal_commas():
    markup = _example("three", "ru")[0]
    text = PageReader(
        re.sub(r"<(svg|script|style|dl|pre)\b.*?</\1>", "", markup, flags=re.DOTALL)
    ).text
    text = re.sub(r"[\w.-]+/\w+|[\w-]+:\w+", "", text)
    known = "emotions example AMD EPYC OpenVINO SHA json study timings quantize mixed int ptq"
    known += " The reference rounds spread within the limit bootstrap seed weights inference"
    assert set(re.findall(r"[A-Za-z]{3,}", text)) <= {*known.split(), "bfloat", *LABELS}
    assert "−0,0006" in text


def test_what_was_not_measured_is_told_with_its_reason():
    why = "torch sees no CUDA device here"
    absent = [{"id": f"torch-cuda/{kind}", "why": why} for kind in ("fp16", "bf16")]
    _, markdown, _ = _report(three() | {"not_measured": absent})
    assert f"Not measured: torch-cuda/fp16 and torch-cuda/bf16, as {why}." in markdown
    assert "Not measured" not in _example("three")[1]


def test_random_weights_make_accuracy_not_applicable():
    markup, markdown, plot = _example("random_weights")
    for report in (PageReader(markup).text, markdown):
        assert "not applicable: random weights" in report
        assert "No verdict" in report
    assert "Throughput against latency" in plot


def test_a_study_in_which_everything_failed_still_has_a_report():
    made = study([failed("fp32/f32"), failed("int8-x/f32")]) | {"noise": None, "steps": []}
    _, markdown, plot = _report(made)
    assert "Nothing was timed" in markdown
    assert "Nothing was measured" in plot


def test_hostile_texts_stay_text():
    markup, markdown, plot = _report(_hostile_study())
    harmless, hostile = PageReader(_example("eight")[0]), PageReader(markup)
    assert set(hostile.tags) <= set(harmless.tags)
    assert hostile.tags.count("script") == 1
    assert {name for name, _ in hostile.attributes} <= {name for name, _ in harmless.attributes}
    assert "<script>alert(1)</script>" in hostile.text
    assert not {"\x00", "\u202e", "\ud800"} & set(markup)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1, table
    fenced, span = r"^(`{3,})shell\n.*\n\1$", r"(?<!\\)(`+)(?!`).*?(?<!`)\2(?!`)"
    outside = re.sub(f"{fenced}|{span}", "", markdown, flags=re.MULTILINE)
    assert re.findall(r"(?<!\\)<.*", outside) == ["<pareto.svg>)"]
    assert not re.search(r"(?<!\\)://|www\.j", outside)
    assert not re.search(r"^# n", markdown, re.MULTILINE)
    names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(plot).iter()}
    assert names <= {"svg", "g", "style", "rect", "line", "path", "text"}


def test_writing_gives_four_files_and_writing_again_changes_nothing(tmp_path):
    made = eight()
    for candidate in made["candidates"][:-1]:
        candidate["quality"][CHOICE]["largest_changes"][0]["text"] = "рад \ud800 ура"
    paths = write_report(made, tmp_path / "new")
    assert [path.name for path in paths] == ["study.json", "report.md", "report.html", "pareto.svg"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths)
    before = [path.read_bytes() for path in paths]
    written = json.loads(before[0])
    assert "рад \ufffd ура" in paths[2].read_text(encoding="utf-8")
    # An older verdict beside the same figures is no reason to write the study anew.
    paths[0].write_text(json.dumps(written | {"verdict": {"ship": "old"}}), encoding="utf-8")
    write_report(written, tmp_path / "new")
    assert json.loads(paths[0].read_text(encoding="utf-8"))["verdict"] == {"ship": "old"}
    assert [path.read_bytes() for path in paths[1:]] == before[1:]
    assert written.pop("verdict")["ship"] == "int8-mixed/bf16"
    assert written == made


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(DataError):
        write_report({"kind": "other"}, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot write the report into"):
        write_report(study([failed("fp32/f32")]), tmp_path / "file")


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "card", "wash"])
def test_every_text_colour_can_be_read_on_every_ground(mode, ground):
    parts = asset("palette.css").split("@media")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", parts[mode]))
    inks = ("ink", "soft", "accent", "alarm", "good", "calm", "wavering", "upset", "who-0", "who-2")
    for ink in inks:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, ink


def test_russian_nouns_agree_with_their_numbers():
    say = Language("ru")
    counted = [
        _plain(say.count(n, "", "строка|строки|строк")) for n in (1, 2, 5, 11, 21, 112, 1003)
    ]
    assert counted == [
        "1 строка", "2 строки", "5 строк", "11 строк", "21 строка", "112 строк", "1 003 строки",
    ]  # fmt: skip
