"""Strict YAML: a key given twice or a file that is no mapping is an error, with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from wallwm_model.errors import ConfigError


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe loader that refuses duplicated keys, which plain YAML would silently drop."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"keys must be text; found a list or mapping as a key in line {line}")
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise ConfigError(f"key {key.value!r} given twice, in lines {seen[key.value]} and {line}")
            seen[str(key.value)] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: no such file, not YAML, a key given twice, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be YAML in UTF-8; {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text; `where` names it in messages. Raises as `read_yaml`."""
    try:
        body = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: must be YAML; {' '.join(str(error).split())}") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (ValueError, TypeError, OverflowError) as error:  # e.g. the day 2026-13-45
        raise ConfigError(f"{where}: must hold values that exist; found one with {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: must be nested less deeply; found more than can be read") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise ConfigError(f"{where}: must hold a mapping; found {type(body).__name__}")
    return body
