from __future__ import annotations

import pytest

from ov_emotions.errors import QuantizationError
from ov_emotions.quantization.recipe import (
    DEFAULT_RECIPE,
    AccuracyControl,
    AlphaSearch,
    Compression,
    load_recipe,
    recipe_names,
)


def _load(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path))


HEAD = 'description = "x"\nweights = "int8"\n'


def test_every_recipe_that_comes_with_the_library_loads_and_says_what_it_does():
    recipes = {name: load_recipe(name) for name in recipe_names()}
    assert {recipe.weights for recipe in recipes.values()} == {"fp32", "fp16", "int8", "int4"}
    assert all(len(recipe.description) > 60 for recipe in recipes.values())
    assert all(recipe.name == name for name, recipe in recipes.items())
    assert DEFAULT_RECIPE in recipes
    assert {r.ptq.preset for r in recipes.values() if r.ptq} == {"mixed", "performance"}
    assert {r.ptq.embeddings for r in recipes.values() if r.ptq} == {True, False}
    controls = [r.accuracy_control for r in recipes.values() if r.accuracy_control]
    assert [control.max_drop for control in controls] == [0.003, 0.003]
    assert {control.restore for control in controls} == {"activations", "all"}
    assert sum(r.search is not None for r in recipes.values()) == 1
    assert {r.compression.mode for r in recipes.values() if r.compression} == {
        "int8_asym",
        "int4_sym",
    }


def test_a_file_of_ones_own_is_a_recipe_named_after_it(tmp_path):
    recipe = _load(tmp_path, HEAD + "[ptq]\nsubset_size = 12\nsmooth_quant_alpha = 1\n")
    assert recipe.name == "mine"
    assert recipe.ptq.subset_size == 12
    assert recipe.ptq.smooth_quant_alpha == 1.0
    assert "compression" not in recipe.to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "[ptq]\nsubsetsize = 3\n", "unknown key 'ptq.subsetsize'; did you mean 'subset_si"),
        (HEAD + "[pruning]\nrate = 1\n", "unknown key 'pruning'; it may have name, description"),
        (HEAD + 'ptq = "yes"\n', "ptq: expected object"),
        (HEAD + "[ptq]\nsubset_size = 3.5\n", "ptq.subset_size: expected int, got float"),
        (HEAD + "[ptq]\nsubset_size = true\n", "subset_size: expected int, got bool"),
        (HEAD + "[ptq]\nembeddings = 1\n", "embeddings: expected bool, got int"),
        (
            HEAD + '[ptq]\npreset = "fast"\n',
            "'fast'; it must be one of mixed, perf",
        ),
        (HEAD + "[ptq]\n[search]\nalphas = 0.5\n", "search.alphas: expected array, got float"),
        (HEAD + "[ptq]\n[search]\nalphas = [0.5, 2]\n", "alphas must be in"),
        (HEAD + "[ptq]\n[search]\nalphas = []\n", "alphas and rows must not be empty"),
        (HEAD + "[ptq]\n[accuracy_control]\nmax_drop = 2\n", "max_drop must lie in"),
        (HEAD + "[ptq]\n[search]\n[accuracy_control]\n", "cannot be combined"),
        (HEAD + '[ptq]\n[accuracy_control]\nrestore = "all"\n', "needs smooth_quant_alpha = -1"),
        (
            HEAD + '[ptq]\n[accuracy_control]\nrestore = "some"\n',
            "'some'; it must be one of act",
        ),
        (
            HEAD + '[compression]\nmode = "int2"\n',
            "'int2'; it must be one of int8_sym",
        ),
        (
            HEAD + '[compression]\nmode = "int4_sym"\n',
            "weights says int8, but the tables make int4",
        ),
        (HEAD + "[compression]\nratio = 0.5\n", "ratio and group_size are for the int4 modes"),
        (HEAD + "[accuracy_control]\n[compression]\n", "accuracy_control needs the table ptq"),
        (HEAD, "int8 needs one of the tables ptq and compression"),
        (HEAD + "[ptq]\n[compression]\n", "int8 needs one of the tables ptq and compression"),
        ('description = "x"\nweights = "fp16"\n[ptq]\n', "fp16 takes no table ptq"),
        ('description = "x"\nweights = "int3"\n', "it must be one of fp32, fp16, int8, int4"),
        ('weights = "fp32"\n', "missing required field description"),
        ('name = "other"\n' + HEAD, "name is not written inside"),
        ("weights = \n", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_file(tmp_path, text, message):
    with pytest.raises(QuantizationError) as raised:
        _load(tmp_path, text)
    assert message in str(raised.value)
    assert "mine.toml" in str(raised.value)


@pytest.mark.parametrize("source", ["int9", "../recipes/fp32", "", "missing.toml"])
def test_a_recipe_that_is_not_there_is_refused(source):
    with pytest.raises(QuantizationError, match=r"there is no recipe|cannot be read"):
        load_recipe(source)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AccuracyControl(ranking_subset_size=0),
        lambda: AccuracyControl(max_drop=float("nan")),
        lambda: AlphaSearch(rows=0),
        lambda: Compression("int4_sym", ratio=1.5),
        lambda: Compression("int4_sym", group_size=0),
    ],
)
def test_values_out_of_range_are_refused(make):
    with pytest.raises(QuantizationError):
        make()
