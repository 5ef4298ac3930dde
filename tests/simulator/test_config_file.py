"""The configuration file: people, faults and switches in one TOML file."""

from decimal import Decimal
from pathlib import Path

import pytest

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Fault, Simulator

RULES = """
[default]
read_after = 30

[[people]]
address = "4477*"
profile = "typical"
read_chance = 1

[[fault]]
kind = "error"
route = "POST /dispatch"
status = 502
form = "html"
count = 3

[[fault]]
kind = "late"
seconds = 120

[settings]
care_window = true
workflow_fee = "0.005"
prices = { sms = "0.07" }
"""


def test_a_configuration_file_sets_people_faults_and_switches(tmp_path: Path) -> None:
    path = tmp_path / "simulator.toml"
    path.write_text(RULES)

    sim = Simulator(config=path)

    assert sim.people.find("31612345678", "sms").read_after == 30
    assert sim.people.find("447700900123", "sms").stop_chance == 0.01
    assert [armed.fault for armed in sim.faults] == [
        Fault(kind="error", route="POST /dispatch", status=502, form="html", count=3),
        Fault(kind="late", seconds=120),
    ]
    assert sim.settings.care_window
    assert sim.settings.workflow_fee == Decimal("0.005")
    assert sim.settings.prices == {"sms": Decimal("0.07")}
    assert sim.settings.quota_limit == 1_000_000


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("x = ", "not TOML"),
        ("[persons]", "an unknown table 'persons'; known: default, people, fault, settings"),
        ("fault = 3", "[[fault]], one table"),
        ("fault = [3]", "[[fault]] number 1"),
        ("[[fault]]\nkind = 'late'\n[[fault]]\nkind = 'fire'", "[[fault]] number 2"),
        ("settings = 3", "[settings] must be a table"),
        ("[settings]\ncare = true", "[settings] has an unknown switch 'care'"),
        ("[settings]\ntoken_fault = 418", "[settings]"),
        ("[[people]]\naddress = '1'\nprofile = 'grumpy'", "profile must be one of typical, reluctant"),
    ],
)
def test_what_is_not_in_the_tables_is_refused_by_name(tmp_path: Path, rules: str, message: str) -> None:
    path = tmp_path / "simulator.toml"
    path.write_text(rules)

    with pytest.raises(ConfigurationError) as caught:
        Simulator(config=path)

    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Simulator(config=tmp_path / "missing.toml")
