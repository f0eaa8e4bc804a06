/* Small files, read whole. */
#include "gleaner/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, struct buf *out)
{
	char piece[4096];
	int result = 1;
	while (result > 0) {
		/* One byte more than allowed, to tell "just fits" from "too long". */
		size_t room = out->max - out->len < sizeof(piece) ? out->max - out->len + 1 : sizeof(piece);
		ssize_t got = read(fd, piece, room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			result = got < 0 ? -errno : 0;
		else if (buf_append(out, piece, (size_t)got) < 0)
			result = out->failed;
	}
	if (out->secret)
		explicit_bzero(piece, sizeof(piece));
	return result;
}

int file_read(const char *path, struct buf *out, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_wrap(err, errno, "open %s", path);
	struct stat stat;
	int result;
	if (fstat(fd, &stat) < 0)
		result = error_wrap(err, errno, "stat %s", path);
	else if (!S_ISREG(stat.st_mode))
		result = error_set(err, EINVAL, "%s: not a regular file", path);
	else if ((result = read_all(fd, out)) == -EMSGSIZE)
		error_set(err, EMSGSIZE, "%s: larger than %zu bytes", path, out->max);
	else if (result < 0)
		error_wrap(err, -result, "read %s", path);
	close(fd);
	return result;
}
