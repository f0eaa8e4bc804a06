/* See percent.h. The result is NUL-terminated, so that it may also be used as a string. */
#include "percent.h"

#include <errno.h>

int percent_decode(struct span text, bool plus_is_blank, struct arena *arena, struct span *ret_text)
{
	char *copy = arena_spandup(arena, text);
	if (!copy)
		return -ENOMEM;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		copy[len] = plus_is_blank && text.ptr[i] == '+' ? ' ' : text.ptr[i];
		if (text.ptr[i] == '%') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
			if (low < 0 || high + low == 0)
				return -EINVAL;
			copy[len] = (char)(high << 4 | low);
			i += 2;
		}
		len++;
	}
	copy[len] = '\0';
	*ret_text = span_of(copy, len);
	return 0;
}
