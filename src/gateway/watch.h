/* SPDX-License-Identifier: Apache-2.0 */
/* Has the configuration loaded anew when the file of further nodes (discovery.file) is another one
 * than was read with it. Looked at once a second by a helper thread, as notices of changes do not
 * come from every file system. The main reactor's thread only. */
#ifndef MCP_GATEWAY_WATCH_H
#define MCP_GATEWAY_WATCH_H

struct gateway;
struct watch;

/* Start-up; the gateway's configuration and reload are there. */
struct watch *watch_new(struct gateway *g);
/* Before the reload goes. */
void watch_free(struct watch **w);

#endif
