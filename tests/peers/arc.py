"""Seal or verify the message on stdin with dkimpy.

usage: arc.py seal KEYFILE DOMAIN SELECTOR AUTHSERV-ID    the sealed message on stdout
       arc.py verify RECORDS                              "pass", "fail", "none" or "ended" on stdout
RECORDS is a JSON object from record names to TXT records.
"""
import json
import sys

import dkim


def main():
    message = sys.stdin.buffer.read()
    if sys.argv[1] == "seal":
        path, domain, selector, identity = sys.argv[2:]
        with open(path, "rb") as file:
            key = file.read()
        fields = dkim.arc_sign(
            message, selector.encode(), domain.encode(), key, identity.encode(), linesep=b"\r\n"
        )
        sys.stdout.buffer.write(b"".join(fields) + message)
        return
    with open(sys.argv[2]) as file:
        records = json.load(file)

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return records.get(name.rstrip("."), "").encode()

    result, _, _ = dkim.arc_verify(message, dnsfunc=txt)
    sys.stdout.write((result or b"ended").decode())


main()
