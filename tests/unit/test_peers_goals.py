"""Ratios and goals of the benchmark against peers, and the model behind the sizing table."""

from __future__ import annotations

import pytest

from benchmarks.peers.goals import (
    EARLIER,
    LIMIT,
    OURS,
    macs_per_text,
    macs_per_token,
    memory_goal,
    model_goals,
    ratio,
    start_goals,
    utilisation,
)
from benchmarks.peers.plan import ENVIRONMENTS, LARGE, PEERS, SMALL
from benchmarks.scaling import conclude, contention, points, predict, sizing


def rounds_of(*rates: float, p50: float = 2.0, p99: float = 3.0):
    return [{"texts_per_second": rate, "p50_ms": p50, "p99_ms": p99} for rate in rates]


ROUNDS = {
    OURS: rounds_of(120, 130, 125, p50=2.2, p99=4.0),
    EARLIER: rounds_of(10, 10, 10),
    LIMIT: rounds_of(125, 135, 130, p50=2.0),
    "ONNX": rounds_of(100, 60, 62.5),
}


def test_a_ratio_is_taken_round_by_round():
    assert ratio(ROUNDS, OURS, "ONNX", "texts_per_second") == {
        "median": 2.0,
        "min": 1.2,
        "max": 2.1667,
    }


NAMES = [
    "throughput over the earlier projects' path",
    "throughput over the best peer (ONNX)",  # of the highest median
    "throughput over the bare IR's",
    "one text, p50 over the bare IR's",
    "one text, p99 over p50",
]
SLOW = ROUNDS | {OURS: rounds_of(100, 100, 100, p50=2.6, p99=5.2)}


@pytest.mark.parametrize(
    ("model", "rounds", "goals"),
    [
        (LARGE, ROUNDS, dict.fromkeys(NAMES, True)),
        (LARGE, SLOW, dict(zip(NAMES, (False, True, False, False, False), strict=True))),
        (SMALL, ROUNDS, dict.fromkeys(NAMES[2:], True)),
        (SMALL, {}, {}),
    ],
)
def test_a_model_is_held_against_the_goals_that_were_set_for_it(model, rounds, goals):
    found = model_goals(model, rounds, ["ONNX", EARLIER, "none"])
    assert {goal.name: goal.reached for goal in found} == goals


def test_the_median_of_the_rounds_decides():
    earlier, *_, single, _ = model_goals(LARGE, ROUNDS, ["ONNX"])
    assert earlier.figure["median"] == 12.5
    assert single.figure["median"] == pytest.approx(0.2)


def test_start_and_memory_goals_are_upper_bounds():
    figure = {"median": 0.9, "min": 0.8, "max": 1.1}
    milliseconds = {"median": 150.0, "min": 140.0, "max": 160.0}
    starts = {
        "cold_start_s": figure,
        "import_package_ms": milliseconds,
        "import_classifier_ms": figure,
    }
    assert [goal.reached for goal in start_goals(starts)] == [True, False, True]
    assert memory_goal([100.0, 104.0, 103.0]).figure["median"] == 4.0
    assert not memory_goal([100.0, 106.0, 101.0]).reached


def test_multiply_adds_are_those_of_a_bert_layer():
    config = {"hidden_size": 2, "intermediate_size": 8, "num_hidden_layers": 3}
    assert macs_per_token(config, 5) == 3 * (4 * 4 + 2 * 2 * 8 + 2 * 5 * 2)
    assert macs_per_text(config, [5, 5]) == 5 * macs_per_token(config, 5)
    share = utilisation(rounds_of(10, 20), [100.0, 100.0], [4000.0, 4000.0])
    assert (share["min"], share["max"]) == (0.25, 0.5)


def test_peers_have_names_of_their_own_and_known_environments():
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert {peer.environment for peer in PEERS} == set(ENVIRONMENTS)
    assert {OURS, EARLIER, LIMIT} <= {peer.name for peer in PEERS}
    loads = {}
    for peer in PEERS:  # one process loads once, whichever peer comes first
        assert loads.setdefault(peer.worker, (peer.module, peer.options)) == (
            peer.module,
            peer.options,
        )


def test_the_scaling_law_returns_what_it_was_fitted_to():
    serial = contention(100.0, 180.0)
    assert predict(100.0, 2, serial) == pytest.approx(180.0)
    assert contention(100.0, 210.0) == 0.0
    assert predict(100.0, 64, 0.0) == 6400.0


def test_the_sizing_table_costs_what_the_cores_cost_for_as_long_as_they_work():
    rows = {row.cores: row for row in sizing(1000.0, (0.0, 0.1, 0.2), 0.36, 2)}
    assert rows[1].cost == pytest.approx(1000 / 3600 * 2 * 0.36)
    assert rows[64].low < rows[64].middle < rows[64].high == 64000.0


def test_one_core_alone_lets_nothing_be_concluded():
    plan = points([0], [5, 20, 40, 6], 4)
    assert not any(point.plot == "cores" and point.x == 2 for point in plan)
    assert conclude({"1 core": [1.0]}, 0.04, 2) is None


def test_two_cores_are_foretold_from_one_and_the_error_is_told():
    rounds = {
        "1 core": [100.0, 100.0],
        "2 cores, threads": [170.0, 170.0],
        "2 cores, streams": [190.0, 190.0],
        "2 processes": [195.0, 195.0],
    }
    found = conclude(rounds, 0.04, 2)
    row = found["check"]["2 cores, streams"]
    assert row["predicted"] == pytest.approx(195.0, abs=0.1)
    assert row["error"] == pytest.approx(195 / 190 - 1, abs=1e-3)
    assert found["way"] == "2 processes"
