/* `gleaner explain`: asks a running agent why something is scraped or not, and shows the answer; the agent does the rest (explain.c). */
#include "cli.h"

#include <stdio.h>
#include <unistd.h>

enum { ANSWER_MAX_BYTES = 8 << 20 };

struct explain_command {
	const char *address, *kind, *name; /* kind: the query's parameter; NULL: the node */
	bool json;
};

/* Everything but unreserved characters, so that names are names. */
static void put_query(struct buf *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:";
	for (; *text; text++) {
		if (strchr(plain, *text))
			buf_char(out, *text);
		else
			buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

static int ask(const struct explain_command *command)
{
	struct buf path, answer;
	struct error err = {""};
	unsigned status = 0;
	int shown = 0;
	buf_init(&path, 4000);
	buf_init(&answer, ANSWER_MAX_BYTES);
	buf_printf(&path, "/api/v1/explain?format=%s", command->json ? "json" : "text");
	if (command->kind) {
		buf_printf(&path, "&%s=", command->kind);
		put_query(&path, command->name);
	}
	buf_char(&path, '\0');
	int result = path.failed ? path.failed : cli_fetch(command->address, path.ptr, &answer, &status, &err);
	if (result < 0)
		fprintf(stderr, "gleaner explain: %s\n", err.text[0] ? err.text : strerror(-result));
	else if (status != 200 && status != 404)
		fprintf(stderr, "gleaner explain: %s answers with status %u: %s\n", command->address, status,
			escape_bytes(span_trim(buf_view(&answer))).text);
	else
		shown = cli_print(STDOUT_FILENO, &answer);
	if (result < 0 || (status != 200 && status != 404))
		buf_done(&answer);
	buf_done(&path);
	return result != 0 || status != 200 || shown != 0;
}

/* One of --pod, --monitor and an address. Returns whether it is the first. */
static bool choose(struct explain_command *command, const char *kind, const char *name)
{
	if (command->kind)
		return false;
	command->kind = kind;
	command->name = name;
	return true;
}

int cli_explain(const struct cli_command *about, int argc, char **argv)
{
	struct explain_command command = {.address = CLI_AGENT_ADDRESS};
	const char *value;
	int flag;
	bool one = true;
	while ((flag = cli_next(about, argc, argv, &value)) > 0) {
		if (flag == 'j')
			command.json = true;
		else if (flag == 'a')
			command.address = value;
		else
			one = one && choose(&command, flag == 'p' ? "pod" : "monitor", value);
	}
	if (flag < 0)
		return 2;
	int rest = cli_rest();
	if (argc > rest)
		one = one && choose(&command, "address", argv[rest++]);
	if (argc > rest)
		return cli_misused(about, "unexpected argument %s", escape_bytes(span_str(argv[rest])).text);
	if (!one)
		return cli_misused(about, "one of --pod, --monitor and an address");
	if (command.kind && command.name[0] == '\0')
		return cli_misused(about, "which %s?", command.kind);
	return ask(&command);
}
