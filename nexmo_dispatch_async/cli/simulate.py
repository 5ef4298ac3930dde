"""`nexmo-dispatch simulate`: run the simulated service and say how to reach it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
from rich.console import Console

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Record, Simulator
from nexmo_dispatch_async.simulator.records import as_line


async def run(
    host: str,
    port: int,
    seed: int,
    speed: float,
    rules: Path | None,
    state: Path | None,
    record: Path | None,
) -> int:
    """Serve until cancelled; return 1 if it cannot start."""
    out = Console(highlight=False, soft_wrap=True)
    err = Console(highlight=False, soft_wrap=True, stderr=True)
    try:
        with _recorder(record) as observer:
            simulator = Simulator(
                seed=seed, speed=speed, rules=rules, state=state, host=host, port=port, observer=observer
            )
            await _serve(simulator, out)
    except ConfigurationError as error:
        err.print(f"cannot start: {error}", markup=False)
    except OSError as error:
        err.print(f"cannot listen on {host} port {port}: {error.strerror}", markup=False)
    return 1


@contextmanager
def _recorder(path: Path | None) -> Generator[Callable[[Record], None] | None]:
    """Open the file of --record; each line is written at once, so that a killed process loses none."""
    if path is None:
        yield None
        return
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise ConfigurationError(f"cannot record to {path}: {error.strerror}") from error

    def keep(record: Record) -> None:
        file.write(as_line(record))

    with file:
        yield keep


async def _serve(simulator: Simulator, out: Console) -> None:
    async with simulator as sim:
        # Invented credentials of this process, printed in the form that a shell takes.
        out.print(f"export NEXMO_DISPATCH_BASE_URL={sim.base_url}", markup=False)
        out.print(f"export NEXMO_DISPATCH_TOKEN_URL={sim.token_url}", markup=False)
        out.print(f"export NEXMO_DISPATCH_CLIENT_ID={sim.client_id}", markup=False)
        out.print(f"export NEXMO_DISPATCH_CLIENT_SECRET={sim.client_secret}", markup=False)
        out.print(
            f"export NEXMO_DISPATCH_SIGNATURE_SECRETS={sim.api_key}={sim.signature_secret}", markup=False
        )
        application = next(reversed(sim.applications), None) or sim.create_application(
            status_url="http://127.0.0.1:8702/webhooks/status",
            inbound_url="http://127.0.0.1:8702/webhooks/inbound",
        )
        out.print(f"export NEXMO_DISPATCH_APPLICATION_ID={application.id}", markup=False)
        out.print(
            f"# {sim.speed:g} simulated seconds a second; callbacks go to port 8702, where", markup=False
        )
        out.print("# `nexmo-dispatch listen` waits for them; Ctrl-C ends", markup=False)
        await anyio.sleep_forever()
