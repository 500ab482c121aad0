/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "obs/logfmt.h"

LIST_DECLARE(asker_list, struct reload_asker, link);

struct reload {
    struct gateway *gateway;
    const struct config_args *args;
    bool running;
    bool again;                /* asked meanwhile */
    struct asker_list waiting; /* for the one that runs */
    struct asker_list next;
    struct config *loaded; /* by the helper thread; NULL: `err` */
    struct err err;
};

struct reload *reload_new(struct gateway *g, const struct config_args *args)
{
    struct reload *r = xcalloc(1, sizeof(*r));

    r->gateway = g;
    r->args = args;
    return r;
}

static void forget(struct asker_list *list)
{
    while (asker_list_pop(list) != NULL) {
    }
}

void reload_free(struct reload **rp)
{
    struct reload *r = *rp;

    if (r == NULL) {
        return;
    }
    *rp = NULL;
    forget(&r->waiting);
    forget(&r->next);
    config_unref(&r->loaded);
    free(r);
}

/* --- how it went ------------------------------------------------------------------------------ */

static void tell(struct reload *r, int code, struct slice text)
{
    struct reload_asker *a;

    while ((a = asker_list_pop(&r->waiting)) != NULL) {
        a->done(a->owner, code, text);
    }
}

/* It may name files and keys as the configuration wrote them. */
static void log_warning(const char *text)
{
    struct buf pair = {0};

    if (logfmt_pair(&pair, "text", slice_str(text))) {
        LOG_WARN("config", "%.*s", SLICE_ARG(slice_skip(buf_slice(&pair), strlen(" "))));
    }
    buf_fini(&pair);
}

static void succeeded(struct reload *r, struct slice changed)
{
    counter_add(COUNTER_RELOADED, 1);
    for (size_t i = 0; i < r->gateway->config->warning_count; i++) {
        log_warning(r->gateway->config->warnings[i]);
    }
    LOG_INFO("reload", "changed=%.*s", SLICE_ARG(changed));
    tell(r, MCP_OK, changed);
}

static void failed(struct reload *r, int code, const char *text)
{
    struct buf why = {0};

    counter_add(COUNTER_RELOAD_FAILED, 1);
    (void)(logfmt_pair(&why, "why", slice_str(text)) && buf_append_byte(&why, '\0'));
    LOG_ERROR("reload_failed", "%s", buf_failed(&why) ? "" : buf_slice(&why).ptr + strlen(" "));
    buf_fini(&why);
    tell(r, code, slice_str(text));
}

/* --- one after the other ---------------------------------------------------------------------- */

static void begin(struct reload *r);

/* On a helper thread. */
static void load(void *owner)
{
    struct reload *r = owner;

    r->loaded = config_load(r->args, &r->err);
}

static void on_loaded(void *owner)
{
    struct reload *r = owner;
    struct buf changed = {0};

    if (r->loaded != NULL && gateway_use(r->gateway, r->loaded, &changed, &r->err) == MCP_OK) {
        succeeded(r, buf_slice(&changed));
    } else {
        failed(r, r->err.code, r->err.text);
    }
    buf_fini(&changed);
    config_unref(&r->loaded);
    r->running = false;
    if (r->again) {
        begin(r);
    }
}

static void begin(struct reload *r)
{
    struct reload_asker *a;

    r->again = false;
    while ((a = asker_list_pop(&r->next)) != NULL) {
        asker_list_push(&r->waiting, a);
    }
    r->running = loop_offload(r->gateway->loop, load, on_loaded, NULL, r) == MCP_OK;
    if (!r->running) {
        failed(r, MCP_ENOMEM, "no thread or no memory to load it");
    }
}

void reload_ask(struct reload *r, struct reload_asker *asker)
{
    if (asker != NULL) {
        asker_list_push(&r->next, asker);
    }
    if (r->running) {
        r->again = true;
    } else {
        begin(r);
    }
}

void reload_cancel(struct reload *r, struct reload_asker *asker)
{
    struct reload_asker *a = asker_list_first(&r->next);

    while (a != NULL && a != asker) {
        a = asker_list_next(&r->next, a);
    }
    asker_list_remove(a != NULL ? &r->next : &r->waiting, asker);
}
