/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/recorder.h"

#include <inttypes.h>
#include <sys/random.h>

#include "base/counter.h"
#include "base/err.h"

void recorder_init(struct recorder *r, struct loop *loop)
{
    *r = (struct recorder){.loop = loop};
    buf_init(&r->lines, RECORDER_LINES_MAX);
    (void)pthread_mutex_init(&r->lock, NULL); /* cannot fail for a default mutex */
}

void recorder_fini(struct recorder *r)
{
    buf_fini(&r->lines);
    (void)pthread_mutex_destroy(&r->lock); /* nobody holds it any more */
}

bool recorder_begin(struct recorder *r, loop_cb ready, void *owner)
{
    struct siphash_key key;

    /* Without a key that nobody knows there is no recording. */
    if (recorder_running(r) != 0 || getrandom(&key, sizeof(key), 0) != (ssize_t)sizeof(key)) {
        return false;
    }
    r->ready = ready;
    r->owner = owner;
    (void)pthread_mutex_lock(&r->lock);
    r->key = key;
    r->begun_us = loop_now_us(r->loop);
    (void)pthread_mutex_unlock(&r->lock);
    atomic_store(&r->running, ++r->last);
    return true;
}

void recorder_take(struct recorder *r, struct buf *out)
{
    (void)pthread_mutex_lock(&r->lock);
    buf_append(out, buf_slice(&r->lines));
    if (r->dropped > 0) {
        buf_printf(out, "{\"dropped\":%" PRIu64 "}\n", r->dropped);
        r->dropped = 0;
    }
    buf_fini(&r->lines);
    buf_init(&r->lines, RECORDER_LINES_MAX);
    (void)pthread_mutex_unlock(&r->lock);
}

void recorder_end(struct recorder *r)
{
    struct buf unread = {0};

    atomic_store(&r->running, 0);
    recorder_take(r, &unread);
    buf_fini(&unread);
    r->ready = NULL;
}

static void on_ready(void *owner)
{
    struct recorder *r = owner;

    (void)pthread_mutex_lock(&r->lock);
    r->posted = false;
    (void)pthread_mutex_unlock(&r->lock);
    if (r->ready != NULL) {
        r->ready(r->owner);
    }
}

bool recorder_terms(struct recorder *r, uint64_t recording, struct siphash_key *key,
                    uint64_t *begun_us)
{
    bool runs;

    (void)pthread_mutex_lock(&r->lock);
    runs = recorder_running(r) == recording;
    *key = r->key;
    *begun_us = r->begun_us;
    (void)pthread_mutex_unlock(&r->lock);
    return runs;
}

void recorder_put(struct recorder *r, uint64_t recording, struct slice line)
{
    bool fits;

    (void)pthread_mutex_lock(&r->lock);
    if (recorder_running(r) != recording) {
        (void)pthread_mutex_unlock(&r->lock);
        return;
    }
    /* The first that is dropped takes all behind it along, until somebody reads: one gap. */
    fits = r->dropped == 0 && buf_append(&r->lines, line);
    r->dropped += !fits;
    if (!r->posted) {
        r->posted = loop_post(r->loop, on_ready, r) == MCP_OK; /* without memory: with the next */
    }
    (void)pthread_mutex_unlock(&r->lock);
    counter_add(fits ? COUNTER_RECORDED : COUNTER_RECORD_DROPPED, 1);
}
