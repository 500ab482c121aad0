/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate sim-cluster: what policies make of the same requests on simulated nodes. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/farm_run.h"
#include "farm/chart.h"

enum {
    OPTION_NODES = 0x100,
    OPTION_SLOTS,
    OPTION_GATEWAY_SLOTS,
    OPTION_LOAD,
    OPTION_POLICY,
    SLOTS_MOST = 4096,
    SPECS_MOST = 16,
    COLUMNS = 9
};

struct sim_cluster {
    struct cli_farm farm;
    const char *specs[SPECS_MOST];
    size_t spec_count;
    unsigned long slots, percent;
    bool has_told;
    uint32_t told;
    bool policies[FARM_POLICY_COUNT];
    struct farm_node *nodes;
    size_t node_count;
    struct cli_farm_result results[FARM_POLICY_COUNT];
    size_t result_count;
};

static const struct argp_option options[] = {
    {"nodes", OPTION_NODES, "N[:NAME=N,...]", 0,
     "So many nodes, with numbers of their own (slots, memory-mib, prompt-us, decode-us, "
     "decode-slot-us, prompt-cache); may be repeated (4)",
     1},
    {"slots", OPTION_SLOTS, "N", 0, "Slots of a node, for each model (4)", 1},
    {"gateway-slots", OPTION_GATEWAY_SLOTS, "N", 0,
     "That the gateway is told (nodes.slots): a number, auto or unlimited (as they have)", 1},
    {"load", OPTION_LOAD, "PERCENT", 0,
     "As many requests as this share of what the nodes can do, about, where there is no --rate "
     "(70)",
     1},
    {"policy", OPTION_POLICY, "A,B", 0,
     "Only these of round-robin, least-outstanding, random-2 and mcpgate", 1},
    {0},
};

/* --- the command line ------------------------------------------------------------------------- */

static void set_policies(struct sim_cluster *c, struct argp_state *state, const char *text)
{
    char *copy = strdup(text), *rest = copy, *name;
    enum farm_policy policy;

    if (copy == NULL) {
        cli_no_memory();
    }
    memset(c->policies, 0, sizeof(c->policies));
    while ((name = strsep(&rest, ",")) != NULL) {
        if (!farm_policy_find(slice_str(name), &policy)) {
            cli_usage(state,
                      "--policy: expected round-robin, least-outstanding, random-2 or mcpgate, "
                      "not '%s'",
                      name);
        }
        c->policies[policy] = true;
    }
    free(copy);
}

static uint32_t read_told(struct argp_state *state, const char *text)
{
    if (strcmp(text, "auto") == 0) {
        return SCHED_SLOTS_AUTO;
    }
    if (strcmp(text, "unlimited") == 0) {
        return SCHED_SLOTS_UNLIMITED;
    }
    return (uint32_t)cli_parse_number(state, "gateway-slots", text, SLOTS_MOST);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct sim_cluster *c = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->farm;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage(state, "expected no argument, not '%s'", arg);
    case OPTION_NODES:
        if (c->spec_count == SPECS_MOST) {
            cli_usage(state, "--nodes: at most %d of them", SPECS_MOST);
        }
        c->specs[c->spec_count++] = arg;
        return 0;
    case OPTION_SLOTS:
        c->slots = cli_farm_number(state, "slots", arg, 1, SLOTS_MOST);
        return 0;
    case OPTION_GATEWAY_SLOTS:
        c->has_told = true;
        c->told = read_told(state, arg);
        return 0;
    case OPTION_LOAD:
        c->percent = cli_parse_number(state, "load", arg, 10000);
        return 0;
    case OPTION_POLICY:
        set_policies(c, state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_sim_cluster_argp = {
    .options = options,
    .parser = parse,
    .children = cli_farm_children,
    .doc =
        "Simulates a cluster in virtual time: the same requests under the gateway's own scheduler "
        "and under simple policies, and what came of it. Nothing is sent anywhere.\vRequests are "
        "made up, or those of a recording. Times are as 2s or 250ms. The first tenth of the "
        "requests is not counted, as no node has computed a prompt yet. docs/planning.md has an "
        "example and says what is simulated and what is not.",
};

/* "4:slots=8,decode-us=10000"; false after an error was said. */
static bool add_nodes(struct sim_cluster *c, const char *spec)
{
    char *copy = strdup(spec), *rest = copy, *count_text, *item, *end;
    struct farm_node node = cli_farm_node(&c->farm, (uint32_t)c->slots);
    unsigned long count, value;
    bool good = true;

    if (copy == NULL) {
        cli_no_memory();
    }
    count_text = strsep(&rest, ":");
    count = strtoul(count_text, &end, 10);
    good = end != count_text && *end == '\0' && count >= 1 && count <= FARM_NODES_MAX &&
           *count_text != '-' && c->node_count + count <= FARM_NODES_MAX;
    while (good && (item = strsep(&rest, ",")) != NULL) {
        char *text = strchr(item, '=');

        value = text == NULL ? 0 : strtoul(text + 1, &end, 10);
        good = text != NULL && end != text + 1 && *end == '\0' && value <= INT_MAX &&
               cli_farm_node_set(&node, slice_of(item, (size_t)(text - item)), value);
    }
    free(copy);
    if (!good) {
        cli_error(
            "--nodes: expected such as 4 or 2:slots=8,decode-us=10000, at most %d in all, not "
            "'%s'",
            FARM_NODES_MAX, spec);
        return false;
    }
    c->nodes = realloc(c->nodes, (c->node_count + count) * sizeof(*c->nodes));
    if (c->nodes == NULL) {
        cli_no_memory();
    }
    for (; count > 0; count--) {
        node.told_slots = c->has_told ? c->told : node.slots;
        c->nodes[c->node_count++] = node;
    }
    return true;
}

static int make_nodes(struct sim_cluster *c)
{
    double per_s = 0;

    if (c->spec_count == 0) {
        c->specs[c->spec_count++] = "4";
    }
    for (size_t i = 0; i < c->spec_count; i++) {
        if (!add_nodes(c, c->specs[i])) {
            return CLI_EXIT_USAGE;
        }
    }
    if (c->node_count > cli_farm_nodes_most(&c->farm)) {
        cli_error("--nodes: at most %zu of them for %zu models", cli_farm_nodes_most(&c->farm),
                  c->farm.model_count);
        return CLI_EXIT_USAGE;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        per_s += cli_farm_node_per_s(&c->farm, &c->nodes[i]);
    }
    if (c->farm.per_s == 0) {
        c->farm.per_s = c->farm.load.per_s = per_s * (double)c->percent / 100;
    }
    if (!(c->farm.per_s > 0)) {
        cli_error("--load: expected a percentage above 0");
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}

/* --- what came of it -------------------------------------------------------------------------- */

static void add_time(struct cli_table *t, const struct farm_histogram *h, double share)
{
    char text[FARM_DURATION_MAX];

    farm_format_duration(farm_histogram_quantile(h, share), text);
    cli_table_add(t, h->count == 0 ? SLICE("-") : slice_str(text));
}

static void add_row(struct cli_table *t, const struct cli_farm_result *result)
{
    const struct farm_report *r = &result->report;
    double jain, apart, seconds = farm_report_seconds(r);
    bool fair = farm_report_fairness(r, &jain, &apart);

    cli_table_add(t, slice_str(farm_policy_name(result->policy)));
    add_time(t, &r->first, 0.5);
    add_time(t, &r->first, 0.99);
    cli_farm_cell(t, "%.4g", seconds > 0 ? (double)r->first.count / seconds : 0);
    cli_farm_cell(t, "%.0f", (double)r->loads);
    cli_farm_cell(
        t, "%.1f %%",
        r->prompt_tokens == 0 ? 0 : 100 * (double)r->cached_tokens / (double)r->prompt_tokens);
    if (fair) {
        cli_farm_cell(t, "%.3f", jain);
        cli_farm_cell(t, "%.0f", apart);
    } else {
        cli_table_add(t, SLICE("-"));
        cli_table_add(t, SLICE("-"));
    }
    cli_farm_cell(t, "%.2f", farm_report_busiest(r));
}

static void print_results(const struct sim_cluster *c)
{
    static const char *const titles[COLUMNS] = {"POLICY",     "TTFT P50", "TTFT P99",
                                                "REQUESTS/S", "LOADS",    "KNOWN",
                                                "FAIRNESS",   "APART",    "BUSIEST"};
    struct cli_table table = {.columns = COLUMNS};

    for (size_t i = 0; i < COLUMNS; i++) {
        cli_table_add(&table, slice_str(titles[i]));
    }
    for (size_t i = 0; i < c->result_count; i++) {
        add_row(&table, &c->results[i]);
    }
    cli_table_print(&table);
    (void)fputs(
        "\nTTFT: to the first token. KNOWN: prompt tokens that the node had computed before. "
        "FAIRNESS:\nJain's index of tenants that wait for the same model (1 is even), APART: most "
        "work between two of\nthem in 10 s. BUSIEST: the busiest node, in means.\n",
        stdout);
    if (cli_farm_interrupted()) {
        const struct cli_farm_result *last = &c->results[c->result_count - 1];

        (void)printf("%s was interrupted after %" PRIu64 " of %lu requests.\n",
                     farm_policy_name(last->policy), last->totals.ended, c->farm.requests);
    }
}

static int write_json(const struct sim_cluster *c)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc), *policies;
    int rc;

    yyjson_mut_doc_set_root(doc, root);
    (void)yyjson_mut_obj_add_uint(doc, root, "mcpgate_sim_cluster", 1);
    cli_farm_add_options(doc, root, &c->farm);
    (void)yyjson_mut_obj_add_uint(doc, root, "nodes", c->node_count);
    policies = yyjson_mut_obj_add_arr(doc, root, "policies");
    for (size_t i = 0; i < c->result_count; i++) {
        yyjson_mut_val *policy = yyjson_mut_arr_add_obj(doc, policies);

        (void)yyjson_mut_obj_add_str(doc, policy, "policy", farm_policy_name(c->results[i].policy));
        cli_farm_add_report(doc, policy, &c->results[i]);
    }
    rc = cli_farm_write_json(&c->farm, doc);
    yyjson_mut_doc_free(doc);
    return rc;
}

static int write_svg(const struct sim_cluster *c, const struct buf *about)
{
    struct farm_chart_policy policies[FARM_POLICY_COUNT];
    struct buf chart = {0};
    int rc;

    if (c->farm.svg_path == NULL) {
        return CLI_EXIT_OK;
    }
    for (size_t i = 0; i < c->result_count; i++) {
        policies[i] = (struct farm_chart_policy){c->results[i].policy, &c->results[i].report};
    }
    farm_chart_compare(&chart, about->data, policies, c->result_count);
    rc = cli_farm_write_svg(&c->farm, &chart);
    buf_fini(&chart);
    return rc;
}

static void run_policies(struct sim_cluster *c)
{
    for (size_t i = 0; i < FARM_POLICY_COUNT; i++) {
        if (c->policies[i] && (c->result_count == 0 || !cli_farm_interrupted())) {
            cli_farm_run(&c->farm, c->nodes, c->node_count, (enum farm_policy)i,
                         farm_policy_name((enum farm_policy)i), &c->results[c->result_count++]);
        }
    }
}

static int simulate(struct sim_cluster *c)
{
    bool quiet = c->farm.json_path != NULL && strcmp(c->farm.json_path, "-") == 0;
    struct buf about = {0};
    int rc, svg_rc;

    cli_farm_about(&c->farm, &about);
    (void)buf_printf(&about, "; %zu node%s", c->node_count, c->node_count == 1 ? "" : "s");
    if (!buf_append_byte(&about, '\0')) {
        cli_no_memory();
    }
    if (!quiet) {
        (void)printf("%s\n\n", about.data);
        (void)fflush(stdout);
    }
    run_policies(c);
    if (!quiet) {
        print_results(c);
    }
    rc = write_json(c);
    svg_rc = write_svg(c, &about);
    buf_fini(&about);
    rc = rc == CLI_EXIT_OK ? svg_rc : rc;
    return rc == CLI_EXIT_OK && cli_farm_interrupted() ? CLI_EXIT_INTERRUPTED : rc;
}

int cli_sim_cluster(int argc, char **argv)
{
    struct sim_cluster *c = xcalloc(1, sizeof(*c)); /* its reports are too large for a stack */
    int rc;

    c->farm.requests = 100 * 1000;
    c->slots = 4;
    c->percent = 70;
    memset(c->policies, true, sizeof(c->policies));
    cli_parse(&cli_sim_cluster_argp, argc, argv, c);
    cli_farm_watch_interrupt();
    rc = cli_farm_make(&c->farm);
    if (rc == CLI_EXIT_OK) {
        rc = make_nodes(c);
    }
    if (rc == CLI_EXIT_OK) {
        rc = simulate(c);
    }
    for (size_t i = 0; i < c->result_count; i++) {
        cli_farm_result_fini(&c->results[i]);
    }
    cli_farm_fini(&c->farm);
    free(c->nodes);
    free(c);
    return rc;
}
