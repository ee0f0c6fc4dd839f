"""Where Lettermill lives and how it may send: settings, home and project.

The only module that reads the environment. A setting is LETTERMILL_<NAME>; a secret may stand in a
file named by LETTERMILL_<NAME>_FILE instead. Nothing is read at import.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from pipelines.errors import HomeInvalid, Problem, SettingInvalid, did_you_mean

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = "LETTERMILL_"
TESTS_PREFIX = "LETTERMILL_TEST_"  # read by tests only
# Secrets with a name of their user's own behind this: keys of domains, passwords of relays.
NAMED_SECRETS = (f"{PREFIX}DKIM_", f"{PREFIX}RELAY_PASSWORD_")
IDENTITY_FILE = "home.json"
KEY_BYTES = 32


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class DeliveryMode(StrEnum):
    """Who really gets the mail: nobody, one address, a list of addresses, everybody."""

    SINK = "sink"
    REDIRECT = "redirect"
    ALLOWLIST = "allowlist"
    LIVE = "live"


def _words(value: object) -> object:
    return (
        [word.strip() for word in value.split(",") if word.strip()]
        if isinstance(value, str)
        else value
    )


class Settings(BaseModel):
    """Every setting with its default; `Settings.load()` reads them from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(CHECKOUT / ".lettermill", description="the folder that holds all state")
    project: Path = Field(CHECKOUT, description="the folder that holds what users write")
    environment: Environment = Environment.DEVELOPMENT
    delivery_mode: DeliveryMode = DeliveryMode.SINK
    redirect_to: str | None = Field(None, description="the one address of mode 'redirect'")
    allowlist: Annotated[list[str], BeforeValidator(_words)] = Field(
        default=[], description="addresses or @domains of mode 'allowlist', separated by commas"
    )
    relay_host: str = "127.0.0.1"
    relay_port: Annotated[int, Field(ge=1, le=65535)] = 25
    relay_username: str | None = None
    relay_password: SecretStr | None = None
    relay_password_file: Path | None = Field(None, description="where it is read anew each time")
    relay_auth: Annotated[str, Field(pattern="^(auto|xoauth2)$")] = "auto"
    relay_tls: Annotated[str, Field(pattern="^(none|starttls|implicit)$")] = "starttls"
    public_url: str = Field("http://127.0.0.1:8025", description="where recipients reach the edge")
    edge_port: Annotated[int, Field(ge=0, le=65535)] = 8025
    sink_port: Annotated[int, Field(ge=0, le=65535)] = 2525
    dagster_port: Annotated[int, Field(ge=0, le=65535)] = 3000
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    connections: Annotated[int, Field(ge=1, le=200, description="SMTP connections per worker")] = 8

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
        """The settings of this process. Raises SettingInvalid with every problem at once."""
        environ = os.environ if environ is None else environ
        values, problems = _from_environment(environ)
        values.update(overrides)
        try:
            settings = cls.model_validate(values)
        except ValidationError as invalid:
            problems += [
                Problem(PREFIX + str(error["loc"][0]).upper(), error["msg"])
                for error in invalid.errors()
            ]
        if problems:
            do = "Set them right, then run: lettermill doctor"
            raise SettingInvalid(_count(problems, "setting", "cannot be used"), problems, do=do)
        return settings.model_copy(
            update={"home": settings.home.resolve(), "project": settings.project.resolve()}
        )

    def environ(self) -> dict[str, str]:
        """These settings as environment variables, for a process to be started; no secrets."""
        secret = _secret_names()
        values = {
            PREFIX + name.upper(): ",".join(value) if isinstance(value, list) else str(value)
            for name, value in self
            if name not in secret and value is not None
        }
        return {**os.environ, **values, "DAGSTER_HOME": str(Home(self.home).dagster)}

    def activate(self) -> None:
        """Make these the settings of this process and of every process it starts."""
        os.environ.update(self.environ())


def _from_environment(environ: Mapping[str, str]) -> tuple[dict[str, object], list[Problem]]:
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(TESTS_PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(NAMED_SECRETS) and name not in ("relay_password_file",):
            continue  # asked for by name: named_secrets
        if name.removesuffix("_file") in _secret_names() and name.endswith("_file"):
            try:
                values[name.removesuffix("_file")] = Path(text).read_text().strip()
                values[name] = str(Path(text).resolve())
            except OSError as error:
                problems.append(Problem(variable, f"the file cannot be read: {error.strerror}"))
        elif name in Settings.model_fields:
            values[name] = text
        else:
            near = did_you_mean(name, Settings.model_fields)
            problems.append(Problem(variable, f"is not a setting.{near}"))
    return values, problems


def named_secrets(prefix: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The secrets that begin so, such as LETTERMILL_DKIM_, by variable; one in `…_FILE` is read from there.

    Raises SettingInvalid for files that cannot be read.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    problems = []
    for variable, text in environ.items():
        if not variable.startswith(prefix):
            continue
        if not variable.endswith("_FILE"):
            found[variable] = text
            continue
        try:
            found[variable.removesuffix("_FILE")] = Path(text).read_text().strip()
        except OSError as error:
            problems.append(Problem(variable, f"the file cannot be read: {error.strerror}"))
    if problems:
        do = "Set them right, then run: lettermill doctor"
        raise SettingInvalid(_count(problems, "setting", "cannot be used"), problems, do=do)
    return found


def secret_files(prefix: str, environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """The files such secrets come from, by the same variable: for whom they change while a send goes on."""
    environ = os.environ if environ is None else environ
    return {
        variable.removesuffix("_FILE"): Path(text).resolve()
        for variable, text in environ.items()
        if variable.startswith(prefix) and variable.endswith("_FILE")
    }


def _secret_names() -> set[str]:
    return {"relay_password"}


def _count(items: list[Problem], noun: str, rest: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'} {rest}"


class HomeKind(StrEnum):
    """What a home was made for. Only PRODUCTION may send live."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    DEMO = "demo"


class Identity(BaseModel):
    """Which home this is: written once, by `lettermill init`."""

    model_config = ConfigDict(frozen=True)

    home_id: str
    kind: HomeKind
    machine_id: str
    made_at: datetime


@dataclass(frozen=True)
class Home:
    """The folder of all state, and where each part of it lies. Paths only: nothing is made here."""

    root: Path

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def exports(self) -> Path:
        """Where sources look for their files when the path they give is relative."""
        return self.root / "exports"

    @property
    def ledgers(self) -> Path:
        return self.root / "ledgers"

    @property
    def people(self) -> Path:
        return self.root / "people.sqlite"

    @property
    def coupons(self) -> Path:
        return self.root / "coupons.sqlite"

    @property
    def pace(self) -> Path:
        """Which slots of which relay are taken, and what was sent in this hour and day."""
        return self.root / "pace.sqlite"

    @property
    def berths(self) -> Path:
        """A file for each message and connection that may be under way at once, where that is limited."""
        return self.root / "berths"

    @property
    def exchangers(self) -> Path:
        """Whose servers take the mail of which domain, as last asked."""
        return self.root / "exchangers.sqlite"

    @property
    def approvals(self) -> Path:
        return self.root / "approvals"

    @property
    def event_log(self) -> Path:
        return self.root / "events"

    @property
    def stream(self) -> Path:
        """The flow's lock and recovery files."""
        return self.root / "stream"

    @property
    def sink(self) -> Path:
        """The loopback sink's maildir: .eml files in new/ and cur/; sink.json says where it listens."""
        return self.root / "sink"

    @property
    def previews(self) -> Path:
        return self.root / "previews"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder a new home is made with; the keys' is made apart, closed to others."""
        state = (self.lake, self.exports, self.ledgers, self.approvals, self.event_log, self.stream)
        shown = (self.sink, self.previews, self.reports, self.dagster, self.logs)
        return (self.root, *state, *shown)

    @property
    def exists(self) -> bool:
        return (self.root / IDENTITY_FILE).is_file()

    def identity(self) -> Identity:
        """Raises HomeInvalid when this folder is not a home."""
        try:
            return Identity.model_validate_json((self.root / IDENTITY_FILE).read_text())
        except FileNotFoundError as error:
            raise HomeInvalid(
                f"{self.root} is not a Lettermill home", do="Make one: lettermill init"
            ) from error
        except (OSError, ValidationError) as error:
            raise HomeInvalid(
                f"the identity of {self.root} cannot be read",
                [Problem(str(self.root / IDENTITY_FILE), type(error).__name__)],
                do="Restore it from a backup, or make another home: lettermill init DIR",
            ) from error

    def key(self, purpose: str) -> bytes:
        """The secret of this home for one purpose, such as `links` or `addresses`."""
        path = self.keys / f"{purpose}.key"
        try:
            found = bytes.fromhex(path.read_text().strip())
            if len(found) < KEY_BYTES:
                raise ValueError("shorter than a key")
            return found
        except (OSError, ValueError) as error:
            raise HomeInvalid(
                f"the key '{purpose}' of this home cannot be read",
                [Problem(str(path), type(error).__name__)],
                do="Restore it from a backup: links already sent are signed with it",
            ) from error


def make_home(root: Path, *, kind: HomeKind, at: datetime) -> Home:
    """Make a home with an identity and keys; a home that is already there is left as it is.

    Raises HomeInvalid where no folder can be made.
    """
    home = Home(root.resolve())
    if home.exists:
        return home
    try:
        for folder in home.folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeInvalid(
            f"no home can be made at {home.root}",
            [Problem(str(error.filename), error.strerror or type(error).__name__)],
            do="Name another folder: lettermill init DIR",
        ) from error
    home.keys.mkdir(mode=0o700, exist_ok=True)
    if any(home.keys.glob("*.key")):
        raise HomeInvalid(
            f"{home.root} has keys and no identity: it was a home, and new keys would end it",
            [Problem(str(home.root / IDENTITY_FILE), "is missing")],
            do="Restore it from a backup: sent links and suppressions are made with these keys",
        )
    for purpose in ("links", "addresses", "variants"):
        path = home.keys / f"{purpose}.key"
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(KEY_BYTES))
    identity = Identity(home_id=uuid.uuid4().hex, kind=kind, machine_id=machine_id(), made_at=at)
    _write_whole(home.root / IDENTITY_FILE, json.dumps(identity.model_dump(mode="json"), indent=2))
    return home


def machine_id() -> str:
    """What systemd calls this machine; a container without the file is known by its host name."""
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"), Path("/etc/hostname")):
        if path.is_file() and (text := path.read_text().strip()):
            return text
    return f"unknown-{uuid.getnode():x}"


def boot_id() -> str:
    """Changes at every start of the machine's kernel; memory-mapped marks do not outlive it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
