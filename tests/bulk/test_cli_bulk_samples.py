"""`bulk plan --samples`: the messages of a campaign as those who approve them read them."""

from __future__ import annotations

from pathlib import Path

from tests.bulk.service import run

CAMPAIGN = """
[campaign]
name = "spring"
ledger = "spring.db"
[rows]
file = "customers.csv"
[template]
[[template.message]]
channel = "whatsapp"
from = "447418342140"
to = "{phone}"
template = "ns:spring"
parameters = ["{name|customer}", "{city}"]
locale = "nl"
until = "read"
within = "10m"
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{phone}"
text = "Hello {name|there}"
"""


def samples(tmp_path: Path, *people: str) -> list[str]:
    """Return what `plan --samples` prints of a list of these lines."""
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;city", *people]), "utf-8")
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")
    return run("plan", file, "--samples")[1].splitlines()


def test_samples_show_templates_in_words_and_the_row_without_a_name(tmp_path: Path) -> None:
    """A template is its name and its parameters; what stands in the place of an empty cell is seen too."""
    out = samples(tmp_path, "+999000000001;Ann;Breda", "+999000000002;;Gouda", "+999000000003;;Delft")

    assert out[:7] == [
        "line 2: whatsapp",
        "  whatsapp: template ns:spring with Ann, Breda",
        "  sms: Hello Ann",
        "line 3: whatsapp",
        "  whatsapp: template ns:spring with customer, Gouda",
        "  sms: Hello there",
        "3 rows, 3 to send, 0 rejected, 0 held out",
    ]


def test_samples_show_a_row_with_all_fields_however_late_it_comes(tmp_path: Path) -> None:
    """A list whose first row has no name shows both texts: the one with a name, and the one without."""
    out = samples(tmp_path, "+999000000001;;Breda", "+999000000002;Ann;Gouda", "+999000000003;Bea;Delft")

    assert out[:7] == [
        "line 2: whatsapp",
        "  whatsapp: template ns:spring with customer, Breda",
        "  sms: Hello there",
        "line 3: whatsapp",
        "  whatsapp: template ns:spring with Ann, Gouda",
        "  sms: Hello Ann",
        "3 rows, 3 to send, 0 rejected, 0 held out",
    ]


def test_a_kind_without_a_full_row_is_shown_by_its_fullest(tmp_path: Path) -> None:
    """No row is needed that has every field: of equally full rows the first is shown."""
    out = samples(tmp_path, "+999000000001;;Breda", "+999000000002;;Gouda")

    assert [line for line in out if line.startswith("line")] == ["line 2: whatsapp"]
