/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/admin_routes.h"

#include <string.h>

#include "base/json_scan.h"
#include "gateway/gateway.h"
#include "gateway/route_book.h"
#include "http/parse/url.h"
#include "reactor/loop.h"

enum { WORDS = 3 };

/* The next segment of a path, unescaped, as names may hold slashes. */
static bool take_word(struct slice *rest, struct buf *word)
{
    const char *slash = rest->len == 0 ? NULL : memchr(rest->ptr, '/', rest->len);
    size_t len = slash == NULL ? rest->len : (size_t)(slash - rest->ptr);
    bool ok = url_unescape(slice_first(*rest, len), word);

    *rest = slice_skip(*rest, slash == NULL ? len : len + 1);
    return ok;
}

static unsigned refuse(unsigned status, struct slice text, struct buf *body)
{
    buf_append_str(body, "{\"error\":");
    json_append_string(body, text);
    buf_append_str(body, "}\n");
    return status;
}

static unsigned act(const struct gateway *g, const struct buf words[WORDS], struct buf *body)
{
    struct err e = {0};
    int rv = route_book_command(g->routes, buf_slice(&words[0]), buf_slice(&words[1]),
                                buf_slice(&words[2]), &e);

    if (rv != MCP_OK) {
        return refuse(rv == MCP_EUNKNOWN_MODEL ? 404 : 400, slice_str(e.text), body);
    }
    (void)route_book_list(g->routes, loop_now_us(g->loop), body); /* a failure is sticky */
    return 200;
}

unsigned admin_routes_act(const struct gateway *g, struct slice rest, struct buf *body)
{
    struct buf words[WORDS] = {{0}};
    unsigned status;
    bool ok = true;

    for (size_t i = 0; i < WORDS; i++) {
        ok = ok && take_word(&rest, &words[i]);
    }
    if (!ok) {
        status = refuse(500, SLICE("out of memory"), body);
    } else if (rest.len > 0) {
        status = refuse(404,
                        SLICE("expected /admin/routes/ROUTE/ACTION or "
                              "/admin/routes/ROUTE/ACTION/MODEL"),
                        body);
    } else {
        status = act(g, words, body);
    }
    for (size_t i = 0; i < WORDS; i++) {
        buf_fini(&words[i]);
    }
    return status;
}
