/* Credentials of a job: inline or from files, which may be written anew at any time.
 *
 * A recipe says where each part comes from; making credentials is reading all parts and putting them together (credentials_make).
 * Reading again is making others of the same recipe. The recipe of inline parts alone is not kept: it makes the same for ever.
 *
 * Whitespace around what a file holds is no part of it, as in Prometheus. All is in an arena that is overwritten in the end.
 */
#include "credentials.h"
#include "pack.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum part { USERNAME, PASSWORD, TOKEN, CA, CERT, KEY, PARTS };

/* What is packed of them stays below TARGET_CREDENTIALS_MAX. */
enum {
	SECRET_MAX_BYTES = 64 << 10,
	HEADER_MAX_BYTES = 128 << 10,
	PEM_MAX_BYTES = 32 << 10,
	CA_MAX_BYTES = 768 << 10, /* the system's have 220 KB */
	NAME_MAX_BYTES = 253,
	ARENA_MAX_BYTES = 8 << 20,
};
_Static_assert(HEADER_MAX_BYTES + 2 * PEM_MAX_BYTES + CA_MAX_BYTES + NAME_MAX_BYTES + 5 * 5 <= TARGET_CREDENTIALS_MAX,
	"what fits a job fits a message");

static const struct {
	const char *key, *file_key;
	size_t max_bytes;
} parts[PARTS] = {
	[USERNAME] = {"basic_auth.username", "basic_auth.username_file", SECRET_MAX_BYTES},
	[PASSWORD] = {"basic_auth.password", "basic_auth.password_file", SECRET_MAX_BYTES},
	[TOKEN] = {"authorization.credentials", "authorization.credentials_file", SECRET_MAX_BYTES},
	[CA] = {"tls_config.ca", "tls_config.ca_file", CA_MAX_BYTES},
	[CERT] = {"tls_config.cert", "tls_config.cert_file", PEM_MAX_BYTES},
	[KEY] = {"tls_config.key", "tls_config.key_file", PEM_MAX_BYTES},
};

/* Which writing of the file was read. A projected volume swaps a symbolic link, so the inode changes; other tools write in place. */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct source {
	const char *text; /* inline, or NULL */
	const char *path; /* or NULL */
	struct stamp stamp;
};

/* The recipe. */
struct target_credential_files {
	bool basic;
	const char *type; /* of the Authorization header; NULL: basic, or none */
	struct source sources[PARTS];
};

/* ---- files ----------------------------------------------------------------------------- */

static struct stamp stamp_of(const struct stat *now)
{
	return (struct stamp){now->st_dev, now->st_ino, now->st_size, now->st_mtim};
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int read_file(
	struct source *source, enum part part, struct arena *arena, struct span *ret_text, struct error *err)
{
	struct buf text;
	struct stat now;
	/* Looked at before the reading: what is written meanwhile is found next time. */
	if (stat(source->path, &now) < 0)
		return error_wrap(err, errno, "open %s", source->path);
	source->stamp = stamp_of(&now);
	buf_init(&text, parts[part].max_bytes);
	text.secret = true;
	int result = file_read(source->path, &text, err);
	struct span trimmed = span_trim(buf_view(&text));
	if (result == 0 && trimmed.len == 0)
		result = error_set(err, EINVAL, "%s is empty", source->path);
	if (result == 0) {
		*ret_text = span_of(arena_spandup(arena, trimmed), trimmed.len);
		result = ret_text->ptr ? 0 : error_set(err, ENOMEM, "out of memory");
	}
	buf_done(&text);
	return result;
}

static int read_part(
	struct source *source, enum part part, struct arena *arena, struct span *ret_text, struct error *err)
{
	*ret_text = SPAN("");
	if (source->path) {
		int result = read_file(source, part, arena, ret_text, err);
		return result < 0 ? error_wrap(err, -result, "%s", parts[part].file_key) : 0;
	}
	if (!source->text)
		return 0;
	struct span text = part == TOKEN ? span_trim(span_str(source->text)) : span_str(source->text);
	if (text.len > parts[part].max_bytes)
		return error_set(err, EINVAL, "%s: larger than %zu bytes", parts[part].key, parts[part].max_bytes);
	*ret_text = span_of(arena_spandup(arena, text), text.len);
	return ret_text->ptr ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* ---- making ------------------------------------------------------------------------------ */

/* RFC 7617: the name ends at the first colon, and nobody checks for one; nor does Prometheus. */
static void put_basic(const struct span *texts, struct buf *out)
{
	struct buf pair;
	buf_init(&pair, 2 * SECRET_MAX_BYTES + 1);
	pair.secret = true;
	buf_span(&pair, texts[USERNAME]);
	buf_char(&pair, ':');
	buf_span(&pair, texts[PASSWORD]);
	buf_str(out, "Basic ");
	buf_base64(out, buf_view(&pair));
	if (pair.failed)
		out->failed = pair.failed;
	buf_done(&pair);
}

static bool fits_header(struct span text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return false;
	return true;
}

static int set_authorization(struct target_credentials *credentials, const struct target_credential_files *recipe,
	const struct span *texts, struct error *err)
{
	struct buf value;
	credentials->authorization = SPAN("");
	if (!recipe->basic && !recipe->type)
		return 0;
	buf_init(&value, HEADER_MAX_BYTES);
	value.secret = true;
	if (recipe->basic)
		put_basic(texts, &value);
	else
		buf_printf(&value, "%s%s%.*s", recipe->type, texts[TOKEN].len > 0 ? " " : "", SPAN_ARGS(texts[TOKEN]));
	int result = value.failed;
	if (result == 0 && !fits_header(buf_view(&value)))
		result =
			error_set(err, EINVAL, "authorization: a control byte is in it, which no HTTP header may hold");
	else if (result == -EMSGSIZE)
		result = error_set(err, EINVAL, "authorization: larger than %d KiB", HEADER_MAX_BYTES >> 10);
	if (result == 0) {
		credentials->authorization = span_of(arena_spandup(&credentials->arena, buf_view(&value)), value.len);
		result = credentials->authorization.ptr ? 0 : -ENOMEM;
	}
	buf_done(&value);
	return result == -ENOMEM ? error_set(err, ENOMEM, "out of memory") : result;
}

struct target_credentials *target_credentials_empty(void)
{
	struct target_credentials *credentials = calloc(1, sizeof(*credentials));
	if (!credentials)
		return NULL;
	credentials->refs = 1;
	credentials->authorization = credentials->ca = credentials->cert = credentials->key = credentials->server_name =
		SPAN("");
	arena_init(&credentials->arena, ARENA_MAX_BYTES);
	credentials->arena.secret = true;
	return credentials;
}

static int keep_text(struct arena *arena, const char **text)
{
	if (!*text)
		return 0;
	*text = arena_strdup(arena, *text);
	return *text ? 0 : -ENOMEM;
}

/* The recipe for the next reading; none when no part is a file. */
static int keep_recipe(struct target_credentials *credentials, const struct target_credential_files *recipe)
{
	bool any = false;
	for (size_t i = 0; i < PARTS; i++)
		any = any || recipe->sources[i].path;
	if (!any)
		return 0;
	struct target_credential_files *files = arena_alloc(&credentials->arena, sizeof(*files));
	if (!files)
		return -ENOMEM;
	*files = *recipe;
	int result = keep_text(&credentials->arena, &files->type);
	for (size_t i = 0; i < PARTS && result == 0; i++) {
		result = keep_text(&credentials->arena, &files->sources[i].text);
		if (result == 0)
			result = keep_text(&credentials->arena, &files->sources[i].path);
	}
	credentials->files = files;
	return result;
}

static int fill(struct target_credentials *credentials, struct target_credential_files *recipe, struct span server_name,
	struct error *err)
{
	struct span texts[PARTS];
	struct arena *arena = &credentials->arena;
	for (size_t i = 0; i < PARTS; i++) {
		int result = read_part(&recipe->sources[i], (enum part)i, arena, &texts[i], err);
		if (result < 0)
			return result;
	}
	if (server_name.len > NAME_MAX_BYTES)
		return error_set(err, EINVAL, "tls_config.server_name: longer than %d bytes", NAME_MAX_BYTES);
	credentials->ca = texts[CA];
	credentials->cert = texts[CERT];
	credentials->key = texts[KEY];
	credentials->server_name = span_of(arena_spandup(arena, server_name), server_name.len);
	if (!credentials->server_name.ptr || keep_recipe(credentials, recipe) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return set_authorization(credentials, recipe, texts, err);
}

static int credentials_make(struct target_credential_files *recipe, struct span server_name,
	struct target_credentials **ret_credentials, struct error *err)
{
	struct target_credentials *credentials = target_credentials_empty();
	if (!credentials)
		return error_set(err, ENOMEM, "out of memory");
	int result = fill(credentials, recipe, server_name, err);
	if (result < 0)
		target_credentials_unref(credentials);
	else
		*ret_credentials = credentials;
	return result;
}

int target_credentials_new(
	const struct target_job_options *options, struct target_credentials **ret_credentials, struct error *err)
{
	const struct target_tls_options *tls = &options->tls_config;
	const struct target_basic_auth_options *basic = &options->basic_auth;
	const struct target_authorization_options *authorization = &options->authorization;
	bool bearer = options->bearer_token || options->bearer_token_file;
	struct target_credential_files recipe = {
		.basic = options->basic_auth_given,
		.sources = {[CA] = {.text = tls->ca, .path = tls->ca_file},
			[CERT] = {.text = tls->cert, .path = tls->cert_file},
			[KEY] = {.text = tls->key, .path = tls->key_file}},
	};
	if (options->basic_auth_given) {
		recipe.sources[USERNAME] = (struct source){.text = basic->username, .path = basic->username_file};
		recipe.sources[PASSWORD] = (struct source){.text = basic->password, .path = basic->password_file};
	} else if (options->authorization_given || bearer) {
		bool typed = authorization->type && authorization->type[0];
		recipe.type = typed ? authorization->type : "Bearer";
		recipe.sources[TOKEN] =
			bearer ? (struct source){.text = options->bearer_token, .path = options->bearer_token_file}
			       : (struct source){
					 .text = authorization->credentials, .path = authorization->credentials_file};
	}
	return credentials_make(&recipe, span_str(tls->server_name), ret_credentials, err);
}

/* ---- for the owner ----------------------------------------------------------------------- */

struct target_credentials *target_credentials_ref(struct target_credentials *credentials)
{
	credentials->refs++;
	return credentials;
}

void target_credentials_unref(struct target_credentials *credentials)
{
	if (!credentials || --credentials->refs > 0)
		return;
	arena_done(&credentials->arena);
	free(credentials);
}

bool target_credentials_same(const struct target_credentials *a, const struct target_credentials *b)
{
	return a == b ||
	       (span_eq(a->authorization, b->authorization) && span_eq(a->ca, b->ca) && span_eq(a->cert, b->cert) &&
		       span_eq(a->key, b->key) && span_eq(a->server_name, b->server_name));
}

static bool files_changed(const struct target_credential_files *files)
{
	for (size_t i = 0; i < PARTS; i++) {
		const struct source *source = &files->sources[i];
		struct stat now;
		if (!source->path)
			continue;
		if (stat(source->path, &now) < 0)
			return true; /* reading says what is wrong */
		struct stamp stamp = stamp_of(&now);
		if (!same_stamp(&stamp, &source->stamp))
			return true;
	}
	return false;
}

int target_credentials_reread(const struct target_credentials *credentials, bool force,
	struct target_credentials **ret_fresh, struct error *err)
{
	if (!credentials->files || (!force && !files_changed(credentials->files)))
		return 0;
	struct target_credential_files recipe = *credentials->files;
	int result = credentials_make(&recipe, credentials->server_name, ret_fresh, err);
	return result < 0 ? result : 1;
}

int target_credentials_rename(
	const struct target_credentials *credentials, struct span server_name, struct target_credentials **ret_renamed)
{
	struct target_credentials *copy = target_credentials_empty();
	if (!copy)
		return -ENOMEM;
	const struct span from[] = {
		credentials->authorization, credentials->ca, credentials->cert, credentials->key, server_name};
	struct span *const to[] = {&copy->authorization, &copy->ca, &copy->cert, &copy->key, &copy->server_name};
	int result = credentials->files ? keep_recipe(copy, credentials->files) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(from) && result == 0; i++) {
		*to[i] = span_of(arena_spandup(&copy->arena, from[i]), from[i].len);
		result = to[i]->ptr ? 0 : -ENOMEM;
	}
	if (result < 0)
		target_credentials_unref(copy);
	else
		*ret_renamed = copy;
	return result;
}
