/* SPDX-License-Identifier: Apache-2.0 */
#include "load/watch.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void add_switches(pid_t pid, const char *task, struct watch_sample *out)
{
    char path[64], line[256];
    uint64_t n;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", (int)pid, task);
    f = fopen(path, "re");
    if (f == NULL) {
        return; /* the thread has ended */
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &n) == 1) {
            out->switches_voluntary += n;
        } else if (sscanf(line, "nonvoluntary_ctxt_switches: %" SCNu64, &n) == 1) {
            out->switches_involuntary += n;
        }
    }
    (void)fclose(f);
}

static bool add_threads(pid_t pid, struct watch_sample *out)
{
    struct dirent *entry;
    char path[64];
    DIR *dir;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            add_switches(pid, entry->d_name, out);
        }
    }
    (void)closedir(dir);
    return true;
}

static bool add_cpu(pid_t pid, struct watch_sample *out)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
        return false;
    }
    out->cpu_ns += (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    return true;
}

/* The first line that begins with `prefix`. */
static bool read_line(const char *path, const char *prefix, char line[256])
{
    FILE *f = fopen(path, "re");
    bool found = false;

    while (f != NULL && !found && fgets(line, 256, f) != NULL) {
        found = strncmp(line, prefix, strlen(prefix)) == 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return found;
}

bool watch_read(const pid_t *pids, size_t count, struct watch_sample *out)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), pages, kib;
    char path[64], line[256];

    *out = (struct watch_sample){0};
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pids[i]);
        if (!add_cpu(pids[i], out) || !add_threads(pids[i], out) || !read_line(path, "", line) ||
            sscanf(line, "%*u %" SCNu64, &pages) != 1) {
            return false;
        }
        out->rss_bytes += pages * page_bytes;
    }
    if (read_line("/proc/meminfo", "Slab:", line) && sscanf(line, "Slab: %" SCNu64, &kib) == 1) {
        out->kernel_bytes = kib * 1024;
    }
    if (read_line("/proc/net/sockstat", "TCP:", line) &&
        sscanf(line, "TCP: inuse %*u orphan %*u tw %*u alloc %*u mem %" SCNu64, &pages) == 1) {
        out->kernel_bytes += pages * page_bytes;
    }
    return true;
}
