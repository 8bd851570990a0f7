"""What a run does, as one frozen value: read from TOML and flags, completed by `Config.resolved`, written to the
run's folder.

A setting left out is chosen by `resolved`: the paper's values without privacy, values that stand the noise with it.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import Field, ValidationError

from securerec.errors import ConfigError
from securerec.interaction_plan import choose_interaction_plan
from securerec.machine import cuda_device
from securerec.plan import ITEMS, MOST_PAIR_VALUES, choose_plan, pair_values, signal_of
from securerec.scorer_plan import check_model, choose_scorer_plan
from securerec.settings import (
    LAPLACE_CLIP,
    DataSettings,
    DpSgdSettings,
    EvaluationSettings,
    PrivacySettings,
    ProtocolSettings,
    Section,
    StartSettings,
    TrainingSettings,
    ViewSettings,
)


class Config(Section):
    """All settings of a run. `seed` makes it repeatable, its noise included, which is for simulation only."""

    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Repeat a run exactly; its noise is then for simulation only."
    )
    data: DataSettings = DataSettings()
    start: StartSettings = StartSettings()
    training: TrainingSettings = TrainingSettings()
    privacy: PrivacySettings = PrivacySettings()
    interaction: DpSgdSettings = DpSgdSettings()
    protocol: ProtocolSettings = ProtocolSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    views: ViewSettings = ViewSettings()

    def resolved(self, users: int, items: int = ITEMS) -> "Config":
        """The same with every open setting chosen for so many users and items: the paper's where nothing is noised, a
        plan that stands the noise with it (`securerec.plan`, `securerec.interaction_plan`).

        Raises ConfigError where settings contradict each other.
        """
        private, model = self.privacy.privacy, self.training.model
        privacy = self.privacy
        check_model(
            model, dual=self.training.dual, head=self.start.head, per_interaction=privacy.unit == "interaction",
            record_views=self.views.record_views,
        )  # fmt: skip
        if self.training.device == "cuda":
            if privacy.unit == "interaction":
                raise ConfigError(
                    "training.device cuda does not go with privacy.unit interaction, whose DP-SGD runs on the "
                    "processor alone: leave out one of the two"
                )
            cuda_device()
        if private and privacy.epsilon is privacy.local_epsilon is privacy.noise_multiplier is None:
            privacy = privacy.model_copy(update={"epsilon": 8.0})
        if privacy.unit == "interaction":
            return self.model_copy(update={"privacy": privacy})._per_interaction()._completed()
        if given := self.interaction.model_dump(exclude_none=True):
            raise ConfigError(f"interaction.{next(iter(given))} has no meaning without privacy.unit interaction")
        head = model == "auto" if self.start.head is None else self.start.head
        start_given = self.start.model_dump(exclude_none=True) | {"head": head}
        if privacy.mechanism == "laplace":
            # an L1 bound of 1 leaves next to nothing of a dense vector
            start_given = ({"segments": ()} if head else {}) | start_given
            privacy = privacy.model_copy(
                update={} if "clip_norm" in privacy.model_fields_set else {"clip_norm": LAPLACE_CLIP}
            )
        chosen = choose_plan(
            start_given,
            choose_scorer_plan(
                self.training.model_dump(exclude_none=True, exclude_unset=True), model, dual=self.training.dual,
                private=private,
            ),
            private=private, items=items, pairs=self._pairs_travel(users, items),
            may_head=model in ("auto", "pfedrec"),
            signal=signal_of(
                users, epsilon=privacy.epsilon, local_epsilon=privacy.local_epsilon, delta=privacy.delta,
                noise_multiplier=privacy.noise_multiplier, rounds=self.training.rounds,
            ),
        )  # fmt: skip
        start, training = StartSettings(**chosen[0]), TrainingSettings(**chosen[1])
        return self.model_copy(update={"start": start, "training": training, "privacy": privacy})._completed()

    def _pairs_travel(self, users: int, items: int) -> bool:
        """Whether the pairs of a catalogue may be asked of everybody where nobody has said so."""
        values = users * pair_values(items)
        return not self.views.record_views and (self.protocol.protocol == "plain" or values <= MOST_PAIR_VALUES)

    def _per_interaction(self) -> "Config":
        """With all that DP-SGD on the device needs. Raises ConfigError for what does not go with that unit."""
        given = self.model_dump(exclude_unset=True, exclude_none=True)
        # a setting that stands at its default, as in the file of a run, contradicts nothing
        changed = {
            (name, key): value
            for name, section in given.items()
            if isinstance(section, dict)
            for key, value in section.items()
            if value != known_keys()[name, key].default
        }
        chosen = choose_interaction_plan(given, changed, epsilon=self.privacy.epsilon or 0.0)
        return self.model_copy(
            update={name: getattr(self, name).model_copy(update=values) for name, values in chosen.items()}
        )

    def _completed(self) -> "Config":
        """With the settings that follow from a plan."""
        rounds, private = self.training.rounds or 0, self.privacy.privacy
        ends = tuple(sorted({1, rounds})) if rounds else ()
        wanted = self.views.view_rounds
        if wanted is not None and not self.views.record_views:
            raise ConfigError("views.view_rounds has no meaning without views.record_views: add --record-views")
        if wanted is not None and max(wanted) > rounds:
            raise ConfigError(f"views.view_rounds names round {max(wanted)}, but the run has {rounds} rounds")
        return self.model_copy(
            update={
                "evaluation": _filled(self.evaluation, {"scoring": "server", "keep": "last" if private else "best"}),
                "views": _filled(self.views, {"view_rounds": ends} if self.views.record_views else {}),
            }
        )

    def to_toml(self) -> bytes:
        """Every setting that has a value, by section."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True)).encode()


def _filled(section: Any, defaults: dict[str, Any]) -> Any:
    """The section with the defaults in place of what is None."""
    return section.model_copy(update={key: value for key, value in defaults.items() if getattr(section, key) is None})


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file's tables. Raises ConfigError when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def make_config(values: dict[str, Any]) -> Config:
    """Validate nested settings, as TOML and flags give them. Raises ConfigError naming the key and the way out."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def known_keys() -> dict[tuple[str, ...], Any]:
    """Every setting's place, ("section", "key") or ("key",), and its pydantic field."""
    keys: dict[tuple[str, ...], Any] = {}
    for name, field in Config.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys.update({(name, key): inner for key, inner in kind.model_fields.items()})
        else:
            keys[(name,)] = field
    return keys


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        names = [".".join(key) for key in known_keys()] + list(Config.model_fields)
        near = difflib.get_close_matches(place, names, n=1, cutoff=0.4)
        short = {key[-1]: ".".join(key) for key in known_keys()}
        near = near or [short[name] for name in difflib.get_close_matches(place.split(".")[-1], list(short), n=1)]
        return f"unknown setting {place!r}" + (f": did you mean {near[0]!r}?" if near else "")
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{place}: {message}" + (f" (got {first['input']!r})" if first["type"] not in ("value_error",) else "")
