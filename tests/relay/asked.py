"""A milter on libmilter that does what the subject of a message says.

asked.py SOCKET: one word of the subject each, see `eom`.
"""

import sys

import Milter


class Asked(Milter.Base):
    def connect(self, name, family, address):
        self.client = f"{name} {address[0] if address else ''}"
        return Milter.CONTINUE

    def hello(self, name):
        self.name = name
        return Milter.CONTINUE

    def envfrom(self, path, *parameters):
        self.path, self.parameters = path, parameters
        self.recipients, self.fields, self.body_octets = [], [], 0
        self.daemon = self.getsymval("{daemon_name}")
        return Milter.CONTINUE

    def envrcpt(self, path, *parameters):
        self.recipients.append(path)
        if path.startswith("<refused@"):
            self.setreply("550", "5.1.1", "Nobody of that name")
            return Milter.REJECT
        return Milter.CONTINUE

    def header(self, name, value):
        self.fields.append((name, value))
        return Milter.CONTINUE

    def body(self, octets):
        self.body_octets += len(octets)
        return Milter.SKIP if "skip" in self.words() else Milter.CONTINUE

    def words(self):
        return dict(self.fields).get("Subject", "").split()

    def eom(self):
        words = self.words()
        if "tell" in words:
            self.addheader("X-Client", f"{self.client} {self.name} at {self.daemon}")
            self.addheader("X-Envelope", f"{self.path} {' '.join(self.recipients)}")
            self.addheader("X-Parameters", " ".join(self.parameters))
            self.addheader("X-Id", self.getsymval("i") or "")
            self.addheader("X-Fields", " ".join(name for name, _ in self.fields))
            self.addheader("X-Body", str(self.body_octets))
        if "fields" in words:
            self.addheader("X-Top", "first\n\tand folded", 0)
            self.chgheader("X-Two", 2, "changed")
            self.chgheader("X-Gone", 1, "")
            self.addheader("X-Split", "one\nX-Forged: two")
        if "envelope" in words:
            self.delrcpt("<t@a.example>")
            self.addrcpt("<new@a.example>")
            self.chgfrom("<other@a.example>")
        if "body" in words:
            self.progress()
            self.replacebody(b"new\n.\nbody\r\n" + 30_000 * b"0123456789abc\r\n")
        if "hold" in words:
            self.quarantine("looks odd")
        if "nobody" in words:
            for path in self.recipients:
                self.delrcpt(path)
        if "later" in words:
            return Milter.TEMPFAIL
        if "no" in words:
            self.setreply("554", "5.7.1", "No", "and no again")
            return Milter.REJECT
        return Milter.DISCARD if "discard" in words else Milter.CONTINUE


Milter.factory = Asked
Milter.set_flags(
    Milter.CHGBODY + Milter.CHGHDRS + Milter.ADDHDRS + Milter.ADDRCPT + Milter.DELRCPT
    + Milter.QUARANTINE + Milter.CHGFROM
)
Milter.runmilter("asked", sys.argv[1], 60)
