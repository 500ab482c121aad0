/* SPDX-License-Identifier: Apache-2.0 */
/* The ring itself: set up with what the kernel offers, probed, entered, and its receive buffers.
 * It is made disabled and belongs to the thread that first waits on it (SINGLE_ISSUER). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "reactor/uring_internal.h"

enum { BUFFER_GROUP = 0, FIRST_BUFFERS = 16, PROBE_OPS = 256 };

static int enter_ring(struct io_uring *ring, uint64_t timeout_us)
{
    struct __kernel_timespec timeout = {
        .tv_sec = (long long)(timeout_us / 1000000),
        .tv_nsec = (long long)(timeout_us % 1000000) * 1000,
    };
    struct io_uring_cqe *first;

    if (timeout_us == 0) {
        return io_uring_submit_and_get_events(ring);
    }
    return io_uring_submit_and_wait_timeout(ring, &first, 1,
                                            timeout_us == UINT64_MAX ? NULL : &timeout, NULL);
}

/* 256 buffers of 8 KiB: as many as there are messages in a busy turn, and large bodies take few. A
 * small message touches only the first lines of its buffer. */
const struct uring_sys uring_sys_real = {
    .entries = 512,
    .completions = 4096,
    .buffers = 256,
    .buffer_bytes = 8192,
    .sysctl = "/proc/sys/kernel/io_uring_disabled",
    .setup = io_uring_queue_init_params,
    .has_op = io_uring_opcode_supported,
    .enter = enter_ring,
    .submit = io_uring_submit,
};

/* --- making -------------------------------------------------------------------------------------
 */

static int say(char why[URING_WHY_MAX], int error, const char *text)
{
    (void)snprintf(why, URING_WHY_MAX, "%s", text);
    return -error;
}

static bool is_disabled(const struct uring_sys *uring)
{
    FILE *f = fopen(uring->sysctl, "re");
    int value = f == NULL ? EOF : fgetc(f);

    if (f != NULL) {
        (void)fclose(f); /* nothing was written */
    }
    return value == '1' || value == '2';
}

static int explain(const struct uring_sys *uring, int error, char why[URING_WHY_MAX])
{
    switch (error) {
    case EPERM:
    case EACCES:
        return say(why, error,
                   is_disabled(uring) ? "the sysctl kernel.io_uring_disabled forbids it"
                                      : "a sandbox forbids it");
    case ENOSYS:
        return say(why, error, "the kernel has no io_uring, or a sandbox hides it");
    case EINVAL:
        return say(why, error, "the kernel is too old, Linux 6.0 has what is needed");
    default:
        return say(why, error, strerror(error));
    }
}

static int set_up(struct uring_backend *u, unsigned flags)
{
    struct io_uring_params params = {
        .flags = flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
        .cq_entries = u->uring->completions,
    };

    return u->uring->setup(u->uring->entries, &u->ring, &params);
}

/* SEND_ZC is not used: it came with the kernel that has recv of more than one shot, which no probe
 * tells. */
static int check_kernel(struct uring_backend *u, char why[URING_WHY_MAX])
{
    static const struct {
        int op;
        const char *missing;
    } ops[] = {
        {IORING_OP_SEND_ZC, "the kernel is too old, it lacks multishot recv (Linux 6.0)"},
        {IORING_OP_MSG_RING, "the kernel lacks IORING_OP_MSG_RING"},
        {IORING_OP_ASYNC_CANCEL, "the kernel lacks IORING_OP_ASYNC_CANCEL"},
        {IORING_OP_ACCEPT, "the kernel lacks IORING_OP_ACCEPT"},
        {IORING_OP_CONNECT, "the kernel lacks IORING_OP_CONNECT"},
        {IORING_OP_POLL_ADD, "the kernel lacks IORING_OP_POLL_ADD"},
        {IORING_OP_SENDMSG, "the kernel lacks IORING_OP_SENDMSG"},
        {IORING_OP_TIMEOUT, "the kernel lacks IORING_OP_TIMEOUT"},
    };
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                              IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
    struct io_uring_probe *probe;
    const char *missing = NULL;
    int rv;

    if ((u->ring.features & features) != features) {
        return say(why, EOPNOTSUPP, "the kernel is too old, it lacks features of io_uring");
    }
    probe = calloc(1, sizeof(*probe) + PROBE_OPS * sizeof(probe->ops[0]));
    if (probe == NULL) {
        return explain(u->uring, ENOMEM, why);
    }
    rv = io_uring_register_probe(&u->ring, probe, PROBE_OPS);
    if (rv < 0) {
        free(probe);
        return explain(u->uring, -rv, why);
    }
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && missing == NULL; i++) {
        missing = u->uring->has_op(probe, ops[i].op) ? NULL : ops[i].missing;
    }
    free(probe);
    return missing == NULL ? 0 : say(why, EOPNOTSUPP, missing);
}

static int make_buffers(struct uring_backend *u, char why[URING_WHY_MAX])
{
    const unsigned count = u->uring->buffers;
    size_t ring_bytes = (count * sizeof(struct io_uring_buf) + 4095) & ~(size_t)4095;
    struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = BUFFER_GROUP};
    void *memory;
    int rv;

    u->held = calloc(count, sizeof(*u->held));
    if (u->held == NULL) {
        return explain(u->uring, ENOMEM, why);
    }
    /* Memory that was never received into costs nothing. */
    memory = mmap(NULL, ring_bytes + (size_t)count * u->uring->buffer_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return explain(u->uring, errno, why);
    }
    u->buf_ring = memory;
    u->buffers = (char *)memory + ring_bytes;
    u->mapped_bytes = ring_bytes + (size_t)count * u->uring->buffer_bytes;
    reg.ring_addr = (unsigned long)(uintptr_t)memory;
    rv = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rv < 0) {
        return explain(u->uring, -rv, why);
    }
    io_uring_buf_ring_init(u->buf_ring);
    for (unsigned i = 0; i < count; i++) {
        u->held[i].data = u->buffers + (size_t)i * u->uring->buffer_bytes;
        u->held[i].lease.over = uring_on_lease_over;
        u->held[i].uring = u;
    }
    uring_lend_more(u);
    return 0;
}

struct uring_backend *uring_open(const struct loop_sys *sys, char why[URING_WHY_MAX])
{
    struct uring_backend *u = calloc(1, sizeof(*u));
    int rv;

    if (u == NULL) {
        (void)explain(&uring_sys_real, ENOMEM, why);
        errno = ENOMEM;
        return NULL;
    }
    u->base.ops = &backend_uring;
    u->sys = sys;
    u->uring = sys->uring == NULL ? &uring_sys_real : sys->uring;
    u->ring.ring_fd = -1;
    u->alarm_us = UINT64_MAX;
    rv = set_up(u, IORING_SETUP_DEFER_TASKRUN);
    if (rv == -EINVAL) {
        rv = set_up(u, IORING_SETUP_COOP_TASKRUN); /* Linux 6.0 */
    }
    if (rv < 0) {
        u->ring.ring_fd = -1;
        rv = explain(u->uring, -rv, why);
    } else {
        rv = check_kernel(u, why);
    }
    if (rv == 0) {
        rv = make_buffers(u, why);
    }
    if (rv < 0) {
        uring_free(u);
        errno = -rv;
        return NULL;
    }
    return u;
}

void uring_free(struct uring_backend *u)
{
    if (u->ring.ring_fd >= 0) {
        if (!uring_is_ours(u)) {
            /* Registered descriptors are a thread's: that number is another ring's in this one. */
            u->ring.enter_ring_fd = u->ring.ring_fd;
            u->ring.int_flags = 0;
        }
        io_uring_queue_exit(&u->ring);
    }
    if (u->buf_ring != NULL) {
        (void)munmap(u->buf_ring, u->mapped_bytes);
    }
    free(u->held);
    free(u->bells);
    free(u);
}

bool uring_probe(const struct uring_sys *uring, char why[URING_WHY_MAX])
{
    struct loop_sys sys = loop_sys_real;
    struct uring_backend *u;

    sys.uring = uring;
    u = uring_open(&sys, why);
    if (u != NULL) {
        uring_free(u);
    }
    return u != NULL;
}

/* --- using --------------------------------------------------------------------------------------
 */

bool uring_is_ours(const struct uring_backend *u)
{
    return !atomic_load_explicit(&u->enabled, memory_order_relaxed) ||
           pthread_equal(u->owner, pthread_self()) != 0;
}

void uring_enable(struct uring_backend *u)
{
    int rv;

    if (atomic_load_explicit(&u->enabled, memory_order_relaxed)) {
        return;
    }
    /* liburing 2.3 forgets to export its own call for this. */
    rv = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    ASSERT(rv >= 0); /* it was made disabled */
    u->owner = pthread_self();
    (void)io_uring_register_ring_fd(&u->ring); /* saves the look-up of the descriptor */
    atomic_store_explicit(&u->enabled, true, memory_order_release);
}

static void after_submit(struct uring_backend *u)
{
    if (io_uring_sq_ready(&u->ring) == 0) {
        u->send_count = 0;
        u->iov_count = 0;
        u->connect_count = 0;
    }
}

int uring_enter(struct uring_backend *u, uint64_t timeout_us)
{
    int rv;

    uring_enable(u);
    rv = u->uring->enter(&u->ring, timeout_us);
    after_submit(u);
    return rv;
}

void uring_submit(struct uring_backend *u)
{
    uring_enable(u);
    /* What could not be submitted stays queued, and the next turn tries again. */
    (void)u->uring->submit(&u->ring);
    after_submit(u);
}

struct io_uring_sqe *uring_sqe(struct uring_backend *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    if (sqe == NULL && uring_is_ours(u)) {
        uring_submit(u);
        sqe = io_uring_get_sqe(&u->ring);
    }
    return sqe;
}

void uring_arm(struct uring_backend *u, struct io *io, enum uring_op op, struct io_uring_sqe *sqe)
{
    ASSERT(!uring_is_armed(io, op));
    io->armed |= (uint8_t)(1U << op);
    u->in_flight++;
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)io | op);
}

void uring_give_back(struct uring_backend *u, unsigned id)
{
    io_uring_buf_ring_add(u->buf_ring, u->held[id].data, u->uring->buffer_bytes, (unsigned short)id,
                          io_uring_buf_ring_mask(u->uring->buffers), 0);
    io_uring_buf_ring_advance(u->buf_ring, 1);
}

/* The kernel takes them in turn, so that all it has are touched: few stay in the cache. */
void uring_lend_more(struct uring_backend *u)
{
    unsigned wanted = u->lent == 0 ? FIRST_BUFFERS : 2 * u->lent;

    while (u->lent < wanted && u->lent < u->uring->buffers) {
        uring_give_back(u, u->lent++);
    }
}
