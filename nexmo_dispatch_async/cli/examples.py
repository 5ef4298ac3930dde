"""The examples in the help of each command, by its path.

Each is one line that a shell takes as it stands, and that the command parses: a test tries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["EXAMPLES"]

_ID = "6a1f0f5e-4f2b-4c8e-9d0a-2f6f5f0c1b7d"

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "nexmo-dispatch": (
        "nexmo-dispatch demo",
        "nexmo-dispatch doctor",
        "nexmo-dispatch --install-completion",
    ),
    "nexmo-dispatch demo": ("nexmo-dispatch demo", "nexmo-dispatch demo --speed 120"),
    "nexmo-dispatch simulate": (
        "nexmo-dispatch simulate",
        "nexmo-dispatch simulate --env env.sh",
        "nexmo-dispatch simulate --port 8701 --speed 60 --config people.toml",
        "nexmo-dispatch simulate --callback-url http://127.0.0.1:8080/webhooks",
    ),
    "nexmo-dispatch send": (
        "nexmo-dispatch send workflow.json",
        "nexmo-dispatch send --json - < workflow.json",
    ),
    "nexmo-dispatch lint": (
        "nexmo-dispatch lint workflow.json",
        "nexmo-dispatch lint --on sms-segments --strict workflow.json",
    ),
    "nexmo-dispatch listen": (
        "nexmo-dispatch listen --no-verification",
        "nexmo-dispatch listen --port 8702 --inbox inbox.db",
        "nexmo-dispatch listen --no-verification --json",
    ),
    "nexmo-dispatch replay": (
        "nexmo-dispatch replay callbacks.jsonl --to http://127.0.0.1:8080/webhooks",
        "nexmo-dispatch replay bodies/ --to http://127.0.0.1:8080/webhooks --shuffle",
    ),
    "nexmo-dispatch trigger": (
        "nexmo-dispatch trigger read --channel whatsapp",
        "nexmo-dispatch trigger inbound --text STOP --from 447700900123",
        "nexmo-dispatch trigger rejected --error 1340 --client-ref order-7",
        "nexmo-dispatch trigger completed --to https://hooks.example.com/webhooks",
    ),
    "nexmo-dispatch doctor": (
        "nexmo-dispatch doctor",
        "nexmo-dispatch doctor --only settings --only service",
        "nexmo-dispatch doctor --no-callbacks --json",
    ),
    "nexmo-dispatch migrate": (
        "nexmo-dispatch migrate --store postgresql://app@db.example.com/app",
        "nexmo-dispatch migrate --grant reader",
    ),
    "nexmo-dispatch worker": (
        "nexmo-dispatch worker --store postgresql://app@db.example.com/app",
        "nexmo-dispatch worker --once --json",
    ),
    "nexmo-dispatch apps": ("nexmo-dispatch apps list",),
    "nexmo-dispatch apps list": ("nexmo-dispatch apps list", "nexmo-dispatch apps list --json"),
    "nexmo-dispatch apps create": (
        "nexmo-dispatch apps create orders --url https://hooks.example.com/webhooks",
        "nexmo-dispatch apps create orders --url https://a.example/ --key-file key.pem",
    ),
    "nexmo-dispatch apps show": (f"nexmo-dispatch apps show {_ID}",),
    "nexmo-dispatch apps update": (f"nexmo-dispatch apps update {_ID} --name orders",),
    "nexmo-dispatch apps delete": (f"nexmo-dispatch apps delete {_ID} --yes",),
    "nexmo-dispatch inbox": ("nexmo-dispatch inbox summary inbox.db",),
    "nexmo-dispatch inbox list": (
        "nexmo-dispatch inbox list inbox.db --state quarantined",
        "nexmo-dispatch inbox list postgresql://app@db.example.com/app --json",
    ),
    "nexmo-dispatch inbox show": ("nexmo-dispatch inbox show inbox.db 17",),
    "nexmo-dispatch inbox summary": ("nexmo-dispatch inbox summary inbox.db",),
    "nexmo-dispatch inbox retry": (
        "nexmo-dispatch inbox retry inbox.db 17",
        "nexmo-dispatch inbox retry inbox.db all --handler app.on_read",
    ),
    "nexmo-dispatch inbox purge": ("nexmo-dispatch inbox purge inbox.db all --older-than 24",),
    "nexmo-dispatch bulk": (
        "nexmo-dispatch bulk plan spring.toml",
        "nexmo-dispatch bulk run spring.toml --wait 2h",
    ),
    "nexmo-dispatch bulk plan": ("nexmo-dispatch bulk plan spring.toml --samples",),
    "nexmo-dispatch bulk run": (
        "nexmo-dispatch bulk run spring.toml --test 447700900123",
        "nexmo-dispatch bulk run spring.toml --listen 127.0.0.1:8702 --wait 2h",
    ),
    "nexmo-dispatch bulk listen": ("nexmo-dispatch bulk listen spring.toml --listen 127.0.0.1:8702",),
    "nexmo-dispatch bulk status": ("nexmo-dispatch bulk status spring.toml --json",),
    "nexmo-dispatch bulk pause": ('nexmo-dispatch bulk pause spring.toml --reason "wrong price"',),
    "nexmo-dispatch bulk resume": ("nexmo-dispatch bulk resume spring.toml --rate 5 --limit 8",),
    "nexmo-dispatch bulk stop": ("nexmo-dispatch bulk stop spring.toml",),
    "nexmo-dispatch bulk withdraw": ("nexmo-dispatch bulk withdraw spring.toml --yes",),
    "nexmo-dispatch bulk report": ("nexmo-dispatch bulk report spring.toml --html spring.html",),
    "nexmo-dispatch bulk export": ("nexmo-dispatch bulk export spring.toml --missed --out missed.csv",),
    "nexmo-dispatch bulk forget": ("nexmo-dispatch bulk forget spring.toml --older 30d",),
    "nexmo-dispatch bulk unknown": ("nexmo-dispatch bulk unknown list spring.toml",),
    "nexmo-dispatch bulk unknown list": ("nexmo-dispatch bulk unknown list spring.toml --inbox inbox.db",),
    "nexmo-dispatch bulk unknown resend": ("nexmo-dispatch bulk unknown resend spring.toml 17 19",),
    "nexmo-dispatch bulk unknown drop": ("nexmo-dispatch bulk unknown drop spring.toml all",),
    "nexmo-dispatch bulk refused": ("nexmo-dispatch bulk refused list spring.toml",),
    "nexmo-dispatch bulk refused list": ("nexmo-dispatch bulk refused list spring.toml",),
    "nexmo-dispatch bulk refused resend": (
        "nexmo-dispatch bulk refused resend spring.toml --code 1020 --code 1120",
        "nexmo-dispatch bulk refused resend spring.toml all",
    ),
    "nexmo-dispatch bulk opt-out": ("nexmo-dispatch bulk opt-out list spring.toml",),
    "nexmo-dispatch bulk opt-out list": ("nexmo-dispatch bulk opt-out list spring.toml",),
    "nexmo-dispatch bulk opt-out add": (
        "nexmo-dispatch bulk opt-out add spring.toml 447700900123",
        "nexmo-dispatch bulk opt-out add spring.toml --file numbers.txt",
    ),
    "nexmo-dispatch bulk opt-out remove": ("nexmo-dispatch bulk opt-out remove spring.toml 447700900123",),
}
