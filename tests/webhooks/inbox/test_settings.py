"""The settings of an inbox: one frozen struct for each layer, whose fields are the keyword arguments."""

from pathlib import Path

import msgspec
import pytest

from nexmo_dispatch_webhooks import ConfigurationError
from nexmo_dispatch_webhooks.inbox import MemoryInbox, SqliteInbox
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions, InboxSettings
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteInboxOptions, SqliteOptions, SqliteSettings


@pytest.mark.parametrize(
    ("options", "structs"),
    [
        (InboxOptions, [InboxSettings]),
        (SqliteOptions, [SqliteSettings]),
        (SqliteInboxOptions, [InboxSettings, SqliteSettings]),
    ],
)
def test_the_keyword_arguments_are_the_fields(
    options: type[object], structs: list[type[msgspec.Struct]]
) -> None:
    """A field that is added to a struct alone would be no keyword argument for type checkers."""
    fields = {name: kind for struct in structs for name, kind in struct.__annotations__.items()}

    assert set(options.__annotations__) == set(fields)
    assert all(options.__annotations__[name].__forward_arg__ == kind for name, kind in fields.items())


def test_settings_reach_their_layer(tmp_path: Path) -> None:
    """`SqliteInbox` takes the settings of both layers; each layer has its own struct."""
    inbox = SqliteInbox(tmp_path / "inbox.db", concurrency=3, busy_timeout=0.5)

    assert inbox.settings.concurrency == 3
    assert isinstance(inbox.settings, InboxSettings)
    with pytest.raises(AttributeError, match="immutable"):
        inbox.settings.concurrency = 4  # type: ignore[misc]  # the point of the test


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    """As every function refuses an unknown keyword argument."""
    with pytest.raises(TypeError, match="concurency"):
        SqliteInbox(tmp_path / "inbox.db", concurency=3)  # type: ignore[call-arg]  # the point of the test
    with pytest.raises(TypeError, match="busy_timeout"):
        MemoryInbox(busy_timeout=3)  # type: ignore[call-arg]  # the point of the test


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"busy_timeout": -1},
            "busy_timeout must be a number of seconds, at least 0 and at most 86400, not -1",
        ),
        ({"synchronous": "OFF"}, "synchronous must be FULL or NORMAL, not str"),
        ({"schema": b"CREATE"}, "schema must be text, not bytes"),
        ({"max_bytes": 1e9}, "max_bytes must be a whole number, at least 262144, not 1000000000.0"),
    ],
)
def test_a_wrong_setting_of_the_file_is_refused(setting: dict[str, object], message: str) -> None:
    """Where it is given, and not at the first event."""
    with pytest.raises(ConfigurationError, match=message):
        SqliteInbox("inbox.db", **setting)  # type: ignore[arg-type]  # the point of the test
