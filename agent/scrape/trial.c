/* Is this an exposition at all? Asked of a port that nobody declared, before it may become a target. */
#include "gleaner/scrape.h"

enum { TRIAL_ENTRIES = 1000 };

/* Whether the header names a format; one that names none of ours is somebody else's page. */
static bool format_of(struct span content_type, enum expo_format *ret_format)
{
	enum expo_format as_text, as_openmetrics;
	if (expo_format_of(content_type, EXPO_TEXT, &as_text) < 0 ||
		expo_format_of(content_type, EXPO_OPENMETRICS, &as_openmetrics) < 0)
		return false;
	*ret_format = as_text;
	return content_type.len == 0 || as_text == as_openmetrics;
}

bool scrape_is_exposition(struct span body, struct span content_type, size_t max_line_bytes)
{
	struct expo_parser parser;
	struct expo_entry entry;
	enum expo_format format;
	size_t samples = 0;
	int result = 1;
	if (!format_of(content_type, &format))
		return false;
	expo_init(&parser, format, body, max_line_bytes);
	for (size_t i = 0; i < TRIAL_ENTRIES && (result = expo_next(&parser, &entry)) == 1; i++)
		samples += entry.kind == EXPO_SAMPLE;
	return result >= 0 && samples > 0;
}
