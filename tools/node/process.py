"""Child processes: each with a log file, ended by pid, and never a victim of the terminal's Ctrl-C."""

import os
import signal
import socket
import subprocess
import time


class Process:
    def __init__(self, name, argv, log, env=None):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            # A session of its own: Ctrl-C reaches only the program that started it, which then stops all in order.
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, seconds=10):
        """SIGTERM, then SIGKILL when it does not end in time; the exit status (negative: the signal)."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self.popen.wait()

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_tail(self, lines=20):
        return "\n".join(self.log_text().splitlines()[-lines:])


class Failed(Exception):
    """Something of the node did not work; the text says what."""


def wait_until(what, test, seconds, process=None, every=0.1):
    """Returns what test() returns once it is true; Failed when it does not get there, or the process ends."""
    deadline = time.monotonic() + seconds
    while True:
        result = test()
        if result:
            return result
        if process and not process.running():
            raise Failed(
                f"{process.name} ended ({process.popen.returncode}) while waiting for {what}:\n{process.log_tail()}"
            )
        if time.monotonic() > deadline:
            tail = f":\n{process.log_tail()}" if process else ""
            raise Failed(f"{what}: not within {seconds} s{tail}")
        time.sleep(every)


def answers(host, port):
    try:
        with socket.create_connection((host, port), 1):
            return True
    except OSError:
        return False
