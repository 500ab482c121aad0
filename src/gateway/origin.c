/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/origin.h"

#include <string.h>

/* As Ollama's OLLAMA_ORIGINS has them without being set. */
static const char local_origins[] =
    "http://localhost,https://localhost,http://localhost:*,https://localhost:*,"
    "http://127.0.0.1,https://127.0.0.1,http://127.0.0.1:*,https://127.0.0.1:*,"
    "http://0.0.0.0,https://0.0.0.0,http://0.0.0.0:*,https://0.0.0.0:*,"
    "app://*,file://*,tauri://*,vscode-webview://*,vscode-file://*";

/* The next of a list; false at its end. */
static bool next_pattern(const char **list, struct slice *pattern)
{
    const char *begin = *list + strspn(*list, ", ");
    size_t len = strcspn(begin, ", ");

    *pattern = slice_of(begin, len);
    *list = begin + len;
    return len > 0;
}

static bool matches(struct slice pattern, struct slice origin)
{
    const char *star = memchr(pattern.ptr, '*', pattern.len);
    struct slice before, after;

    if (star == NULL) {
        return slice_eq(pattern, origin);
    }
    before = slice_first(pattern, (size_t)(star - pattern.ptr));
    after = slice_skip(pattern, before.len + 1);
    return origin.len >= before.len + after.len &&
           slice_eq(slice_first(origin, before.len), before) &&
           slice_eq(slice_skip(origin, origin.len - after.len), after);
}

static bool is_listed(const char *list, struct slice origin)
{
    struct slice pattern;

    while (list != NULL && next_pattern(&list, &pattern)) {
        if (matches(pattern, origin)) {
            return true;
        }
    }
    return false;
}

/* Of a page that came from where it asks. */
static bool is_own(struct slice origin, struct slice host)
{
    static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (origin.len == schemes[i].len + host.len &&
            slice_eq(slice_first(origin, schemes[i].len), schemes[i]) &&
            slice_eq(slice_skip(origin, schemes[i].len), host)) {
            return true;
        }
    }
    return false;
}

enum origin_kind origin_judge(const char *more, const struct http_head *head)
{
    struct slice origin = http_head_find(head, SLICE("Origin"));

    if (origin.len == 0 || is_own(origin, http_head_find(head, SLICE("Host")))) {
        return ORIGIN_NONE;
    }
    return is_listed(local_origins, origin) || is_listed(more, origin) ? ORIGIN_ALLOWED
                                                                       : ORIGIN_FOREIGN;
}

bool origins_are_fine(const char *more)
{
    struct slice pattern;

    while (next_pattern(&more, &pattern)) {
        const char *star = memchr(pattern.ptr, '*', pattern.len);
        size_t behind = star == NULL ? 0 : pattern.len - (size_t)(star - pattern.ptr) - 1;

        if (star == NULL ? memmem(pattern.ptr, pattern.len, "://", 3) == NULL
                         : memchr(star + 1, '*', behind) != NULL) {
            return false;
        }
    }
    return true;
}

size_t origin_headers(struct slice origin, struct http_header *out)
{
    if (origin.len == 0) {
        return 0;
    }
    out[0] = (struct http_header){SLICE("Access-Control-Allow-Origin"), origin};
    out[1] = (struct http_header){SLICE("Vary"), SLICE("Origin")};
    return ORIGIN_HEADERS;
}

const struct http_header *origin_preflight(size_t *count)
{
    static const struct http_header headers[] = {
        {SLICE("Access-Control-Allow-Headers"),
         SLICE("Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,"
               "X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,"
               "X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
               "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,"
               "X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout")},
        {SLICE("Access-Control-Allow-Methods"), SLICE("GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS")},
        {SLICE("Access-Control-Max-Age"), SLICE("43200")},
        {SLICE("Vary"), SLICE("Access-Control-Request-Method")},
        {SLICE("Vary"), SLICE("Access-Control-Request-Headers")},
    };

    *count = sizeof(headers) / sizeof(headers[0]);
    return headers;
}
