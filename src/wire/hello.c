/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hello.h"

#include <inttypes.h>
#include <stddef.h>

#include "mcp/error.h"
#include "wire/conn.h"
#include "wire/members.h"

/* --- names ---------------------------------------------------------------------------------------
 */

static const struct {
    uint32_t bit;
    const char *name;
} FEATURES[] = {
#define WIRE_FEATURE(name, text, bit) {WIRE_SINCE_##name, text},
#include "wire/feature.def"
#undef WIRE_FEATURE
};

enum { FEATURE_COUNT = sizeof(FEATURES) / sizeof(FEATURES[0]) };

static const char *const CODECS[WIRE_CODEC_COUNT] = {[WIRE_CODEC_JSON] = "json"};

const char *wire_feature_name(uint32_t bit)
{
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        if (FEATURES[i].bit == bit) {
            return FEATURES[i].name;
        }
    }
    return "";
}

const char *wire_codec_name(enum wire_codec codec)
{
    return CODECS[codec];
}

/* --- members -------------------------------------------------------------------------------------
 */

struct field;

typedef bool (*field_read_fn)(struct wire_members *r, const struct json_member *m,
                              const struct field *f, void *to);

/* A member of HELLO or WELCOME: how it is read, and to where. */
struct field {
    const char *name;
    field_read_fn read;
    size_t at; /* in what is read */
    uint64_t least, most;
};

static void *place_of(const struct field *f, void *to)
{
    return (char *)to + f->at;
}

static bool read_u32(struct wire_members *r, const struct json_member *m, const struct field *f,
                     void *to)
{
    return wire_member_u32(r, m, f->name, f->least, f->most, place_of(f, to));
}

static bool read_text(struct wire_members *r, const struct json_member *m, const struct field *f,
                      void *to)
{
    return wire_member_text(r, m, f->name, place_of(f, to));
}

static bool read_features(struct wire_members *r, const struct json_member *m,
                          const struct field *f, void *to)
{
    uint32_t *features = place_of(f, to);
    struct json_walk list;
    struct json_member element;

    *features = WIRE_SINCE_BASE;
    if (!wire_member_list(r, m, f->name, &list)) {
        return false;
    }
    while (json_walk_next(&list, &element) == JSON_OK) {
        for (size_t i = 0; i < FEATURE_COUNT; i++) {
            *features |= wire_member_is(&element, FEATURES[i].name) ? FEATURES[i].bit : 0;
        }
    }
    return true;
}

/* The codec of that name, or WIRE_CODEC_COUNT. */
static enum wire_codec find_codec(const struct json_member *m)
{
    enum wire_codec codec = 0;

    while (codec < WIRE_CODEC_COUNT && !wire_member_is(m, CODECS[codec])) {
        codec++;
    }
    return codec;
}

static bool read_field(struct wire_members *r, const struct json_member *m,
                       const struct field *fields, size_t count, void *to)
{
    for (size_t i = 0; i < count; i++) {
        if (json_key_is(m, slice_str(fields[i].name))) {
            return fields[i].read(r, m, &fields[i], to);
        }
    }
    return true;
}

/* 0, or r->code. */
static int read_fields(struct wire_members *r, struct slice payload, const struct field *fields,
                       size_t count, void *to)
{
    enum json_status status;
    struct json_member m;

    if (wire_members_begin(r, payload) != 0) {
        return r->code;
    }
    while ((status = wire_members_next(r, &m)) == JSON_OK) {
        if (!read_field(r, &m, fields, count, to)) {
            return r->code;
        }
    }
    return status < 0 ? r->code : 0;
}

/* --- HELLO ---------------------------------------------------------------------------------------
 */

void wire_hello_init(struct wire_hello *h)
{
    *h = (struct wire_hello){
        .version_1 = true,
        .codecs = {WIRE_CODEC_JSON},
        .codec_count = 1,
        .only_json = true,
        .features = WIRE_SINCE_BASE,
        .heartbeat_ms = WIRE_HEARTBEAT_MS,
        .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
        .window_bytes = WIRE_WINDOW_BYTES,
    };
}

static bool read_versions(struct wire_members *r, const struct json_member *m,
                          const struct field *f, void *to)
{
    bool *version_1 = place_of(f, to);
    struct json_walk list;
    struct json_member element;
    uint64_t version;

    *version_1 = false;
    if (!wire_member_list(r, m, f->name, &list)) {
        return false;
    }
    while (json_walk_next(&list, &element) == JSON_OK) {
        *version_1 |= json_uint(element.value, &version) && version == WIRE_VERSION;
    }
    return true;
}

static bool read_codecs(struct wire_members *r, const struct json_member *m, const struct field *f,
                        void *to)
{
    struct wire_hello *h = place_of(f, to);
    struct json_walk list;
    struct json_member element;
    uint32_t seen = 0;
    size_t count = 0;

    h->codec_count = 0;
    if (!wire_member_list(r, m, f->name, &list)) {
        return false;
    }
    for (; json_walk_next(&list, &element) == JSON_OK; count++) {
        enum wire_codec codec = find_codec(&element);

        if (codec < WIRE_CODEC_COUNT && (seen & 1U << codec) == 0) {
            h->codecs[h->codec_count++] = codec;
            seen |= 1U << codec;
        }
    }
    h->only_json = count == 1 && seen == 1U << WIRE_CODEC_JSON;
    return true;
}

#define HELLO_AT(member) offsetof(struct wire_hello, member)

static const struct field HELLO_FIELDS[] = {
    {"versions", read_versions, HELLO_AT(version_1), 0, 0},
    {"codecs", read_codecs, 0, 0, 0},
    {"features", read_features, HELLO_AT(features), 0, 0},
    {"heartbeat_ms", read_u32, HELLO_AT(heartbeat_ms), 1, UINT32_MAX},
    {"max_frame", read_u32, HELLO_AT(max_frame_bytes), WIRE_HELLO_FRAME_BYTES_MIN, UINT32_MAX},
    {"window", read_u32, HELLO_AT(window_bytes), 0, WIRE_WINDOW_BYTES_MAX},
    {"auth", read_text, HELLO_AT(auth), 0, 0},
    {"client", read_text, HELLO_AT(client), 0, 0},
};

int wire_hello_read(struct wire_hello *h, uint32_t session, struct slice payload, struct err *e)
{
    struct wire_members r = {.what = "HELLO", .code = MCP_EBAD_REQUEST, .e = e};

    wire_hello_init(h);
    if (session != 0) {
        return err_set(e, MCP_EBAD_REQUEST, "HELLO: its session_id is %" PRIu32 ", it must be 0",
                       session);
    }
    return read_fields(&r, payload, HELLO_FIELDS, sizeof(HELLO_FIELDS) / sizeof(HELLO_FIELDS[0]),
                       h);
}

/* ["ack","cancel"] */
static void append_features(struct buf *out, uint32_t features)
{
    const char *between = "";

    buf_append_str(out, "\"features\":[");
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        if ((features & FEATURES[i].bit) != 0) {
            buf_printf(out, "%s\"%s\"", between, FEATURES[i].name);
            between = ",";
        }
    }
    buf_append_byte(out, ']');
}

static void append_json_member(struct buf *out, const char *name, struct slice json)
{
    if (json.ptr != NULL) {
        buf_printf(out, ",\"%s\":", name);
        buf_append(out, json);
    }
}

bool wire_hello_append(struct buf *out, const struct wire_hello *h)
{
    buf_printf(out, "{\"versions\":[%d],\"codecs\":[", WIRE_VERSION);
    for (size_t i = 0; i < h->codec_count; i++) {
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : ",", CODECS[h->codecs[i]]);
    }
    buf_append_str(out, "],");
    append_features(out, h->features);
    buf_printf(out, ",\"heartbeat_ms\":%" PRIu32 ",\"max_frame\":%" PRIu32 ",\"window\":%" PRIu32,
               h->heartbeat_ms, h->max_frame_bytes, h->window_bytes);
    append_json_member(out, "auth", h->auth);
    append_json_member(out, "client", h->client);
    return buf_append_byte(out, '}');
}

bool wire_hello_pipelines(const struct wire_hello *h)
{
    return h->only_json && (h->features & WIRE_SINCE_CRC32C) == 0;
}

/* --- WELCOME -------------------------------------------------------------------------------------
 */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* A client cannot have the server watch it, and close it, every millisecond. */
static uint32_t agreed_heartbeat_ms(const struct wire_hello *h, const struct wire_offer *offer)
{
    return least(most(h->heartbeat_ms, WIRE_HEARTBEAT_LEAST_MS), offer->heartbeat_ms);
}

int wire_negotiate(const struct wire_hello *h, const struct wire_offer *offer,
                   struct wire_welcome *w, struct err *e)
{
    size_t i = 0;

    if (!h->version_1) {
        return err_set(e, MCP_EUNSUPPORTED_VERSION,
                       "HELLO: none of \"versions\" is supported here; supported: %d",
                       WIRE_VERSION);
    }
    while (i < h->codec_count && (offer->codecs & 1U << h->codecs[i]) == 0) {
        i++;
    }
    if (i == h->codec_count) {
        return err_set(e, MCP_EBAD_REQUEST, "HELLO: none of \"codecs\" is known here; \"%s\" is",
                       CODECS[WIRE_CODEC_JSON]);
    }
    *w = (struct wire_welcome){
        .codec = h->codecs[i],
        .features = (h->features & offer->features) | WIRE_SINCE_BASE,
        .heartbeat_ms = agreed_heartbeat_ms(h, offer),
        .max_frame_bytes = offer->max_frame_bytes,
        .window_bytes = least(h->window_bytes, offer->window_bytes),
        .max_sessions = offer->max_sessions,
        .server = slice_str(offer->server),
    };
    return 0;
}

bool wire_welcome_append(struct buf *out, const struct wire_welcome *w)
{
    buf_printf(out, "{\"version\":%d,\"codec\":\"%s\",", WIRE_VERSION, CODECS[w->codec]);
    append_features(out, w->features);
    buf_printf(out,
               ",\"heartbeat_ms\":%" PRIu32 ",\"max_frame\":%" PRIu32 ",\"window\":%" PRIu32
               ",\"max_sessions\":%" PRIu32 ",\"server\":",
               w->heartbeat_ms, w->max_frame_bytes, w->window_bytes, w->max_sessions);
    json_append_string(out, w->server);
    if (w->connection != 0) {
        buf_printf(out, ",\"connection\":%" PRIu64, w->connection);
    }
    return buf_append_byte(out, '}');
}

bool wire_welcome_append_refusal(struct buf *out, int code, struct slice text)
{
    buf_append_str(out, "{\"error\":");
    json_append_string(out, text);
    return buf_printf(out, ",\"code\":\"%s\"}", mcp_error_name(code));
}

/* WELCOME, and what of it is checked once all of it was read. */
struct welcome_read {
    struct wire_welcome w;
    struct slice error; /* NULL: it is no refusal */
    struct slice code;
    uint64_t version;
};

static bool read_version(struct wire_members *r, const struct json_member *m, const struct field *f,
                         void *to)
{
    return wire_member_number(r, m, f->name, f->least, f->most, place_of(f, to));
}

static bool read_codec(struct wire_members *r, const struct json_member *m, const struct field *f,
                       void *to)
{
    enum wire_codec *codec = place_of(f, to);

    (void)r;
    *codec = find_codec(m);
    return true;
}

static bool read_connection(struct wire_members *r, const struct json_member *m,
                            const struct field *f, void *to)
{
    (void)r;
    (void)json_uint(m->value, place_of(f, to)); /* any other name is of no use here */
    return true;
}

#define WELCOME_AT(member) offsetof(struct welcome_read, member)

static const struct field WELCOME_FIELDS[] = {
    {"error", read_text, WELCOME_AT(error), 0, 0},
    {"code", read_text, WELCOME_AT(code), 0, 0},
    {"version", read_version, WELCOME_AT(version), 1, UINT64_MAX},
    {"codec", read_codec, WELCOME_AT(w.codec), 0, 0},
    {"features", read_features, WELCOME_AT(w.features), 0, 0},
    {"heartbeat_ms", read_u32, WELCOME_AT(w.heartbeat_ms), 1, UINT32_MAX},
    {"max_frame", read_u32, WELCOME_AT(w.max_frame_bytes), WIRE_HELLO_FRAME_BYTES_MIN, UINT32_MAX},
    {"window", read_u32, WELCOME_AT(w.window_bytes), 0, WIRE_WINDOW_BYTES_MAX},
    {"max_sessions", read_u32, WELCOME_AT(w.max_sessions), 1, UINT32_MAX},
    {"server", read_text, WELCOME_AT(w.server), 0, 0},
    {"connection", read_connection, WELCOME_AT(w.connection), 0, 0},
};

/* A refusal's code and text. */
static int read_refusal(const struct welcome_read *t, struct err *e)
{
    struct buf text = {0};
    int code = MCP_EINTERNAL;

    if (t->code.ptr != NULL) {
        code = mcp_error_from_name(t->code.ptr + 1, t->code.len - 2);
    }
    (void)json_unescape(t->error, &text); /* what memory is there for is said */
    err_set(e, code, "%.*s", SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
    return code;
}

/* What the server took must have been offered. */
static int check_welcome(const struct wire_welcome *w, const struct wire_hello *sent,
                         uint64_t version, struct err *e)
{
    bool offered = false;

    for (size_t i = 0; i < sent->codec_count; i++) {
        offered |= sent->codecs[i] == w->codec;
    }
    if (version != WIRE_VERSION || !offered || (w->features & ~sent->features) != 0) {
        return err_set(e, MCP_EPROTOCOL, "WELCOME: a %s that was not offered",
                       version != WIRE_VERSION ? "version"
                       : !offered              ? "codec"
                                               : "feature");
    }
    return 0;
}

int wire_welcome_read(struct wire_welcome *w, const struct wire_hello *sent, struct slice payload,
                      struct err *e)
{
    struct wire_members r = {.what = "WELCOME", .code = MCP_EPROTOCOL, .e = e};
    struct welcome_read t = {.version = WIRE_VERSION};
    int rv;

    t.w = (struct wire_welcome){
        .codec = WIRE_CODEC_JSON,
        .features = WIRE_SINCE_BASE,
        .heartbeat_ms = sent->heartbeat_ms,
        .max_frame_bytes = WIRE_MAX_FRAME_BYTES,
        .window_bytes = sent->window_bytes,
        .max_sessions = UINT32_MAX,
    };
    rv = read_fields(&r, payload, WELCOME_FIELDS,
                     sizeof(WELCOME_FIELDS) / sizeof(WELCOME_FIELDS[0]), &t);
    *w = t.w;
    if (rv != 0) {
        return rv;
    }
    return t.error.ptr != NULL ? read_refusal(&t, e) : check_welcome(w, sent, t.version, e);
}
