from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ov_emotions.data.near_duplicates import NearDuplicateIndex, find_near_duplicates


def _grams(text: str) -> set[str]:
    squeezed = text.replace(" ", "")
    return {squeezed[i : i + 4] for i in range(max(1, len(squeezed) - 3))}


def _brute_force(candidates, references, threshold):
    found = []
    for candidate in candidates:
        match = None
        for i, reference in enumerate(references):
            a, b = _grams(candidate), _grams(reference)
            if len(a & b) >= threshold * len(a | b):
                match = i
                break
        found.append(match)
    return found


# Few words, so that texts are often alike.
texts = st.lists(
    st.sampled_from(("мама", "мыла", "раму", "рама", "маму", "да", "д")), max_size=6
).map(" ".join)


@given(
    st.lists(texts, max_size=8),
    st.lists(texts, max_size=8),
    st.sampled_from((0.3, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1.0)),
)
@example(["мама мыла раму"], ["мама мыла рамы", "мама мыла раму"], 0.8)
@settings(max_examples=400, deadline=None)
def test_the_search_agrees_with_comparing_every_pair(candidates, references, threshold):
    assert find_near_duplicates(candidates, references, threshold) == _brute_force(
        candidates, references, threshold
    )


def test_a_text_that_differs_in_a_letter_is_found():
    reference = "я никогда не думал что это может случиться со мной сегодня утром"
    assert find_near_duplicates([reference.replace("утром", "утра")], ["нет", reference]) == [1]


def test_spaces_do_not_hide_an_equal_text():
    assert find_near_duplicates(["по тому что"], ["потому что"], 1.0) == [0]


def test_a_text_about_something_else_is_not_found():
    assert find_near_duplicates(["сегодня идёт дождь"], ["вчера светило солнце"]) == [None]


@pytest.mark.parametrize(("candidates", "expected"), [([], []), (["а"], [None])])
def test_nothing_is_found_among_nothing(candidates, expected):
    assert find_near_duplicates(candidates, []) == expected


def test_an_index_finds_the_same_as_one_search_and_passes_over_what_it_is_told() -> None:
    references = ["мама мыла раму весь день", "папа читал газету", "мама мыла раму весь вечер"]
    index = NearDuplicateIndex(references, 0.5)
    candidates = ["мама мыла раму весь день и", "дядя пел песню"]
    assert index.find(candidates) == find_near_duplicates(candidates, references, 0.5) == [0, None]
    assert index.find(candidates, passed_over=[0, 0]) == [2, None]
