"""The intended differences between gleaner and the Collector's prometheusreceiver, each with its number in the decisions of
docs/semantics.md. Everything else that differs is a bug of one of the two, and fails the interop test.
"""

import re

RECEIVER_SCOPE = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
DEFAULT_SCOPES = (RECEIVER_SCOPE, "gleaner")

DECISIONS = {
    "D-1": "gauge histograms are dropped: OTLP has no data type for them",
    "D-3": "an info family keeps its exposed name",
    "D-6": "no start time is made from a negative or NaN _created",
    "D-8": "server.address and server.port are of the scraped URL, not of the instance label",
    "D-12": "text: blanks around the type word and CR LF are accepted; a time before 1970 drops the sample",
    "D-14": "units as in the specification's table, with min for minute",
    "D-16": "a body that breaks in its middle makes all of its target's series stale, also those before the break",
    "D-23": "the default scope names gleaner",
    "D-25": "text: blanks before a sample are not part of its name",
    "D-26": "a suffixed sample that is none of its family's type is a metric of its own",
    "D-30": "bounds are read by the value grammar: no hex, no underscores",
    "Q-3": "one label set written in two ways is one series; bounds are not repeated",
}


def normalise(point):
    """Changes a point of the receiver to what gleaner intends, where one decision renames a whole metric; the original name is kept
    in metadata, so that the difference is still seen (and explained) once per metric."""
    if (
        point["from"] == "receiver"
        and point["metadata"].get("prometheus.type") == "info"
        and not point["name"].endswith("_info")
    ):
        metadata = {**point["metadata"], "named": point["name"]}
        return {**point, "name": point["name"] + "_info", "metadata": metadata}
    return point


def explain(difference):
    """The decision that intends this difference, or None."""
    if difference.what == "default scope":
        return "D-23"
    if difference.what == "metadata" and difference.metric.endswith("_info") and '"named"' in difference.receiver:
        return "D-3"
    if difference.target == "theirs" and difference.what in ("resource server.address", "resource server.port"):
        return "D-8"  # of the page `honoured`, whose instance is another host's
    if (
        difference.target == "breaking"
        and difference.what.startswith("stale point")
        and difference.gleaner == "present"
    ):
        return "D-16"
    # Pages that exist for one decision: every difference there is its doing.
    if re.fullmatch(r"[dq]-\d+", difference.target) and difference.target.upper() in DECISIONS:
        return difference.target.upper()
    return None
