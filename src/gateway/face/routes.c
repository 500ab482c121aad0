/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/face/routes.h"

#include <string.h>

#define NATIVE(method, path, op, body, end, translated, needs_model, once)                         \
    {                                                                                              \
        method, {path, sizeof(path) - 1}, OP_##op, SHAPE_OLLAMA, ROUTE_BODY_##body,                \
            STREAM_END_##end, translated, false, needs_model, once, false                          \
    }
#define V1(method, path, op, shape, body, end, needs_model)                                        \
    {                                                                                              \
        method, {path, sizeof(path) - 1}, OP_##op, SHAPE_##shape, ROUTE_BODY_##body,               \
            STREAM_END_##end, false, true, needs_model, false, false                               \
    }

typedef bool (*path_match_fn)(struct slice pattern, struct slice path);

static const struct route routes[] = {
    NATIVE("GET", ROUTE_LIVENESS, NONE, NONE, FRAMING, false, false, false),
    NATIVE("HEAD", ROUTE_LIVENESS, NONE, NONE, FRAMING, false, false, false),
    NATIVE("POST", "/api/generate", GENERATE, JSON, DONE, true, true, false),
    NATIVE("POST", "/api/chat", CHAT, JSON, DONE, true, true, false),
    NATIVE("POST", "/api/embed", EMBED, JSON, FRAMING, true, true, false),
    NATIVE("POST", "/api/embeddings", EMBEDDINGS, JSON, FRAMING, true, true, false),
    NATIVE("GET", "/api/tags", LIST, NONE, FRAMING, true, false, false),
    NATIVE("HEAD", "/api/tags", LIST, NONE, FRAMING, true, false, false),
    NATIVE("GET", "/api/ps", PS, NONE, FRAMING, true, false, false),
    NATIVE("POST", "/api/show", SHOW, JSON, FRAMING, true, false, false),
    NATIVE("GET", "/api/version", VERSION, NONE, FRAMING, true, false, false),
    NATIVE("HEAD", "/api/version", VERSION, NONE, FRAMING, true, false, false),
    NATIVE("GET", "/api/status", NONE, NONE, FRAMING, false, false, false),
    NATIVE("POST", "/api/pull", PULL, JSON, FRAMING, false, false, false),
    NATIVE("POST", "/api/push", PUSH, JSON, FRAMING, false, false, true),
    NATIVE("POST", "/api/create", CREATE, JSON, FRAMING, false, false, true),
    NATIVE("POST", "/api/copy", COPY, JSON, FRAMING, false, false, true),
    NATIVE("DELETE", "/api/delete", DELETE, JSON, FRAMING, false, false, true),
    NATIVE("HEAD", "/api/blobs/:digest", NONE, NONE, FRAMING, false, false, false),
    NATIVE("POST", "/api/blobs/:digest", NONE, UPLOAD, FRAMING, false, false, true),
    NATIVE("POST", "/api/me", NONE, RAW, FRAMING, false, false, true),
    NATIVE("POST", "/api/signout", NONE, RAW, FRAMING, false, false, true),
    NATIVE("DELETE", "/api/user/keys/:encodedKey", NONE, RAW, FRAMING, false, false, true),
    NATIVE("POST", "/api/experimental/web_search", NONE, RAW, FRAMING, false, false, false),
    NATIVE("POST", "/api/experimental/web_fetch", NONE, RAW, FRAMING, false, false, false),
    NATIVE("GET", "/api/experimental/model-recommendations", NONE, NONE, FRAMING, false, false,
           false),
    V1("POST", "/v1/chat/completions", CHAT, OPENAI, JSON, SSE_DONE, true),
    V1("POST", "/v1/completions", GENERATE, OPENAI, JSON, SSE_DONE, true),
    V1("POST", "/v1/embeddings", EMBED, OPENAI, JSON, FRAMING, true),
    V1("GET", "/v1/models", NONE, OPENAI, NONE, FRAMING, false),
    {"GET",
     {ROUTE_RETRIEVE "*model", sizeof(ROUTE_RETRIEVE "*model") - 1},
     OP_NONE,
     SHAPE_OPENAI,
     ROUTE_BODY_NONE,
     STREAM_END_FRAMING,
     false,
     true,
     false,
     false,
     true},
    V1("POST", "/v1/responses", CHAT, OPENAI, JSON, SSE_RESPONSE, true),
    V1("POST", "/v1/audio/transcriptions", NONE, OPENAI, RAW, FRAMING, false),
    V1("POST", "/v1/messages", CHAT, ANTHROPIC, JSON, SSE_MESSAGE, true),
};

/* The next segment of a path that begins with '/', without the slash. */
static struct slice next_segment(struct slice *path)
{
    struct slice rest = slice_skip(*path, 1);
    const char *slash = rest.len == 0 ? NULL : memchr(rest.ptr, '/', rest.len);
    struct slice segment = slash == NULL ? rest : slice_first(rest, (size_t)(slash - rest.ptr));

    *path = slice_skip(rest, segment.len);
    return segment;
}

static bool path_matches(struct slice pattern, struct slice path)
{
    while (pattern.len > 0 && path.len > 0 && path.ptr[0] == '/') {
        struct slice wanted = next_segment(&pattern);
        struct slice given;

        if (wanted.len > 0 && wanted.ptr[0] == '*') {
            return path.len > 1;
        }
        given = next_segment(&path);
        if (wanted.len > 0 && wanted.ptr[0] == ':' ? given.len == 0 : !slice_eq(wanted, given)) {
            return false;
        }
    }
    return pattern.len == 0 && path.len == 0;
}

static enum route_match find(struct slice method, struct slice path, path_match_fn matches,
                             const struct route **route)
{
    enum route_match match = ROUTE_NO_PATH;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!matches(routes[i].path, path)) {
            continue;
        }
        match = ROUTE_NO_METHOD;
        *route = &routes[i];
        if (slice_eq(method, slice_str(routes[i].method)) || slice_eq(method, SLICE("OPTIONS"))) {
            return ROUTE_FOUND;
        }
    }
    return match;
}

/* Nearly all are asked for word by word, and no pattern fits such a path. */
enum route_match route_find(struct slice method, struct slice path, const struct route **route)
{
    enum route_match match = find(method, path, slice_eq, route);

    return match == ROUTE_NO_PATH ? find(method, path, path_matches, route) : match;
}

bool route_allow(struct slice path, struct buf *out)
{
    bool ok = true;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (path_matches(routes[i].path, path)) {
            ok = ok && (buf_len(out) == 0 || buf_append(out, SLICE(", "))) &&
                 buf_append_str(out, routes[i].method);
        }
    }
    return ok;
}

bool route_tidy(struct slice path, struct buf *out)
{
    const struct route *route;
    struct slice rest = path;

    while (rest.len > 0 && rest.ptr[0] == '/') {
        struct slice segment = next_segment(&rest);

        if (segment.len > 0 && !(buf_append_byte(out, '/') && buf_append(out, segment))) {
            return false;
        }
    }
    return rest.len == 0 && buf_len(out) > 0 && buf_len(out) < path.len &&
           route_find(SLICE(""), buf_slice(out), &route) != ROUTE_NO_PATH;
}
