/* SPDX-License-Identifier: Apache-2.0 */
/* One poll is a short chain of calls:
 *   resolve -> version (kind ollama or unknown) -> catalogue -> up -> residency (kind ollama)
 * A 404 on version means: not Ollama, its catalogue is /v1/models. Between two polls only what is
 * resident is asked for. */
#include "node/poll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "node/call.h"
#include "node/node.h"
#include "node/openai_json.h"
#include "node/registry.h"

enum {
    POLL_UP_MS = 5000,
    POLL_RESIDENCY_MS = 1000,
    POLL_FIRST_MS = 100,
    POLL_MAX_MS = 5000,
    POLL_LIMIT_MS = 10000, /* for one whole poll of one address */
    NEXT_ADDR_MS = 1000,   /* no connection by then: the name's next address is tried */
    AT_WORK_MS = 60000,    /* without a byte, for a long prompt: then it may hang */
    ANSWER_BYTES_MAX = 16 * 1024 * 1024,
    STATUS_LOOP = 508,
};

enum poll_step { POLL_IDLE, POLL_RESOLVE, POLL_VERSION, POLL_CATALOGUE, POLL_RESIDENCY };

/* A name look-up on a helper thread. It outlives the poll when that is freed meanwhile. */
struct lookup {
    struct node_poll *poll; /* NULL: nobody waits any more */
    char *host;
    unsigned port;
    struct addr_list found;
    struct err err;
    int rv;
};

struct node_poll {
    struct node *node;
    struct loop *loop;
    enum poll_step step;
    struct timer next;
    struct timer limit;
    uint64_t delay_ms;
    uint64_t due_ms; /* loop time of the next poll, while it is up */
    struct lookup *lookup;
    struct addr_list found; /* by the latest look-up */
    size_t found_at;        /* the one that is used */
    struct node_call *call;
    unsigned status;
    bool is_echo; /* this gateway answered */
    struct buf answer;
};

static void use_found(struct node_poll *p);
static void start_version(struct node_poll *p);
static void start_catalogue(struct node_poll *p);

static void start_residency(struct node_poll *p);

static void arm_next(struct node_poll *p)
{
    uint64_t now_ms = loop_now_ms(p->loop);
    uint64_t delay_ms = p->due_ms > now_ms ? p->due_ms - now_ms : 0;

    if (p->node->state == NODE_UP && p->node->kind == NODE_KIND_OLLAMA &&
        delay_ms > POLL_RESIDENCY_MS) {
        delay_ms = POLL_RESIDENCY_MS;
    }
    timer_arm(p->loop, &p->next, delay_ms);
}

static void rest(struct node_poll *p)
{
    p->step = POLL_IDLE;
    timer_cancel(p->loop, &p->limit);
    buf_release(&p->answer);
    if (p->node->state != NODE_REFUSED) {
        arm_next(p);
    }
    nodes_poll_ended(p->node->set, p->node);
}

static void finish(struct node_poll *p, uint64_t delay_ms)
{
    p->due_ms = loop_now_ms(p->loop) + delay_ms;
    rest(p);
}

static void succeed(struct node_poll *p)
{
    node_mark_up(p->node);
    p->due_ms = loop_now_ms(p->loop) + POLL_UP_MS;
    if (p->node->kind != NODE_KIND_OLLAMA) {
        rest(p);
        return;
    }
    p->step = POLL_RESIDENCY;
    nodes_poll_ended(p->node->set, p->node); /* who waits for the catalogue has it */
    if (p->step == POLL_RESIDENCY && p->call == NULL) {
        start_residency(p);
    }
}

static void fail(struct node_poll *p, const char *why)
{
    uint64_t delay_ms;

    /* Forget the address too: the name may stand for another one by then. */
    p->node->has_addr = false;
    node_mark_down(p->node, why); /* begins the delays anew where it was up */
    delay_ms = p->delay_ms;
    p->delay_ms = delay_ms * 2 > POLL_MAX_MS ? POLL_MAX_MS : delay_ms * 2;
    finish(p, delay_ms);
}

/* What we lack says nothing about the node: what is up stays up, and is asked again soon. */
static void fail_here(struct node_poll *p, const char *why)
{
    if (p->node->state == NODE_UP) {
        finish(p, POLL_FIRST_MS);
    } else {
        fail(p, why);
    }
}

static void fail_status(struct node_poll *p, const char *path)
{
    char why[200];
    struct slice said = slice_trim(slice_first(buf_slice(&p->answer), 80));

    (void)snprintf(why, sizeof(why), "%.40s%s answered %u%s%.*s", p->node->spec->prefix, path,
                   p->status, said.len > 0 ? " " : "", SLICE_ARG(said));
    fail(p, why);
}

static void read_version(struct node_poll *p)
{
    yyjson_doc *doc;
    int rv = openai_json_read(&doc, buf_slice(&p->answer), OPENAI_NUMBERS_READ);
    const char *version = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "version"));

    if (rv == MCP_ENOMEM) {
        fail_here(p, "out of memory");
    } else if (p->status == 200 && version != NULL) {
        p->node->kind = NODE_KIND_OLLAMA;
        (void)snprintf(p->node->version, sizeof(p->node->version), "%s", version);
        start_catalogue(p);
    } else if (p->status >= 400 && p->status < 500 && p->node->spec->kind == NODE_KIND_UNKNOWN) {
        p->node->kind = NODE_KIND_OPENAI;
        p->node->version[0] = '\0';
        start_catalogue(p);
    } else {
        fail_status(p, "/api/version");
    }
    yyjson_doc_free(doc);
}

static const char *catalogue_path(const struct node *n)
{
    return n->kind == NODE_KIND_OLLAMA ? "/api/tags" : "/v1/models";
}

static void read_catalogue(struct node_poll *p)
{
    struct node *n = p->node;
    int rv;

    if (p->status != 200) {
        fail_status(p, catalogue_path(n));
        return;
    }
    rv = catalogue_read(&n->catalogue, buf_slice(&p->answer));
    if (rv == MCP_ENOMEM) {
        fail_here(p, "out of memory");
        return;
    }
    if (rv != MCP_OK) {
        fail(p, "its list of models cannot be read");
        return;
    }
    n->catalogue_ms = loop_now_ms(p->loop);
    succeed(p);
}

static void forget_residency(struct node_poll *p)
{
    residency_fini(&p->node->residency);
    rest(p);
}

static void read_residency(struct node_poll *p)
{
    int rv = p->status == 200 ? residency_read(&p->node->residency, buf_slice(&p->answer))
                              : MCP_EUPSTREAM_ERROR;

    if (rv == MCP_OK || rv == MCP_ENOMEM) {
        rest(p);
    } else {
        forget_residency(p);
    }
}

static void on_head(void *owner, const struct http_head *head)
{
    struct node_poll *p = owner;

    p->status = head->status;
    p->is_echo =
        head->status == STATUS_LOOP && slice_eq(http_head_find(head, SLICE(NODE_PROBE_HEADER)),
                                                slice_str(nodes_instance(p->node->set)));
}

static void on_body(void *owner, struct slice bytes)
{
    struct node_poll *p = owner;

    if (buf_append(&p->answer, bytes)) {
        return;
    }
    node_call_cancel(&p->call);
    if (p->step == POLL_RESIDENCY) {
        forget_residency(p);
    } else if (buf_len(&p->answer) + bytes.len > ANSWER_BYTES_MAX) {
        fail(p, "its answer is too large");
    } else {
        fail_here(p, "out of memory");
    }
}

static void on_end(void *owner)
{
    struct node_poll *p = owner;

    p->call = NULL;
    if (p->step == POLL_RESIDENCY) {
        read_residency(p);
    } else if (p->is_echo) {
        node_mark_refused(p->node);
        finish(p, POLL_MAX_MS);
    } else if (p->step == POLL_VERSION) {
        read_version(p);
    } else {
        read_catalogue(p);
    }
}

static bool has_another(const struct node_poll *p)
{
    return p->found_at + 1 < p->found.count;
}

static void on_failed(void *owner, int code, const char *text, bool sent_nothing)
{
    struct node_poll *p = owner;

    (void)sent_nothing;
    p->call = NULL;
    if (code == MCP_ENOMEM || code == MCP_EQUEUE_FULL) {
        fail_here(p, text);
    } else if (code == MCP_ENODE_UNAVAILABLE && has_another(p)) {
        p->found_at++;
        use_found(p);
    } else if (p->step == POLL_RESIDENCY && code != MCP_ENODE_UNAVAILABLE) {
        forget_residency(p);
    } else {
        fail(p, text);
    }
}

static void start_call(struct node_poll *p, const char *path)
{
    static const struct node_call_ops ops = {
        .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};
    const struct http_header headers[] = {
        {SLICE("Accept"), SLICE("application/json")},
        {SLICE(NODE_PROBE_HEADER), slice_str(nodes_instance(p->node->set))},
    };
    const struct node_call_request request = {
        .method = SLICE("GET"),
        .path = slice_str(path),
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .is_poll = true,
        .connect_timeout_ms = has_another(p) ? NEXT_ADDR_MS : 0,
    };
    struct err e;

    buf_clear(&p->answer);
    p->status = 0;
    p->is_echo = false;
    p->call = node_call_start(p->node, &request, &ops, p, &e);
    if (p->call == NULL) {
        fail_here(p, e.text);
    }
}

static void start_version(struct node_poll *p)
{
    p->step = POLL_VERSION;
    start_call(p, "/api/version");
}

static void start_catalogue(struct node_poll *p)
{
    p->step = POLL_CATALOGUE;
    p->node->catalogue_changed = false;
    p->node->reads_soon = false;
    start_call(p, catalogue_path(p->node));
}

static void start_residency(struct node_poll *p)
{
    p->step = POLL_RESIDENCY;
    p->node->residency_ms = loop_now_ms(p->loop);
    start_call(p, "/api/ps");
}

static void start_calls(struct node_poll *p)
{
    const struct node *n = p->node;
    bool known = n->state == NODE_UP && n->kind == NODE_KIND_OPENAI;

    /* What a node is may change while it is down, not while it is up. */
    if (known || n->spec->kind == NODE_KIND_OPENAI) {
        start_catalogue(p);
    } else {
        start_version(p);
    }
}

static void use_found(struct node_poll *p)
{
    p->node->addr = p->found.at[p->found_at];
    p->node->has_addr = true;
    timer_arm(p->loop, &p->limit, POLL_LIMIT_MS);
    start_calls(p);
}

static void lookup_work(void *owner)
{
    struct lookup *l = owner;

    l->rv = addr_resolve(&l->found, l->host, l->port, &l->err);
}

/* Also where the loop has gone, and the poll with it. */
static void lookup_free(void *owner)
{
    struct lookup *l = owner;

    free(l->host);
    free(l);
}

static void lookup_done(void *owner)
{
    struct lookup *l = owner;
    struct node_poll *p = l->poll;

    if (p != NULL) {
        p->lookup = NULL;
        if (l->rv == MCP_OK) {
            p->found = l->found;
            p->found_at = 0;
            use_found(p);
        } else {
            fail(p, l->err.text);
        }
    }
    lookup_free(l);
}

static void start_lookup(struct node_poll *p)
{
    struct lookup *l = calloc(1, sizeof(*l));

    p->step = POLL_RESOLVE;
    if (l == NULL) {
        fail_here(p, "out of memory");
        return;
    }
    l->poll = p;
    l->host = strdup(p->node->spec->host);
    l->port = p->node->spec->port;
    p->lookup = l;
    if (l->host == NULL ||
        loop_offload(p->loop, lookup_work, lookup_done, lookup_free, l) != MCP_OK) {
        p->lookup = NULL;
        lookup_free(l);
        fail_here(p, "out of memory");
    }
}

static void drop_running(struct node_poll *p)
{
    if (p->call != NULL) {
        node_call_cancel(&p->call);
    }
    if (p->lookup != NULL) {
        p->lookup->poll = NULL;
        p->lookup = NULL;
    }
}

static void find_address(struct node_poll *p)
{
    struct err e = {0};

    if (!p->node->spec->is_unix) {
        start_lookup(p);
    } else if (addr_from_unix(&p->node->addr, p->node->spec->host, &e) == MCP_OK) {
        p->node->has_addr = true;
        start_calls(p);
    } else {
        fail(p, e.text);
    }
}

void node_poll_now(struct node_poll *p)
{
    if (node_poll_reading(p) || p->node->state == NODE_REFUSED) {
        return;
    }
    drop_running(p); /* what is resident is asked for again behind the catalogue */
    timer_cancel(p->loop, &p->next);
    timer_arm(p->loop, &p->limit, POLL_LIMIT_MS);
    if (p->node->has_addr) {
        start_calls(p);
    } else {
        find_address(p);
    }
}

void node_poll_soon(struct node_poll *p)
{
    p->delay_ms = POLL_FIRST_MS;
    if (p->step == POLL_IDLE) {
        timer_arm(p->loop, &p->next, POLL_FIRST_MS);
    }
}

bool node_poll_running(const struct node_poll *p)
{
    return p->step != POLL_IDLE;
}

bool node_poll_reading(const struct node_poll *p)
{
    return p->step != POLL_IDLE && p->step != POLL_RESIDENCY;
}

static void on_next(void *owner)
{
    struct node_poll *p = owner;
    const struct node *n = p->node;

    if (n->state != NODE_UP || loop_now_ms(p->loop) >= p->due_ms) {
        node_poll_now(p);
    } else if (node_heard_ms(n) >= n->residency_ms) {
        timer_arm(p->loop, &p->limit, POLL_LIMIT_MS);
        start_residency(p);
    } else {
        arm_next(p);
    }
}

/* A server whose threads all write answers has none left for a poll (llama.cpp's, beyond a dozen
 * streams): it is up as long as some of those move. */
static bool is_at_work(const struct node *n, uint64_t now_ms)
{
    return n->state == NODE_UP && node_calls_everywhere(n) > 0 &&
           now_ms - node_heard_ms(n) <= AT_WORK_MS;
}

static void on_limit(void *owner)
{
    struct node_poll *p = owner;

    drop_running(p);
    if (p->step == POLL_RESIDENCY) {
        forget_residency(p);
    } else if (is_at_work(p->node, loop_now_ms(p->loop))) {
        finish(p, POLL_UP_MS);
    } else {
        fail(p, "no answer to a poll within 10 s");
    }
}

struct node_poll *node_poll_new(struct node *n)
{
    struct node_poll *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        return NULL;
    }
    p->node = n;
    p->loop = nodes_loop(n->set);
    p->delay_ms = POLL_FIRST_MS;
    buf_init(&p->answer, ANSWER_BYTES_MAX);
    timer_init(&p->next, on_next, p);
    timer_init(&p->limit, on_limit, p);
    return p;
}

void node_poll_free(struct node_poll **poll)
{
    struct node_poll *p = *poll;

    if (p == NULL) {
        return;
    }
    *poll = NULL;
    drop_running(p);
    timer_cancel(p->loop, &p->next);
    timer_cancel(p->loop, &p->limit);
    buf_fini(&p->answer);
    free(p);
}
