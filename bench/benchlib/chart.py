# SPDX-License-Identifier: Apache-2.0
"""One SVG chart for each group of bars, by pygal (bench/requirements.txt): medians, and whiskers from least to
most. A card of its own colour, so that it can be read on any page."""
import dataclasses
import math

from benchlib import bars, cases, queues
from benchlib.cases import DIRECT, EPOLL, HAPROXY, HTTP, IO_URING, MAIN_SUB, MCP_1, MCP_8, NGINX, RELAY, SINGLE

SHORT = [c.name for c in cases.SHORT]
# By target, so that each has one colour in all charts; of similar lightness, apart for the colour-blind too.
COLOURS = {"direct": "#999999", "relay": "#4d4d4d", "nginx": "#56a0d3", "haproxy": "#d9a300",
           "mcpgate http": "#c4501b", "mcpgate mcp, 1 conn": "#00845c", "mcpgate mcp, 8 conns": "#7fbf9f",
           "mcpgate mcp, each": "#00845c", "mcpgate http/epoll": "#e08a5f", "mcpgate http/io_uring": "#8c2d04",
           "mcpgate http/single": "#b07aa1", "mcpgate http/main-sub": "#6b4c9a"}
OTHER = "#c4501b"
LIMIT = "#b00020"


@dataclasses.dataclass
class Chart:
    group: str  # of bars
    title: str
    columns: list
    series: dict  # name: [{median, min, max} or None] of the columns
    limit: float

    def reduced(self):
        """Without what was not measured."""
        series = {name: values for name, values in self.series.items() if any(values)}
        kept = [i for i in range(len(self.columns)) if any(values[i] for values in series.values())]
        return Chart(self.group, self.title, [self.columns[i] for i in kept],
                     {name: [values[i] for i in kept] for name, values in series.items()}, self.limit)


def by_case(group, title, where, targets, value, limit):
    return Chart(group, title, where, {t.name: [value(case, t) for case in where] for t in targets}, limit)


def share_of(spread, limit):
    return spread and {name: n / limit for name, n in spread.items()}


def allowed(spread, relation, limit):
    """Below 1 where it holds, whichever way the bar goes."""
    return share_of(spread, limit) if relation == "<=" else spread and {
        "median": limit / spread["median"], "min": limit / spread["max"], "max": limit / spread["min"]}


def charts(found):
    def to(other, figure):
        return lambda case, target: found.compared(case, figure, target, other)

    def of(figure):
        return lambda case, target: found.summed(case, figure, target)
    here = [NGINX, HAPROXY, HTTP]
    yield by_case("simulator", "requests/s without anything between, as a share of the relay's", SHORT, [DIRECT],
                  to(RELAY, "requests_per_s"), 1.5)
    yield by_case("http", "requests/s, as a share of the relay's", bars.CLOSED, here, to(RELAY, "requests_per_s"), 0.9)
    yield by_case("latency", "p50 with 1 in flight, less that of direct, us (the bar: nginx)", ["short-1"],
                  [RELAY, *here, MCP_1], of("added_p50_us"),
                  (found.summed("short-1", "added_p50_us", NGINX) or {}).get("median", 0))
    yield by_case("mcp", "requests/s, as a share of the relay's (the bar: 1 connection, 64 in flight)", SHORT,
                  [HTTP, MCP_1, MCP_8], to(RELAY, "requests_per_s"), 1.6)
    yield by_case("backends", "requests per CPU second, as a share of those of epoll "
                  "(the bar: io_uring, 256 in flight)", SHORT, [IO_URING, SINGLE, MAIN_SUB],
                  to(EPOLL, "requests_per_cpu_s"), 1.2)
    yield by_case("parts-cpu", "CPU per streamed part, us", bars.STREAMS, [RELAY, *here, MCP_1],
                  of("cpu_us_per_part"), 3.0)
    yield by_case("parts-sends", "sends to the client per streamed part", bars.STREAMS, [RELAY, *here, MCP_1],
                  of("sends_per_part"), 1.0)
    yield Chart("parts-copies", "share of a streamed part that is copied in user space", ["streams"],
                {t.name: [found.copied(t)] for t in (HTTP, MCP_1)}, bars.NO_COPY)
    yield Chart("idle", "memory of an idle connection, bytes", ["idle"],
                {name: [row["figures"].get("bytes_per_connection")] for name, row in found.idle.items()}, 2048)
    yield Chart("start", "start to ready (bar 30 ms), and idle RSS (bar 12 MB), as shares of the bars",
                ["start to ready", "idle RSS"],
                {"mcpgate": [share_of(found.start.get("ready_ms"), 30), share_of(found.start.get("idle_rss_mb"), 12)]},
                1.0)
    yield Chart("batch", "embeddings that share calls: requests/s, as a share of what is possible", list(found.batch),
                {"mcpgate": [row["of_ceiling"] for row in found.batch.values()]}, 0.97)
    yield Chart("queue", "the scheduler on a running gateway: measured, as a share of what the bar allows",
                [f"{part}: {name.replace('_', ' ')}" for part, name, *_ in queues.BARS],
                {"mcpgate": [allowed(queues.figure(found.queue, part, name), relation, limit)
                             for part, name, _, relation, limit in queues.BARS]}, 1.0)


def ticks(least, most):
    """About six round numbers that span both."""
    rough = (most - least) / 5 or 1
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n >= rough)
    return [step * i for i in range(math.floor(least / step), math.ceil(most / step) + 1)]


def number(n):
    return f"{n:,.0f}" if abs(n) >= 100 or n == 0 else f"{n:.3g}"


def render(chart, simulated, path):
    import pygal  # only where there is something to draw, from the environment of the benchmark
    from pygal.style import Style

    values = [v for series in chart.series.values() for v in series if v]
    scale = ticks(min(0, *(v["min"] for v in values)), max(chart.limit, *(v["max"] for v in values)))
    style = Style(background="#ffffff", plot_background="#ffffff", foreground="#333333", foreground_strong="#111111",
                  foreground_subtle="#777777", opacity="1", opacity_hover="0.8", guide_stroke_color="#e4e4e4",
                  guide_stroke_dasharray="0", major_guide_stroke_color=LIMIT, major_guide_stroke_dasharray="6,3",
                  font_family="sans-serif", title_font_size=17, label_font_size=13, major_label_font_size=13,
                  legend_font_size=13, value_font_size=11,
                  colors=[COLOURS.get(name, OTHER) for name in chart.series],
                  ci_colors=["#111111"] * len(chart.series))
    drawn = pygal.Bar(
        style=style, js=[], pretty_print=True, legend_at_bottom=True, legend_at_bottom_columns=len(chart.series),
        width=1100, height=460, margin=15, margin_bottom=45, spacing=12, range=(scale[0], scale[-1]), zero=0,
        show_minor_y_labels=True, x_label_rotation=25 if len(chart.columns) > 6 else 0, truncate_legend=-1,
        truncate_label=-1)
    drawn.title = f"{chart.title}\nmedian, least to most; dashed: the bar, {number(chart.limit)}; " \
                  f"simulated: {str(simulated).lower()}"
    near = (scale[-1] - scale[0]) / 16  # no room for two numbers
    drawn.y_labels = [{"value": n, "label": number(n)} for n in scale if abs(n - chart.limit) > near] + \
                     [{"value": chart.limit, "label": f"bar {number(chart.limit)}"}]
    drawn.y_labels_major = [chart.limit]
    drawn.x_labels = chart.columns
    for name, series in chart.series.items():
        drawn.add(name, [v and {"value": v["median"], "ci": {"low": v["min"], "high": v["max"]}} for v in series],
                  formatter=number)
    path.write_bytes(drawn.render() + b"\n")


def draw(results, folder):
    """The files it wrote."""
    written = []
    for chart in charts(bars.Found(results)):
        chart = chart.reduced()
        if chart.series:
            written.append(folder / f"{chart.group}.svg")
            render(chart, results["simulated"], written[-1])
    return written
