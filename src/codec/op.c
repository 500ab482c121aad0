/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/op.h"

#include "base/check.h"

static const struct op_info operations[OP_COUNT] = {
#define OP(name, wire, method, path, streams, once) {wire, method, path, streams != 0, once != 0},
#include "codec/op.def"
#undef OP
};

const struct op_info *op_info(enum op op)
{
    ASSERT(op < OP_COUNT);
    return &operations[op];
}

enum op op_from_name(struct slice name)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (slice_eq(name, slice_str(operations[op].name))) {
            return (enum op)op;
        }
    }
    return OP_NONE;
}

enum op op_from_http(struct slice method, struct slice path)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (operations[op].path[0] != '\0' && slice_eq(path, slice_str(operations[op].path)) &&
            slice_eq(method, slice_str(operations[op].method))) {
            return (enum op)op;
        }
    }
    return OP_NONE;
}

bool op_is_inference(enum op op)
{
    return op == OP_GENERATE || op == OP_CHAT || op == OP_EMBED || op == OP_EMBEDDINGS;
}
