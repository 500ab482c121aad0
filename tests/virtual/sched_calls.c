/* SPDX-License-Identifier: Apache-2.0 */
#include "sched_calls.h"

#include "sched/sched.h"

struct sched_calls sched_calls;

enum sched_verdict __real_sched_arrive(struct sched *s, uint64_t now_us,
                                       const struct sched_job *job, struct sched_answer *out);
void __real_sched_leave(struct sched *s, uint64_t now_us, uint64_t ticket,
                        const struct sched_outcome *o);
void __real_sched_started(struct sched *s, uint64_t now_us, uint64_t ticket);
size_t __real_sched_take(struct sched *s, struct sched_decision *out, size_t most);
enum sched_verdict __wrap_sched_arrive(struct sched *s, uint64_t now_us,
                                       const struct sched_job *job, struct sched_answer *out);
void __wrap_sched_leave(struct sched *s, uint64_t now_us, uint64_t ticket,
                        const struct sched_outcome *o);
void __wrap_sched_started(struct sched *s, uint64_t now_us, uint64_t ticket);
size_t __wrap_sched_take(struct sched *s, struct sched_decision *out, size_t most);

enum sched_verdict __wrap_sched_arrive(struct sched *s, uint64_t now_us,
                                       const struct sched_job *job, struct sched_answer *out)
{
    enum sched_verdict v = __real_sched_arrive(s, now_us, job, out);

    sched_calls.arrive++;
    sched_calls.tickets += out->ticket != 0;
    return v;
}

void __wrap_sched_leave(struct sched *s, uint64_t now_us, uint64_t ticket,
                        const struct sched_outcome *o)
{
    sched_calls.leave++;
    __real_sched_leave(s, now_us, ticket, o);
}

void __wrap_sched_started(struct sched *s, uint64_t now_us, uint64_t ticket)
{
    sched_calls.started++;
    __real_sched_started(s, now_us, ticket);
}

size_t __wrap_sched_take(struct sched *s, struct sched_decision *out, size_t most)
{
    size_t count = __real_sched_take(s, out, most);

    for (size_t i = 0; i < count; i++) {
        sched_calls.refused += out[i].verdict != SCHED_GRANTED;
    }
    return count;
}
