/* getopt_long behind an interface without its struct option, and what is said about wrong arguments. */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

enum { FLAGS_MAX = 15 };

/* Our flags in getopt's two forms. short_forms begins with ':' so that a missing value is told apart. */
static void translate(const struct cli_flag *flags, struct option *ret_long, char *ret_short)
{
	*ret_short++ = ':';
	for (; flags->name; flags++) {
		*ret_long++ = (struct option){
			flags->name, flags->has_value ? required_argument : no_argument, NULL, flags->letter};
		*ret_short++ = flags->letter;
		if (flags->has_value)
			*ret_short++ = ':';
	}
	*ret_long = (struct option){0};
	*ret_short = '\0';
}

void cli_begin(void)
{
	optind = 0; /* glibc: start over, whatever was parsed before */
}

int cli_next(const struct cli_command *command, int argc, char **argv, const char **ret_value)
{
	struct option long_forms[FLAGS_MAX + 1];
	char short_forms[2 * FLAGS_MAX + 2];
	translate(command->flags, long_forms, short_forms);
	opterr = 0;
	int found = getopt_long(argc, argv, short_forms, long_forms, NULL);
	if (found == '?' || found == ':') {
		const char *given = argv[optind - 1];
		cli_misused(command, found == ':' ? "%s needs a value" : "unknown option %s",
			escape_bytes(span_str(given)).text);
		return -EINVAL;
	}
	*ret_value = optarg;
	return found < 0 ? 0 : found;
}

int cli_rest(void)
{
	return optind;
}

int cli_misused(const struct cli_command *command, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fprintf(stderr, "gleaner %s: ", command->name);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\nusage: %s\n`gleaner help %s` says more.\n", command->usage, command->name);
	return 2;
}

int cli_print(int fd, struct buf *out)
{
	size_t written = 0;
	while (!out->failed && written < out->len) {
		ssize_t n = write(fd, out->ptr + written, out->len - written);
		if (n < 0 && errno != EINTR)
			break;
		written += n > 0 ? (size_t)n : 0;
	}
	bool whole = !out->failed && written == out->len;
	buf_done(out);
	return whole ? 0 : 1;
}
