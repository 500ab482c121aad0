/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/process.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/banner.h"
#include "gateway/gateway.h"
#include "gateway/reload.h"
#include "obs/access_log.h"
#include "obs/log_sink.h"

struct process {
    struct gateway gateway;
    const char *backend;
    int terminal; /* of the descriptors it was started with one that was a terminal; -1: none */
};

/* Each connection needs a descriptor, and a default soft limit of 1,024 is soon reached. */
static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            LOG_WARN("open_files", "limit=unchanged");
        }
    }
}

static int64_t running(const struct gateway *g)
{
    int64_t sum = counter_get(&g->counters, COUNTER_EXCHANGES_RUNNING);

    for (size_t i = 0; i < g->sub_count; i++) {
        sum += counter_get(&g->subs[i].counters, COUNTER_EXCHANGES_RUNNING);
    }
    return sum;
}

static void on_stopped(void *owner)
{
    struct gateway *g = owner;

    loop_stop(g->loop);
}

static void on_terminate(void *owner)
{
    struct gateway *g = owner;

    if (!g->draining) {
        LOG_INFO("drain", "exchanges=%" PRId64, running(g));
    }
    gateway_stop(g, on_stopped, g);
}

static void on_reopen(void *owner)
{
    (void)owner;
    access_log_reopen();
}

/* From the shell it was started by, when the terminal goes; from everybody else, as nginx and
 * HAProxy take it. As with nginx, the log is opened anew too, even where the configuration is
 * wrong.
 */
static void on_hangup(void *owner)
{
    struct process *p = owner;

    if (p->terminal >= 0 && !isatty(p->terminal)) {
        on_terminate(&p->gateway);
    } else {
        access_log_reopen();
        reload_ask(p->gateway.reload, NULL);
    }
}

static bool watch_signals(struct process *p, struct loop *loop)
{
    struct gateway *g = &p->gateway;

    (void)signal(SIGPIPE, SIG_IGN); /* writes say EPIPE themselves */
    return loop_signal(loop, SIGTERM, on_terminate, g) == 0 &&
           loop_signal(loop, SIGINT, on_terminate, g) == 0 &&
           loop_signal(loop, SIGHUP, on_hangup, p) == 0 &&
           loop_signal(loop, SIGUSR1, on_reopen, g) == 0;
}

static int serve(struct process *p, struct config *config, const struct config_args *args,
                 struct loop *loop, const char *why)
{
    struct gateway *g = &p->gateway;
    struct err e = {0};
    int rv;

    /* Before there are threads, which inherit what is blocked. */
    if (!watch_signals(p, loop)) {
        (void)fprintf(stderr, "mcpgate: signals cannot be watched\n");
        return 1;
    }
    rv = gateway_open(g, config, args, loop, &e);
    if (rv != 0) {
        (void)fprintf(stderr, "mcpgate: %s\n", e.text);
    } else {
        g->banner_due = true;
        banner_listening(g);
        LOG_INFO("backend", "name=%s why=\"%s\"", p->backend, why);
        gateway_start(g);
        loop_run(loop);
        LOG_INFO("stopped", "reason=signal");
    }
    gateway_close(g);
    return rv;
}

static int terminal(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (isatty(fd)) {
            return fd;
        }
    }
    return -1;
}

int process_run(struct config *config, const struct config_args *args)
{
    char why[LOOP_WHY_MAX];
    struct process p = {.terminal = terminal(), .backend = loop_choose(config->backend, why)};
    struct loop *loop;
    int rv;

    if (p.backend == NULL) {
        (void)fprintf(stderr, "mcpgate: %s; use --backend auto or reactor.backend\n", why);
        return 1;
    }
    log_sink_open(config->log_level);
    raise_open_files();
    loop = loop_new();
    if (loop == NULL) {
        (void)fprintf(stderr, "mcpgate: the kernel gives no event loop\n");
        return 1;
    }
    rv = serve(&p, config, args, loop, why);
    loop_free(&loop);
    return rv;
}
