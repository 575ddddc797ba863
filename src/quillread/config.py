"""Strict configuration: frozen dataclasses filled from YAML files and `a.b=c` settings.

Every fault of a document is reported at once, with its dotted path and, for a mistyped key, the nearest known one.

A field may hold one of several dataclasses, chosen by a tag (`TAG`). The settings of the one chosen stand flat among
those of the dataclass that the field belongs to, and those of the others are refused.
"""

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from quillread.errors import ConfigError, QuillreadError

T = TypeVar("T")

TAG = "tag"
"""Key of a field's metadata: the setting that chooses which dataclass of the field's type, a union, it holds. Each of
them has a field of that name, a Literal with one value, its default."""


_YAML_FAULTS = (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What reading YAML raises: besides its own errors those of values that are not of the type they are tagged with, such
as `!!timestamp x`, and of nesting without end."""


def build(cls: type[T], values: Mapping[str, Any], where: str = "configuration") -> T:
    """Fill a dataclass from nested plain data; fields that are not named keep their defaults.

    Args:
        cls: A dataclass whose fields are int, float, bool, str, Path, Literal, `X | None`, `tuple[X, ...]`,
            `dict[str, X]`, such dataclasses, or classes that are written as text and have a class method `parse`.
        values: Plain data, as YAML and JSON give it; finished dataclasses may stand in it.
        where: Name of the document, for the error message.

    Raises:
        ConfigError: Listing every unknown key, missing key, wrong type and value out of range.
    """
    faults: list[str] = []
    result = _build(cls, values, "", faults)
    if faults:
        raise ConfigError(f"{where}: " + "; ".join(faults), hint="correct the settings named above")
    return typing.cast(T, result)


def coerce(cls: type, values: Mapping[str, Any], where: str = "configuration") -> dict[str, Any]:
    """Bring the values of the fields of a dataclass that are not groups to their types, as `build` does.

    Raises:
        ConfigError: Listing every value of a wrong type.
    """
    faults: list[str] = []
    hints = typing.get_type_hints(cls)
    result = {name: _convert(hints[name], value, name, faults) for name, value in values.items()}
    if faults:
        raise ConfigError(f"{where}: " + "; ".join(faults), hint="correct the settings named above")
    return result


def load(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a YAML file into a dataclass, with `a.b=c` settings on top.

    Raises:
        ConfigError: If the file is missing, is not a YAML mapping, or has a fault that `build` reports.
    """
    return build(cls, apply_overrides(read_yaml(path), overrides), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ConfigError: If it cannot be read or holds something else.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "check the path and its permissions"
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", hint=hint) from error
    except _YAML_FAULTS as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}, not `name: value` settings")
    return values


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Put `a.b=c` settings on top of nested plain data; values are read as YAML.

    Raises:
        ConfigError: If a setting has no `=` or runs through a value that is not a mapping.
    """
    result = _copy(values)
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(f"setting {override!r} is not of the form name=value")
        node = result
        *parents, leaf = path.split(".")
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigError(f"setting {override!r}: {key!r} is not a group of settings")
        try:
            node[leaf] = yaml.safe_load(text)
        except _YAML_FAULTS as error:
            raise ConfigError(f"setting {override!r}: {text!r} is not a YAML value") from error
    return result


def merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put nested plain data on top of other; groups are merged, all else is replaced."""
    result = _copy(values)
    for key, change in changes.items():
        known = result.get(key)
        result[key] = merge(known, change) if isinstance(known, dict) and isinstance(change, Mapping) else change
    return result


def dump(config: Any) -> Any:
    """Turn a dataclass into plain data that `build` reads back to an equal one."""
    if hasattr(config, "parse") or isinstance(config, Path):
        return str(config)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        values: dict[str, Any] = {}
        for f in dataclasses.fields(config):
            value = dump(getattr(config, f.name))
            values |= value if TAG in f.metadata else {f.name: value}
        return values
    if isinstance(config, tuple | list):
        return [dump(item) for item in config]
    if isinstance(config, dict):
        return {key: dump(item) for key, item in config.items()}
    return config


def suggest(name: str, known: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known name, or the list of all if none is near."""
    return _nearest(name, known) or f" (known: {', '.join(sorted(known)) or 'none'})"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _build(cls: type, values: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(values, Mapping):
        faults.append(f"{path or 'the document'}: expected settings, got {values!r}")
        return None
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    before = len(faults)
    given: dict[str, Any] = {}
    known = {name for name, f in fields.items() if TAG not in f.metadata}
    for name in fields.keys() - known:
        given[name], seen = _build_tagged(fields[name], typing.get_args(hints[name]), values, path, faults)
        values = {key: value for key, value in values.items() if key not in seen}
        known |= seen
    for key, value in values.items():
        dotted = f"{path}.{key}" if path else str(key)
        if key in known:
            given[key] = _convert(hints[key], value, dotted, faults)
        else:
            faults.append(f"unknown setting {dotted!r}{suggest(str(key), sorted(known))}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in given:
            faults.append(f"setting {f'{path}.{name}' if path else name!r} is missing")
    if len(faults) > before:
        return None
    try:
        return cls(**given)
    except ConfigError as error:
        faults.append(error.message)
        return None


def _build_tagged(
    made: "dataclasses.Field[Any]", options: Sequence[type], values: Mapping[str, Any], path: str, faults: list[str]
) -> tuple[Any, set[str]]:
    """Build what a tagged field holds, from the settings that stand beside it.

    Returns:
        What it holds, and the names of the settings that this took care of: its own, and those of the others.
    """
    tag: str = made.metadata[TAG]
    by_tag = {next(f.default for f in dataclasses.fields(option) if f.name == tag): option for option in options}
    names = {value: {f.name for f in dataclasses.fields(option)} for value, option in by_tag.items()}
    seen = set().union(*names.values())
    default: Any = made.default_factory
    chosen = values.get(tag, next(value for value, option in by_tag.items() if option is default))
    if not isinstance(chosen, str) or chosen not in by_tag:
        faults.append(f"{tag}: {chosen!r} is not one of {', '.join(map(repr, by_tag))}")
        return None, seen
    own = names[chosen]
    for other, theirs in names.items():
        for key in (key for key in values if key in theirs - own):
            near = _nearest(str(key), own - {tag})
            faults.append(f"setting {key!r} is for {tag} {other!r}, while this is {tag} {chosen!r}{near}")
    return _build(by_tag[chosen], {key: value for key, value in values.items() if key in own}, path, faults), seen


def _convert(hint: Any, value: Any, path: str, faults: list[str]) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [arg for arg in args if arg is not type(None)]
        for option in options:
            attempt: list[str] = []
            result = _convert(option, value, path, attempt)
            if not attempt:
                return result
        faults.extend(attempt)
        return None
    if origin is typing.Literal:
        if value is False and "off" in args:
            return "off"  # which YAML 1.1 reads as a truth value
        if value not in args:
            faults.append(f"{path}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, path, faults)
    if origin is dict:
        if not isinstance(value, Mapping):
            faults.append(f"{path}: expected name: value pairs, got {value!r}")
            return None
        return {str(k): _convert(args[1], v, f"{path}.{k}", faults) for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, typing.cast(type, hint)):
        return value
    if hasattr(hint, "parse") and isinstance(value, str):
        return _parse(hint, value, path, faults)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, path, faults)
    return _convert_scalar(hint, value, path, faults)


def _parse(hint: Any, text: str, path: str, faults: list[str]) -> Any:
    try:
        return hint.parse(text)
    except QuillreadError as error:
        faults.append(f"{path}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return None


def _convert_tuple(args: tuple[Any, ...], value: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(value, list | tuple):
        faults.append(f"{path}: expected a list, got {value!r}")
        return None
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{path}[{i}]", faults) for i, item in enumerate(value))
    if len(args) != len(value):
        faults.append(f"{path}: expected {len(args)} values, got {len(value)}")
        return None
    return tuple(_convert(a, item, f"{path}[{i}]", faults) for i, (a, item) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, path: str, faults: list[str]) -> Any:
    if hint is Any:
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text, because it has no dot; everyone writes it that way.
        with contextlib.suppress(ValueError):
            value = float(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    faults.append(f"{path}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    return None
