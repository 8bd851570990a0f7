"""What a run does, as one frozen value: read from TOML and flags, completed by `Config.resolved`, written to the
run's folder.

A setting left out is chosen by `resolved`: the paper's values without privacy, values that stand the noise with it.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from securerec.errors import ConfigError
from securerec.interaction_plan import choose_interaction_plan
from securerec.models.neighbours import pair_width
from securerec.models.scorers import Learner
from securerec.plan import ITEMS, MOST_PAIR_VALUES, choose_plan, signal_of
from securerec.scorer_plan import Model, check_model, choose_scorer_plan, learner_of

Scoring = Literal["own", "server", "device"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=0, le=1000)]

LAPLACE_CLIP = 500.0
"""L1 bound of an update in a round under Laplace noise: the L2 bound is 25, and on ML-100K the L1 norms of updates of
dim 4 are some 20 times their L2 norms."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class DataSettings(Section):
    dataset: str = Field("ml-100k", description="Data set: a name from `securerec data list` or one you imported.")
    candidates_seed: int = Field(
        0, ge=0, description="Seed of the sampled candidates that held-out items are ranked against."
    )
    sampled_negatives: int = Field(
        99, ge=1, le=1 << 20, description="Items beside the held-out one in a sampled ranking."
    )


class StartSettings(Section):
    head: bool | None = Field(
        None,
        description="Before the rounds release a popularity of the items, and give each device a private head over it "
        "and the items' public features (genres, years).",
    )
    popularity_share: float | None = Field(
        None, gt=0, le=1, description="Share of the privacy budget for the popularity."
    )
    segments: tuple[Width, ...] | None = Field(
        None,
        strict=False,
        description="Directions of taste in which the item table starts, a release for each number; 0: at random.",
    )
    segment_share: float | None = Field(
        None, ge=0, le=1, description="Share of the privacy budget for those releases; the rounds have what is left."
    )
    pairs: Width | None = Field(
        None,
        description="Directions of an item-item model, from a release of which items stand near each other in lists; "
        "0: none. Only without privacy.",
    )
    recency: float = Field(
        0.8, ge=0, le=10, description="The k-th newest interaction weighs k to the minus this in the head."
    )


class TrainingSettings(Section):
    model: Model = Field(
        "auto",
        description="The learner: the best there is here (a private head and a warm start, then PFedRec's rounds), or "
        "one by name.",
    )
    dual: bool = Field(
        True,
        description="Dual personalisation: the score function is the device's own, and so is its view of the items, "
        "tuned after it.",
    )
    rounds: int | None = Field(
        None, ge=0, le=65_536, description="Rounds of the federation; with 0 only the warm start teaches."
    )
    dim: int | None = Field(None, ge=1, le=1024, description="Length of an item row.")
    score_lr: float | None = Field(None, gt=0, le=1e6, description="Learning rate of the private score function.")
    item_lr_factor: float = Field(
        8.0, gt=0, le=1e6, description="Item rows learn at this rate times the number of items."
    )
    server_lr: float = Field(1.0, gt=0, le=1e6, description="Share of the mean update that the server applies.")
    batch_size: int = Field(256, ge=1, le=1 << 20, description="Samples a step of local training.")
    negatives: int = Field(4, ge=1, le=1000, description="Negatives drawn anew beside each positive in each round.")
    local_epochs: int = Field(1, ge=1, le=1000, description="Passes over a round's samples.")
    table_scale: float | None = Field(None, ge=0, le=1e6, description="Deviation of the initial item table.")
    function_scale: float | None = Field(
        None, ge=0, le=1e6, description="Spread of the initial score functions; 0 starts at zero."
    )

    def learner(self) -> Learner:
        """The learner these settings describe; only after `Config.resolved`."""
        if self.dim is None or self.score_lr is None or self.table_scale is None or self.function_scale is None:
            raise ValueError("settings are not resolved yet")
        return learner_of(
            self.model, dual=self.dual, dim=self.dim, score_lr=self.score_lr, item_lr_factor=self.item_lr_factor,
            batch_size=self.batch_size, negatives=self.negatives, epochs=self.local_epochs,
            table_scale=self.table_scale, function_scale=self.function_scale,
        )  # fmt: skip


class PrivacySettings(Section):
    privacy: bool = Field(True, description="Clip and noise every upload; --no-privacy turns that off, loudly.")
    unit: Literal["user", "interaction"] = Field(
        "user",
        description="What nobody can tell: whether a user took part, with any history, or whether one interaction is "
        "in a history (DP-SGD on the device; nothing is promised to the user as a whole).",
    )
    mechanism: Literal["gaussian", "skellam", "laplace"] = Field(
        "gaussian",
        description="Noise of every upload with unit user, on whole numbers: Gaussian, Skellam, or Laplace, which "
        "clips in L1 and costs far more.",
    )
    epsilon: float | None = Field(
        None,
        ge=1e-3,
        le=1e6,
        description="Epsilon of the whole run, central for a user, or of one interaction; sets the noise (default 8).",
    )
    local_epsilon: float | None = Field(
        None, ge=1e-3, le=1e6, description="Local epsilon of the whole run; sets the noise instead of --epsilon."
    )
    noise_multiplier: float | None = Field(
        None,
        ge=1e-6,
        le=1e6,
        description="Noise deviation of a round's sum over its sensitivity; sets the noise instead of --epsilon.",
    )
    delta: float = Field(1e-5, ge=1e-15, lt=1, description="Delta of every reported epsilon.")
    clip_norm: float = Field(
        25.0,
        ge=1e-6,
        le=1e9,
        description="L2 bound of one client's update in a round, over the whole table. With --mechanism laplace an L1 "
        f"bound (default {LAPLACE_CLIP:g}); with --unit interaction the L2 bound of one interaction's gradient, by its "
        "plan.",
    )
    coordinate_cap: float = Field(
        1.0, gt=0, le=1, description="Bound of one coordinate before clipping, in clip norms."
    )
    grid_units: int = Field(1000, ge=10, le=1_000_000, description="Integer units of one clip norm.")
    surviving: float = Field(
        0.9, ge=0.01, le=1, description="Share of the cohort that must be in a sum; fewer uploads are not opened."
    )
    colluding: float = Field(
        0.0, ge=0, lt=1, description="Share of the cohort whose noise does not count, as it may side with who looks."
    )

    @model_validator(mode="after")
    def _one_way_to_set_the_noise(self) -> Self:
        given = [name for name in ("epsilon", "local_epsilon", "noise_multiplier") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each set the noise: give one of them")
        if given and not self.privacy:
            raise ValueError(f"{given[0]} has no meaning without privacy: leave out one of the two")
        for name, value in (("unit", self.unit), ("mechanism", self.mechanism)):
            if not self.privacy and value != PrivacySettings.model_fields[name].default:
                raise ValueError(f"{name} {value} has no meaning without privacy: leave out one of the two")
        return self


class DpSgdSettings(Section):
    """DP-SGD on the device, for the unit interaction; what is left out is chosen by `securerec.interaction_plan`."""

    sample_rate: float | None = Field(
        None, gt=0, le=1, description="Chance that an interaction is taken in a step of DP-SGD."
    )
    steps: int | None = Field(None, ge=1, le=10_000, description="Steps of DP-SGD on the device in each round.")
    item_lr: float | None = Field(
        None, gt=0, le=1e6, description="Learning rate of the item rows on the noised sum of gradients of a step."
    )


class ProtocolSettings(Section):
    protocol: Literal["plain", "pairwise", "ckks", "ckks-committee"] = Field(
        "ckks-committee",
        description="How uploads are summed: in the clear, under pairwise masks, CKKS-encrypted for one decryptor, or "
        "for a committee of 7 of which 5 open.",
    )
    workers: int | None = Field(None, ge=1, le=256, description="Processes that play the devices; default one a core.")


class EvaluationSettings(Section):
    cutoffs: tuple[Count, ...] = Field((10,), min_length=1, strict=False, description="Cut-offs k of HR@k and NDCG@k.")
    scoring: Scoring | None = Field(
        None,
        description="Scores of the clean and full headlines: own view, server's table, or each device's choice.",
    )
    keep: Literal["last", "best"] | None = Field(
        None,
        description="The model kept: the last round's, or the best round's on validation (not accounted as privacy).",
    )
    published: bool = Field(True, description="Also train the twin that the published protocol's figures need.")


class ViewSettings(Section):
    record_views: bool = Field(False, description="Record what adversaries see, for `securerec audit`: secret data.")
    view_rounds: tuple[Count, ...] | None = Field(
        None, strict=False, description="Rounds to record; default the first and the last."
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
            signal=signal_of(
                users, epsilon=privacy.epsilon, local_epsilon=privacy.local_epsilon, delta=privacy.delta,
                noise_multiplier=privacy.noise_multiplier, rounds=self.training.rounds,
            ),
        )  # fmt: skip
        start, training = StartSettings(**chosen[0]), TrainingSettings(**chosen[1])
        return self.model_copy(update={"start": start, "training": training, "privacy": privacy})._completed()

    def _pairs_travel(self, users: int, items: int) -> bool:
        """Whether the pairs of a catalogue may be asked of everybody where nobody has said so."""
        values = users * items * pair_width(items)
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
