/* `gleaner top`: asks a running agent for its table and shows it; the agent does the rest (top.c). */
#include "cli.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REFRESH_SECONDS 2

enum { TABLE_MAX_BYTES = 64 << 20, LINES_AROUND = 6 /* of the table: what is above, and the prompt */ };

struct top_command {
	const char *address, *sort;
	bool once, json;
	uint64_t limit;        /* 0: all, or what fits the terminal */
	struct winsize window; /* ws_col 0: not a terminal */
};

static void terminal(struct top_command *command)
{
	if (command->json || command->once || ioctl(STDOUT_FILENO, TIOCGWINSZ, &command->window) < 0)
		command->window = (struct winsize){0};
}

/* Lines as wide as the terminal; the text is ASCII. */
static void put_cut(struct buf *out, struct span text, size_t columns)
{
	struct span line;
	while (span_next(&text, '\n', &line)) {
		if (text.ptr || line.len > 0)
			buf_printf(out, "%.*s\n", (int)(line.len < columns ? line.len : columns),
				line.ptr ? line.ptr : "");
	}
}

static int show(const struct top_command *command, struct span table)
{
	struct buf out;
	buf_init(&out, (size_t)2 * TABLE_MAX_BYTES);
	if (command->window.ws_col > 0) {
		buf_str(&out, "\033[H\033[J");
		put_cut(&out, table, command->window.ws_col);
	} else {
		buf_span(&out, table);
	}
	return cli_print(STDOUT_FILENO, &out);
}

static int ask(const struct top_command *command)
{
	char path[128];
	uint64_t limit = command->limit;
	struct error err = {""};
	struct buf table;
	unsigned status = 0;
	if (limit == 0 && command->window.ws_row > LINES_AROUND)
		limit = command->window.ws_row - LINES_AROUND;
	if (limit == 0)
		limit = UINT32_MAX;
	snprintf(path, sizeof(path), "/api/v1/top?format=%s&sort=%s&limit=%llu", command->json ? "json" : "text",
		command->sort, (unsigned long long)limit);
	buf_init(&table, TABLE_MAX_BYTES);
	int result = cli_fetch(command->address, path, &table, &status, &err);
	if (result < 0)
		fprintf(stderr, "gleaner top: %s\n", err.text[0] ? err.text : strerror(-result));
	else if (status != 200)
		fprintf(stderr, "gleaner top: %s answers with status %u: %s\n", command->address, status,
			escape_bytes(span_trim(buf_view(&table))).text);
	else
		result = show(command, buf_view(&table));
	buf_done(&table);
	return status == 400 ? 2 : result != 0 || status != 200; /* 400: an argument that is none */
}

static bool is_word(const char *text)
{
	return text[0] != '\0' && strlen(text) < 32 &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789")] == '\0';
}

int cli_top(const struct cli_command *about, int argc, char **argv)
{
	struct top_command command = {.address = CLI_AGENT_ADDRESS, .sort = "share"};
	const char *value;
	int flag;
	while ((flag = cli_next(about, argc, argv, &value)) > 0) {
		if (flag == '1')
			command.once = true;
		else if (flag == 'j')
			command.json = true;
		else if (flag == 'a')
			command.address = value;
		else if (flag == 's' && is_word(value))
			command.sort = value;
		else if (flag == 's')
			return cli_misused(about, "--sort is one word, not %s", escape_bytes(span_str(value)).text);
		else if (span_to_u64(span_str(value), &command.limit) < 0 || command.limit == 0)
			return cli_misused(
				about, "--limit is a number from 1, not %s", escape_bytes(span_str(value)).text);
	}
	if (flag < 0)
		return 2;
	if (argc > cli_rest())
		return cli_misused(about, "unexpected argument %s", escape_bytes(span_str(argv[cli_rest()])).text);
	terminal(&command);
	int status = ask(&command);
	while (status == 0 && command.window.ws_col > 0) {
		nanosleep(&(struct timespec){.tv_sec = REFRESH_SECONDS}, NULL);
		terminal(&command);
		status = ask(&command);
	}
	return status;
}
