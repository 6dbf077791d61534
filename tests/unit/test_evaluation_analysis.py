from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.errors import DataError
from ov_emotions.evaluation.analysis import (
    analyse,
    compare_scored,
    confusion,
    worst_errors,
)
from ov_emotions.evaluation.checklist import KIND, CheckListResult, Failure, Group
from ov_emotions.evaluation.run import Scored
from ov_emotions.labels import EKMAN
from ov_emotions.metrics import bootstrap_intervals, score
from ov_emotions.reports.checklist import render_checklist
from ov_emotions.reports.evaluation import render_calibration, render_evaluation


def scored(targets: list[list[int]], probabilities: list[list[float]]) -> Scored:
    """The first columns; the others are unknown, and 0.1."""
    n, known = len(targets), len(targets[0])
    wide = np.full((n, len(EKMAN)), -1, dtype=np.int8)
    wide[:, :known] = targets
    scores = np.full(wide.shape, 0.1, dtype=np.float32)
    scores[:, :known] = probabilities
    texts = tuple(f"<b>{i}</b>" for i in range(n))
    data = LabelledTexts(EKMAN, texts, wide, ("made",) * n, np.arange(1, n + 1))
    return Scored("test", data, scores, scores >= 0.5)


@pytest.fixture
def found() -> Scored:
    targets = [[1, 0], [1, 0], [1, 1], [0, 1]]
    return scored(targets, [[0.1, 0.9], [0.2, 0.1], [0.9, 0.6], [0.1, 0.8]])


def test_confusion_looks_at_the_misses_of_each_label(found):
    first, second = EKMAN.labels[:2]
    answer = confusion(found)
    assert answer[first]["misses"] == 2
    assert answer[first]["given"][second] == 0.5
    assert answer[first]["given"]["none"] == 0.5
    assert answer[second] == {"misses": 0}


def test_the_worst_errors_come_first_and_only_wrong_rows(found):
    worst = worst_errors(found, 10)
    assert [row["row"] for row in worst] == [1, 2]
    assert worst[0]["true"] == [EKMAN.labels[0]]
    assert worst[0]["unknown"] == list(EKMAN.labels[2:])
    assert len(worst_errors(found, 1)) == 1


def test_a_comparison_says_how_sure_a_difference_is(found):
    better = replace(found, predicted=found.data.targets == 1)
    split = compare_scored([found], [better], samples=200, seed=1)["test"]
    assert split["weighted_f1"]["value"] > 0
    assert split["weighted_f1"]["share_not_better"] < 0.5
    assert set(split["labels"]) == set(EKMAN.labels[:2])
    other = scored([[1, 0]], [[0.5, 0.5]])
    with pytest.raises(DataError, match="different rows"):
        compare_scored([found], [other])


@pytest.mark.parametrize(
    ("language", "told", "headings"),
    [
        ("en", "reaches a weighted F1 of", ("Figures", "Confusion", "Correlation", "Worst errors")),
        ("ru", "взвешенная F1 равна", ("Цифры", "Что с чем путает", "Корреляция", "Худшие ошибки")),
    ],
)
def test_a_page_says_what_was_found_and_holds_every_section(found, language, told, headings):
    t, p = found.data.targets, found.predicted
    split = score(t, p, EKMAN.labels).to_dict()
    split |= {"intervals_95": bootstrap_intervals(t, p, 50, 1), "worst": worst_errors(found, 5)}
    result = {"model": "m<i>", "splits": {"test": split | analyse(found)}}
    html = render_evaluation({"results": [result]}, language)
    assert told in html
    assert "&lt;b&gt;0&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "m<i>" not in html
    for heading in headings:
        assert f">{heading}</h2>" in html


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((0.01, 0.02), "Calibration made things worse: calibration error 0.0500 before, 0.0600"),
        ((-0.01, -0.02), "Calibration helped"),
        ((-0.01, 0.02), "Calibration is a trade"),
        ((0.0, 0.0), "Calibration changed nothing"),
    ],
)
def test_a_calibration_says_first_whether_it_helped(change, told):
    def side(ece, loss):
        diagram = {"ece": ece, "confidence": [0.2, 0.8], "frequency": [0.1, 0.9], "rows": [5, 5]}
        return {"all": diagram, "labels": {"joy": diagram}, "log_loss": loss}

    answer = {
        "model": "m",
        "fitted_on": "validation:thresholds",
        "measured_on": "validation:selection",
        "temperatures": {"joy": 1.2},
        "decisions_compared": 20,
        "decisions_changed": 0,
        "before": side(0.05, 0.3),
        "after": side(0.05 + change[0], 0.3 + change[1]),
    }
    html = render_calibration(answer)
    assert told in html.split("</h1>")[0]
    assert ("Leave it." in html) == ("worse" in told)


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", ("m passes 3 of 4 lines (75.0 %)", "The worst is “угрозы”: 1 of 2.", "sadness")),
        ("ru", ("m проходит 3 из 4 строк (75,0 %)", "Хуже всего «угрозы»: 1 из 2.", "грусть")),
    ],
)
def test_a_check_list_says_how_much_passes_and_lists_what_fails(language, told):
    failure = Failure(
        group="угрозы",
        text="уйду <b>от вас</b>",
        found=("joy",),
        missing=("anger", "sadness"),
        forbidden=("joy",),
        any_of=True,
    )
    result = CheckListResult(
        kind=KIND,
        model="m",
        file="list.csv",
        groups=(Group(name="похвала", lines=2, passed=2), Group(name="угрозы", lines=2, passed=1)),
        failures=(failure,),
        label_names_ru={"sadness": "грусть"},
    )
    html = render_checklist(result, language).replace("\N{NO-BREAK SPACE}", " ")
    for words in told:
        assert words in html
    assert "уйду &lt;b&gt;от вас" in html
