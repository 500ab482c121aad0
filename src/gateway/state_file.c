/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { STATE_BYTES_MAX = 1 << 20 };

/* What a helper thread works with. It outlives the state_file when that is freed meanwhile. */
struct writing {
    struct state_file *file; /* NULL: nobody waits any more */
    char *path;
    char *text;
    struct err err;
    int rv;
};

struct state_file {
    struct loop *loop;
    char *path; /* NULL: nowhere */
    state_file_cb kept;
    void *owner;
    struct writing *running;
    char *next;          /* to be written; NULL: nothing */
    struct task refused; /* tells that nothing could be begun */
    const char *why_refused;
};

char *state_file_directory(const char *configured)
{
    const char *given = getenv("STATE_DIRECTORY");
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;

    if (configured != NULL) {
        return xstrdup(configured);
    }
    if (given != NULL && given[0] == '/') { /* systemd gives several, parted by colons */
        return slice_dup(slice_first(slice_str(given), strcspn(given, ":")));
    }
    if (state != NULL && state[0] == '/') { /* a relative one does not count */
        return asprintf(&path, "%s/mcpgate", state) < 0 ? NULL : path;
    }
    /* That of somebody else, after a change of user, is not ours to keep things in. */
    if (home != NULL && home[0] == '/' && access(home, W_OK | X_OK) == 0) {
        return asprintf(&path, "%s/.local/state/mcpgate", home) < 0 ? NULL : path;
    }
    return NULL;
}

/* --- a helper thread's ------------------------------------------------------------------------ */

/* A crash right after the new name would else leave an empty file. */
static bool write_draft(int fd, struct slice text)
{
    bool ok = file_write_all(fd, text) && fsync(fd) == 0;

    return close(fd) == 0 && ok;
}

static int replace(const char *path, struct slice text, struct err *e)
{
    char *draft;
    int fd;
    int rc = MCP_OK;

    if (asprintf(&draft, "%s.new", path) < 0) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = file_fail(e, path);
    } else if (!write_draft(fd, text) || rename(draft, path) != 0) {
        rc = file_fail(e, path);
        (void)unlink(draft); /* nothing more can be done */
    }
    free(draft);
    return rc;
}

static void write_work(void *owner)
{
    struct writing *w = owner;

    w->rv = file_make_folders(w->path, &w->err);
    if (w->rv == MCP_OK) {
        w->rv = replace(w->path, slice_str(w->text), &w->err);
    }
}

static void writing_free(void *owner)
{
    struct writing *w = owner;

    free(w->text);
    free(w->path);
    free(w);
}

/* --- the loop's ------------------------------------------------------------------------------- */

static void begin(struct state_file *f);

static void write_done(void *owner)
{
    struct writing *w = owner;
    struct state_file *f = w->file;

    if (f != NULL) {
        f->running = NULL;
        if (f->next != NULL) {
            begin(f);
        } else {
            f->kept(f->owner, w->rv == MCP_OK ? NULL : w->err.text);
        }
    }
    writing_free(w);
}

static void on_refused(void *owner)
{
    struct state_file *f = owner;

    f->kept(f->owner, f->why_refused);
}

static void refuse(struct state_file *f, const char *why)
{
    f->why_refused = why;
    task_defer(f->loop, &f->refused);
}

static void begin(struct state_file *f)
{
    struct writing *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        refuse(f, "out of memory");
        return;
    }
    w->file = f;
    w->path = strdup(f->path);
    w->text = f->next;
    f->next = NULL;
    f->running = w;
    if (w->path == NULL ||
        loop_offload(f->loop, write_work, write_done, writing_free, w) != MCP_OK) {
        f->running = NULL;
        writing_free(w);
        refuse(f, "no thread or no memory to write it");
    }
}

void state_file_put(struct state_file *f, struct slice text)
{
    if (f->path == NULL) {
        refuse(f, "there is no state directory: neither state.dir, STATE_DIRECTORY, "
                  "XDG_STATE_HOME nor HOME names one");
        return;
    }
    free(f->next);
    f->next = text.ptr == NULL ? NULL : slice_dup(text);
    if (f->next == NULL) {
        refuse(f, "out of memory");
    } else if (f->running == NULL) {
        begin(f);
    }
}

/* --- start and end ---------------------------------------------------------------------------- */

struct state_file *state_file_new(struct loop *loop, const char *directory, const char *name,
                                  state_file_cb kept, void *owner)
{
    struct state_file *f = xcalloc(1, sizeof(*f));

    f->loop = loop;
    f->kept = kept;
    f->owner = owner;
    task_init(&f->refused, on_refused, f);
    if (directory != NULL) {
        ASSERT(asprintf(&f->path, "%s/%s", directory, name) >= 0); /* start-up */
    }
    return f;
}

void state_file_free(struct state_file **pf)
{
    struct state_file *f = *pf;

    if (f == NULL) {
        return;
    }
    *pf = NULL;
    if (f->running != NULL) {
        f->running->file = NULL;
    }
    task_cancel(f->loop, &f->refused);
    free(f->next);
    free(f->path);
    free(f);
}

static int read_all(int fd, const char *path, struct buf *out, struct err *e)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) != 0) {
        return file_fail(e, path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size > STATE_BYTES_MAX) {
        return err_set(e, MCP_EARGUMENT, "%.150s: not a file of at most 1 MiB", path);
    }
    do {
        char *at = buf_reserve(out, 4096);

        if (at == NULL) {
            return err_set(e, MCP_ENOMEM, "out of memory");
        }
        n = read(fd, at, 4096);
        buf_commit(out, n > 0 ? (size_t)n : 0);
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 ? file_fail(e, path) : MCP_OK;
}

int state_file_read(const struct state_file *f, struct buf *out, struct err *e)
{
    int fd;
    int rc;

    if (f->path == NULL) {
        return MCP_OK;
    }
    /* Nonblocking, as opening a pipe could wait for ever. */
    fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT ? MCP_OK : file_fail(e, f->path);
    }
    rc = read_all(fd, f->path, out, e);
    (void)close(fd); /* was only read */
    return rc;
}
