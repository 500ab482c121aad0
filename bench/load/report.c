/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <yyjson.h>

#include "load/load.h"

/* Tenths of a microsecond. */
static double us(uint64_t ns)
{
    return (double)((ns + 50) / 100) / 10;
}

static void add_hist(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *name,
                     const struct hist *h)
{
    yyjson_mut_val *o = yyjson_mut_obj(doc);

    (void)yyjson_mut_obj_add_uint(doc, o, "count", h->count);
    (void)yyjson_mut_obj_add_real(doc, o, "mean", us((uint64_t)hist_mean_ns(h)));
    (void)yyjson_mut_obj_add_real(doc, o, "p50", us(hist_quantile_ns(h, 0.5)));
    (void)yyjson_mut_obj_add_real(doc, o, "p90", us(hist_quantile_ns(h, 0.9)));
    (void)yyjson_mut_obj_add_real(doc, o, "p99", us(hist_quantile_ns(h, 0.99)));
    (void)yyjson_mut_obj_add_real(doc, o, "p99.9", us(hist_quantile_ns(h, 0.999)));
    (void)yyjson_mut_obj_add_real(doc, o, "max", us(h->max_ns));
    (void)yyjson_mut_obj_add_val(doc, root, name, o);
}

static void add_watched(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct load *l)
{
    const struct watch_sample *b = &l->before, *a = &l->after;
    yyjson_mut_val *o = yyjson_mut_obj(doc);

    (void)yyjson_mut_obj_add_uint(doc, o, "processes", l->o.pid_count);
    (void)yyjson_mut_obj_add_real(doc, o, "cpu_us", us(a->cpu_ns - b->cpu_ns));
    (void)yyjson_mut_obj_add_sint(doc, o, "switches_voluntary",
                                  (int64_t)(a->switches_voluntary - b->switches_voluntary));
    (void)yyjson_mut_obj_add_sint(doc, o, "switches_involuntary",
                                  (int64_t)(a->switches_involuntary - b->switches_involuntary));
    (void)yyjson_mut_obj_add_uint(doc, o, "rss_before_bytes", b->rss_bytes);
    (void)yyjson_mut_obj_add_uint(doc, o, "rss_bytes", a->rss_bytes);
    (void)yyjson_mut_obj_add_uint(doc, o, "kernel_before_bytes", b->kernel_bytes);
    (void)yyjson_mut_obj_add_uint(doc, o, "kernel_bytes", a->kernel_bytes);
    (void)yyjson_mut_obj_add_val(doc, root, "watched", o);
}

static void add_counts(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct load *l)
{
    const struct load_counts *n = l->counts;
    double seconds = l->begin_ns < l->end_ns ? (double)(l->end_ns - l->begin_ns) / 1e9 : 0;

    (void)yyjson_mut_obj_add_real(doc, root, "seconds", seconds);
    (void)yyjson_mut_obj_add_uint(doc, root, "requests", n->requests);
    (void)yyjson_mut_obj_add_uint(doc, root, "parts", n->parts);
    (void)yyjson_mut_obj_add_uint(doc, root, "bytes", n->bytes);
    (void)yyjson_mut_obj_add_uint(doc, root, "reads", n->reads);
    (void)yyjson_mut_obj_add_uint(doc, root, "aborted", n->aborted);
    (void)yyjson_mut_obj_add_uint(doc, root, "requests_all", l->requests_all);
    (void)yyjson_mut_obj_add_uint(doc, root, "errors", l->errors);
    (void)yyjson_mut_obj_add_str(doc, root, "first_error", l->first_error);
    if (!l->o.hold) {
        (void)yyjson_mut_obj_add_real(doc, root, "requests_per_s",
                                      seconds > 0 ? (double)n->requests / seconds : 0);
        (void)yyjson_mut_obj_add_real(doc, root, "own_cpu_us", us(l->own_cpu_ns));
    }
    add_hist(doc, root, "latency_us", &n->latency);
    add_hist(doc, root, "first_part_us", &n->first_part);
    add_hist(doc, root, "late_us", &n->late);
}

static void add_options(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct load_options *o)
{
    (void)yyjson_mut_obj_add_str(doc, root, "protocol", o->mcp ? "mcp" : "http");
    (void)yyjson_mut_obj_add_uint(doc, root, "connections", o->conns);
    (void)yyjson_mut_obj_add_uint(doc, root, "sessions", o->sessions);
    (void)yyjson_mut_obj_add_str(doc, root, "loop",
                                 o->hold             ? "hold"
                                 : o->rate_per_s > 0 ? "open"
                                                     : "closed");
    (void)yyjson_mut_obj_add_real(doc, root, "rate_per_s", o->rate_per_s);
    (void)yyjson_mut_obj_add_uint(doc, root, "parts_per_answer", o->parts == 0 ? 1 : o->parts);
}

bool load_report(const struct load *l)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    /* A server's bytes can stand in first_error. */
    yyjson_write_flag flags = YYJSON_WRITE_ALLOW_INVALID_UNICODE | YYJSON_WRITE_ESCAPE_UNICODE;
    char *text;
    bool ok;

    yyjson_mut_doc_set_root(doc, root);
    add_options(doc, root, &l->o);
    add_counts(doc, root, l);
    if (l->o.pid_count > 0) {
        add_watched(doc, root, l);
    }
    text = yyjson_mut_write(doc, flags, NULL);
    ok = text != NULL && puts(text) >= 0 && fflush(stdout) == 0;
    free(text);
    yyjson_mut_doc_free(doc);
    return ok;
}
