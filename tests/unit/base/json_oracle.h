/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what the scanner reads in a text with what yyjson reads. Shared by the unit test and the
 * fuzz target. */
#ifndef MCP_TESTS_UNIT_BASE_JSON_ORACLE_H
#define MCP_TESTS_UNIT_BASE_JSON_ORACLE_H

#include "base/slice.h"

/* NULL where both read the same, else what differs. */
const char *json_oracle_difference(struct slice text);

#endif
