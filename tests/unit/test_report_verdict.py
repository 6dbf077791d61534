from __future__ import annotations

import copy
import re

import pytest
from report_examples import (
    CHOICE,
    FINAL,
    MIXED,
    PTQ,
    REFERENCE,
    broken,
    candidate,
    eight,
    failed,
    noisy,
    random_weights,
    refused,
    sixteen,
    study,
    three,
)

from ov_emotions.quantization.study_schema import parse_study
from ov_emotions.reports.language import Language
from ov_emotions.reports.verdict import decide, judge, shipped_note


def _int8(name, **changes):
    usual = {"change": -0.001, "p50": 3.0, "rate": 570.0, "size": 31.0}
    return candidate(f"int8-{name}/f32", **(usual | changes))


def test_the_fastest_that_keeps_the_accuracy_is_shipped():
    verdict = decide(three())
    assert verdict["ship"] == "int8-mixed/bf16"
    assert verdict["sentence"].startswith("Ship int8-mixed/bf16. Beside fp32/f32 it is 2.85 times")
    assert "It keeps the accuracy: weighted F1 changes by −0.0006 (−0.0018" in verdict["sentence"]
    assert "int8-ptq/bf16" in verdict["refused"]
    assert "−0.0064" in verdict["refused"]["int8-ptq/bf16"]
    assert set(verdict["pareto"]) == {"fp32/f32", "int8-mixed/bf16"}


def test_the_same_study_gives_the_same_verdict_and_is_not_changed():
    made = sixteen()
    before = copy.deepcopy(made)
    assert decide(made) == decide(made)
    assert made == before


def test_a_loss_at_the_limit_is_allowed_and_one_beyond_it_is_not():
    assert decide(study([REFERENCE, _int8("a", change=-0.003)]))["ship"] == "int8-a/f32"
    assert decide(study([REFERENCE, _int8("a", change=-0.0031)]))["ship"] == "fp32/f32"


def test_an_interval_that_is_too_wide_refuses_and_says_so():
    verdict = decide(study([REFERENCE, _int8("a", change=-0.001, half=0.0081)]))
    assert verdict["ship"] == "fp32/f32"
    assert (
        "1,628\N{NO-BREAK SPACE}rows the interval is too wide to tell"
        in verdict["refused"]["int8-a/f32"]
    )
    near = decide(study([REFERENCE, _int8("a", half=0.0079)]))
    assert near["ship"] == "int8-a/f32"
    # It is let through, but nobody may read that the accuracy is kept.
    assert "keeps the accuracy" not in near["sentence"]
    assert "too few to rule out more" in near["sentence"]


def test_only_thresholds_of_its_own_decide_and_the_need_to_refit_is_told():
    verdict = decide(study([REFERENCE, _int8("a", change=-0.001, frozen=-0.02)]))
    assert verdict["ship"] == "int8-a/f32"
    assert any("Refit the thresholds" in reason for reason in verdict["reasons"])
    calm = decide(study([REFERENCE, _int8("a", change=-0.001, frozen=-0.001)]))
    assert not any("Refit" in reason for reason in calm["reasons"])


def test_nothing_but_the_reference_is_a_verdict_against_quantizing():
    verdict = decide(refused())
    assert verdict["ship"] == "fp32/f32"
    assert verdict["headline"] == "Do not ship a quantized model"
    assert "none of 2\N{NO-BREAK SPACE}other candidates keeps" in verdict["sentence"]
    assert verdict["pareto"] == ["fp32/f32"]


def test_torch_is_never_shipped():
    torch = candidate("torch/fp32", p50=1.0, rate=5000, runtime="torch-cuda")
    verdict = decide(study([REFERENCE, torch]))
    assert verdict["ship"] == "fp32/f32"
    assert verdict["refused"]["torch/fp32"].startswith("PyTorch")
    assert verdict["pareto"] == ["fp32/f32"]


def test_a_failed_candidate_is_refused_with_its_error():
    verdict = decide(study([REFERENCE, MIXED, failed("int8-x/f32", "out of memory")]))
    assert verdict["refused"] == {"int8-x/f32": "failed: out of memory"}
    assert verdict["ship"] == "int8-mixed/bf16"


def test_a_study_in_which_every_quantized_one_failed_says_that_first():
    verdict = decide(broken())
    assert verdict["sentence"].startswith("Every quantized candidate failed. Ship fp32/f32: none")
    assert "int8-a/f32 says: out of memory." in verdict["sentence"]
    assert "faster" not in verdict["sentence"]


def test_a_failed_reference_leaves_no_verdict():
    verdict = decide(study([failed("fp32/f32", "disk full"), MIXED]))
    assert verdict["ship"] is None
    assert "The reference fp32/f32: failed: disk full." in verdict["sentence"]


def test_a_shorter_time_of_one_text_goes_before_throughput():
    quick, many = _int8("quick", p50=2.0, rate=500), _int8("many", p50=3.0, rate=900)
    assert decide(study([REFERENCE, quick, many]))["ship"] == "int8-quick/f32"


def test_within_a_tenth_of_the_shortest_time_throughput_decides():
    quick, many = _int8("quick", p50=2.0, rate=500, wide=0.001), _int8("many", p50=2.19, rate=900)
    assert decide(study([REFERENCE, quick, many]))["ship"] == "int8-many/f32"


def test_what_cannot_be_told_apart_goes_to_the_smaller():
    big = _int8("big", rate=600, size=60, change=0.001)
    small = _int8("small", rate=590, size=31)
    verdict = decide(study([REFERENCE, big, small]))
    assert verdict["ship"] == "int8-small/f32"
    assert any("cannot be told from int8-big/f32" in reason for reason in verdict["reasons"])
    apart = _int8("big", rate=700, size=60)
    assert decide(study([REFERENCE, apart, small]))["ship"] == "int8-big/f32"


def test_of_equally_small_ones_the_more_accurate_is_taken():
    one, other = _int8("one", rate=600, size=31, change=-0.002), _int8("other", rate=590, size=31.5)
    assert decide(study([REFERENCE, one, other]))["ship"] == "int8-other/f32"


def test_speed_that_is_not_told_from_the_reference_s_is_not_claimed():
    verdict = decide(study([REFERENCE, _int8("a", p50=7.9, rate=202, wide=0.1)]))
    assert verdict["ship"] == "int8-a/f32"
    assert "as fast, as far as this run can tell" in verdict["sentence"]
    assert "times as fast" not in verdict["sentence"]


def test_a_slower_candidate_is_not_shipped():
    verdict = decide(study([REFERENCE, _int8("slow", p50=12.0, rate=120)]))
    assert verdict["ship"] == "fp32/f32"
    assert "none is faster for certain" in verdict["sentence"]


def test_an_unquantized_winner_is_named_in_a_verdict_against_quantizing():
    verdict = decide(study([REFERENCE, candidate("fp16/f32", size=59), PTQ]))
    assert verdict["ship"] == "fp16/f32"
    assert verdict["sentence"].startswith("Do not ship a quantized model. Ship fp16/f32.")


def test_noise_leaves_the_choice_to_size():
    verdict = decide(noisy())
    assert verdict["ship"] == "int8-mixed/bf16"
    assert "too noisy to tell speed, and size decided" in verdict["reasons"][0]
    assert "times as fast" not in verdict["sentence"]


def test_without_timings_size_decides_and_the_report_says_so():
    bare = {"latency": None, "throughput": None, "ratios": None}
    verdict = decide(study([REFERENCE | bare, MIXED | bare]))
    assert verdict["ship"] == "int8-mixed/bf16"
    assert "No timings were taken, so size decided." in verdict["reasons"]


def test_a_candidate_that_alone_was_not_timed_is_refused():
    verdict = decide(study([REFERENCE, MIXED | {"latency": None}]))
    assert verdict["refused"]["int8-mixed/bf16"].startswith("not timed")


def test_random_weights_say_nothing_of_quality():
    verdict = decide(random_weights())
    assert verdict["ship"] is None
    assert "accuracy is not applicable" in verdict["sentence"]
    assert "time and memory only" in verdict["sentence"]


def test_random_weights_ignore_scores_that_were_computed_nevertheless():
    made = three()
    made["model"] = made["model"] | {"random_weights": True}
    assert decide(made)["ship"] is None
    assert set(decide(made)["refused"]) == set()


def test_the_final_split_confirms_but_never_chooses():
    made = eight()
    bad = candidate("int8-mixed/bf16", change=-0.0006, p50=3.0, rate=570, size=31, final=-0.0123)
    made["candidates"] = [bad if c["id"] == bad["id"] else c for c in made["candidates"]]
    without = copy.deepcopy(made)
    without["data"]["final_split"] = None
    verdict = decide(made)
    assert verdict["ship"] == decide(without)["ship"] == "int8-mixed/bf16"
    assert verdict["confirmed"] is False
    assert "−0.0123" in verdict["confirmation"]
    assert FINAL in verdict["confirmation"]
    assert decide(without)["confirmation"] is None
    assert decide(eight())["confirmed"] is True


@pytest.mark.parametrize("make", [three, eight, sixteen, noisy, refused, random_weights])
def test_the_shipped_one_is_never_among_the_refused(make):
    verdict = decide(make())
    assert verdict["ship"] not in verdict["refused"]
    assert verdict["ship"] is None or verdict["ship"] in verdict["pareto"]


@pytest.mark.parametrize("make", [three, eight, sixteen, noisy, refused, random_weights, broken])
def test_a_verdict_in_russian_is_the_same_verdict(make):
    english, russian = decide(make()), decide(make(), "ru")
    for key in ("ship", "pareto", "confirmed"):
        assert russian[key] == english[key]
    assert set(russian["refused"]) == set(english["refused"])
    known = r"[\w-]+/\w+|[\w-]+:\w+|RoBERTa\S*|OpenVINO|out of memory"
    ours = re.sub(known, "", russian["sentence"])
    assert not re.search(r"[A-Za-z]{3,}|\d\.\d", ours)


def test_what_ships_and_is_not_what_the_verdict_names_is_told():
    parsed, say = parse_study(eight()), Language("en")
    verdict = judge(parsed, say)
    assert shipped_note(parsed, verdict, None, say) is None
    assert shipped_note(parsed, verdict, "int8-mixed/bf16", say) is None
    note = shipped_note(parsed, verdict, "int8-mixed/f32", say)
    assert "What ships as emotions-example is int8-mixed/f32, not int8-mixed/bf16." in note
    assert f"−0.0004 (−0.0016 to +0.0008) on {CHOICE}" in note
    assert f"On {FINAL} the two cannot be told apart." in note
    assert "did not measure" in shipped_note(parsed, verdict, "int8-gone/f32", say)
