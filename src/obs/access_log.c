/* SPDX-License-Identifier: Apache-2.0 */
#include "obs/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "obs/line.h"
#include "obs/logfmt.h"

static int log_fd = -1; /* set before there are other threads */
static _Atomic bool log_on;
static char *log_path; /* NULL: stderr, or off */
static _Thread_local struct buf line;
static _Thread_local struct buf pending; /* lines to be written in one piece */

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
    char *folder = slice_dup(slice_str(slash == NULL ? "." : path));
    int error;

    if (folder == NULL) {
        return ENOMEM;
    }
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

/* `log_fd` from now on is what `fd` is, which goes. One descriptor stands for the log as long as it
 * is open, whatever it leads to: other threads write to it meanwhile. */
static void use_fd(int fd)
{
    if (log_fd < 0) {
        log_fd = fd;
        return;
    }
    (void)dup3(fd, log_fd, O_CLOEXEC);
    (void)close(fd); /* written line by line: nothing is lost */
}

int access_log_prepare(const char *path, struct access_log_next *next, struct err *e)
{
    bool off = path != NULL && !is_file(path);

    *next = (struct access_log_next){.fd = -1, .on = !off};
    if (is_file(path)) {
        next->path = slice_dup(slice_str(path));
        if (next->path == NULL) {
            return err_set(e, MCP_ENOMEM, "out of memory");
        }
    }
    next->fd = path == NULL ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
                            : open_file(off ? "/dev/null" : path);
    if (next->fd < 0) {
        (void)refuse(path == NULL ? "stderr" : path, errno, e);
        access_log_drop(next);
        return MCP_EARGUMENT;
    }
    return MCP_OK;
}

void access_log_use(struct access_log_next *next)
{
    access_log_flush();
    use_fd(next->fd);
    free(log_path);
    log_path = next->path;
    atomic_store(&log_on, next->on);
    *next = (struct access_log_next){.fd = -1};
}

void access_log_drop(struct access_log_next *next)
{
    if (next->fd >= 0) {
        (void)close(next->fd); /* nothing was written */
    }
    free(next->path);
    *next = (struct access_log_next){.fd = -1};
}

int access_log_open(const char *path, struct err *e)
{
    struct access_log_next next;
    int rv = access_log_prepare(path, &next, e);

    if (rv == MCP_OK) {
        access_log_use(&next);
    }
    return rv;
}

static void log_not_opened(int error)
{
    struct buf pairs = {0};

    if (logfmt_pair(&pairs, "path", slice_str(log_path)) &&
        logfmt_pair(&pairs, "why", slice_str(strerror(error))) && buf_append_byte(&pairs, '\0')) {
        LOG_ERROR("access_log_failed", "%s", buf_slice(&pairs).ptr + strlen(" "));
    }
    buf_fini(&pairs);
}

void access_log_reopen(void)
{
    int fd;

    if (log_path == NULL) {
        return;
    }
    access_log_flush();
    fd = open_file(log_path);
    if (fd >= 0) {
        use_fd(fd);
    } else {
        log_not_opened(errno);
    }
}

void access_log_close(void)
{
    access_log_release();
    atomic_store(&log_on, false);
    if (log_fd >= 0) {
        (void)close(log_fd); /* written line by line: nothing is lost */
        log_fd = -1;
    }
    free(log_path);
    log_path = NULL;
}

static void append_line(struct buf *out, const struct access_record *r)
{
    buf_append(out, SLICE("ts="));
    logfmt_time(out, r->wall_us);
    buf_append(out, SLICE(" event=exchange"));
    logfmt_pair(out, "id", slice_str(r->id));
    logfmt_pair(out, "face", slice_str(r->face));
    logfmt_pair(out, "client", slice_str(r->client));
    logfmt_pair(out, "key", slice_str(r->key));
    logfmt_pair(out, "op", slice_str(r->op));
    logfmt_pair(out, "path", r->path);
    logfmt_pair(out, "model", r->model);
    logfmt_pair(out, "node", slice_str(r->node));
    logfmt_pair(out, "code", slice_str(r->code));
    logfmt_number(out, "status", r->status);
    logfmt_number(out, "parts", r->parts);
    logfmt_number(out, "bytes_in", r->bytes_in);
    logfmt_number(out, "bytes_out", r->bytes_out);
    logfmt_number(out, "queue_us", r->queue_us);
    logfmt_number(out, "first_us", r->first_part_us);
    logfmt_number(out, "total_us", r->total_us);
    buf_append_byte(out, '\n');
}

void access_log_write(const struct access_record *r)
{
    if (!atomic_load_explicit(&log_on, memory_order_relaxed)) {
        return;
    }
    buf_clear(&line);
    append_line(&line, r);
    if (buf_len(&pending) + buf_len(&line) > PIPE_BUF) {
        access_log_flush();
    }
    if (buf_failed(&line) || !buf_append(&pending, buf_slice(&line))) {
        access_log_flush();
        line_write(log_fd, &line); /* or counts it as dropped */
    }
}

void access_log_flush(void)
{
    if (buf_len(&pending) > 0) {
        lines_write(log_fd, buf_slice(&pending));
    }
    buf_clear(&pending);
}

void access_log_release(void)
{
    access_log_flush();
    buf_fini(&pending);
    buf_fini(&line);
}
