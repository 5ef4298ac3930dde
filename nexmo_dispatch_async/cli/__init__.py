"""The command `nexmo-dispatch`; nothing here is imported by the library."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command, or say what to install when the `cli` extra is missing."""
    try:
        from nexmo_dispatch_async.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.exit(f"nexmo-dispatch needs {error.name}: pip install 'nexmo-dispatch-async[cli]'")
    app(prog_name="nexmo-dispatch")
