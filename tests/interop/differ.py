#!/usr/bin/python3
"""Compares what two scrapers made of the same targets, metric by metric; input is what sink.py wrote.

    differ.py POINTS.ndjson        table on stdout; exit status 0 when every difference is an intended one (differences.py)

Compared, for each target (service.name, service.instance.id): the resource's attributes; the scopes; in a scope the metrics by name and
type: description, unit, metadata, temporality, monotonicity; in a metric the attribute sets of live and of stale (flagged) points; for each
series the number's type, bounds and quantiles, explicit timestamps, start times, exemplars; and values where they stand still.

The two scrape at different moments, so a value is held to what can be known:
  - a counter, histogram or summary that one side saw unchanged over a span of time must be the same at the other within the span;
  - a counter that moves must not go backwards when the two sides' points are put in one order;
  - a gauge that one side saw unchanged must have been seen so by the other at least once;
  - a page of pages/ never moves, and neither does its start: there all values seen must be the same set.
"""

import collections
import dataclasses
import json
import sys

import differences

SIDES = ("receiver", "gleaner")
STRICT = "pages"  # value of the point attribute `app` of the pages' pod
UNSTEADY = {"scrape_duration_seconds"}
MIN_POINTS = 3
CLOSE_NS = 300_000_000  # scrapes nearer than this may have been answered in the other order


@dataclasses.dataclass(frozen=True)
class Difference:
    target: str  # job
    metric: str  # "" for one of the resource or scope
    what: str
    receiver: str
    gleaner: str
    kind: str = ""  # the metric's prometheus.type

    def __str__(self):
        return (
            f"{self.target:<16} {self.metric:<36} {self.what}: receiver {shortened(self.receiver)}, "
            f"gleaner {shortened(self.gleaner)}"
        )


def shortened(value):
    return value if len(value) < 300 else value[:300] + "..."


def text(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Side:
    """One scraper's points, in the shape that is compared."""

    def __init__(self):
        self.resources = collections.defaultdict(set)  # target -> {attributes as text}
        self.metrics = collections.defaultdict(set)  # (target, scope, name, type) -> {shape as text}
        self.series = collections.defaultdict(list)  # (target, scope, name, type, attributes, stale) -> [point]
        self.default_scope = set()

    def add(self, point):
        resource = point["resource"]
        target = (resource.get("service.name", ""), resource.get("service.instance.id", ""))
        self.resources[target].add(text(resource))
        scope = point["scope"]
        if scope["name"] in differences.DEFAULT_SCOPES:
            self.default_scope.add(scope["name"])
            scope = {"name": "(default)", "attributes": scope["attributes"], "schema": scope["schema"]}
        metric = (target, text(scope), point["name"], point["type"])
        shape = {key: point.get(key) for key in ("description", "unit", "metadata", "temporality", "monotonic")}
        self.metrics[metric].add(text(shape))
        self.series[(*metric, text(point["attributes"]), point["flags"])].append(point)


def load(lines):
    sides = {name: Side() for name in SIDES}
    for line in lines:
        point = json.loads(line) if isinstance(line, (str, bytes)) else line
        sides[point["from"]].add(differences.normalise(point))
    return sides


class Comparison:
    def __init__(self, sides):
        self.receiver, self.gleaner = (sides[name] for name in SIDES)
        self.strict_targets = {
            key[0] for side in (self.receiver, self.gleaner) for key in side.series if f'"app": "{STRICT}"' in key[4]
        }
        self.found = []
        self.counts = collections.Counter()

    def differ(self, key, what, receiver, gleaner, kind=""):
        self.found.append(
            Difference(key[0][0], key[2] if len(key) > 2 else "", what, str(receiver), str(gleaner), kind)
        )

    def run(self):
        self.resources()
        for key in sorted(set(self.receiver.metrics) | set(self.gleaner.metrics)):
            if self.receiver.metrics.get(key) and self.gleaner.metrics.get(key):
                self.metric(key)
            else:
                self.one_sided_metric(key)
        self.all_series()
        if self.receiver.default_scope != self.gleaner.default_scope:
            self.found.append(
                Difference(
                    "",
                    "",
                    "default scope",
                    text(sorted(self.receiver.default_scope)),
                    text(sorted(self.gleaner.default_scope)),
                )
            )
        return self.found

    def resources(self):
        for target in sorted(set(self.receiver.resources) | set(self.gleaner.resources)):
            mine, theirs = self.gleaner.resources.get(target), self.receiver.resources.get(target)
            if not mine or not theirs:
                self.differ(
                    (target,), f"target {target[1]}", "seen" if theirs else "absent", "seen" if mine else "absent"
                )
                continue
            self.counts["targets"] += 1
            # More than one set of attributes of a target: compared as sets, since target_info may come and go.
            for key in sorted({key for sets in (mine, theirs) for one in sets for key in json.loads(one)}):
                values = [sorted({text(json.loads(one).get(key)) for one in sets}) for sets in (theirs, mine)]
                self.counts["resource attributes"] += 1
                if values[0] != values[1]:
                    self.differ((target,), f"resource {key}", ", ".join(values[0]), ", ".join(values[1]))

    def kind(self, key):
        shapes = self.receiver.metrics.get(key[:4]) or self.gleaner.metrics[key[:4]]
        return json.loads(next(iter(shapes)))["metadata"].get("prometheus.type", "")

    def one_sided_metric(self, key):
        mine = key in self.gleaner.metrics
        times = sum(
            len(points)
            for series, points in (self.gleaner if mine else self.receiver).series.items()
            if series[:4] == key
        )
        if key[0] in self.receiver.resources and key[0] in self.gleaner.resources and (times > 1 or self.strict(key)):
            what = f"metric of type {key[3]}" + ("" if "(default)" in key[1] else f" in scope {key[1]}")
            self.differ(key, what, "absent" if mine else "present", "present" if mine else "absent", self.kind(key))

    def metric(self, key):
        self.counts["metrics"] += 1
        if self.receiver.metrics[key] == self.gleaner.metrics[key]:
            return
        for field in ("description", "unit", "metadata", "temporality", "monotonic"):
            values = [
                sorted({text(json.loads(shape)[field]) for shape in side.metrics[key]})
                for side in (self.receiver, self.gleaner)
            ]
            if values[0] != values[1]:
                self.differ(key, field, ", ".join(values[0]), ", ".join(values[1]), self.kind(key))

    def strict(self, key):
        return key[0] in self.strict_targets

    def all_series(self):
        for key in sorted(set(self.receiver.series) | set(self.gleaner.series)):
            if key[:4] not in self.receiver.metrics or key[:4] not in self.gleaner.metrics:
                continue  # said once, for the metric
            theirs, mine = self.receiver.series.get(key), self.gleaner.series.get(key)
            if theirs and mine:
                self.counts["stale series" if key[5] else "series"] += 1
                self.one_series(key, theirs, mine)
            elif len(theirs or mine) > 1 or key[5] or self.strict(key):
                what = ("stale point " if key[5] else "series ") + key[4]
                self.differ(
                    key, what, "present" if theirs else "absent", "present" if mine else "absent", self.kind(key)
                )

    def one_series(self, key, theirs, mine):
        kind = self.kind(key)
        for what, pick in (("value's type", value_type), ("bounds", bounds)):
            values = [sorted({text(pick(point)) for point in points}) for points in (theirs, mine)]
            if values[0] != values[1] and (what == "value's type" or self.strict(key)):
                self.differ(key, f"{what} {key[4]}", ", ".join(values[0]), ", ".join(values[1]), kind)
                return
        self.values(key, theirs, mine, kind)
        pinned = {"time_ns": explicit_time, "start_ns": lambda point: point["start_ns"]}
        if self.strict(key):
            pinned["exemplars"] = lambda point: sorted(
                text({**exemplar, "time_ns": explicit_time(exemplar)}) for exemplar in point["exemplars"]
            )
        for what, pick in pinned.items():
            values = [sorted({text(pick(point)) for point in points}) for points in (theirs, mine)]
            if values[0] != values[1]:
                self.differ(key, f"{what} {key[4]}", ", ".join(values[0]), ", ".join(values[1]), kind)

    def values(self, key, theirs, mine, kind):
        if key[2] in UNSTEADY:
            return
        if self.strict(key):
            self.counts["values compared"] += 1
            values = [sorted({text(point["value"]) for point in points}) for points in (theirs, mine)]
            if values[0] != values[1]:
                self.differ(key, f"value {key[4]}", ", ".join(values[0]), ", ".join(values[1]), kind)
            return
        cumulative = key[3] != "gauge"
        for still, other, still_is_receiver in ((theirs, mine, True), (mine, theirs, False)):
            found = {text(point["value"]) for point in still}
            if len(still) < MIN_POINTS or len(found) != 1:
                continue
            times = [point["time_ns"] for point in still]
            within = [
                text(point["value"])
                for point in other
                if min(times) + CLOSE_NS < point["time_ns"] < max(times) - CLOSE_NS
            ]
            if not within:
                continue
            self.counts["values compared"] += 1
            bad = [value for value in within if value not in found]
            if bad and (cumulative or len(bad) == len(within)):
                values = (found, set(bad)) if still_is_receiver else (set(bad), found)
                self.differ(key, f"value {key[4]}", *(", ".join(sorted(value)) for value in values), kind)
            return
        if cumulative and key[3] == "sum":
            self.one_order(key, theirs, mine, kind)

    def one_order(self, key, theirs, mine, kind):
        """A moving counter's points of both sides, by time, must not go backwards unless a side's own do."""
        number = lambda point: next(iter(point["value"].values()), None)
        for points in (theirs, mine):
            own = [number(point) for point in sorted(points, key=lambda point: point["time_ns"])]
            if any(not isinstance(value, (int, float)) for value in own) or own != sorted(own):
                return
        merged = sorted(theirs + mine, key=lambda point: point["time_ns"])
        self.counts["moving counters put in one order"] += 1
        for before, after in zip(merged, merged[1:]):
            if number(after) < number(before) and after["time_ns"] - before["time_ns"] > CLOSE_NS:
                values = {before["from"]: number(before), after["from"]: number(after)}
                self.differ(key, f"order {key[4]}", values.get("receiver"), values.get("gleaner"), kind)
                return


def value_type(point):
    return sorted(set(point["value"]) - {"min", "max"}) if point["type"] in ("gauge", "sum") else sorted(point["value"])


def bounds(point):
    if point["type"] == "summary":
        return [quantile for quantile, _ in point["value"]["quantiles"]]
    return point["value"].get("bounds")


def explicit_time(point):
    """Of a point or an exemplar: the pages' own timestamps all lie before 2024; a scrape's time is now."""
    return point["time_ns"] if point["time_ns"] < 1_704_067_200_000_000_000 else "scrape"


def report(comparison, out=sys.stdout):
    """Writes the table; the number of unexplained differences, and of decisions that explained nothing although their page was there."""
    explained, unexplained = collections.Counter(), []
    for difference in comparison.found:
        reason = differences.explain(difference)
        if reason:
            explained[reason] += 1
        else:
            unexplained.append(difference)
    print("compared: " + ", ".join(f"{count} {what}" for what, count in sorted(comparison.counts.items())), file=out)
    for reason, count in sorted(explained.items()):
        print(f"{count:6} intended  {reason:<6} {differences.DECISIONS[reason]}", file=out)
    for difference in unexplained:
        print(f"UNEXPLAINED {difference}", file=out)
    unused = sorted(set(differences.DECISIONS) - set(explained))
    if unused:
        print(f"       nothing seen of: {', '.join(unused)}", file=out)
    print(f"{len(unexplained)} unexplained differences", file=out)
    return len(unexplained)


def compare(lines):
    comparison = Comparison(load(lines))
    comparison.run()
    return comparison


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as points:
        sys.exit(1 if report(compare(points)) else 0)
