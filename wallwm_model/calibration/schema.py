"""The calibration file's JSON Schema, and its violations as one sentence."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from wallwm_model.errors import ConfigError

SCHEMA = Path(__file__).with_name("schema.json")


def check_schema(body: Any, where: str) -> None:
    """Refuse what the schema does not allow; `where` names the file in messages.

    Raises:
        ConfigError: names camera and field, what is expected and what was found.
    """
    errors = list(_validator().iter_errors(body))
    if errors:
        # What lies highest in the file says most: a missing field before a wrong number.
        raise ConfigError(f"{where}: {_sentence(min(errors, key=lambda e: len(e.absolute_path)), body)}")


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def _expected() -> dict[str, str]:
    """Field -> what its value must be; fields of all mappings have different names."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    parts = [schema, *schema["$defs"].values()]
    return {key: entry["description"] for part in parts for key, entry in part.get("properties", {}).items()}


def _sentence(error: Any, body: Any) -> str:
    path = list(error.absolute_path)
    if error.validator in ("required", "additionalProperties") and "properties" in error.schema:
        return f"{_place(path) or 'the file'} must have {_keys(error)}"
    found, expected = error.instance, "a mapping of fields"
    if not (len(path) == 2 and path[0] == "cameras"):
        while path and path[-1] not in _expected():  # a number in a list: speak of the list
            path.pop()
            found = _at(body, path)
        expected = _expected()[path[-1]] if path else "a mapping with robot and cameras"
    return f"{_place(path) or 'the file'} must be {expected}; found {_short(found)}"


def _at(body: Any, path: list[Any]) -> Any:
    for key in path:
        body = body[key]
    return body


def _keys(error: Any) -> str:
    fields, required = error.schema["properties"], error.schema["required"]
    faults = [f"missing {key}" for key in required if key not in error.instance]
    faults += [f"unknown {key}" for key in error.instance if key not in fields]
    optional = [key for key in fields if key not in required]
    also = f" and may have {', '.join(optional)}" if optional else ""
    return f"{', '.join(required)}{also}; found {', '.join(faults)}"


def _place(path: list[Any]) -> str:
    """`cameras.head_cam.K` reads as `camera head_cam: K`."""
    if len(path) >= 2 and path[0] == "cameras":
        rest = ".".join(str(key) for key in path[2:])
        return f"camera {path[1]}: {rest}" if rest else f"camera {path[1]}"
    return ".".join(str(key) for key in path)


def _short(value: Any, limit: int = 160) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
