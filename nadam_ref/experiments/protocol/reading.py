"""Reading a YAML file whose errors name the file, the line and the key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import yaml

from ...errors import NadamRefError

__all__ = ["ProtocolError", "Section"]


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


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, value))


#: What values may be, in words, and how it is checked.
KINDS: Mapping[str, Callable[[Any], bool]] = {
    "a mapping": lambda value: isinstance(value, _Mapping),
    "a whole number": _is_whole,
    "a positive number": _is_positive,
    "text": _is_text,
    "true or false": lambda value: isinstance(value, bool),
    "a list of names": _is_list(_is_text),
    "a list of positive numbers": _is_list(_is_positive),
    "a list of whole numbers": _is_list(_is_whole),
    "a whole number or a list of them": lambda value: _is_whole(value) or _is_list(_is_whole)(value),
    "a factor and a number of epochs": lambda value: (
        isinstance(value, list) and len(value) == 2 and _is_positive(value[0]) and _is_whole(value[1])
    ),
}


class Section:
    """A mapping of the file whose keys are taken one by one. Errors name the file, the line and the key."""

    def __init__(self, content: _Mapping, file: str, path: str = "", line: int = 1) -> None:
        self.content, self.file, self.path, self.line = content, file, path, line
        self.taken: list[str] = []

    @classmethod
    def parse(cls, text: str, file: str) -> Section:
        """The whole of a file. Raises `ProtocolError` where it is not a mapping in YAML."""
        try:
            content = yaml.load(text, _Loader)
        except yaml.YAMLError as error:
            raise ProtocolError(f"{file} is not YAML: {error}") from error
        if not isinstance(content, _Mapping):
            raise ProtocolError(f"{file} must be a mapping, not {content!r}")
        return cls(content, file)

    def fail(self, problem: str, key: str | None = None) -> NoReturn:
        """Raise the error about a key, or about the section itself."""
        line = self.line if key is None else self.content.lines[key]
        raise ProtocolError(f"{self.file}, line {line}: {self._name(key)} {problem}")

    def _name(self, key: str | None) -> str:
        return ".".join(filter(None, (self.path, key))) or "the protocol"

    def take(self, key: str, kind: str, default: Any = ...) -> Any:
        """The value of a key, checked to be of a kind; without a default the key must be there."""
        self.taken.append(key)
        if key not in self.content:
            if default is ...:
                self.fail(f"has no {key!r}")
            return default
        value = self.content[key]
        if not KINDS[kind](value):
            self.fail(f"must be {kind}, not {value!r}", key)
        return value

    def section(self, key: str) -> Section:
        """A mapping below this one."""
        return Section(self.take(key, "a mapping"), self.file, self._name(key), self.content.lines[key])

    def sections(self) -> Iterator[tuple[str, Section]]:
        """All keys, each of which must have a mapping."""
        for key in self.content:
            yield key, self.section(key)

    def by_family(self, key: str, kind: str, families: Iterable[str]) -> dict[str, Any]:
        """A mapping that has a value of a kind for each family; empty where the key is absent."""
        if key not in self.content:
            self.taken.append(key)
            return {}
        section = self.section(key)
        values = {family: section.take(family, kind) for family in section.content}
        if lacking := sorted(set(families) - set(values)):
            self.fail(f"says nothing on the family {lacking[0]!r}", key)
        return values

    def names(self, key: str, known: Iterable[str], default: Iterable[str]) -> tuple[str, ...]:
        """A list of names that are known, in their order there."""
        listed = self.take(key, "a list of names", default)
        if unknown := [name for name in listed if name not in known]:
            self.fail(f"names {unknown[0]!r}; there are: {', '.join(known)}", key)
        return tuple(name for name in known if name in listed)

    def close(self) -> None:
        """Raise the error about a key that was not taken."""
        for key in self.content:
            if key not in self.taken:
                self.fail(f"is not a key here; there are: {', '.join(self.taken)}", key)
