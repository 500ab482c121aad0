/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: one immutable snapshot, made at start and at each reload from defaults, the
 * YAML file and the command line (which wins), checked whole. Reference counted; read from any
 * thread. The keys are in config.def, what they mean for people in docs/configuration.md. */
#ifndef MCP_GATEWAY_CONFIG_H
#define MCP_GATEWAY_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "codec/request.h"
#include "gateway/trust.h"
#include "reactor/loop.h"

/* MAIN_SUB: each sub reactor has a thread; SINGLE: one thread does everything. */
enum config_mode { CONFIG_MODE_MAIN_SUB, CONFIG_MODE_SINGLE };
/* Which answers get Server-Timing. */
enum config_timing { CONFIG_TIMING_ASKED, CONFIG_TIMING_ALWAYS, CONFIG_TIMING_OFF };
/* Which nodes' embeddings are asked for in calls that requests share. */
enum config_batch { CONFIG_BATCH_AUTO, CONFIG_BATCH_ON, CONFIG_BATCH_OFF };
/* Where requests take turns. */
enum config_queue { CONFIG_QUEUE_AUTO, CONFIG_QUEUE_ALWAYS };
/* With whom answers are shared. */
enum config_share { CONFIG_SHARE_CLIENT, CONFIG_SHARE_ALL, CONFIG_SHARE_OFF };
enum config_kind { CONFIG_KIND_AUTO, CONFIG_KIND_OLLAMA, CONFIG_KIND_OPENAI };

/* Of `nodes.slots`. */
enum { CONFIG_SLOTS_UNLIMITED = 0, CONFIG_SLOTS_AUTO = -1 };

struct config_header {
    char *name;
    char *value;
};

struct config_node {
    char *url; /* of the node, or of as many as DNS knows (dns_url.h), to whom the rest applies */
    enum config_kind kind;
    char *name;    /* host:port of the URL, or a name's URL, where none is given; unique */
    char *api_key; /* sent as Authorization: Bearer; read from api_key_file; NULL: none */
    struct config_header *headers;
    size_t header_count;
    char **resident; /* models to be kept in its memory */
    size_t resident_count;
    int64_t slots;         /* how many, or one of CONFIG_SLOTS_ */
    uint64_t memory_bytes; /* for models; 0: not said */
};

/* Tells whether a file is another one now. */
struct config_stamp {
    bool is_there;
    uint64_t inode;
    uint64_t bytes;
    int64_t changed_s;
    int64_t changed_ns;
};

struct config_key {
    char *name;   /* shown in logs */
    char *key;    /* the secret; from `key` or `key_file` */
    char *tenant; /* NULL: its name is that */
    uint64_t weight;
    enum priority class; /* of requests that name none */
    enum priority max_priority;
    uint64_t rate_per_min; /* of the tenant; 0: any */
};

/* What has one arm of a route for as long as the shares stay. */
enum config_sticky { CONFIG_STICKY_KEY, CONFIG_STICKY_SESSION, CONFIG_STICKY_REQUEST };

struct config_arm {
    char *model;
    uint64_t weight;
    uint64_t shadow; /* percent */
};

/* routes.NAME: see sched/route.h. */
struct config_route {
    char *name;
    enum config_sticky sticky;
    uint64_t window_ms;
    uint64_t min_requests;
    struct config_arm *arms; /* the first one has a weight */
    size_t arm_count;
    char **fallback; /* models that are asked instead, in this order */
    size_t fallback_count;
};

/* models.NAME.pin: the text of each in JSON; NULL: not pinned. */
struct config_pin {
    char *num_ctx;
    char *num_batch;
    char *num_gpu;
    char *main_gpu;
    char *use_mmap;
    char *num_thread;
};

struct config_model {
    char *name;
    struct config_pin pin;
};

struct config {
    _Atomic unsigned users;
    struct config_node *nodes; /* at least one: http://127.0.0.1:11434 */
    size_t node_count;
    char *mcp_listen;                /* 127.0.0.1:8080; NULL: off ("off" in the file) */
    char *http_listen;               /* 127.0.0.1:11435 */
    char *admin_listen;              /* 127.0.0.1:6060 */
    char *origins;                   /* see origin.h; NULL */
    char *state_dir;                 /* NULL: see state_file.h */
    char *nodes_file;                /* more nodes; NULL: none */
    struct config_stamp nodes_stamp; /* that file's, before it was read */
    uint64_t discovery_interval_ms;
    char *resolver;       /* of names of nodes; NULL: the system's */
    bool strict;          /* see ignored.h */
    struct trust trusted; /* proxies that say for whom they speak */
    bool mcp_proxied;     /* connections begin with a PROXY header */
    bool http_proxied;
    struct config_key *keys;
    size_t key_count;
    struct config_route *routes;
    size_t route_count;
    struct config_model *models;
    size_t model_count;
    enum config_mode mode;
    uint64_t reactors; /* sub reactors in MAIN_SUB; 0: one for each core the process may use */
    enum loop_backend backend;
    bool insecure; /* --insecure: listening beyond loopback without keys is allowed */
    enum log_level log_level;
    char *access_log; /* NULL: stderr; "off"; else a path */
    uint64_t max_frame_bytes;
    uint64_t max_part_bytes;    /* of an answer: 256 MiB */
    uint64_t window_bytes;      /* MCP, credit: at most to begin with */
    uint64_t max_body_bytes;    /* one request body: 100 MiB */
    uint64_t body_memory_bytes; /* all request bodies: 1 GiB */
    uint64_t max_sessions;
    uint64_t sessions_remembered;
    enum config_queue queue;
    uint64_t queue_ageing_ms;
    uint64_t queue_comments_ms;
    uint64_t min_resident_ms;
    uint64_t max_load_wait_ms;
    bool batch_by_length;
    bool prepare;              /* connections for those that wait */
    uint64_t queue_per_tenant; /* requests, for each model */
    uint64_t queue_bytes;
    uint64_t cancel_grace_ms;
    uint64_t session_idle_ms;
    uint64_t heartbeat_ms; /* MCP */
    uint64_t client_stall_ms;
    uint64_t drain_timeout_ms;
    uint64_t connect_timeout_ms;
    uint64_t first_byte_timeout_ms;
    uint64_t idle_timeout_ms; /* between parts of a node's answer */
    uint64_t pool_idle;       /* idle connections kept per node */
    uint64_t pool_idle_ms;
    uint64_t replicas; /* of a model that is pulled or created; 0: one on every node */
    enum config_batch batch;
    uint64_t batch_max_items;
    enum config_share share;
    uint64_t share_cache_bytes;
    uint64_t share_cache_age_ms;
    uint64_t batch_max_tokens;
    uint64_t batch_max_wait_ms;
    uint64_t batch_calls;    /* for each node and model */
    uint64_t trace_requests; /* kept of all loops together */
    enum config_timing server_timing;
    char **warnings; /* what is allowed but not wise, one line each */
    size_t warning_count;
};

/* What the command line gave; NULL or 0 entries: not given. */
struct config_args {
    const char *path;             /* -c */
    const char *const *node_urls; /* instead of all nodes of the file */
    size_t node_count;
    const char *mcp_listen;
    const char *http_listen;
    const char *admin_listen;
    const char *access_log;
    const char *mode;
    const char *reactors;
    const char *backend;
    bool insecure;
};

/* Loads and checks; NULL with an error that names file, line, key and what was expected, or the
 * option; MCP_ENOMEM when memory is out. Blocking (reads files, looks no names up). The caller has
 * the only reference. */
struct config *config_load(const struct config_args *args, struct err *e);
struct config *config_ref(struct config *c);
struct config_stamp config_stamp_of(const char *path); /* blocking */
bool config_stamp_same(const struct config_stamp *a, const struct config_stamp *b);
/* Calls a node that has no name as is usual. 0, MCP_EARGUMENT (the URL), MCP_ENOMEM. */
int config_node_set_name(struct config_node *n, struct err *e);
void config_node_fini(struct config_node *n);
void config_unref(struct config **c);

/* The route that a model's name means, with ":latest" or without; NULL: none. */
const struct config_route *config_route_find(const struct config *c, struct slice name);
/* What is said about the model; NULL: nothing. */
const struct config_model *config_model_find(const struct config *c, struct slice name);

/* Appends the keys in which two of them differ, separated by commas; "nodes", "keys", "routes"
 * and "models" stand for all that is in those. `at_start`: only those that a running gateway cannot
 * change, else only the others. False: out of memory. */
bool config_changes(const struct config *a, const struct config *b, bool at_start,
                    struct buf *names);

#endif
