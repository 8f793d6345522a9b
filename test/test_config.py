"""Parameters: one place of defaults, strict files, errors that name what is valid."""

import dataclasses

import pytest

from wallwm_model.errors import ConfigError
from wallwm_ros.core.config import ControlConfig, PolicyConfig, SimConfig
from wallwm_ros.core.options import build, option, options
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.runtime_config import RuntimeConfig

CLASSES = (PolicyConfig, ControlConfig, SimConfig)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_parameter_says_what_it_is(kind):
    for item in options(kind):
        assert item.description and item.check(item.default) == item.default
        assert item.type in (bool, int, float, str)
        if item.type in (int, float):
            assert item.low is not None, item.name


@pytest.mark.parametrize("kind", CLASSES)
def test_a_whole_number_is_a_valid_float(kind):
    for item in options(kind):
        if item.type is float and item.high >= 1:
            assert isinstance(item.check(int(item.high)), float)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "fast"}, ["mode", "fast", "event, unified"]),
        ({"engine_threads": 0}, ["engine_threads", "0", "1 to 64"]),
        ({"engine_threads": 2.5}, ["engine_threads", "whole number"]),
        ({"engine_threads": True}, ["engine_threads", "whole number"]),
        ({"event_timeout_s": float("nan")}, ["event_timeout_s", "finite"]),
        ({"euler_step": 5}, ["euler_step", "did you mean euler_steps", "valid: robot"]),
    ],
)
def test_a_wrong_value_is_refused_with_the_valid_ones(values, words):
    with pytest.raises(ConfigError) as error:
        build(PolicyConfig, values, "here")
    assert all(word in str(error.value) for word in ["here", *words])


def test_values_must_go_together():
    with pytest.raises(ConfigError, match="status_rate_hz must be at most rate_hz=60"):
        ControlConfig(rate_hz=60, status_rate_hz=80)


def test_off_is_understood_however_yaml_reads_it(tmp_path):
    path = tmp_path / "p.yaml"
    for word in ("off", "'off'", "false"):
        path.write_text(f"policy_node: {{ros__parameters: {{frustum_mask: {word}}}}}")
        assert RuntimeConfig.load(path).policy_node.frustum_mask == "off"
    with pytest.raises(ConfigError, match="one of off, train_only, always; found True"):
        PolicyConfig(frustum_mask=True)
    with pytest.raises(ConfigError, match="mask_method must be text.*found False"):
        PolicyConfig(mask_method=False)


def test_one_identical_picture_is_no_frozen_camera():
    with pytest.raises(ConfigError, match="frozen_frames must be 0, or at least 2.*found 1"):
        PolicyConfig(frozen_frames=1)
    assert PolicyConfig(frozen_frames=0).frozen_frames == 0


def test_the_shipped_file_gives_the_defaults():
    assert RuntimeConfig.load(data_path("config/runtime.yaml")) == RuntimeConfig()


def test_a_file_overrides_what_it_names(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "control_node:\n  ros__parameters: {rate_hz: 200}\n/**:\n  ros__parameters: {robot: quanta_x1}\n"
    )
    config = RuntimeConfig.load(path)
    assert config.control_node == dataclasses.replace(ControlConfig(), rate_hz=200.0, robot="quanta_x1")
    assert config.policy_node.robot == "quanta_x1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("control_nod: {ros__parameters: {}}", ["control_nod", "did you mean control_node"]),
        ("control_node: {ros__parameters: {rate: 1}}", ["rate", "rate_hz"]),
        ("control_node: {ros__parameters: {rate_hz: 1}}", ["control_node", "rate_hz", "50 to 500"]),
        ("control_node: {rate_hz: 100}", ["ros__parameters"]),
        ("control_node: {ros__parameters: {rate_hz: 100, rate_hz: 60}}", ["rate_hz", "twice"]),
        ("/**: {ros__parameters: {rate_hz: 100}}", ["/**", "rate_hz"]),
        ("- 1", ["mapping", "list"]),
        ("a: [", ["must be YAML"]),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        RuntimeConfig.load(path)
    assert all(word in str(error.value) for word in [str(path), *words])
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.yaml"):
        RuntimeConfig.load(tmp_path / "none.yaml")


def test_a_missing_data_file_says_where_it_was_looked_for():
    with pytest.raises(ConfigError, match="config/nothing.*none of"):
        data_path("config/nothing")


def test_help_has_unit_and_range():
    @dataclasses.dataclass(frozen=True)
    class Example:
        rate: float = option(1.0, "how often", "Hz", low=0.5)
        most: int = option(1, "how many", high=3)

    first, second = options(Example)
    assert first.help == "how often [Hz]; at least 0.5"
    assert second.help == "how many; at most 3"
