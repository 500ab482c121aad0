/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/svg.h"

static void escape(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            (void)buf_append_str(out, "&lt;");
            break;
        case '>':
            (void)buf_append_str(out, "&gt;");
            break;
        case '&':
            (void)buf_append_str(out, "&amp;");
            break;
        default:
            (void)buf_append_byte(out, *text);
        }
    }
}

void svg_begin(struct buf *out, int width, int height, const char *title)
{
    (void)buf_printf(out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                     "font-family=\"sans-serif\">\n<title>",
                     width, height);
    escape(out, title);
    (void)buf_printf(out, "</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width,
                     height);
}

void svg_end(struct buf *out)
{
    (void)buf_append_str(out, "</svg>\n");
}

void svg_text(struct buf *out, struct svg_point at, enum svg_anchor anchor, int size,
              const char *colour, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};

    (void)buf_printf(out,
                     "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" "
                     "fill=\"%s\">",
                     at.x, at.y, anchors[anchor], size, colour);
    escape(out, text);
    (void)buf_append_str(out, "</text>\n");
}

void svg_line(struct buf *out, struct svg_point from, struct svg_point to, const char *colour,
              double width, const char *dashes)
{
    (void)buf_printf(out,
                     "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
                     "stroke-width=\"%.1f\"",
                     from.x, from.y, to.x, to.y, colour, width);
    if (dashes != NULL) {
        (void)buf_printf(out, " stroke-dasharray=\"%s\"", dashes);
    }
    (void)buf_append_str(out, "/>\n");
}

void svg_path(struct buf *out, const struct svg_point *points, size_t count, const char *colour)
{
    (void)buf_printf(out,
                     "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\" "
                     "stroke-linejoin=\"round\" points=\"",
                     colour);
    for (size_t i = 0; i < count; i++) {
        (void)buf_printf(out, "%s%.1f,%.1f", i == 0 ? "" : " ", points[i].x, points[i].y);
    }
    (void)buf_append_str(out, "\"/>\n");
}

void svg_bar(struct buf *out, struct svg_point top_left, double width, double height,
             const char *colour)
{
    (void)buf_printf(out,
                     "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n",
                     top_left.x, top_left.y, width, height, colour);
}

void svg_dot(struct buf *out, struct svg_point at, double radius, const char *colour)
{
    (void)buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"/>\n", at.x, at.y,
                     radius, colour);
}
