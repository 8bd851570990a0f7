"""Nested settings on top of others."""

from collections.abc import Mapping
from typing import Any


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of `above` in place of those of `below`."""
    result = dict(below)
    for key, value in above.items():
        known = result.get(key)
        result[key] = layered(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return result
