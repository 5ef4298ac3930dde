"""The commands of docs/one_lifespan.md in a shell: what they print, and that a crash sends nothing twice."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.page_programs import commands, running, shell
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "one_lifespan.md"


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_show_a_notice_an_answer_and_a_crash(
    tmp_path: Path, hold_port: Callable[[], int]
) -> None:
    """A notice reaches by SMS, a customer is answered, and callbacks tell what a killed process has sent."""
    ours, service = hold_port(), hold_port()

    def told(order: int) -> str:
        notice = f"http://127.0.0.1:{ours}/orders/{order}/notice"
        return f"until curl -s {notice} | grep reached; do sleep 0.1; done"

    def accepted(number: int) -> str:
        state = f"http://127.0.0.1:{service}/control/state"
        return f"until curl -s {state} | grep -o '\"accepted\":{number},'; do sleep 0.1; done"

    simulate, serve, look, crash = commands(
        PAGE,
        "shop.py",
        tmp_path,
        {
            "--speed 60 ": f"--port {service} --speed 600 ",
            "--port 8080": f"--port {ours}",
            ":8080": f":{ours}",
            ":8701": f":{service}",
            "sleep 12": f"({told(17)}) > reached",
        },
    )

    with running(simulate, tmp_path, "# callbacks go to"):
        with running(serve, tmp_path, "Uvicorn running") as printed:
            shown = shell(look, tmp_path)
            shell(accepted(2), tmp_path)  # the answer to the customer
            with running(crash, tmp_path, '"id"'):
                shell(accepted(3), tmp_path)
                (server,) = re.findall(r"Started server process \[(\d+)\]", printed)
                os.kill(int(server), signal.SIGKILL)
        with running(serve, tmp_path, "Uvicorn running"):
            repeated = shell(crash.splitlines()[-1], tmp_path)
            state = shell(told(18), tmp_path)
        number = shell(accepted(3), tmp_path)

    assert re.match(r'\{"dispatch":"[0-9a-f-]{36}"}\{"state":"reached on sms"}', shown), shown
    assert repeated == '{"detail":"the customer was told, or perhaps: GET tells"}'
    assert (state, number) == ('{"state":"reached on whatsapp"}\n', '"accepted":3,\n')
