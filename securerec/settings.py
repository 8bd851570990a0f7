"""The settings of a run by section: what each is, its default, and its bounds. A setting that is None where nobody has
said is chosen by `securerec.config.Config.resolved`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from securerec.machine import Device
from securerec.models.scorers import Learner
from securerec.scorer_plan import Model, learner_of

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
    device: Device = Field(
        "cpu",
        description="What computes local training: the processor, or in torch a GPU. Results agree within rounding of "
        "float32, not to the bit.",
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

    spare_attempts: int = Field(
        0, ge=0, le=10_000, description="Attempts at each kind of sum, beside one each, that the noise is sized for: "
        "what a federation may try again after an attempt was given up."
    )  # fmt: skip

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
        if self.spare_attempts and self.unit == "interaction":
            raise ValueError("spare_attempts has no meaning with unit interaction: leave out one of the two")
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
