/* Files with credentials. A projected volume swaps a symbolic link, so the inode changes; other tools write in place. */
#include "secret.h"

#include <errno.h>
#include <sys/stat.h>

enum { SECRET_MAX = 1 << 20 };

void kube_secret_init(struct kube_secret *secret, const char *path)
{
	*secret = (struct kube_secret){.path = path};
	buf_init(&secret->text, SECRET_MAX);
	secret->text.secret = true;
}

static void forget(struct kube_secret *secret)
{
	buf_done(&secret->text);
	secret->inode = 0;
}

void kube_secret_done(struct kube_secret *secret)
{
	forget(secret);
}

static bool is_same(const struct kube_secret *secret, const struct stat *now)
{
	return secret->text.len > 0 && secret->inode == now->st_ino && secret->device == now->st_dev &&
	       secret->changed.tv_sec == now->st_mtim.tv_sec && secret->changed.tv_nsec == now->st_mtim.tv_nsec;
}

int kube_secret_read(struct kube_secret *secret, bool *ret_changed, struct error *err)
{
	struct stat now;
	/* Looked at before the reading: what is written meanwhile is found next time. */
	if (stat(secret->path, &now) < 0) {
		int code = errno;
		forget(secret);
		return error_wrap(err, code, "%s", secret->path);
	}
	if (is_same(secret, &now))
		return 0;
	forget(secret);
	int r = file_read(secret->path, &secret->text, err);
	if (r == 0 && span_trim(buf_view(&secret->text)).len == 0)
		r = error_set(err, EINVAL, "%s: empty", secret->path);
	if (r == 0 && (buf_char(&secret->text, '\0') < 0))
		r = error_set(err, ENOMEM, "%s: out of memory", secret->path);
	if (r < 0) {
		forget(secret);
		return r;
	}
	secret->text.len--; /* the NUL stays behind the text */
	secret->inode = now.st_ino;
	secret->device = now.st_dev;
	secret->changed = now.st_mtim;
	if (ret_changed)
		*ret_changed = true;
	return 0;
}

int kube_secrets_read(struct kube_secret *token, struct kube_secret *ca, struct error *err)
{
	int r = kube_secret_read(token, NULL, err);
	if (r < 0)
		return error_wrap(err, -r, "token_file");
	r = kube_secret_read(ca, NULL, err);
	return r < 0 ? error_wrap(err, -r, "tls.ca_file") : 0;
}

int kube_secret_header(const struct kube_secret *token, struct buf *out)
{
	buf_str(out, "Authorization: Bearer ");
	buf_span(out, span_trim(buf_view(&token->text)));
	return buf_char(out, '\0');
}
