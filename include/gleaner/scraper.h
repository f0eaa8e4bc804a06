/* scraper: the wiring of the scraper process.
 *
 * A child of the core, started by exec of the same binary. It does all the work on pods' bytes: HTTP, inflating, parsing, encoding,
 * compressing. It has one descriptor, its socket to the core; it gets connected sockets from there and never opens a file or a socket
 * itself. It holds no token and no configuration file. Targets come as differences; records and reports go back.
 */
#pragma once

/* Runs the process until the core says stop or goes away. fd: the socket to the core. Returns the exit status. */
int scraper_run(int fd);
