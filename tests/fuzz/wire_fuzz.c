// links: wire base
/* The core's side of a connection gets arbitrary bytes, in two pieces. */
#include <sys/socket.h>
#include <unistd.h>

#include "gleaner/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(void *arg, const struct wire_message *message)
{
	/* Whatever came through the check must be readable. */
	volatile char sink = 0;
	for (size_t i = 0; i < message->tail.len; i++)
		sink = (char)(sink ^ message->tail.ptr[i]);
	if (message->fd >= 0)
		close(message->fd);
	(void)arg;
}

static void on_closed(void *arg, const struct error *err)
{
	(void)err;
	loop_stop(arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	struct loop *loop;
	struct wire *wire;
	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	if (loop_new(&loop) < 0)
		return 0;
	if (wire_new(loop, fds[0], true, (struct wire_events){on_message, on_closed, loop}, &wire) == 0) {
		if (write(fds[1], data, size / 2) < 0 || write(fds[1], data + size / 2, size - size / 2) < 0)
			loop_stop(loop);
		close(fds[1]);
		loop_run(loop);
		wire_free(wire);
	}
	loop_free(loop);
	return 0;
}
