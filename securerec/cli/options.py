"""One flag for every setting, made from `securerec.config`, so that file and command line cannot drift apart."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from securerec.config import Config, PrivacySettings, known_keys
from securerec.errors import ConfigError

PANELS = {
    "data": "Data", "start": "Warm start", "training": "Training", "privacy": "Privacy",
    "interaction": "With --unit interaction: DP-SGD on the device", "protocol": "Secure sum",
    "evaluation": "Evaluation", "views": "Audit",
}  # fmt: skip
ALL = ("", *PANELS)
USERS = 943
"""Of the default data set, for which the help tells what is chosen."""


def with_settings(command: Callable[..., None], *, sections: tuple[str, ...] = ALL) -> Callable[..., None]:
    """Give a command a flag for every setting; what was given arrives in its `settings` argument, nested as in TOML.

    sections: whose settings the command takes; "" stands for those outside any section.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
    keys = [key for key in known_keys() if (key[0] if len(key) > 1 else "") in sections]
    flags = {key[-1]: key for key in keys}

    def wrapped(**given: Any) -> None:
        settings: dict[str, Any] = {}
        for name, key in flags.items():
            value = given.pop(name)
            if value is None:
                continue
            place = settings
            for part in key[:-1]:
                place = place.setdefault(part, {})
            place[key[-1]] = _parsed(key, value)
        command(**given, settings=settings)

    wrapped.__doc__ = command.__doc__
    parameters = [*own, *(_parameter(key) for key in keys)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _parameter(key: tuple[str, ...]) -> inspect.Parameter:
    field = known_keys()[key]
    kind, flag = _flag_type(field.annotation), "--" + key[-1].replace("_", "-")
    declarations = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    option = typer.Option(
        *declarations,
        help=" ".join(filter(None, (field.description, _choices(field), _default(key)))),
        show_default=False,
        rich_help_panel=PANELS[key[0]] if len(key) > 1 else "Repeating",
        metavar=None if kind is bool else _metavar(field),
    )
    return inspect.Parameter(
        key[-1], inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _default(key: tuple[str, ...]) -> str:
    """What happens without the flag, with and without privacy."""
    private = Config().resolved(USERS)
    clear = Config(privacy=PrivacySettings(privacy=False)).resolved(USERS)
    values = []
    for config in (private, clear):
        value: Any = config
        for part in key:
            value = getattr(value, part)
        values.append(_shown(value))
    if key[-1] in ("epsilon", "privacy", "view_rounds") or values == [None, None]:
        return ""
    if values[0] == values[1]:
        return "" if values[0] is True or values[0] is False else f"[default: {values[0]}]".replace("[", r"\[")
    return f"[default: {values[0]}; without privacy {values[1]}]".replace("[", r"\[")


def _shown(value: Any) -> Any:
    """A setting as the help shows it: what follows from a plan has as many places as a float has."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else value


def _flag_type(annotation: Any) -> type:
    """bool, int and float as they are; everything else arrives as text and is checked by the configuration."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    options = typing.get_args(annotation) if union else (annotation,)
    plain = [typing.get_args(option)[0] if typing.get_origin(option) is Annotated else option for option in options]
    kinds = [option for option in plain if option is not type(None)]
    return kinds[0] if len(kinds) == 1 and kinds[0] in (bool, int, float) else str


_WIDEST = 12
"""Characters of a metavar that a narrow terminal shows in a line, beside flags and help."""


def _literal(field: Any) -> str | None:
    """The words between which a setting chooses."""
    for option in (field.annotation, *typing.get_args(field.annotation)):
        if typing.get_origin(option) is typing.Literal:
            return "|".join(typing.get_args(option))
    return None


def _choices(field: Any) -> str:
    """What the metavar has no room for."""
    words = _literal(field) or ""
    return f"One of {words.replace('|', ', ')}." if len(words) > _WIDEST else ""


def _metavar(field: Any) -> str:
    if (words := _literal(field)) is not None:
        return words if len(words) <= _WIDEST else "NAME"
    for option in (field.annotation, *typing.get_args(field.annotation)):
        if typing.get_origin(option) is tuple:
            return "N,N,..."
    return {int: "N", float: "X", str: "NAME"}[_flag_type(field.annotation)]


def _parsed(key: tuple[str, ...], value: Any) -> Any:
    annotation = known_keys()[key].annotation
    if not any(typing.get_origin(option) is tuple for option in (annotation, *typing.get_args(annotation))):
        return value
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise ConfigError(
            f"--{key[-1].replace('_', '-')} takes whole numbers with commas between, not {value!r}"
        ) from None


def merged(file: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """A file's settings with the flags on top."""
    result = dict(file)
    for key, value in flags.items():
        inner = result.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            result[key] = {**inner, **value}
        else:
            result[key] = value
    # A flag that sets the noise replaces what the file says of it.
    noise = {"epsilon", "local_epsilon", "noise_multiplier"}
    given = set(flags.get("privacy", {})) & noise
    if isinstance(result.get("privacy"), dict) and (given or flags.get("privacy", {}).get("privacy") is False):
        result["privacy"] = {k: v for k, v in result["privacy"].items() if k not in noise or k in given}
    return result
