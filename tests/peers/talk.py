"""Speak SMTP with smtplib and tell what was answered.

usage: talk.py HOST PORT, with a JSON list of steps on stdin; a JSON list of [code, text] on stdout,
one for each step. Texts in steps are sent as UTF-8, or as Latin-1 where they are content.

  ["ehlo", NAME]                  the text is the whole answer
  ["command", LINE]               any command with one reply
  ["mail", FROM, [OPTION, ...]]   MAIL as smtplib writes it
  ["rcpt", TO, [OPTION, ...]]     RCPT
  ["data", CONTENT]               DATA and content; smtplib stuffs dots and mends line ends
  ["bdat", OCTETS, "LAST" or ""]  a chunk, as it is
  ["octets", OCTETS, COUNT]       anything; the last of COUNT replies
  ["starttls", HOST, CA, OWN]     STARTTLS and a handshake, in which HOST's certificate by CA is
                                  wanted; OWN, a file with certificate and key, is shown, if any
  ["implicit", HOST, CA, OWN]     the handshake before the greeting; a first step only
"""
import json
import smtplib
import ssl
import sys


def trusting(authority, own):
    context = ssl.create_default_context(cafile=authority)
    if own:
        context.load_cert_chain(own)
    return context


def take(client, step):
    verb, first, rest = step[0], step[1], step[2:]
    if verb == "ehlo":
        return client.ehlo(first)
    if verb == "command":
        client.send(first.encode() + b"\r\n")
        return client.getreply()
    if verb == "mail":
        return client.mail(first, rest[0])
    if verb == "rcpt":
        return client.rcpt(first, rest[0])
    if verb == "data":
        return client.data(first.encode("latin-1"))
    if verb == "bdat":
        octets = first.encode("latin-1")
        client.send(b"BDAT %d %s\r\n" % (len(octets), rest[0].encode()) + octets)
        return client.getreply()
    if verb == "octets":
        client.send(first.encode("latin-1"))
        for _ in range(rest[0]):
            reply = client.getreply()
        return reply
    if verb == "starttls":
        client._host = first  # The name that the certificate is to be for.
        return client.starttls(context=trusting(*rest))
    raise SystemExit(f"no step: {step}")


def main():
    steps = json.load(sys.stdin)
    if steps[0][0] == "implicit":
        _, host, *trust = steps.pop(0)
        client = smtplib.SMTP_SSL(timeout=60, context=trusting(*trust))
        client._host = host
        code, text = client.connect(sys.argv[1], int(sys.argv[2]))
        replies = [[code, text.decode()]]
    else:
        client = smtplib.SMTP(timeout=60)
        client.connect(sys.argv[1], int(sys.argv[2]))
        replies = []
    for step in steps:
        code, text = take(client, step)
        replies.append([code, text.decode()])
    client.close()
    json.dump(replies, sys.stdout)


main()
