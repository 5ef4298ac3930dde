"""The command `nexmo-dispatch`; nothing here is imported by the library."""

import logging
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; exit with a hint if the `cli` extra is not installed."""
    try:
        from nexmo_dispatch_async.cli.app import app
        from nexmo_dispatch_async.cli.screen import ScreenHandler, leave_broken_pipe, report
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit(f"nexmo-dispatch needs {error.name}: pip install 'nexmo-dispatch-async[cli]'")
    logging.getLogger().addHandler(ScreenHandler())
    logging.getLogger("nexmo_dispatch_async").propagate = False  # the commands report it themselves, once
    try:
        app(prog_name="nexmo-dispatch")
    except BrokenPipeError:  # the reader of the output has gone, as `head` does
        leave_broken_pipe()
    except Exception as error:  # noqa: BLE001 - typer would print it unescaped
        report(error)
        sys.exit(1)
