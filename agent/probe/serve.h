/* serve: the loader's life after loading. */
#pragma once

#include "load.h"

/* Sends the hello and answers on a connected socket until the peer hangs up; closes it. 0 hung up, -errno. */
int serve_peer(const struct loaded *loaded, struct cost *cost, int socket);
/* Accepts one peer after the other on a listening socket; only root and `uid` are served. Returns -errno. */
int serve_all(const struct loaded *loaded, struct cost *cost, int listener, unsigned uid);
