/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate embed: one vector for each text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/conn.h"
#include "cli/input.h"
#include "cli/text.h"

struct embed {
    struct cli_common common;
    const char *model;
    yyjson_mut_doc *doc;
    yyjson_mut_val *inputs;
};

static const struct argp_option options[] = {
    {"model", 'm', "MODEL", 0, "The model (else the first of mcpgate list that can)", 0},
    {0},
};

static void add_input(struct embed *e, struct slice text)
{
    if (!yyjson_mut_arr_add_strncpy(e->doc, e->inputs, text.ptr, text.len)) {
        cli_no_memory();
    }
}

static error_t parse_embed(int key, char *arg, struct argp_state *state)
{
    struct embed *e = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &e->common;
        return 0;
    case 'm':
        e->model = arg;
        return 0;
    case ARGP_KEY_ARG:
        add_input(e, slice_str(arg));
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The numbers are printed as they came: a vector is data, not text for people. */
static void print_vectors(void *owner, yyjson_val *part, struct slice text)
{
    yyjson_doc *doc = yyjson_read(text.ptr, text.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *vectors = yyjson_obj_get(yyjson_doc_get_root(doc), "embeddings");
    yyjson_val *vector;
    size_t i, count;

    (void)owner;
    (void)part;
    yyjson_arr_foreach(vectors, i, count, vector)
    {
        char *line = yyjson_val_write(vector, YYJSON_WRITE_NOFLAG, NULL);

        if (line == NULL) {
            cli_no_memory();
        }
        (void)puts(line); /* failures are seen at the end */
        free(line);
    }
    yyjson_doc_free(doc);
}

static int read_inputs(struct embed *e)
{
    struct buf text = {0};
    struct slice rest;
    int rc = cli_input_read(&text);

    rest = buf_slice(&text);
    while (rc == CLI_EXIT_OK && rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);

        add_input(e, slice_first(rest, len));
        rest = slice_skip(rest, end == NULL ? len : len + 1);
    }
    buf_fini(&text);
    if (rc == CLI_EXIT_OK && yyjson_mut_arr_size(e->inputs) == 0) {
        cli_error("no text; give it as an argument or on standard input");
        return CLI_EXIT_USAGE;
    }
    return rc;
}

static int run(struct embed *e)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(e->doc);
    struct buf name = {0};
    struct cli_conn conn;
    int rc = cli_conn_open(&conn, &e->common);

    if (rc == CLI_EXIT_OK && e->model == NULL) {
        rc = cli_conn_first_model(&conn, "embedding", &name);
    } else if (rc == CLI_EXIT_OK) {
        (void)buf_append_str(&name, e->model); /* seen below */
    }
    if (rc == CLI_EXIT_OK) {
        if (buf_failed(&name) ||
            !yyjson_mut_obj_add_strn(e->doc, root, "model", buf_slice(&name).ptr, buf_len(&name))) {
            cli_no_memory();
        }
        rc =
            cli_conn_exchange(&conn, e->doc, e->common.json ? cli_print_part : print_vectors, NULL);
    }
    cli_conn_close(&conn);
    buf_fini(&name);
    return rc;
}

const struct argp cli_embed_argp = {
    .options = options,
    .parser = parse_embed,
    .args_doc = "[TEXT...]",
    .doc = "Turns each TEXT, or each line of standard input, into a vector, and prints one JSON "
           "array to a line in the same order.",
    .children = cli_common_children,
};

int cli_embed(int argc, char **argv)
{
    struct embed e = {.doc = yyjson_mut_doc_new(NULL)};
    yyjson_mut_val *root = yyjson_mut_obj(e.doc);
    int rc = CLI_EXIT_OK;

    yyjson_mut_doc_set_root(e.doc, root);
    e.inputs = yyjson_mut_obj_add_arr(e.doc, root, "input");
    if (e.inputs == NULL) {
        cli_no_memory();
    }
    cli_parse(&cli_embed_argp, argc, argv, &e);
    if (yyjson_mut_arr_size(e.inputs) == 0) {
        rc = read_inputs(&e);
    }
    if (rc == CLI_EXIT_OK) {
        rc = run(&e);
    }
    yyjson_mut_doc_free(e.doc);
    return rc;
}
