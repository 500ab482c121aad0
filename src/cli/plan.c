/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate plan: how many nodes and slots a load needs, found with simulated clusters. */
#include "cli/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/farm_run.h"
#include "cli/text.h"
#include "farm/search.h"

enum {
    OPTION_SLO = 0x100,
    OPTION_SLOTS,
    OPTION_NOW,
    OPTION_MOST,
    SLOTS_MOST = 4096,
    POINTS_AT_ONCE = 64,
    NAME_MAX_BYTES = 48,
    IN_VAIN_MOST = 2
};

static const double HELPS = 0.95; /* what is missed gets less by so much */

static const struct argp_option options[] = {
    {"slo", OPTION_SLO, "NAME=TIME", 0,
     "What is asked: ttft, token or latency, and a percentile, such as ttft_p99=2s; may be "
     "repeated",
     1},
    {"slots", OPTION_SLOTS, "A,B", 0, "Numbers of slots of a node to try (1,2,4,8)", 1},
    {"now", OPTION_NOW, "NODES[:SLOTS]", 0, "What there is now, to compare with", 1},
    {"most", OPTION_MOST, "N", 0, "So many nodes at most (2000)", 1},
    {0},
};

/* --- the command line ------------------------------------------------------------------------- */

static void add_slo(struct cli_plan *p, struct argp_state *state, const char *text)
{
    struct err e = {0};

    if (p->slo_count == CLI_PLAN_SLOS_MAX) {
        cli_usage(state, "--slo: at most %d of them", CLI_PLAN_SLOS_MAX);
    }
    if (farm_slo_parse(slice_str(text), &p->slos[p->slo_count], &e) != MCP_OK) {
        cli_usage(state, "--slo: %s, not '%s'", e.text, text);
    }
    p->slo_count++;
}

static void set_now(struct cli_plan *p, struct argp_state *state, const char *text)
{
    const char *colon = strchr(text, ':');
    char nodes[NAME_MAX_BYTES];

    slice_copy(slice_of(text, colon == NULL ? strlen(text) : (size_t)(colon - text)), nodes,
               sizeof(nodes));
    p->now_nodes = cli_farm_number(state, "now", nodes, 1, FARM_NODES_MAX);
    p->now_slots = colon == NULL ? 0 : cli_farm_number(state, "now", colon + 1, 1, SLOTS_MOST);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct cli_plan *p = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &p->farm;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage(state, "expected no argument, not '%s'", arg);
    case OPTION_SLO:
        add_slo(p, state, arg);
        return 0;
    case OPTION_SLOTS:
        p->slots_count = cli_farm_list(state, "slots", arg, 1, SLOTS_MOST, p->slots);
        return 0;
    case OPTION_NOW:
        set_now(p, state, arg);
        return 0;
    case OPTION_MOST:
        p->most = cli_farm_number(state, "most", arg, 1, FARM_NODES_MAX);
        return 0;
    case ARGP_KEY_END:
        if (p->slo_count == 0) {
            cli_usage(state, "expected what is asked, such as --slo ttft_p99=2s");
        }
        if (p->farm.trace_path == NULL && p->farm.per_s == 0) {
            cli_usage(state, "expected requests: --trace FILE, or --rate N each second");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_plan_argp = {
    .options = options,
    .parser = parse,
    .children = cli_farm_children,
    .doc =
        "Says how many nodes and slots a load needs, by simulating clusters of several sizes in "
        "virtual time under the gateway's own scheduler. Nothing is sent anywhere.\vThe fewest "
        "nodes that keep every --slo are looked for, for each number of slots; fewer slots win "
        "where the nodes are the same. docs/planning.md has an example and says what is simulated "
        "and what is not.",
};

/* --- trying ----------------------------------------------------------------------------------- */

/* NULL: it was not tried. */
static struct cli_plan_point *find_point(const struct cli_plan *p, size_t nodes, uint32_t slots)
{
    for (size_t i = 0; i < p->point_count; i++) {
        if (p->points[i].nodes == nodes && p->points[i].slots == slots) {
            return &p->points[i];
        }
    }
    return NULL;
}

static struct cli_plan_point *try(struct cli_plan *p, size_t nodes, uint32_t slots)
{
    struct cli_plan_point *at = find_point(p, nodes, slots);
    struct farm_node *list;
    char name[NAME_MAX_BYTES];

    if (at != NULL) {
        return at;
    }
    list = xcalloc(nodes, sizeof(*list));

    if (p->point_count % POINTS_AT_ONCE == 0) {
        at = realloc(p->points, (p->point_count + POINTS_AT_ONCE) * sizeof(*at));
        if (at == NULL) {
            cli_no_memory();
        }
        p->points = at;
    }
    at = &p->points[p->point_count++];
    *at = (struct cli_plan_point){
        .nodes = nodes, .slots = slots, .result = xcalloc(1, sizeof(*at->result))};
    for (size_t i = 0; i < nodes; i++) {
        list[i] = cli_farm_node(&p->farm, slots);
    }
    (void)snprintf(name, sizeof(name), "%zu nodes of %u slots", nodes, slots);
    cli_farm_run(&p->farm, list, nodes, FARM_OURS, name, at->result);
    free(list);
    for (size_t i = 0; i < p->slo_count; i++) {
        at->values_us[i] = farm_slo_value_us(&p->slos[i], &at->result->report);
    }
    at->busy = (double)at->result->report.busy_us /
               (farm_report_seconds(&at->result->report) * 1e6 * (double)nodes * slots);
    at->met = at->result->whole && farm_slo_met(p->slos, p->slo_count, &at->result->report);
    return at;
}

/* What one more would do, about. */
static size_t guess(const struct cli_plan *p, uint32_t slots)
{
    struct farm_node node = cli_farm_node(&p->farm, slots);
    double nodes = ceil(cli_farm_per_s(&p->farm) / cli_farm_node_per_s(&p->farm, &node));

    return nodes < 1 ? 1 : nodes > (double)p->most ? p->most : (size_t)nodes;
}

/* How many times what is asked it is, of the worst. */
static double excess(const struct cli_plan *p, const struct cli_plan_point *at)
{
    double worst = 0;

    for (size_t i = 0; i < p->slo_count; i++) {
        double here = at->values_us[i] / (p->slos[i].limit_us > 0 ? p->slos[i].limit_us : 1);

        worst = here > worst ? here : worst;
    }
    return worst;
}

static void search_slots(struct cli_plan *p, uint32_t slots)
{
    struct farm_search search;
    double least = INFINITY;
    size_t nodes;
    int in_vain = 0; /* times that twice the nodes did not help */

    farm_search_begin(&search, guess(p, slots), p->most);
    while (in_vain < IN_VAIN_MOST && !cli_farm_interrupted() && farm_search_next(&search, &nodes)) {
        const struct cli_plan_point *at = try(p, nodes, slots);

        in_vain = at->met || search.high != 0 || excess(p, at) < HELPS * least ? 0 : in_vain + 1;
        least = excess(p, at) < least ? excess(p, at) : least;
        farm_search_tell(&search, at->met);
    }
    p->uneven = p->uneven || search.uneven;
}

static int by_size(const void *a, const void *b)
{
    const struct cli_plan_point *x = a, *y = b;

    if (x->slots != y->slots) {
        return x->slots < y->slots ? -1 : 1;
    }
    return x->nodes < y->nodes ? -1 : x->nodes > y->nodes;
}

/* Of a number of slots, the fewest nodes behind which all will do; `end`: there is none. */
static size_t fewest(const struct cli_plan *p, size_t begin, size_t end)
{
    size_t least = end;

    for (size_t i = end; i > begin && (p->points[i - 1].met || p->points[i - 1].extra); i--) {
        least = p->points[i - 1].extra ? least : i - 1;
    }
    return least;
}

/* NULL: none will do. */
static struct cli_plan_point *choose_point(struct cli_plan *p)
{
    struct cli_plan_point *best = NULL;
    size_t end;

    for (size_t begin = 0; begin < p->point_count; begin = end) {
        size_t least;

        for (end = begin; end < p->point_count && p->points[end].slots == p->points[begin].slots;) {
            end++;
        }
        least = fewest(p, begin, end);
        if (least < end && (best == NULL || p->points[least].nodes < best->nodes)) {
            best = &p->points[least];
        }
    }
    if (best != NULL) {
        best->chosen = true;
    }
    return best;
}

static void try_now(struct cli_plan *p)
{
    uint32_t slots = (uint32_t)(p->now_slots > 0 ? p->now_slots : p->slots[0]);
    bool extra = find_point(p, p->now_nodes, slots) == NULL;
    struct cli_plan_point *at = try(p, p->now_nodes, slots);

    at->extra = extra;
    at->of_now = true;
}

static void search_all(struct cli_plan *p)
{
    for (size_t i = 0; i < p->slots_count; i++) {
        search_slots(p, (uint32_t)p->slots[i]);
    }
    if (p->now_nodes > 0 && !cli_farm_interrupted()) {
        try_now(p);
    }
}

static int plan(struct cli_plan *p)
{
    bool quiet = p->farm.json_path != NULL && strcmp(p->farm.json_path, "-") == 0;
    struct buf about = {0};
    struct cli_plan_point *best;
    int rc;

    cli_farm_about(&p->farm, &about);
    if (!buf_append_byte(&about, '\0')) {
        cli_no_memory();
    }
    if (!quiet) {
        (void)printf("%s\n\n", about.data);
        (void)fflush(stdout);
    }
    search_all(p);
    if (p->point_count > 0) {
        qsort(p->points, p->point_count, sizeof(*p->points), by_size);
    }
    best = choose_point(p);
    if (!quiet) {
        cli_plan_print(p);
        cli_plan_print_answer(p, best);
    }
    rc = cli_plan_write_json(p, best);
    if (rc == CLI_EXIT_OK && p->farm.svg_path != NULL) {
        rc = cli_plan_write_svg(p, &about);
    }
    buf_fini(&about);
    if (rc == CLI_EXIT_OK && cli_farm_interrupted()) {
        return CLI_EXIT_INTERRUPTED;
    }
    return rc == CLI_EXIT_OK && best == NULL ? CLI_EXIT_FAILED : rc;
}

/* Fewer nodes are tried than --most says where there are very many models. */
static bool fits(struct cli_plan *p)
{
    size_t most = cli_farm_nodes_most(&p->farm);

    p->most = p->most < most ? p->most : most;
    if (p->now_nodes > most) {
        cli_error("--now: at most %zu nodes for %zu models", most, p->farm.model_count);
    }
    return p->now_nodes <= most;
}

int cli_plan(int argc, char **argv)
{
    struct cli_plan p = {.slots = {1, 2, 4, 8}, .slots_count = 4, .most = 2000};
    int rc;

    p.farm.requests = 20 * 1000;
    cli_parse(&cli_plan_argp, argc, argv, &p);
    cli_farm_watch_interrupt();
    rc = cli_farm_make(&p.farm);
    if (rc == CLI_EXIT_OK) {
        rc = fits(&p) ? plan(&p) : CLI_EXIT_USAGE;
    }
    for (size_t i = 0; i < p.point_count; i++) {
        cli_farm_result_fini(p.points[i].result);
        free(p.points[i].result);
    }
    free(p.points);
    cli_farm_fini(&p.farm);
    return rc;
}
