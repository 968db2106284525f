"""Dataclasses from a YAML file. Errors name the file, the line and the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import yaml

from ...errors import NadamRefError

#: Metadata of a dataclass's field that is no key of the file.
DERIVED = {"derived": True}

WORDS = {int: "a whole number", float: "a positive number", str: "text", bool: "true or false"}


class ProtocolError(NadamRefError):
    """The protocol lacks what is asked for, and the message lists what it has; or its file is wrong at a line."""


class _Mapping(dict[str, Any]):
    """A mapping of the file that knows the lines of its keys."""

    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    """YAML with `_Mapping`s."""

    def mapping(self, node: yaml.MappingNode) -> _Mapping:
        self.flatten_mapping(node)
        mapping = _Mapping({str(key): value for key, value in self.construct_mapping(node, deep=True).items()})
        mapping.lines = {str(self.construct_object(key)): key.start_mark.line + 1 for key, _ in node.value}
        return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _Loader.mapping)


class Place:
    """A value in the file, with the keys that lead to it and the line of the last of them."""

    def __init__(self, value: Any, file: str, path: str = "", line: int = 1) -> None:
        self.value, self.file, self.path, self.line = value, file, path, line

    @classmethod
    def parse(cls, text: str, file: str) -> Place:
        """The whole of a file. Raises `ProtocolError` where it is not a mapping in YAML."""
        try:
            place = cls(yaml.load(text, _Loader), file)
        except yaml.YAMLError as error:
            raise ProtocolError(f"{file} is not YAML: {error}") from error
        if not isinstance(place.value, _Mapping):
            place.fail(f"must be a mapping, not {place.value!r}")
        return place

    def __truediv__(self, key: str) -> Place:
        """The value of a key; this place itself where the key is not there."""
        if key not in self.value:
            return self
        return Place(self.value[key], self.file, f"{self.path}.{key}".lstrip("."), self.value.lines[key])

    def fail(self, problem: str) -> NoReturn:
        """Raise the error about this place."""
        raise ProtocolError(f"{self.file}, line {self.line}: {self.path or 'the file'} {problem}")


def build(kind: Any, place: Place) -> Any:
    """The value at a place as a type: a dataclass by its fields, mappings, tuples, numbers, text or a union of these.

    Whole numbers are at least 0, others above 0. Raises `ProtocolError` for other values, and for keys of a dataclass
    that are missing or unknown.
    """
    if isinstance(kind, UnionType):
        kinds = [one for one in get_args(kind) if one is not NoneType]
        kind = next((one for one in kinds if _fits(one, place.value)), kinds[0])
    if not _fits(kind, place.value):
        place.fail(f"must be {_words(kind)}, not {place.value!r}")
    if is_dataclass(kind):
        return _object(kind, place)
    if get_origin(kind) is Mapping:
        return {key: build(get_args(kind)[1], place / key) for key in place.value}
    return tuple(place.value) if get_origin(kind) is tuple else place.value


def _object(kind: Any, place: Place) -> Any:
    hints, known = get_type_hints(kind), [x for x in fields(kind) if not x.metadata]
    for key in place.value:
        if key not in {x.name for x in known}:
            (place / key).fail(f"is not a key here; there are: {', '.join(x.name for x in known)}")
    for x in known:
        if x.name not in place.value and x.default is MISSING and x.default_factory is MISSING:
            place.fail(f"has no {x.name!r}")
    return kind(**{key: build(hints[key], place / key) for key in place.value})


def _fits(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    if is_dataclass(kind) or get_origin(kind) is Mapping:
        return isinstance(value, _Mapping)
    if get_origin(kind) is tuple:
        one, *rest = get_args(kind)
        kinds = [one] * len(value) if rest == [...] and isinstance(value, list) else [one, *rest]
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_fits, kinds, value))
    if kind is float:
        return type(value) in (int, float) and 0 < value < math.inf
    return type(value) is kind and (kind is not int or value >= 0)


def _words(kind: Any) -> str:
    if kind in WORDS:
        return WORDS[kind]
    kinds = [one for one in get_args(kind) if one is not ...]
    return f"a list of: {', '.join(map(_words, kinds))}" if get_origin(kind) is tuple else "a mapping"
