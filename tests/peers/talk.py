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
"""
import json
import smtplib
import sys


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
    raise SystemExit(f"no step: {step}")


def main():
    client = smtplib.SMTP(timeout=60)
    client.connect(sys.argv[1], int(sys.argv[2]))
    replies = []
    for step in json.load(sys.stdin):
        code, text = take(client, step)
        replies.append([code, text.decode()])
    client.close()
    json.dump(replies, sys.stdout)


main()
