"""Sign the message on stdin with dkimpy; the signed message on stdout.

usage: sign.py KEYFILE DOMAIN SELECTOR HEADER/BODY ALGORITHM
"""
import base64
import sys

import dkim


def main():
    path, domain, selector, forms, algorithm = sys.argv[1:]
    with open(path, "rb") as file:
        key = file.read()
    if algorithm == "ed25519-sha256":
        # dkimpy wants the 32 octets of the seed, which PKCS#8 ends with.
        lines = [line for line in key.splitlines() if not line.startswith(b"-")]
        key = base64.b64encode(base64.b64decode(b"".join(lines))[-32:])
    header, body = forms.encode().split(b"/")
    message = sys.stdin.buffer.read()
    field = dkim.sign(
        message,
        selector.encode(),
        domain.encode(),
        key,
        canonicalize=(header, body),
        signature_algorithm=algorithm.encode(),
    )
    sys.stdout.buffer.write(field + message)


main()
