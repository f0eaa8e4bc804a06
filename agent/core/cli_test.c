/* The command line as a person meets it: what is printed where, and the exit status. */
#include "cli.h"

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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
