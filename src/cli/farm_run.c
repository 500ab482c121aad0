/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/farm_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 20000, WARM_UP_OF = 10, POLL_S = 5 };

static const double PROGRESS_EACH_S = 0.2;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

void cli_farm_watch_interrupt(void)
{
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL);
}

bool cli_farm_interrupted(void)
{
    return interrupted != 0;
}

/* --- a run ------------------------------------------------------------------------------------ */

static double now_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct progress {
    bool shown; /* standard error is a terminal */
    const char *name;
    double from_s, last_s;
};

static void show_progress(struct progress *p, const struct farm_totals *totals,
                          const struct cli_farm *o)
{
    double now = now_s();

    if (p->shown && now - p->last_s >= PROGRESS_EACH_S) {
        p->last_s = now;
        (void)fprintf(stderr, "\r\033[K%s: %.0f %% (%" PRIu64 " of %lu requests, %.0f s)", p->name,
                      100.0 * (double)totals->ended / (double)o->requests, totals->ended,
                      o->requests, now - p->from_s);
    }
}

static void end_progress(const struct progress *p)
{
    if (p->shown && p->last_s > p->from_s) {
        (void)fputs("\r\033[K", stderr);
    }
}

static struct sched_limits limits_of(const struct cli_farm *o)
{
    struct sched_limits limits = sched_limits_default();

    /* Whatever waits is let wait, as it is at the nodes under the other policies. */
    limits.queue_jobs = limits.queue_jobs_all = limits.queue_bytes = UINT64_MAX / 2;
    limits.min_resident_us = (uint64_t)o->min_resident_us;
    limits.max_load_wait_us = (uint64_t)o->max_load_wait_us;
    return limits;
}

static void run_farm(struct farm *f, const struct cli_farm *o, const char *name,
                     struct cli_farm_result *out)
{
    struct progress p = {.shown = isatty(STDERR_FILENO), .name = name, .from_s = now_s()};

    p.last_s = p.from_s;
    do {
        out->whole = !farm_run(f, EVENTS_AT_ONCE);
        farm_totals(f, &out->totals);
        show_progress(&p, &out->totals, o);
    } while (!out->whole && !cli_farm_interrupted());
    end_progress(&p);
    farm_report_settle(&out->report, f);
}

void cli_farm_run(const struct cli_farm *o, const struct farm_node *nodes, size_t node_count,
                  enum farm_policy policy, const char *name, struct cli_farm_result *out)
{
    struct farm_trace_source source = {.trace = o->trace, .speed = o->speed};
    struct farm_arrivals *arrivals = o->trace == NULL ? farm_arrivals_new(&o->load) : NULL;
    struct farm_options options = {
        .models = o->model_list,
        .model_count = o->model_count,
        .nodes = nodes,
        .node_count = node_count,
        .warm = !o->cold,
        .policy = policy,
        .limits = limits_of(o),
        .poll_us = (uint64_t)POLL_S * 1000 * 1000,
        .seed = o->seed,
        .next = o->trace == NULL ? farm_arrivals_next : farm_trace_next,
        .next_owner = o->trace == NULL ? (void *)arrivals : (void *)&source,
        .watch = farm_report_watch,
        .watch_owner = &out->report,
    };
    struct farm *f;

    *out = (struct cli_farm_result){.policy = policy};
    out->report.warm_up = o->requests / WARM_UP_OF;
    out->report.node_count = node_count;
    out->report.model_count = o->model_count;
    out->report.tenant_count = o->tenant_count;
    farm_report_init(&out->report);
    f = farm_new(&options);
    run_farm(f, o, name, out);
    farm_free(&f);
    farm_arrivals_free(&arrivals);
}

void cli_farm_result_fini(struct cli_farm_result *r)
{
    farm_report_fini(&r->report);
}

void cli_farm_cell(struct cli_table *t, const char *fmt, ...)
{
    char text[CLI_FORMAT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    cli_table_add(t, slice_str(text));
}

/* --- what is said of it ----------------------------------------------------------------------- */

void cli_farm_about(const struct cli_farm *o, struct buf *out)
{
    (void)buf_printf(out, "%lu requests of %zu tenant%s for %zu model%s at %.3g/s, %s %s",
                     o->requests, o->tenant_count, o->tenant_count == 1 ? "" : "s", o->model_count,
                     o->model_count == 1 ? "" : "s", cli_farm_per_s(o),
                     o->trace == NULL ? "seed" : "recorded in",
                     o->trace == NULL ? "" : o->trace_path);
    if (o->trace == NULL) {
        (void)buf_printf(out, "%lu", o->seed);
    }
}

void cli_farm_add_options(yyjson_mut_doc *doc, yyjson_mut_val *object, const struct cli_farm *o)
{
    (void)(yyjson_mut_obj_add_uint(doc, object, "requests", o->requests) &&
           yyjson_mut_obj_add_real(doc, object, "per_s", cli_farm_per_s(o)) &&
           yyjson_mut_obj_add_uint(doc, object, "tenants", o->tenant_count) &&
           yyjson_mut_obj_add_uint(doc, object, "models", o->model_count) &&
           yyjson_mut_obj_add_uint(doc, object, "seed", o->seed));
    if (o->trace != NULL) {
        (void)yyjson_mut_obj_add_str(doc, object, "trace", o->trace_path);
    }
}

static void add_times(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key,
                      const struct farm_histogram *h)
{
    static const struct {
        const char *key;
        double share;
    } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    yyjson_mut_val *times = yyjson_mut_obj_add_obj(doc, object, key);

    (void)yyjson_mut_obj_add_real(doc, times, "mean", farm_histogram_mean(h));
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        (void)yyjson_mut_obj_add_real(doc, times, shares[i].key,
                                      farm_histogram_quantile(h, shares[i].share));
    }
    (void)yyjson_mut_obj_add_uint(doc, times, "max", h->max);
}

void cli_farm_add_report(yyjson_mut_doc *doc, yyjson_mut_val *object,
                         const struct cli_farm_result *result)
{
    const struct farm_report *r = &result->report;
    double jain, apart, seconds = farm_report_seconds(r);
    bool fair = farm_report_fairness(r, &jain, &apart);

    (void)yyjson_mut_obj_add_bool(doc, object, "whole", result->whole);
    (void)yyjson_mut_obj_add_uint(doc, object, "counted", r->requests);
    (void)yyjson_mut_obj_add_uint(doc, object, "refused", r->refused);
    add_times(doc, object, "ttft_us", &r->first);
    add_times(doc, object, "wait_us", &r->wait);
    add_times(doc, object, "token_us", &r->between);
    add_times(doc, object, "latency_us", &r->whole);
    (void)(yyjson_mut_obj_add_real(doc, object, "simulated_s", seconds) &&
           yyjson_mut_obj_add_real(doc, object, "requests_per_s",
                                   seconds > 0 ? (double)r->first.count / seconds : 0) &&
           yyjson_mut_obj_add_uint(doc, object, "prompt_tokens", r->prompt_tokens) &&
           yyjson_mut_obj_add_uint(doc, object, "known_tokens", r->cached_tokens) &&
           yyjson_mut_obj_add_uint(doc, object, "answer_tokens", r->answer_tokens) &&
           yyjson_mut_obj_add_uint(doc, object, "loads", r->loads) &&
           yyjson_mut_obj_add_uint(doc, object, "evictions", r->evictions) &&
           yyjson_mut_obj_add_real(doc, object, "busiest_node", farm_report_busiest(r)));
    if (fair) {
        (void)(yyjson_mut_obj_add_real(doc, object, "fairness", jain) &&
               yyjson_mut_obj_add_real(doc, object, "most_apart", apart));
    } else {
        (void)(yyjson_mut_obj_add_null(doc, object, "fairness") &&
               yyjson_mut_obj_add_null(doc, object, "most_apart"));
    }
}

/* --- files ------------------------------------------------------------------------------------ */

static int write_file(const char *path, struct slice text)
{
    FILE *f = fopen(path, "we");
    bool written = f != NULL && fwrite(text.ptr, 1, text.len, f) == text.len;

    if (f == NULL || fclose(f) != 0 || !written) {
        cli_error("%s: %s", path, strerror(errno));
        return CLI_EXIT_FAILED;
    }
    return CLI_EXIT_OK;
}

int cli_farm_write_json(const struct cli_farm *o, yyjson_mut_doc *doc)
{
    size_t len;
    char *text;
    int rc = CLI_EXIT_OK;

    if (o->json_path == NULL) {
        return CLI_EXIT_OK;
    }
    text =
        yyjson_mut_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES | YYJSON_WRITE_NEWLINE_AT_END, &len);
    if (text == NULL) {
        cli_no_memory();
    }
    if (strcmp(o->json_path, "-") == 0) {
        (void)fwrite(text, 1, len, stdout);
    } else {
        rc = write_file(o->json_path, slice_of(text, len));
    }
    free(text);
    return rc;
}

int cli_farm_write_svg(const struct cli_farm *o, const struct buf *chart)
{
    if (buf_failed(chart)) {
        cli_no_memory();
    }
    return write_file(o->svg_path, buf_slice(chart));
}
