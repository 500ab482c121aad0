/* SPDX-License-Identifier: Apache-2.0 */
/* Drawings as SVG text: a card of its own colour, so that it can be read on any page. Coordinates
 * are pixels from the top left. Texts are escaped. A failed append is kept in the buf. */
#ifndef MCP_FARM_SVG_H
#define MCP_FARM_SVG_H

#include "base/buf.h"

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };

struct svg_point {
    double x, y;
};

void svg_begin(struct buf *out, int width, int height, const char *title);
void svg_end(struct buf *out);
void svg_text(struct buf *out, struct svg_point at, enum svg_anchor anchor, int size,
              const char *colour, const char *text);
/* `dashes`: as of stroke-dasharray; NULL: solid. */
void svg_line(struct buf *out, struct svg_point from, struct svg_point to, const char *colour,
              double width, const char *dashes);
void svg_path(struct buf *out, const struct svg_point *points, size_t count, const char *colour);
void svg_bar(struct buf *out, struct svg_point top_left, double width, double height,
             const char *colour);
void svg_dot(struct buf *out, struct svg_point at, double radius, const char *colour);

#endif
