"""Read a TLS report (RFC 8460) that came by mail from stdin; tell what is in it, as JSON.

  headers  of the message, by lower-case name
  type     [content type, report-type, number of parts]
  text     the part for people
  part     [content type, file name] of the part for machines
  report   its JSON, uncompressed
  defects  all that the parser took offence at
"""
import email
import email.policy
import gzip
import json
import sys

MESSAGE = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
TEXT, MACHINE = MESSAGE.iter_parts()
DEFECTS = [repr(defect) for part in MESSAGE.walk() for defect in part.defects]
DEFECTS += [f"{name}: {one!r}" for name, value in MESSAGE.items() for one in value.defects]
json.dump(
    {
        "headers": {name.lower(): str(value) for name, value in MESSAGE.items()},
        "type": [
            MESSAGE.get_content_type(),
            MESSAGE.get_param("report-type"),
            len(list(MESSAGE.iter_parts())),
        ],
        "text": TEXT.get_content(),
        "part": [MACHINE.get_content_type(), MACHINE.get_filename()],
        "report": json.loads(gzip.decompress(MACHINE.get_payload(decode=True))),
        "defects": DEFECTS,
    },
    sys.stdout,
)
