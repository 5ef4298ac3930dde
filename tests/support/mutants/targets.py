"""Which tests hold which module: first its mirror, then, for what survives, more of its package."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["TARGETS", "Target"]


class Target(NamedTuple):
    """A module without I/O, its mirror tests, and the wider list for what survives these."""

    module: str
    mirror: tuple[str, ...]
    wider: tuple[str, ...]


_CLIENT = (
    *("tests/test_client.py", "tests/test_client_operations.py", "tests/test_applications.py"),
    *("tests/test_auth.py", "tests/test_exceptions.py", "tests/test_error_classes.py", "tests/test_quota.py"),
    *("tests/test_logging.py", "tests/fan_out", "tests/transport"),
)
_SENT = (
    *("tests/test_workflow.py", "tests/test_channels.py", "tests/test_models.py", "tests/test_extras.py"),
    *("tests/test_usual_fast_path.py", "tests/test_several.py", "tests/test_whatsapp_users.py"),
    *("tests/rules/test_checks.py", "tests/rules/test_switches.py", "tests/rules/test_windows.py"),
    *("tests/simulator/api/test_validation.py", "tests/bulk/test_plan.py", "tests/bulk/templates"),
)
_TRACKING = ("tests/tracking", "tests/test_whatsapp_users.py", "tests/bulk/test_callbacks.py")
_WINDOWS = (
    *("tests/care_window", "tests/rules/test_windows.py", "tests/test_whatsapp_users.py"),
    "tests/phone_numbers",
)
_RECEIVER = ("tests/webhooks",)
_BULK = (
    *("tests/bulk/ledger/test_ledger_machine.py", "tests/bulk/ledger/test_folding.py"),
    *("tests/bulk/sending", "tests/bulk/report", "tests/bulk/templates", "tests/bulk/test_campaign.py"),
    *("tests/bulk/test_callbacks.py", "tests/bulk/test_callbacks_day.py", "tests/bulk/test_plan.py"),
    *(
        "tests/bulk/test_complaints.py",
        "tests/bulk/test_cli_bulk_words.py",
        "tests/bulk/test_campaign_file.py",
    ),
)

# Below one of the two packages: the name of the module, its mirror tests below a folder.
_SDK: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "failover": ("test_failover", ("tests/tracking", "tests/simulator/test_engine.py")),
    "retry": ("test_retry", _CLIENT),
    "sansio": ("test_sansio test_sansio_errors test_auth", _CLIENT),
    "redaction": ("test_redaction", ("tests/test_sansio_errors.py", *_CLIENT)),
    "urls": ("test_urls", _CLIENT),
    "quota": ("test_quota", _CLIENT),
    "transport/decision": ("transport/test_decision", _CLIENT),
    "transport/failures": ("transport/test_failures", _CLIENT),
    "transport/causes": ("transport/test_failures", _CLIENT),
    "transport/proxies": ("transport/test_proxies", _CLIENT),
    "tracking/reducer": ("tracking/test_reducer tracking/test_prices tracking/test_statuses", _TRACKING),
    "tracking/result": ("tracking/test_result tracking/test_prices tracking/test_statuses", _TRACKING),
    "tracking/step_matching": ("tracking/test_step_matching", _TRACKING),
    "rules/addresses": ("rules/test_checks rules/test_limits rules/test_advice", _SENT),
    "rules/checks": (
        "rules/test_checks rules/test_advice rules/test_windows test_extras test_workflow",
        _SENT,
    ),
    "rules/contents": ("rules/test_checks rules/test_limits rules/test_advice rules/test_switches", _SENT),
    "rules/extras": ("test_extras", _SENT),
    "rules/options": ("rules/test_checks rules/test_limits rules/test_advice", _SENT),
    "rules/report": ("rules/test_checks rules/test_limits rules/test_advice", _SENT),
    "rules/settings": ("rules/test_switches rules/test_windows", _SENT),
    "rules/usual_fast_path": ("test_usual_fast_path", _SENT),
    "rules/windows": ("rules/test_windows", _SENT),
    "sms_segments": ("test_sms_segments", ("tests/test_tariff.py", *_SENT)),
    "tariff": ("test_tariff test_several", _SENT),
    "care_window/store": ("care_window/test_window", _WINDOWS),
    "care_window/window": ("care_window/test_window test_clock_jumps", _WINDOWS),
    "bulk/sending/governor": ("bulk/sending/test_governor", _BULK),
    "bulk/sending/meter": ("bulk/sending/test_meter bulk/sending/test_governor", _BULK),
    "bulk/sending/calendar": ("bulk/sending/test_calendar", _BULK),
    "bulk/sending/safety": ("bulk/sending/test_safety", _BULK),
    "bulk/templates/compiled": ("bulk/templates", _BULK),
    "bulk/templates/rendering": ("bulk/templates", _BULK),
    "bulk/templates/placeholders": ("bulk/templates/test_placeholders", _BULK),
    "bulk/ledger/records": ("bulk/ledger/test_records", _BULK),
    "bulk/ledger/tenure": ("bulk/ledger/test_tenure", _BULK),
    "bulk/ledger/transitions": ("bulk/ledger/test_transitions bulk/ledger/test_folding", _BULK),
    "bulk/ledger/folding": ("bulk/ledger/test_folding", _BULK),
    "bulk/ledger/stop_words": ("bulk/ledger/test_stop_words", ("tests/bulk/ledger/test_opt_outs.py",)),
    "bulk/report/counting": ("bulk/report/test_counting bulk/report/test_report", _BULK),
    "bulk/report/figures": ("bulk/report/test_figures bulk/report/test_report", _BULK),
    "bulk/report/report": ("bulk/report/test_report bulk/report/test_page", _BULK),
}
_HOOKS: Final[dict[str, str]] = {
    "signature": "webhooks/test_signature",
    "sansio": "webhooks/test_sansio",
    "routes": "webhooks/test_routing webhooks/test_filters webhooks/test_registration",
    "selection": "webhooks/test_selection webhooks/test_routing webhooks/test_accounts",
    "events/timestamps": "webhooks/test_timestamps webhooks/test_oddities",
    "events/parsing": "webhooks/test_parsing webhooks/test_parsing_v1 webhooks/test_oddities",
    "events/parts": "webhooks/test_parsing webhooks/test_parsing_v1 webhooks/test_oddities",
    "inbox/concurrency_shares": "webhooks/inbox/test_lanes webhooks/inbox/test_concurrency_shares",
    "inbox/lanes": "webhooks/inbox/test_lanes",
    "inbox/retry": "webhooks/inbox/test_retry",
}
_CORE: Final[dict[str, str]] = {
    "backoff": "core/test_backoff",
    "checks": "core/test_checks",
    "lenient": "core/test_lenient",
}


def _tests(names: str) -> tuple[str, ...]:
    return tuple(
        f"tests/{name}.py" if name.partition("test_")[1] else f"tests/{name}" for name in names.split()
    )


TARGETS: Final = (
    *(Target(f"nexmo_dispatch_async/{name}.py", _tests(own), more) for name, (own, more) in _SDK.items()),
    *(
        Target(f"webhooks/nexmo_dispatch_webhooks/{name}.py", _tests(own), _RECEIVER)
        for name, own in _HOOKS.items()
    ),
    *(Target(f"nexmo_dispatch_core/{name}.py", _tests(own), _CLIENT) for name, own in _CORE.items()),
)
