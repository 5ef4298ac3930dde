"""Build the documentation's WhatsApp-then-SMS workflow, check it, and print the request body.

It sends nothing and needs no account.
"""

import json

from nexmo_dispatch_async import Workflow, count_segments, render, sms, whatsapp

PARAMETERS = ["Nexmo Verification", "64873", "10"]
FALLBACK = "This is an SMS sent via the Dispatch API"

workflow = Workflow.failover(
    whatsapp.template(
        "whatsapp:hsm:technology:nexmo:verify",
        PARAMETERS,
        from_="447418342140",
        to="918197792563",
    ).until("read", within=600),
    sms.text(FALLBACK, from_="31647356950", to="31617185666"),
)
workflow.check()

print(json.dumps(json.loads(workflow.to_json()), indent=2))
print("the WhatsApp text:", render("{{1}} code: {{2}}. Valid for {{3}} minutes.", PARAMETERS))
print("the SMS takes:", count_segments(FALLBACK))
print("the SMS leaves at the latest after:", workflow.worst_case_time())
for finding in workflow.lint():
    print("warning:", finding)
