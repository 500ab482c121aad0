/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate plan: how many nodes and slots a load needs, found with simulated clusters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/farm_run.h"
#include "farm/chart.h"
#include "farm/search.h"

enum {
    OPTION_SLO = 0x100,
    OPTION_SLOTS,
    OPTION_NOW,
    OPTION_MOST,
    SLOS_MOST = 8,
    SLOTS_MOST = 4096,
    POINTS_AT_ONCE = 64,
    NAME_MAX_BYTES = 48,
    COLUMNS_BEFORE = 2,
    COLUMNS_AFTER = 3,
    IN_VAIN_MOST = 2
};

static const double HELPS = 0.95; /* what is missed gets less by so much */

/* A cluster that was tried. */
struct point {
    size_t nodes;
    uint32_t slots;
    bool met, chosen, of_now;
    bool extra;                  /* only as it is that of now */
    double values_us[SLOS_MOST]; /* of each objective */
    double busy;                 /* share of the slots */
    struct cli_farm_result *result;
};

struct plan {
    struct cli_farm farm;
    struct farm_slo slos[SLOS_MOST];
    size_t slo_count;
    unsigned long slots[CLI_FARM_LIST_MAX];
    size_t slots_count;
    unsigned long now_nodes, now_slots; /* 0: not said */
    unsigned long most;
    struct point *points;
    size_t point_count;
    bool uneven;
};

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

static void add_slo(struct plan *p, struct argp_state *state, const char *text)
{
    struct err e = {0};

    if (p->slo_count == SLOS_MOST) {
        cli_usage(state, "--slo: at most %d of them", SLOS_MOST);
    }
    if (farm_slo_parse(slice_str(text), &p->slos[p->slo_count], &e) != MCP_OK) {
        cli_usage(state, "--slo: %s, not '%s'", e.text, text);
    }
    p->slo_count++;
}

static void set_now(struct plan *p, struct argp_state *state, const char *text)
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
    struct plan *p = state->input;

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
static struct point *find_point(const struct plan *p, size_t nodes, uint32_t slots)
{
    for (size_t i = 0; i < p->point_count; i++) {
        if (p->points[i].nodes == nodes && p->points[i].slots == slots) {
            return &p->points[i];
        }
    }
    return NULL;
}

static struct point *try(struct plan *p, size_t nodes, uint32_t slots)
{
    struct point *at = find_point(p, nodes, slots);
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
    *at = (struct point){.nodes = nodes, .slots = slots, .result = xcalloc(1, sizeof(*at->result))};
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
static size_t guess(const struct plan *p, uint32_t slots)
{
    struct farm_node node = cli_farm_node(&p->farm, slots);
    double nodes = ceil(cli_farm_per_s(&p->farm) / cli_farm_node_per_s(&p->farm, &node));

    return nodes < 1 ? 1 : nodes > (double)p->most ? p->most : (size_t)nodes;
}

/* How many times what is asked it is, of the worst. */
static double excess(const struct plan *p, const struct point *at)
{
    double worst = 0;

    for (size_t i = 0; i < p->slo_count; i++) {
        double here = at->values_us[i] / (p->slos[i].limit_us > 0 ? p->slos[i].limit_us : 1);

        worst = here > worst ? here : worst;
    }
    return worst;
}

static void search_slots(struct plan *p, uint32_t slots)
{
    struct farm_search search;
    double least = INFINITY;
    size_t nodes;
    int in_vain = 0; /* times that twice the nodes did not help */

    farm_search_begin(&search, guess(p, slots), p->most);
    while (in_vain < IN_VAIN_MOST && !cli_farm_interrupted() && farm_search_next(&search, &nodes)) {
        const struct point *at = try(p, nodes, slots);

        in_vain = at->met || search.high != 0 || excess(p, at) < HELPS * least ? 0 : in_vain + 1;
        least = excess(p, at) < least ? excess(p, at) : least;
        farm_search_tell(&search, at->met);
    }
    p->uneven = p->uneven || search.uneven;
}

static int by_size(const void *a, const void *b)
{
    const struct point *x = a, *y = b;

    if (x->slots != y->slots) {
        return x->slots < y->slots ? -1 : 1;
    }
    return x->nodes < y->nodes ? -1 : x->nodes > y->nodes;
}

/* Of a number of slots, the fewest nodes behind which all will do; `end`: there is none. */
static size_t fewest(const struct plan *p, size_t begin, size_t end)
{
    size_t least = end;

    for (size_t i = end; i > begin && (p->points[i - 1].met || p->points[i - 1].extra); i--) {
        least = p->points[i - 1].extra ? least : i - 1;
    }
    return least;
}

/* NULL: none will do. */
static struct point *choose_point(struct plan *p)
{
    struct point *best = NULL;
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

/* --- what came of it -------------------------------------------------------------------------- */

static void add_duration(struct cli_table *t, double us)
{
    char text[FARM_DURATION_MAX];

    farm_format_duration(us, text);
    cli_table_add(t, slice_str(text));
}

static void print_points(const struct plan *p)
{
    struct cli_table table = {.columns = COLUMNS_BEFORE + p->slo_count + COLUMNS_AFTER};

    cli_table_add(&table, SLICE("SLOTS"));
    cli_table_add(&table, SLICE("NODES"));
    for (size_t i = 0; i < p->slo_count; i++) {
        char name[FARM_SLO_NAME_MAX];

        slice_copy(slice_str(p->slos[i].name), name, sizeof(name));
        for (char *c = name; *c != '\0'; c++) {
            *c = (char)(*c == '_' ? ' ' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        }
        cli_table_add(&table, slice_str(name));
    }
    cli_table_add(&table, SLICE("SLOTS BUSY"));
    cli_table_add(&table, SLICE("LOADS"));
    cli_table_add(&table, SLICE(""));
    for (size_t i = 0; i < p->point_count; i++) {
        const struct point *at = &p->points[i];

        cli_farm_cell(&table, "%u", at->slots);
        cli_farm_cell(&table, "%zu", at->nodes);
        for (size_t k = 0; k < p->slo_count; k++) {
            add_duration(&table, at->values_us[k]);
        }
        cli_farm_cell(&table, "%.0f %%", 100 * at->busy);
        cli_farm_cell(&table, "%.0f", (double)at->result->report.loads);
        cli_table_add(&table, at->chosen          ? SLICE("enough, the fewest")
                              : at->met           ? SLICE("enough")
                              : at->result->whole ? SLICE("too few")
                                                  : SLICE("interrupted"));
    }
    cli_table_print(&table);
}

static void print_values(const struct plan *p, const struct point *at)
{
    for (size_t i = 0; i < p->slo_count; i++) {
        char value[FARM_DURATION_MAX], limit[FARM_DURATION_MAX];

        farm_format_duration(at->values_us[i], value);
        farm_format_duration(p->slos[i].limit_us, limit);
        (void)printf("%s %s %s (asked: %s)", i == 0 ? ":" : ",", p->slos[i].name, value, limit);
    }
    (void)putchar('\n');
}

static void print_answer(const struct plan *p, const struct point *best)
{
    if (best != NULL) {
        (void)printf("\n%zu node%s of %u slot%s will do", best->nodes, best->nodes == 1 ? "" : "s",
                     best->slots, best->slots == 1 ? "" : "s");
        print_values(p, best);
    } else if (!cli_farm_interrupted()) {
        (void)printf("\nNo number of nodes up to %lu was found that will do", p->most);
        (void)puts(p->slots_count == 1 ? " with these slots." : " with any of these slots.");
    }
    for (size_t i = 0; i < p->point_count; i++) {
        const struct point *at = &p->points[i];

        if (at->of_now) {
            (void)printf("The %zu node%s of %u slot%s of now %s", at->nodes,
                         at->nodes == 1 ? "" : "s", at->slots, at->slots == 1 ? "" : "s",
                         at->met ? "will do" : "will not do");
            print_values(p, at);
        }
    }
    if (cli_farm_interrupted()) {
        (void)puts("\nIt was interrupted.");
    }
    if (p->uneven) {
        (void)puts("More nodes were not always better: some number that would have done was passed "
                   "over, as one more would not.");
    }
}

static void add_point(yyjson_mut_doc *doc, yyjson_mut_val *points, const struct plan *p,
                      const struct point *at)
{
    yyjson_mut_val *object = yyjson_mut_arr_add_obj(doc, points);

    (void)(yyjson_mut_obj_add_uint(doc, object, "nodes", at->nodes) &&
           yyjson_mut_obj_add_uint(doc, object, "slots", at->slots) &&
           yyjson_mut_obj_add_bool(doc, object, "enough", at->met) &&
           yyjson_mut_obj_add_bool(doc, object, "now", at->of_now));
    for (size_t i = 0; i < p->slo_count; i++) {
        (void)yyjson_mut_obj_add_real(doc, object, p->slos[i].name, at->values_us[i] / 1e6);
    }
    cli_farm_add_report(doc, object, at->result);
}

static int write_json(const struct plan *p, const struct point *best)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *slos, *points;
    int rc;

    yyjson_mut_doc_set_root(doc, root);
    (void)yyjson_mut_obj_add_uint(doc, root, "mcpgate_plan", 1);
    cli_farm_add_options(doc, root, &p->farm);
    slos = yyjson_mut_obj_add_obj(doc, root, "slo_s");
    for (size_t i = 0; i < p->slo_count; i++) {
        (void)yyjson_mut_obj_add_real(doc, slos, p->slos[i].name, p->slos[i].limit_us / 1e6);
    }
    if (best == NULL) {
        (void)yyjson_mut_obj_add_null(doc, root, "nodes");
        (void)yyjson_mut_obj_add_null(doc, root, "slots");
    } else {
        (void)yyjson_mut_obj_add_uint(doc, root, "nodes", best->nodes);
        (void)yyjson_mut_obj_add_uint(doc, root, "slots", best->slots);
    }
    points = yyjson_mut_obj_add_arr(doc, root, "tried");
    for (size_t i = 0; i < p->point_count; i++) {
        add_point(doc, points, p, &p->points[i]);
    }
    rc = cli_farm_write_json(&p->farm, doc);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int write_svg(const struct plan *p, const struct buf *about)
{
    struct farm_chart_plan *points = xcalloc(p->point_count, sizeof(*points));
    struct buf chart = {0};
    int rc;

    for (size_t i = 0; i < p->point_count; i++) {
        const struct point *at = &p->points[i];

        points[i] = (struct farm_chart_plan){
            .nodes = at->nodes,
            .slots = at->slots,
            .value_us = at->values_us[0],
            .met = at->met,
            .chosen = at->chosen,
        };
    }
    farm_chart_plan(&chart, about->data, &p->slos[0], points, p->point_count);
    rc = cli_farm_write_svg(&p->farm, &chart);
    buf_fini(&chart);
    free(points);
    return rc;
}

static void try_now(struct plan *p)
{
    uint32_t slots = (uint32_t)(p->now_slots > 0 ? p->now_slots : p->slots[0]);
    bool extra = find_point(p, p->now_nodes, slots) == NULL;
    struct point *at = try(p, p->now_nodes, slots);

    at->extra = extra;
    at->of_now = true;
}

static void search_all(struct plan *p)
{
    for (size_t i = 0; i < p->slots_count; i++) {
        search_slots(p, (uint32_t)p->slots[i]);
    }
    if (p->now_nodes > 0 && !cli_farm_interrupted()) {
        try_now(p);
    }
}

static int plan(struct plan *p)
{
    bool quiet = p->farm.json_path != NULL && strcmp(p->farm.json_path, "-") == 0;
    struct buf about = {0};
    struct point *best;
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
        print_points(p);
        print_answer(p, best);
    }
    rc = write_json(p, best);
    if (rc == CLI_EXIT_OK && p->farm.svg_path != NULL) {
        rc = write_svg(p, &about);
    }
    buf_fini(&about);
    if (rc == CLI_EXIT_OK && cli_farm_interrupted()) {
        return CLI_EXIT_INTERRUPTED;
    }
    return rc == CLI_EXIT_OK && best == NULL ? CLI_EXIT_FAILED : rc;
}

/* Fewer nodes are tried than --most says where there are very many models. */
static bool fits(struct plan *p)
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
    struct plan p = {.slots = {1, 2, 4, 8}, .slots_count = 4, .most = 2000};
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
