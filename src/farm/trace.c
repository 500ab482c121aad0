/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/json_scan.h"
#include "sched/map.h"

#define AT_US_MOST (UINT64_C(1) << 50) /* 35 years */

enum {
    FORMAT = 1,
    BYTES_PER_TOKEN = 4,
    FIRST_ROOM = 64,
    MAP_CHAINS = 64,
    HEX = 16,
    TOKENS_MOST = 1 << 24,
    NAMES_MOST = 1 << 16
};

/* A model or a tenant. */
struct name {
    struct map_link in_names;
    char *text;
    size_t len;
    uint32_t number;
    uint64_t answers, answer_tokens; /* of a model */
};

struct names {
    struct map map;
    struct name **all;
    size_t count, room;
};

struct record {
    uint64_t at_us;
    uint32_t order; /* of its line */
    uint32_t model, tenant;
    uint32_t prompt_tokens, answer_tokens;
    uint32_t prefix, prefix_count; /* in the trace's */
    uint8_t class;
    bool answered;
};

struct piece {
    uint64_t hash;
    uint32_t tokens;
};

struct farm_trace {
    bool begun;
    struct names models, tenants;
    struct record *records;
    size_t count, room;
    struct piece *pieces;
    size_t piece_count, piece_room;
    uint64_t dropped;
};

/* What stands in a line. */
struct line {
    struct slice model, tenant, class, code, op, prefix, prefix_bytes;
    uint64_t at_us, in_bytes, in_tokens, out_tokens, dropped, format;
    bool has_at, has_in_tokens, has_out_tokens;
};

/* --- memory --- */

static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return array;
    }
    *room = *room == 0 ? FIRST_ROOM : 2 * *room;
    array = realloc(array, *room * size);
    ASSERT(array != NULL);
    return array;
}

static void names_fini(struct names *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->all[i]->text);
        free(n->all[i]);
    }
    free(n->all);
    map_fini(&n->map);
}

/* NULL: there are too many. */
static struct name *name_get(struct names *n, struct slice text)
{
    uint64_t hash = hash_bytes(0, text);
    struct name *name;

    for (struct map_link *l = map_find(&n->map, hash); l != NULL; l = map_next(l)) {
        name = MAP_OF(l, struct name, in_names);
        if (slice_eq(slice_of(name->text, name->len), text)) {
            return name;
        }
    }
    if (n->count == NAMES_MOST) {
        return NULL;
    }
    n->all = grow(n->all, n->count, &n->room, sizeof(*n->all));
    name = xcalloc(1, sizeof(*name));
    name->text = slice_dup(text);
    ASSERT(name->text != NULL);
    name->len = text.len;
    name->number = (uint32_t)n->count;
    map_add(&n->map, &name->in_names, hash);
    n->all[n->count++] = name;
    return name;
}

struct farm_trace *farm_trace_new(void)
{
    struct farm_trace *t = xcalloc(1, sizeof(*t));

    ASSERT(map_init(&t->models.map, MAP_CHAINS) && map_init(&t->tenants.map, MAP_CHAINS));
    return t;
}

void farm_trace_free(struct farm_trace **t)
{
    struct farm_trace *old = *t;

    *t = NULL;
    if (old != NULL) {
        names_fini(&old->models);
        names_fini(&old->tenants);
        free(old->records);
        free(old->pieces);
        free(old);
    }
}

/* --- lines --- */

static bool read_text(const struct json_member *m, const char *key, struct slice *out)
{
    if (m->kind != JSON_STRING || !json_key_is(m, slice_str(key))) {
        return false;
    }
    *out = slice_of(m->value.ptr + 1, m->value.len - 2);
    return true;
}

static bool read_number(const struct json_member *m, const char *key, uint64_t *out)
{
    return m->kind == JSON_NUMBER && json_key_is(m, slice_str(key)) && json_uint(m->value, out);
}

static void read_list(const struct json_member *m, const char *key, struct slice *out)
{
    if (m->kind == JSON_ARRAY && json_key_is(m, slice_str(key))) {
        *out = m->value;
    }
}

static void read_member(const struct json_member *m, struct line *l)
{
    (void)(read_text(m, "model", &l->model) || read_text(m, "tenant", &l->tenant) ||
           read_text(m, "class", &l->class) || read_text(m, "code", &l->code) ||
           read_text(m, "op", &l->op) || read_number(m, "in_bytes", &l->in_bytes) ||
           read_number(m, "dropped", &l->dropped) || read_number(m, "mcpgate_record", &l->format));
    l->has_at = l->has_at || read_number(m, "at_us", &l->at_us);
    l->has_in_tokens = l->has_in_tokens || read_number(m, "in_tokens", &l->in_tokens);
    l->has_out_tokens = l->has_out_tokens || read_number(m, "out_tokens", &l->out_tokens);
    read_list(m, "prefix", &l->prefix);
    read_list(m, "prefix_bytes", &l->prefix_bytes);
}

static int read_line(struct slice text, struct line *l, struct err *e)
{
    struct json_walk w;
    struct json_member m;
    enum json_status status = json_walk_begin(&w, text, JSON_OBJECT);

    while (status == JSON_OK) {
        status = json_walk_next(&w, &m);
        if (status == JSON_OK) {
            read_member(&m, l);
        }
    }
    return status == JSON_END ? MCP_OK : err_set(e, MCP_EARGUMENT, "expected a JSON object");
}

static uint32_t tokens_of(uint64_t tokens)
{
    return tokens < TOKENS_MOST ? (uint32_t)tokens : TOKENS_MOST;
}

static uint64_t hash_of(struct slice hex)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < hex.len && i < HEX; i++) {
        unsigned char c = (unsigned char)hex.ptr[i];

        hash = hash << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return hash;
}

/* The next element; false: the end. Elements of the wrong kind are none. */
static bool next_element(struct json_walk *w, struct json_member *m)
{
    return json_walk_next(w, m) == JSON_OK;
}

static void add_pieces(struct farm_trace *t, struct record *r, const struct line *l)
{
    struct json_walk hashes, sizes;
    struct json_member hash, size;
    bool sized =
        l->prefix_bytes.len > 0 && json_walk_begin(&sizes, l->prefix_bytes, JSON_ARRAY) == JSON_OK;
    uint64_t bytes;

    r->prefix = (uint32_t)t->piece_count;
    if (l->prefix.len == 0 || json_walk_begin(&hashes, l->prefix, JSON_ARRAY) != JSON_OK) {
        return;
    }
    while (r->prefix_count < SCHED_PREFIX_MAX && next_element(&hashes, &hash)) {
        struct piece p = {0};

        if (hash.kind != JSON_STRING) {
            return;
        }
        p.hash = hash_of(slice_of(hash.value.ptr + 1, hash.value.len - 2));
        sized = sized && next_element(&sizes, &size);
        if (sized && json_uint(size.value, &bytes)) {
            p.tokens = tokens_of(bytes / BYTES_PER_TOKEN);
        }
        t->pieces = grow(t->pieces, t->piece_count, &t->piece_room, sizeof(*t->pieces));
        t->pieces[t->piece_count++] = p;
        r->prefix_count++;
    }
}

static enum sched_class class_of(struct slice text)
{
    if (slice_eq(text, SLICE("interactive"))) {
        return SCHED_CLASS_INTERACTIVE;
    }
    return slice_eq(text, SLICE("batch")) ? SCHED_CLASS_BATCH : SCHED_CLASS_NORMAL;
}

static int add_request(struct farm_trace *t, const struct line *l, struct err *e)
{
    struct name *model = name_get(&t->models, l->model);
    struct name *tenant = name_get(&t->tenants, l->tenant);
    bool answered = slice_eq(l->code, SLICE("ok"));
    struct record r;

    if (model == NULL || model->number >= FARM_MODELS_MAX || tenant == NULL) {
        return err_set(e, MCP_EARGUMENT, "more than %d models or %d tenants", FARM_MODELS_MAX,
                       NAMES_MOST);
    }
    r = (struct record){
        .at_us = l->at_us < AT_US_MOST ? l->at_us : AT_US_MOST,
        .order = (uint32_t)t->count,
        .model = model->number,
        .tenant = tenant->number,
        .prompt_tokens = tokens_of(l->has_in_tokens ? l->in_tokens : l->in_bytes / BYTES_PER_TOKEN),
        .answer_tokens = tokens_of(l->out_tokens),
        .class = (uint8_t)class_of(l->class),
        .answered = answered || slice_eq(l->op, SLICE("embed")),
    };
    if (answered && l->out_tokens > 0) {
        model->answers++;
        model->answer_tokens += r.answer_tokens;
    }
    add_pieces(t, &r, l);
    t->records = grow(t->records, t->count, &t->room, sizeof(*t->records));
    t->records[t->count++] = r;
    return MCP_OK;
}

int farm_trace_add(struct farm_trace *t, struct slice line, struct err *e)
{
    struct line l = {.class = SLICE("")};
    int rc = read_line(line, &l, e);

    if (rc != MCP_OK) {
        return rc;
    }
    if (!t->begun) {
        t->begun = l.format == FORMAT;
        return t->begun ? MCP_OK
                        : err_set(e, MCP_EARGUMENT, "expected {\"mcpgate_record\":%d,...}", FORMAT);
    }
    t->dropped += l.dropped;
    return l.has_at ? add_request(t, &l, e) : MCP_OK;
}

/* --- behind the last --- */

static int by_time(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    return x->order < y->order ? -1 : 1;
}

int farm_trace_ready(struct farm_trace *t, struct err *e)
{
    if (t->count == 0) {
        return err_set(e, MCP_EARGUMENT, "there are no requests in it");
    }
    qsort(t->records, t->count, sizeof(*t->records), by_time);
    for (size_t i = 0; i < t->count; i++) {
        struct record *r = &t->records[i];
        const struct name *model = t->models.all[r->model];

        if (!r->answered && r->answer_tokens == 0 && model->answers > 0) {
            r->answer_tokens = (uint32_t)(model->answer_tokens / model->answers);
        }
    }
    return MCP_OK;
}

size_t farm_trace_requests(const struct farm_trace *t)
{
    return t->count;
}

uint64_t farm_trace_dropped(const struct farm_trace *t)
{
    return t->dropped;
}

double farm_trace_seconds(const struct farm_trace *t)
{
    return (double)(t->records[t->count - 1].at_us - t->records[0].at_us) / 1e6;
}

size_t farm_trace_models(const struct farm_trace *t)
{
    return t->models.count;
}

static struct slice text_of(const struct name *name)
{
    return slice_of(name->text, name->len);
}

struct slice farm_trace_model(const struct farm_trace *t, size_t model)
{
    return text_of(t->models.all[model]);
}

size_t farm_trace_tenants(const struct farm_trace *t)
{
    return t->tenants.count;
}

void farm_trace_means(const struct farm_trace *t, double *prompt_tokens, double *answer_tokens)
{
    *prompt_tokens = *answer_tokens = 0;
    for (size_t i = 0; i < t->count; i++) {
        *prompt_tokens += t->records[i].prompt_tokens / (double)t->count;
        *answer_tokens += t->records[i].answer_tokens / (double)t->count;
    }
}

bool farm_trace_next(void *owner, struct farm_request *out)
{
    struct farm_trace_source *source = owner;
    const struct farm_trace *t = source->trace;
    const struct record *r;

    if (source->at == t->count) {
        return false;
    }
    r = &t->records[source->at];
    out->due_us = 1 + (uint64_t)((double)(r->at_us - t->records[0].at_us) / source->speed);
    out->tag = source->at++;
    out->model = r->model;
    out->tenant = text_of(t->tenants.all[r->tenant]);
    out->tenant_number = r->tenant;
    out->weight = 1;
    out->class = (enum sched_class)r->class;
    out->prompt_tokens = r->prompt_tokens;
    out->answer_tokens = r->answer_tokens;
    out->said_tokens = 0;
    out->cancel_us = 0;
    out->prefix_count = r->prefix_count;
    for (size_t i = 0; i < r->prefix_count; i++) {
        out->prefix[i] = t->pieces[r->prefix + i].hash;
        out->prefix_tokens[i] = t->pieces[r->prefix + i].tokens;
    }
    return true;
}
