#include "joinserver/trace.h"
#include "tests/support/suite.h"

#include <string.h>

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define GOOD "00-" ID "-" PARENT "-01"
#define US "hub-1"

static const char *id_of(const struct trace *trace)
{
    static char text[TRACE_ID_TEXT_LEN + 1];

    return trace_format_id(trace, text);
}

START_TEST(a_traceparent_is_read_and_written)
{
    char text[TRACE_TEXT_LEN + 1];
    struct trace trace;

    ck_assert(trace_read(GOOD, &trace));
    ck_assert_str_eq(trace_format(&trace, text), GOOD);
    ck_assert(trace_read("01-" ID "-" PARENT "-00-more", &trace)); /* a version to come */
}
END_TEST

START_TEST(what_is_no_traceparent_is_not_believed)
{
    static const char *const bad[] = {"", "00", "00-" ID "-" PARENT "-0",
        "00-" ID "-" PARENT "-01 ", "00-" ID "-" PARENT "-01-more", "01-" ID "-" PARENT "-01more",
        "ff-" ID "-" PARENT "-01", "00_" ID "-" PARENT "-01", "00-" ID "+" PARENT "-01",
        "00-" ID "-" PARENT "_01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-" ID "-0x00f067aa0ba902-01", "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" ID "-0000000000000000-01", "00-" ID "-" PARENT "-0g"};
    struct trace trace;

    ck_assert(!trace_read(NULL, &trace));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!trace_read(bad[i], &trace), "%s", bad[i]);
}
END_TEST

START_TEST(a_trace_goes_on_under_its_id_from_another_parent)
{
    char text[TRACE_TEXT_LEN + 1];
    struct trace trace;

    trace_begin("00-" ID "-" PARENT "-ff", &trace);
    ck_assert_str_eq(id_of(&trace), ID);
    ck_assert_ptr_null(strstr(trace_format(&trace, text), PARENT));
    ck_assert_uint_eq(trace.flags, TRACE_SAMPLED);
}
END_TEST

START_TEST(without_a_good_one_a_trace_begins_here)
{
    struct trace one, other;

    trace_begin(NULL, &one);
    trace_begin("nonsense", &other);
    ck_assert(trace_is_any(&one) && trace_is_any(&other));
    ck_assert_int_ne(memcmp(one.id, other.id, sizeof(one.id)), 0);
    ck_assert_uint_eq(one.flags, 0);
}
END_TEST

START_TEST(who_has_passed_here_is_a_loop)
{
    static const char *const loops[] = {"1.1 " US, "1.1 HUB-1", "1.1 a, 1.1 " US, "HTTP/1.1 " US,
        "1.1 " US " (comment)", "1.1\t" US ",1.0 b", ",, 1.1 " US, "1.1 a (, 1.1 " US,
        "1.1 a \", 1.1 " US, "1.1 a\\, 1.1 " US, "1.1 " US ":443"};
    static const char *const others[] = {"", "1.1 hub-10", "1.1 xhub-1", "1.1 hub, 1.1 1"};

    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
        ck_assert_msg(via_judge(loops[i], US, 4) == VIA_LOOP, "%s", loops[i]);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        ck_assert_msg(via_judge(others[i], US, 4) == VIA_GOOD, "%s", others[i]);
}
END_TEST

START_TEST(hops_are_counted)
{
    static char via[VIA_MAX + 2];

    ck_assert_int_eq(via_judge("", US, 1), VIA_GOOD);
    ck_assert_int_eq(via_judge("1.1 a", US, 1), VIA_TOO_LONG);
    ck_assert_int_eq(via_judge("1.1 a, , ,", US, 2), VIA_GOOD);
    ck_assert_int_eq(via_judge("1.1 a,1.1 b", US, 2), VIA_TOO_LONG);
    memset(via, ' ', VIA_MAX + 1);
    ck_assert_int_eq(via_judge(via, US, 4), VIA_TOO_LONG);
}
END_TEST

START_TEST(what_is_written_is_a_loop_here_and_nowhere_else)
{
    struct text via = {0}, longer = {0};

    via_write(&via, "", US);
    ck_assert_str_eq(via.data, "1.1 " US);
    via_write(&longer, via.data, "other");
    ck_assert_str_eq(longer.data, "1.1 " US ", 1.1 other");
    ck_assert_int_eq(via_judge(longer.data, US, 4), VIA_LOOP);
    ck_assert_int_eq(via_judge(longer.data, "third", 4), VIA_GOOD);
    text_done(&via);
    text_done(&longer);
}
END_TEST

START_TEST(an_instance_id_is_one_word)
{
    char longest[VIA_INSTANCE_MAX + 2];

    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    ck_assert(via_is_instance(US));
    ck_assert(via_is_instance("js.example.org"));
    ck_assert(!via_is_instance(""));
    ck_assert(!via_is_instance("1.1"));
    ck_assert(!via_is_instance("a b"));
    ck_assert(!via_is_instance("a,b"));
    ck_assert(!via_is_instance("a\r\nb"));
    ck_assert(!via_is_instance(longest));
    longest[VIA_INSTANCE_MAX] = '\0';
    ck_assert(via_is_instance(longest));
}
END_TEST

SUITE_MAIN("joinserver trace", 10, a_traceparent_is_read_and_written,
    what_is_no_traceparent_is_not_believed, a_trace_goes_on_under_its_id_from_another_parent,
    without_a_good_one_a_trace_begins_here, who_has_passed_here_is_a_loop, hops_are_counted,
    what_is_written_is_a_loop_here_and_nowhere_else, an_instance_id_is_one_word)
