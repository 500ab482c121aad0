/* SPDX-License-Identifier: Apache-2.0 */
#include "seeds.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t running; /* 0: none */

/* Of the address sanitizer, where there is one. */
extern void __asan_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void say_seed(void)
{
    if (running != 0) {
        (void)fprintf(stderr, "failed: MCPGATE_SEED=%" PRIu64 "\n", running);
        running = 0;
    }
}

static void on_abort(int signo)
{
    (void)signo;
    say_seed(); /* the process is at its end: the worst is that this hangs */
}

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);

    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

bool seeds_replay(void)
{
    return number_of("MCPGATE_SEED") != 0;
}

void seeds_run(uint64_t count, void (*run)(uint64_t seed))
{
    uint64_t only = number_of("MCPGATE_SEED");
    uint64_t more = number_of("MCPGATE_SEEDS");

    (void)signal(SIGABRT, on_abort);
    if (__asan_set_death_callback != NULL) {
        __asan_set_death_callback(say_seed);
    }
    count = more != 0 ? more : count;
    for (uint64_t i = 1; i <= count; i++) {
        running = only != 0 ? only : i;
        run(running);
        if (only != 0) {
            break;
        }
    }
    running = 0;
}

int seeds_teardown(void **state)
{
    (void)state;
    say_seed();
    return 0;
}
