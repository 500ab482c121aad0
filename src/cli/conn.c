/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/conn.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "cli/ask.h"
#include "cli/text.h"
#include "mcp/client.h"
#include "wire/hello.h"

enum { SESSION = 1, REFRESH_MS = 2000, CANCEL_MS = 2000 };

/* The signal handler's view: what to wake. */
static struct mcp_client *volatile waiting;
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    struct mcp_client *client = waiting;

    (void)signal_number;
    interrupted = 1;
    if (client != NULL) {
        mcp_client_interrupt(client);
    }
}

void cli_catch_interrupts(void)
{
    /* Without SA_RESTART: reading standard input ends too. */
    const struct sigaction action = {.sa_handler = on_interrupt};

    ASSERT(sigaction(SIGINT, &action, NULL) == 0);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_interrupted_clear(void)
{
    interrupted = 0;
}

bool cli_wait(int fd, int ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    sigset_t interrupt, before;

    /* Let in by ppoll alone, so that it cannot come between the look and the wait. */
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &interrupt, &before); /* fails on bad arguments alone */
    if (interrupted == 0) {
        (void)ppoll(&wanted, 1, ms < 0 ? NULL : &span, &before);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return interrupted == 0;
}

struct slice cli_member_text(yyjson_val *object, const char *key)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    return yyjson_is_str(value) ? slice_of(yyjson_get_str(value), yyjson_get_len(value))
                                : (struct slice){"", 0};
}

uint64_t cli_member_uint(yyjson_val *object, const char *key)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    if (yyjson_is_real(value) && yyjson_get_real(value) >= 0 && yyjson_get_real(value) < 1e18) {
        return (uint64_t)yyjson_get_real(value);
    }
    return yyjson_is_uint(value) ? yyjson_get_uint(value) : 0;
}

/* --- the connection --------------------------------------------------------------------------- */

static const char *advice(const struct cli_conn *c, int code)
{
    static char guess[200];

    if (c->guessed[0] != '\0') {
        (void)snprintf(guess, sizeof(guess), "; '%s' was a guess, -m names a model that can",
                       c->guessed);
        return guess;
    }
    if (code == MCP_EUNAUTHORIZED && c->common->key == NULL) {
        return "; give one with --key or MCPGATE_KEY";
    }
    return code == MCP_EUNKNOWN_MODEL ? "; mcpgate list shows what there is" : "";
}

/* What the code means for the command; `text` may be empty. */
static int say_error(const struct cli_conn *c, int code, const char *text, uint64_t retry_after_ms)
{
    char retry[64] = "";

    if (code == MCP_ECANCELLED && cli_interrupted()) {
        return CLI_EXIT_INTERRUPTED;
    }
    if (code == MCP_ENOMEM) {
        cli_no_memory();
    }
    if (*text == '\0') {
        text = mcp_error_text(code);
    }
    if (c->answer != NULL) {
        cli_answer_end(c->answer);
    }
    if (code == MCP_ECONNECT || (code == MCP_ETIMEOUT && !c->heard)) {
        cli_error("no gateway there: %s; start it with: mcpgate serve", text);
        return CLI_EXIT_NO_SERVER;
    }
    if ((code == MCP_EPROTOCOL || code == MCP_ECLOSED) && !c->heard) {
        cli_error("what answers at %s does not speak MCP (%s)", c->common->host, text);
        return CLI_EXIT_NO_SERVER;
    }
    if (retry_after_ms > 0) {
        (void)snprintf(retry, sizeof(retry), "; try again in %llu ms",
                       (unsigned long long)retry_after_ms);
    }
    cli_error("%s: %s%s%s", mcp_error_name(code), text, retry, advice(c, code));
    return CLI_EXIT_FAILED;
}

static int say_client_error(const struct cli_conn *c, int code)
{
    return say_error(c, code, mcp_client_error(c->client), 0);
}

static int set_options(const struct cli_common *common, struct mcp_options *options)
{
    if (mcp_options_set_address(options, common->host) != MCP_OK) {
        cli_error("%s: expected host:port, [v6]:port or unix:PATH, not '%s'", common->host_from,
                  common->host);
        return CLI_EXIT_USAGE;
    }
    if (mcp_options_set_auth(options, common->key) != MCP_OK) {
        cli_error("the key is not UTF-8");
        return CLI_EXIT_USAGE;
    }
    /* A person waits: say at once that nothing is there. Both are in range. */
    (void)mcp_options_set_retries(options, 0);
    (void)mcp_options_set_features(options,
                                   MCP_FEATURES_DEFAULT | (common->verbose ? MCP_FEATURE_ACK : 0));
    return CLI_EXIT_OK;
}

/* What --verbose shows of the connection. */
static void say_agreement(const struct cli_conn *c)
{
    struct mcp_agreement agreement;

    if (!mcp_client_agreement(c->client, &agreement)) {
        (void)fprintf(stderr, "connected to %s: base profile\n", c->common->host);
        return;
    }
    (void)fprintf(stderr, "connected to %s: ", c->common->host);
    cli_put(stderr, slice_str(agreement.server));
    if (agreement.connection != 0) {
        (void)fprintf(stderr, ", connection %" PRIu64, agreement.connection);
    }
    (void)fprintf(stderr, ", %s", agreement.codec);
    for (unsigned bit = 1; bit != 0; bit <<= 1) {
        if ((agreement.features & bit) != 0) {
            (void)fprintf(stderr, " %s", wire_feature_name(bit));
        }
    }
    (void)fputc('\n', stderr);
}

static int connect_client(struct cli_conn *c)
{
    int rc;

    do {
        rc = mcp_client_connect(c->client);
    } while (rc == MCP_ECANCELLED && !cli_interrupted());
    if (rc != MCP_OK) {
        return say_client_error(c, rc);
    }
    c->heard = true; /* it has answered HELLO, one way or another */
    if (c->common->verbose) {
        say_agreement(c);
    }
    return CLI_EXIT_OK;
}

int cli_conn_open(struct cli_conn *c, const struct cli_common *common)
{
    struct mcp_options *options = mcp_options_new();
    int rc;

    *c = (struct cli_conn){.common = common};
    if (options == NULL) {
        cli_no_memory();
    }
    rc = set_options(common, options);
    if (rc == CLI_EXIT_OK) {
        c->client = mcp_client_new(options);
        if (c->client == NULL) {
            cli_no_memory();
        }
        waiting = c->client;
        cli_catch_interrupts();
        rc = connect_client(c);
    }
    mcp_options_free(&options);
    return rc;
}

/* Asks for the end of what runs, and waits for it. False: the connection has to go. */
static bool cancel(struct cli_conn *c)
{
    const struct mcp_part *part;

    if (mcp_client_in_flight(c->client) == 0 || mcp_client_cancel(c->client, SESSION) != MCP_OK) {
        return false;
    }
    do {
        if (mcp_client_receive(c->client, CANCEL_MS, &part) != MCP_OK) {
            return false;
        }
    } while (!mcp_part_last(part));
    return mcp_part_error(part) == MCP_OK || mcp_part_error(part) == MCP_ECANCELLED;
}

int cli_conn_reopen(struct cli_conn *c)
{
    if (cancel(c)) {
        return CLI_EXIT_OK;
    }
    mcp_client_close(c->client);
    return connect_client(c);
}

/* A Ctrl-C that came before and was meant for something else does not count. */
static int send_heartbeat(struct cli_conn *c, int timeout_ms, uint64_t *round_trip_us)
{
    int rc;

    do {
        rc = mcp_client_heartbeat(c->client, timeout_ms, round_trip_us);
    } while (rc == MCP_ECANCELLED && !cli_interrupted());
    return rc;
}

int cli_conn_refresh(struct cli_conn *c)
{
    if (send_heartbeat(c, REFRESH_MS, NULL) == MCP_OK) {
        return CLI_EXIT_OK;
    }
    return cli_interrupted() ? CLI_EXIT_INTERRUPTED : cli_conn_reopen(c);
}

void cli_conn_close(struct cli_conn *c)
{
    waiting = NULL;
    mcp_client_free(&c->client);
}

int cli_conn_heartbeat(struct cli_conn *c, int timeout_ms, uint64_t *round_trip_us)
{
    int rc = send_heartbeat(c, timeout_ms, round_trip_us);

    return rc == MCP_OK ? CLI_EXIT_OK : say_client_error(c, rc);
}

/* --- exchanges -------------------------------------------------------------------------------- */

void cli_print_part(void *owner, yyjson_val *part, struct slice text)
{
    (void)owner;
    (void)part;
    cli_put(stdout, text);
    (void)fputc('\n', stdout);
    (void)fflush(stdout); /* failures are seen at the end */
}

static int take_part(struct cli_conn *c, const struct mcp_part *part, cli_part_fn fn, void *owner)
{
    struct slice text;
    yyjson_doc *doc;

    text.ptr = mcp_part_data(part, &text.len);
    if (mcp_part_error(part) != MCP_OK) {
        if (c->common->json) {
            cli_print_part(NULL, NULL, text);
        }
        return say_error(c, mcp_part_error(part), mcp_part_error_text(part),
                         mcp_part_retry_after_ms(part));
    }
    doc = yyjson_read(text.ptr, text.len, YYJSON_READ_NOFLAG);
    if (doc == NULL) {
        cli_error("the gateway's answer is not JSON");
        return CLI_EXIT_FAILED;
    }
    fn(owner, yyjson_doc_get_root(doc), text);
    yyjson_doc_free(doc);
    return CLI_EXIT_OK;
}

/* Only --verbose asks for them. */
static void say_ack(const struct mcp_ack *ack)
{
    (void)fputs(ack->running ? "running" : "queued", stderr);
    if (ack->node[0] != '\0') {
        (void)fputs(" on ", stderr);
        cli_put(stderr, slice_str(ack->node));
    }
    if (ack->model[0] != '\0') {
        (void)fputs(", model ", stderr);
        cli_put(stderr, slice_str(ack->model));
    }
    if (ack->attempt > 1) {
        (void)fprintf(stderr, ", attempt %" PRIu32, ack->attempt);
    }
    if (!ack->running && ack->position != MCP_ACK_UNKNOWN) {
        (void)fprintf(stderr, ", position %" PRIu64, ack->position);
    }
    if (!ack->running && ack->eta_ms != MCP_ACK_UNKNOWN) {
        (void)fprintf(stderr, ", in about %" PRIu64 " ms", ack->eta_ms);
    }
    (void)fputc('\n', stderr);
}

static int receive_parts(struct cli_conn *c, cli_part_fn fn, void *owner)
{
    const struct mcp_part *part;
    int rc;

    for (;;) {
        rc = mcp_client_receive(c->client, -1, &part);
        if (rc == MCP_ECANCELLED && !cli_interrupted()) {
            continue; /* a Ctrl-C that was meant for what ended before */
        }
        if (rc != MCP_OK) {
            return say_client_error(c, rc);
        }
        if (mcp_part_ack(part) != NULL) {
            say_ack(mcp_part_ack(part));
            continue;
        }
        rc = take_part(c, part, fn, owner);
        if (rc != CLI_EXIT_OK || mcp_part_last(part)) {
            return rc;
        }
    }
}

int cli_conn_exchange(struct cli_conn *c, yyjson_mut_doc *request, cli_part_fn fn, void *owner)
{
    yyjson_write_err why;
    size_t len;
    char *text = yyjson_mut_write_opts(request, YYJSON_WRITE_NOFLAG, NULL, &len, &why);
    int rc;

    if (text == NULL && why.code == YYJSON_WRITE_ERROR_MEMORY_ALLOCATION) {
        cli_no_memory();
    }
    if (text == NULL) {
        cli_error("the text is not UTF-8");
        return CLI_EXIT_USAGE;
    }
    rc = mcp_client_request(c->client, SESSION, text, len);
    rc = rc == MCP_OK ? receive_parts(c, fn, owner) : say_client_error(c, rc);
    free(text);
    return rc;
}

int cli_conn_ask(struct cli_conn *c, const char *op, cli_part_fn fn, void *owner)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    int rc;

    yyjson_mut_doc_set_root(doc, root);
    if (!yyjson_mut_obj_add_str(doc, yyjson_mut_obj_add_obj(doc, root, "mcp"), "op", op)) {
        cli_no_memory();
    }
    rc = cli_conn_exchange(c, doc, fn, owner);
    yyjson_mut_doc_free(doc);
    return rc;
}

int cli_conn_command(const struct argp *argp, int argc, char **argv, const char *op,
                     cli_part_fn print)
{
    struct cli_common common = {0};
    struct cli_conn conn;
    int rc;

    cli_parse(argp, argc, argv, &common);
    rc = cli_conn_open(&conn, &common);
    if (rc == CLI_EXIT_OK) {
        rc = cli_conn_ask(&conn, op, common.json ? cli_print_part : print, NULL);
    }
    cli_conn_close(&conn);
    return rc;
}

/* --- a model where none is named -------------------------------------------------------------- */

struct choice {
    const char *capability;
    struct buf *name;
    bool can;
};

static bool can(yyjson_val *model, const char *capability)
{
    yyjson_val *capabilities = yyjson_obj_get(model, "capabilities");
    yyjson_val *one;
    size_t i, count;

    yyjson_arr_foreach(capabilities, i, count, one)
    {
        if (yyjson_equals_str(one, capability)) {
            return true;
        }
    }
    return yyjson_arr_size(capabilities) == 0;
}

static void choose_model(void *owner, yyjson_val *part, struct slice text)
{
    struct choice *choice = owner;
    yyjson_val *models = yyjson_obj_get(part, "models");
    yyjson_val *chosen = yyjson_arr_get_first(models);
    yyjson_val *model;
    struct slice name;
    size_t i, count;

    (void)text;
    yyjson_arr_foreach(models, i, count, model)
    {
        if (can(model, choice->capability)) {
            chosen = model;
            choice->can = true;
            break;
        }
    }
    name = cli_member_text(chosen, "model");
    name = name.len > 0 ? name : cli_member_text(chosen, "name");
    (void)buf_append(choice->name, name); /* checked by the caller */
}

int cli_conn_first_model(struct cli_conn *c, const char *capability, struct buf *name)
{
    struct choice choice = {.capability = capability, .name = name};
    int rc = cli_conn_ask(c, "list", choose_model, &choice);

    if (buf_failed(name)) {
        cli_no_memory();
    }
    if (rc == CLI_EXIT_OK && buf_len(name) == 0) {
        cli_error("no model: the nodes have none");
        return CLI_EXIT_FAILED;
    }
    if (rc == CLI_EXIT_OK && !choice.can) {
        (void)snprintf(c->guessed, sizeof(c->guessed), "%.*s", SLICE_ARG(buf_slice(name)));
    }
    return rc;
}
