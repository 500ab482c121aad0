/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool wire_members_wrong(struct wire_members *r, const char *name, const char *expected)
{
    err_set(r->e, r->code, "%s: \"%s\" must be %s", r->what, name, expected);
    return false;
}

int wire_members_begin(struct wire_members *r, struct slice payload)
{
    if (json_walk_begin(&r->walk, payload, JSON_OBJECT) != JSON_OK) {
        return err_set(r->e, r->code, "%s: a JSON object is expected", r->what);
    }
    return 0;
}

enum json_status wire_members_next(struct wire_members *r, struct json_member *m)
{
    enum json_status status;

    do {
        status = json_walk_next(&r->walk, m);
    } while (status == JSON_OK && m->kind == JSON_NULL);
    if (status < 0) {
        err_set(r->e, r->code, "%s: not valid JSON at byte %zu", r->what, r->walk.error_pos);
    }
    return status;
}

bool wire_member_number(struct wire_members *r, const struct json_member *m, const char *name,
                        uint64_t min, uint64_t max, uint64_t *out)
{
    char expected[64];

    if (!json_uint(m->value, out) || *out < min) {
        (void)snprintf(expected, sizeof(expected), "a whole number of at least %" PRIu64, min);
        return wire_members_wrong(r, name, expected);
    }
    *out = *out < max ? *out : max;
    return true;
}

bool wire_member_u32(struct wire_members *r, const struct json_member *m, const char *name,
                     uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t value;

    if (!wire_member_number(r, m, name, min, max, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

bool wire_member_text(struct wire_members *r, const struct json_member *m, const char *name,
                      struct slice *out)
{
    if (m->kind != JSON_STRING) {
        return wire_members_wrong(r, name, "a string");
    }
    *out = m->value;
    return true;
}

bool wire_member_is(const struct json_member *m, const char *name)
{
    struct json_member text = {0};

    if (m->kind != JSON_STRING) {
        return false;
    }
    text.key = slice_of(m->value.ptr + 1, m->value.len - 2);
    text.key_escaped = memchr(text.key.ptr, '\\', text.key.len) != NULL;
    return json_key_is(&text, slice_str(name));
}

bool wire_member_list(struct wire_members *r, const struct json_member *m, const char *name,
                      struct json_walk *list)
{
    return json_walk_begin(list, m->value, JSON_ARRAY) == JSON_OK ||
           wire_members_wrong(r, name, "a list");
}
