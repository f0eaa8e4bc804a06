#!/usr/bin/python3
"""An exporter whose ports open one after the other, at random moments, and that remembers when.

    late.py PORT COUNT SECONDS GO LOG

Once the file GO exists it opens COUNT ports from PORT on, spread over SECONDS. A line of LOG for each, when it was
first scraped: port, then ns of CLOCK_MONOTONIC just before listen(), of the first byte of the first request, and of
the first byte of the answer.
"""
import os
import random
import selectors
import socket
import sys
import time

BODY = b"# TYPE late gauge\nlate 1\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def main():
    first, count, seconds, go, log = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
    while not os.path.exists(go):
        time.sleep(0.02)
    start = time.monotonic()
    waiting = sorted((start + random.uniform(0, seconds), port) for port in range(first, first + count))
    selector = selectors.DefaultSelector()
    listened = {}
    with open(log, "a", encoding="ascii", buffering=1) as out:
        while True:
            timeout = max(0, waiting[0][0] - time.monotonic()) if waiting else None
            for key, _ in selector.select(timeout):
                serve(selector, key, listened, out)
            while waiting and waiting[0][0] <= time.monotonic():
                _, port = waiting.pop(0)
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("", port))
                listened[port] = time.monotonic_ns()
                sock.listen()
                selector.register(sock, selectors.EVENT_READ, (port, True))


def serve(selector, key, listened, out):
    port, listens = key.data
    if listens:
        selector.register(key.fileobj.accept()[0], selectors.EVENT_READ, (port, False))
        return
    request = key.fileobj.recv(65536)
    arrived = time.monotonic_ns()
    if not request:
        selector.unregister(key.fileobj)
        key.fileobj.close()
        return
    key.fileobj.sendall(ANSWER)
    if port in listened:
        out.write(f"{port} {listened.pop(port)} {arrived} {time.monotonic_ns()}\n")


if __name__ == "__main__":
    main()
