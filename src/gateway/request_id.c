/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/request_id.h"

#include <ctype.h>
#include <string.h>

#include "gateway/sub.h"

enum { INSTANCE_BYTES = 8 };

bool request_id_is_fine(struct slice id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (!isalnum((unsigned char)id.ptr[i]) && memchr("-_.:", id.ptr[i], 4) == NULL) {
            return false;
        }
    }
    return true;
}

void request_id_make(struct sub *sub, char id[REQUEST_ID_MAX + 1])
{
    char digits[20];
    size_t count = 0;
    size_t at = strnlen(sub->instance, INSTANCE_BYTES);

    sub->last_exchange += sub->exchange_step;
    memcpy(id, sub->instance, at);
    id[at++] = '-';
    for (uint64_t n = sub->last_exchange; n > 0 || count == 0; n /= 10) {
        digits[count++] = (char)('0' + n % 10);
    }
    while (count > 0) {
        id[at++] = digits[--count];
    }
    id[at] = '\0';
}

void request_id_take(struct sub *sub, struct slice own, char id[REQUEST_ID_MAX + 1])
{
    if (request_id_is_fine(own)) {
        slice_copy(own, id, REQUEST_ID_MAX + 1);
    } else {
        request_id_make(sub, id);
    }
}
