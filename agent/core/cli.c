/* The commands, and the words about them. */
#include "cli.h"

#include "core.h"
#include "gleaner/probe.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_MAX_BYTES ((size_t)16 << 20)

static int cli_run(const struct cli_command *command, int argc, char **argv);
static int cli_check(const struct cli_command *command, int argc, char **argv);
static int cli_version(const struct cli_command *command, int argc, char **argv);
static int cli_help(const struct cli_command *command, int argc, char **argv);
static int cli_probe(const struct cli_command *command, int argc, char **argv);
static int cli_config_doc(const struct cli_command *command, int argc, char **argv);

static const struct cli_flag no_flags[] = {{0}};
static const struct cli_flag config_flags[] = {{"config", 'c', true}, {0}};

static const struct cli_flag scrape_flags[] = {{"format", 'f', true}, {"repeat", 'n', true}, {0}};

static const struct cli_flag top_flags[] = {{"once", '1', false}, {"json", 'j', false}, {"address", 'a', true},
	{"sort", 's', true}, {"limit", 'n', true}, {0}};

static const struct cli_flag explain_flags[] = {
	{"pod", 'p', true}, {"monitor", 'm', true}, {"json", 'j', false}, {"address", 'a', true}, {0}};

static const struct cli_command commands[] = {
	{"run", "gleaner run [--config FILE]", "Run the agent until SIGTERM.",
		"Without --config the built-in settings and the environment hold; OTEL_EXPORTER_OTLP_ENDPOINT says "
		"where to\n"
		"send to. SIGHUP reads the file again; a file with mistakes changes nothing.\n",
		config_flags, cli_run},
	{"check", "gleaner check FILE", "Say what is wrong with a configuration file, or what it does.",
		"Exit status 0 when the file can be used, 1 when not. Every mistake is shown with its line. Nothing is "
		"sent or\n"
		"started; files that the configuration names (certificates) are read.\n",
		no_flags, cli_check},
	{"scrape", "gleaner scrape URL|FILE [--format text|json] [--repeat N]",
		"Show what one endpoint of this host, or one saved page, becomes.",
		"The data points go to standard output, as text or as OTLP/JSON (one request a line); counts, bytes "
		"and the time\n"
		"of each stage to standard error. --repeat takes the same page in again, N times in all, and shows the "
		"last.\n"
		"Exit status 0 when the page is sound, 1 when not (up is 0 then).\n",
		scrape_flags, cli_scrape},
	{"top", "gleaner top [--once] [--json] [--sort KEY] [--limit N] [--address HOST:PORT]",
		"Show the node's targets by what scraping them costs, at the target and here.",
		"Asks the agent that runs at --address (its status.listen, " CLI_AGENT_ADDRESS " by default), every 2 "
		"seconds on\n"
		"a terminal, else once.\n"
		"  CPU/SCRAPE, P99  CPU time of the target for one of the last 15 scrapes: median, and the dearest; "
		"\">=\": "
		"a\n"
		"                   lower bound only; \"-\": not known\n"
		"  METHOD           where the estimate comes from (process clock, or causal: the threads that answered "
		"and\n"
		"                   those they woke), and how far to trust it\n"
		"  AGENT            gleaner's own CPU time for one scrape\n"
		"  %CORE            the figure to its left as a share of one core, at the target's interval\n"
		"  IN, OUT          bytes of the last scrape as received, and as sent to the gateway\n"
		"  --sort KEY       share (the default), cpu, p99, agent, samples, in, out, took, name\n",
		top_flags, cli_top},
	{"explain", "gleaner explain [--pod NS/NAME | --monitor NS/NAME | ADDRESS] [--json] [--address HOST:PORT]",
		"Say why a pod, a monitor's pods or an address is scraped, or is not.",
		"Asks the agent that runs at --address (its status.listen, " CLI_AGENT_ADDRESS
		" by default), on the pod's "
		"node.\n"
		"The first line is the verdict; then each source, which rule or limit dropped what, the last error, "
		"and what to\n"
		"do next (docs/explain.md). Without arguments: the node as a whole.\n"
		"  ADDRESS          host:port, an IP address, or a target's URL\n"
		"Exit status 0 when there is an answer, 1 when the pod, monitor or address is not known here.\n",
		explain_flags, cli_explain},
	{"config-doc", "gleaner config-doc", "Print docs/config.md, the reference of the configuration file.", NULL,
		no_flags, cli_config_doc},
	{"probe", "gleaner probe --check | --listen PATH [--peer-uid UID] [--off PROGRAM]... [--strict]",
		"Load the eBPF programs for a gleaner without privileges, or say which of them this kernel takes.",
		"Needs CAP_BPF and CAP_PERFMON, and hostPID for what listens already.\n"
		"  --check          one line a program: attached, unsupported, denied (with the missing right), "
		"failed;\n"
		"                   exit status 0 when all are attached, else 3\n"
		"  --listen PATH    serve the gleaner whose probe.socket is PATH; the folder of PATH guards it\n"
		"  --peer-uid UID   with --listen: who may connect besides root; the own uid when left out\n"
		"  --off PROGRAM    leave a program out\n"
		"  --strict         exit with 3 instead of serving with a program missing\n"
		"`gleaner run` starts one by itself when it may (probe.enabled: auto).\n",
		no_flags, cli_probe},
	{"version", "gleaner version", "Print the version.", NULL, no_flags, cli_version},
	{"help", "gleaner help [COMMAND | config]", "Say more about a command, or list all keys of the file.", NULL,
		no_flags, cli_help},
};

static const struct cli_command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void put_overview(struct buf *out)
{
	buf_str(out, "gleaner scrapes the Prometheus endpoints of its Kubernetes node and sends them as "
		     "OTLP.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		buf_printf(out, "  %s\n      %s\n", commands[i].usage, commands[i].help);
	buf_str(out, "\nThe shortest way to metrics:\n"
		     "  OTEL_EXPORTER_OTLP_ENDPOINT=http://gateway:4318 gleaner run\n"
		     "\n`gleaner help COMMAND` says more, `gleaner help config` lists the keys of the configuration "
		     "file.\n");
}

static int unknown_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands) + 1] = {NULL};
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	const char *nearest = config_suggest(span_str(name), names);
	fprintf(stderr, "gleaner: unknown command %s%s%s%s\n`gleaner --help` lists the commands.\n",
		escape_bytes(span_str(name)).text, nearest ? "; did you mean " : "", nearest ? nearest : "",
		nearest ? "?" : "");
	return 2;
}

int cli_main(int argc, char **argv)
{
	struct buf out;
	buf_init(&out, OUTPUT_MAX_BYTES);
	if (argc < 2) {
		put_overview(&out);
		cli_print(STDERR_FILENO, &out);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		put_overview(&out);
		return cli_print(STDOUT_FILENO, &out);
	}
	const struct cli_command *command = find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
	if (!command)
		return unknown_command(argv[1]);
	bool wants_help = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
	if (wants_help) {
		cli_begin();
		char *help[] = {(char *)"help", argv[1], NULL};
		return cli_help(find("help"), 2, help);
	}
	cli_begin();
	return command->run(command, argc - 1, argv + 1);
}

/* For commands that take no flags and at most `most` arguments. Returns their count, or -2 when it was said what is wrong. */
static int arguments(const struct cli_command *command, int argc, char **argv, int most)
{
	const char *value;
	if (cli_next(command, argc, argv, &value) < 0)
		return -2;
	int count = argc - cli_rest();
	if (count > most) {
		cli_misused(command, "unexpected argument %s", escape_bytes(span_str(argv[cli_rest() + most])).text);
		return -2;
	}
	return count;
}

static const char *environment(const char *name)
{
	return getenv(name);
}

static int cli_run(const struct cli_command *command, int argc, char **argv)
{
	struct core_options options = {.get_environment = environment};
	const char *value;
	int flag;
	while ((flag = cli_next(command, argc, argv, &value)) > 0)
		options.config_path = value;
	if (flag < 0)
		return 2;
	if (argc > cli_rest())
		return cli_misused(command, "unexpected argument %s; a configuration file is given by --config",
			escape_bytes(span_str(argv[cli_rest()])).text);
	return core_run(&options);
}

static int cli_check(const struct cli_command *command, int argc, char **argv)
{
	int count = arguments(command, argc, argv, 1);
	if (count < 0)
		return 2;
	if (count == 0)
		return cli_misused(command, "which file?");
	struct buf out;
	buf_init(&out, OUTPUT_MAX_BYTES);
	int status = cli_check_file(argv[cli_rest()], environment, &out);
	return cli_print(STDOUT_FILENO, &out) == 0 ? status : 1;
}

static int cli_config_doc(const struct cli_command *command, int argc, char **argv)
{
	if (arguments(command, argc, argv, 0) < 0)
		return 2;
	struct buf out;
	buf_init(&out, OUTPUT_MAX_BYTES);
	config_document(&settings_table, &out);
	return cli_print(STDOUT_FILENO, &out);
}

/* Reads its arguments itself: core starts it, too. */
static int cli_probe(const struct cli_command *command, int argc, char **argv)
{
	(void)command;
	return probe_main(argc, argv);
}

static int cli_version(const struct cli_command *command, int argc, char **argv)
{
	if (arguments(command, argc, argv, 0) < 0)
		return 2;
	struct buf out;
	buf_init(&out, OUTPUT_MAX_BYTES);
	buf_str(&out, "gleaner " GLEANER_VERSION "\n");
	return cli_print(STDOUT_FILENO, &out);
}

static int cli_help(const struct cli_command *command, int argc, char **argv)
{
	int count = arguments(command, argc, argv, 1);
	if (count < 0)
		return 2;
	const char *topic = count == 1 ? argv[cli_rest()] : NULL;
	const struct cli_command *about = topic ? find(topic) : NULL;
	struct buf out;
	buf_init(&out, OUTPUT_MAX_BYTES);
	if (!topic)
		put_overview(&out);
	else if (about)
		buf_printf(&out, "usage: %s\n\n%s\n%s%s", about->usage, about->help, about->more ? "\n" : "",
			about->more ? about->more : "");
	else if (strcmp(topic, "config") == 0)
		config_help(&settings_table, &out);
	else
		return unknown_command(topic);
	return cli_print(STDOUT_FILENO, &out);
}
