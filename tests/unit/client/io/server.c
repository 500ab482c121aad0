/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/frame.h"

static const struct timeval PATIENCE = {.tv_sec = 10};

static void *run(void *arg)
{
    struct server *s = arg;

    s->script(s);
    return NULL;
}

static void listen_unix(struct server *s)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/mcpgate-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", s->dir);
    (void)snprintf(s->address, sizeof(s->address), "unix:%s/s", s->dir);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&un, sizeof(un)), 0);
}

static void listen_tcp(struct server *s)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);

    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&in, &len), 0);
    (void)snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(in.sin_port));
}

void server_start(struct server *s, enum server_where where, void (*script)(struct server *s))
{
    *s = (struct server){.script = script};
    assert_int_equal(sem_init(&s->reached, 0, 0), 0);
    if (where == SERVER_UNIX) {
        listen_unix(s);
    } else {
        listen_tcp(s);
    }
    assert_int_equal(setsockopt(s->listen_fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof(PATIENCE)),
                     0);
    assert_int_equal(listen(s->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
}

void server_reached(struct server *s)
{
    sem_post(&s->reached);
}

void server_await(struct server *s)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE.tv_sec;
    assert_int_equal(sem_timedwait(&s->reached, &end), 0);
}

void server_join(struct server *s)
{
    if (!s->joined) {
        assert_int_equal(pthread_join(s->thread, NULL), 0);
        s->joined = true;
    }
}

void server_stop(struct server *s)
{
    server_join(s);
    close(s->listen_fd);
    if (s->dir[0] != '\0') {
        unlink(s->address + strlen("unix:"));
        rmdir(s->dir);
    }
    sem_destroy(&s->reached);
    buf_fini(&s->payload);
    if (s->failed != NULL) {
        fail_msg("the server's script: %s", s->failed);
    }
}

void server_check(struct server *s, bool ok, const char *what)
{
    if (!ok && s->failed == NULL) {
        s->failed = what;
    }
}

int server_accept(struct server *s)
{
    int fd = accept(s->listen_fd, NULL, NULL);

    server_check(s, fd >= 0, "accept");
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof(PATIENCE));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof(PATIENCE));
    }
    return fd;
}

static bool read_all(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = read(fd, to, len);

        if (n <= 0) {
            return false;
        }
        to += n;
        len -= (size_t)n;
    }
    return true;
}

uint32_t server_read(struct server *s, int fd, unsigned opcode)
{
    char bytes[WIRE_HEADER_BYTES];
    struct mcp_header h;
    char *to;

    buf_clear(&s->payload);
    if (!read_all(fd, bytes, sizeof(bytes))) {
        server_check(s, false, "a frame was expected");
        return 0;
    }
    h = wire_header_decode((const uint8_t *)bytes);
    server_check(s, h.opcode == opcode, "another opcode was expected");
    to = buf_reserve(&s->payload, h.length + 1);
    if (to == NULL || !read_all(fd, to, h.length)) {
        server_check(s, false, "a payload was expected");
        return 0;
    }
    buf_commit(&s->payload, h.length);
    return h.session_id;
}

void server_write_bytes(struct server *s, int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n <= 0) {
            server_check(s, false, "the client does not read");
            return;
        }
        bytes = slice_skip(bytes, (size_t)n);
    }
}

void server_write(struct server *s, int fd, unsigned opcode, uint32_t session, const char *payload)
{
    struct buf frame = {0};

    server_check(s, wire_frame_append(&frame, opcode, session, slice_str(payload)), "memory");
    server_write_bytes(s, fd, buf_slice(&frame));
    buf_fini(&frame);
}

void server_wait_closed(struct server *s, int fd)
{
    char bytes[4096];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
    }
    server_check(s, n == 0, "the client was expected to close");
    close(fd);
}
