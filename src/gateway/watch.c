/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gateway/gateway.h"
#include "gateway/reload.h"

enum { LOOK_MS = 1000 };

/* What a helper thread works with. It outlives the watch when that is freed meanwhile. */
struct look {
    struct watch *watch; /* NULL: nobody waits any more */
    char *path;
    struct config_stamp found;
};

struct watch {
    struct gateway *gateway;
    struct timer tick;
    struct look *running;
    struct config_stamp tried; /* a file that cannot be used is tried once */
};

static void look_work(void *owner)
{
    struct look *l = owner;

    l->found = config_stamp_of(l->path);
}

static void look_free(void *owner)
{
    struct look *l = owner;

    free(l->path);
    free(l);
}

static void look_done(void *owner)
{
    struct look *l = owner;
    struct watch *w = l->watch;

    if (w != NULL) {
        const struct config *c = w->gateway->config;

        w->running = NULL;
        if (c->nodes_file != NULL && strcmp(c->nodes_file, l->path) == 0 &&
            !config_stamp_same(&l->found, &c->nodes_stamp) &&
            !config_stamp_same(&l->found, &w->tried)) {
            w->tried = l->found;
            reload_ask(w->gateway->reload, NULL);
        }
    }
    look_free(l);
}

/* Without memory or a thread: a second later. */
static void on_tick(void *owner)
{
    struct watch *w = owner;
    const char *path = w->gateway->config->nodes_file;
    struct look *l = path == NULL || w->running != NULL ? NULL : calloc(1, sizeof(*l));

    timer_arm(w->gateway->loop, &w->tick, LOOK_MS);
    if (l == NULL) {
        return;
    }
    l->watch = w;
    l->path = strdup(path);
    if (l->path == NULL ||
        loop_offload(w->gateway->loop, look_work, look_done, look_free, l) != MCP_OK) {
        look_free(l);
        return;
    }
    w->running = l;
}

struct watch *watch_new(struct gateway *g)
{
    struct watch *w = xcalloc(1, sizeof(*w));

    w->gateway = g;
    w->tried = g->config->nodes_stamp;
    timer_init(&w->tick, on_tick, w);
    timer_arm(g->loop, &w->tick, LOOK_MS);
    return w;
}

void watch_free(struct watch **pw)
{
    struct watch *w = *pw;

    if (w == NULL) {
        return;
    }
    *pw = NULL;
    timer_cancel(w->gateway->loop, &w->tick);
    if (w->running != NULL) {
        w->running->watch = NULL;
    }
    free(w);
}
