/* load: bpf/ into the kernel, program by program. Needs CAP_BPF and CAP_PERFMON; libbpf lives behind it. */
#pragma once

#include "gleaner/probe.h"

struct loaded;

/* A program that cannot be loaded or attached is reported in the hello, never an error. `off`: names to leave out, comma-terminated
 * each ("on_recv,snap_file,"). 0; -ENOMEM. */
int load_all(const char *off, struct loaded **ret_loaded);
/* Detaches and unloads. */
void load_free(struct loaded *loaded);
const struct probe_hello *load_hello(const struct loaded *loaded);
/* The descriptors that go with the hello. */
size_t load_fds(const struct loaded *loaded, int ret_fds[4]);
/* Link of the snapshot's iterator, or -1. */
int load_snapshot_link(const struct loaded *loaded);
