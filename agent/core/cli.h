/* cli: the command line. main.c deals with the roles that core starts by itself; everything a person types comes here. */
#pragma once

#include "gleaner/base.h"

/* Runs the command of argv[1]. Returns the exit status: 0; 1 it failed; 2 it was not understood. */
int cli_main(int argc, char **argv);

/* ---- between the files of the command line --------------------------------------------------- */

struct cli_flag {
	const char *name; /* --name; NULL ends a list */
	char letter;      /* -l; also what cli_next returns */
	bool has_value;
};
struct cli_command {
	const char *name;
	const char *usage; /* "gleaner NAME ..." */
	const char *help;  /* one line */
	const char *more;  /* paragraphs for `gleaner help NAME`, or NULL */
	const struct cli_flag *flags;
	/* argv[0] is the command's name. */
	int (*run)(const struct cli_command *command, int argc, char **argv);
};

/* Before the first cli_next of a command. */
void cli_begin(void);
/* The next flag: its letter, with ret_value when it has one; 0 when only other arguments are left (from argv[cli_rest()] on);
 * -EINVAL when the flag is not known or has no value, which was said on standard error. (getopt_long: has static state, and a
 * struct option of its own, which is why it is behind this.) */
int cli_next(const struct cli_command *command, int argc, char **argv, const char **ret_value);
int cli_rest(void);
/* Says on standard error what was wrong with the arguments, and how they go. Returns 2. */
int cli_misused(const struct cli_command *command, const char *fmt, ...) GLEANER_PRINTF(2, 3);
/* Writes to a standard stream and forgets. Returns 0, or 1 when it could not be written. */
int cli_print(int fd, struct buf *out);

int cli_scrape(const struct cli_command *about, int argc, char **argv);
int cli_explain(const struct cli_command *about, int argc, char **argv);
int cli_top(const struct cli_command *about, int argc, char **argv);

/* Asks the status server of a running agent. path begins with '/'; what comes is added to body, 64 MiB at most.
 * 0 with ret_status; -errno with err ("no agent answers at ..."). */
#define CLI_AGENT_ADDRESS "127.0.0.1:9465"
int cli_fetch(const char *address, const char *path, struct buf *body, unsigned *ret_status, struct error *err);

/* What `gleaner check` prints for a file. Returns 0 when it is fine, 1 when it is not. */
int cli_check_file(const char *path, const char *(*get_environment)(const char *name), struct buf *out);
