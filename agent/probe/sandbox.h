/* sandbox: what the loader gives up once its programs are attached. */
#pragma once

/* Keeps CAP_BPF and CAP_PERFMON (before 5.19 an iterator cannot be made without), drops all other capabilities for good, and leaves only
 * the few system calls that `serve.c` needs; of bpf(2) BPF_ITER_CREATE alone. 0 or -errno. */
int probe_sandbox_enter(void);
