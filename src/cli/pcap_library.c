/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pcap_library.h"

#include <dlfcn.h>
#include <string.h>

/* POSIX gives functions as data pointers. */
static bool find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);

    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

const struct pcap_library *pcap_library(struct err *e)
{
    static struct pcap_library functions;
    void *library = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL || !find(library, "pcap_fopen_offline", &functions.fopen_offline) ||
        !find(library, "pcap_next_ex", &functions.next_ex) ||
        !find(library, "pcap_datalink", &functions.datalink) ||
        !find(library, "pcap_geterr", &functions.geterr) ||
        !find(library, "pcap_close", &functions.close)) {
        (void)err_set(e, MCP_EARGUMENT,
                      "a capture is read by libpcap, which is missing: "
                      "apt-get install libpcap0.8");
        return NULL;
    }
    return &functions;
}
