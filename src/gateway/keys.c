/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/keys.h"

#include <string.h>

/* Every byte of `presented` is looked at, against a byte of `key` or against itself inverted. */
static bool equal_constant_time(struct slice presented, const char *key)
{
    size_t key_len = strlen(key);
    unsigned difference = presented.len == key_len ? 0 : 1;

    for (size_t i = 0; i < presented.len; i++) {
        unsigned char given = (unsigned char)presented.ptr[i];
        unsigned char wanted = (unsigned char)key[i < key_len ? i : 0];

        difference |= (unsigned)(given ^ wanted);
    }
    return difference == 0;
}

const struct config_key *keys_match(const struct config *c, struct slice presented)
{
    const struct config_key *match = NULL;

    for (size_t i = 0; i < c->key_count; i++) {
        if (equal_constant_time(presented, c->keys[i].key)) {
            match = &c->keys[i];
        }
    }
    return match;
}

const struct config_key *keys_named(const struct config *c, const char *name)
{
    for (size_t i = 0; name[0] != '\0' && i < c->key_count; i++) {
        if (strcmp(c->keys[i].name, name) == 0) {
            return &c->keys[i];
        }
    }
    return NULL;
}

struct slice keys_bearer(struct slice authorization)
{
    static const struct slice scheme = {"Bearer ", 7};

    if (authorization.len > scheme.len &&
        slice_eq_case(slice_first(authorization, scheme.len), scheme)) {
        return slice_trim(slice_skip(authorization, scheme.len));
    }
    return SLICE("");
}
