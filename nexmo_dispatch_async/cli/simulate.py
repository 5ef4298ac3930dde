"""`nexmo-dispatch simulate`: run the simulated service and say how to reach it."""

import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
from rich.console import Console

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Application, Record, Simulator
from nexmo_dispatch_async.simulator.records import as_line

#: Where `nexmo-dispatch listen` waits.
_LISTENER = "http://127.0.0.1:8702/webhooks"
_SEED_BITS = 63
_OPEN = (
    "others may reach this address: whoever does can drive the simulator without credentials, read what it "
    "is sent, and let it post to any address that this machine reaches"
)


async def run(
    host: str,
    port: int,
    seed: int | None,
    speed: float,
    rules: Path | None,
    state: Path | None,
    record: Path | None,
    callback_url: str | None,
    allowed_hosts: tuple[str, ...],
) -> int:
    """Serve until cancelled; return 1 if it cannot start."""
    # Ids are never those of an earlier run, which a receiver would take for repetitions.
    drawn = secrets.randbits(_SEED_BITS) if seed is None else seed
    out = Console(highlight=False, soft_wrap=True)
    err = Console(highlight=False, soft_wrap=True, stderr=True)
    try:
        with _recorder(record) as observer:
            simulator = Simulator(
                seed=drawn,
                speed=speed,
                rules=rules,
                state=state,
                host=host,
                port=port,
                allowed_hosts=allowed_hosts,
                observer=observer,
                # receivers are other processes, which know nothing of virtual time
                signing_clock=time.time,
            )
            await _serve(simulator, out, err, drawn, callback_url)
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


async def _serve(
    simulator: Simulator, out: Console, err: Console, seed: int, callback_url: str | None
) -> None:
    application = next(reversed(simulator.applications), None)
    if application is None:
        url = callback_url or _LISTENER
        application = simulator.create_application(status_url=url, inbound_url=url)
    elif callback_url is not None:
        application.urls.update(status=callback_url, inbound=callback_url)
    async with simulator as sim:
        if sim.open_to_others:
            err.print(f"warning: {_OPEN}", markup=False)
        # Invented credentials of this process, printed in the form that a shell takes.
        out.print(f"export NEXMO_DISPATCH_BASE_URL={sim.base_url}", markup=False)
        out.print(f"export NEXMO_DISPATCH_TOKEN_URL={sim.token_url}", markup=False)
        out.print(f"export NEXMO_DISPATCH_CLIENT_ID={sim.client_id}", markup=False)
        out.print(f"export NEXMO_DISPATCH_CLIENT_SECRET={sim.client_secret}", markup=False)
        out.print(
            f"export NEXMO_DISPATCH_SIGNATURE_SECRETS={sim.api_key}={sim.signature_secret}", markup=False
        )
        out.print(f"export NEXMO_DISPATCH_APPLICATION_ID={application.id}", markup=False)
        out.print(f"# page: {sim.url}/", markup=False)
        out.print(f"# seed: {seed}; --seed {seed} repeats ids and delays", markup=False)
        out.print(f"# {sim.speed:g} simulated seconds a second; Ctrl-C ends", markup=False)
        out.print(f"# callbacks go to {_where(application)}", markup=False)
        await anyio.sleep_forever()


def _where(application: Application) -> str:
    urls = sorted({application.status_url, application.inbound_url} - {""})
    if urls == [_LISTENER]:
        return f"{_LISTENER}, where `nexmo-dispatch listen` waits for them"
    return " and ".join(urls) or "nowhere: the application has no URLs"
