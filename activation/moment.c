#include "activation/moment.h"

#define DAY_S 86400
#define HOUR_S 3600
#define MINUTE_S 60

/* A digit where the form has a 0, else what stands there. */
static bool has_form(const char *text, const char *form)
{
    for (; *form != '\0'; form++, text++)
        if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
            return false;
    return *text == '\0';
}

static int number(const char *text, int n)
{
    int value = 0;

    for (int i = 0; i < n; i++)
        value = 10 * value + (text[i] - '0');
    return value;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int month, int year)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* From 1970-01-01 on. */
static int64_t days_before(int year, int month)
{
    const int64_t y = year - 1;
    int64_t days = 365 * (int64_t)(year - 1970) + (y / 4 - y / 100 + y / 400) -
                   (1969 / 4 - 1969 / 100 + 1969 / 400);

    for (int m = 1; m < month; m++)
        days += days_of(m, year);
    return days;
}

bool act_moment_parse(const char *text, int64_t *ret_s)
{
    int year, month, day, hour, minute, second;

    if (!has_form(text, "0000-00-00T00:00:00Z"))
        return false;
    year = number(text, 4);
    month = number(text + 5, 2);
    day = number(text + 8, 2);
    hour = number(text + 11, 2);
    minute = number(text + 14, 2);
    second = number(text + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_of(month, year) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    *ret_s = (days_before(year, month) + day - 1) * DAY_S + (int64_t)hour * HOUR_S +
             (int64_t)minute * MINUTE_S + second;
    return true;
}
