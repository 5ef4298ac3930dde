"""Settings are refused where they are given: which setting, which rule, what was given."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nexmo_dispatch_core.checks import Checks


class RefusedError(Exception):
    """Stands for the error of a package."""


CHECKS = Checks(RefusedError)
SECRET = "a-secret-in-the-wrong-place"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: CHECKS.count("limit", 0), "limit must be a whole number, at least 1, not 0"),
        (lambda: CHECKS.count("limit", 9, most=8), "limit must be a whole number, from 1 to 8, not 9"),
        (
            lambda: CHECKS.count("limit", 10**5000, most=8),
            "limit must be a whole number, from 1 to 8, not a number of 16610 bits",
        ),
        (
            lambda: CHECKS.number("rate", -(10**5000)),
            "rate must be a number, at least 0, not a number of 16610 bits",
        ),
        (lambda: CHECKS.count("limit", True), "limit must be a whole number, at least 1, not True"),
        (lambda: CHECKS.count("limit", 1.5, least=0), "limit must be a whole number, at least 0, not 1.5"),
        (lambda: CHECKS.count("limit", SECRET), "limit must be a whole number, at least 1, not str"),
        (lambda: CHECKS.seconds("wait", -1), "wait must be a number of seconds, at least 0, not -1"),
        (lambda: CHECKS.seconds("wait", math.nan), "wait must be a number of seconds, at least 0, not nan"),
        (
            lambda: CHECKS.seconds("wait", 0, zero=False, none=True),
            "wait must be a number of seconds, above 0, or None, not 0",
        ),
        (lambda: CHECKS.seconds("wait", None), "wait must be a number of seconds, at least 0, not None"),
        (lambda: CHECKS.seconds("wait", True), "wait must be a number of seconds, at least 0, not True"),
        (
            lambda: CHECKS.seconds("wait", 0.5, least=1),
            "wait must be a number of seconds, at least 1, not 0.5",
        ),
        (lambda: CHECKS.seconds("wait", 0, zero=False), "wait must be a number of seconds, above 0, not 0"),
        (
            lambda: CHECKS.seconds("lease", math.inf, zero=False, most=60),
            "lease must be a number of seconds, above 0 and at most 60, not inf",
        ),
        (
            lambda: CHECKS.seconds("wait", 61, most=60, none=True),
            "wait must be a number of seconds, at least 0 and at most 60, or None, not 61",
        ),
        (lambda: CHECKS.number("share", -0.1), "share must be a number, at least 0, not -0.1"),
        (lambda: CHECKS.number("share", True), "share must be a number, at least 0, not True"),
        (lambda: CHECKS.number("share", SECRET), "share must be a number, at least 0, not str"),
        (lambda: CHECKS.function("clock", None), "clock must be a function, not None"),
        (
            lambda: CHECKS.count("begin", SECRET, least=0, most=9, advice="write 9"),
            "begin must be a whole number, from 0 to 9, not str: write 9",
        ),
        (
            lambda: CHECKS.seconds("wait", timedelta(hours=1)),
            "wait must be a number of seconds, at least 0, not timedelta: write its total_seconds()",
        ),
        *(
            (
                lambda value=value: CHECKS.share("share", value),
                f"share must be a number above 0 and at most 1, not {shown}: write 0.05 for 5 %",
            )
            for value, shown in (
                (0, "0"),
                (1.01, "1.01"),
                (math.nan, "nan"),
                (True, "True"),
                ("5%", "str"),
                (None, "None"),
            )
        ),
        (
            lambda: CHECKS.share("share", 5, none=True),
            "share must be a number above 0 and at most 1, or None, not 5: write 0.05 for 5 %",
        ),
        *(
            (
                lambda value=value: CHECKS.epoch("before", value),
                (
                    "before must be epoch seconds, a finite number below the year 10000, "
                    f"not {shown}: write datetime.timestamp()"
                ),
            )
            for value, shown in (
                (datetime(2020, 1, 1, tzinfo=UTC), "datetime"),
                (datetime(2020, 1, 1, tzinfo=UTC).date(), "date"),
                ("1.0", "str"),
                (b"", "bytes"),
                (math.nan, "nan"),
                (math.inf, "inf"),
                (-math.inf, "-inf"),
                (True, "True"),
                (None, "None"),
                (1_764_000_000_000, "1764000000000"),
                (253_402_300_800, "253402300800"),
                (-253_402_300_800, "-253402300800"),
                (10**400, "a number of 1329 bits"),
            )
        ),
        (lambda: CHECKS.number("share", 1.5, most=1), "share must be a number, from 0 to 1, not 1.5"),
        (lambda: CHECKS.number("base", 0.5, least=1), "base must be a number, at least 1, not 0.5"),
        (lambda: CHECKS.function("clock", 5), "clock must be a function, not 5"),
        (lambda: CHECKS.function("clock", SECRET), "clock must be a function, not str"),
        (lambda: CHECKS.instance("path", 5, str), "path must be of type str, not int"),
        (
            lambda: CHECKS.instance("policy", Checks, Checks, advice="make one"),
            "policy must be of type Checks, not Checks itself: make one",
        ),
        (
            lambda: CHECKS.choice("mode", SECRET, ("FULL", "NORMAL")),
            "mode must be FULL or NORMAL, not str",
        ),
        (
            lambda: CHECKS.texts(by="me", reason="a\udcff"),
            "reason holds half a surrogate pair, which is no character: repair the text",
        ),
        (
            lambda: CHECKS.texts(by="\0", reason="a\udcff"),
            "by holds a NUL character, which not every store takes: leave it out",
        ),
        (lambda: CHECKS.texts(number=31612345678), "number must be text, not int"),
        (
            lambda: CHECKS.path("path", "a\0.db"),
            "path holds a NUL character, which not every store takes: leave it out",
        ),
        (lambda: CHECKS.path("path", 5), "path must be the path of a file, not int"),
    ],
)
def test_a_wrong_setting_is_named_with_its_rule(check: Callable[[], None], message: str) -> None:
    """A number is shown; of anything else only the type is, since it may be a secret."""
    with pytest.raises(RefusedError, match=f"^{re.escape(message)}$"):
        check()


def test_right_settings_pass() -> None:
    """The limits themselves are allowed."""
    CHECKS.count("limit", 1)
    CHECKS.count("limit", 0, least=0)
    CHECKS.seconds("wait", 0)
    CHECKS.seconds("wait", math.inf)
    CHECKS.seconds("wait", None, none=True)
    CHECKS.seconds("wait", 0.5, zero=False, none=True)
    CHECKS.seconds("wait", 1, least=1)
    CHECKS.seconds("wait", 60, most=60)
    CHECKS.epoch("before", 0)
    CHECKS.epoch("before", -253_402_300_799)
    CHECKS.epoch("before", 253_402_300_799.9)
    CHECKS.share("share", 1)
    CHECKS.share("share", 0.001, none=True)
    CHECKS.share("share", None, none=True)
    CHECKS.number("base", 0)
    CHECKS.number("base", 1, least=1)
    CHECKS.number("base", math.inf)
    CHECKS.number("share", 1, most=1)
    CHECKS.function("clock", len)
    CHECKS.instance("path", "a", str)
    CHECKS.choice("mode", "FULL", ("FULL", "NORMAL"))
    CHECKS.texts(reason="", by="\U0001f600 \x01")
    CHECKS.path("path", "a.db")
    CHECKS.path("path", Path("bytes-of-no-encoding-\udcff.db"))
