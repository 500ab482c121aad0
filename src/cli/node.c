/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate node: takes nodes out of use and back, adds and removes them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yyjson.h>

#include "base/json_scan.h"
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"

enum {
    STATUS_OK = 200,
    OPTION_NAME = 0x200,
    OPTION_KIND,
    OPTION_NODE_KEY,
    WORDS = 2,
    ASK_MS = 250
};

#define PATH "/admin/nodes"

struct node_command {
    struct cli_admin admin;
    const char *words[WORDS]; /* what to do, and to which */
    const char *name;
    const char *kind;
    const char *key;
    bool waits;
};

static const struct argp_option options[] = {
    {"name", OPTION_NAME, "NAME", 0, "add: what it is called (host:port of the URL)", 0},
    {"kind", OPTION_KIND, "KIND", 0, "add: what it speaks: auto, ollama or openai (auto)", 0},
    {"node-key", OPTION_NODE_KEY, "KEY", 0, "add: the key that it wants", 0},
    {"wait", 'w', NULL, 0, "uncordon: return when it has loaded its models and serves", 0},
    {0},
};

static const char *const actions[] = {"add", "remove", "cordon", "drain", "uncordon"};

static bool is_action(const char *word)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(word, actions[i]) == 0) {
            return true;
        }
    }
    return false;
}

static error_t parse_node(int key, char *arg, struct argp_state *state)
{
    struct node_command *n = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &n->admin;
        return 0;
    case OPTION_NAME:
        n->name = arg;
        return 0;
    case OPTION_KIND:
        n->kind = arg;
        return 0;
    case OPTION_NODE_KEY:
        n->key = arg;
        return 0;
    case 'w':
        n->waits = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= WORDS || (state->arg_num == 0 && !is_action(arg))) {
            cli_usage(state,
                      "expected add URL, or remove, cordon, drain or uncordon and the name of "
                      "a node, not '%s'",
                      arg);
        }
        n->words[state->arg_num] = arg;
        return 0;
    case ARGP_KEY_END:
        if (n->words[1] == NULL) {
            cli_usage(state,
                      "expected add URL, or remove, cordon, drain or uncordon and the name of "
                      "a node");
        }
        if (n->waits && strcmp(n->words[0], "uncordon") != 0) {
            cli_usage(state, "--wait goes with uncordon");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void add_member(struct buf *out, const char *key, const char *text)
{
    if (text != NULL) {
        buf_printf(out, "%s\"%s\":", buf_len(out) == 1 ? "" : ",", key);
        json_append_string(out, slice_str(text));
    }
}

/* A text with its zero byte, for what was put together. */
static const char *finish(struct buf *b)
{
    buf_append_byte(b, '\0');
    if (buf_failed(b)) {
        cli_no_memory();
    }
    return buf_slice(b).ptr;
}

static int ask(const struct node_command *n, unsigned *status, struct buf *answer)
{
    const char *action = n->words[0];
    struct buf path = {0};
    struct buf json = {0};
    int rc;

    buf_append_str(&path, PATH);
    if (strcmp(action, "add") == 0) {
        buf_append_byte(&json, '{');
        add_member(&json, "url", n->words[1]);
        add_member(&json, "name", n->name);
        add_member(&json, "kind", n->kind);
        add_member(&json, "api_key", n->key);
        buf_append_byte(&json, '}');
        if (buf_failed(&json)) {
            cli_no_memory();
        }
        rc = cli_admin_ask(&n->admin, "POST", finish(&path), buf_slice(&json), status, answer);
    } else {
        bool removes = strcmp(action, "remove") == 0;

        buf_append_byte(&path, '/');
        cli_admin_append_name(&path, n->words[1]);
        if (!removes) {
            buf_printf(&path, "/%s", action);
        }
        rc = cli_admin_ask(&n->admin, removes ? "DELETE" : "POST", finish(&path), SLICE(""), status,
                           answer);
    }
    buf_fini(&path);
    buf_fini(&json);
    return rc;
}

/* --- what is said ----------------------------------------------------------------------------- */

static void say_node(yyjson_val *node)
{
    struct slice state = cli_member_text(node, "state");
    struct slice service = cli_member_text(node, "service");
    uint64_t running = cli_member_uint(node, "running");

    cli_put(stdout, cli_member_text(node, "name"));
    (void)printf(": %.*s, %.*s", SLICE_ARG(state), SLICE_ARG(service));
    if (running > 0) {
        (void)printf(", %" PRIu64 " running", running);
    }
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

static bool is_named(yyjson_val *node, const char *name)
{
    return slice_eq(cli_member_text(node, "name"), slice_str(name));
}

static bool drains(const struct node_command *n)
{
    return strcmp(n->words[0], "drain") == 0;
}

static bool serves(yyjson_val *node)
{
    return slice_eq(cli_member_text(node, "service"), SLICE("serving"));
}

static bool is_cordoned(yyjson_val *node)
{
    return slice_eq(cli_member_text(node, "service"), SLICE("cordoned"));
}

/* The node of that name as it is now; NULL: it cannot be told (`rc`), or is gone. `doc` to be
 * freed. */
static yyjson_val *look(const struct node_command *n, yyjson_doc **doc, int *rc)
{
    struct buf answer = {0};
    unsigned status;
    yyjson_val *node;
    yyjson_val *found = NULL;
    size_t i, count;

    *doc = NULL;
    *rc = cli_admin_get(&n->admin, PATH, &status, &answer);
    if (*rc == CLI_EXIT_OK && status != STATUS_OK) {
        *rc = cli_admin_refused(&n->admin, status, SLICE(""));
    }
    if (*rc == CLI_EXIT_OK) {
        *doc = yyjson_read(buf_slice(&answer).ptr, buf_len(&answer), YYJSON_READ_NOFLAG);
        yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(*doc), "nodes"), i, count, node)
        {
            found = is_named(node, n->words[1]) ? node : found;
        }
    }
    buf_fini(&answer);
    return found;
}

static bool is_over(const struct node_command *n, yyjson_val *node)
{
    return drains(n) ? yyjson_is_true(yyjson_obj_get(node, "drained"))
                     : yyjson_is_true(yyjson_obj_get(node, "up")) && serves(node);
}

static int say_interrupted(const struct node_command *n)
{
    if (drains(n)) {
        cli_error("interrupted; %s stays out of use until mcpgate node uncordon %s", n->words[1],
                  n->words[1]);
    } else {
        cli_error("interrupted; %s goes on loading its models, and serves then", n->words[1]);
    }
    return CLI_EXIT_INTERRUPTED;
}

static void say_over(const struct node_command *n)
{
    if (n->admin.json) {
        (void)printf("{\"%s\":true}\n", drains(n) ? "drained" : "serving");
    } else {
        cli_put(stdout, slice_str(n->words[1]));
        (void)puts(drains(n) ? ": drained" : ": serves");
    }
}

/* Somebody else has meanwhile done the contrary. */
static int say_contrary(const struct node_command *n)
{
    cli_error(drains(n) ? "%s serves again: somebody has uncordoned it"
                        : "%s is out of use again: somebody has cordoned it",
              n->words[1]);
    return CLI_EXIT_FAILED;
}

/* Until nothing runs there any more, or it serves; each change is a line. A node that has gone
 * meanwhile is drained. */
static int wait_over(const struct node_command *n)
{
    uint64_t told = UINT64_MAX;

    cli_catch_interrupts();
    for (;;) {
        yyjson_doc *doc;
        int rc;
        yyjson_val *node = look(n, &doc, &rc);
        uint64_t running = cli_member_uint(node, "running");
        bool over = node == NULL || is_over(n, node);
        bool contrary = node != NULL && (drains(n) ? serves(node) : is_cordoned(node));

        if (over && node != NULL) {
            say_over(n);
        } else if (!over && !contrary && !n->admin.json && (told == UINT64_MAX || drains(n)) &&
                   running != told) {
            say_node(node);
            told = running;
        }
        yyjson_doc_free(doc);
        if (rc == CLI_EXIT_OK && contrary) {
            return say_contrary(n);
        }
        if (rc != CLI_EXIT_OK || over) {
            return rc;
        }
        if (!cli_wait(-1, ASK_MS)) {
            return say_interrupted(n);
        }
    }
}

static int show(const struct node_command *n, unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = CLI_EXIT_OK;

    if (status != STATUS_OK || yyjson_obj_get(root, "kept") == NULL) {
        rc = cli_admin_refused(&n->admin, status, cli_member_text(root, "error"));
        yyjson_doc_free(doc);
        return rc;
    }
    if (yyjson_is_false(yyjson_obj_get(root, "kept"))) {
        struct buf text = {0};

        buf_printf(&text, "a restart of the gateway will not know this: %.*s",
                   SLICE_ARG(cli_member_text(root, "why_not")));
        cli_warning(finish(&text));
        buf_fini(&text);
    }
    if (drains(n) || n->waits) {
        rc = wait_over(n);
    } else if (n->admin.json) {
        cli_put(stdout, body);
    } else if (yyjson_obj_get(root, "node") == NULL) {
        bool adds = strcmp(n->words[0], "add") == 0;

        cli_put(stdout, slice_str(adds && n->name != NULL ? n->name : n->words[1]));
        (void)puts(adds ? ": added, nodes come as they are found" : ": removed");
    } else {
        say_node(yyjson_obj_get(root, "node"));
    }
    yyjson_doc_free(doc);
    return rc;
}

const struct argp cli_node_argp = {
    .options = options,
    .parser = parse_node,
    .args_doc = "add URL\nremove|cordon|drain|uncordon NAME",
    .doc =
        "Adds a node to the running gateway, removes one that was added, or takes one out of use: "
        "cordon sends nothing new there, drain also waits until all that runs there has ended, "
        "uncordon has it load the models it had and then serve again. A restart of the gateway "
        "does not change any of it.",
    .children = cli_admin_children,
};

int cli_node(int argc, char **argv)
{
    struct node_command n = {0};
    struct buf answer = {0};
    unsigned status;
    int rc;

    cli_parse(&cli_node_argp, argc, argv, &n);
    rc = ask(&n, &status, &answer);
    if (rc == CLI_EXIT_OK) {
        rc = show(&n, status, buf_slice(&answer));
    }
    buf_fini(&answer);
    return rc;
}
