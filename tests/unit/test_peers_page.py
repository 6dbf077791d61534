"""The page of benchmarks: held equal to the committed figures, and rendered from made-up ones."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks.common import summary
from benchmarks.peers.goals import EARLIER, LIMIT, OURS, model_goals
from benchmarks.peers.page import PLOTS, README, headlines, render_page, render_peers
from benchmarks.peers.plan import LARGE, SMALL
from benchmarks.scaling import conclude
from ov_emotions.quantization.timing import spread

MARKS = (
    "# T\n<!-- peers: start -->\nold\n<!-- peers: end -->\n"
    "<!-- scaling: start -->\n<!-- scaling: end -->\nend\n"
)


def peers_answer():
    rates = {OURS: [1200, 1300], LIMIT: [1250, 1340], EARLIER: [100, 100], "torch fp32": [300, 310]}
    rounds = {
        name: [{"texts_per_second": v, "p50_ms": 2.0, "p99_ms": 3.0, "rss_mb": 300} for v in values]
        for name, values in rates.items()
    }
    peers: dict = {
        name: {"versions": {"torch": "2.13.0"}, **summary(taken), "rounds": taken}
        for name, taken in rounds.items()
    }
    peers[OURS] |= {"weighted_f1": 0.65, "macro_f1": 0.58}

    def model(name):
        return {
            "peers": peers,
            "failed": {"infinity-emb server": "does not load: no such thing"},
            "goals": [
                goal.to_dict() for goal in model_goals(name, rounds, [EARLIER, "torch fp32"])
            ],
            "macs_per_text": [3e8, 3e8],
            "rates": {"macs_per_second": {k: [4e11, 5e11] for k in ("int8", "bf16", "f32")}},
            "utilisation": {OURS: {"median": 0.4, "min": 0.39, "max": 0.41}},
        }

    return {
        "models": {SMALL: model(SMALL), LARGE: model(LARGE)},
        "texts_per_round": {SMALL: 1024, LARGE: 128},
        "singles_per_round": {SMALL: 200, LARGE: 24},
        "start_goals": [],
        "split": "test_goemotions",
        "split_texts": 5427,
        "machine": {"cpu": "C", "cores": 2, "flags": ["avx2"]},
        "noise": {"sentence": "Quiet."},
    }


def scaling_answer():
    rates = {
        "1 core": [100.0, 101.0],
        "2 cores, threads": [170.0, 172.0],
        "2 cores, streams": [190.0, 188.0],
        "2 processes": [195.0, 196.0],
    }
    places = {"1 core": (1, "threads"), "2 cores, threads": (2, "threads")}
    places |= {"2 cores, streams": (2, "streams"), "2 processes": (2, "processes")}
    shown = [(name, "cores", *places[name], rates[name]) for name in rates]
    for plot in ("batch", "token budget", "length"):
        shown += [(f"{plot} {x}", plot, x, "a line", [x + 1.0]) for x in (1, 4)]
    return {
        "model": "m",
        "machine": {"cpu": "C", "cores": 2},
        "versions": {"openvino": "1"},
        "noise": {"sentence": "Quiet."},
        "points": [
            {"name": n, "plot": p, "x": x, "line": line, "rounds": v, "texts_per_second": spread(v)}
            for n, p, x, line, v in shown
        ],
        "sizing": conclude(rates, 0.04, 2),
    }


def test_the_page_and_its_plots_are_rendered_from_the_committed_figures():
    text, plots = render_page(README.read_text(encoding="utf-8"))
    assert text == README.read_text(encoding="utf-8")
    for name, plot in plots.items():
        assert (PLOTS / name).read_text(encoding="utf-8") == plot


def test_figures_give_tables_goals_and_plots_that_are_well_formed(tmp_path):
    for name, answer in (("peers", peers_answer()), ("scaling", scaling_answer())):
        (tmp_path / f"{name}.json").write_text(json.dumps(answer), encoding="utf-8")
    text, plots = render_page(MARKS, tmp_path)
    assert render_page(text, tmp_path)[0] == text
    assert f"| **{OURS}** | 1,250 (1,200 to 1,300)" in text
    assert "does not load: no such thing" in text
    assert "| 64 |" in text
    whole = "The whole of it would be 1,500 texts/s, 15.0 (13.3 to 16.7) times the earlier"
    assert text.count(whole) == 2
    for name in plots:
        assert f"](plots/{name})" in text
    for plot in plots.values():
        assert ET.fromstring(plot).tag.endswith("svg")


def goal_lines(text, name):
    return [line for line in text.splitlines() if f"{LARGE}: {name}" in line]


@pytest.mark.parametrize(("rate", "word"), [(1200, "reached"), (600, "**not reached**")])
def test_goals_are_told_by_the_figures(rate, word):
    answer = peers_answer()
    model = answer["models"][LARGE]
    rounds = {name: row["rounds"] for name, row in model["peers"].items()}
    mine = [{**r, "texts_per_second": rate} for r in rounds[OURS]]
    goals = model_goals(LARGE, rounds | {OURS: mine}, ["torch fp32"])
    answer["models"] = {LARGE: {**model, "goals": [goal.to_dict() for goal in goals]}}
    (line,) = goal_lines(render_peers(answer, None, None), "throughput over the earlier projects'")
    assert line.endswith(f"| {word} |")


def test_the_limit_alone_is_what_the_goals_against_it_are_taken_from():
    answer = peers_answer()
    assert "The limit, alone" not in render_peers(answer, None, None)
    model = answer["models"][LARGE]
    alone = {name: model["peers"][name] for name in (OURS, LIMIT)}
    faster = [{**r, "texts_per_second": 5000} for r in alone[LIMIT]["rounds"]]
    alone[LIMIT] = {**alone[LIMIT], "rounds": faster}
    goals = model_goals(LARGE, {name: row["rounds"] for name, row in alone.items()}, [])
    told = {"peers": alone, "goals": [goal.to_dict() for goal in goals]}
    limit = {"models": {LARGE: {**model, **told}}}
    text = render_peers(answer, limit, None)
    assert "The limit, alone" in text
    (line,) = goal_lines(text, "throughput over the bare IR's")
    assert line.endswith("× | **not reached** |")
    lines = "\n".join(headlines(answer, limit))
    assert "0.25 × (0.24 to 0.26) those of the bare IR" in lines
    assert lines.count("bare IR") == 2


def test_headlines_name_the_best_peer_and_the_spread():
    lines = list(headlines(peers_answer(), None))
    assert len(lines) == 2
    assert "12.50 × (12.00 to 13.00) the texts/s of the earlier projects' path" in lines[0]
    assert "best peer, torch fp32" in lines[0]
