"""A small SMTP server that keeps what it is given and offers what it is told to.

usage: sink.py FOLDER [--offer KEYWORD]... [--no-ehlo] [--tls FILE] [--starttls TEXT] ADDRESS:PORT...

Each transaction becomes FOLDER/NUMBER.json before it is answered with 250: `at` (the address that
it came to), `hello`, `mail` and `rcpt` (the lines as they came), `verbs` (all commands of the
transaction), `pipelined` (whether something came behind a command before its reply) and `content`
(Latin-1 for octets). FOLDER/ready tells the addresses, ports included. Recipients whose local part is `unknown` are refused.

--tls offers STARTTLS with the certificate and key in FILE; --starttls offers it, answers TEXT and
goes on in clear, whatever comes. `tls` is what was agreed on, or nothing.
"""
import argparse
import itertools
import json
import os
import socket
import socketserver
import ssl
import threading

COUNTER = itertools.count(1)


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        self.hello, self.unread, self.pipelined = "", b"", False
        self.clear()
        self.reply("220 sink.example here")
        while line := self.read_line():
            verb = line.split(b":")[0].split()[0].upper().decode("latin-1")
            self.verbs.append(verb)
            # A chunk comes with its command; anything else should have waited for the reply.
            self.pipelined |= bool(self.unread) and verb != "BDAT"
            if verb == "QUIT":
                return self.reply("221 2.0.0 bye")
            self.take(verb, line.decode().rstrip("\r\n"))

    def clear(self):
        self.mail, self.rcpt, self.verbs, self.content = "", [], [], b""
        self.pipelined = False

    def read_line(self):
        while b"\n" not in self.unread and self.read_more():
            pass
        line, end, self.unread = self.unread.partition(b"\n")
        return line + end

    def read_octets(self, count):
        while len(self.unread) < count and self.read_more():
            pass
        octets, self.unread = self.unread[:count], self.unread[count:]
        return octets

    def read_more(self):
        octets = self.request.recv(65536)
        self.unread += octets
        return octets

    def tls(self):
        secured = isinstance(self.request, ssl.SSLSocket)
        return self.request.version() if secured else ""

    def reply(self, text):
        self.request.sendall(text.encode() + b"\r\n")

    def take(self, verb, line):
        if verb == "EHLO" and not self.server.settings.no_ehlo:
            self.hello = line
            lines = ["sink.example"] + self.server.settings.offer
            # RFC 8689 section 3: under TLS only.
            lines = [line for line in lines if self.tls() or line != "REQUIRETLS"]
            settings = self.server.settings
            if (settings.tls or settings.starttls) and not self.tls():
                lines.insert(1, "STARTTLS")
            for keyword in lines[:-1]:
                self.reply(f"250-{keyword}")
            self.reply(f"250 {lines[-1]}")
        elif verb == "HELO":
            self.hello = line
            self.reply("250 sink.example")
        elif verb == "MAIL":
            self.mail = line
            self.reply("250 2.1.0 ok")
        elif verb == "RCPT" and line.upper().startswith("RCPT TO:<UNKNOWN@"):
            self.reply("550 5.1.1 no such mailbox here")
        elif verb == "RCPT":
            self.rcpt.append(line)
            self.reply("250 2.1.5 ok")
        elif verb == "DATA" and self.rcpt:
            self.reply("354 go on")
            while (text := self.read_line()) not in (b".\r\n", b""):
                self.content += text[1:] if text.startswith(b".") else text
            self.keep()
        elif verb == "BDAT" and "CHUNKING" in self.server.settings.offer:
            self.content += self.read_octets(int(line.split()[1]))
            if not self.rcpt:
                self.reply("554 5.5.1 no recipients")
            elif line.upper().endswith("LAST"):
                self.keep()
            else:
                self.reply("250 2.0.0 ok")
        elif verb == "STARTTLS" and self.server.settings.starttls:
            self.reply(self.server.settings.starttls)
        elif verb == "STARTTLS" and self.server.settings.tls:
            self.reply("220 2.0.0 go on")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.server.settings.tls)
            self.request = context.wrap_socket(self.request, server_side=True)
            self.hello, self.unread = "", b""
            self.clear()
        elif verb == "RSET":
            self.clear()
            self.reply("250 2.0.0 ok")
        else:
            self.reply("502 5.5.1 no")

    def keep(self):
        kept = {
            "at": self.request.getsockname()[0],
            "tls": self.tls(),
            "hello": self.hello,
            "mail": self.mail,
            "rcpt": self.rcpt,
            "verbs": self.verbs,
            "pipelined": self.pipelined,
            "content": self.content.decode("latin-1"),
        }
        write(f"{next(COUNTER):06}.json", kept)
        self.clear()
        self.reply("250 2.0.0 kept")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def write(name, value):
    path = os.path.join(SETTINGS.folder, name)
    with open(path + ".new", "w") as file:
        json.dump(value, file)
    os.rename(path + ".new", path)


def serve(address):
    host, port = address.rsplit(":", 1)
    host = host.strip("[]")
    kind = type("Server", (Server,), {"address_family":
                socket.AF_INET6 if ":" in host else socket.AF_INET})
    server = kind((host, int(port)), Session)
    server.settings = SETTINGS
    threading.Thread(target=server.serve_forever).start()
    host, port = server.server_address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


PARSER = argparse.ArgumentParser()
PARSER.add_argument("folder")
PARSER.add_argument("--offer", action="append", default=[])
PARSER.add_argument("--no-ehlo", action="store_true")
PARSER.add_argument("--tls")
PARSER.add_argument("--starttls")
PARSER.add_argument("address", nargs="+")
SETTINGS = PARSER.parse_args()
write("ready", [serve(address) for address in SETTINGS.address])
