"""Signature secrets from the environment."""

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, Receiver, Router, secrets_from_env

NAME = "NEXMO_DISPATCH_SIGNATURE_SECRETS"


def test_secrets_are_grouped_by_their_account() -> None:
    """Two secrets of one account are valid side by side, and an `=` may be part of a secret."""
    secrets = secrets_from_env(environ={NAME: " a1b2c3d4=new=secret\te5f6a7b8=other\n a1b2c3d4=old "})

    assert secrets == {"a1b2c3d4": ["new=secret", "old"], "e5f6a7b8": ["other"]}
    Receiver(Router(), secrets=secrets)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the variable of the command is read; another name may be given."""
    monkeypatch.setenv(NAME, "a1b2c3d4=one")
    monkeypatch.setenv("HOOK_SECRETS", "a1b2c3d4=two")

    assert secrets_from_env() == {"a1b2c3d4": ["one"]}
    assert secrets_from_env("HOOK_SECRETS") == {"a1b2c3d4": ["two"]}


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named(value: str | None) -> None:
    """A receiver never starts without a secret because a variable was forgotten."""
    with pytest.raises(ConfigurationError, match=f"{NAME} is not set: write API_KEY=SECRET"):
        secrets_from_env(environ={} if value is None else {NAME: value})


@pytest.mark.parametrize("entry", ["no-equals-sign", "=secret-alone", "a1b2c3d4="])
def test_a_malformed_entry_is_named_by_its_place(entry: str) -> None:
    """The message says which entry, and quotes nothing: it may hold a secret."""
    with pytest.raises(
        ConfigurationError, match=f"entry 2 of {NAME} does not read API_KEY=SECRET"
    ) as refused:
        secrets_from_env(environ={NAME: f"a1b2c3d4=one {entry}"})

    assert entry not in str(refused.value)
