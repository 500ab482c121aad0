/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/chart.h"

#include <math.h>
#include <stdio.h>

#include "farm/svg.h"

enum {
    WIDTH = 1100,
    HEIGHT = 470,
    PATH_POINTS = 160,
    SIDE_BARS = 4,
    LABEL_MAX = 48,
    TITLE_SIZE = 17,
    LABEL_SIZE = 13,
    SMALL_SIZE = 12,
    LINES_MOST = 8
};

#define INK "#111111"
#define SOFT "#777777"
#define GRID "#e4e4e4"
#define LIMIT "#b00020"

/* As in the charts of the benchmark: apart for the colour-blind too. */
static const char *const policy_colours[FARM_POLICY_COUNT] = {"#999999", "#56a0d3", "#d9a300",
                                                              "#c4501b"};
static const char *const line_colours[LINES_MOST] = {"#56a0d3", "#d9a300", "#c4501b", "#00845c",
                                                     "#b07aa1", "#4d4d4d", "#7fbf9f", "#6b4c9a"};

/* Where things are drawn, and what the ends of the axes mean. */
struct plot {
    double left, right, top, bottom;
    double x_least, x_most, y_least, y_most; /* of logarithms where an axis is one */
};

static double x_at(const struct plot *p, double x)
{
    return p->left + (x - p->x_least) / (p->x_most - p->x_least) * (p->right - p->left);
}

static double y_at(const struct plot *p, double y)
{
    return p->bottom - (y - p->y_least) / (p->y_most - p->y_least) * (p->bottom - p->top);
}

static void head(struct buf *out, const char *title, const char *about)
{
    svg_begin(out, WIDTH, HEIGHT, title);
    svg_text(out, (struct svg_point){20, 30}, SVG_START, TITLE_SIZE, INK, title);
    svg_text(out, (struct svg_point){20, 50}, SVG_START, SMALL_SIZE, SOFT, about);
}

/* --- policies --- */

static void time_axis(struct buf *out, const struct plot *p)
{
    for (double power = ceil(p->x_least); power <= p->x_most; power++) {
        double x = x_at(p, power);
        char label[FARM_DURATION_MAX];

        farm_format_duration(pow(10, power), label);
        svg_line(out, (struct svg_point){x, p->top}, (struct svg_point){x, p->bottom}, GRID, 1,
                 NULL);
        svg_text(out, (struct svg_point){x, p->bottom + 18}, SVG_MIDDLE, SMALL_SIZE, SOFT, label);
    }
}

static void share_axis(struct buf *out, const struct plot *p)
{
    static const int percents[] = {0, 25, 50, 75, 90, 99};

    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        double y = y_at(p, percents[i] / 100.0);
        char label[LABEL_MAX];

        (void)snprintf(label, sizeof(label), "%d %%", percents[i]);
        svg_line(out, (struct svg_point){p->left, y}, (struct svg_point){p->right, y}, GRID, 1,
                 NULL);
        svg_text(out, (struct svg_point){p->left - 8, y + 4}, SVG_END, SMALL_SIZE, SOFT, label);
    }
}

static double clamp(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

static void distribution(struct buf *out, const struct plot *p, const struct farm_histogram *h,
                         const char *colour)
{
    struct svg_point points[PATH_POINTS + 1];

    for (int i = 0; i <= PATH_POINTS; i++) {
        double share = (double)i / PATH_POINTS;
        double us = farm_histogram_quantile(h, share);

        points[i] = (struct svg_point){
            x_at(p, clamp(log10(us < 1 ? 1 : us), p->x_least, p->x_most)), y_at(p, share)};
    }
    svg_path(out, points, PATH_POINTS + 1, colour);
}

static struct plot distribution_plot(const struct farm_chart_policy *policies, size_t count)
{
    struct plot p = {.left = 70, .right = 610, .top = 80, .bottom = 400, .y_most = 1};
    double least = INFINITY, most = 0;

    for (size_t i = 0; i < count; i++) {
        double low = farm_histogram_quantile(&policies[i].report->first, 0.01);
        double high = farm_histogram_quantile(&policies[i].report->first, 1);

        least = low < least ? low : least;
        most = high > most ? high : most;
    }
    p.x_least = floor(log10(least < 1 ? 1 : least) * 2) / 2;
    p.x_most = log10(most < 10 ? 10 : most);
    p.x_most = p.x_most < p.x_least + 1 ? p.x_least + 1 : p.x_most;
    return p;
}

/* What else tells policies apart. */
struct side {
    const char *title;
    double value[FARM_POLICY_COUNT];
    char label[FARM_POLICY_COUNT][FARM_DURATION_MAX];
};

static void read_sides(struct side sides[SIDE_BARS], const struct farm_report *r, size_t i)
{
    double known = r->prompt_tokens == 0 ? 0 : (double)r->cached_tokens / (double)r->prompt_tokens;

    sides[0].value[i] = farm_histogram_quantile(&r->first, 0.99);
    farm_format_duration(sides[0].value[i], sides[0].label[i]);
    sides[1].value[i] = (double)r->loads;
    (void)snprintf(sides[1].label[i], FARM_DURATION_MAX, "%.0f", (double)r->loads);
    sides[2].value[i] = known;
    (void)snprintf(sides[2].label[i], FARM_DURATION_MAX, "%.0f %%", 100 * known);
    sides[3].value[i] = farm_report_busiest(r);
    (void)snprintf(sides[3].label[i], FARM_DURATION_MAX, "%.2f", sides[3].value[i]);
}

static void draw_side(struct buf *out, const struct side *side, double top,
                      const struct farm_chart_policy *policies, size_t count)
{
    double most = 0;

    svg_text(out, (struct svg_point){660, top}, SVG_START, LABEL_SIZE, INK, side->title);
    for (size_t i = 0; i < count; i++) {
        most = side->value[i] > most ? side->value[i] : most;
    }
    for (size_t i = 0; i < count; i++) {
        double y = top + 7 + 14.0 * (double)i;
        double width = most > 0 ? 1 + 319 * side->value[i] / most : 1;

        svg_bar(out, (struct svg_point){660, y}, width, 11, policy_colours[policies[i].policy]);
        svg_text(out, (struct svg_point){668 + width, y + 10}, SVG_START, SMALL_SIZE, SOFT,
                 side->label[i]);
    }
}

void farm_chart_compare(struct buf *out, const char *about,
                        const struct farm_chart_policy *policies, size_t count)
{
    struct side sides[SIDE_BARS] = {{.title = "Time to the first token, p99"},
                                    {.title = "Loads of models"},
                                    {.title = "Prompt tokens that were known already"},
                                    {.title = "Busiest node, in means"}};
    struct plot p = distribution_plot(policies, count);

    head(out, "Requests that have had their first token after so long", about);
    time_axis(out, &p);
    share_axis(out, &p);
    for (size_t i = 0; i < count; i++) {
        const char *colour = policy_colours[policies[i].policy];
        double x = 70 + 180.0 * (double)i;

        distribution(out, &p, &policies[i].report->first, colour);
        read_sides(sides, policies[i].report, i);
        svg_bar(out, (struct svg_point){x, 437}, 14, 11, colour);
        svg_text(out, (struct svg_point){x + 20, 447}, SVG_START, LABEL_SIZE, INK,
                 farm_policy_name(policies[i].policy));
    }
    for (int i = 0; i < SIDE_BARS; i++) {
        draw_side(out, &sides[i], 88 + 84.0 * i, policies, count);
    }
    svg_end(out);
}

/* --- plans --- */

static struct plot plan_plot(const struct farm_slo *slo, const struct farm_chart_plan *points,
                             size_t count)
{
    struct plot p = {.left = 90, .right = 1060, .top = 80, .bottom = 390};
    double least = slo->limit_us, most = slo->limit_us;

    p.x_least = p.x_most = count == 0 ? 1 : (double)points[0].nodes;
    for (size_t i = 0; i < count; i++) {
        double nodes = (double)points[i].nodes;

        least = points[i].value_us < least ? points[i].value_us : least;
        most = points[i].value_us > most ? points[i].value_us : most;
        p.x_least = nodes < p.x_least ? nodes : p.x_least;
        p.x_most = nodes > p.x_most ? nodes : p.x_most;
    }
    p.x_least = log10(p.x_least) - 0.03;
    p.x_most = log10(p.x_most) + 0.03;
    p.y_least = log10(least < 1 ? 1 : least) - 0.1;
    p.y_most = log10(most < 10 ? 10 : most) + 0.1;
    return p;
}

/* 1, 2, 5, 10, 20 ... of what is shown. */
static void plan_axes(struct buf *out, const struct plot *p)
{
    static const double steps[] = {1, 2, 5};
    char label[LABEL_MAX];

    for (int power = 0; power < 16; power++) {
        for (size_t i = 0; i < 3; i++) {
            double value = steps[i] * pow(10, power), at = log10(value);

            if (at >= p->x_least && at <= p->x_most) {
                double x = x_at(p, at);

                (void)snprintf(label, sizeof(label), "%.0f", value);
                svg_line(out, (struct svg_point){x, p->top}, (struct svg_point){x, p->bottom}, GRID,
                         1, NULL);
                svg_text(out, (struct svg_point){x, p->bottom + 18}, SVG_MIDDLE, SMALL_SIZE, SOFT,
                         label);
            }
            if (at >= p->y_least && at <= p->y_most) {
                double y = y_at(p, at);

                farm_format_duration(value, label);
                svg_line(out, (struct svg_point){p->left, y}, (struct svg_point){p->right, y}, GRID,
                         1, NULL);
                svg_text(out, (struct svg_point){p->left - 8, y + 4}, SVG_END, SMALL_SIZE, SOFT,
                         label);
            }
        }
    }
    svg_text(out, (struct svg_point){p->right, p->bottom + 36}, SVG_END, SMALL_SIZE, SOFT, "nodes");
}

static struct svg_point plan_point(const struct plot *p, const struct farm_chart_plan *point)
{
    double us = point->value_us < 1 ? 1 : point->value_us;

    return (struct svg_point){x_at(p, log10((double)point->nodes)), y_at(p, log10(us))};
}

/* A number of slots; returns behind its points. */
static size_t plan_line(struct buf *out, const struct plot *p, const struct farm_chart_plan *points,
                        size_t count, size_t line)
{
    const char *colour = line_colours[line % LINES_MOST];
    struct svg_point path[PATH_POINTS];
    char label[LABEL_MAX];
    double x = 90 + 120.0 * (double)line;
    size_t n = 0;

    while (n < count && n < PATH_POINTS && points[n].slots == points[0].slots) {
        path[n] = plan_point(p, &points[n]);
        n++;
    }
    svg_path(out, path, n, colour);
    for (size_t i = 0; i < n; i++) {
        svg_dot(out, path[i], points[i].chosen ? 8 : 4, points[i].met ? colour : "#cccccc");
    }
    (void)snprintf(label, sizeof(label), "%u slot%s", points[0].slots,
                   points[0].slots == 1 ? "" : "s");
    svg_bar(out, (struct svg_point){x, 437}, 14, 11, colour);
    svg_text(out, (struct svg_point){x + 20, 447}, SVG_START, LABEL_SIZE, INK, label);
    return n;
}

void farm_chart_plan(struct buf *out, const char *about, const struct farm_slo *slo,
                     const struct farm_chart_plan *points, size_t count)
{
    struct plot p = plan_plot(slo, points, count);
    double y = y_at(&p, log10(slo->limit_us < 1 ? 1 : slo->limit_us));
    char title[LABEL_MAX], limit[FARM_DURATION_MAX], label[LABEL_MAX];

    (void)snprintf(title, sizeof(title), "%s, by nodes and slots", slo->name);
    farm_format_duration(slo->limit_us, limit);
    (void)snprintf(label, sizeof(label), "asked: %s", limit);
    head(out, title, about);
    plan_axes(out, &p);
    svg_line(out, (struct svg_point){p.left, y}, (struct svg_point){p.right, y}, LIMIT, 1.5, "6,3");
    svg_text(out, (struct svg_point){p.right, y - 6}, SVG_END, SMALL_SIZE, LIMIT, label);
    for (size_t i = 0, line = 0; i < count; line++) {
        i += plan_line(out, &p, &points[i], count - i, line);
    }
    svg_end(out);
}
