"""Read a DSN from stdin with the email package, strictly; tell what is in it, as JSON.

  headers     of the message itself, by lower-case name
  type        [content type, report-type, number of parts]
  text        the part for people
  status_type the type of the part for machines
  message     its per-message fields, by lower-case name
  recipients  its blocks for recipients, each by lower-case name
  returned    [content type, what is returned of the original]
  defects     all that the parser took offence at
"""
import email
import email.policy
import json
import sys


def fields(block):
    return {name.lower(): str(value) for name, value in block.items()}


def defects(message):
    for part in message.walk():
        yield from (repr(defect) for defect in part.defects)
        for name, value in part.items():
            yield from (f"{name}: {defect!r}" for defect in value.defects)


def status_blocks(part):
    """The email package takes message/delivery-status apart; of its UTF-8 form (RFC 6533), which
    it does not know, it makes a message whose body holds the other blocks."""
    if part.get_content_type() == "message/delivery-status":
        return [fields(block) for block in part.get_payload()]
    first = part.get_payload(0)
    rest = first.get_payload(decode=True).decode().strip().split("\n\n")
    parser = lambda text: email.message_from_string(text, policy=email.policy.SMTPUTF8)
    return [fields(first)] + [fields(parser(block)) for block in rest]


def returned(part):
    if part.get_content_maintype() == "text":
        return part.get_payload(decode=True).decode("latin-1")
    return part.get_payload(0).as_bytes(policy=email.policy.SMTP).decode("latin-1")


def main():
    policy = email.policy.SMTP
    message = email.message_from_bytes(sys.stdin.buffer.read(), policy=policy)
    text, status, original = message.get_payload()
    blocks = status_blocks(status)
    report_type = message["content-type"].params.get("report-type")
    print(json.dumps({
        "headers": fields(message),
        "type": [message.get_content_type(), report_type, len(message.get_payload())],
        "text": text.get_content(),
        "status_type": status.get_content_type(),
        "message": blocks[0],
        "recipients": blocks[1:],
        "returned": [original.get_content_type(), returned(original)],
        "defects": list(defects(message)),
    }))


main()
