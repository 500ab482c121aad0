/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/text.h"
#include "mcp/error.h"

char *cli_state_path(const char *name, struct err *e)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path;
    int len;

    if (state != NULL && state[0] == '/') { /* a relative one does not count */
        len = asprintf(&path, "%s/mcpgate/%s", state, name);
    } else if (home != NULL && home[0] == '/') {
        len = asprintf(&path, "%s/.local/state/mcpgate/%s", home, name);
    } else {
        (void)err_set(e, MCP_EARGUMENT, "neither XDG_STATE_HOME nor HOME names a folder");
        return NULL;
    }
    if (len < 0) {
        cli_no_memory();
    }
    if (file_make_folders(path, e) != MCP_OK) {
        free(path);
        return NULL;
    }
    return path;
}

static int read_all(int fd, const char *path, size_t most, struct buf *out, struct err *e)
{
    struct stat st;
    size_t left;

    if (fstat(fd, &st) != 0) {
        return file_fail(e, path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, MCP_EARGUMENT, "%s: not a file", path);
    }
    if (st.st_size > (off_t)most) {
        return err_set(e, MCP_EARGUMENT, "%s: larger than %zu bytes", path, most);
    }
    for (left = (size_t)st.st_size; left > 0;) {
        char *at = buf_reserve(out, left);
        ssize_t n;

        if (at == NULL) {
            cli_no_memory();
        }
        n = read(fd, at, left);
        if (n < 0 && errno != EINTR) {
            return file_fail(e, path);
        }
        if (n == 0) {
            break; /* it has shrunk */
        }
        if (n > 0) {
            buf_commit(out, (size_t)n);
            left -= (size_t)n;
        }
    }
    return MCP_OK;
}

int cli_state_read(const char *path, size_t most, struct buf *out, struct err *e)
{
    /* Nonblocking, as opening a pipe could wait for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int rc;

    if (fd < 0) {
        return file_fail(e, path);
    }
    rc = read_all(fd, path, most, out, e);
    (void)close(fd); /* was only read */
    return rc;
}

int cli_state_write(const char *path, struct slice text, struct err *e)
{
    char *draft;
    int fd, rc = MCP_OK;
    bool ok;

    if (asprintf(&draft, "%s.XXXXXX", path) < 0) {
        cli_no_memory();
    }
    fd = mkostemp(draft, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        rc = file_fail(e, path);
        free(draft);
        return rc;
    }
    ok = file_write_all(fd, text);
    ok = close(fd) == 0 && ok;
    if (!ok || rename(draft, path) != 0) {
        rc = file_fail(e, path);
        (void)unlink(draft); /* nothing more can be done */
    }
    free(draft);
    return rc;
}
