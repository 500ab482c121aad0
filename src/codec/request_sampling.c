/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/request_sampling.h"

#include <string.h>

static const struct slice temperature = SLICE("temperature"), seed = SLICE("seed");

static bool is_zero(struct slice number)
{
    for (size_t i = 0; i < number.len && number.ptr[i] != 'e' && number.ptr[i] != 'E'; i++) {
        if (number.ptr[i] >= '1' && number.ptr[i] <= '9') {
            return false;
        }
    }
    return true;
}

static bool occurs(struct slice text, struct slice name)
{
    return text.len > 0 && memmem(text.ptr, text.len, name.ptr, name.len) != NULL;
}

static bool says_zero(struct slice object)
{
    struct json_member m;

    return json_find(object, temperature, &m) == JSON_OK && m.kind == JSON_NUMBER &&
           is_zero(m.value);
}

static bool says_seed(struct slice object)
{
    struct json_member m;

    return json_find(object, seed, &m) == JSON_OK && m.kind == JSON_NUMBER &&
           m.value.ptr[0] != '-'; /* Ollama: below 0 is none */
}

bool sampling_is_fixed_by(struct slice options)
{
    if (options.len < 2 || options.ptr[0] != '{') {
        return false;
    }
    return (occurs(options, temperature) && says_zero(options)) ||
           (occurs(options, seed) && says_seed(options));
}

/* What stands around the long member is little, and all that nearly every request is asked. */
bool sampling_is_fixed(const struct request *r)
{
    struct slice text =
        request_value(r, request_has(r, REQUEST_MESSAGES) ? REQUEST_MESSAGES : REQUEST_PROMPT);
    struct slice before = r->body, behind = SLICE("");

    if (text.ptr != NULL) {
        size_t from = (size_t)(text.ptr - r->body.ptr);

        before = slice_first(r->body, from);
        behind = slice_skip(r->body, from + text.len);
    }
    return ((occurs(before, temperature) || occurs(behind, temperature)) && says_zero(r->body)) ||
           ((occurs(before, seed) || occurs(behind, seed)) && says_seed(r->body));
}
