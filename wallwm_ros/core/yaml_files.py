"""Strict YAML, as the model library reads it too."""

from wallwm_model.yaml_files import parse_yaml, read_yaml

__all__ = ["parse_yaml", "read_yaml"]
