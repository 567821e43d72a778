"""Settings: what a deployment declares, from environment (NPO_*), profile, policy and catalogues.

`Deployment` is where the servers are (environment). `Settings` is what decisions depend on: it is recorded by a digest in
every decision, so that a replay knows whether it runs under the same ones.
"""

from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta, Struct, field
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import SettingsError
from schemas.events import MEASUREMENT_MAX, Measurement, Name

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
# Where the operator's page is, unless something else is there.
CONSOLE_PORT = 8470
T = TypeVar("T")
Positive = Annotated[float, Meta(gt=0, le=MEASUREMENT_MAX)]
Count = Annotated[float, Meta(ge=0, le=MEASUREMENT_MAX)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """How the loop learns: see `deploy/profiles/default.yaml`, where each field is explained."""

    name: str
    score: Literal["logit", "mean"] = "logit"
    prior_weight: Positive = 4.0
    prior_mean: Share = 0.5
    step: Literal["harmonic", "power", "constant"] = "harmonic"
    silence: Literal["ignore", "pull"] = "ignore"
    silence_target: Annotated[float, Meta(ge=0.2, le=0.4)] = 0.3
    selector: Literal["posterior", "thompson", "fixed"] = "posterior"
    fixed_threshold: Share | None = None
    trust: bool = True
    teams: Literal["volume", "equal"] = "volume"
    budget: Literal["trusted", "raw", "off"] = "trusted"
    override_cost: Positive = 4.0
    miss_cost: Positive = 1.0
    override_rate: Share = 0.1
    budget_start: Count = 150.0
    answer_deadline_ms: Annotated[int, Meta(gt=0)] = 4 * 3_600_000
    undo_window_ms: Annotated[int, Meta(ge=0)] = 120_000
    cooldown_ms: Annotated[int, Meta(ge=0)] = 3_600_000
    window_scenarios: Annotated[int, Meta(gt=0)] = 200
    monitor: Literal["challenger", "learned", "threshold", "periodic", "random", "always", "never"] = "challenger"
    retraining_price: Count = 20.0
    loss_bound: Share = 0.3
    retraining_period_windows: Annotated[int, Meta(gt=0)] = 10
    retraining: Literal["untargeted", "targeted"] = "untargeted"
    retraining_examples_max: Annotated[int, Meta(ge=0)] = 0
    class_means: bool = True
    initial_intercept: Measurement = 4 * 0.22314355131420976
    initial_weights: dict[str, Measurement] = field(default_factory=lambda: {"log_score": 4.0})

    @property
    def threshold(self) -> float:
        """The threshold that declared costs imply: k/(k + m), or the one that the profile names for the selector `fixed`."""
        if self.selector == "fixed" and self.fixed_threshold is not None:
            return self.fixed_threshold
        return self.override_cost / (self.override_cost + self.miss_cost)


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """One hard rule: denies where `deny_if` (CEL over the declared facts) is true."""

    name: str
    deny_if: str
    reason: str = ""


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The safety policy: rules over declared facts; anything that cannot be judged is denied."""

    version: str
    rules: tuple[Rule, ...]


class CatalogueAction(Struct, frozen=True, forbid_unknown_fields=True):
    """One action and the symptom labels (glob patterns) it is proposed for; the first that matches wins."""

    name: Name
    symptoms: tuple[str, ...]
    blast_radius: Annotated[int, Meta(ge=0)]
    reversible: bool
    description: str = ""


class Catalogue(Struct, frozen=True, forbid_unknown_fields=True):
    """Actions, entities' scopes and operators' teams as the deployment declares them."""

    actions: tuple[CatalogueAction, ...]
    entities: dict[str, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)


class ScopeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one scope sets apart from the rest.

    With `learning` false, answers are counted and move nothing; with `shadow` true, everything is decided and nothing surfaced.
    """

    learning: bool = True
    shadow: bool = False


class Settings(Struct, frozen=True, dict=True):
    """All that decisions depend on."""

    profile: Profile
    policy: Policy
    catalogue: Catalogue
    scopes: dict[str, ScopeSettings] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change when any setting does."""
        return blake2b(msgspec.json.encode(self, order="deterministic"), digest_size=6).hexdigest()

    def learns(self, scope: str) -> bool:
        """Tell whether answers move anything in this scope."""
        return self.scopes.get(scope, ScopeSettings()).learning

    def shadows(self, scope: str) -> bool:
        """Tell whether a scope decides and surfaces nothing."""
        return self.scopes.get(scope, ScopeSettings()).shadow


class Deployment(BaseSettings):
    """Where the servers are and how a process runs, from NPO_* variables."""

    model_config = SettingsConfigDict(env_prefix="NPO_", extra="ignore")

    broker: str | None = None
    redis: str | None = Field(default=None, repr=False)
    home: Path = Path(".npo")
    partitions: int = Field(default=4, ge=1)
    topic_prefix: str = "npo."
    application: str = "npo"
    profile: Path = DEPLOY / "profiles" / "default.yaml"
    policy: Path = DEPLOY / "policies" / "default.yaml"
    catalogue: Path = DEPLOY / "catalogue" / "default.yaml"
    scopes: Path | None = None
    seed: int = 0
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: str | None = Field(default=None, repr=False)
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    # How long a worker may be silent before its tasks go to others. Brokers take less than 6 s only if they are told to.
    session_timeout_s: float = Field(default=10.0, gt=0)
    # How long a task may have work without progress before its process ends.
    standstill_s: float = Field(default=60.0, gt=0)
    # Where a worker answers /livez, /readyz and /metrics; without a port it does not listen, 0 is a free one.
    health_host: str = "127.0.0.1"
    health_port: int | None = Field(default=None, ge=0, le=65_535)
    # Where the operator's page and the HTTP API are; without a port it is CONSOLE_PORT, in a stack any free one where that is taken.
    console_host: str = "127.0.0.1"
    console_port: int | None = Field(default=None, ge=0, le=65_535)
    # Who may use them, `tokens.json` in the home where none is named; without the file whoever reaches them may, on loopback only.
    tokens: Path | None = None
    # How far behind, in offsets, a worker may be and call itself ready.
    ready_lag_max: int = Field(default=1_000_000, ge=0)


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read one YAML file as `kind`.

    Raises:
        SettingsError: no such file, not YAML, an unknown field, or a value out of range; the message names file and field.
    """
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), kind)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; give the path of a readable YAML file") from error
    # PyYAML lets through what Python says of a value that looks like a date, or has a tag that it does not fit.
    except (yaml.YAMLError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a valid {kind.__name__.lower()}: {error}") from error


def check(settings: Settings) -> None:
    """Hold settings that were built in code against the ranges that files are held against.

    Raises:
        SettingsError: a value out of range, or of another type.
    """
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except (msgspec.ValidationError, TypeError) as error:
        raise SettingsError(f"settings that cannot be used: {error}; see deploy/profiles/default.yaml for what each may be") from error


def load_settings(deployment: Deployment) -> Settings:
    """Read profile, policy, catalogue and scopes of a deployment.

    Raises:
        SettingsError: one of the files cannot be used.
    """
    scopes: Any = read_yaml(deployment.scopes, dict[str, ScopeSettings]) if deployment.scopes else {}
    return Settings(
        profile=read_yaml(deployment.profile, Profile),
        policy=read_yaml(deployment.policy, Policy),
        catalogue=read_yaml(deployment.catalogue, Catalogue),
        scopes=scopes,
        seed=deployment.seed,
    )
