/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/rfc3339.h"

enum { DAY_S = 86400 };

/* Takes `digits` digits off the text, and `after` behind them ('\0': nothing). */
static bool take(struct slice *text, size_t digits, char after, int64_t *out)
{
    size_t len = digits + (after != '\0');

    if (text->len < len || (after != '\0' && text->ptr[digits] != after)) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < digits; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9') {
            return false;
        }
        *out = *out * 10 + (text->ptr[i] - '0');
    }
    *text = slice_skip(*text, len);
    return true;
}

/* Of the Gregorian calendar, counted from a year that begins in March, so that the day that not
 * every year has is its last. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return 365 * y + y / 4 - y / 100 + y / 400 + of_year - 719468;
}

static int64_t take_fraction_us(struct slice *text)
{
    int64_t us = 0;
    int64_t unit = 100000;

    if (text->len == 0 || text->ptr[0] != '.') {
        return 0;
    }
    *text = slice_skip(*text, 1);
    for (; text->len > 0 && text->ptr[0] >= '0' && text->ptr[0] <= '9'; unit /= 10) {
        us += unit * (text->ptr[0] - '0');
        *text = slice_skip(*text, 1);
    }
    return us;
}

static bool take_offset_s(struct slice *text, int64_t *offset_s)
{
    int64_t hours;
    int64_t minutes;
    char sign = '\0';

    if (text->len > 0) {
        sign = text->ptr[0];
        *text = slice_skip(*text, 1);
    }
    *offset_s = 0;
    if (sign == 'Z') {
        return true;
    }
    if ((sign != '+' && sign != '-') || !take(text, 2, ':', &hours) ||
        !take(text, 2, '\0', &minutes)) {
        return false;
    }
    *offset_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool rfc3339_read(struct slice text, int64_t *us)
{
    int64_t year, month, day, hour, minute, second, fraction_us, offset_s;

    if (!take(&text, 4, '-', &year) || !take(&text, 2, '-', &month) || !take(&text, 2, 'T', &day) ||
        !take(&text, 2, ':', &hour) || !take(&text, 2, ':', &minute) ||
        !take(&text, 2, '\0', &second) || month < 1 || month > 12) {
        return false;
    }
    fraction_us = take_fraction_us(&text);
    if (!take_offset_s(&text, &offset_s) || text.len > 0) {
        return false;
    }
    *us = (days_since_1970(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second -
           offset_s) *
              1000000 +
          fraction_us;
    return true;
}
