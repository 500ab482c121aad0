/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nodes_models.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/conn.h"
#include "cli/text.h"

/* A model of a node. */
struct copy {
    struct slice model;
    struct slice id;
    size_t node; /* in the order of the configuration */
    struct slice node_name;
};

static struct slice text_of(yyjson_val *value)
{
    return yyjson_is_str(value) ? slice_of(yyjson_get_str(value), yyjson_get_len(value))
                                : SLICE("");
}

static int compare_text(struct slice a, struct slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_copies(const void *left, const void *right)
{
    const struct copy *a = left, *b = right;
    int order = compare_text(a->model, b->model);

    if (order == 0) {
        order = compare_text(a->id, b->id);
    }
    return order != 0 ? order : (a->node > b->node) - (a->node < b->node);
}

static size_t count_of(yyjson_val *nodes)
{
    yyjson_val *node;
    size_t i, count, copies = 0;

    yyjson_arr_foreach(nodes, i, count, node)
    {
        copies += yyjson_arr_size(yyjson_obj_get(node, "models"));
    }
    return copies;
}

/* All copies, sorted; their number is count_of. */
static struct copy *read_copies(yyjson_val *nodes, size_t copies)
{
    struct copy *list = calloc(copies + 1, sizeof(*list));
    size_t i, k, count, model_count, filled = 0;
    yyjson_val *node, *model;

    if (list == NULL) {
        cli_no_memory();
    }
    yyjson_arr_foreach(nodes, i, count, node)
    {
        yyjson_val *ids = yyjson_obj_get(node, "ids");

        yyjson_arr_foreach(yyjson_obj_get(node, "models"), k, model_count, model)
        {
            list[filled++] = (struct copy){.model = text_of(model),
                                           .id = text_of(yyjson_arr_get(ids, k)),
                                           .node = i,
                                           .node_name = cli_member_text(node, "name")};
        }
    }
    qsort(list, copies, sizeof(*list), compare_copies);
    return list;
}

static bool is_same(const struct copy *a, const struct copy *b)
{
    return slice_eq(a->model, b->model) && slice_eq(a->id, b->id);
}

void cli_nodes_print_models(yyjson_val *nodes)
{
    struct cli_table table = {.columns = 3};
    size_t copies = count_of(nodes);
    struct copy *list = read_copies(nodes, copies);
    struct buf names = {0};
    size_t i = 0;

    cli_table_add(&table, SLICE("MODEL"));
    cli_table_add(&table, SLICE("ID"));
    cli_table_add(&table, SLICE("NODES"));
    while (i < copies) {
        const struct copy *first = &list[i];

        buf_clear(&names);
        for (; i < copies && is_same(first, &list[i]); i++) {
            if (!buf_append_str(&names, buf_len(&names) == 0 ? "" : ", ") ||
                !buf_append(&names, list[i].node_name)) {
                cli_no_memory();
            }
        }
        cli_table_add(&table, first->model);
        cli_table_add(&table, first->id.len == 0 ? SLICE("-") : first->id);
        cli_table_add(&table, buf_slice(&names));
    }
    cli_table_print(&table);
    buf_fini(&names);
    free(list);
}
