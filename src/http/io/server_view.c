/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the connections of a server. */
#include "http/io/server_internal.h"

/* Not when it became so where it has taken bytes of a reply since: its time runs from there. */
static uint64_t idle_since_us(const struct http_conn *c)
{
    uint64_t timeout_us = c->server->limits.idle_timeout_ms * 1000;

    return timeout_us == 0 ? loop_now_us(c->loop) : c->due_us - timeout_us;
}

void http_server_walk(const struct http_server *s, http_conn_view_cb cb, void *owner)
{
    for (const struct http_conn *c = conn_list_first(&s->conns); c != NULL;
         c = conn_list_next(&s->conns, c)) {
        struct http_conn_view v = {
            .peer = &c->peer,
            .idle = c->state == CONN_IDLE,
            .request_owner = c->request == NULL ? NULL : c->request->owner,
            .unsent_bytes = sock_unsent(c->sock),
        };

        v.idle_us = v.idle ? idle_since_us(c) : 0;
        cb(owner, &v);
    }
}
