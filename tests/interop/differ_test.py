#!/usr/bin/python3
"""differ.py finds what it is there to find: each test changes one thing on one side."""

import copy
import io
import unittest

import differ

SECOND = 1_000_000_000
NOW = 1_795_000_000 * SECOND


def point(side, seconds, name="m_total", value=None, app="web", **fields):
    scope = differ.differences.RECEIVER_SCOPE if side == "receiver" else "gleaner"
    return {
        "from": side,
        "resource": {"service.name": app, "service.instance.id": "10.0.0.1:80", "server.port": "80"},
        "scope": {"name": scope, "version": "1", "attributes": {}, "schema": ""},
        "name": name,
        "description": "d",
        "unit": "By",
        "metadata": {"prometheus.type": "counter"},
        "type": "sum",
        "temporality": 2,
        "monotonic": True,
        "attributes": {"a": "1", "app": app},
        "start_ns": 0,
        "time_ns": NOW + int(seconds * SECOND),
        "flags": 0,
        "value": {"double": 5.0} if value is None else value,
        "exemplars": [],
        **fields,
    }


def both(**fields):
    return [
        point(side, seconds + (side == "gleaner"), **copy.deepcopy(fields))
        for side in differ.SIDES
        for seconds in range(0, 10, 2)
    ]


class DifferTest(unittest.TestCase):
    def found(self, points):
        """The differences but for the scope's name, as texts."""
        comparison = differ.compare(points)
        return [str(found) for found in comparison.found if found.what != "default scope"]

    def changed(self, points, change):
        points = copy.deepcopy(points)
        for one in points:
            if one["from"] == "gleaner":
                change(one)
        return points

    def assert_one(self, points, text):
        found = self.found(points)
        self.assertEqual(len(found), 1, found)
        self.assertIn(text, found[0])

    def test_equal_sides_have_no_difference(self):
        self.assertEqual(self.found(both()), [])

    def test_every_field_of_a_metric_is_compared(self):
        for field, value in (
            ("description", "e"),
            ("unit", "b"),
            ("metadata", {}),
            ("temporality", 1),
            ("monotonic", False),
        ):
            with self.subTest(field):
                self.assert_one(self.changed(both(), lambda one: one.update({field: value})), f" {field}:")

    def test_resource_and_scope_are_compared(self):
        self.assert_one(
            self.changed(both(), lambda one: one["resource"].update({"server.port": "81"})), "resource server.port"
        )
        self.assert_one(
            self.changed(both(), lambda one: one["resource"].update({"k8s.more": "x"})), "resource k8s.more"
        )
        self.assertEqual(len(self.found(self.changed(both(), lambda one: one["scope"].update(name="other")))), 2)

    def test_names_types_and_attributes_are_compared(self):
        self.assertEqual(len(self.found(self.changed(both(), lambda one: one.update(name="n")))), 2)
        self.assertEqual(len(self.found(self.changed(both(), lambda one: one.update(type="gauge")))), 2)
        self.assertEqual(len(self.found(self.changed(both(), lambda one: one["attributes"].update(a="2")))), 2)

    def test_stale_points_are_compared(self):
        more = [point("receiver", 11, flags=1, value={})]
        self.assert_one(both() + more, "stale point")

    def test_number_type_is_compared(self):
        self.assert_one(self.changed(both(), lambda one: one.update(value={"int": 5})), "value's type")

    def test_still_counter_must_have_the_same_value(self):
        points = both()
        points[-2]["value"] = {"double": 6.0}
        self.assert_one(points, "value")

    def test_moving_gauge_may_differ_but_not_always(self):
        gauge = {"type": "gauge", "temporality": None, "monotonic": None, "metadata": {"prometheus.type": "gauge"}}
        points = both(**gauge)
        points[-2]["value"] = {"double": 6.0}
        self.assertEqual(self.found(points), [])
        self.assert_one(self.changed(points, lambda one: one.update(value={"double": 6.0})), "value")

    def test_moving_counters_must_fit_into_one_order(self):
        points = both()
        for one in points:
            one["value"] = {"double": float(one["time_ns"] - NOW)}
        self.assertEqual(self.found(points), [])
        self.assert_one(
            self.changed(points, lambda one: one.update(value={"double": one["value"]["double"] * 3})), "order"
        )

    def test_pages_are_compared_to_the_last_bit(self):
        bucket = {"count": 1, "sum": 1.0, "bounds": [1.0], "buckets": [1, 0]}
        page = both(app="pages", type="histogram", monotonic=None, value=bucket)
        self.assertEqual(self.found(page), [])
        self.assert_one(self.changed(page, lambda one: one["value"].update(bounds=[2.0])), "bounds")
        self.assert_one(self.changed(page, lambda one: one["value"].update(buckets=[0, 1])), "value")
        self.assert_one(self.changed(page, lambda one: one["exemplars"].append({"time_ns": 7})), "exemplars")
        self.assert_one(self.changed(page, lambda one: one.update(start_ns=7)), "start_ns")

    def test_report_counts_only_what_no_decision_intends(self):
        comparison = differ.compare(self.changed(both(), lambda one: one.update(unit="x")))
        out = io.StringIO()
        self.assertEqual(differ.report(comparison, out), 1)
        self.assertIn("1 unexplained differences", out.getvalue())
        self.assertIn("D-23", out.getvalue())


if __name__ == "__main__":
    unittest.main()
