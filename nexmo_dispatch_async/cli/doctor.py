"""`nexmo-dispatch doctor`: looks at everything between the settings and a handled callback, and prints it.

It changes nothing but what handlers do with its test callback. What is looked at stands in `doctor_settings`,
`doctor_service`, `doctor_versions`, `doctor_file`, `postgres_store` and `nats_store`; what it means in
`doctor_verdicts`.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio.to_thread

from nexmo_dispatch_async.bulk.ledger.places import STORES, engine_of
from nexmo_dispatch_async.cli import nats_store, postgres_store
from nexmo_dispatch_async.cli.doctor_file import examine_file
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.doctor_service import examine_callbacks, examine_hosts, read_application
from nexmo_dispatch_async.cli.doctor_settings import Settings, read_settings
from nexmo_dispatch_async.cli.doctor_versions import examine_versions, read_requirements
from nexmo_dispatch_async.cli.screen import Screen, show, show_json
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_core.documentation import read_on
from nexmo_dispatch_core.findings import Finding, bad, skipped

__all__ = ["HEALTHY", "UNHEALTHY", "examine", "run"]

HEALTHY, UNHEALTHY = 0, 1
#: Columns of a line on a wide terminal.
_WIDEST = 100
_MARKS = {"good": "ok", "warning": "warning", "bad": "BAD", "skipped": "skipped"}


async def run(
    options: DoctorOptions,
    environ: Mapping[str, str] | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> int:
    """Examine, print each finding with its cure, and return 1 if something is bad.

    Args:
        options: What to look at, and how to print it.
        environ: The environment; None for that of the process.
        clock: Gives epoch seconds.
    """
    findings = await examine(options, os.environ if environ is None else environ, clock=clock)
    levels = [finding.level for finding in findings]
    wrong, risks, left_out = (levels.count(level) for level in ("bad", "warning", "skipped"))
    if options.json:
        show_json({"bad": wrong, "warnings": risks, "skipped": left_out, "findings": findings})
    else:
        for finding in findings:
            code = f"{finding.code}: " if finding.level in ("bad", "warning") else ""
            _print(f"{_MARKS[finding.level]:<8} ", f"{code}{finding.text}")
            if finding.cure:
                _print(f"{'':<8} ", f"-> {finding.cure}")
        if wrong or risks:
            show(f"each code: {read_on('command')}")
        show(f"{wrong} bad, {risks} with a risk, {levels.count('good')} good, {left_out} skipped")
    return UNHEALTHY if wrong or (options.strict and risks) else HEALTHY


def _print(mark: str, text: str) -> None:
    """Print a line; on a terminal, further lines of it stand below its text."""
    console = Screen()
    width = max(40, min(console.width, _WIDEST)) if console.is_terminal else len(mark) + len(text) + 1
    indent = " " * len(mark)
    show(textwrap.fill(text, width, initial_indent=mark, subsequent_indent=indent), to=console, lines=True)


async def examine(
    options: DoctorOptions, environ: Mapping[str, str], *, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Return the findings of the chosen parts, in the order in which a message travels.

    What cannot be looked at, since something before it is wrong, is a finding too.
    """
    parts = options.parts
    settings, found = read_settings(environ)
    findings: list[Finding] = []
    if Part.SETTINGS in parts:
        findings += found
    elif {Part.SERVICE, Part.CALLBACKS} & parts:
        needed = {"proxy-url"} if settings.has_credentials else {"proxy-url", *_INCOMPLETE}
        findings += [each for each in found if each.code in needed and each.level == "bad"]
    if Part.SERVICE in parts:
        findings += await examine_hosts(settings, clock=clock)
    if {Part.SERVICE, Part.CALLBACKS} & parts:
        findings += await _examine_application(parts, settings, environ, findings, clock)
    if Part.STORE in parts:
        findings += await _store(options.store, clock()) if options.store else [_NO_STORE]
    if Part.VERSIONS in parts:
        findings += examine_versions(read_requirements())
    return findings


async def _examine_application(
    parts: frozenset[Part],
    settings: Settings,
    environ: Mapping[str, str],
    before: list[Finding],
    clock: Callable[[], float],
) -> list[Finding]:
    """Return the findings about credentials, application and callback URLs, with the credentials."""
    application, findings = None, list[Finding]()
    why = ""
    if not settings.has_credentials:
        why = "the settings are not complete"
    elif any(finding.level == "bad" and finding.code in _UNREACHABLE for finding in before):
        why = "the service cannot be reached"
    if why:
        findings.append(skipped("credentials", f"credentials and application were not tried: {why}"))
    else:
        application, found = await read_application(settings, environ)
        findings += found if Part.SERVICE in parts else [each for each in found if each.level == "bad"]
    if Part.CALLBACKS not in parts:
        return findings
    if application is None:
        text = "no test callback was posted: without the application its URLs are not known"
        return [*findings, skipped("webhook", text)]
    return findings + await examine_callbacks(application, settings, clock=clock)


#: As other programs write the path of a file: `sqlite:///inbox.db`.
_SQLITE = "sqlite:///"
_NO_STORE = skipped("store", "no store was looked at: neither --store nor NEXMO_DISPATCH_STORE names one")
#: Settings without which nothing can be tried at the service.
_INCOMPLETE = frozenset({"credentials-missing", "setting"})


#: After one of these the credentials cannot be tried: the same failure would be told twice.
_UNREACHABLE = frozenset(
    {
        *("dns", "connection", "certificate", "tls", "timeout", "http"),
        *("proxy-url", "proxy-refused", "proxy-unreachable"),
    }
)


async def _store(store: str, now: float) -> list[Finding]:
    if "://" not in store or store.startswith(_SQLITE):
        return await anyio.to_thread.run_sync(examine_file, Path(store.removeprefix(_SQLITE)), now)
    try:
        engine = engine_of(store)
        if engine is None:
            raise ConfigurationError(f"--store takes a file, or the URL of a store: {STORES}")
        if engine == "nats":
            return await nats_store.examine_store(store)
        return await postgres_store.examine_store(store)
    except DispatchError as error:
        cure = "start the server, and check host, port, user and password of the URL"
        return [bad("store", str(error), cure)]
