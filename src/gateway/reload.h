/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the configuration anew while the gateway runs, on a helper thread, and has the gateway use
 * it; one that is wrong changes nothing. Who asks while one is being loaded is told of the next:
 * the file may have changed since. The main reactor's thread only. */
#ifndef MCP_GATEWAY_RELOAD_H
#define MCP_GATEWAY_RELOAD_H

#include <stdbool.h>

#include "base/list.h"
#include "base/slice.h"
#include "gateway/config.h"

struct gateway;
struct reload;

struct reload_asker {
    struct list_link link;
    /* `code` MCP_OK: `text` is the keys that changed, separated by commas ("" none). Else it says
     * what is wrong: MCP_EARGUMENT with the configuration, others here. */
    void (*done)(void *owner, int code, struct slice text);
    void *owner;
};

/* Start-up. `args` stays the caller's. */
struct reload *reload_new(struct gateway *g, const struct config_args *args);
/* Tells nobody any more. */
void reload_free(struct reload **r);
/* `asker` NULL: the log says how it went, as it does in any case. */
void reload_ask(struct reload *r, struct reload_asker *asker);
void reload_cancel(struct reload *r, struct reload_asker *asker);

#endif
