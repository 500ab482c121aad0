/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/models.h"

static void add_models(void *owner, yyjson_val *part, struct slice text)
{
    yyjson_val *node, *model;
    size_t i, j, count, model_count;

    (void)text;
    yyjson_arr_foreach(yyjson_obj_get(part, "nodes"), i, count, node)
    {
        yyjson_arr_foreach(yyjson_obj_get(node, "models"), j, model_count, model)
        {
            if (yyjson_is_str(model)) {
                cli_words_add(owner, slice_of(yyjson_get_str(model), yyjson_get_len(model)));
            }
        }
    }
}

int cli_models(struct cli_conn *conn, struct cli_words *models)
{
    int rc = cli_conn_ask(conn, "health", add_models, models); /* list is of one node alone */

    cli_words_sort(models);
    return rc;
}
