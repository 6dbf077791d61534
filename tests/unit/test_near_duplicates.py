from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ov_emotions.data import near_duplicates
from ov_emotions.data.near_duplicates import NearDuplicateIndex, near_duplicate_pairs


def _alike(one, other, threshold):
    squeezed = one.replace(" ", ""), other.replace(" ", "")
    a, b = ({text[i : i + 4] for i in range(max(1, len(text) - 3))} for text in squeezed)
    return len(a & b) >= threshold * len(a | b)


# Few words, so that texts are often alike.
texts = st.lists(
    st.sampled_from(("мама", "мыла", "раму", "рама", "маму", "да", "д", "😀")), max_size=6
).map(" ".join)
thresholds = st.sampled_from((0.3, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0))


@given(st.lists(texts, max_size=8), st.lists(texts, max_size=8), thresholds, st.data())
@settings(max_examples=200, deadline=None)
def test_the_search_agrees_with_comparing_every_pair(candidates, references, threshold, data):
    passed_over = [data.draw(st.integers(-1, len(references))) for _ in candidates]

    def first(text, not_this):
        found = (i for i, r in enumerate(references) if i != not_this)
        return next((i for i in found if _alike(text, references[i], threshold)), None)

    expected = list(map(first, candidates, passed_over))
    assert NearDuplicateIndex(references, threshold).find(candidates, passed_over) == expected


@given(st.lists(texts, max_size=10), thresholds)
@example(["мама мыла раму", "да", "мама мыла рамы", "да"], 0.7)
@settings(max_examples=200, deadline=None)
def test_all_pairs_are_found_once_and_in_order(some, threshold):
    pairs = [(i, j) for i in range(len(some)) for j in range(i + 1, len(some))]
    expected = [(i, j) for i, j in pairs if _alike(some[i], some[j], threshold)]
    assert near_duplicate_pairs(some, threshold) == expected


@pytest.mark.parametrize(
    ("candidate", "reference", "threshold", "found"),
    [
        ("я никогда не думал что это случится утра", "я никогда не думал что это случится утром",
         0.8, True),
        ("по тому что", "потому что", 1.0, True),
        ("сегодня идёт дождь", "вчера светило солнце", 0.8, False),
        ("", "а", 0.8, False),
    ],
)  # fmt: skip
def test_spaces_do_not_count_and_a_letter_hardly_does(candidate, reference, threshold, found):
    index = NearDuplicateIndex(["нет", reference], threshold)
    assert index.find([candidate]) == [1 if found else None]


def test_parts_of_a_long_list_are_found_as_the_whole(monkeypatch):
    some = [f"мама мыла {word} весь день" for word in ("раму", "рамы", "пол", "рам", "руки", "ум")]
    index, seen = NearDuplicateIndex(some, 0.5), []
    whole = index.find(some[::-1], range(6)), near_duplicate_pairs(some, 0.5)
    for name, size in (("_AT_ONCE", 4), ("_CHUNK", 2), ("_MOST_PAIRS", 3)):
        monkeypatch.setattr(near_duplicates, name, size)
    found = index.find(some[::-1], range(6), lambda *at: seen.append(at))
    assert (found, near_duplicate_pairs(some, 0.5)) == whole
    assert seen == [(2, 6), (4, 6), (6, 6)]
