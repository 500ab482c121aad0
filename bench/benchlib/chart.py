# SPDX-License-Identifier: Apache-2.0
"""SVG charts of the results, by pygal (bench/requirements.txt)."""
CHARTS = (
    ("requests_per_s", "requests per second, relative to the relay", True),
    ("p99_us", "p99 latency, relative to the relay", True),
    ("cpu_us", "CPU of the gateway per request, us", False),
)


def values_of(case, targets, figure, relative):
    for target in targets:
        found = case["summary"].get(target, {}).get(figure)
        if found and relative:
            found = {"median": 1, "min": 1, "max": 1} if target == "relay" else found.get("ratio")
        yield None if found is None else {"value": found["median"],
                                          "ci": {"low": found["min"], "high": found["max"]}}


def draw(cases, folder, simulated):
    """The files it wrote."""
    import pygal  # only where there is something to draw, from the environment of the benchmark

    targets = list(dict.fromkeys(name for case in cases for name in case["summary"]))
    written = []
    for figure, title, relative in CHARTS:
        config = {"js": [], "pretty_print": True, "legend_at_bottom": True, "width": 1200, "height": 500,
                  "x_label_rotation": 30}
        chart = pygal.Bar(**config)
        chart.title = f"{title} (medians, least to most; simulated: {str(simulated).lower()})"
        chart.x_labels = [case["name"] for case in cases]
        columns = [list(values_of(case, targets, figure, relative)) for case in cases]
        for i, target in enumerate(targets):
            series = [column[i] for column in columns]
            if any(series):
                chart.add(target, series)
        written.append(folder / f"{figure}.svg")
        chart.render_to_file(str(written[-1]))
    return written
