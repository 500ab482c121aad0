/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fault.h"

#include <stddef.h>

static const struct {
    const char *name;
    uint32_t number;
    uint32_t most;
} faults[] = {
    [SIM_FAULT_NONE] = {"", 0, 0},
#define SIM_FAULT(id, name, number, most, help) [SIM_FAULT_##id] = {name, number, most},
#include "sim/fault.def"
#undef SIM_FAULT
};

static const char expected[] = "expected one of"
#define SIM_FAULT(id, name, number, most, help) " " name
#include "sim/fault.def"
#undef SIM_FAULT
                               ", with :N or @every M behind it";

/* Takes a number from 1 digit to 9 off the front. */
static bool take_number(struct slice *s, uint32_t *out)
{
    size_t digits = 0;

    *out = 0;
    while (digits < s->len && digits < 9 && s->ptr[digits] >= '0' && s->ptr[digits] <= '9') {
        *out = *out * 10 + (uint32_t)(s->ptr[digits++] - '0');
    }
    *s = slice_skip(*s, digits);
    return digits > 0;
}

static enum sim_fault_kind find(struct slice name)
{
    for (size_t i = 1; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (slice_eq(name, slice_str(faults[i].name))) {
            return (enum sim_fault_kind)i;
        }
    }
    return SIM_FAULT_NONE;
}

int sim_fault_parse(struct sim_fault *f, struct slice text, struct err *e)
{
    const struct slice every = SLICE("@every ");
    size_t name_len = 0;

    while (name_len < text.len && text.ptr[name_len] != ':' && text.ptr[name_len] != '@') {
        name_len++;
    }
    *f = (struct sim_fault){.kind = find(slice_first(text, name_len)), .every = 1};
    f->number = faults[f->kind].number;
    text = slice_skip(text, name_len);
    if (text.len > 0 && text.ptr[0] == ':') {
        text = slice_skip(text, 1);
        if (!take_number(&text, &f->number)) {
            f->kind = SIM_FAULT_NONE;
        }
    }
    if (slice_starts(text, every)) {
        text = slice_skip(text, every.len);
        if (!take_number(&text, &f->every)) {
            f->every = 0;
        }
    }
    if (f->kind == SIM_FAULT_NONE || f->every == 0 || text.len > 0) {
        return err_set(e, MCP_EARGUMENT, "%s", expected);
    }
    if (f->number > faults[f->kind].most || (f->kind == SIM_FAULT_REFUSE && f->number < 400)) {
        return err_set(e, MCP_EARGUMENT, "the number of %s is out of range", faults[f->kind].name);
    }
    return MCP_OK;
}

bool sim_fault_hits(const struct sim_fault *f, uint64_t count)
{
    return f->kind != SIM_FAULT_NONE && count % f->every == 0;
}
