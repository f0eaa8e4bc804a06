/* The command line as a person meets it: what is printed where, and the exit status. */
#include "cli.h"

#include "server.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct outcome {
	int status;
	char out[65536], err[4096];
};

static void read_back(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* Runs `gleaner ...` with its two outputs in files. The list ends with NULL. */
static struct outcome *run(const char *const *arguments)
{
	struct outcome *outcome = calloc(1, sizeof(*outcome));
	char *argv[8] = {(char *)"gleaner"};
	int argc = 1;
	for (; arguments[argc - 1]; argc++)
		argv[argc] = (char *)arguments[argc - 1];
	FILE *out = tmpfile(), *err = tmpfile();
	fflush(stdout);
	int stdout_fd = dup(STDOUT_FILENO), stderr_fd = dup(STDERR_FILENO);
	dup2(fileno(out), STDOUT_FILENO);
	dup2(fileno(err), STDERR_FILENO);
	outcome->status = cli_main(argc, argv);
	fflush(stderr);
	dup2(stdout_fd, STDOUT_FILENO);
	dup2(stderr_fd, STDERR_FILENO);
	close(stdout_fd);
	close(stderr_fd);
	read_back(out, outcome->out, sizeof(outcome->out));
	read_back(err, outcome->err, sizeof(outcome->err));
	return outcome;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void assert_misuse(struct outcome *outcome, const char *err)
{
	assert_int_equal(outcome->status, 2);
	assert_string_equal(outcome->out, "");
	test_assert_text(span_str(outcome->err), err);
	free(outcome);
}

static void version_is_printed(void **state)
{
	(void)state;
	const char *const forms[] = {"version", "--version"};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct outcome *outcome = RUN(forms[i]);
		assert_int_equal(outcome->status, 0);
		assert_string_equal(outcome->out, "gleaner " GLEANER_VERSION "\n");
		assert_string_equal(outcome->err, "");
		free(outcome);
	}
}

static void help_lists_the_commands(void **state)
{
	(void)state;
	const char *const forms[] = {"help", "--help", "-h"};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct outcome *outcome = RUN(forms[i]);
		assert_int_equal(outcome->status, 0);
		assert_non_null(strstr(outcome->out, "gleaner run [--config FILE]"));
		assert_non_null(strstr(outcome->out, "gleaner check FILE"));
		free(outcome);
	}
}

static void help_of_a_command_is_the_same_either_way(void **state)
{
	(void)state;
	struct outcome *one = RUN("help", "check"), *other = RUN("check", "--help");
	assert_int_equal(one->status, 0);
	assert_true(strncmp(one->out, "usage: gleaner check FILE\n", 26) == 0);
	assert_string_equal(one->out, other->out);
	free(one);
	free(other);
}

static void help_config_lists_every_section(void **state)
{
	(void)state;
	struct outcome *outcome = RUN("help", "config");
	assert_int_equal(outcome->status, 0);
	const char *const sections[] = {
		"global:", "\nscrape_configs:", "\n  relabel_configs:", "\nkubelet:", "\nexporters:"};
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		assert_non_null(strstr(outcome->out, sections[i]));
	free(outcome);
}

static void no_command_gives_the_overview_and_status_2(void **state)
{
	(void)state;
	struct outcome *outcome = run((const char *const[]){NULL});
	assert_int_equal(outcome->status, 2);
	assert_non_null(strstr(outcome->err, "Commands:"));
	free(outcome);
}

static void misuse_names_the_next_step(void **state)
{
	(void)state;
	assert_misuse(RUN("chek", "x"),
		"gleaner: unknown command chek; did you mean check?\n`gleaner --help` lists the commands.\n");
	assert_misuse(RUN("help", "frobnicate"),
		"gleaner: unknown command frobnicate\n`gleaner --help` lists the commands.\n");
	assert_misuse(RUN("check"),
		"gleaner check: which file?\nusage: gleaner check FILE\n`gleaner help check` says more.\n");
	assert_misuse(RUN("check", "a", "b"), "gleaner check: unexpected argument b\nusage: gleaner check FILE\n"
					      "`gleaner help check` says more.\n");
	assert_misuse(RUN("run", "--confg", "x"),
		"gleaner run: unknown option --confg\nusage: gleaner run [--config FILE]\n"
		"`gleaner help run` says more.\n");
	assert_misuse(RUN("run", "--config"),
		"gleaner run: --config needs a value\nusage: gleaner run [--config FILE]\n"
		"`gleaner help run` says more.\n");
	assert_misuse(RUN("run", "x.yaml"),
		"gleaner run: unexpected argument x.yaml; a configuration file is given by --config\n"
		"usage: gleaner run [--config FILE]\n`gleaner help run` says more.\n");
}

static void check_of_an_absent_file_fails(void **state)
{
	(void)state;
	struct outcome *outcome = RUN("check", "absent.yaml");
	assert_int_equal(outcome->status, 1);
	assert_string_equal(outcome->out, "gleaner check: open absent.yaml: No such file or directory\n");
	free(outcome);
}

static void write_page(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fputs(text, file) >= 0, 1);
	assert_int_equal(fclose(file), 0);
}

static const char page[] = "# HELP http_requests_total Requests.\n# TYPE http_requests_total "
			   "counter\nhttp_requests_total{code=\"200\"} 5\ntemp 3.5\n";

static void file_is_scraped_to_text(void **state)
{
	(void)state;
	char path[] = "/tmp/gleaner-page-XXXXXX";
	close(mkstemp(path));
	write_page(path, page);
	struct outcome *outcome = RUN("scrape", path, "--repeat", "3");
	unlink(path);
	assert_int_equal(outcome->status, 0);
	assert_non_null(strstr(outcome->out, "metric \"http_requests_total\" sum cumulative monotonic"));
	assert_non_null(strstr(outcome->out, "point {code=\"200\"}"));
	assert_non_null(strstr(outcome->out, "metric \"up\" gauge"));
	assert_non_null(strstr(outcome->err, "lines: 0 as last time, 0 moved, 4 parsed"));
	assert_non_null(strstr(outcome->err, "lines: 4 as last time, 0 moved, 0 parsed"));
	assert_null(
		strstr(strstr(outcome->out, "metric \"up\"") + 1, "metric \"up\"")); /* only the last round is shown */
	free(outcome);
}

static void page_with_a_mistake_brings_up_0_and_status_1(void **state)
{
	(void)state;
	char path[] = "/tmp/gleaner-page-XXXXXX";
	close(mkstemp(path));
	write_page(path, "fine 1\nbroken{ 1\n");
	struct outcome *outcome = RUN("scrape", "--format=json", path);
	unlink(path);
	assert_int_equal(outcome->status, 1);
	assert_true(strncmp(outcome->out, "{\"resourceMetrics\":", 19) == 0);
	assert_null(strstr(outcome->out, "fine"));
	assert_non_null(strstr(outcome->err, "up is 0: line 2:"));
	free(outcome);
}

static void url_of_this_host_is_scraped(void **state)
{
	(void)state;
	char reply[512];
	snprintf(reply, sizeof(reply),
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n\r\n%s",
		strlen(page), page);
	const struct test_reply replies[] = {{.bytes = reply, .then = TEST_CLOSE}};
	struct test_server *server = test_server_start(replies, 1, NULL, NULL);
	struct outcome *outcome = RUN("scrape", test_server_url(server, "/probe?target=a%20b&module=x"));
	struct span request = test_server_request(server, 0);
	assert_int_equal(outcome->status, 0);
	assert_non_null(strstr(outcome->out, "metric \"temp\" gauge"));
	assert_true(span_starts_with(request, SPAN("GET /probe?module=x&target=a+b HTTP/1.1\r\n")));
	test_server_stop(server);
	free(outcome);
}

static void other_hosts_are_not_scraped(void **state)
{
	(void)state;
	const char *const urls[] = {
		"http://192.0.2.1/metrics", "http://example.com/metrics", "https://[2001:db8::1]:8443"};
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct outcome *outcome = RUN("scrape", urls[i]);
		assert_int_equal(outcome->status, 1);
		assert_string_equal(outcome->out, "");
		assert_non_null(strstr(outcome->err, "is no address of this host"));
		free(outcome);
	}
}

static void address_without_http_is_told_apart_from_a_file(void **state)
{
	(void)state;
	struct outcome *outcome = RUN("scrape", "127.0.0.1:9100");
	assert_int_equal(outcome->status, 1);
	assert_string_equal(outcome->err,
		"gleaner scrape: 127.0.0.1:9100: no such file, and a URL begins with http:// or https://\n");
	free(outcome);
}

static void arguments_of_scrape_are_checked(void **state)
{
	(void)state;
	const char *const tail = "\nusage: gleaner scrape URL|FILE [--format text|json] [--repeat N]\n`gleaner help "
				 "scrape` says more.\n";
	const struct {
		const char *const arguments[5], *err;
	} cases[] = {
		{{"scrape", NULL}, "which URL or file?"},
		{{"scrape", "a", "b", NULL}, "one URL or file at a time"},
		{{"scrape", "a", "-f", "xml", NULL}, "--format is text or json, not xml"},
		{{"scrape", "a", "-n", "0", NULL}, "--repeat is a number from 1 to 1000000, not 0"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[512];
		snprintf(expected, sizeof(expected), "gleaner scrape: %s%s", cases[i].err, tail);
		assert_misuse(run(cases[i].arguments), expected);
	}
}

static void top_shows_what_the_agent_says(void **state)
{
	(void)state;
	const struct test_reply replies[] = {
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntable\n"},
		{.bytes = "HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\n\r\nsort is x\n"},
	};
	struct test_server *server = test_server_start(replies, ARRAY_SIZE(replies), NULL, NULL);
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%u", test_server_port(server));
	struct outcome *outcome = RUN("top", "--address", address, "--sort", "agent", "--limit", "7");
	assert_int_equal(outcome->status, 0);
	assert_string_equal(outcome->out, "table\n");
	assert_true(span_starts_with(
		test_server_request(server, 0), SPAN("GET /api/v1/top?format=text&sort=agent&limit=7 HTTP/1.1\r\n")));
	free(outcome);
	outcome = RUN("top", "--json", "--address", address, "--sort", "y");
	assert_int_equal(outcome->status, 2);
	assert_string_equal(outcome->out, "");
	assert_non_null(strstr(outcome->err, "answers with status 400: sort is x\n"));
	assert_true(
		span_starts_with(test_server_request(server, 1), SPAN("GET /api/v1/top?format=json&sort=y&limit=")));
	free(outcome);
	test_server_stop(server);
}

static void top_without_an_agent_says_what_to_look_at(void **state)
{
	(void)state;
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%u", test_closed_port());
	struct outcome *outcome = RUN("top", "--once", "--address", address);
	assert_int_equal(outcome->status, 1);
	assert_string_equal(outcome->out, "");
	assert_non_null(strstr(outcome->err, "gleaner top: no agent answers at 127.0.0.1:"));
	assert_non_null(
		strstr(outcome->err, "Connection refused. Is it running? --address must be its status.listen\n"));
	free(outcome);
	outcome = RUN("top", "--limit", "0");
	assert_int_equal(outcome->status, 2);
	free(outcome);
	outcome = RUN("top", "--sort", "a&b");
	assert_int_equal(outcome->status, 2);
	free(outcome);
}

static void explain_shows_what_the_agent_says(void **state)
{
	(void)state;
	const struct test_reply replies[] = {
		{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwhy\n"},
		{.bytes = "HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nunknown\n"},
	};
	struct test_server *server = test_server_start(replies, ARRAY_SIZE(replies), NULL, NULL);
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%u", test_server_port(server));
	struct outcome *outcome = RUN("explain", "--pod", "shop/a&b c", "--address", address);
	assert_int_equal(outcome->status, 0);
	assert_string_equal(outcome->out, "why\n");
	assert_true(span_starts_with(test_server_request(server, 0),
		SPAN("GET /api/v1/explain?format=text&pod=shop/a%26b%20c HTTP/1.1\r\n")));
	free(outcome);
	outcome = RUN("explain", "--json", "--address", address, "10.0.0.1:80");
	assert_int_equal(outcome->status, 1); /* not known there; what it says is shown all the same */
	assert_string_equal(outcome->out, "unknown\n");
	assert_true(span_starts_with(test_server_request(server, 1),
		SPAN("GET /api/v1/explain?format=json&address=10.0.0.1:80 HTTP/1.1\r\n")));
	free(outcome);
	test_server_stop(server);
}

static void explain_takes_one_subject(void **state)
{
	(void)state;
	struct outcome *outcome = RUN("explain", "--pod", "a", "--monitor", "b");
	assert_int_equal(outcome->status, 2);
	free(outcome);
	outcome = RUN("explain", "a", "b");
	assert_int_equal(outcome->status, 2);
	free(outcome);
	outcome = RUN("explain", "--pod", "");
	assert_int_equal(outcome->status, 2);
	free(outcome);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_is_printed),
		cmocka_unit_test(help_lists_the_commands),
		cmocka_unit_test(help_of_a_command_is_the_same_either_way),
		cmocka_unit_test(help_config_lists_every_section),
		cmocka_unit_test(no_command_gives_the_overview_and_status_2),
		cmocka_unit_test(misuse_names_the_next_step),
		cmocka_unit_test(check_of_an_absent_file_fails),
		cmocka_unit_test(top_shows_what_the_agent_says),
		cmocka_unit_test(top_without_an_agent_says_what_to_look_at),
		cmocka_unit_test(explain_shows_what_the_agent_says),
		cmocka_unit_test(explain_takes_one_subject),
		cmocka_unit_test(file_is_scraped_to_text),
		cmocka_unit_test(page_with_a_mistake_brings_up_0_and_status_1),
		cmocka_unit_test(url_of_this_host_is_scraped),
		cmocka_unit_test(other_hosts_are_not_scraped),
		cmocka_unit_test(address_without_http_is_told_apart_from_a_file),
		cmocka_unit_test(arguments_of_scrape_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
