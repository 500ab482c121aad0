/* SPDX-License-Identifier: Apache-2.0 */
/* Which backend is taken, and what is said where io_uring cannot be had. Sandboxes are real, in a
 * child process; older kernels are made up. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "reactor/choice.h"
#include "reactor/loop_internal.h"
#include "reactor/uring_internal.h"

/* io_uring_setup fails with that error from now on, in this process. */
static bool forbid_uring(int error)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void stop(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

/* In a child: exit status 0 when all is as it should be, else the number of what is not. */
static int check_forbidden(int error, const char *reason)
{
    char why[LOOP_WHY_MAX];
    char expected[LOOP_WHY_MAX];
    struct timer t;

    if (!forbid_uring(error)) {
        return 1;
    }
    (void)snprintf(expected, sizeof(expected), "io_uring cannot be had: %s", reason);
    if (loop_choose(LOOP_BACKEND_URING, why) != NULL || strcmp(why, expected) != 0) {
        (void)fprintf(stderr, "%s\n", why);
        return 2;
    }
    if (choice_of(LOOP_BACKEND_AUTO, true, &uring_sys_real, why) != &backend_epoll ||
        strcmp(why, expected) != 0) {
        return 3;
    }
    if (loop_new_on(&backend_uring, &loop_sys_real) != NULL || errno != error) {
        return 4;
    }
    if (loop_choose(LOOP_BACKEND_AUTO, why) == NULL) {
        return 5;
    }
    loop = loop_new();
    if (loop == NULL) {
        return 6;
    }
    timer_init(&t, stop, NULL);
    timer_arm(loop, &t, 1);
    loop_run(loop);
    loop_free(&loop);
    return 0;
}

static void a_sandbox_leaves_epoll(void **state)
{
    static const struct {
        int error;
        const char *reason;
    } rows[] = {
        {EPERM, "a sandbox forbids it"},
        {ENOSYS, "the kernel has no io_uring, or a sandbox hides it"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
            _exit(check_forbidden(rows[i].error, rows[i].reason));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* --- kernels that are not here ------------------------------------------------------------------
 */

static int setup_error;
static unsigned refused_flags;
static unsigned missing_features;
static int missing_op;

static int made_up_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    int rv;

    if (setup_error != 0) {
        return -setup_error;
    }
    if ((params->flags & refused_flags) != 0) {
        return -EINVAL;
    }
    rv = io_uring_queue_init_params(entries, ring, params);
    ring->features &= ~missing_features;
    return rv;
}

static int made_up_has_op(const struct io_uring_probe *probe, int op)
{
    return op != missing_op && io_uring_opcode_supported(probe, op);
}

static struct uring_sys made_up(void)
{
    struct uring_sys sys = uring_sys_real;

    setup_error = 0;
    refused_flags = missing_features = 0;
    missing_op = -1;
    sys.setup = made_up_setup;
    sys.has_op = made_up_has_op;
    sys.sysctl = "/nowhere";
    return sys;
}

static void assert_refused(const struct uring_sys *sys, const char *reason)
{
    char why[LOOP_WHY_MAX];
    char expected[LOOP_WHY_MAX];

    (void)snprintf(expected, sizeof(expected), "io_uring cannot be had: %s", reason);
    assert_null(choice_of(LOOP_BACKEND_URING, false, sys, why));
    assert_string_equal(why, expected);
    assert_ptr_equal(choice_of(LOOP_BACKEND_AUTO, true, sys, why), &backend_epoll);
    assert_string_equal(why, expected);
}

static void a_sysctl_is_named(void **state)
{
    struct uring_sys sys = made_up();
    char path[] = "/tmp/mcpgate-sysctl-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    sys.sysctl = path;
    setup_error = EPERM;
    assert_int_equal(write(fd, "0\n", 2), 2);
    assert_refused(&sys, "a sandbox forbids it");
    for (const char *value = "12"; *value != '\0'; value++) {
        assert_int_equal(pwrite(fd, value, 1, 0), 1);
        assert_refused(&sys, "the sysctl kernel.io_uring_disabled forbids it");
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void older_kernels_are_refused(void **state)
{
    static const int ops[] = {IORING_OP_MSG_RING, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                              IORING_OP_SENDMSG};
    struct uring_sys sys = made_up();
    char why[LOOP_WHY_MAX];

    (void)state;
    refused_flags = IORING_SETUP_SINGLE_ISSUER;
    assert_refused(&sys, "the kernel is too old, Linux 6.0 has what is needed");
    refused_flags = 0;
    missing_features = IORING_FEAT_CQE_SKIP;
    assert_refused(&sys, "the kernel is too old, it lacks features of io_uring");
    missing_features = 0;
    missing_op = IORING_OP_SEND_ZC;
    assert_refused(&sys, "the kernel is too old, it lacks multishot recv (Linux 6.0)");
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        missing_op = ops[i];
        assert_null(choice_of(LOOP_BACKEND_URING, false, &sys, why));
        assert_non_null(strstr(why, "io_uring cannot be had: the kernel lacks IORING_OP_"));
    }
    missing_op = -1;
    setup_error = ENOMEM;
    assert_refused(&sys, "Cannot allocate memory");
}

static void a_kernel_without_deferred_work_will_do(void **state)
{
    struct uring_sys sys = made_up();
    char why[LOOP_WHY_MAX];

    (void)state;
    refused_flags = IORING_SETUP_DEFER_TASKRUN;
    assert_ptr_equal(choice_of(LOOP_BACKEND_URING, false, &sys, why), &backend_uring);
    assert_string_equal(why, "configured");
    assert_ptr_equal(choice_of(LOOP_BACKEND_AUTO, true, &sys, why), &backend_uring);
    assert_string_equal(why, "this kernel has it");
}

static void epoll_needs_no_reason(void **state)
{
    struct uring_sys sys = made_up();
    char why[LOOP_WHY_MAX];

    (void)state;
    setup_error = EPERM; /* it does not even look */
    assert_ptr_equal(choice_of(LOOP_BACKEND_EPOLL, true, &sys, why), &backend_epoll);
    assert_string_equal(why, "configured");
    assert_ptr_equal(choice_of(LOOP_BACKEND_AUTO, false, &sys, why), &backend_epoll);
    assert_string_equal(why, "the default");
}

static void loops_get_what_was_chosen(void **state)
{
    char why[LOOP_WHY_MAX];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i == 0 ? "io_uring" : "epoll";
        struct loop *made;

        assert_string_equal(loop_choose(i == 0 ? LOOP_BACKEND_URING : LOOP_BACKEND_EPOLL, why),
                            name);
        made = loop_new();
        assert_non_null(made);
        assert_string_equal(made->backend->ops->name, name);
        loop_free(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sandbox_leaves_epoll),
        cmocka_unit_test(a_sysctl_is_named),
        URING_TEST_WITH(older_kernels_are_refused, NULL, NULL),
        cmocka_unit_test(epoll_needs_no_reason),
        URING_TEST_WITH(a_kernel_without_deferred_work_will_do, NULL, NULL),
        URING_TEST_WITH(loops_get_what_was_chosen, NULL, NULL),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
