/* What the files of this module share: a client, and one call of it. */
#pragma once

#include "gleaner/http.h"

#include <curl/curl.h>

struct http {
	struct loop *loop;
	struct http_options options;
	CURLM *multi;
	struct loop_timer *timer; /* the one that libcurl asks for */
	struct http_call *active; /* in flight; doubly linked */
	struct http_call *idle;   /* kept for their easy handles; singly linked */
	size_t idle_count;
	struct clock clock;
};

struct http_call {
	struct http *http;
	struct http_call *prev, *next;
	CURL *easy;
	struct loop_timer *first_byte_timer;
	char curl_error[CURL_ERROR_SIZE];

	/* The request in flight. */
	struct http_request request;
	CURLU *url;
	struct curl_slist *headers, *connect_to;
	char host[256];      /* as the URL says it: what a person calls the peer */
	char port[8];        /* explicit or by the scheme */
	int fd;              /* a connected socket that was not used yet; -1: none */
	bool passed;         /* the socket that libcurl opens right now is the passed one */
	bool socket_refused; /* libcurl wanted a socket, and there was none to give */

	/* Its response. */
	struct http_response response;
	enum http_failure verdict; /* of our own callbacks: why they made libcurl give up; HTTP_OK: they did not */
	bool first_byte_late;
	bool headers_done;
	bool sending; /* its request was sent in this round of the timer */
	size_t header_bytes;
	char content_type[256], content_encoding[64], retry_after[64];
};

/* request.c: what every easy handle of ours is like, once, and what one request asks for. 0, -ENOMEM; -EINVAL with err. */
int http_call_prepare(struct http_call *call);
int http_call_apply(struct http_call *call, const struct http_request *request, struct error *err);
/* Closes a socket that was passed or opened. */
void http_close(struct http *http, int fd);
/* Frees what http_call_apply made. */
void http_call_forget(struct http_call *call);

/* response.c: installs the callbacks that fill call->response. 0, -ENOMEM. */
int http_response_prepare(struct http_call *call);
void http_response_begin(struct http_call *call);
/* The end of the call: turns libcurl's result into failure, error and times. */
void http_response_judge(struct http_call *call, CURLcode code);
