/* Errors for people: filled where something fails, wrapped on the way up. */
#include "gleaner/base.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *fmt, ...)
{
	if (err) {
		va_list args;
		va_start(args, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
	}
	return -code;
}

int error_wrap(struct error *err, int code, const char *fmt, ...)
{
	if (!err)
		return -code;
	char inner[sizeof(err->text)], reason[64];
	snprintf(inner, sizeof(inner), "%s",
		err->text[0] ? err->text : (const char *)strerror_r(code, reason, sizeof(reason)));
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	if (len >= 0 && (size_t)len < sizeof(err->text))
		snprintf(err->text + len, sizeof(err->text) - (size_t)len, ": %s", inner);
	return -code;
}

struct escaped escape_bytes(struct span bytes)
{
	struct escaped escaped;
	size_t at = 0;
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.ptr[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '%';
		if (at + (plain ? 1 : 3) > 128) {
			memcpy(escaped.text + at, "...", 3);
			at += 3;
			break;
		}
		if (plain)
			escaped.text[at++] = (char)c;
		else
			at += (size_t)snprintf(escaped.text + at, 4, "%%%02X", c);
	}
	escaped.text[at] = '\0';
	return escaped;
}
