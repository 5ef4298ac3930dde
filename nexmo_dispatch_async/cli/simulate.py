"""`nexmo-dispatch simulate`: run the simulated service and say how to reach it."""

from pathlib import Path

import anyio
from rich.console import Console

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator


async def run(host: str, port: int, seed: int, speed: float, rules: Path | None) -> int:
    """Serve until cancelled; return 1 if it cannot start."""
    out = Console(highlight=False, soft_wrap=True)
    err = Console(highlight=False, soft_wrap=True, stderr=True)
    try:
        simulator = Simulator(seed=seed, speed=speed, rules=rules, host=host, port=port)
        async with simulator as sim:
            # Invented credentials of this process, printed in the form that a shell takes.
            out.print(f"export NEXMO_DISPATCH_BASE_URL={sim.base_url}", markup=False)
            out.print(f"export NEXMO_DISPATCH_TOKEN_URL={sim.token_url}", markup=False)
            out.print(f"export NEXMO_DISPATCH_CLIENT_ID={sim.client_id}", markup=False)
            out.print(f"export NEXMO_DISPATCH_CLIENT_SECRET={sim.client_secret}", markup=False)
            out.print(
                f"export NEXMO_DISPATCH_SIGNATURE_SECRETS={sim.api_key}={sim.signature_secret}", markup=False
            )
            application = sim.create_application(
                status_url="http://127.0.0.1:8702/webhooks/status",
                inbound_url="http://127.0.0.1:8702/webhooks/inbound",
            )
            out.print(f"export NEXMO_DISPATCH_APPLICATION_ID={application.id}", markup=False)
            out.print(
                f"# {speed:g} simulated seconds a second; callbacks go to port 8702, where", markup=False
            )
            out.print("# `nexmo-dispatch listen` waits for them; Ctrl-C ends", markup=False)
            await anyio.sleep_forever()
    except ConfigurationError as error:
        err.print(f"cannot start: {error}", markup=False)
    except OSError as error:
        err.print(f"cannot listen on {host} port {port}: {error.strerror}", markup=False)
    return 1
