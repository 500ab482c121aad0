/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "obs/line.h"
#include "obs/logfmt.h"

static int log_fd = -1;
static char *log_path; /* NULL: stderr, or off */

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static bool is_file(const char *path)
{
    return path != NULL && strcmp(path, "off") != 0;
}

static int refuse(const char *path, int error, struct err *e)
{
    return err_set(e, MCP_EARGUMENT, "access log %s: %s", path, strerror(error));
}

/* 0, or why a file could not be made at that path. */
static int check_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = xstrdup(slash == NULL ? "." : path);
    int error;

    if (slash != NULL) {
        folder[slash - path + 1] = '\0';
    }
    error = access(folder, W_OK | X_OK) == 0 ? 0 : errno;
    free(folder);
    return error;
}

int access_log_check(const char *path, struct err *e)
{
    struct stat st;
    int error = 0;

    if (!is_file(path)) {
        return MCP_OK;
    }
    if (stat(path, &st) < 0) {
        error = errno == ENOENT ? check_folder(path) : errno;
    } else if (S_ISDIR(st.st_mode)) {
        error = EISDIR;
    } else if (access(path, W_OK) < 0) {
        error = errno;
    }
    return error == 0 ? MCP_OK : refuse(path, error, e);
}

int access_log_open(const char *path, struct err *e)
{
    if (path == NULL) {
        log_fd = STDERR_FILENO;
        return MCP_OK;
    }
    if (strcmp(path, "off") == 0) {
        log_fd = -1;
        return MCP_OK;
    }
    log_fd = open_file(path);
    if (log_fd < 0) {
        return refuse(path, errno, e);
    }
    log_path = xstrdup(path);
    return MCP_OK;
}

void access_log_reopen(void)
{
    int fd;

    if (log_path == NULL) {
        return;
    }
    fd = open_file(log_path);
    if (fd >= 0) {
        /* In its place at once: other threads write meanwhile. */
        (void)dup3(fd, log_fd, O_CLOEXEC);
        (void)close(fd); /* written line by line: nothing is lost */
    }
}

void access_log_close(void)
{
    if (log_path != NULL) {
        (void)close(log_fd); /* written line by line: nothing is lost */
        free(log_path);
        log_path = NULL;
    }
    log_fd = -1;
}

void access_log_write(const struct access_record *r)
{
    struct buf line = {0};

    if (log_fd < 0) {
        return;
    }
    buf_append_str(&line, "ts=");
    logfmt_time(&line, r->wall_us);
    buf_append_str(&line, " event=exchange");
    logfmt_pair(&line, "id", slice_str(r->id));
    logfmt_pair(&line, "face", slice_str(r->face));
    logfmt_pair(&line, "client", slice_str(r->client));
    logfmt_pair(&line, "key", slice_str(r->key));
    logfmt_pair(&line, "op", slice_str(r->op));
    logfmt_pair(&line, "path", r->path);
    logfmt_pair(&line, "model", r->model);
    logfmt_pair(&line, "node", slice_str(r->node));
    logfmt_pair(&line, "code", slice_str(r->code));
    logfmt_number(&line, "status", r->status);
    logfmt_number(&line, "parts", r->parts);
    logfmt_number(&line, "bytes_in", r->bytes_in);
    logfmt_number(&line, "bytes_out", r->bytes_out);
    logfmt_number(&line, "first_us", r->first_part_us);
    logfmt_number(&line, "total_us", r->total_us);
    buf_append_byte(&line, '\n');
    line_write(log_fd, &line);
    buf_fini(&line);
}
