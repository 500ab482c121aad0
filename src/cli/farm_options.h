/* SPDX-License-Identifier: Apache-2.0 */
/* The requests and nodes of a simulated cluster, as sim-cluster and plan are told of them. */
#ifndef MCP_CLI_FARM_OPTIONS_H
#define MCP_CLI_FARM_OPTIONS_H

#include <argp.h>

#include "cli/cli.h"
#include "farm/arrivals.h"
#include "farm/farm.h"
#include "farm/trace.h"

enum { CLI_FARM_LIST_MAX = 32 };

struct cli_farm {
    unsigned long requests;
    double per_s; /* 0: not said */
    double tenant_skew, model_skew, turns, speed;
    double prompt[2], answer[2]; /* median and sigma */
    double burst[3];             /* factor, for so long, each */
    double pause_us, min_resident_us, max_load_wait_us;
    unsigned long weights[CLI_FARM_LIST_MAX], model_mib[CLI_FARM_LIST_MAX];
    unsigned long load_ms[CLI_FARM_LIST_MAX];
    size_t weight_count, mib_count, load_count;
    bool cold;
    const char *trace_path, *json_path, *svg_path;
#define FARM_NUMBER(field, option, initial, least, most, help) unsigned long field;
#include "cli/farm_numbers.def"
#undef FARM_NUMBER

    /* Made of them. */
    struct farm_trace *trace; /* NULL: none */
    struct farm_load load;
    struct farm_model *model_list;
    size_t model_count, tenant_count;
    char *names;
    struct slice *tenant_names;
    unsigned *tenant_weights;
    double prompt_tokens, answer_tokens; /* of a request, to be computed, on average */
};

/* As a child of a command's parser, whose input is then a struct cli_farm; it sets the defaults. */
extern const struct argp_child cli_farm_children[];

/* Behind the parser: reads the recording, if there is one. CLI_EXIT_OK, or the exit status after an
 * error was said. */
int cli_farm_make(struct cli_farm *o);
void cli_farm_fini(struct cli_farm *o);

/* How many nodes there is room for in this machine's memory: models times nodes are bounded. */
size_t cli_farm_nodes_most(const struct cli_farm *o);
/* The node that the options describe. */
struct farm_node cli_farm_node(const struct cli_farm *o, uint32_t slots);
/* One of its numbers, by the name of its option; false: it has none of that name. */
bool cli_farm_node_set(struct farm_node *node, struct slice name, unsigned long value);
/* Requests per second: of the load or the recording. */
double cli_farm_per_s(const struct cli_farm *o);
/* What a node can do, about. */
double cli_farm_node_per_s(const struct cli_farm *o, const struct farm_node *node);

/* Reads a whole number from `least` to `most`; ends the program for anything else. */
unsigned long cli_farm_number(struct argp_state *state, const char *option, const char *text,
                              unsigned long least, unsigned long most);
/* Reads "A,B,..." of them. */
size_t cli_farm_list(struct argp_state *state, const char *option, const char *text,
                     unsigned long least, unsigned long most, unsigned long out[CLI_FARM_LIST_MAX]);

#endif
