/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/profile.h"

#include <stddef.h>
#include <string.h>

static const struct sim_profile profiles[] = {
    {
        .name = "echo",
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) .field = (echo),
#include "sim/profile.def"
#undef SIM_NUMBER
    },
    {
        .name = "seed",
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) .field = (seed),
#include "sim/profile.def"
#undef SIM_NUMBER
    },
    {
        .name = "llm",
#define SIM_NUMBER(field, option, echo, seed, llm, most, help) .field = (llm),
#include "sim/profile.def"
#undef SIM_NUMBER
    },
};

bool sim_profile_find(const char *name, struct sim_profile *out)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            *out = profiles[i];
            return true;
        }
    }
    return false;
}

bool sim_profile_is_free(const struct sim_profile *p)
{
    return p->slots == 0 && p->memory_mib == 0 && p->load_ms == 0 && p->call_us == 0 &&
           p->item_us == 0 && p->prompt_us == 0 && p->decode_us == 0 && p->decode_slot_us == 0;
}
