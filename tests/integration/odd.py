#!/usr/bin/python3
"""A server of one kind, for ports that nobody declared and for targets that are dear to scrape.

    odd.py PORT KIND LOG

KIND: metrics (an exposition), html (a page, status 200), mute (accepts and says nothing), dear (an exposition that takes 60 ms of
CPU while the file LOG.dear exists). A line of LOG for each request or connection.
"""
import http.server
import os
import socket
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, log = self.server.kind, self.server.log
        with open(log, "a", encoding="ascii") as out:
            out.write(f"{self.path}\n")
        started = time.thread_time()
        while kind == "dear" and os.path.exists(log + ".dear") and time.thread_time() < started + 0.06:
            pass
        body = b"<html>hello</html>\n" if kind == "html" else b"# TYPE odd gauge\nodd 1\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if kind == "html" else "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def mute(port, log):
    listener = socket.create_server(("", port))
    kept = []
    while True:
        kept.append(listener.accept())
        with open(log, "a", encoding="ascii") as out:
            out.write("connection\n")


def main():
    port, kind, log = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if kind == "mute":
        mute(port, log)
    server = http.server.ThreadingHTTPServer(("", port), Handler)
    server.kind, server.log = kind, log
    server.serve_forever()


if __name__ == "__main__":
    main()
