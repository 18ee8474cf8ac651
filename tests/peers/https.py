"""Serve files by HTTPS, by the name that was asked for.

usage: https.py FOLDER CERTIFICATE ADDRESS:PORT

GET /.well-known/mta-sts.txt at HOST is FOLDER/HOST, read anew each time; 404 without that.
What is POSTed to /PATH is kept in FOLDER/posted as a line of JSON: host, path, type and the body,
uncompressed. FOLDER/ready is there once it listens, and FOLDER/asked has a line for each request.
"""
import gzip
import http.server
import json
import os
import ssl
import sys

FOLDER, CERTIFICATE, ADDRESS = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        with open(os.path.join(FOLDER, "asked"), "a") as asked:
            asked.write(f"{host}{self.path}\n")
        try:
            with open(os.path.join(FOLDER, host), "rb") as file:
                body = file.read()
        except OSError:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kept = {
            "host": self.headers["Host"],
            "path": self.path,
            "type": self.headers["Content-Type"],
            "body": json.loads(gzip.decompress(body)),
        }
        with open(os.path.join(FOLDER, "posted"), "a") as posted:
            posted.write(json.dumps(kept) + "\n")
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()


HOST, PORT = ADDRESS.rsplit(":", 1)
SERVER = http.server.ThreadingHTTPServer((HOST, int(PORT)), Handler)
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE)
SERVER.socket = CONTEXT.wrap_socket(SERVER.socket, server_side=True)
open(os.path.join(FOLDER, "ready"), "w").close()
SERVER.serve_forever()
