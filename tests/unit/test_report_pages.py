from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from test_report_examples import CHOICE, EXAMPLES, eight, failed, random_weights, sixteen, study

import ov_emotions.reports
from ov_emotions.errors import DataError
from ov_emotions.reports import format as fmt
from ov_emotions.reports.html import render_html
from ov_emotions.reports.markdown import code, escape, render_markdown
from ov_emotions.reports.pareto import render_pareto_svg
from ov_emotions.reports.run import write_report
from ov_emotions.reports.study import Interval, Spread

HOSTILE = (
    "</title></style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> & "
    "| a | `b` ``c`` **d** [e](javascript:f) ![g](http://h) https://i.example www.j.example "
    "<!-- k --> $l$ @m #1\n\n# n\n\x00\x1b\u202e\ud800"
)


class _Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


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


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_asks_for_nothing_outside_itself(name):
    page = _Page(render_html(EXAMPLES[name]()))
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    fetched = [v for n, v in page.attributes if n in ("src", "href", "srcset", "action")]
    assert all(value.startswith("#") for value in fetched)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", render_html(EXAMPLES[name]()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_is_sound_for_a_strict_reader(name):
    page = _Page(render_html(EXAMPLES[name]()))
    ids = [value for attribute, value in page.attributes if attribute == "id"]
    assert len(set(ids)) == len(ids)
    for attribute, value in page.attributes:
        if attribute == "aria-labelledby":
            assert set(value.split()) <= set(ids)
    assert ("lang", "en") in page.attributes
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == page.tags.count("caption")
    assert page.attributes.count(("role", "img")) == page.tags.count("svg")
    assert page.tags.count("svg") == page.tags.count("desc")


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_report_shows_what_python_shows_for_nothing(name):
    made = EXAMPLES[name]()
    reports = (_Page(render_html(made)).text, render_markdown(made, None), render_pareto_svg(made))
    for report in reports:
        assert not re.search(r"\b(None|nan|inf|True|False)\b", report)


def test_every_candidate_stands_in_every_report():
    made = eight()
    page, markdown = _Page(render_html(made)).text, render_markdown(made, "pareto.svg")
    for candidate in made["candidates"]:
        assert candidate["id"] in page
        assert f"`{candidate['id']}`" in markdown
    assert "NNCF gave up after 3 layers" in page
    assert "NNCF gave up after 3 layers" in markdown


def test_the_command_and_the_machine_are_told():
    for report in (_Page(render_html(eight())).text, render_markdown(eight(), None)):
        assert "ov-emotions report fp32 --data prepared --output report" in report
        for fact in ("AMD EPYC", "ab" * 32, "2026.4.1", "7 rounds", "2,000 bootstrap samples"):
            assert fact in report


def test_what_was_not_measured_is_told_with_its_reason():
    why = "torch sees no CUDA device here"
    absent = [{"id": f"torch-cuda/{kind}", "why": why} for kind in ("fp16", "bf16")]
    made = eight() | {"not_measured": absent}
    said = f"Not measured: torch-cuda/fp16 and torch-cuda/bf16, as {why}."
    assert said in _Page(render_html(made)).text
    assert said in render_markdown(made, None)
    assert "Not measured" not in render_markdown(eight(), None)


def test_the_rows_with_the_largest_change_stand_in_both_reports():
    for report in (_Page(render_html(eight())).text, render_markdown(eight(), None)):
        assert "Largest changes of a probability" in report
        assert "ну наконец то доехали я так рада вас всех видеть" in report


def test_random_weights_make_accuracy_not_applicable():
    for report in (
        _Page(render_html(random_weights())).text,
        render_markdown(random_weights(), ""),
    ):
        assert "not applicable: random weights" in report
        assert "No verdict" in report
    assert "Throughput against latency" in render_pareto_svg(random_weights())


def test_a_study_in_which_everything_failed_still_has_a_report(tmp_path):
    made = study([failed("fp32/f32"), failed("int8-x/f32")]) | {"noise": None, "steps": []}
    write_report(made, tmp_path)
    assert "Nothing was timed" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Nothing was measured" in (tmp_path / "pareto.svg").read_text(encoding="utf-8")


def test_facts_of_a_recipe_are_flat_and_said_once():
    made = eight()
    recipe = {"name": "int8-mixed", "ptq": {"smooth_quant_alpha": 0.95, "seed": 3}}
    facts = {"recipe": recipe, "smooth_quant_alpha": 0.95, "seed": 4, "seconds": 75}
    for candidate in made["candidates"]:
        if candidate["recipe"] == "int8-mixed":
            candidate["quantization"] = facts
    markdown = render_markdown(made, None)
    entry = markdown[markdown.index("- `int8-mixed`: ") :].split("\n\n")[0].splitlines()[1:]
    assert [line.strip() for line in entry] == [
        "- smooth quant alpha: 0.95",
        "- seed: 4",
        "- time: 1 min 15 s",
        "- recipe ptq seed: 3",
    ]


def test_no_loss_at_all_may_be_allowed(tmp_path):
    made = eight()
    made["settings"] = made["settings"] | {"max_drop": 0}
    write_report(made, tmp_path)
    ElementTree.fromstring((tmp_path / "pareto.svg").read_text(encoding="utf-8"))
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# Do not ship a quantized model")


def test_costs_of_a_start_that_the_system_does_not_tell_are_zero():
    made = eight()
    made["candidates"][0]["start"]["rss_mb"] = {"median": 0, "min": 0, "max": 0}
    assert "Memory" not in _Page(render_html(made)).text


def test_hostile_texts_stay_text_in_the_page():
    harmless, hostile = _Page(render_html(eight())), _Page(render_html(_hostile_study()))
    assert set(hostile.tags) == set(harmless.tags)
    assert hostile.tags.count("script") == 1
    assert {name for name, _ in hostile.attributes} == {name for name, _ in harmless.attributes}
    assert "<script>alert(1)</script>" in hostile.text
    assert not {"\x00", "\u202e", "\ud800"} & set(render_html(_hostile_study()))


def test_hostile_texts_leave_tables_whole_in_markdown():
    markdown = render_markdown(_hostile_study(), "pareto.svg")
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1, table
    fenced, span = r"^(`{3,})shell\n.*\n\1$", r"(?<!\\)(`+)(?!`).*?(?<!`)\2(?!`)"
    outside = re.sub(f"{fenced}|{span}", "", markdown, flags=re.MULTILINE)
    assert re.findall(r"(?<!\\)<.*", outside) == ["<pareto.svg>)"]
    assert not re.search(r"(?<!\\)://|www\.j", outside)
    assert not re.search(r"^# n", markdown, re.MULTILINE)


def test_hostile_texts_leave_the_plot_well_formed():
    root = ElementTree.fromstring(render_pareto_svg(_hostile_study()))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "desc", "style", "rect", "line", "path", "text", "circle"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_plot_of_its_own_is_well_formed_and_names_every_point(name):
    made = EXAMPLES[name]()
    text = render_pareto_svg(made)
    ElementTree.fromstring(text)
    assert "prefers-color-scheme: dark" in text
    for candidate in made["candidates"]:
        assert (candidate["id"] in text) == (candidate["status"] == "ok")


def test_a_loss_far_below_the_others_is_pointed_at_with_its_value():
    assert "int4-weights/f32 ↓0.430" in render_pareto_svg(eight())


def test_names_never_overlap():
    page = render_html(sixteen())
    boxes = []
    svg = page[page.index('aria-labelledby="pareto-title') :]
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="name \w+"[^>]*>([^<]*)<', svg)
    for x, y, text in found[:16]:
        boxes.append((float(x), float(y), float(x) + 7.4 * len(text), text))
    assert len(boxes) == 16
    for i, (left, y, right, _) in enumerate(boxes):
        for other_left, other_y, other_right, _ in boxes[i + 1 :]:
            assert abs(y - other_y) > 10 or right <= other_left or other_right <= left


def test_writing_gives_four_files_and_the_verdict_in_the_json(tmp_path):
    made = eight()
    paths = write_report(made, tmp_path / "new")
    assert [path.name for path in paths] == ["study.json", "report.md", "report.html", "pareto.svg"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths)
    written = json.loads(paths[0].read_text(encoding="utf-8"))
    assert written.pop("verdict")["ship"] == "int8-mixed/bf16"
    assert written == made
    assert "(<pareto.svg>)" in paths[1].read_text(encoding="utf-8")


def test_writing_again_from_the_written_json_changes_nothing(tmp_path):
    paths = write_report(eight(), tmp_path)
    before = [path.read_bytes() for path in paths]
    write_report(json.loads(before[0]), tmp_path)
    assert [path.read_bytes() for path in paths] == before


def test_lone_surrogates_survive_in_the_json_and_are_replaced_on_the_page(tmp_path):
    made = copy.deepcopy(eight())
    for candidate in made["candidates"][:-1]:
        candidate["quality"][CHOICE]["largest_changes"][0]["text"] = "рад \ud800 ура"
    paths = write_report(made, tmp_path)
    text = json.loads(paths[0].read_text(encoding="utf-8"))
    assert text["candidates"] == made["candidates"]
    assert "рад \ufffd ура" in paths[2].read_text(encoding="utf-8")


def test_what_is_no_study_writes_nothing(tmp_path):
    with pytest.raises(DataError):
        write_report({"kind": "other"}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="cannot write the report into"):
        write_report(eight(), tmp_path / "file")


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "soft", "accent", "alarm"])
@pytest.mark.parametrize("ground", ["paper", "wash"])
def test_every_text_colour_can_be_read_on_every_ground(mode, ink, ground):
    css = (Path(ov_emotions.reports.__file__).parent / "palette.css").read_text(encoding="utf-8")
    palettes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media")]
    colours = palettes[mode == "dark"]
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_numbers_carry_true_minus_signs_and_three_digits():
    assert fmt.score_interval(Interval(0.6437, 0.6343, 0.6529)) == "0.644 (0.634–0.653)"
    assert fmt.signed_interval(Interval(-0.0006, -0.0019, 0.0007)) == "−0.0006 (−0.0019 to +0.0007)"
    assert fmt.signed(-0.00001) == "0.0000"
    assert fmt.times_spread(Spread(2.8, 2.61, 3.02)) == "2.80× (2.61–3.02)"
    assert [fmt.number(v) for v in (3.456, 9.999, 99.96, 3460.4)] == [
        "3.46",
        "10.0",
        "100",
        "3,460",
    ]
    assert [fmt.duration(v) for v in (3.21, 59.4, 201, 3905)] == [
        "3.21 s",
        "59 s",
        "3 min 21 s",
        "1 h 5 min",
    ]


def test_markdown_of_a_text_is_the_text():
    assert escape("a|b <c> *d*") == r"a\|b \<c\> \*d\*"
    assert escape("see https://x.example") == r"see https\://x.example"
    assert escape("- item") == r"\- item"
    assert escape("1. item") == r"1\. item"
    assert escape("0.644 (0.634–0.653)") == "0.644 (0.634–0.653)"
    assert code("a`b") == "``a`b``"
