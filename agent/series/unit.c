/* UNIT words to UCUM: the table of the OpenTelemetry specification, "ratio", and X_per_Y (D-14). */
#include "ingest.h"

struct unit {
	struct span word, ucum;
};

#define UNIT(word, ucum)                                                                                               \
	{                                                                                                              \
		{word, sizeof(word) - 1},                                                                              \
		{                                                                                                      \
			ucum, sizeof(ucum) - 1                                                                         \
		}                                                                                                      \
	}
static const struct unit units[] = {
	UNIT("days", "d"),
	UNIT("hours", "h"),
	UNIT("minutes", "min"),
	UNIT("seconds", "s"),
	UNIT("milliseconds", "ms"),
	UNIT("microseconds", "us"),
	UNIT("nanoseconds", "ns"),
	UNIT("bytes", "By"),
	UNIT("kibibytes", "KiBy"),
	UNIT("mebibytes", "MiBy"),
	UNIT("gibibytes", "GiBy"),
	UNIT("tebibytes", "TiBy"),
	UNIT("kilobytes", "kBy"),
	UNIT("megabytes", "MBy"),
	UNIT("gigabytes", "GBy"),
	UNIT("terabytes", "TBy"),
	UNIT("meters", "m"),
	UNIT("volts", "V"),
	UNIT("amperes", "A"),
	UNIT("joules", "J"),
	UNIT("watts", "W"),
	UNIT("grams", "g"),
	UNIT("celsius", "Cel"),
	UNIT("hertz", "Hz"),
	UNIT("percent", "%"),
	UNIT("ratio", "1"),
};
static const struct unit units_per[] = {
	UNIT("second", "s"),
	UNIT("minute", "min"),
	UNIT("hour", "h"),
	UNIT("day", "d"),
	UNIT("week", "w"),
	UNIT("month", "mo"),
	UNIT("year", "y"),
};

/* Any other word stays what it is. */
static struct span translate(const struct unit *table, size_t count, struct span word)
{
	for (size_t i = 0; i < count; i++) {
		if (span_eq(table[i].word, word))
			return table[i].ucum;
	}
	return word;
}

struct span unit_ucum(struct span unit, struct buf *scratch)
{
	static const char per[] = "_per_";
	const char *split = unit.len > 0 ? memmem(unit.ptr, unit.len, per, strlen(per)) : NULL;
	if (!split)
		return translate(units, ARRAY_SIZE(units), unit);
	struct span below = span_of(split + strlen(per), (size_t)(unit.ptr + unit.len - split) - strlen(per));
	buf_reset(scratch);
	buf_span(scratch, translate(units, ARRAY_SIZE(units), span_of(unit.ptr, (size_t)(split - unit.ptr))));
	buf_char(scratch, '/');
	buf_span(scratch, translate(units_per, ARRAY_SIZE(units_per), below));
	return buf_view(scratch);
}
