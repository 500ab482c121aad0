/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer costs: the simulated node must not be what a benchmark measures. What it says is
 * tested in tests/system/test_sim.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/block.h"
#include "reactor/backend.h"
#include "sim/server.h"

static struct loop *loop;
static struct sim_server *server;
static int fd;
static unsigned recv_calls;
static unsigned send_calls;
static char in[64 * 1024];
static size_t in_len;

static ssize_t counted_recv(int socket, void *buf, size_t len, int flags)
{
    recv_calls++;
    return recv(socket, buf, len, flags);
}

static ssize_t counted_sendmsg(int socket, const struct msghdr *msg, int flags)
{
    send_calls++;
    return sendmsg(socket, msg, flags);
}

static int setup(void **state)
{
    static const char *const models[] = {"m"};
    static struct loop_sys sys;
    struct sim_options o = {.models = models, .model_count = 1, .seed = 1};
    struct addr at;

    (void)state;
    sys = loop_sys_real;
    sys.recv = counted_recv;
    sys.sendmsg = counted_sendmsg;
    loop = loop_new_on(&backend_epoll, &sys);
    assert_true(sim_profile_find("echo", &o.profile));
    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), NULL), MCP_OK);
    server = sim_server_new(loop, &at, &o, NULL);
    assert_non_null(server);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sim_server_addr(server)->ss,
                             sim_server_addr(server)->len),
                     0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)close(fd);
    sim_server_free(&server);
    loop_free(&loop);
    return 0;
}

static const char *end; /* of the reply that is waited for */

static void look(void *owner)
{
    ssize_t n = recv(fd, in + in_len, sizeof(in) - 1 - in_len, MSG_DONTWAIT);

    in_len += n > 0 ? (size_t)n : 0;
    in[in_len] = '\0';
    if (in_len >= strlen(end) && strcmp(in + in_len - strlen(end), end) == 0) {
        loop_stop(loop);
    } else {
        timer_arm(loop, owner, 1);
    }
}

static void ask(const char *path, const char *body, const char *reply_end)
{
    char request[512];
    struct timer t;
    int len = snprintf(request, sizeof(request),
                       "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       path, strlen(body), body);

    assert_int_equal(send(fd, request, (size_t)len, 0), len);
    in_len = 0;
    end = reply_end;
    timer_init(&t, look, NULL);
    t.owner = &t;
    timer_arm(loop, &t, 0);
    loop_run(loop);
}

static void an_answer_costs_one_read_one_write_and_no_memory(void **state)
{
    static const struct {
        const char *path;
        const char *body;
        const char *end;
    } cases[] = {
        {"/api/generate", "{\"model\":\"m\",\"prompt\":\"a\"}", "0\r\n\r\n"},
        {"/api/generate", "{\"model\":\"m\",\"prompt\":\"a\",\"stream\":false}", "}"},
        {"/api/generate", "{\"model\":\"m\",\"prompt\":\"a\",\"options\":{\"num_predict\":9}}",
         "0\r\n\r\n"},
        {"/api/chat", "{\"model\":\"m\",\"messages\":[{}]}", "0\r\n\r\n"},
        {"/v1/chat/completions", "{\"model\":\"m\",\"messages\":[{}]}", "}"},
        {"/api/embed", "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}", "}"},
    };

    (void)state;
    blocks_set_keeping(true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask(cases[i].path, cases[i].body, cases[i].end); /* makes it, and warms up */
        ask(cases[i].path, cases[i].body, cases[i].end);
        recv_calls = send_calls = 0;
        alloc_fault_at(0);
        for (int n = 0; n < 10; n++) {
            ask(cases[i].path, cases[i].body, cases[i].end);
        }
        assert_int_equal(alloc_fault_count(), 0);
        assert_int_equal(recv_calls, 10);
        assert_int_equal(send_calls, 10);
    }
}

static void with_a_gap_each_part_is_a_write(void **state)
{
    static const char body[] = "{\"model\":\"m\",\"prompt\":\"a\",\"options\":{\"num_predict\":9,"
                               "\"sim_gap_ms\":0}}";

    (void)state;
    blocks_set_keeping(true);
    ask("/api/generate", body, "0\r\n\r\n");
    send_calls = 0;
    alloc_fault_at(0);
    ask("/api/generate", body, "0\r\n\r\n");
    assert_int_equal(alloc_fault_count(), 0);
    assert_int_equal(send_calls, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_costs_one_read_one_write_and_no_memory, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(with_a_gap_each_part_is_a_write, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
