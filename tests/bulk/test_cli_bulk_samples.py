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


def test_samples_show_templates_in_words_and_the_row_without_a_name(tmp_path: Path) -> None:
    """A template is its name and its parameters; what stands in the place of an empty cell is seen too."""
    lines = ["phone;name;city", "+999000000001;Ann;Breda", "+999000000002;;Gouda", "+999000000003;;Delft"]
    (tmp_path / "customers.csv").write_text("\n".join(lines), "utf-8")
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")

    out = run("plan", file, "--samples")[1]

    assert out.splitlines()[:7] == [
        "line 2: whatsapp",
        "  whatsapp: template ns:spring with Ann, Breda",
        "  sms: Hello Ann",
        "line 3: whatsapp",
        "  whatsapp: template ns:spring with customer, Gouda",
        "  sms: Hello there",
        "3 rows, 3 to send, 0 rejected, 0 held out",
    ]
