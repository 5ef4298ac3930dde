"""`python -m nexmo_dispatch_async.cli` is `nexmo-dispatch`."""

from nexmo_dispatch_async.cli import main

main()
