"""Settings, homes and keys."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipelines.errors import HomeInvalid, Problem, SettingInvalid, TableMissing
from pipelines.settings import DeliveryMode, Home, HomeKind, Settings, make_home, named_secrets


def test_without_any_setting_nobody_is_mailed():
    settings = Settings.load({})

    assert settings.delivery_mode is DeliveryMode.SINK


def test_every_wrong_setting_is_told_at_once():
    environ = {
        "LETTERMILL_DELIVERY_MOD": "live",
        "LETTERMILL_SINK_PORT": "many",
        "LETTERMILL_RELAY_TLS": "perhaps",
    }

    with pytest.raises(SettingInvalid) as raised:
        Settings.load(environ)

    told = str(raised.value)
    assert "3 settings cannot be used" in told
    assert "LETTERMILL_DELIVERY_MOD" in told
    assert "Did you mean 'delivery_mode'?" in told
    assert "LETTERMILL_SINK_PORT" in told
    assert "LETTERMILL_RELAY_TLS" in told


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path):
    secret = tmp_path / "password"
    secret.write_text("open sesame\n")

    settings = Settings.load({"LETTERMILL_RELAY_PASSWORD_FILE": str(secret)})

    assert settings.relay_password is not None
    assert settings.relay_password.get_secret_value() == "open sesame"
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings.environ())


def test_settings_survive_the_way_through_the_environment_of_a_process(tmp_path: Path):
    settings = Settings.load({}, home=tmp_path, allowlist="a@b.example,@c.example", workers=3)

    environ = {k: v for k, v in settings.environ().items() if k.startswith("LETTERMILL_")}

    assert Settings.load(environ) == settings


def test_making_a_home_twice_keeps_its_identity_and_keys(tmp_path: Path, clock):
    first = make_home(tmp_path / "home", kind=HomeKind.PRODUCTION, at=clock.now())
    before = (first.identity(), first.key("links"))

    second = make_home(tmp_path / "home", kind=HomeKind.DEMO, at=clock.now())

    assert (second.identity(), second.key("links")) == before
    assert second.identity().kind is HomeKind.PRODUCTION


def test_the_keys_of_a_home_differ_and_are_closed_to_others(home: Home):
    keys = {home.key(purpose) for purpose in ("links", "addresses", "variants")}

    assert len(keys) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.keys.iterdir())


def test_a_folder_that_is_no_home_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(HomeInvalid, match="lettermill init"):
        Home(tmp_path).identity()


def test_an_error_comes_whole_out_of_another_process():
    error = TableMissing("there is no table x", [Problem("line 3", "x")], do="Look")

    again = pickle.loads(pickle.dumps(error))

    assert (str(again), again.problems, again.do) == (str(error), error.problems, error.do)


def test_secrets_with_names_of_their_own_are_no_unknown_settings(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    environ = {
        "LETTERMILL_DKIM_SHOP_EXAMPLE__S1": "a key",
        "LETTERMILL_RELAY_PASSWORD_BACKUP_FILE": str(secret),
    }

    assert Settings.load(environ) == Settings.load({})
    assert named_secrets("LETTERMILL_DKIM_", environ) == {
        "LETTERMILL_DKIM_SHOP_EXAMPLE__S1": "a key"
    }
    assert named_secrets("LETTERMILL_RELAY_PASSWORD_", environ) == {
        "LETTERMILL_RELAY_PASSWORD_BACKUP": "sesame"
    }


def test_a_named_secret_whose_file_is_gone_is_told_by_its_variable(tmp_path: Path) -> None:
    environ = {"LETTERMILL_DKIM_SHOP_EXAMPLE__S1_FILE": str(tmp_path / "gone")}

    with pytest.raises(SettingInvalid, match="LETTERMILL_DKIM_SHOP_EXAMPLE__S1_FILE"):
        named_secrets("LETTERMILL_DKIM_", environ)
