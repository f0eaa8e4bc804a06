#!/usr/bin/python3
"""BPF's objects from outside, while the agent scrapes: whoever is killed, none stays; whoever writes into them, nobody else suffers.

    tools/with-node tests/integration/objects_test.py GLEANER [TEST...]

Objects are known by their numbers, so what other users of BPF on the machine do does not matter. Needs root and eBPF, and is skipped without.
"""
import contextlib
import ctypes
import mmap
import os
import platform
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "../../tools")]

# pylint: disable=wrong-import-position
from node.agent import Agent, can_change_user
from node.exporters import node_exporter, prometheus, python_app
from node.node import small_node
from node.process import Failed, wait_until

BINARY, NODE = None, None  # set once, by main
KILLS = 50
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
GET_FD_BY_ID = {"prog_id": 13, "map_id": 14, "link_id": 30}
SLOTS, SLOT_BYTES, SHARED_BYTES = 1024, 512, 64 + 65536  # bpf/cost.h
ARMED, RUNNING = 1, 2


def object_fd(kind, number):
    """A descriptor of the object, negative when there is none of that number."""
    attributes = ctypes.create_string_buffer(struct.pack("III", number, 0, 0), 12)
    return LIBC.syscall(SYS_BPF, GET_FD_BY_ID[kind], attributes, 12)


def exists(kind, number):
    fd = object_fd(kind, number)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def descriptions(pid):
    """What /proc tells of each BPF object that the process holds: {word: value}."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
            words = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            if any(kind in words for kind in GET_FD_BY_ID):
                found.append(words)
    return found


def objects_of(pid):
    """{(kind, number)}; a link's description names its program too."""
    return {(kind, int(words[kind])) for words in descriptions(pid) for kind in GET_FD_BY_ID if kind in words}


def lives(pid):
    """Not ended, nor waiting to be buried."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def attaches():
    done = subprocess.run([BINARY, "probe", "--check"], stdout=subprocess.PIPE, text=True, check=False)
    return any(line.split()[:2] == ["on_switch", "attached"] for line in done.stdout.splitlines())


class Slots:
    """The cost slots and what is shared beside them, mapped as root may."""

    def __init__(self, probe):
        sizes = {SLOT_BYTES: SLOTS, SHARED_BYTES: 1}
        maps = {}
        for words in descriptions(probe):
            size = int(words.get("value_size", "0"))
            if sizes.get(size) == int(words.get("max_entries", "0")):
                maps[size] = object_fd("map_id", int(words["map_id"]))
        self.slots = mmap.mmap(maps[SLOT_BYTES], SLOTS * SLOT_BYTES)
        self.shared = mmap.mmap(maps[SHARED_BYTES], SHARED_BYTES)
        for fd in maps.values():
            os.close(fd)

    def close(self):
        self.slots.close()
        self.shared.close()

    def active(self):
        return struct.unpack_from("I", self.shared, 0)[0]

    def open_slots(self):
        states = (struct.unpack_from("I", self.slots, number * SLOT_BYTES + 16)[0] for number in range(SLOTS))
        return [number for number, state in enumerate(states) if state in (ARMED, RUNNING)]

    def vandalise(self, seconds):
        """Random bytes everywhere, often such as mean something."""
        chance = random.Random(3)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(500):
                word = chance.choice((os.urandom(8), struct.pack("Q", chance.randrange(4))))
                place, size = chance.choice(((self.slots, SLOTS * SLOT_BYTES), (self.shared, 64), (self.shared, SHARED_BYTES)))
                at = chance.randrange(size // 8) * 8
                place[at : at + 8] = word
            time.sleep(0.001)


class ObjectsTest(unittest.TestCase):
    def setUp(self):
        if not can_change_user() or not attaches():
            self.skipTest("no eBPF here: root, BTF and CAP_BPF are needed")
        self.agent = None

    def tearDown(self):
        if self.agent and self.agent.process.running():
            self.agent.stop()
        outcome = self._outcome.result
        if self.agent and any(test is self for test, _ in outcome.failures + outcome.errors):
            print(f"--- gleaner's log\n{self.agent.process.log_tail(40)}")

    def start(self):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "telemetry": {"enabled": False},
            "scrape": {"batch_timeout": "100ms", "workers": 2},
        }
        self.agent = Agent(NODE, BINARY, config, capabilities=("bpf", "perfmon"))

    def metric(self, name):
        return self.agent.metrics().get(name, 0)

    def wait_until_up(self):
        wait_until("all targets to be up", lambda: self.healthy() == len(NODE.pods), 20, self.agent.process)

    def healthy(self):
        return sum(target["health"] == "up" for target in self.agent.targets())

    def wait_until_measured(self):
        before = self.metric("gleaner_probe_cost_measured_total")
        wait_until(
            "costs to be measured",
            lambda: self.metric("gleaner_probe_cost_measured_total") > before,
            20,
            self.agent.process,
            every=0.02,
        )

    def probe(self):
        """Pid of the probe once it has attached its programs."""

        def attached():
            for pid in self.agent.children("probe"):
                with contextlib.suppress(OSError):
                    if any(kind == "link_id" for kind, _ in objects_of(pid)):
                        return pid
            return None

        return wait_until("a probe", attached, 20, self.agent.process, every=0.005)

    def assert_gone(self, objects):
        wait_until(  # the kernel frees late
            f"{len(objects)} objects to be gone", lambda: not any(exists(*one) for one in objects), 5, every=0.02
        )

    def assert_at_rest(self, slots):
        """No target any more: no window is open, and no slot is armed."""
        self.agent.configure({"annotations": {"enabled": False}, "telemetry": {"enabled": False}})
        self.agent.reload()
        wait_until("no target", lambda: not self.agent.targets(), 10, self.agent.process)
        wait_until("no open window", lambda: slots.active() == 0 and not slots.open_slots(), 5, self.agent.process)

    # -- killed

    def test_50_cores_killed_while_they_scrape_leave_no_object(self):
        chance = random.Random(4)
        left = set()
        for _ in range(KILLS):
            self.start()
            probe = self.probe()
            time.sleep(chance.uniform(0, 0.3))
            left |= objects_of(probe)
            processes = [probe, *self.agent.scrapers()]
            os.kill(self.agent.process.pid, signal.SIGKILL)
            self.agent.stop()
            wait_until("its children to end", lambda: not any(lives(pid) for pid in processes), 5)
        kinds = {kind: sum(one == kind for one, _ in left) for kind in GET_FD_BY_ID}
        print(f"{KILLS} cores killed: their {kinds}")
        self.assertGreaterEqual(kinds["link_id"], KILLS * 8)
        self.assert_gone(left)

    def test_50_scrapers_killed_while_they_scrape_leave_no_object_and_no_window(self):
        self.start()
        self.wait_until_up()
        self.wait_until_measured()
        probe = self.probe()
        before, slots = objects_of(probe), Slots(probe)
        self.addCleanup(slots.close)
        chance = random.Random(5)
        for _ in range(KILLS):
            [old, *_] = wait_until("a scraper", self.agent.scrapers, 5, self.agent.process, every=0.005)
            os.kill(old, signal.SIGKILL)
            time.sleep(chance.uniform(0.02, 0.3))
        self.wait_until_up()
        self.wait_until_measured()
        self.assertGreaterEqual(self.metric("gleaner_scraper_deaths_total"), KILLS)
        self.assertEqual(self.probe(), probe)
        self.assertEqual(objects_of(probe), before)
        self.assert_at_rest(slots)
        slots.close()
        self.agent.stop()
        self.assert_gone(before)

    def test_probes_killed_while_it_scrapes_leave_no_object(self):
        self.start()
        self.wait_until_up()
        left = set()
        for _ in range(6):  # 50 are killed by tests/kernel, where none has to wait for the next
            probe = self.probe()
            self.wait_until_measured()
            left |= objects_of(probe)
            os.kill(probe, signal.SIGKILL)
            wait_until("its end", lambda: probe not in self.agent.children("probe"), 5, self.agent.process, every=0.005)
        last = objects_of(self.probe())
        self.assert_gone(left - last)
        self.assertEqual(self.metric("gleaner_scrape_ticks_missed_total"), 0)
        self.agent.stop()
        self.assert_gone(last)

    # -- overwritten

    def test_random_bytes_in_the_slots_stop_no_scrape(self):
        self.start()
        self.wait_until_up()
        self.wait_until_measured()
        probe = self.probe()
        slots = Slots(probe)
        self.addCleanup(slots.close)
        processes = [probe, *self.agent.scrapers()]
        before, started = self.metric("gleaner_scrapes_total"), time.monotonic()
        vandal = threading.Thread(target=slots.vandalise, args=(6,))
        vandal.start()
        while vandal.is_alive():
            time.sleep(0.2)
            self.agent.get("/targets")  # the figures, whatever they are, are shown
            self.agent.get("/api/v1/targets")
        passed = int(time.monotonic() - started)
        self.assertGreaterEqual(self.metric("gleaner_scrapes_total") - before, (passed - 1) * len(NODE.pods))
        self.assertEqual([probe, *self.agent.scrapers()], processes)
        self.assertEqual(self.metric("gleaner_scraper_deaths_total"), 0)
        self.assertEqual(self.metric("gleaner_scrape_ticks_missed_total"), 0)
        self.assertEqual(self.healthy(), len(NODE.pods))
        os.kill(probe, signal.SIGKILL)  # new objects
        wait_until("another probe", lambda: self.agent.children("probe") not in ([probe], []), 10, every=0.01)
        self.wait_until_measured()


def main():
    global BINARY, NODE  # pylint: disable=global-statement
    BINARY = os.path.abspath(sys.argv.pop(1))
    with small_node() as NODE:
        for pod in (node_exporter(), prometheus(), python_app()):
            NODE.add_pod(pod)
        NODE.start_kubelet()
        program = unittest.main(exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"integration: {error}")
