#include "secret.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
	char path[64], file[96], other[96];
};

static void folder_make(struct folder *folder)
{
	snprintf(folder->path, sizeof(folder->path), "/tmp/gleaner-secret-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	snprintf(folder->file, sizeof(folder->file), "%s/token", folder->path);
	snprintf(folder->other, sizeof(folder->other), "%s/new", folder->path);
}

static void folder_remove(struct folder *folder)
{
	unlink(folder->file);
	unlink(folder->other);
	rmdir(folder->path);
}

/* mtime is set, so that two writes within the clock's grain differ. */
static void write_file(const char *path, const char *text, time_t mtime)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void file_is_read_again_only_when_it_changed(void **state)
{
	(void)state;
	struct folder folder;
	struct kube_secret secret;
	struct error err = {""};
	bool changed = false;
	folder_make(&folder);
	kube_secret_init(&secret, folder.file);

	write_file(folder.file, "one\n", 1000);
	assert_int_equal(kube_secret_read(&secret, &changed, &err), 0);
	assert_true(changed);
	assert_string_equal(secret.text.ptr, "one\n");

	changed = false;
	assert_int_equal(kube_secret_read(&secret, &changed, &err), 0);
	assert_false(changed);

	write_file(folder.file, "two", 1001); /* in place */
	assert_int_equal(kube_secret_read(&secret, &changed, &err), 0);
	assert_true(changed);
	assert_true(span_eq(buf_view(&secret.text), SPAN("two")));

	write_file(folder.other, "three", 1001); /* renamed over it: same time, another inode */
	assert_int_equal(rename(folder.other, folder.file), 0);
	assert_int_equal(kube_secret_read(&secret, NULL, &err), 0);
	assert_true(span_eq(buf_view(&secret.text), SPAN("three")));
	kube_secret_done(&secret);
	folder_remove(&folder);
}

static void missing_or_empty_file_is_an_error_and_forgets_the_old_text(void **state)
{
	(void)state;
	struct folder folder;
	struct kube_secret secret;
	struct error err = {""};
	folder_make(&folder);
	kube_secret_init(&secret, folder.file);
	write_file(folder.file, "one", 1000);
	assert_int_equal(kube_secret_read(&secret, NULL, &err), 0);

	unlink(folder.file);
	assert_int_equal(kube_secret_read(&secret, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/token: No such file or directory"));
	assert_int_equal(secret.text.len, 0);

	err.text[0] = '\0';
	write_file(folder.file, " \n", 1000);
	assert_int_equal(kube_secret_read(&secret, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "/token: empty"));

	unlink(folder.file);
	err.text[0] = '\0';
	assert_int_equal(mkdir(folder.file, 0700), 0);
	assert_int_equal(kube_secret_read(&secret, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a regular file"));
	rmdir(folder.file);
	kube_secret_done(&secret);
	folder_remove(&folder);
}

static int read_once(void *arg)
{
	struct kube_secret secret;
	kube_secret_init(&secret, arg);
	int r = kube_secret_read(&secret, NULL, NULL);
	kube_secret_done(&secret);
	return r;
}

static void reading_survives_no_memory(void **state)
{
	(void)state;
	struct folder folder;
	folder_make(&folder);
	write_file(folder.file, "one", 1000);
	test_out_of_memory(read_once, folder.file);
	folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_is_read_again_only_when_it_changed),
		cmocka_unit_test(missing_or_empty_file_is_an_error_and_forgets_the_old_text),
		cmocka_unit_test(reading_survives_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
