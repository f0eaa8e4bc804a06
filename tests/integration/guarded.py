#!/usr/bin/python3
"""An exporter behind a door, for tests: it asks for an Authorization header, or for a client certificate, and writes down who came.

    guarded.py PORT FOLDER [--tls [VERSION]] [--client-ca] [--redirect URL]

FOLDER/expected   the Authorization header that is let in, read at each request; absent: everybody is
FOLDER/log        one line a request: the header, or `-`
FOLDER/{cert,key}.pem, ca.pem   --tls serves https with them, of all versions or of one (TLSv1_1, TLSv1_3);
                  --client-ca asks for a certificate of ca.pem
--redirect URL    answers 302 instead of a page
"""
import argparse
import http.server
import os
import ssl


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, text, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        options = self.server.options
        given = self.headers.get("Authorization", "-")
        with open(os.path.join(options.folder, "log"), "a", encoding="utf-8") as log:
            log.write(given + "\n")
        if options.redirect:
            self.answer(302, "", Location=options.redirect)
            return
        expected = os.path.join(options.folder, "expected")
        if os.path.exists(expected):
            with open(expected, encoding="utf-8") as file:
                if given != file.read():
                    self.answer(401, "Unauthorized\n", **{"WWW-Authenticate": "Basic"})
                    return
        self.answer(200, "guarded_total 1\n", **{"Content-Type": "text/plain; version=0.0.4"})


def main():
    words = argparse.ArgumentParser()
    words.add_argument("port", type=int)
    words.add_argument("folder")
    words.add_argument("--tls", nargs="?", const="any")
    words.add_argument("--client-ca", action="store_true")
    words.add_argument("--redirect")
    options = words.parse_args()
    server = http.server.ThreadingHTTPServer(("", options.port), Handler)
    server.options = options
    if options.tls:
        at = lambda name: os.path.join(options.folder, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if options.tls != "any":
            context.minimum_version = context.maximum_version = ssl.TLSVersion[options.tls]
        if options.tls == "TLSv1_1":
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(at("cert.pem"), at("key.pem"))
        if options.client_ca:
            context.load_verify_locations(at("ca.pem"))
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


main()
