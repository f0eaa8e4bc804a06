// links: expo
/* Any text is read by expo_number and by strtod: both take it or neither, and the value has the same bits. */
#include "gleaner/expo.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

/* The grammar once more, as an automaton that knows no values. */
static bool is_number(const char *text)
{
	if (strcasecmp(text, "nan") == 0)
		return true;
	text += *text == '-' || *text == '+';
	if (strcasecmp(text, "inf") == 0 || strcasecmp(text, "infinity") == 0)
		return true;
	size_t whole = strspn(text, "0123456789"), fraction = 0;
	text += whole;
	if (*text == '.') {
		fraction = strspn(text + 1, "0123456789");
		text += 1 + fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		if (*text == '\0')
			return false;
		text += strspn(text, "0123456789");
	}
	return *text == '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *exact = malloc(size ? size : 1);
	if (!text || !exact)
		abort();
	memcpy(text, data, size);
	memcpy(exact, data, size);
	text[size] = '\0';

	double value = 0, expected = 0;
	int r = expo_number(span_of(exact, size), &value);
	bool number = strlen(text) == size && is_number(text);
	if (number)
		expected = strtod(text, NULL);
	bool overflow = number && __builtin_isinf(expected) && strpbrk(text, "0123456789");
	if (r != (overflow ? -ERANGE : number ? 0 : -EINVAL))
		__builtin_trap();
	if (r == 0 && memcmp(&value, &expected, sizeof(value)) != 0 &&
		!(__builtin_isnan(value) && __builtin_isnan(expected)))
		__builtin_trap();
	free(text);
	free(exact);
	return 0;
}
