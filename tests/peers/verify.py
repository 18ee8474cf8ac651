"""Verify all DKIM signatures of the message on stdin with dkimpy; JSON on stdout.

usage: verify.py RECORDS, a JSON object from record names to TXT records; prints a list of
[selector, "" or what is wrong], a row for each signature, from the top.
"""
import json
import re
import sys

import dkim


def main():
    with open(sys.argv[1]) as file:
        records = json.load(file)
    message = sys.stdin.buffer.read()

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return records.get(name.rstrip("."), "").encode()

    verifier = dkim.DKIM(message)
    names = [name.lower() for name, _ in verifier.headers]
    rows = []
    for place in range(names.count(b"dkim-signature")):
        field = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"][place]
        selector = re.search(rb"\bs=([^;\s]+)", field).group(1).decode()
        try:
            wrong = "" if dkim.DKIM(message).verify(place, dnsfunc=txt) else "it does not verify"
        except dkim.DKIMException as error:
            wrong = repr(error)
        rows.append([selector, wrong])
    json.dump(rows, sys.stdout)


main()
