/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/admin.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"
#include "client/io/address.h"
#include "http/parse/message.h"

enum {
    ANSWER_S = 5,
    READ_BYTES = 1 << 14,
    STATUS_OK = 200,
    STATUS_BAD = 400,
    STATUS_UNAUTHORIZED = 401,
    STATUS_NO_PAGE = 404,
    OPTION_ADMIN = 0x100,
    OPTION_KEY,
    OPTION_JSON
};

#define EXPECTED "--admin takes the address of admin.listen, 127.0.0.1:6060 by default"

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value == NULL || *value == '\0' ? otherwise : value;
}

void cli_admin_defaults(struct cli_admin *a)
{
    *a = (struct cli_admin){
        .address = from_environment("MCPGATE_ADMIN", "127.0.0.1:6060"),
        .address_from = "MCPGATE_ADMIN",
        .key = from_environment("MCPGATE_KEY", NULL),
    };
}

/* --- the options ------------------------------------------------------------------------------ */

static const struct argp_option options[] = {
    {"admin", OPTION_ADMIN, "ADDR", 0,
     "The gateway's admin listener: host:port or unix:PATH (MCPGATE_ADMIN, else 127.0.0.1:6060)",
     90},
    {"key", OPTION_KEY, "KEY", 0, "The key to show (MCPGATE_KEY)", 90},
    {"json", OPTION_JSON, NULL, 0, "Print the answer as JSON", 90},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct cli_admin *a = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        cli_admin_defaults(a);
        return 0;
    case OPTION_ADMIN:
        a->address = arg;
        a->address_from = "--admin";
        return 0;
    case OPTION_KEY:
        a->key = arg;
        return 0;
    case OPTION_JSON:
        a->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp admin_argp = {
    .options = options, .parser = parse, .children = cli_help_children};
const struct argp_child cli_admin_children[] = {{&admin_argp, 0, NULL, 0}, {0}};

/* --- the page --------------------------------------------------------------------------------- */

static int say_unreached(const char *text)
{
    cli_error("no gateway there: %s; start it with: mcpgate serve; " EXPECTED, text);
    return CLI_EXIT_NO_SERVER;
}

static int say_wrong(const struct cli_admin *a, const char *why)
{
    cli_error("what answers at %s is no admin listener (%s); " EXPECTED, a->address, why);
    return CLI_EXIT_NO_SERVER;
}

/* A socket, or -1 with errno. */
static int connect_one(const struct client_target *target)
{
    static const struct timeval limit = {.tv_sec = ANSWER_S};
    int fd = socket(target->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
                    connect(fd, (const struct sockaddr *)&target->ss, target->len) != 0)) {
        int error = errno;

        (void)close(fd); /* nothing was written */
        errno = error;
        return -1;
    }
    return fd;
}

static int connect_to(const struct cli_admin *a, int *fd)
{
    struct client_target targets[CLIENT_TARGETS_MAX];
    struct client_address address;
    struct err e = {0};
    int count;

    if (client_address_parse(&address, a->address, &e) != MCP_OK) {
        cli_error("%s: expected host:port, [v6]:port or unix:PATH, not '%s'", a->address_from,
                  a->address);
        return CLI_EXIT_USAGE;
    }
    if (strlen(address.text) != strlen(a->address)) { /* the port was left out */
        slice_copy(SLICE("6060"), address.port, sizeof(address.port));
    }
    count = client_address_resolve(&address, targets, &e);
    if (count < 0) {
        return say_unreached(e.text);
    }
    for (int i = 0; i < count; i++) {
        *fd = connect_one(&targets[i]);
        if (*fd >= 0) {
            return CLI_EXIT_OK;
        }
    }
    (void)err_set(&e, MCP_ECONNECT, "%s: %s", a->address, strerror(errno));
    return say_unreached(e.text);
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        bytes = slice_skip(bytes, (size_t)n);
    }
    return true;
}

static bool send_request(int fd, const struct cli_admin *a, const char *method, const char *path,
                         struct slice json)
{
    struct buf out = {0};
    bool ok;

    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
    if (json.len > 0) {
        buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", json.len);
    }
    if (a->key != NULL) {
        buf_printf(&out, "Authorization: Bearer %s\r\n", a->key);
    }
    buf_append(&out, SLICE("\r\n"));
    buf_append(&out, json);
    if (buf_failed(&out)) {
        cli_no_memory();
    }
    ok = write_all(fd, buf_slice(&out));
    buf_fini(&out);
    return ok;
}

/* Whether that was the end of the answer, or of what can be read. */
static bool take(struct http_parser *p, struct slice in, unsigned *status, struct buf *body,
                 struct err *e)
{
    struct http_event ev;

    do {
        ptrdiff_t used = http_parser_feed(p, in, &ev, e);

        if (used < 0) {
            return true;
        }
        in = slice_skip(in, (size_t)used);
        if (ev.kind == HTTP_EV_HEAD) {
            *status = ev.head->status;
        } else if (ev.kind == HTTP_EV_BODY && !buf_append(body, ev.body)) {
            cli_no_memory();
        } else if (ev.kind == HTTP_EV_END) {
            return true;
        }
    } while (ev.kind != HTTP_EV_MORE);
    return false;
}

static void read_answer(int fd, unsigned *status, struct buf *body, struct err *e)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_RESPONSES);
    char bytes[READ_BYTES];
    bool is_over = false;

    if (p == NULL) {
        cli_no_memory();
    }
    while (!is_over) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            (void)err_set(e, MCP_ETIMEOUT, "no answer within %d s", ANSWER_S);
            break;
        }
        if (n <= 0) {
            (void)err_set(e, MCP_ECLOSED, "%s",
                          n == 0 ? "it closed the connection" : strerror(errno));
            break;
        }
        is_over = take(p, slice_of(bytes, (size_t)n), status, body, e);
    }
    http_parser_free(&p);
}

void cli_admin_append_name(struct buf *path, const char *name)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *name != '\0'; name++) {
        if (strchr(plain, *name) != NULL) {
            buf_append_byte(path, *name);
        } else {
            buf_printf(path, "%%%02X", (unsigned)(unsigned char)*name);
        }
    }
}

int cli_admin_refused(const struct cli_admin *a, unsigned status, struct slice error)
{
    if (status == STATUS_UNAUTHORIZED) {
        cli_error("unauthorized: %s",
                  a->key == NULL ? "give a key with --key or MCPGATE_KEY" : "the key is not valid");
    } else if (error.len > 0) {
        cli_error("%.*s", SLICE_ARG(error));
    } else {
        cli_error("%s answers with status %u", a->address, status);
    }
    return CLI_EXIT_FAILED;
}

static int say_refused(const struct cli_admin *a, unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    int rc = cli_admin_refused(a, status, cli_member_text(yyjson_doc_get_root(doc), "error"));

    yyjson_doc_free(doc);
    return rc;
}

/* What was answered, if that was an admin listener. */
static int judge(const struct cli_admin *a, unsigned status, struct slice body, struct err *e)
{
    if (e->code == MCP_ETIMEOUT) {
        cli_error("%s: %s; " EXPECTED, a->address, e->text);
        return CLI_EXIT_FAILED;
    }
    if (status == 0 || e->code != MCP_OK) {
        return say_wrong(a, e->text);
    }
    /* Other listeners know no such page; what an admin listener does not find it says in JSON. */
    if ((status == STATUS_BAD || status == STATUS_NO_PAGE) && !slice_starts(body, SLICE("{"))) {
        (void)err_set(e, MCP_EPROTOCOL, "status %u", status);
        return say_wrong(a, e->text);
    }
    return CLI_EXIT_OK;
}

int cli_admin_get(const struct cli_admin *a, const char *path, unsigned *status, struct buf *body)
{
    return cli_admin_ask(a, "GET", path, SLICE(""), status, body);
}

int cli_admin_ask(const struct cli_admin *a, const char *method, const char *path,
                  struct slice json, unsigned *status, struct buf *body)
{
    struct err e = {0};
    int fd = -1;
    int rc = connect_to(a, &fd);

    if (rc != CLI_EXIT_OK) {
        return rc;
    }
    *status = 0;
    if (send_request(fd, a, method, path, json)) {
        read_answer(fd, status, body, &e);
    } else {
        (void)err_set(&e, MCP_ECLOSED, "%s", strerror(errno));
    }
    (void)close(fd); /* everything that counts was read */
    return judge(a, *status, buf_slice(body), &e);
}

/* --- an answer that goes on ------------------------------------------------------------------- */

/* Whether something can be read; else a second has passed, or a signal came. */
static bool wait_readable(int fd, const sigset_t *signals)
{
    static const struct timespec a_second = {.tv_sec = 1};
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return ppoll(&p, 1, &a_second, signals) > 0;
}

/* Until `take` has enough, or the answer ends: false. */
static bool follow(int fd, const struct cli_admin_follow *f, unsigned *status, struct buf *body,
                   struct err *e)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_RESPONSES);
    char bytes[READ_BYTES];
    bool is_over = false, enough = false;

    if (p == NULL) {
        cli_no_memory();
    }
    while (!is_over && !enough) {
        if (wait_readable(fd, f->signals)) {
            ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

            is_over = n <= 0 || take(p, slice_of(bytes, (size_t)n), status, body, e);
        }
        if (*status == 0 || *status == STATUS_OK) {
            enough = !f->take(f->owner, buf_slice(body));
            buf_clear(body);
        }
    }
    http_parser_free(&p);
    return enough;
}

int cli_admin_follow(const struct cli_admin *a, const char *path, struct cli_admin_follow *f)
{
    struct buf body = {0};
    struct err e = {0};
    unsigned status = 0;
    int fd = -1;
    int rc = connect_to(a, &fd);

    if (rc != CLI_EXIT_OK) {
        return rc;
    }
    if (!send_request(fd, a, "GET", path, SLICE(""))) {
        (void)err_set(&e, MCP_ECLOSED, "%s", strerror(errno));
    } else if (!follow(fd, f, &status, &body, &e)) {
        rc = judge(a, status, buf_slice(&body), &e);
        if (rc == CLI_EXIT_OK && status == STATUS_OK) {
            f->ended = true;
            rc = CLI_EXIT_FAILED;
        } else if (rc == CLI_EXIT_OK) {
            rc = say_refused(a, status, buf_slice(&body));
        }
    }
    (void)close(fd); /* everything that counts was read */
    buf_fini(&body);
    return rc;
}
