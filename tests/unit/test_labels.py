from __future__ import annotations

import pytest

from ov_emotions.errors import InputError
from ov_emotions.labels import (
    CEDR,
    CEDR_TO_EKMAN,
    EKMAN,
    GOEMOTIONS,
    GOEMOTIONS_TO_EKMAN,
    IZARD_TO_EKMAN,
    LABEL_SETS,
    LabelMap,
)


@pytest.mark.parametrize("label_set", LABEL_SETS.values(), ids=LABEL_SETS.keys())
def test_every_label_has_a_russian_name(label_set):
    assert set(label_set.russian) == set(label_set.labels)
    assert all(name.strip() for name in label_set.russian.values())


def test_indices_of_goemotions_are_those_of_the_published_files():
    assert GOEMOTIONS.index("admiration") == 0
    assert GOEMOTIONS.index("remorse") == 24
    assert GOEMOTIONS.index("neutral") == 27


def test_cedr_lists_joy_first_as_its_files_do():
    assert CEDR.labels == ("joy", "sadness", "surprise", "fear", "anger")


def test_a_label_that_is_not_in_the_set_is_refused_by_name():
    with pytest.raises(InputError, match="'rage' is not in ekman-7"):
        EKMAN.index("rage")


def test_the_ekman_map_uses_every_goemotions_label_once():
    used = [label for sources in GOEMOTIONS_TO_EKMAN.parts.values() for label in sources]
    assert sorted(used) == sorted(GOEMOTIONS.labels)


@pytest.mark.parametrize(
    ("mapping", "present", "expected"),
    [
        (GOEMOTIONS_TO_EKMAN, ["gratitude", "remorse"], (0, 0, 0, 1, 1, 0, 0)),
        # What the source does not annotate is unknown, even in an empty row.
        (CEDR_TO_EKMAN, [], (0, None, 0, 0, 0, 0, None)),
        (IZARD_TO_EKMAN, ["shame", "enthusiasm"], (0, 0, 0, 1, 1, 0, 0)),
    ],
)
def test_labels_are_translated_by_their_group(mapping, present, expected):
    assert mapping.apply(present) == expected


def test_a_label_of_another_set_cannot_be_translated():
    with pytest.raises(InputError, match="'gratitude'"):
        CEDR_TO_EKMAN.apply(["gratitude"])


@pytest.mark.parametrize("parts", [{"joy": ("glee",)}, {"glee": ("joy",)}])
def test_a_map_between_labels_that_do_not_exist_is_refused(parts):
    with pytest.raises(InputError, match="'glee'"):
        LabelMap(CEDR, EKMAN, parts)
