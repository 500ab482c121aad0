/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a test leaves descriptors open: fds_remember in its set-up, fds_check in its teardown. */
#ifndef MCP_TESTS_LIB_FDS_H
#define MCP_TESTS_LIB_FDS_H

void fds_remember(void);
/* Fails unless as many are open as were. */
void fds_check(void);

#endif
