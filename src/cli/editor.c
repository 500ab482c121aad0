/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/editor.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/buf.h"
#include "cli/conn.h"
#include "cli/text.h"

/* Prompts have their styles between two of these. */
#define INVISIBLE "\1"

enum { HISTORY_MAX = 1000, PASTE_END_LEN = 6 };
static const wchar_t PASTE_END[] = L"\033[201~";

struct cli_editor {
    EditLine *el;
    History *history;
    char *prompt;
    cli_complete_fn complete;
    void *owner;
    mbstate_t decoder;
    sigset_t let_in; /* the signals while it waits; else the watched ones are blocked */
};

/* --- signals ---------------------------------------------------------------------------------- */

/* Each would leave the terminal as the editor needs it; SIGINT has its handler already. */
static const int watched[] = {SIGTSTP, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
enum { WATCHED_COUNT = sizeof(watched) / sizeof(watched[0]) };
static struct sigaction before[WATCHED_COUNT];
static volatile sig_atomic_t caught; /* the last of them; 0: none */

static void on_signal(int signal_number)
{
    caught = signal_number;
}

static void watch(sigset_t *let_in)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t held;

    (void)sigemptyset(&held); /* none of these calls fails on good arguments */
    (void)sigaddset(&held, SIGINT);
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        (void)sigaction(watched[i], &action, &before[i]);
        (void)sigaddset(&held, watched[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &held, let_in);
}

static void unwatch(const sigset_t *let_in)
{
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        (void)sigaction(watched[i], &before[i], NULL);
    }
    (void)sigprocmask(SIG_SETMASK, let_in, NULL);
}

static void set_terminal(struct cli_editor *editor, bool edits)
{
    (void)el_set(editor->el, EL_PREP_TERM, edits ? 1 : 0);
    (void)fputs(edits ? "\033[?2004h" : "\033[?2004l", stdout); /* pasting is bracketed */
    (void)fflush(stdout);                                       /* failures are seen at the end */
}

/* What the signal does to any program, with the terminal as it was; comes back after a stop. */
static void obey(struct cli_editor *editor, int signal_number)
{
    if (signal_number != SIGWINCH) {
        set_terminal(editor, false);
        unwatch(&editor->let_in);
        (void)raise(signal_number);
        watch(&editor->let_in);
        set_terminal(editor, true);
    }
    el_resize(editor->el);
    (void)el_wset(editor->el, EL_REFRESH);
}

/* --- keys ------------------------------------------------------------------------------------- */

static struct cli_editor *editor_of(EditLine *el)
{
    void *editor = NULL;

    (void)el_get(el, EL_CLIENTDATA, &editor);
    return editor;
}

/* One byte; false when Ctrl-C came or the terminal is gone. */
static bool read_byte(struct cli_editor *editor, char *byte)
{
    struct pollfd wanted = {.fd = STDIN_FILENO, .events = POLLIN};

    for (;;) {
        ssize_t n;

        if (cli_interrupted()) {
            return false;
        }
        if (ppoll(&wanted, 1, NULL, &editor->let_in) < 0) {
            int signal_number = caught;

            caught = 0;
            if (signal_number != 0) {
                obey(editor, signal_number);
            }
            continue;
        }
        n = read(STDIN_FILENO, byte, 1);
        if (n == 1) {
            return true;
        }
        if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            return false;
        }
    }
}

static int read_character(EditLine *el, wchar_t *character)
{
    struct cli_editor *editor = editor_of(el);

    for (;;) {
        char byte;
        size_t n;

        if (!read_byte(editor, &byte)) {
            return -1;
        }
        n = mbrtowc(character, &byte, 1, &editor->decoder);
        if (n == (size_t)-1) {
            editor->decoder = (mbstate_t){0};
            *character = 0xfffd;
        }
        if (n != (size_t)-2) { /* the character has more bytes */
            return 1;
        }
    }
}

/* A text pasted as a whole goes into the line as it is: line ends do not send it. */
static unsigned char paste(EditLine *el, int key)
{
    wchar_t *text = NULL;
    size_t len = 0, room = 0;
    bool whole = false;

    (void)key;
    while (!whole) {
        if (len + 2 > room) {
            room = room == 0 ? 256 : room * 2;
            text = realloc(text, room * sizeof(*text));
            if (text == NULL) {
                cli_no_memory();
            }
        }
        if (el_wgetc(el, &text[len]) != 1) {
            free(text);
            return CC_EOF; /* as Ctrl-C or the end in any other place */
        }
        if (text[len] == L'\r') { /* libedit has the terminal swap the two */
            text[len] = L'\n';
        }
        /* Else it could do what keys do; ESC stays until the end is looked for. */
        if (text[len] >= L' ' || wcschr(L"\n\t\033", text[len]) != NULL) {
            len++;
        }
        whole = len >= PASTE_END_LEN &&
                wmemcmp(text + len - PASTE_END_LEN, PASTE_END, PASTE_END_LEN) == 0;
    }
    len -= PASTE_END_LEN;
    if (len > 0 && text[len - 1] == L'\n') {
        len--; /* it would stand as an empty line */
    }
    text[len] = L'\0';
    (void)el_winsertstr(el, text); /* too long for memory: nothing is inserted */
    free(text);
    return CC_REFRESH;
}

static unsigned char insert_line_end(EditLine *el, int key)
{
    (void)key;
    return el_winsertstr(el, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
}

/* --- completion ------------------------------------------------------------------------------- */

/* Below the line, in columns as wide as the longest. */
static void print_words(const struct cli_words *words)
{
    struct winsize size = {0};
    size_t widest = 0, columns;

    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size); /* 0 then */
    for (size_t i = 0; i < words->count; i++) {
        size_t len = strlen(words->texts[i]);

        widest = len > widest ? len : widest;
    }
    columns = (size.ws_col == 0 ? 80 : size.ws_col) / (widest + 2);
    columns = columns == 0 ? 1 : columns;
    for (size_t i = 0; i < words->count; i++) {
        if (i % columns == 0) {
            (void)fputc('\n', stdout);
        } else {
            (void)printf("%*s", (int)(widest + 2 - strlen(words->texts[i - 1])), "");
        }
        cli_put(stdout, slice_str(words->texts[i]));
    }
    (void)fputc('\n', stdout);
}

/* Adds what all words have in common, and a blank behind the only one. */
static unsigned char complete_with(EditLine *el, const struct cli_words *words, size_t typed)
{
    size_t common = cli_words_common(words);
    char *more;

    if (words->count == 0) {
        return CC_ERROR; /* a beep */
    }
    if (words->count > 1 && common == typed) {
        print_words(words);
        return CC_REDISPLAY;
    }
    if (asprintf(&more, "%.*s%s", (int)(common - typed), words->texts[0] + typed,
                 words->count == 1 ? " " : "") < 0) {
        cli_no_memory();
    }
    (void)el_insertstr(el, more); /* too long for memory: nothing is inserted */
    free(more);
    return CC_REFRESH;
}

static unsigned char complete(EditLine *el, int key)
{
    struct cli_editor *editor = editor_of(el);
    const LineInfo *line = el_line(el);
    struct cli_words words = {0};
    struct slice up_to, word;
    unsigned char rc;
    char *text;

    (void)key;
    /* A copy, as the line is libedit's own. */
    text = strndup(line->buffer, (size_t)(line->cursor - line->buffer));
    if (text == NULL) {
        cli_no_memory();
    }
    up_to = slice_str(text);
    word = slice_skip(up_to, editor->complete(editor->owner, up_to, &words));
    cli_words_keep(&words, word);
    cli_words_sort(&words);
    rc = complete_with(el, &words, word.len);
    cli_words_fini(&words);
    free(text);
    return rc;
}

/* --- the editor ------------------------------------------------------------------------------- */

static char *prompt_of(EditLine *el)
{
    return editor_of(el)->prompt;
}

static void bind_keys(EditLine *el)
{
    static const struct {
        const char *key;
        const char *command;
    } keys[] = {
        {"^I", "mcpgate-complete"},        {"\\e[200~", "mcpgate-paste"},
        {"\\e^M", "mcpgate-line-end"},     {"\\e^J", "mcpgate-line-end"},
        {"^R", "em-inc-search-prev"},      {"^W", "ed-delete-prev-word"},
        {"\\e[3~", "ed-delete-next-char"}, {"\\e[1;5C", "em-next-word"},
        {"\\e[1;5D", "ed-prev-word"},      {"\\e[1~", "ed-move-to-beg"},
        {"\\e[4~", "ed-move-to-end"},
    };

    /* libedit keeps these strings; those of el_set it would copy and lose. */
    (void)el_wset(el, EL_ADDFN, L"mcpgate-complete", L"Complete the word", complete);
    (void)el_wset(el, EL_ADDFN, L"mcpgate-paste", L"Insert what is pasted", paste);
    (void)el_wset(el, EL_ADDFN, L"mcpgate-line-end", L"Insert a line end", insert_line_end);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        (void)el_set(el, EL_BIND, keys[i].key, keys[i].command, NULL);
    }
}

/* The history of libedit with as many entries as are kept. */
static History *new_history(void)
{
    History *kept = history_init();
    HistEvent event;

    if (kept == NULL || history(kept, &event, H_SETSIZE, HISTORY_MAX) < 0) {
        cli_no_memory();
    }
    (void)history(kept, &event, H_SETUNIQUE, 1); /* the same again right after is one */
    return kept;
}

struct cli_editor *cli_editor_new(cli_complete_fn complete_fn, void *owner)
{
    const char *term = getenv("TERM");
    struct cli_editor *editor;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || term == NULL || *term == '\0' ||
        strcmp(term, "dumb") == 0) {
        return NULL;
    }
    /* What is typed is UTF-8 on the wire, whatever the locale says. */
    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        (void)setlocale(LC_CTYPE, "C.UTF-8"); /* else ASCII alone can be typed */
    }
    editor = calloc(1, sizeof(*editor));
    if (editor == NULL) {
        cli_no_memory();
    }
    *editor = (struct cli_editor){.complete = complete_fn, .owner = owner};
    editor->el = el_init("mcpgate", stdin, stdout, stderr);
    editor->history = new_history();
    if (editor->el == NULL) {
        cli_no_memory();
    }
    (void)el_set(editor->el, EL_CLIENTDATA, editor);
    (void)el_set(editor->el, EL_EDITOR, "emacs");
    (void)el_set(editor->el, EL_GETCFN, read_character);
    (void)el_set(editor->el, EL_PROMPT_ESC, prompt_of, INVISIBLE[0]);
    (void)el_set(editor->el, EL_HIST, history, editor->history);
    bind_keys(editor->el);
    (void)el_source(editor->el, NULL); /* there may be none */
    return editor;
}

void cli_editor_free(struct cli_editor **editor)
{
    if (*editor != NULL) {
        el_end((*editor)->el);
        history_end((*editor)->history);
        free((*editor)->prompt);
        free(*editor);
        *editor = NULL;
    }
}

static void set_prompt(struct cli_editor *editor, const char *prompt)
{
    const char *bold = cli_style(stdout, CLI_BOLD), *plain = cli_style(stdout, CLI_PLAIN);

    free(editor->prompt);
    if (asprintf(&editor->prompt, INVISIBLE "%s" INVISIBLE "%s" INVISIBLE "%s" INVISIBLE " ", bold,
                 prompt, plain) < 0) {
        cli_no_memory();
    }
}

enum cli_typed cli_editor_line(struct cli_editor *editor, const char *prompt, struct slice *line)
{
    const LineInfo *typed;
    const char *text;
    int len = 0;

    set_prompt(editor, prompt);
    el_resize(editor->el); /* the window may have changed during an answer */
    watch(&editor->let_in);
    set_terminal(editor, true); /* before the prompt, or what is typed at once is shown twice */
    text = el_gets(editor->el, &len);
    set_terminal(editor, false);
    unwatch(&editor->let_in);
    if (cli_interrupted()) {
        typed = el_line(editor->el);
        return typed->lastchar == typed->buffer ? CLI_TYPED_BREAK : CLI_TYPED_DISCARDED;
    }
    if (text == NULL || len <= 0) {
        return CLI_TYPED_END;
    }
    *line = slice_of(text, (size_t)len);
    if (line->ptr[line->len - 1] == '\n') {
        line->len--;
    }
    return CLI_TYPED_LINE;
}

void cli_editor_remember(struct cli_editor *editor, const char *text)
{
    HistEvent event;

    if (history(editor->history, &event, H_ENTER, text) < 0) {
        cli_no_memory();
    }
}
