"""Compose messages with Python's email package, CR LF at line ends.

usage: compose.py NAME..., a message on stdout for each, as a JSON list of strings: in a multipart in a
multipart, an attachment of that name, encoded as the package encodes it. The last one comes in a
message that is itself attached.
"""
import json
import sys
from email.message import EmailMessage
from email.policy import SMTP


def message(subject):
    made = EmailMessage(policy=SMTP)
    made["From"] = "A <a@a.example>"
    made["To"] = "r@corp.example"
    made["Subject"] = subject
    made["Date"] = "Mon, 23 Nov 2026 09:00:00 +0000"
    made.set_content("hello")
    made.add_alternative("<p>hello</p>", subtype="html")
    return made


def main():
    messages = []
    for name in sys.argv[1:]:
        made = message(name)
        made.add_attachment(b"octets", maintype="application", subtype="octet-stream", filename=name)
        messages.append(made)
    outer = message("forwarded")
    outer.add_attachment(messages.pop())
    messages.append(outer)
    json.dump([one.as_bytes().decode("latin-1") for one in messages], sys.stdout)


main()
