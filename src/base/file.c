/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_fail(struct err *e, const char *path)
{
    return err_set(e, MCP_EARGUMENT, "%.150s: %s", path, strerror(errno));
}

int file_make_folders(char *path, struct err *e)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int rc;

        *slash = '\0';
        rc = mkdir(path, 0700) != 0 && errno != EEXIST ? file_fail(e, path) : MCP_OK;
        *slash = '/';
        if (rc != MCP_OK) {
            return rc;
        }
    }
    return MCP_OK;
}

bool file_write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        text = n > 0 ? slice_skip(text, (size_t)n) : text;
    }
    return true;
}
