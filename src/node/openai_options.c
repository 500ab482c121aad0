/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's `options` as members of the node's request. What the table does not have is ignored:
 * what only a server's start can change (num_ctx, num_gpu...) and, as in Ollama, names it does not
 * know. */
#include "node/openai_ask.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_FLOAT, OPTION_INT, OPTION_STRINGS };
enum option_negative { NEGATIVE_SENT, NEGATIVE_LEFT_OUT, NEGATIVE_REFUSED };

static const struct option {
    const char *name;
    enum option_type type;
    const char *fields[2]; /* the node's; a node ignores one it does not know */
    enum option_negative negative;
} table[] = {
    {"temperature", OPTION_FLOAT, {"temperature"}, NEGATIVE_SENT},
    {"top_p", OPTION_FLOAT, {"top_p"}, NEGATIVE_SENT},
    {"top_k", OPTION_INT, {"top_k"}, NEGATIVE_SENT},
    {"min_p", OPTION_FLOAT, {"min_p"}, NEGATIVE_SENT},
    {"typical_p", OPTION_FLOAT, {"typical_p"}, NEGATIVE_SENT},
    /* -1, random, would be a seed like any other to vLLM */
    {"seed", OPTION_INT, {"seed"}, NEGATIVE_LEFT_OUT},
    {"stop", OPTION_STRINGS, {"stop"}, NEGATIVE_SENT},
    {"num_predict", OPTION_INT, {"max_tokens"}, NEGATIVE_LEFT_OUT},
    {"num_keep", OPTION_INT, {"n_keep"}, NEGATIVE_SENT},
    /* -1, the whole context, is refused by llama.cpp's server */
    {"repeat_last_n", OPTION_INT, {"repeat_last_n"}, NEGATIVE_REFUSED},
    {"repeat_penalty", OPTION_FLOAT, {"repeat_penalty", "repetition_penalty"}, NEGATIVE_SENT},
    {"presence_penalty", OPTION_FLOAT, {"presence_penalty"}, NEGATIVE_SENT},
    {"frequency_penalty", OPTION_FLOAT, {"frequency_penalty"}, NEGATIVE_SENT},
    {"mirostat", OPTION_INT, {"mirostat"}, NEGATIVE_SENT},
    {"mirostat_tau", OPTION_FLOAT, {"mirostat_tau"}, NEGATIVE_SENT},
    {"mirostat_eta", OPTION_FLOAT, {"mirostat_eta"}, NEGATIVE_SENT},
};

int openai_refuse(struct err *e, const char *field)
{
    return err_set(e, MCP_EUNSUPPORTED_OP, "%s cannot be carried by a node of kind openai", field);
}

static int wrong_type(struct err *e, const char *name, const char *type)
{
    return err_set(e, MCP_EBAD_REQUEST, "option \"%s\" must be of type %s", name, type);
}

/* A number as Ollama takes an integer: a fraction is cut off. */
static int int_text(struct slice number, char *text, size_t size, const char *name, struct err *e)
{
    char copy[64];
    double value;

    if (number.len >= sizeof(copy)) {
        return wrong_type(e, name, "integer");
    }
    memcpy(copy, number.ptr, number.len);
    copy[number.len] = '\0';
    if (strpbrk(copy, ".eE") == NULL) {
        (void)snprintf(text, size, "%s", copy);
        return 0;
    }
    value = trunc(strtod(copy, NULL));
    if (!(fabs(value) < 9e18)) {
        return wrong_type(e, name, "integer");
    }
    (void)snprintf(text, size, "%lld", (long long)value);
    return 0;
}

static void append_fields(struct buf *out, const struct option *o, struct slice value)
{
    for (size_t i = 0; i < 2 && o->fields[i] != NULL; i++) {
        openai_append_key(out, o->fields[i]);
        (void)buf_append(out, value); /* sticky */
    }
}

static int append_int(struct buf *out, const struct option *o, yyjson_val *val, struct err *e)
{
    char text[64] = "";
    int rv;

    if (!yyjson_is_raw(val)) {
        return wrong_type(e, o->name, "integer");
    }
    rv = int_text(openai_number(val), text, sizeof(text), o->name, e);
    if (rv < 0) {
        return rv;
    }
    if (text[0] == '-' && strtod(text, NULL) < 0 && o->negative != NEGATIVE_SENT) {
        return o->negative == NEGATIVE_LEFT_OUT
                   ? 0
                   : err_set(e, MCP_EUNSUPPORTED_OP,
                             "options.%s %s cannot be carried by a node of kind openai", o->name,
                             text);
    }
    append_fields(out, o, slice_str(text));
    return 0;
}

static int append_strings(struct buf *out, const struct option *o, yyjson_val *val, struct err *e)
{
    yyjson_val *one;
    size_t i;
    size_t count;

    if (!yyjson_is_arr(val)) {
        return wrong_type(e, o->name, "array");
    }
    yyjson_arr_foreach(val, i, count, one)
    {
        if (!yyjson_is_str(one)) {
            return err_set(e, MCP_EBAD_REQUEST, "option \"%s\" must be of an array of strings",
                           o->name);
        }
    }
    if (count == 0) {
        return 0;
    }
    openai_append_key(out, o->fields[0]);
    return openai_json_append(out, val);
}

static int append_option(struct buf *out, const struct option *o, yyjson_val *val, struct err *e)
{
    switch (o->type) {
    case OPTION_INT:
        return append_int(out, o, val, e);
    case OPTION_STRINGS:
        return append_strings(out, o, val, e);
    case OPTION_FLOAT:
    default:
        if (!yyjson_is_raw(val)) {
            return wrong_type(e, o->name, "float32");
        }
        append_fields(out, o, openai_number(val));
        return 0;
    }
}

int openai_options_append(struct buf *out, yyjson_val *options, bool raw, struct err *e)
{
    size_t before = buf_len(out);
    bool has_limit = false;

    if (!openai_is_null(options) && !yyjson_is_obj(options)) {
        return err_set(e, MCP_EBAD_REQUEST, "options must be an object");
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct option *o = &table[i];
        yyjson_val *val = openai_member_exact(options, o->name);
        int rv = openai_is_null(val) ? 0 : append_option(out, o, val, e);

        if (rv < 0) {
            return rv;
        }
        if (strcmp(o->name, "num_predict") == 0) {
            has_limit = buf_len(out) > before;
        }
        before = buf_len(out);
    }
    /* Left out of /v1/completions it would mean 16 tokens to vLLM; null means no limit to both. */
    if (raw && !has_limit) {
        openai_append_key(out, "max_tokens");
        (void)buf_append_str(out, "null"); /* sticky */
    }
    return 0;
}
