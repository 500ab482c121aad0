/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/banner.h"

#include <stdio.h>

#include "base/version.h"
#include "gateway/acceptor.h"
#include "gateway/face/admin.h"
#include "gateway/gateway.h"
#include "obs/logfmt.h"

enum { MODELS_SHOWN = 8 };

static void print_address(const char *what, const struct addr *at)
{
    char text[ADDR_TEXT_MAX];

    addr_format(at, text);
    (void)printf("%-6s listening on %s\n", what, text);
}

void banner_listening(const struct gateway *g)
{
    (void)printf("mcpgate " MCPGATE_VERSION "\n");
    if (g->mcp != NULL) {
        print_address("mcp", acceptor_addr(g->mcp));
    }
    if (g->http != NULL) {
        print_address("http", acceptor_addr(g->http));
    }
    if (g->admin != NULL) {
        print_address("admin", admin_face_addr(g->admin));
    }
    (void)fflush(stdout);
}

/* What a node says of itself cannot play with the terminal. */
static void print_said(struct slice text)
{
    struct buf out = {0};

    (void)logfmt_text(&out, text); /* out of memory: less is shown */
    (void)printf("%.*s", SLICE_ARG(buf_slice(&out)));
    buf_fini(&out);
}

static void print_models(const struct catalogue *c)
{
    for (size_t i = 0; i < c->count && i < MODELS_SHOWN; i++) {
        (void)printf("%s ", i == 0 ? "" : ",");
        print_said(slice_of(c->models[i].name, c->models[i].name_len));
    }
    if (c->count > MODELS_SHOWN) {
        (void)printf(", and %zu more", c->count - MODELS_SHOWN);
    }
    if (c->count == 0) {
        (void)printf(" no models");
    }
}

static void print_node(const struct node *n)
{
    (void)printf("node   %s %s", n->spec->name, node_state_name(n->state));
    if (n->service != NODE_SERVING) { /* since before the start */
        (void)printf(", %s", node_service_name(n->service));
    }
    if (n->state == NODE_UP) {
        (void)printf(" (%s%s", node_kind_name(n->kind), n->version[0] == '\0' ? "" : " ");
        print_said(slice_str(n->version));
        (void)printf("):");
        print_models(&n->catalogue);
    } else {
        (void)printf(": ");
        print_said(slice_str(n->why_down));
    }
    (void)printf("\n");
}

void banner_nodes(const struct gateway *g)
{
    for (size_t i = 0; i < nodes_count(g->nodes); i++) {
        print_node(nodes_at(g->nodes, i));
    }
    if (nodes_serving(g->nodes) > 0) {
        (void)puts("ready");
    } else if (nodes_up(g->nodes) > 0) {
        (void)puts("not ready: every node that is up is cordoned; mcpgate node uncordon NAME");
    } else {
        (void)puts("not ready: no node is up, trying again; start one or name another: --node URL");
    }
    (void)fflush(stdout);
}
