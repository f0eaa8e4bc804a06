/* app [PORT...] (default 8000): answers GET /metrics on every port, 404 otherwise. One request per connection, and one line on standard
 * output for each: the peer's address, the port, the request line. */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX 16

struct port {
	int number;
	int socket;
	unsigned long hits;
};

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

static void port_listen(struct port *port)
{
	int one = 1;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port->number)};
	port->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(port->socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (port->socket < 0 || bind(port->socket, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(port->socket, 64) < 0) {
		perror("listen");
		exit(EXIT_FAILURE);
	}
}

static int page(char *body, size_t size, const struct port *port, time_t start)
{
	char host[256] = "";
	gethostname(host, sizeof(host) - 1);
	return snprintf(body, size,
		"# HELP demo_requests_total Requests for /metrics on this port.\n"
		"# TYPE demo_requests_total counter\n"
		"demo_requests_total{port=\"%d\"} %lu\n"
		"# HELP demo_uptime_seconds Seconds since start.\n"
		"# TYPE demo_uptime_seconds gauge\n"
		"demo_uptime_seconds %ld\n"
		"# HELP demo_info Host name.\n"
		"# TYPE demo_info gauge\n"
		"demo_info{host=\"%s\"} 1\n",
		port->number, port->hits, (long)(time(NULL) - start), host);
}

static void answer(int client, struct port *port, const char *request, time_t start)
{
	char body[1024], head[256];
	int body_length, head_length;
	const char *status = "200 OK";
	if (strncmp(request, "GET /metrics", 12) == 0) {
		port->hits++;
		body_length = page(body, sizeof(body), port, start);
	} else {
		status = "404 Not Found";
		body_length = snprintf(body, sizeof(body), "not found\n");
	}
	head_length = snprintf(head, sizeof(head),
		"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
		"Content-Length: %d\r\nConnection: close\r\n\r\n",
		status, body_length);
	if (write(client, head, (size_t)head_length) != head_length ||
		write(client, body, (size_t)body_length) != body_length)
		fputs("short write\n", stderr);
}

static void serve(struct port *port, time_t start)
{
	char request[4096];
	struct sockaddr_in peer;
	socklen_t peer_size = sizeof(peer);
	struct timeval patience = {.tv_sec = 2};
	int client = accept(port->socket, (struct sockaddr *)&peer, &peer_size);
	if (client < 0)
		return;
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	ssize_t got = recv(client, request, sizeof(request) - 1, 0);
	if (got > 0) {
		request[got] = '\0';
		printf("%s %d %.*s\n", inet_ntoa(peer.sin_addr), port->number, (int)strcspn(request, "\r\n"), request);
		answer(client, port, request, start);
	}
	close(client);
}

int main(int argc, char **argv)
{
	struct port ports[PORTS_MAX] = {{.number = 8000}};
	struct pollfd fds[PORTS_MAX];
	nfds_t count = argc > 1 ? 0 : 1;
	time_t start = time(NULL);

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, end);
	signal(SIGINT, end);
	for (int i = 1; i < argc && count < PORTS_MAX; i++)
		ports[count++].number = atoi(argv[i]);
	for (nfds_t i = 0; i < count; i++) {
		port_listen(&ports[i]);
		fds[i] = (struct pollfd){.fd = ports[i].socket, .events = POLLIN};
	}
	for (;;) {
		if (poll(fds, count, -1) < 0)
			continue;
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents & POLLIN)
				serve(&ports[i], start);
	}
}
