/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that were recorded (docs/recording.md), as a source for a farm. What a recording does
 * not say is filled in: four bytes are a token, and a request that was not answered would have been
 * answered at the mean length of its model. Pure; lines go in, requests come out. */
#ifndef MCP_FARM_TRACE_H
#define MCP_FARM_TRACE_H

#include "base/err.h"
#include "farm/farm.h"

struct farm_trace;

struct farm_trace *farm_trace_new(void);
void farm_trace_free(struct farm_trace **t);
/* A line without its end. Fails where it is no line of a recording. */
int farm_trace_add(struct farm_trace *t, struct slice line, struct err *e);
/* Behind the last line: sorts, and fills in. Fails where there are no requests. */
int farm_trace_ready(struct farm_trace *t, struct err *e);

size_t farm_trace_requests(const struct farm_trace *t);
uint64_t farm_trace_dropped(const struct farm_trace *t); /* that the recording lacks */
double farm_trace_seconds(const struct farm_trace *t);   /* between the first and the last */
size_t farm_trace_models(const struct farm_trace *t);
struct slice farm_trace_model(const struct farm_trace *t, size_t model); /* valid as long as `t` */
size_t farm_trace_tenants(const struct farm_trace *t);
/* Per request. */
void farm_trace_means(const struct farm_trace *t, double *prompt_tokens, double *answer_tokens);

/* One reading of it, from the beginning; so many times as fast as it was. */
struct farm_trace_source {
    const struct farm_trace *trace;
    double speed;
    size_t at;
};
/* A farm_next_fn; `owner` is a farm_trace_source. */
bool farm_trace_next(void *owner, struct farm_request *out);

#endif
