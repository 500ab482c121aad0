/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking calls of mcp/client.h: the core decides, the stream does, poll waits. */
#include "mcp/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "client/core.h"
#include "client/io/options.h"
#include "client/io/stream.h"

enum { READ_BYTES = 64 * 1024 };

static const uint64_t FOREVER = UINT64_MAX;

struct mcp_client {
    struct mcp_options options;
    struct client_core core;
    struct client_stream stream;
    int wake_fd; /* eventfd: a call is to be interrupted */
    bool stood;  /* connected once since mcp_client_close */
    struct err err;
    struct mcp_part part;
    size_t in_start; /* what is read and not used: in[in_start] to in[in_end - 1] */
    size_t in_end;
    char in[READ_BYTES];
};

/* --- life ---------------------------------------------------------------------------------------
 */

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
    return now_us() / 1000;
}

static uint64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? FOREVER : now_ms() + (uint64_t)timeout_ms;
}

/* Where the kernel has no random bytes for us, the clock spreads retries well enough. */
static uint64_t random_seed(void)
{
    uint64_t seed;

    return getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed) ? seed : now_us();
}

struct mcp_client *mcp_client_new(const struct mcp_options *options)
{
    struct mcp_client *c = malloc(sizeof(*c));
    struct client_config config;

    if (c == NULL) {
        return NULL;
    }
    memset(c, 0, offsetof(struct mcp_client, in));
    client_stream_init(&c->stream);
    client_options_init(&c->options);
    if (options != NULL && !client_options_copy(&c->options, options)) {
        goto fail;
    }
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0) {
        goto fail_options;
    }
    config = (struct client_config){
        .retries = c->options.retries,
        .auth_json = buf_slice(&c->options.auth_json),
        .seed = random_seed(),
        .features = c->options.features,
        .heartbeat_ms = c->options.heartbeat_ms,
        .window_bytes = c->options.window_bytes,
        .negotiate_ms = c->options.timeout_ms,
    };
    client_core_init(&c->core, &config);
    return c;
fail_options:
    client_options_fini(&c->options);
fail:
    free(c);
    return NULL;
}

static void close_stream(struct mcp_client *c)
{
    client_stream_close(&c->stream);
    c->in_start = c->in_end = 0;
}

void mcp_client_close(struct mcp_client *client)
{
    close_stream(client);
    client_core_close(&client->core);
    client->stood = false;
}

void mcp_client_free(struct mcp_client **client)
{
    struct mcp_client *c = *client;

    if (c == NULL) {
        return;
    }
    mcp_client_close(c);
    client_core_fini(&c->core);
    client_part_fini(&c->part);
    client_options_fini(&c->options);
    close(c->wake_fd);
    free(c);
    *client = NULL;
}

void mcp_client_interrupt(struct mcp_client *client)
{
    const uint64_t one = 1;
    int error = errno; /* a signal handler must leave it alone */

    if (write(client->wake_fd, &one, sizeof(one)) < 0) {
        /* The counter is full: it is awake already. */
    }
    errno = error;
}

const char *mcp_client_error(const struct mcp_client *client)
{
    return client->err.text;
}

const char *mcp_client_address(const struct mcp_client *client)
{
    return client->options.address.text;
}

bool mcp_client_agreement(const struct mcp_client *client, struct mcp_agreement *agreement)
{
    const struct client_core *core = &client->core;

    if (core->state != CLIENT_READY || !core->negotiated) {
        return false;
    }
    *agreement = (struct mcp_agreement){
        .features = core->agreed.features & ~(unsigned)WIRE_SINCE_BASE,
        .codec = wire_codec_name(core->agreed.codec),
        .heartbeat_ms = core->agreed.heartbeat_ms,
        .max_frame_bytes = core->agreed.max_frame_bytes,
        .window_bytes = core->agreed.window_bytes,
        .max_sessions = core->agreed.max_sessions,
        .server = buf_slice(&core->server_name).ptr,
        .connection = core->agreed.connection,
    };
    return true;
}

size_t mcp_client_in_flight(const struct mcp_client *client)
{
    return client_core_in_flight(&client->core);
}

/* --- one step -----------------------------------------------------------------------------------
 */

static void lost(struct mcp_client *c, const struct err *e)
{
    close_stream(c);
    client_core_lost(&c->core, e->code, e->text, now_ms());
}

/* After something may have changed the stream's state while the core was in CONNECT. */
static void connect_went(struct mcp_client *c, int rv, const struct err *e)
{
    if (rv != 0) {
        lost(c, e);
    } else if (!c->stream.connecting) {
        client_core_connected(&c->core, now_ms());
    }
}

/* The socket follows the core: gone when its connection is over, opened when it wants one. */
static void follow_core(struct mcp_client *c)
{
    struct err e;
    int rv;

    if (!client_core_is_up(&c->core) && c->stream.fd >= 0 && !c->stream.connecting) {
        close_stream(c);
    }
    client_core_tick(&c->core, now_ms());
    if (c->core.state == CLIENT_CONNECT && c->stream.fd < 0) {
        rv = client_stream_open(&c->stream, &c->options.address, c->options.timeout_ms, now_ms(),
                                &e);
        connect_went(c, rv, &e);
    }
}

static void flush(struct mcp_client *c)
{
    while (client_core_is_up(&c->core) && buf_len(&c->core.out) > 0) {
        size_t n = client_stream_write(&c->stream, buf_slice(&c->core.out));

        if (n == 0) {
            return;
        }
        client_core_wrote(&c->core, n, now_ms());
    }
}

/* Only when all that was read is used. */
static void pull(struct mcp_client *c)
{
    struct err e;
    ssize_t n = client_stream_read(&c->stream, c->in, sizeof(c->in), &e);

    if (n < 0) {
        lost(c, &e);
        return;
    }
    c->in_start = 0;
    c->in_end = (size_t)n;
}

static void pull_if_ready(struct mcp_client *c)
{
    if (client_core_is_up(&c->core) && c->in_start == c->in_end) {
        pull(c);
    }
}

/* A caller that was away for long has not read for long: what has come meanwhile counts before the
 * time does. True: something has. */
static bool look_before_time_is_up(struct mcp_client *c)
{
    if (client_core_is_up(&c->core) && now_ms() >= client_core_deadline_ms(&c->core)) {
        pull_if_ready(c);
    }
    return client_core_is_up(&c->core) && c->in_start < c->in_end;
}

/* Uses what was read, up to a part. True: it is in c->part. */
static bool feed(struct mcp_client *c)
{
    while (client_core_is_up(&c->core) && c->in_start < c->in_end) {
        struct slice in = slice_of(c->in + c->in_start, c->in_end - c->in_start);
        ptrdiff_t n = client_core_recv(&c->core, in, now_ms(), &c->part);

        c->in_start = n > 0 ? c->in_start + (size_t)n : c->in_end;
        if (n > 0) {
            return true;
        }
    }
    return false;
}

/* For a call that waits for something else. */
static void keep_parts(struct mcp_client *c)
{
    while (feed(c)) {
        client_core_keep(&c->core, &c->part, now_ms());
    }
}

/* Before something is sent: finds out whether the connection was closed from the other side, or is
 * about to be. What comes while answers are under way waits for its turn. */
static void look_around(struct mcp_client *c)
{
    enum { READS_MAX = 16 }; /* of a server that does not stop */

    for (int i = 0; i < READS_MAX && client_core_in_flight(&c->core) == 0; i++) {
        keep_parts(c);
        pull_if_ready(c);
        if (c->in_start == c->in_end) {
            return;
        }
    }
    pull_if_ready(c);
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
    return b_ms != 0 && b_ms < a_ms ? b_ms : a_ms;
}

/* For poll: up to `until_ms`, rounded up so that the time has then come. */
static int poll_timeout(uint64_t until_ms)
{
    uint64_t now = now_ms();

    if (until_ms == FOREVER) {
        return -1;
    }
    if (until_ms <= now) {
        return 0;
    }
    return until_ms - now > INT_MAX ? INT_MAX : (int)(until_ms - now);
}

static void handle_socket(struct mcp_client *c, short revents)
{
    struct err e;

    if (c->core.state == CLIENT_CONNECT) {
        connect_went(c, client_stream_go_on(&c->stream, revents != 0, now_ms(), &e), &e);
    } else if (client_core_is_up(&c->core) && (revents & ~POLLOUT) != 0) {
        pull(c);
    }
}

/* Waits for one thing and handles it; call with all input used. MCP_ETIMEOUT, MCP_ECANCELLED; 0:
 * look again. */
static int step(struct mcp_client *c, uint64_t end_ms)
{
    struct pollfd fds[2] = {{.fd = c->wake_fd, .events = POLLIN}, {.fd = -1}};
    enum client_state before = c->core.state;
    uint64_t until_ms, woken;
    int n;

    if (look_before_time_is_up(c)) {
        return 0;
    }
    follow_core(c);
    flush(c);
    if (c->core.state != before) {
        return 0;
    }
    until_ms = earlier(end_ms, client_core_deadline_ms(&c->core));
    fds[1].fd = c->stream.fd;
    fds[1].events = POLLIN;
    if (c->stream.connecting) {
        until_ms = earlier(until_ms, c->stream.target_end_ms);
        fds[1].events = POLLOUT;
    } else if (buf_len(&c->core.out) > 0 && !c->stream.write_broken) {
        fds[1].events |= POLLOUT;
    }
    n = poll(fds, 2, poll_timeout(until_ms));
    if (n > 0 && fds[0].revents != 0) {
        (void)!read(c->wake_fd, &woken, sizeof(woken)); /* an empty one is as good */
        return err_set(&c->err, MCP_ECANCELLED, "interrupted");
    }
    handle_socket(c, n > 0 ? fds[1].revents : 0);
    if (n == 0 && now_ms() >= end_ms) {
        return err_set(&c->err, MCP_ETIMEOUT, "no answer from %s in time", c->options.address.text);
    }
    return 0;
}

/* Until the connection stands; MCP_ETIMEOUT and MCP_ECANCELLED of the call, or the code of the last
 * attempt. */
static int until_ready(struct mcp_client *c, uint64_t end_ms)
{
    int rv;

    while (c->core.state != CLIENT_READY) {
        if (c->core.state == CLIENT_FAILED || c->core.state == CLIENT_START) {
            c->err = c->core.err;
            return c->err.code;
        }
        rv = step(c, end_ms);
        if (rv != 0) {
            return rv;
        }
        keep_parts(c);
    }
    c->stood = true;
    return 0;
}

/* --- calls --------------------------------------------------------------------------------------
 */

int mcp_client_connect(struct mcp_client *client)
{
    look_around(client);
    if (client->core.state == CLIENT_START || client->core.state == CLIENT_FAILED) {
        client_core_connect(&client->core, false);
    }
    return until_ready(client, FOREVER);
}

static bool was_connected(struct mcp_client *c)
{
    if (c->stood || (c->core.state != CLIENT_START && c->core.state != CLIENT_FAILED)) {
        return true;
    }
    err_set(&c->err, MCP_ECLOSED, "not connected to %s", c->options.address.text);
    return false;
}

int mcp_client_request(struct mcp_client *client, uint32_t session, const void *json, size_t len)
{
    int rv;

    if (session == 0 || (json == NULL && len > 0)) {
        return err_set(&client->err, MCP_EARGUMENT, "a session above 0 and a body are needed");
    }
    if (!was_connected(client)) {
        return MCP_ECLOSED;
    }
    look_around(client);
    rv = client_core_request(&client->core, session, slice_of(json, len), now_ms(), &client->err);
    if (rv == 0) {
        flush(client);
    }
    return rv;
}

int mcp_client_cancel(struct mcp_client *client, uint32_t session)
{
    int rv = client_core_cancel(&client->core, session, now_ms(), &client->err);

    if (rv == 0) {
        flush(client);
    }
    return rv;
}

int mcp_client_receive(struct mcp_client *client, int timeout_ms, const struct mcp_part **part)
{
    uint64_t end_ms = end_of(timeout_ms);
    int rv;

    while (!client_core_part(&client->core, &client->part) && !feed(client)) {
        if (client->core.failures > 0) {
            continue; /* what was fed ended the connection */
        }
        if (client_core_in_flight(&client->core) == 0) {
            return err_set(&client->err, MCP_EARGUMENT, "no exchange is in flight");
        }
        rv = step(client, end_ms);
        if (rv != 0) {
            return rv;
        }
    }
    if (client->part.error != 0) {
        err_set(&client->err, client->part.error, "%s", mcp_part_error_text(&client->part));
    }
    client_core_seen(&client->core, &client->part, now_ms());
    *part = &client->part;
    return 0;
}

static int await_echo(struct mcp_client *c, uint64_t number, uint64_t end_ms)
{
    int rv;

    for (;;) {
        keep_parts(c);
        if (c->core.beat_echoed >= number) {
            return 0;
        }
        if (c->core.state != CLIENT_READY) {
            c->err = c->core.err;
            return c->err.code;
        }
        rv = step(c, end_ms);
        if (rv != 0) {
            return rv;
        }
    }
}

int mcp_client_heartbeat(struct mcp_client *client, int timeout_ms, uint64_t *round_trip_us)
{
    uint64_t end_ms = end_of(timeout_ms);
    uint64_t number, begun_us;
    int rv;

    if (!was_connected(client)) {
        return MCP_ECLOSED;
    }
    look_around(client);
    if (client->core.state == CLIENT_FAILED) {
        client_core_connect(&client->core, true);
    }
    rv = until_ready(client, end_ms);
    if (rv != 0) {
        return rv;
    }
    begun_us = now_us();
    number = client_core_heartbeat(&client->core, now_ms());
    if (number == 0) {
        return err_set(&client->err, MCP_ENOMEM, "out of memory");
    }
    rv = await_echo(client, number, end_ms);
    if (rv == 0 && round_trip_us != NULL) {
        *round_trip_us = now_us() - begun_us;
    }
    return rv;
}
