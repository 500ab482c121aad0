/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "reactor/virtual.h"
#include "seeds.h"

enum { SECOND_US = 1000000, MINUTE_US = 60 * SECOND_US, LOOPS_MAX = 3 };

static struct virtual_net *net;
static struct loop *loops[LOOPS_MAX];

static void begin(uint64_t seed, const struct virtual_profile *p, size_t loop_count)
{
    net = virtual_net_new(seed, p);
    for (size_t i = 0; i < loop_count; i++) {
        loops[i] = virtual_loop_new(net);
        assert_non_null(loops[i]);
    }
    loop = loops[0];
}

static void finish(void)
{
    for (size_t i = 0; i < LOOPS_MAX; i++) {
        loop_free(&loops[i]);
    }
    assert_int_equal(virtual_net_open(net), 0);
    virtual_net_free(&net);
}

static struct addr addr_of(const char *text)
{
    struct addr a;

    assert_int_equal(addr_parse(&a, slice_str(text), NULL), 0);
    return a;
}

/* --- time */

static const struct virtual_profile far = {.latency_min_us = 5000, .latency_max_us = 5000};

static void accept_end(void *owner, int fd, const struct addr *peer)
{
    assert_true(addr_is_local(peer));
    end_adopt(owner, fd);
}

static bool has_data(void *end)
{
    return buf_len(&((struct end *)end)->in) > 0;
}

static void latency_is_exact(void **state)
{
    struct addr at = addr_of("10.1.2.3:11434");
    struct end client = {0};
    struct end server = {0};
    struct listener *l;
    uint64_t since;

    (void)state;
    begin(1, &far, 1);
    l = listener_new(loop, &at, accept_end, &server, NULL);
    since = virtual_net_now_us(net);
    end_connect(&client, &at);
    assert_true(sock_write(client.sock, SLICE("hello")));
    assert_true(virtual_net_run(net, end_is_connected, &client, SECOND_US));
    assert_int_equal(virtual_net_now_us(net) - since, 10000);
    assert_true(virtual_net_run(net, has_data, &server, SECOND_US));
    assert_int_equal(virtual_net_now_us(net) - since, 15000);
    end_fini(&client);
    assert_true(virtual_net_run(net, end_has_eof, &server, SECOND_US));
    assert_int_equal(virtual_net_now_us(net) - since, 20000);
    end_fini(&server);
    listener_free(&l);
    finish();
}

static void bandwidth_is_exact(void **state)
{
    static const struct virtual_profile slow = {.bytes_per_s = 10000};
    struct end a = {0};
    struct end b = {0};
    int fds[2];

    (void)state;
    begin(1, &slow, 1);
    virtual_net_pair(net, AF_INET, fds);
    end_adopt(&a, fds[0]);
    end_adopt(&b, fds[1]);
    assert_true(sock_write(a.sock, SLICE("0123456789")));
    sock_flush(a.sock);
    assert_true(sock_write(a.sock, SLICE("0123456789")));
    sock_shutdown(a.sock);
    assert_true(virtual_net_run(net, end_has_eof, &b, SECOND_US));
    assert_int_equal(virtual_net_now_us(net), SECOND_US + 2000);
    end_fini(&a);
    end_fini(&b);
    finish();
}

static void ring(void *owner)
{
    *(uint64_t *)owner = loop_wall_us(loop);
    loop_stop(loop);
}

static void an_hour_passes_at_once(void **state)
{
    uint64_t before;
    uint64_t rang = 0;
    struct timer t;

    (void)state;
    begin(1, &virtual_calm, 1);
    before = loop_wall_us(loop);
    timer_init(&t, ring, &rang);
    timer_arm(loop, &t, 3600 * 1000);
    loop_run(loop); /* alone on its network: no driver is needed */
    assert_int_equal(rang - before, 3600 * (uint64_t)SECOND_US);
    assert_false(virtual_net_run(net, end_has_eof, &(struct end){0}, MINUTE_US));
    assert_int_equal(loop_wall_us(loop), rang); /* nothing is left: time stands */
    assert_false(virtual_net_run(net, NULL, NULL, MINUTE_US));
    assert_int_equal(loop_wall_us(loop), rang + MINUTE_US);
    finish();
}

static char order[8];

static void note_work(void *owner)
{
    (void)owner;
    (void)strcat(order, "w");
}

static void note_done(void *owner)
{
    (void)owner;
    (void)strcat(order, "d");
}

static void note_post(void *owner)
{
    (void)owner;
    (void)strcat(order, "p");
}

static void offloaded_work_takes_virtual_time(void **state)
{
    static const struct virtual_profile lazy = {.offload_max_us = 500};

    (void)state;
    begin(3, &lazy, 1);
    order[0] = '\0';
    assert_int_equal(loop_offload(loop, note_work, note_done, NULL, NULL), 0);
    assert_int_equal(loop_post(loop, note_post, NULL), 0);
    assert_string_equal(order, "");
    assert_false(virtual_net_run(net, NULL, NULL, 1000));
    assert_string_equal(order, "pwd");
    assert_int_equal(loop_offload(loop, note_work, note_done, NULL, NULL),
                     0); /* loop_free drops it */
    finish();
}

/* --- what goes wrong */

static void a_full_window_holds_the_sender(void **state)
{
    static const struct virtual_profile narrow = {.latency_min_us = 1000,
                                                  .send_min_bytes = 100,
                                                  .send_max_bytes = 100,
                                                  .receive_min_bytes = 50,
                                                  .receive_max_bytes = 50};
    struct buf bytes = {0};
    struct end a = {0};
    struct end b = {0};
    int fds[2];

    (void)state;
    begin(1, &narrow, 1);
    virtual_net_pair(net, AF_INET, fds);
    end_adopt(&a, fds[0]);
    end_adopt(&b, fds[1]);
    sock_pause(b.sock);
    pattern_fill(&bytes, 1000);
    assert_true(sock_write_take(a.sock, &bytes));
    (void)virtual_net_run(net, NULL, NULL, MINUTE_US);
    assert_int_equal(sock_written(a.sock), 150);
    assert_int_equal(sock_delivered(a.sock), 50);
    sock_resume(b.sock);
    sock_shutdown(a.sock);
    assert_true(virtual_net_run(net, end_has_eof, &b, MINUTE_US));
    assert_true(pattern_matches(buf_slice(&b.in), 1000));
    buf_fini(&bytes);
    end_fini(&a);
    end_fini(&b);
    finish();
}

static void connecting_to_the_unwilling(void **state)
{
    struct addr at = addr_of("10.0.0.1:1");
    struct end server = {0};
    struct listener *l;

    (void)state;
    begin(1, &far, 1);
    l = listener_new(loop, &at, accept_end, &server, NULL);
    for (int reach = VIRTUAL_REFUSED; reach <= VIRTUAL_SILENT; reach++) {
        struct end e = {0};

        virtual_net_set_reach(net, &at, (enum virtual_reach)reach);
        end_connect(&e, &at);
        assert_int_equal(virtual_net_run(net, end_is_closed, &e, MINUTE_US),
                         reach == VIRTUAL_REFUSED);
        assert_int_equal(e.error, reach == VIRTUAL_REFUSED ? ECONNREFUSED : 0);
        end_fini(&e);
    }
    virtual_net_set_reach(net, &at, VIRTUAL_REACHED);
    end_connect(&server, &at);
    listener_free(&l); /* before the SYN gets there */
    assert_true(virtual_net_run(net, end_is_closed, &server, MINUTE_US));
    end_fini(&server);
    finish();
}

static void a_silenced_connection_says_nothing(void **state)
{
    struct end a = {0};
    struct end b = {0};
    int fds[2];

    (void)state;
    begin(1, &far, 1);
    virtual_net_pair(net, AF_INET, fds);
    end_adopt(&a, fds[0]);
    end_adopt(&b, fds[1]);
    assert_true(sock_write(a.sock, SLICE("lost")));
    virtual_net_silence(net, fds[0]);
    (void)virtual_net_run(net, NULL, NULL, MINUTE_US);
    sock_close(&a.sock, true);
    (void)virtual_net_run(net, NULL, NULL, MINUTE_US);
    assert_string_equal(b.told, "");
    end_fini(&a);
    end_fini(&b);
    finish();
}

static void failing_accepts_are_survived(void **state)
{
    static const struct virtual_profile p = {.accept_fails = 5000};
    struct addr at = addr_of("10.0.0.1:1");
    struct end client[8] = {0};
    struct end server[8] = {0};
    size_t served = 0;
    int64_t failed = counter_get(counters_current(), COUNTER_ACCEPT_FAILED);

    (void)state;
    begin(7, &p, 1);
    for (size_t i = 0; i < 8; i++) {
        struct listener *l = listener_new(loop, &at, accept_end, &server[i], NULL);

        end_connect(&client[i], &at);
        (void)virtual_net_run(net, NULL, NULL, MINUTE_US);
        assert_int_equal(server[i].sock == NULL, end_is_closed(&client[i]));
        served += server[i].sock != NULL;
        end_fini(&client[i]);
        end_fini(&server[i]);
        listener_free(&l);
    }
    assert_in_range(served, 1, 7);
    assert_true(counter_get(counters_current(), COUNTER_ACCEPT_FAILED) > failed);
    finish();
}

/* --- everything at once: many connections over many networks */

enum { PAIRS = 6, BYTES_MAX = 30000 };

/* An echo: the client sends a pattern and FIN, the server sends it back, FIN behind it. */
struct party {
    struct sock *s;
    size_t received;
    bool ended;
    bool broken;
};

struct echo {
    struct party client;
    struct party server;
    size_t bytes;
};

static struct echo echoes[PAIRS];
static size_t accepted;
static struct buf pattern;

static void check_bytes(struct party *p, struct slice in)
{
    assert_false(p->ended);
    assert_true(p->received + in.len <= BYTES_MAX);
    assert_memory_equal(in.ptr, pattern.data + p->received, in.len);
    p->received += in.len;
}

static void on_connected(void *owner)
{
    assert_non_null(((struct party *)owner)->s);
}

static void client_data(void *owner, struct slice in)
{
    check_bytes(owner, in);
}

static void server_data(void *owner, struct slice in)
{
    struct party *p = owner;

    check_bytes(p, in);
    assert_true(sock_write(p->s, in));
}

static void client_eof(void *owner)
{
    struct party *p = owner;

    p->ended = true;
    sock_close(&p->s, false);
}

static void server_eof(void *owner)
{
    struct party *p = owner;

    p->ended = true;
    sock_close_gently(&p->s);
}

static void on_closed(void *owner, int error)
{
    struct party *p = owner;

    assert_int_not_equal(error, 0);
    assert_false(p->broken || p->ended);
    p->broken = true;
    sock_close(&p->s, false);
}

static const struct sock_ops client_ops = {
    .connected = on_connected, .data = client_data, .eof = client_eof, .closed = on_closed};
static const struct sock_ops server_ops = {
    .data = server_data, .eof = server_eof, .closed = on_closed};

static void serve(void *owner, int fd, const struct addr *peer)
{
    struct party *p = &echoes[accepted++].server;

    (void)peer;
    p->s = sock_adopt(owner, fd, &server_ops, p);
    assert_non_null(p->s);
}

static bool is_over(void *unused)
{
    size_t open = loop_gentle_count(loops[0]) + loop_gentle_count(loops[1]);

    (void)unused;
    for (size_t i = 0; i < PAIRS; i++) {
        open += echoes[i].client.s != NULL;
        open += echoes[i].server.s != NULL;
    }
    return open == 0;
}

static void start_client(struct echo *x, const struct addr *at)
{
    x->bytes = (size_t)(virtual_net_random(net) % BYTES_MAX);
    x->client.s = sock_connect(loops[1], at, &client_ops, &x->client);
    if (x->client.s == NULL) {
        assert_int_equal(errno, EMFILE);
        x->client.broken = true;
        return;
    }
    assert_true(sock_write(x->client.s, slice_of(pattern.data, x->bytes)));
    sock_shutdown(x->client.s);
}

/* What is left hanging by a connection that died in silence. */
static void give_up(void)
{
    for (size_t i = 0; i < PAIRS; i++) {
        sock_close(&echoes[i].client.s, false);
        sock_close(&echoes[i].server.s, false);
    }
}

static uint64_t run_echoes(uint64_t seed)
{
    struct virtual_profile p = virtual_profile_draw(seed);
    bool may_break = p.reset + p.refuse + p.no_socket + p.accept_fails > 0;
    bool may_hang = p.silent + p.no_answer > 0;
    struct addr at = addr_of("10.0.0.1:80");
    struct listener *l;
    uint64_t trace;

    begin(seed, &p, 2);
    virtual_net_log(net, seeds_replay() ? stderr : NULL);
    memset(echoes, 0, sizeof(echoes));
    accepted = 0;
    l = listener_new(loops[0], &at, serve, loops[0], NULL);
    for (size_t i = 0; i < PAIRS; i++) {
        start_client(&echoes[i], &at);
    }
    assert_true(virtual_net_run(net, is_over, NULL, 10 * (uint64_t)MINUTE_US) || may_hang);
    for (size_t i = 0; i < PAIRS; i++) {
        const struct echo *x = &echoes[i];

        assert_true(!x->client.ended || x->client.received <= x->bytes);
        assert_true(x->client.received == x->bytes || may_break || may_hang);
    }
    give_up();
    listener_free(&l);
    trace = virtual_net_trace(net);
    finish();
    return trace;
}

static void echoes_arrive_twice_the_same(uint64_t seed)
{
    uint64_t trace = run_echoes(seed);

    assert_int_not_equal(trace, 0);
    assert_int_equal(trace, run_echoes(seed));
}

static void the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    pattern_fill(&pattern, BYTES_MAX);
    seeds_run(300, echoes_arrive_twice_the_same);
    assert_int_not_equal(run_echoes(1), run_echoes(2));
    buf_fini(&pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latency_is_exact),
        cmocka_unit_test(bandwidth_is_exact),
        cmocka_unit_test(an_hour_passes_at_once),
        cmocka_unit_test(offloaded_work_takes_virtual_time),
        cmocka_unit_test(a_full_window_holds_the_sender),
        cmocka_unit_test(connecting_to_the_unwilling),
        cmocka_unit_test(a_silenced_connection_says_nothing),
        cmocka_unit_test(failing_accepts_are_survived),
        SEEDS_TEST(the_same_seed_is_the_same_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
