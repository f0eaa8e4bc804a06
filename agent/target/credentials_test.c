/* Credentials: what the keys give, what they refuse, and files that are written anew. */
#include "gleaner/target.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct target_global_options global = {
	.scrape_interval_ns = 60 * NS_PER_SEC, .scrape_timeout_ns = 10 * NS_PER_SEC};

static struct target_job *make(const struct target_job_options *options)
{
	struct target_job *job = NULL;
	struct error err = {""};
	if (target_job_new(options, &global, &job, &err) < 0)
		fail_msg("%s", err.text);
	return job;
}

static void assert_authorization(const struct target_job_options *options, const char *expected)
{
	struct target_job *job = make(options);
	test_assert_text(job->credentials->authorization, expected);
	target_job_unref(job);
}

/* A file of its own folder, replaced as a projected volume does it. */
struct folder {
	char path[64], file[96];
};

static void folder_write(const struct folder *folder, const char *text)
{
	char fresh[128];
	snprintf(fresh, sizeof(fresh), "%s.fresh", folder->file);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(rename(fresh, folder->file), 0);
}

static void folder_make(struct folder *folder, const char *text)
{
	snprintf(folder->path, sizeof(folder->path), "/tmp/gleaner_credentials_XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	snprintf(folder->file, sizeof(folder->file), "%s/secret", folder->path);
	folder_write(folder, text);
}

static void folder_remove(const struct folder *folder)
{
	unlink(folder->file);
	rmdir(folder->path);
}

/* ---- values ---------------------------------------------------------------------------- */

static void each_way_to_log_in_gives_its_header(void **state)
{
	(void)state;
	struct target_job_options options = {.job_name = "web"};
	assert_authorization(&options, "");
	options.basic_auth_given = true;
	options.basic_auth = (struct target_basic_auth_options){.username = "user", .password = "pass"};
	assert_authorization(&options, "Basic dXNlcjpwYXNz");
	options.basic_auth = (struct target_basic_auth_options){.username = "user"};
	assert_authorization(&options, "Basic dXNlcjo=");
	options = (struct target_job_options){
		.job_name = "web", .authorization_given = true, .authorization = {.credentials = "abc\n"}};
	assert_authorization(&options, "Bearer abc");
	options.authorization.type = "Token";
	assert_authorization(&options, "Token abc");
	options = (struct target_job_options){.job_name = "web", .bearer_token = "abc"};
	assert_authorization(&options, "Bearer abc");
}

static void files_give_what_they_hold_without_the_white_space_around_it(void **state)
{
	(void)state;
	struct folder folder;
	folder_make(&folder, " pass word \n");
	struct target_job_options options = {.job_name = "web",
		.basic_auth_given = true,
		.basic_auth = {.username = "user", .password_file = folder.file}};
	assert_authorization(&options, "Basic dXNlcjpwYXNzIHdvcmQ=");
	options = (struct target_job_options){.job_name = "web", .bearer_token_file = folder.file};
	assert_authorization(&options, "Bearer pass word");
	folder_remove(&folder);
}

static void what_no_header_can_hold_is_refused_without_being_said(void **state)
{
	(void)state;
	struct target_job_options options = {
		.job_name = "web", .authorization_given = true, .authorization = {.credentials = "sec\nret"}};
	struct target_job *job = NULL;
	struct error err = {""};
	assert_int_equal(target_job_new(&options, &global, &job, &err), -EINVAL);
	assert_non_null(strstr(err.text, "job `web`: authorization: a control byte"));
	assert_null(strstr(err.text, "sec"));
	char *large = malloc(70000);
	memset(large, 'x', 69999);
	large[69999] = '\0';
	options.authorization.credentials = large;
	assert_int_equal(target_job_new(&options, &global, &job, &err), -EINVAL);
	assert_string_equal(err.text, "job `web`: authorization.credentials: larger than 65536 bytes");
	free(large);
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void assert_refused(struct target_job_options options, const char *key, const char *text)
{
	const char *blamed = NULL;
	struct error err = {""};
	options.job_name = "web";
	options.scheme = "http";
	assert_int_equal(target_job_table.check(&options, NULL, &blamed, &err), -EINVAL);
	assert_string_equal(err.text, text);
	assert_string_equal(blamed, key);
}

static void what_contradicts_itself_is_refused_in_prometheus_words(void **state)
{
	(void)state;
	assert_refused((struct target_job_options){.bearer_token = "a", .bearer_token_file = "b"}, "bearer_token",
		"at most one of bearer_token & bearer_token_file must be configured");
	assert_refused((struct target_job_options){.bearer_token = "a", .basic_auth_given = true}, "basic_auth",
		"at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
	assert_refused((struct target_job_options){.basic_auth_given = true,
			       .basic_auth = {.username = "a", .username_file = "b"}},
		"basic_auth", "at most one of basic_auth username & username_file must be configured");
	assert_refused((struct target_job_options){.basic_auth_given = true,
			       .basic_auth = {.password = "a", .password_file = "b"}},
		"basic_auth", "at most one of basic_auth password & password_file must be configured");
	assert_refused((struct target_job_options){.authorization_given = true, .bearer_token = "a"}, "authorization",
		"authorization is not compatible with bearer_token & bearer_token_file");
	assert_refused((struct target_job_options){.authorization_given = true, .basic_auth_given = true},
		"authorization", "at most one of basic_auth, oauth2 & authorization must be configured");
	assert_refused((struct target_job_options){.authorization_given = true, .authorization = {.type = " BASIC "}},
		"authorization", "authorization type cannot be set to \"basic\", use \"basic_auth\" instead");
	assert_refused((struct target_job_options){.authorization_given = true,
			       .authorization = {.credentials = "a", .credentials_file = "b"}},
		"authorization", "at most one of authorization credentials & credentials_file must be configured");
	assert_refused((struct target_job_options){.tls_config = {.ca = "a", .ca_file = "b"}}, "tls_config",
		"at most one of ca & ca_file must be configured");
	assert_refused((struct target_job_options){.tls_config = {.cert_file = "b"}}, "tls_config",
		"exactly one of key or key_file must be configured when a client certificate is configured");
	assert_refused((struct target_job_options){.tls_config = {.key = "b"}}, "tls_config",
		"exactly one of cert or cert_file must be configured when a client key is configured");
	assert_refused((struct target_job_options){.tls_config = {.min_version = "TLS9"}}, "tls_config",
		"unknown TLS version: TLS9; one of TLS10, TLS11, TLS12, TLS13 is expected");
	assert_refused((struct target_job_options){.tls_config = {.min_version = "TLS13", .max_version = "TLS12"}},
		"tls_config",
		"tls_config.max_version must be greater than or equal to tls_config.min_version if both are "
		"specified");
}

/* A job that comes another way than through the table is held to the same. */
static void jobs_made_of_other_words_are_checked_as_well(void **state)
{
	(void)state;
	struct target_job_options options = {.job_name = "web", .basic_auth_given = true, .bearer_token = "x"};
	struct target_job *job = NULL;
	struct error err = {""};
	assert_int_equal(target_job_new(&options, &global, &job, &err), -EINVAL);
	assert_non_null(strstr(err.text, "job `web`: at most one of basic_auth"));
}

/* ---- rotation ------------------------------------------------------------------------------ */

static void a_file_that_was_replaced_is_read_again(void **state)
{
	(void)state;
	struct folder folder;
	struct target_credentials *fresh = NULL;
	folder_make(&folder, "one");
	struct target_job_options options = {
		.job_name = "web", .authorization_given = true, .authorization = {.credentials_file = folder.file}};
	struct target_job *job = make(&options);
	uint64_t content = job->content;
	assert_int_equal(target_credentials_reread(job->credentials, false, &fresh, NULL), 0);
	folder_write(&folder, "two");
	assert_int_equal(target_credentials_reread(job->credentials, false, &fresh, NULL), 1);
	assert_false(target_credentials_same(fresh, job->credentials));
	target_job_set_credentials(job, fresh);
	target_credentials_unref(fresh);
	test_assert_text(job->credentials->authorization, "Bearer two");
	assert_true(job->content == content);
	assert_int_equal(target_credentials_reread(job->credentials, false, &fresh, NULL), 0);
	assert_int_equal(target_credentials_reread(job->credentials, true, &fresh, NULL), 1);
	assert_true(target_credentials_same(fresh, job->credentials));
	target_credentials_unref(fresh);
	target_job_unref(job);
	folder_remove(&folder);
}

static void a_file_that_went_leaves_the_last_good_value(void **state)
{
	(void)state;
	struct folder folder;
	struct target_credentials *fresh = NULL;
	struct error err = {""};
	folder_make(&folder, "one");
	struct target_job_options options = {
		.job_name = "web", .basic_auth_given = true, .basic_auth = {.password_file = folder.file}};
	struct target_job *job = make(&options);
	unlink(folder.file);
	assert_int_equal(target_credentials_reread(job->credentials, false, &fresh, &err), -ENOENT);
	assert_non_null(strstr(err.text, "basic_auth.password_file: open /tmp/gleaner_credentials_"));
	folder_write(&folder, " \n");
	assert_int_equal(target_credentials_reread(job->credentials, false, &fresh, &err), -EINVAL);
	test_assert_text(job->credentials->authorization, "Basic Om9uZQ==");
	target_job_unref(job);
	folder_remove(&folder);
}

static void inline_credentials_never_change_by_themselves(void **state)
{
	(void)state;
	struct target_job_options options = {.job_name = "web", .bearer_token = "x"};
	struct target_job *job = make(&options);
	struct target_credentials *fresh = NULL;
	assert_null(job->credentials->files);
	assert_int_equal(target_credentials_reread(job->credentials, true, &fresh, NULL), 0);
	target_job_unref(job);
}

/* Else a rotated Secret would make another job of it, and other targets. */
static void other_credentials_are_the_same_job(void **state)
{
	(void)state;
	struct target_job_options one = {.job_name = "web", .bearer_token = "one"},
				  two = {.job_name = "web",
					  .basic_auth_given = true,
					  .tls_config = {.ca = "x", .server_name = "n"}},
				  versions = {.job_name = "web", .tls_config = {.min_version = "TLS13"}},
				  kubelet = {.job_name = "web", .of_kubelet = true};
	struct target_job *jobs[] = {make(&one), make(&two), make(&versions), make(&kubelet)};
	assert_true(jobs[0]->content == jobs[1]->content && jobs[0]->packed == jobs[1]->packed);
	assert_true(jobs[0]->content != jobs[2]->content && jobs[0]->packed != jobs[2]->packed);
	assert_true(jobs[0]->content != jobs[3]->content);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		target_job_unref(jobs[i]);
}

static void a_copy_under_another_name_keeps_all_else(void **state)
{
	(void)state;
	struct folder folder;
	struct target_credentials *renamed = NULL, *fresh = NULL;
	folder_make(&folder, "one");
	struct target_job_options options = {
		.job_name = "web", .bearer_token_file = folder.file, .tls_config = {.ca = "CA"}};
	struct target_job *job = make(&options);
	assert_int_equal(target_credentials_rename(job->credentials, SPAN("node-a"), &renamed), 0);
	test_assert_text(renamed->server_name, "node-a");
	test_assert_text(renamed->authorization, "Bearer one");
	test_assert_text(renamed->ca, "CA");
	folder_write(&folder, "two");
	assert_int_equal(target_credentials_reread(renamed, false, &fresh, NULL), 1);
	test_assert_text(fresh->server_name, "node-a");
	test_assert_text(fresh->authorization, "Bearer two");
	target_credentials_unref(fresh);
	target_credentials_unref(renamed);
	target_job_unref(job);
	folder_remove(&folder);
}

static int attempt(void *arg)
{
	struct target_job_options options = {.job_name = "web",
		.basic_auth_given = true,
		.basic_auth = {.username = "user", .password_file = arg},
		.tls_config = {.ca = "CA", .server_name = "n"}};
	struct target_job *job = NULL;
	struct target_credentials *fresh = NULL, *renamed = NULL;
	int result = target_job_new(&options, &global, &job, NULL);
	if (result == 0)
		result = target_credentials_reread(job->credentials, true, &fresh, NULL);
	if (result == 1)
		result = target_credentials_rename(fresh, SPAN("m"), &renamed);
	target_credentials_unref(renamed);
	target_credentials_unref(fresh);
	target_job_unref(job);
	return result;
}

static void running_out_of_memory_fails_cleanly(void **state)
{
	(void)state;
	struct folder folder;
	folder_make(&folder, "one");
	test_out_of_memory(attempt, folder.file);
	folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_way_to_log_in_gives_its_header),
		cmocka_unit_test(files_give_what_they_hold_without_the_white_space_around_it),
		cmocka_unit_test(what_no_header_can_hold_is_refused_without_being_said),
		cmocka_unit_test(what_contradicts_itself_is_refused_in_prometheus_words),
		cmocka_unit_test(jobs_made_of_other_words_are_checked_as_well),
		cmocka_unit_test(a_file_that_was_replaced_is_read_again),
		cmocka_unit_test(a_file_that_went_leaves_the_last_good_value),
		cmocka_unit_test(inline_credentials_never_change_by_themselves),
		cmocka_unit_test(other_credentials_are_the_same_job),
		cmocka_unit_test(a_copy_under_another_name_keeps_all_else),
		cmocka_unit_test(running_out_of_memory_fails_cleanly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
