/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the scheduler, with the input as the dice. Behind each step all that must hold
 * of it is looked at. */
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "sched_chaos.h"

enum { STEPS_MOST = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many bytes as the number needs; at their end it is always 0. */
static uint64_t pick(void *owner, uint64_t below)
{
    struct slice *left = owner;
    uint64_t number = 0;

    for (uint64_t most = below - 1; most > 0 && left->len > 0; most >>= 8) {
        number = number << 8 | (uint8_t)left->ptr[0];
        *left = slice_skip(*left, 1);
    }
    return number % below;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice left = slice_of(data, size);
    struct chaos c;

    chaos_begin(&c, pick(&left, 256), pick, &left);
    for (int i = 0; i < STEPS_MOST && left.len > 0; i++) {
        chaos_step(&c);
    }
    chaos_end(&c);
    return 0;
}
