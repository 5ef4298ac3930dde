"""`nexmo-dispatch simulate`: run the simulated service and print its settings."""

import os
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import anyio.to_thread

from nexmo_dispatch_async.cli.ending import Ending
from nexmo_dispatch_async.cli.options import cannot_listen
from nexmo_dispatch_async.cli.screen import Screen, show, show_json
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Record, SimulatedApplication, Simulator
from nexmo_dispatch_async.simulator.world.history import as_line
from nexmo_dispatch_core.private_files import open_for_writing

#: Default URL of `nexmo-dispatch listen`.
_LISTENER = "http://127.0.0.1:8702/webhooks"
_SEED_BITS = 63
_VARIABLES = ("BASE_URL", "TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "SIGNATURE_SECRETS", "APPLICATION_ID")
#: For `simulate > env.sh`: after an empty file a shell would go on, perhaps with the settings of an account.
_NOT_STARTED = (
    f"unset {' '.join(f'NEXMO_DISPATCH_{name}' for name in _VARIABLES)}",
    "echo 'these are no settings: nexmo-dispatch simulate did not start' >&2",
    "false",
)
_OPEN = (
    "others may reach this address: any client that does can drive the simulator without credentials, read "
    "its workflows, and make it post to any address that this machine can reach"
)


async def run(
    host: str,
    port: int,
    seed: int | None,
    speed: float,
    config: Path | None,
    state: Path | None,
    record: Path | None,
    env: Path | None,
    callback_url: str | None,
    allowed_hosts: tuple[str, ...],
    json: bool = False,
) -> int:
    """Serve until a signal; return exit code 0, or 1 if the simulator cannot start."""
    # A new seed by default: receivers would take the ids of an earlier run for repetitions.
    actual_seed = secrets.randbits(_SEED_BITS) if seed is None else seed
    try:
        with _recorder(record) as observer:
            simulator = Simulator(
                seed=actual_seed,
                speed=speed,
                config=config,
                state=state,
                host=host,
                port=port,
                allowed_hosts=allowed_hosts,
                observer=observer,
                # receivers in other processes check the age of signatures by real time
                signing_clock=time.time,
            )
            await _serve(simulator, actual_seed, callback_url, env, json=json)
            return 0
    except ConfigurationError as error:
        show(f"cannot start: {error}", error=True)
    except OSError as error:
        show(cannot_listen(host, port, error), error=True)
    if env is None and not json and not Screen().is_terminal:
        for line in _NOT_STARTED:
            show(line)
    return 1


@contextmanager
def _recorder(path: Path | None) -> Generator[Callable[[Record], None] | None]:
    """Open the file of --record for its owner only; each line is unbuffered, so that a kill loses none."""
    if path is None:
        yield None
        return
    try:
        file = os.fdopen(open_for_writing(path), "wb", buffering=0)
    except OSError as error:
        raise ConfigurationError(f"cannot record to {path}: {error.strerror}") from error

    def keep(record: Record) -> None:
        file.write(as_line(record))

    with file:
        yield keep


async def _serve(
    simulator: Simulator, seed: int, callback_url: str | None, env: Path | None, *, json: bool
) -> None:
    application = next(reversed(simulator.applications), None)
    if application is None:
        url = callback_url or _LISTENER
        application = simulator.create_application(status_url=url, inbound_url=url)
    elif callback_url is not None:
        application.urls.update(status=callback_url, inbound=callback_url)
    async with AsyncExitStack() as stack:
        ending = stack.enter_context(Ending())
        sim = await stack.enter_async_context(simulator)
        if sim.open_to_others:
            show(f"warning: {_OPEN}", error=True)
        environment = _environment(sim, application)
        exports = [f"export {name}={value}" for name, value in environment.items()]
        # Only now: a start that failed leaves the file of the simulator that has the port.
        if env is not None:
            await anyio.to_thread.run_sync(_write, env, "".join(f"{line}\n" for line in exports))
        if json:
            show_json({"page": f"{sim.url}/", "seed": seed, "environment": environment})
        else:
            _print(exports if env is None else [f"# settings: {env}"], sim, application, seed)
        if not Screen().is_terminal:
            show(f"the simulator is ready: {sim.url}/", error=True)
        await ending.wait()


def _write(path: Path, text: str) -> None:
    """Write a file for its owner only."""
    try:
        with os.fdopen(open_for_writing(path), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(f"cannot write the settings to {path}: {error.strerror}") from error


def _environment(sim: Simulator, application: SimulatedApplication) -> dict[str, str]:
    """Return the simulated credentials as the variables of a client and a receiver."""
    values = (
        sim.base_url,
        sim.token_url,
        sim.client_id,
        sim.client_secret,
        f"{sim.api_key}={sim.signature_secret}",
        application.id,
    )
    return {f"NEXMO_DISPATCH_{name}": value for name, value in zip(_VARIABLES, values, strict=True)}


def _print(settings: list[str], sim: Simulator, application: SimulatedApplication, seed: int) -> None:
    for line in settings:
        show(line)
    show(f"# page: {sim.url}/")
    show(f"# seed: {seed}; --seed {seed} repeats ids and delays")
    show(f"# {sim.speed:g} simulated seconds per second; Ctrl-C ends")
    show(f"# callbacks go to {_where(application)}")


def _where(application: SimulatedApplication) -> str:
    urls = sorted({application.status_url, application.inbound_url} - {""})
    if urls == [_LISTENER]:
        return f"{_LISTENER}, the default URL of `nexmo-dispatch listen`"
    return " and ".join(urls) or "nowhere: the application has no URLs"
