from __future__ import annotations

import csv
import io
import json

import pytest
from dialogue_examples import MADE_UP_CALL, THRESHOLD, WordClassifier, dialogue

from ov_emotions.dialogues import (
    Dialogue,
    DialogueSettings,
    analyse,
    parse_transcript,
    to_csv,
    to_json,
)
from ov_emotions.dialogues.clients import find_roles, named_role
from ov_emotions.errors import InputError

CLASSIFIER = WordClassifier()


def call(**settings):
    reading = parse_transcript(MADE_UP_CALL, "call")
    return analyse(reading.dialogues, CLASSIFIER, DialogueSettings(**settings))


def speaker(analysis, name="Клиент", number=0):
    (found,) = [s for s in analysis.dialogues[number].speakers if s.name == name]
    return found


def test_every_text_is_classified_once_and_all_in_one_call():
    classifier = WordClassifier()
    told = []
    dialogues = [
        dialogue("А: да", "Б: я злюсь на вас", name="1"),
        dialogue("А: да", "Б: да", name="2"),
    ]
    analyse(dialogues, classifier, progress=lambda done, total: told.append((done, total)))
    assert classifier.calls == [2]
    assert told == [(2, 2)]


def test_the_call_gets_worse_and_is_told_where():
    client = speaker(call())
    (point,) = client.turning_points
    assert (point.position, point.worse, point.label) == (8, True, "anger")
    assert point.before < 0.2 < 0.9 < point.after
    assert client.negative.value == pytest.approx(4 / 8)
    level = client.negativity.level
    assert level[-1] > 0.8 > 0.4 > level[0]
    assert (client.negativity.low <= level).all()
    assert (level <= client.negativity.high).all()
    assert speaker(call(), "Оператор").turning_points == ()


def test_short_utterances_weigh_less_and_unreadable_ones_nothing():
    analysis = analyse(
        [dialogue("А: да", "А: я злюсь на вас", "А: …", "А: злюсь очень")], CLASSIFIER
    )
    assert [u.weight for u in analysis.dialogues[0].utterances] == pytest.approx(
        [1 / 3, 1, 0, 2 / 3]
    )
    share = speaker(analysis, "А").negative
    assert (share.value, share.count) == (pytest.approx((1 + 2 / 3) / 2), 3)


def test_negative_labels_are_the_known_ones_or_the_caller_s():
    assert call().negative_labels == ("anger", "disgust", "fear", "sadness")
    analysis = call(negative=("sadness",))
    assert speaker(analysis).negative.value == 0
    assert analysis.dialogues[0].utterances[-1].negativity == pytest.approx(0.5 * 0.05 / THRESHOLD)
    with pytest.raises(InputError, match="'rage' is given as negative, but the model has anger"):
        call(negative=("rage",))


# Hand-over


def test_a_strong_label_twice_in_a_row_hands_over():
    handover = call().dialogues[0].handover
    assert (handover.rule, handover.positions, handover.position) == ("label", (8, 9), 9)
    assert min(handover.values) >= 0.65


def test_a_level_that_stays_high_hands_over():
    analysis = call(handover_strength=1.1)
    handover = analysis.dialogues[0].handover
    levels = dict(zip(speaker(analysis).positions, speaker(analysis).running.level, strict=True))
    assert handover.rule == "level"
    assert handover.positions == (9, 10, 12)
    assert [levels[p] for p in handover.positions] == pytest.approx(handover.values)
    assert min(handover.values) >= 0.5 > levels[8]


def test_rules_can_be_adjusted_and_switched_off():
    assert call(handover_repeats=5).dialogues[0].handover.rule == "level"
    assert call(handover_repeats=3, handover_level=0.95).dialogues[0].handover.position == 10
    assert call(handover_strength=1.1, handover_level=1.1).dialogues[0].handover is None
    assert call(handover_label="sadness", handover_level=1.1).dialogues[0].handover is None


def test_a_short_word_between_does_not_break_the_row():
    said = ["Клиент: я злюсь на вас", "Клиент: да", "Клиент: опять я злюсь"]
    handover = analyse([dialogue(*said)], CLASSIFIER).dialogues[0].handover
    assert handover.positions == (0, 2)
    settings = DialogueSettings(handover_words=1, handover_level=1.1)
    assert analyse([dialogue(*said)], CLASSIFIER, settings).dialogues[0].handover is None


def test_an_angry_operator_is_not_handed_over():
    said = [f"Оператор: {i} я злюсь на вас" for i in range(5)] + ["Клиент: мне всё равно ладно"]
    assert analyse([dialogue(*said)], CLASSIFIER).dialogues[0].handover is None


def test_what_is_said_after_the_moment_does_not_move_it():
    whole = parse_transcript(MADE_UP_CALL, "call").dialogues[0]
    moment = call().dialogues[0].handover.position
    cut = Dialogue("cut", whole.utterances[: moment + 1])
    assert analyse([cut], CLASSIFIER).dialogues[0].handover.position == moment


def test_a_label_for_the_rule_that_the_model_lacks_is_refused():
    with pytest.raises(InputError, match="handover_label 'rage' is no label of the model"):
        call(handover_label="rage")


# Roles


@pytest.mark.parametrize(
    ("names", "role"),
    [
        ("Клиент|клиентка|КЛИЕНТ 2|Customer:7|user_1", "client"),
        ("оператор Анна|Агент|agent-3|Руководитель смены|Поддержка|Бот", "operator"),
        ("Анна|Боткин|SPEAKER_00|клиент-менеджер|", None),
    ],
)
def test_names_tell_roles(names, role):
    assert {name: named_role(name) for name in names.split("|")} == dict.fromkeys(
        names.split("|"), role
    )


@pytest.mark.parametrize(
    ("speakers", "settings", "roles"),
    [
        (("Анна", "Клиент"), {}, ("operator", "client")),
        (("Оператор", "Иван"), {}, ("operator", "client")),
        (("Анна", "Иван"), {}, (None, None)),
        (("Анна", "Иван"), {"client": ("иван ",)}, ("operator", "client")),
        (("Анна", "Иван"), {"operator": ("АННА",)}, ("operator", "client")),
        (("Клиент", "Иван"), {"operator": ("Клиент",)}, ("operator", "client")),
        (("Иван",), {}, ("client",)),
        (("Оператор",), {}, ("operator",)),
        (("Клиент", "Анна", "Пётр"), {}, ("client", None, None)),
    ],
)
def test_roles_come_from_settings_names_and_the_other_speaker(speakers, settings, roles):
    assert tuple(find_roles(speakers, DialogueSettings(**settings)).values()) == roles


def test_names_that_nobody_has_are_refused():
    with pytest.raises(InputError, match="no speaker is called 'Иван'; there are Оператор, Клиент"):
        call(client=("Иван",))
    with pytest.raises(InputError, match="as client and as operator"):
        call(client=("Клиент",), operator=("клиент",))


def test_where_roles_cannot_be_told_curves_are_there_and_the_dialogue_is_named():
    analysis = analyse([dialogue("А: я злюсь на вас", "Б: и я злюсь тоже")], CLASSIFIER)
    assert analysis.undecided == ("d",)
    assert (analysis.clients, analysis.dialogues[0].handover) == ((), None)
    assert speaker(analysis, "А").negativity.level == pytest.approx(
        [speaker(analysis, "Б").negativity.level[0]]
    )


# Segments


def test_clients_are_grouped_by_their_share_of_negative_utterances():
    dialogues = [
        dialogue(
            *(f"Клиент: {i} {'злюсь' if i < n else 'вижу'} всё" for i in range(10)), name=str(n)
        )
        for n in (0, 3, 8)
    ]
    clients = analyse(dialogues, CLASSIFIER).clients
    assert [(c.name, c.segment) for c in clients] == [
        ("Клиент, 8", "upset"),
        ("Клиент, 3", "wavering"),
        ("Клиент, 0", "calm"),
    ]
    assert [c.sure for c in clients] == [True, False, False]
    assert [c.handovers for c in clients] == [1, 1, 0]
    moved = analyse(dialogues, CLASSIFIER, DialogueSettings(calm=0.3, upset=0.9)).clients
    assert [c.segment for c in moved] == ["wavering", "calm", "calm"]
    by_rank = analyse(
        dialogues, CLASSIFIER, DialogueSettings(segment_by="quantile", calm=0.4, upset=0.9)
    )
    assert by_rank.cuts == pytest.approx((0.24, 0.7))
    assert [c.segment for c in by_rank.clients] == ["upset", "wavering", "calm"]


def test_a_client_known_by_name_is_one_client_over_dialogues():
    dialogues = [
        dialogue("Оператор: слушаю вас", "Иван: злюсь на вас", name="1"),
        dialogue("Оператор: слушаю вас", "иван: всё хорошо стало", name="2"),
    ]
    (client,) = analyse(dialogues, CLASSIFIER).clients
    assert (client.name, client.dialogues, client.negative.count) == ("Иван", ("1", "2"), 2)
    assert client.negative.value == pytest.approx(0.5)


def test_a_client_who_says_nothing_readable_is_in_no_segment():
    (client,) = analyse([dialogue("Клиент: …", "Оператор: алло")], CLASSIFIER).clients
    assert (client.segment, client.sure) == ("unknown", False)


# Unusual dialogues


def test_no_dialogues_and_equal_names_are_refused():
    with pytest.raises(InputError, match="no dialogue"):
        analyse([], CLASSIFIER)
    with pytest.raises(InputError, match="two dialogues are called 'd'"):
        analyse([dialogue("А: раз"), dialogue("А: два")], CLASSIFIER)


@pytest.mark.parametrize(
    "values",
    [
        *({name: 0} for name in ("full_words", "bandwidth", "half_life", "handover_level")),
        *({name: 1.5} for name in ("confidence", "permutations", "upset")),
        *({name: -1} for name in ("min_shift", "seed", "handover_words")),
        {"alpha": float("nan")},
        {"min_segment": True},
        {"segment_by": "rank"},
        {"calm": 0.5, "upset": 0.4},
        {"client": "Иван"},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(values):
    with pytest.raises(InputError, match=next(iter(values))):
        DialogueSettings(**values)


# Output


def test_json_holds_everything_counts_from_one_and_repeats_exactly():
    first, again = (json.dumps(to_json(call()), allow_nan=False) for _ in range(2))
    assert first == again
    found = json.loads(first)
    (dialogue_,) = found["dialogues"]
    client = dialogue_["speakers"][1]
    assert dialogue_["handover"]["position"] == 10
    assert client["turning_points"][0]["position"] == 9
    assert client["positions"] == [2, 4, 5, 7, 9, 10, 11, 13]
    assert dialogue_["utterances"][8]["labels"] == ["anger"]
    assert dialogue_["utterances"][8]["time"] == 89.0
    for curve in (client["negativity"], *client["emotions"].values()):
        assert {len(values) for values in curve.values()} == {8}
    assert found["clients"][0]["segment"] == "upset"
    assert found["settings"]["handover_run"] == 3


def test_json_has_null_where_nothing_can_be_read():
    found = to_json(analyse([dialogue("Клиент: …", "Клиент: \ud800")], CLASSIFIER))
    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    assert (
        json.loads(text.encode())["dialogues"][0]["speakers"][0]["negativity"]["level"]
        == [None] * 2
    )


def test_csv_has_a_row_an_utterance_in_the_order_of_the_dialogue():
    rows = list(csv.DictReader(io.StringIO(to_csv(call()))))
    assert [row["position"] for row in rows] == [str(i) for i in range(1, 14)]
    assert [row["position"] for row in rows if row["turning_point"] == "worse"] == ["9"]
    assert [row["position"] for row in rows if row["handover"] == "1"] == ["10"]
    assert (rows[8]["speaker"], rows[8]["role"], rows[8]["labels"]) == ("Клиент", "client", "anger")
    assert float(rows[8]["anger"]) == pytest.approx(0.9)
    assert float(rows[8]["low"]) <= float(rows[8]["smoothed"]) <= float(rows[8]["high"])
