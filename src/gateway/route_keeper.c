/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/route_keeper.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/state_file.h"
#include "obs/logfmt.h"

struct route_keeper {
    struct route_book *book;
    struct state_file *file;
};

static void on_kept(void *owner, const char *why_not)
{
    struct buf why = {0};

    (void)owner;
    if (why_not != NULL) {
        (void)(logfmt_pair(&why, "why", slice_str(why_not)) && buf_append_byte(&why, '\0'));
        LOG_WARN("state_not_kept", "%s", buf_failed(&why) ? "" : buf_slice(&why).ptr + 1);
        buf_fini(&why);
    }
}

static void on_changed(void *owner)
{
    struct route_keeper *k = owner;
    struct buf text = {0};

    if (route_book_save(k->book, &text)) {
        state_file_put(k->file, buf_slice(&text));
    } else {
        on_kept(k, "out of memory");
    }
    buf_fini(&text);
}

struct route_keeper *route_keeper_new(struct loop *loop, const struct config *c, struct err *e)
{
    struct route_keeper *k = xcalloc(1, sizeof(*k));
    char *directory = state_file_directory(c->state_dir);
    struct route_set *set = route_set_new(c);
    struct buf text = {0};

    ASSERT(set != NULL); /* at start-up */
    k->book = route_book_new(loop, on_changed, k);
    route_book_use(k->book, &set);
    k->file = state_file_new(loop, directory, "routes.json", on_kept, k);
    free(directory);
    if (state_file_read(k->file, &text, e) != MCP_OK) {
        route_keeper_free(&k);
    } else {
        route_book_restore(k->book, buf_slice(&text));
    }
    buf_fini(&text);
    return k;
}

void route_keeper_free(struct route_keeper **pk)
{
    struct route_keeper *k = *pk;

    *pk = NULL;
    if (k != NULL) {
        state_file_free(&k->file);
        route_book_free(&k->book);
        free(k);
    }
}

struct route_book *route_keeper_book(const struct route_keeper *k)
{
    return k->book;
}
