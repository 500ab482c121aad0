/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fixture.h"

static size_t wanted;

static bool has_wanted(void *end)
{
    return buf_len(&((struct end *)end)->in) >= wanted;
}

static void wait_bytes(struct end *e, size_t n)
{
    wanted = n;
    run_until(has_wanted, e);
    assert_int_equal(buf_len(&e->in), n);
}

/* What was read before a pause is held by somebody: where that must be little, the rest is left to
 * the kernel. */
static void who_wants_little_is_read_little(void **state)
{
    enum { BYTES = 50000 };

    (void)state;
    for (int late = 0; late < 2; late++) {
        struct end a = {0};
        struct end b = {.pause_in_data = true};
        struct buf sent = {0};
        int left = 0;

        pattern_fill(&sent, BYTES);
        pair_open(&a, &b, AF_INET);
        if (late) { /* much was asked for by then */
            run_turns(3);
        }
        sock_read_little(b.sock, true);
        run_turns(3);
        assert_true(sock_write(a.sock, buf_slice(&sent)));
        run_for_ms(20);
        assert_in_range(buf_len(&b.in), 1, SOCK_LITTLE_BYTES);
        assert_int_equal(ioctl(sock_fd(b.sock), FIONREAD, &left), 0);
        assert_int_equal(buf_len(&b.in) + (size_t)left, BYTES);
        b.pause_in_data = false;
        sock_resume(b.sock);
        wait_bytes(&b, BYTES);
        assert_true(pattern_matches(buf_slice(&b.in), BYTES));
        sock_read_little(b.sock, false);
        assert_true(sock_write(a.sock, SLICE("and more")));
        wait_bytes(&b, BYTES + 8);
        assert_true(sock_write(a.sock, SLICE("and more")));
        wait_bytes(&b, BYTES + 16);
        end_fini(&a);
        end_fini(&b);
        buf_fini(&sent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KERNEL_TEST(who_wants_little_is_read_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
