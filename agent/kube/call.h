/* One object, asked for or posted (call.c). */
#pragma once

#include "api.h"

/* As kube_api_get, of any path; body: posted when not empty, copied. */
int kube_call_new(struct kube_api *api, const char *path, struct span body,
	void (*done)(void *arg, const struct kube_api_answer *answer), void *arg, struct kube_call **ret_call,
	struct error *err);
