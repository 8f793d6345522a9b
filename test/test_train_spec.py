"""What a bundle says it has learnt is what its recipe trains. No torch."""

from __future__ import annotations

import pytest

from wallwm_model.errors import SpecError
from wallwm_model.train.cli import abilities
from wallwm_model.train.recipes import NANO, RECIPES, STAGES, LossConfig, TrainConfig

ALL = {
    "modes": ("event", "unified"),
    "sources": ("instruction", "atomic"),
    "takes_mask": True,
    "takes_prefix": True,
    "time_map": "keyframe",
}


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (RECIPES["nano"], {}),
        (RECIPES["nano-no-views"], {}),
        (RECIPES["nano-fixed"], {"modes": ("unified",)}),
        (RECIPES["nano-no-masks"], {"takes_mask": False}),
        (NANO.but(unified=0.0), {"modes": ("event",), "sources": (), "takes_prefix": False}),
        (NANO.but(loss=LossConfig(prefix=0.0)), {"takes_prefix": False}),
        (NANO.but(loss=LossConfig(time_map="anchored")), {"time_map": "anchored"}),
    ],
)
def test_a_bundle_has_what_its_recipe_trains(recipe, changes):
    assert abilities(recipe.stages.values()) == ALL | changes


def test_what_one_stage_alone_trains_does_not_count():
    masked, bare = (TrainConfig(1, 1, loss=LossConfig(sight=share)) for share in (0.5, 0.0))
    assert not abilities([bare, masked])["takes_mask"]
    with pytest.raises(SpecError, match="must have a mode in common"):
        abilities([TrainConfig(1, 1, unified=0.0), TrainConfig(1, 1, unified=1.0)])
    with pytest.raises(SpecError, match="must have one time_map; found anchored, keyframe"):
        abilities([TrainConfig(1, 1), TrainConfig(1, 1, loss=LossConfig(time_map="anchored"))])


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_every_stage(name):
    assert set(RECIPES[name].stages) == set(STAGES)
