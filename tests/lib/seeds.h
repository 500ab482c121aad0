/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a test once per seed. Whatever ends it (an assertion, ASSERT, a sanitizer) says the seed;
 * MCPGATE_SEED=n runs only that one, MCPGATE_SEEDS=n the first n. */
#ifndef MCP_TESTS_SEEDS_H
#define MCP_TESTS_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

/* 1..count. */
void seeds_run(uint64_t count, void (*run)(uint64_t seed));
/* Only one seed was asked for: a test may say more. */
bool seeds_replay(void);
/* For seeds_teardown, the teardown of a test that uses seeds_run. */
int seeds_teardown(void **state);
#define SEEDS_TEST(f) cmocka_unit_test_setup_teardown(f, NULL, seeds_teardown)

#endif
