#!/usr/bin/python3
"""Serves the files of a folder as metrics pages, each on a port of its own; what the scrapers must agree on to the last bit.

    pages.py FOLDER FIRST_PORT PHASE_FILE

NAME.txt is text 0.0.4, NAME.utf8.txt is text 1.0.0 with quoted names, NAME.om is OpenMetrics 1.0. While PHASE_FILE says 2, NAME.2.* is served
in place of NAME.* where there is one (series vanish, so they must go stale). Ports count up from FIRST_PORT in the order of page_names().
"""

import http.server
import os
import sys
import threading

TYPES = {
    "txt": "text/plain; version=0.0.4; charset=utf-8",
    "utf8.txt": "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8",
    "om": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


def page_names(folder):
    """[(name, suffix)] of the pages, without those of phase 2."""
    names = (name.split(".", 1) for name in sorted(os.listdir(folder)))
    return [(name, suffix) for name, suffix in names if suffix in TYPES]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        folder, (name, suffix), phase_file = self.server.page
        path = os.path.join(folder, f"{name}.{suffix}")
        with open(phase_file, encoding="utf-8") as file:
            second = os.path.join(folder, f"{name}.2.{suffix}")
            if file.read().strip() == "2" and os.path.exists(second):
                path = second
        with open(path, "rb") as file:
            body = file.read()
        self.send_response(200)
        self.send_header("Content-Type", TYPES[suffix])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(folder, first_port, phase_file):
    threads = []
    for port, page in enumerate(page_names(folder), int(first_port)):
        server = http.server.ThreadingHTTPServer(("", port), Handler)
        server.daemon_threads = True
        server.page = (folder, page, phase_file)
        threads.append(threading.Thread(target=server.serve_forever))
        threads[-1].start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
