from __future__ import annotations

import pytest

from ov_emotions.errors import QuantizationError
from ov_emotions.quantization.recipe import (
    DEFAULT_RECIPE,
    AccuracyControl,
    AlphaSearch,
    Compression,
    PtqConfig,
    load_recipe,
    recipe_names,
)

HEAD = 'description = "x"\nweights = "int8"\n'


def _load(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path))


def test_every_recipe_that_comes_with_the_library_loads_and_says_what_it_does():
    recipes = {name: load_recipe(name) for name in recipe_names()}
    assert DEFAULT_RECIPE in recipes
    assert all(recipe.name == name for name, recipe in recipes.items())
    assert all(len(recipe.description) > 60 for recipe in recipes.values())
    assert {recipe.weights for recipe in recipes.values()} == {"fp32", "fp16", "int8", "int4"}
    ptq = [r.ptq for r in recipes.values() if r.ptq]
    assert {config.preset for config in ptq} == {"mixed", "performance"}
    assert {config.embeddings for config in ptq} == {True, False}
    controls = [r.accuracy_control for r in recipes.values() if r.accuracy_control]
    assert [control.max_drop for control in controls] == [0.003, 0.003]
    assert {control.restore for control in controls} == {"activations", "all"}
    assert sum(r.search is not None for r in recipes.values()) == 1
    modes = {r.compression.mode for r in recipes.values() if r.compression}
    assert modes == {"int8_asym", "int4_sym"}


def test_a_file_of_ones_own_is_a_recipe_named_after_it(tmp_path):
    recipe = _load(tmp_path, HEAD + "[ptq]\nsubset_size = 12\nsmooth_quant_alpha = 1\n")
    assert (recipe.name, recipe.ptq.subset_size, recipe.ptq.smooth_quant_alpha) == ("mine", 12, 1.0)
    assert "compression" not in recipe.to_dict()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ("[ptq]\nsubsetsize = 3", "unknown key 'ptq.subsetsize'; did you mean 'subset_si"),
        ("[pruning]\nrate = 1", "unknown key 'pruning'; it may have name, description"),
        ("[ptq]\nsubset_size = 3.5", "ptq.subset_size: expected int, got float"),
        ("[ptq]\nsubset_size = 0", "subset_size: expected int >= 1"),
        ('[ptq]\npreset = "fast"', "'fast'; it must be one of mixed, perf"),
        ("[ptq]\n[search]\nalphas = [0.5, 2]", "alphas must be in"),
        ("[ptq]\n[search]\nalphas = []", "search.alphas: expected array of length >= 1"),
        ("[ptq]\n[accuracy_control]\nmax_drop = 2", "control.max_drop: expected float < 1.0"),
        ("[ptq]\n[search]\n[accuracy_control]", "cannot be combined"),
        ('[ptq]\n[accuracy_control]\nrestore = "all"', "needs smooth_quant_alpha = -1"),
        ('[compression]\nmode = "int4_sym"', "weights says int8, but the tables make int4"),
        ("[compression]\nratio = 0.5", "ratio and group_size are for the int4 modes"),
        ("[accuracy_control]\n[compression]", "accuracy_control needs the table ptq"),
        ("", "int8 needs one of the tables ptq and compression"),
        ('name = "other"', "name is not written inside"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_file(tmp_path, tables, message):
    _check_refused(tmp_path, HEAD + tables, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('description = "x"\nweights = "fp16"\n[ptq]', "fp16 takes no table ptq"),
        ('description = "x"\nweights = "int3"', "it must be one of fp32, fp16, int8, int4"),
        ('weights = "fp32"', "missing required field description"),
        ("weights = ", "is not valid TOML"),
    ],
)
def test_so_is_what_is_wrong_at_its_head(tmp_path, text, message):
    _check_refused(tmp_path, text, message)


def _check_refused(tmp_path, text, message):
    with pytest.raises(QuantizationError) as raised:
        _load(tmp_path, text + "\n")
    assert message in str(raised.value)
    assert "mine.toml" in str(raised.value)


@pytest.mark.parametrize("source", ["int9", "../recipes/fp32", "", "missing.toml"])
def test_a_recipe_that_is_not_there_is_refused(source):
    with pytest.raises(QuantizationError, match=r"there is no recipe|cannot be read"):
        load_recipe(source)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (PtqConfig, {"subset_size": 0}),
        (PtqConfig, {"preset": "fast"}),
        (PtqConfig, {"smooth_quant_alpha": 1.1}),
        (PtqConfig, {"smooth_quant_alpha": -0.5}),
        (PtqConfig, {"smooth_quant_alpha": float("nan")}),
        (AccuracyControl, {"ranking_subset_size": 0}),
        (AccuracyControl, {"max_drop": float("nan")}),
        (AlphaSearch, {"rows": 0}),
        (Compression, {"ratio": 1.5, "mode": "int4_sym"}),
        (Compression, {"group_size": 0, "mode": "int4_sym"}),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(kind, values):
    with pytest.raises(QuantizationError, match=next(iter(values))):
        kind(**values)
