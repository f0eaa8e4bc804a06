"""The gateway: a real OpenTelemetry Collector, and the sink behind it that shows what it holds."""

import json
import os

from .node import ROOT
from .process import answers, wait_until

OTLP_PORT, SINK_PORT, HEALTH_PORT = 4318, 4400, 13133


class Sink:
    """tests/interop/sink.py as a process, and its lines read as they come."""

    def __init__(self, node):
        self.path = node.path("points.ndjson")
        script = os.path.join(ROOT, "tests/interop/sink.py")
        self.process = node.spawn(
            "sink",
            [os.environ["GLEANER_OTLP_PYTHON"], script, "--listen", f"127.0.0.1:{SINK_PORT}", "--out", self.path],
        )
        wait_until("the sink to listen", lambda: answers("127.0.0.1", SINK_PORT), 20, self.process)
        self.offset, self.rest = 0, b""

    def new_points(self):
        """The points that came since the last call."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = self.rest + file.read()
            self.offset = file.tell()
        lines = data.split(b"\n")
        self.rest = lines.pop()
        return [json.loads(line) for line in lines]


class Gateway:
    """The Collector: OTLP/HTTP in, pipeline "metrics/gleaner" out to the sink and to the debug exporter. With `scrape_configs` it also
    scrapes by itself (prometheusreceiver), into a pipeline of its own. `address` is where OTLP is listened for."""

    def __init__(self, node, scrape_configs=None, verbosity="basic", address="127.0.0.1"):
        self.node = node
        sink = f"http://127.0.0.1:{SINK_PORT}"
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{address}:{OTLP_PORT}"}}}},
            "exporters": {"otlp_http/gleaner": {"endpoint": f"{sink}/gleaner"}, "debug": {"verbosity": verbosity}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{HEALTH_PORT}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"metrics/gleaner": {"receivers": ["otlp"], "exporters": ["otlp_http/gleaner", "debug"]}},
            },
        }
        if scrape_configs:
            # The Collector expands $ in its configuration, so Prometheus' $1 is $$1 here.
            escaped = json.loads(json.dumps(scrape_configs).replace("$", "$$"))
            config["receivers"]["prometheus"] = {"config": {"scrape_configs": escaped}}
            config["exporters"]["otlp_http/receiver"] = {"endpoint": f"{sink}/receiver"}
            config["service"]["pipelines"]["metrics/receiver"] = {
                "receivers": ["prometheus"],
                "exporters": ["otlp_http/receiver"],
            }
        self.address = address
        self.config = node.write("otelcol.yaml", json.dumps(config, indent=1))  # JSON is YAML
        self.start()

    def start(self):
        self.process = self.node.spawn("otelcol", [os.environ["GLEANER_COLLECTOR"], "--config", self.config])
        wait_until(
            "the Collector to be healthy",
            lambda: answers("127.0.0.1", HEALTH_PORT) and answers(self.address, OTLP_PORT),
            60,
            self.process,
        )

    def stop(self):
        self.process.stop(20)
