/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

enum { FDS_MAX = 16 };

/* Keeps what was accepted. */
struct acceptor {
    struct listener *l;
    int fds[FDS_MAX];
    size_t count;
    char peer[ADDR_TEXT_MAX];
    bool free_in_callback;
    size_t wanted;
};

static char dir[32];
static char path[64];

static int setup(void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/mcpgate-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/s", dir);
    return fixture_setup(state);
}

static int teardown(void **state)
{
    assert_int_equal(rmdir(dir), 0); /* every path was removed */
    return fixture_teardown(state);
}

static void on_accepted(void *owner, int fd, const struct addr *peer)
{
    struct acceptor *a = owner;

    assert_true(a->count < FDS_MAX);
    a->fds[a->count++] = fd;
    addr_format_host(peer, a->peer);
    if (a->free_in_callback) {
        listener_free(&a->l);
    }
}

static void start(struct acceptor *a, const char *at)
{
    struct addr addr;
    struct err e = {0};

    assert_int_equal(addr_parse(&addr, slice_str(at), NULL), 0);
    a->l = listener_new(loop, &addr, on_accepted, a, &e);
    assert_non_null(a->l);
}

static void stop(struct acceptor *a)
{
    listener_free(&a->l);
    listener_free(&a->l); /* NULL is fine */
    while (a->count > 0) {
        assert_int_equal(close(a->fds[--a->count]), 0);
    }
}

static void unix_at(char at[80])
{
    (void)snprintf(at, 80, "unix:%s", path);
}

/* A blocking client, connected before anyone accepts. */
static int connect_to(const struct addr *to)
{
    int fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to->ss, to->len), 0);
    return fd;
}

static bool accepted_enough(void *acceptor)
{
    struct acceptor *a = acceptor;

    return a->count >= a->wanted;
}

static void wait_accepted(struct acceptor *a, size_t n)
{
    a->wanted = n;
    run_until(accepted_enough, a);
    assert_int_equal(a->count, n);
}

static void port_0_is_resolved(void **state)
{
    struct acceptor a = {0};
    int client;
    int value = 0;
    socklen_t len = sizeof(value);

    (void)state;
    start(&a, "127.0.0.1:0");
    assert_int_not_equal(addr_port(listener_addr(a.l)), 0);
    client = connect_to(listener_addr(a.l));
    wait_accepted(&a, 1);
    assert_string_equal(a.peer, "127.0.0.1");
    assert_true((fcntl(a.fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(a.fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(a.fds[0], IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(a.fds[0], SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(a.fds[0], IPPROTO_TCP, TCP_KEEPIDLE, &value, &len), 0);
    assert_int_equal(value, 60);
    assert_int_equal(close(client), 0);
    stop(&a);
}

static void all_interfaces_take_ipv4(void **state)
{
    struct acceptor a = {0};
    struct addr to;
    char text[32];
    int client;

    (void)state;
    start(&a, ":0");
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u", addr_port(listener_addr(a.l)));
    assert_int_equal(addr_parse(&to, slice_str(text), NULL), 0);
    client = connect_to(&to);
    wait_accepted(&a, 1);
    assert_string_equal(a.peer, "127.0.0.1");
    assert_int_equal(close(client), 0);
    stop(&a);
}

static void a_burst_is_accepted_in_one_turn(void **state)
{
    struct acceptor a = {0};
    int clients[FDS_MAX];

    (void)state;
    start(&a, "127.0.0.1:0");
    for (int i = 0; i < FDS_MAX; i++) {
        clients[i] = connect_to(listener_addr(a.l));
    }
    run_turns(1);
    assert_int_equal(a.count, FDS_MAX);
    for (int i = 0; i < FDS_MAX; i++) {
        assert_int_equal(close(clients[i]), 0);
    }
    stop(&a);
}

static void freed_inside_its_callback(void **state)
{
    struct acceptor a = {.free_in_callback = true};
    int clients[2];

    (void)state;
    start(&a, "127.0.0.1:0");
    clients[0] = connect_to(listener_addr(a.l));
    clients[1] = connect_to(listener_addr(a.l));
    run_turns(3);
    assert_null(a.l);
    assert_int_equal(a.count, 1);
    assert_int_equal(close(clients[0]), 0);
    assert_int_equal(close(clients[1]), 0);
    stop(&a);
}

/* --- in use
 * --------------------------------------------------------------------------------------------- */

static void assert_in_use_by_us(const struct addr *at)
{
    struct err e = {0};
    char text[ADDR_TEXT_MAX];
    char name[32] = "";
    char expected[256];
    FILE *f = fopen("/proc/self/comm", "re");

    assert_non_null(f);
    assert_non_null(fgets(name, sizeof(name), f));
    assert_int_equal(fclose(f), 0);
    name[strcspn(name, "\n")] = '\0';
    addr_format(at, text);
    (void)snprintf(expected, sizeof(expected), "%s is in use by %s (pid %d)", text, name,
                   (int)getpid());
    assert_null(listener_new(loop, at, on_accepted, NULL, &e));
    assert_int_equal(e.code, MCP_ECONNECT);
    assert_string_equal(e.text, expected);
}

static void a_taken_port_names_its_process(void **state)
{
    static const char *const rows[] = {"127.0.0.1:0", "0.0.0.0:0", ":0"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct acceptor a = {0};

        start(&a, rows[i]);
        assert_in_use_by_us(listener_addr(a.l));
        stop(&a);
    }
}

static void a_live_unix_path_is_left_alone(void **state)
{
    struct acceptor a = {0};
    char at[80];
    int client;

    (void)state;
    unix_at(at);
    start(&a, at);
    assert_in_use_by_us(listener_addr(a.l));
    client = connect_to(listener_addr(a.l));
    /* The two probes, whether anyone listens and who, were connections too. */
    wait_accepted(&a, 3);
    assert_string_equal(a.peer, "unix");
    assert_int_equal(close(client), 0);
    stop(&a);
    assert_int_equal(access(path, F_OK), -1);
}

/* Started in its folder, say, with a name instead of the whole path. */
static void a_unix_path_taken_by_another_spelling_names_its_process(void **state)
{
    struct acceptor a = {0};
    struct addr other;
    char spelling[80];
    char at[80];

    (void)state;
    unix_at(at);
    start(&a, at);
    (void)snprintf(spelling, sizeof(spelling), "/proc/self/root%s", path);
    assert_int_equal(addr_from_unix(&other, spelling, NULL), 0);
    assert_in_use_by_us(&other);
    stop(&a);
}

/* A daemon's first process began to listen and left: who has the socket open is named. */
static void a_unix_path_inherited_names_its_process(void **state)
{
    struct addr at;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(addr_from_unix(&at, path, NULL), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at.ss, at.len), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(listen(fd, 8));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_in_use_by_us(&at);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void a_stale_unix_path_is_replaced(void **state)
{
    struct acceptor a = {0};
    struct addr addr;
    char at[80];
    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client;

    (void)state;
    assert_int_equal(addr_from_unix(&addr, path, NULL), 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&addr.ss, addr.len), 0);
    assert_int_equal(listen(dead, 1), 0);
    assert_int_equal(close(dead), 0);
    assert_int_equal(access(path, F_OK), 0);
    unix_at(at);
    start(&a, at);
    client = connect_to(&addr);
    wait_accepted(&a, 1);
    assert_int_equal(close(client), 0);
    stop(&a);
}

static void a_file_in_the_way_is_left_alone(void **state)
{
    struct addr addr;
    struct err e = {0};
    FILE *f = fopen(path, "we");

    (void)state;
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(addr_from_unix(&addr, path, NULL), 0);
    assert_null(listener_new(loop, &addr, on_accepted, NULL, &e));
    assert_non_null(strstr(e.text, ": there is a file of that name"));
    assert_int_equal(unlink(path), 0);
}

static void a_path_taken_over_is_not_removed(void **state)
{
    struct acceptor a = {0};
    char at[80];
    FILE *f;

    (void)state;
    unix_at(at);
    start(&a, at);
    assert_int_equal(unlink(path), 0);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    stop(&a);
    assert_int_equal(unlink(path), 0);
}

static void an_address_that_is_not_ours(void **state)
{
    struct addr addr;
    struct err e = {0};

    (void)state;
    assert_int_equal(addr_parse(&addr, SLICE("192.0.2.1:80"), NULL), 0);
    assert_null(listener_new(loop, &addr, on_accepted, NULL, &e));
    assert_int_equal(e.code, MCP_ECONNECT);
    assert_string_equal(e.text, "cannot listen on 192.0.2.1:80: Cannot assign requested address");
}

/* --- running out of descriptors
 * ------------------------------------------------------------------------- */

static int64_t accept_failures(void)
{
    return counter_get(counters_current(), COUNTER_ACCEPT_FAILED);
}

static void out_of_descriptors_pauses_and_recovers(void **state)
{
    struct acceptor a = {0};
    struct rlimit before;
    struct rlimit none;
    int64_t failures = accept_failures();
    int clients[2];
    uint64_t since;

    (void)state;
    start(&a, "127.0.0.1:0");
    clients[0] = connect_to(listener_addr(a.l));
    clients[1] = connect_to(listener_addr(a.l));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)clients[1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_for_ms(30);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(a.count, 0);
    assert_int_equal(accept_failures(), failures + 1); /* it paused, it did not spin */
    since = loop_clock_us(loop);
    wait_accepted(&a, 2);
    assert_true(loop_clock_us(loop) - since < 5 * 1000 * 1000);
    assert_int_equal(accept_failures(), failures + 1);
    assert_int_equal(close(clients[0]), 0);
    assert_int_equal(close(clients[1]), 0);
    stop(&a);
}

static void a_quarter_of_the_descriptors_is_for_others(void **state)
{
    struct acceptor a = {0};
    struct rlimit before;
    struct rlimit few;
    int64_t failures = accept_failures();
    int clients[4];
    int next[2];

    (void)state;
    start(&a, "127.0.0.1:0");
    for (size_t i = 0; i < 4; i++) {
        clients[i] = connect_to(listener_addr(a.l));
    }
    for (size_t i = 0; i < 2; i++) {
        next[i] = dup(clients[0]);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(close(next[i]), 0);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 0;
    while (few.rlim_cur - few.rlim_cur / 4 <= (rlim_t)next[1]) {
        few.rlim_cur++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    wait_accepted(&a, 2);
    run_for_ms(250); /* it looks twice more */
    assert_int_equal(a.count, 2);
    assert_int_equal(accept_failures(), failures + 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    wait_accepted(&a, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(close(clients[i]), 0);
    }
    stop(&a);
}

/* Every number below the limit is taken but those it holds itself. */
static void operators_get_in_when_no_descriptor_is_left(void **state)
{
    struct acceptor a = {0};
    struct rlimit before;
    struct rlimit none;
    int64_t failures = accept_failures();
    int clients[8];
    int highest = 0;

    (void)state;
    start(&a, "127.0.0.1:0");
    listener_keep_reachable(a.l);
    for (size_t i = 0; i < 8; i++) {
        clients[i] = connect_to(listener_addr(a.l));
        highest = clients[i] > highest ? clients[i] : highest;
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)highest + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    wait_accepted(&a, 4);
    run_for_ms(250);
    assert_int_equal(a.count, 4);
    assert_true(accept_failures() > failures); /* now it has none to give up */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    wait_accepted(&a, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(close(clients[i]), 0);
    }
    stop(&a);
}

static void freed_while_paused(void **state)
{
    struct acceptor a = {0};
    struct rlimit before;
    struct rlimit none;
    int client;

    (void)state;
    start(&a, "127.0.0.1:0");
    client = connect_to(listener_addr(a.l));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)client + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_turns(2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    stop(&a);
    run_for_ms(120);
    assert_int_equal(a.count, 0);
    assert_int_equal(close(client), 0);
}

int main(void)
{
#define LISTENER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(port_0_is_resolved),
        LISTENER_TEST(all_interfaces_take_ipv4),
        LISTENER_TEST(a_burst_is_accepted_in_one_turn),
        LISTENER_TEST(freed_inside_its_callback),
        LISTENER_TEST(a_taken_port_names_its_process),
        LISTENER_TEST(a_live_unix_path_is_left_alone),
        LISTENER_TEST(a_unix_path_taken_by_another_spelling_names_its_process),
        LISTENER_TEST(a_unix_path_inherited_names_its_process),
        LISTENER_TEST(a_stale_unix_path_is_replaced),
        LISTENER_TEST(a_file_in_the_way_is_left_alone),
        LISTENER_TEST(a_path_taken_over_is_not_removed),
        LISTENER_TEST(an_address_that_is_not_ours),
        LISTENER_TEST(out_of_descriptors_pauses_and_recovers),
        LISTENER_TEST(a_quarter_of_the_descriptors_is_for_others),
        LISTENER_TEST(operators_get_in_when_no_descriptor_is_left),
        LISTENER_TEST(freed_while_paused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
