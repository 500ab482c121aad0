/* SPDX-License-Identifier: Apache-2.0 */
/* libpcap, loaded when a capture is to be read: on Debian it brings along D-Bus, systemd and their
 * libraries, which would be in the memory of every gateway and treble the time it needs to start.
 */
#ifndef MCP_CLI_PCAP_LIBRARY_H
#define MCP_CLI_PCAP_LIBRARY_H

#include <pcap/pcap.h>
#include <stdio.h>

#include "base/err.h"

/* The functions of that name. */
struct pcap_library {
    pcap_t *(*fopen_offline)(FILE *file, char *why);
    int (*next_ex)(pcap_t *p, struct pcap_pkthdr **header, const u_char **data);
    int (*datalink)(pcap_t *p);
    char *(*geterr)(pcap_t *p);
    void (*close)(pcap_t *p);
};

/* For the rest of the process. NULL: it is not installed. */
const struct pcap_library *pcap_library(struct err *e);

#endif
