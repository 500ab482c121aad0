/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/plan.h"
#include "cli/text.h"
#include "farm/chart.h"

enum { COLUMNS_BEFORE = 2, COLUMNS_AFTER = 3 };

static void add_duration(struct cli_table *t, double us)
{
    char text[FARM_DURATION_MAX];

    farm_format_duration(us, text);
    cli_table_add(t, slice_str(text));
}

void cli_plan_print(const struct cli_plan *p)
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
        const struct cli_plan_point *at = &p->points[i];

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

static void print_values(const struct cli_plan *p, const struct cli_plan_point *at)
{
    for (size_t i = 0; i < p->slo_count; i++) {
        char value[FARM_DURATION_MAX], limit[FARM_DURATION_MAX];

        farm_format_duration(at->values_us[i], value);
        farm_format_duration(p->slos[i].limit_us, limit);
        (void)printf("%s %s %s (asked: %s)", i == 0 ? ":" : ",", p->slos[i].name, value, limit);
    }
    (void)putchar('\n');
}

void cli_plan_print_answer(const struct cli_plan *p, const struct cli_plan_point *best)
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
        const struct cli_plan_point *at = &p->points[i];

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

static void add_point(yyjson_mut_doc *doc, yyjson_mut_val *points, const struct cli_plan *p,
                      const struct cli_plan_point *at)
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

int cli_plan_write_json(const struct cli_plan *p, const struct cli_plan_point *best)
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

int cli_plan_write_svg(const struct cli_plan *p, const struct buf *about)
{
    struct farm_chart_plan *points = xcalloc(p->point_count, sizeof(*points));
    struct buf chart = {0};
    int rc;

    for (size_t i = 0; i < p->point_count; i++) {
        const struct cli_plan_point *at = &p->points[i];

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
