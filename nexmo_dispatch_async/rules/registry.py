"""The table of all rules: id, severity, sentence, source.

It does not check anything; `checks` does. docs/rules.md is written from this table, and a test compares them.
"""

from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.models.findings import Severity, rule_url

__all__ = ["RULES", "Group", "Rule", "markdown"]

Group = Literal["structure", "workflow", "addresses", "content", "channel options", "failover", "advice"]


class Rule(Struct, frozen=True):
    """One rule.

    Attributes:
        id: The stable name, used in findings and in switches.
        severity: The severity of a breach by default.
        group: Heading in the documentation.
        sentence: The requirement, in one sentence.
        source: Section of docs/contract.md.
        fixed: Whether the rule cannot be switched off, since a breach makes the request meaningless or
            impossible to encode.
        optional: Whether the rule is off unless `Rules(on=…)` contains it.
    """

    id: str
    severity: Severity
    group: Group
    sentence: str
    source: str
    fixed: bool = False
    optional: bool = False

    @property
    def url(self) -> str:
        """URL of the documentation."""
        return rule_url(self.id)


def _error(group: Group, name: str, source: str, sentence: str) -> Rule:
    return Rule(name, "error", group, sentence, source)


def _fixed(group: Group, name: str, source: str, sentence: str) -> Rule:
    return Rule(name, "error", group, sentence, source, fixed=True)


def _warning(group: Group, name: str, source: str, sentence: str) -> Rule:
    return Rule(name, "warning", group, sentence, source)


_TABLE = (
    _fixed("structure", "json", "3", "A request body is valid JSON in UTF-8, nested to a sane depth."),
    _fixed(
        "structure",
        "type",
        "3",
        "Every value has the documented type: text is text, seconds are whole numbers.",
    ),
    _fixed("structure", "required", "3", "Required members are present."),
    _fixed(
        "structure",
        "unknown-member",
        "3.1",
        "Only documented members are sent; a misspelt one would be ignored in silence.",
    ),
    _warning(
        "structure",
        "extra-member",
        "9.30",
        "What `extra` adds is not known here: if it is misspelt, the service ignores it in silence.",
    ),
    _fixed(
        "structure", "surrogate", "5.11", "Text holds no half surrogates, which cannot be written as UTF-8."
    ),
    _fixed(
        "structure",
        "custom-json",
        "3.4.2",
        "A custom object and `extra` hold JSON values only: no NaN, bytes, dates or keys other than text.",
    ),
    _fixed("workflow", "steps", "3.1", "A workflow has at least one step."),
    _fixed(
        "workflow", "channel", "3.3", "The channel is sms, mms, whatsapp, viber_service_msg or messenger."
    ),
    _fixed("workflow", "channel-mismatch", "3.2", "Sender and recipient of a step are on the same channel."),
    _error("workflow", "client-ref-length", "3.2", "A client_ref has at most 40 characters."),
    _fixed(
        "addresses",
        "address-member",
        "3.3",
        "An address has the member that its channel reads: number or id.",
    ),
    _error("addresses", "address-length", "3.3", "An address has 1 to 50 characters."),
    _error(
        "addresses",
        "e164",
        "3.3, 9.22",
        "A phone number is E.164 in digits only, at most 15, without a leading + or 0.",
    ),
    _error(
        "addresses",
        "whatsapp-user-id",
        "5.5",
        "The id of a WhatsApp recipient is a user id: two letters, a point, letters and digits.",
    ),
    _warning(
        "addresses",
        "short-number",
        "3.3",
        "The phone number of a recipient has at least 7 digits.",
    ),
    _error(
        "addresses",
        "whatsapp-country",
        "7.1",
        "WhatsApp may not be used to reach Cuba, Iran, North Korea or Syria.",
    ),
    _warning(
        "addresses",
        "whatsapp-crimea",
        "7.1",
        "WhatsApp may not be used to reach Crimea; these number ranges may be there.",
    ),
    _warning(
        "addresses",
        "address-extra",
        "3.3, 9.3",
        "An address has only the member that its channel reads; the other one is ignored.",
    ),
    _warning(
        "addresses",
        "sms-sender",
        "3.3, 7.4",
        "An alphanumeric SMS sender is allowed in some countries only, and has at most 11 characters.",
    ),
    _warning(
        "addresses", "mms-numbers", "7.4", "MMS goes from a US short code (5 or 6 digits) to a US number."
    ),
    Rule(
        "sanctioned-country",
        "error",
        "addresses",
        "No channel is used to reach Cuba, Iran, North Korea, Sudan or Syria.",
        "6.2, 7.1",
        optional=True,
    ),
    _error("content", "content-channel", "3.4.1", "The channel carries this kind of content."),
    _error(
        "content",
        "text-length",
        "3.4.2, 9.24",
        "Text has 1 to 1000 characters on SMS and Viber, 640 on Messenger, 4096 on WhatsApp.",
    ),
    _error("content", "url-length", "3.4.2", "A media URL has 1 to 2000 characters."),
    _error("content", "caption-length", "3.4.2", "A caption has 1 to 3000 characters."),
    _error(
        "content",
        "template-name",
        "3.4.2, 7.1",
        "A template has a name, on WhatsApp in the form namespace:name.",
    ),
    _error(
        "content",
        "template-count",
        "7.1",
        "A template gets as many parameters as its known text has placeholders.",
    ),
    _warning(
        "content",
        "template-parameter",
        "7.1, 9.4",
        'A template parameter is not empty and is written as {"default": "…"}.',
    ),
    _warning(
        "content",
        "template-length",
        "7.1",
        "The known text of a template stays within 1024 characters when filled in.",
    ),
    _warning(
        "content",
        "content-doubtful",
        "3.4.1",
        "The sources disagree whether the channel carries this kind of content in Dispatch.",
    ),
    _warning("content", "caption-channel", "3.4.2", "Captions are shown on WhatsApp and MMS only."),
    _warning("content", "url-form", "3.4.2", "A media URL starts with https:// or http://."),
    Rule(
        "media-extension",
        "warning",
        "content",
        "The extension of a media URL is one that the channel takes.",
        "3.4.2",
        optional=True,
    ),
    Rule(
        "sms-segments",
        "warning",
        "content",
        "An SMS fits into one segment; each further one is charged.",
        "3.4.3",
        optional=True,
    ),
    _error("channel options", "viber-category", "3.4.3", "A Viber category is transaction or promotion."),
    _error("channel options", "viber-ttl", "3.4.3, 9.5", "A Viber ttl is 30 to 259200 seconds."),
    _error(
        "channel options",
        "messenger-category",
        "3.4.3",
        "A Messenger category is response, update or message_tag.",
    ),
    _error("channel options", "messenger-tag", "3.4.3", "A Messenger message_tag has a tag."),
    _error(
        "channel options",
        "whatsapp-policy",
        "3.4.3",
        "The WhatsApp policy is deterministic; fallback was withdrawn.",
    ),
    _warning("channel options", "whatsapp-locale", "9.6", "A WhatsApp template names its locale."),
    _warning(
        "channel options",
        "viber-ttl-long",
        "9.5",
        "A Viber ttl above 86400 seconds is documented for Messages, not for Dispatch.",
    ),
    _warning(
        "channel options",
        "viber-ttl-trap",
        "7.2",
        "A Viber ttl is not shorter than the expiry: Viber drops the message in silence meanwhile.",
    ),
    _warning(
        "channel options",
        "messenger-tag-unknown",
        "3.4.3",
        "A Messenger tag is one that has been seen in use.",
    ),
    _warning(
        "channel options",
        "messenger-tag-unused",
        "3.4.3",
        "A Messenger tag comes with the category message_tag.",
    ),
    _warning("channel options", "options-channel", "3.4.3", "Options belong to the channel of the step."),
    _fixed("failover", "failover-missing", "3.1", "Every step but the last has a failover condition."),
    _fixed("failover", "failover-last", "3.1", "The last step has no failover condition."),
    _error("failover", "expiry", "3.5, 9.23", "An expiry is 15 to 86400 whole seconds."),
    _error("failover", "condition", "3.5", "A condition is delivered or read."),
    _warning(
        "failover",
        "condition-read",
        "3.5, 9.21",
        "SMS and MMS never report read, so the next step always follows.",
    ),
    _warning("advice", "single-step", "3.1", "A workflow of one step has nothing to fail over to."),
    _warning(
        "advice",
        "one-account",
        "4.4, 7.5",
        "An application has at most one WhatsApp, one Viber and one Messenger account.",
    ),
    _warning(
        "advice",
        "care-window",
        "7.1, 7.3",
        "Free content is sent while the Customer Care Window is open, else a template or a tagged message.",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _TABLE}


def markdown() -> str:
    """Return the rules in Markdown for docs/rules.md: a table, and a section per rule as a link target."""
    lines = ["| rule | severity | default | what it asks for |", "| --- | --- | --- | --- |"]
    lines += [f"| [`{r.id}`](#{r.id}) | {r.severity} | {_default(r)} | {r.sentence} |" for r in _TABLE]
    group = ""
    for rule in _TABLE:
        if rule.group != group:
            group = rule.group
            lines += ["", f"## {group.capitalize()}"]
        facts = (
            f"{rule.severity.capitalize()}, {_default(rule)}. Source: [contract](contract.md) {rule.source}."
        )
        lines += ["", f"### {rule.id}", "", rule.sentence, "", facts]
    return "\n".join(lines) + "\n"


def _default(rule: Rule) -> str:
    return "always on" if rule.fixed else "off" if rule.optional else "on"
