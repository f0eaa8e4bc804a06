#!/usr/bin/env python3
"""An OTLP/HTTP sink: decodes what a Collector sends with OpenTelemetry's own Python messages and writes every data point as a line
of JSON. Shares nothing with gleaner's encoder or decoder. Needs opentelemetry-proto (tools/lib/python.sh).

    sink.py --listen 127.0.0.1:4400 --out FILE

The request's path before /v1/metrics names who sent it: http://127.0.0.1:4400/receiver/v1/metrics gives "from": "receiver".

A line:
    {"from": "receiver", "resource": {..}, "resource_schema": "", "scope": {"name": "", "version": "", "attributes": {..}, "schema": ""},
     "name": "", "description": "", "unit": "", "metadata": {"prometheus.type": "counter"}, "type": "sum", "temporality": 2, "monotonic": true,
     "attributes": {..}, "start_ns": 0, "time_ns": 0, "flags": 0, "value": {..}, "exemplars": [..]}

value: {"double": x}, {"int": n} or {} for gauge and sum; {"count", "sum", "bounds", "buckets"} for histogram; {"count", "sum",
"quantiles": [[q, v], ..]} for summary; all fields for exponential_histogram. A field of the message that is not set is absent. Doubles that
are not finite are texts: "+Inf", "-Inf", "NaN:7ff8000000000001" (the bits).
"""

import argparse
import gzip
import http.server
import json
import math
import struct
import sys
import threading

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


def double(value):
    if math.isnan(value):
        return "NaN:" + struct.pack(">d", value).hex()
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return value


def any_value(value):
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [any_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    found = getattr(value, kind)
    return found.hex() if kind == "bytes_value" else double(found) if kind == "double_value" else found


def attributes(pairs):
    found = {pair.key: any_value(pair.value) for pair in pairs}
    if len(found) != len(pairs):
        found["(repeated key)"] = [pair.key for pair in pairs]
    return found


def number(point):
    kind = point.WhichOneof("value")
    if kind is None:
        return {}
    return {"double": double(point.as_double)} if kind == "as_double" else {"int": point.as_int}


def optional(point, *names):
    return {name: double(getattr(point, name)) for name in names if point.HasField(name)}


def histogram(point):
    return {
        "count": point.count,
        "bounds": [double(bound) for bound in point.explicit_bounds],
        "buckets": list(point.bucket_counts),
        **optional(point, "sum", "min", "max"),
    }


def exponential_histogram(point):
    sides = {
        name: {"offset": side.offset, "buckets": list(side.bucket_counts)}
        for name, side in (("positive", point.positive), ("negative", point.negative))
    }
    return {
        "count": point.count,
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": point.zero_threshold,
        **sides,
        **optional(point, "sum", "min", "max"),
    }


def summary(point):
    return {
        "count": point.count,
        "sum": double(point.sum),
        "quantiles": [[double(item.quantile), double(item.value)] for item in point.quantile_values],
    }


VALUES = {
    "gauge": number,
    "sum": number,
    "histogram": histogram,
    "exponential_histogram": exponential_histogram,
    "summary": summary,
}


def exemplar(found):
    return {
        "attributes": attributes(found.filtered_attributes),
        "time_ns": found.time_unix_nano,
        "value": number(found),
        "trace_id": found.trace_id.hex(),
        "span_id": found.span_id.hex(),
    }


def points(request, sender):
    for resource in request.resource_metrics:
        of_resource = {
            "from": sender,
            "resource": attributes(resource.resource.attributes),
            "resource_schema": resource.schema_url,
        }
        for scope in resource.scope_metrics:
            of_scope = {
                "scope": {
                    "name": scope.scope.name,
                    "version": scope.scope.version,
                    "attributes": attributes(scope.scope.attributes),
                    "schema": scope.schema_url,
                }
            }
            for metric in scope.metrics:
                for point in metric_points(metric):
                    yield {**of_resource, **of_scope, **point}


def metric_points(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    shape = {
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "metadata": attributes(metric.metadata),
        "type": kind,
    }
    if hasattr(data, "aggregation_temporality"):
        shape["temporality"] = data.aggregation_temporality
    if hasattr(data, "is_monotonic"):
        shape["monotonic"] = data.is_monotonic
    for point in data.data_points:
        yield {
            **shape,
            "attributes": attributes(point.attributes),
            "start_ns": point.start_time_unix_nano,
            "time_ns": point.time_unix_nano,
            "flags": point.flags,
            "value": VALUES[kind](point),
            "exemplars": [exemplar(item) for item in getattr(point, "exemplars", ())],
        }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportMetricsServiceRequest.FromString(body)
        sender = self.path.removesuffix("/v1/metrics").strip("/")
        text = "".join(json.dumps(point) + "\n" for point in points(request, sender))
        with self.server.lock:
            self.server.out.write(text)
            self.server.out.flush()
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:4400")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    with open(args.out, "a", encoding="utf-8") as out:
        server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        server.daemon_threads = True
        server.lock, server.out = threading.Lock(), out
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
