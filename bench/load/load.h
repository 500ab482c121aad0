/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator as its files see it: main.c (options), run.c (the phases of a run), lane.c
 * (requests, and what counts), conn.c (sockets), http.c and mcp.c (bytes of a connection), report.c
 * (the result). One thread, an epoll loop of its own: of what is measured it uses the parsers only.
 *
 * A lane is what has one request at a time: an HTTP connection, or a session of an MCP connection.
 * In a closed loop a lane sends its next request when the last answer is whole. In an open loop
 * requests are due by a schedule, and wait for a lane where none is free; a latency counts from
 * when its request was due, so that a stall shows in all that it delayed. */
#ifndef MCP_BENCH_LOAD_LOAD_H
#define MCP_BENCH_LOAD_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "http/parse/message.h"
#include "http/parse/split.h"
#include "load/answer.h"
#include "load/hist.h"
#include "load/schedule.h"
#include "load/watch.h"
#include "wire/conn.h"

enum {
    LOAD_MODELS_MAX = 8,
    LOAD_WORDS_MAX = 100000,
    LOAD_PARTS_MAX = 100000,
    LOAD_OPENING_MAX = 64, /* connections that are being opened at once: listen queues are short */
    LOAD_ERRORS_MAX = 1000,
    LOAD_READ_BYTES = 256 * 1024,
    LOAD_CONNS_MAX = 50000,
    LOAD_NUMBER_DIGITS = 10, /* that the text of an embedding begins with */
    LOAD_SESSIONS_MAX = 4096,
};

struct load_options {
    bool mcp;
    struct sockaddr_storage at;
    socklen_t at_len;
    char host[128]; /* as given */
    unsigned conns;
    unsigned sessions; /* of each connection */
    double rate_per_s; /* 0: closed loop */
    bool even;         /* open loop: evenly spaced */
    uint64_t seed;
    double seconds;
    double warmup_s;
    double timeout_s;
    bool hold;      /* one request per lane; then the connections idle for `seconds` */
    unsigned parts; /* of a stream; 0: an answer in one piece */
    double gap_ms;  /* between parts, as the simulator takes it; below 0: not said */
    bool embed;     /* embeddings of texts that are all different, instead of generate */
    unsigned words; /* --embed: of every other lane's texts, about; 0: all are short */
    unsigned abort; /* the connection is closed behind so many parts; 0: never */
    const char *models[LOAD_MODELS_MAX]; /* lanes take them in turn, so that answers differ */
    size_t model_count;
    const char *text; /* expected; NULL: whatever comes first */
    pid_t pids[WATCH_PIDS_MAX];
    size_t pid_count;
};

/* What the lanes of one model send and expect. */
struct load_kind {
    struct buf body;
    struct buf http;    /* head and body */
    size_t number_back; /* --embed: where the number stands, from the end */
    struct answer answer;
};

struct load_conn;

struct load_lane {
    struct load_conn *conn;
    struct load_kind *kind;
    uint32_t session;
    bool busy;
    bool whole;   /* the last part is there */
    bool used;    /* has had an answer */
    bool queued;  /* in the ring of idle lanes */
    size_t parts; /* so far */
    uint64_t due_ns;
    uint64_t sent_ns;
};

/* state       entered                       left by
 * CLOSED      at first; an end              OPENING
 * OPENING     connect                       OPEN, CLOSED
 * OPEN        connected                     CLOSED */
enum load_conn_state { LOAD_CLOSED, LOAD_OPENING, LOAD_OPEN };

enum load_end { LOAD_GOES_ON, LOAD_ENDS_WELL, LOAD_ABORTS, LOAD_FAILS };

struct load_conn {
    struct load *load;
    enum load_conn_state state;
    enum load_end end; /* what is to become of it when the bytes in hand are read */
    int fd;
    bool waits_for_room;
    struct load_lane *lanes;
    struct buf out;
    /* HTTP */
    struct http_parser *parser;
    struct splitter split;
    bool keep_alive;
    /* MCP */
    struct wire_conn wire;
};

enum load_phase { LOAD_WARMING, LOAD_MEASURING, LOAD_DRAINING, LOAD_HOLDING, LOAD_OVER };

/* What is counted while it measures; an open loop counts the answers to what was due meanwhile. */
struct load_counts {
    uint64_t requests; /* that were answered or aborted */
    uint64_t parts;
    uint64_t bytes; /* received */
    uint64_t reads;
    uint64_t aborted;
    struct hist latency;    /* from when it was due to the last byte, or until it was aborted */
    struct hist first_part; /* to the first part */
    struct hist late;       /* from when it was due until it was sent */
};

struct load {
    struct load_options o;
    struct load_kind kinds[2 * LOAD_MODELS_MAX]; /* short ones, then long ones */
    size_t kind_count;
    struct load_conn *conns;
    struct load_lane *lanes;
    size_t lane_count;
    struct load_conn **closed; /* to be opened: a stack */
    size_t closed_count;
    struct load_lane **idle; /* open loop: a ring of lanes without a request, longest first */
    size_t idle_head, idle_count;
    int epoll_fd;
    char *input;
    enum load_phase phase;
    uint64_t now_ns;
    uint64_t begin_ns;    /* of the measurement; UINT64_MAX before */
    uint64_t end_ns;      /* likewise */
    uint64_t due_from_ns; /* open loop: what is counted, by when it was due */
    uint64_t due_to_ns;
    uint64_t deadline_ns; /* of the phase */
    uint64_t looked_ns;   /* for answers that are overdue */
    bool all_opened;      /* each connection, once */
    struct schedule schedule;
    size_t busy;    /* lanes */
    size_t opening; /* connections */
    size_t opened;  /* likewise, so far */
    size_t used;    /* lanes that have had an answer */
    struct load_counts *counts;
    uint64_t last_number;  /* --embed */
    uint64_t requests_all; /* from start to end */
    uint64_t errors;       /* likewise */
    char first_error[256];
    struct watch_sample before, after;
    uint64_t own_cpu_ns;
};

/* --- run.c */
/* False: it says what is wrong in first_error. */
bool load_init(struct load *l, const struct load_options *o);
void load_fini(struct load *l);
void load_run(struct load *l);
uint64_t load_now_ns(void);

/* --- lane.c */
/* Open loop: sends what is due, as far as there are idle lanes. */
void load_send_due(struct load *l);
/* One more request is due, now or later. */
bool load_has_due(const struct load *l);
/* Ends connections whose answers are overdue. */
void load_look_for_overdue(struct load *l);
void load_error(struct load *l, const char *text, uint64_t count);
/* Told by conn.c. `why`: where requests are lost. */
void load_opened(struct load_conn *c);
void load_closed(struct load_conn *c, enum load_end end, const char *why);
/* Told by http.c and mcp.c: a part of an answer, and its end. False: the connection ends, read no
 * more. */
bool load_part(struct load_lane *lane, struct slice part);
bool load_answered(struct load_lane *lane);

/* --- conn.c */
void load_conn_open(struct load_conn *c);
/* Closes without being told. */
void load_conn_close(struct load_conn *c);
/* Writes what is in `out`. */
void load_conn_flush(struct load_conn *c);
void load_conn_event(struct load_conn *c, uint32_t events);
/* It ends once the bytes in hand are read. Returns false. */
bool load_conn_fail(struct load_conn *c, const char *why);
/* It ends now. */
void load_conn_end(struct load_conn *c, enum load_end end, const char *why);

/* --- http.c, mcp.c. begin: false, out of memory; recv: the bytes just read */
bool load_http_begin(struct load_conn *c);
void load_http_finish(struct load_conn *c);
void load_http_recv(struct load_conn *c, struct slice in);
bool load_mcp_begin(struct load_conn *c);
void load_mcp_finish(struct load_conn *c);
void load_mcp_recv(struct load_conn *c, struct slice in);

/* --- report.c */
/* One JSON object on standard output. False: it cannot be written. */
bool load_report(const struct load *l);

#endif
