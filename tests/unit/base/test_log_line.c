#include "base/log_line.h"
#include "tests/support/suite.h"

#include <jansson.h>
#include <string.h>

#define ROUNDS 1500

static struct log_event event(const char *message)
{
    return (struct log_event){.level = LOG_LEVEL_WARN,
        .time = "2026-01-02T03:04:05.678Z",
        .process = "cradle-joinserver",
        .pid = 42,
        .message = message};
}

/* The line as JSON; it must be exactly one, in itself whole. */
static json_t *read_json(const char *message)
{
    char line[LOG_LINE_MAX];
    const struct log_event e = event(message);
    const size_t len = log_line_write(LOG_JSON, &e, line);
    json_t *object;

    ck_assert_uint_le(len, LOG_LINE_MAX);
    ck_assert_ptr_eq(memchr(line, '\n', len), line + len - 1);
    object = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(object != NULL, "%.*s", (int)len, line);
    return object;
}

static void expect(const char *message, const char *member, const char *wanted)
{
    json_t *object = read_json(message);
    const char *found = json_string_value(json_object_get(object, member));

    if (wanted == NULL)
        ck_assert_ptr_null(found);
    else
        ck_assert_str_eq(found, wanted);
    json_decref(object);
}

START_TEST(json_has_what_the_text_has)
{
    static const char message[] = "a peer said \"x\\y\"\n\tand more \x7f \xc3\xa9 \xf0\x9f\x9a\x80";

    expect(message, "time", "2026-01-02T03:04:05.678Z");
    expect(message, "level", "warn");
    expect(message, "service", "cradle-joinserver");
    expect(message, "message", message);
    expect(message, "request", NULL);
}
END_TEST

START_TEST(a_request_and_a_trace_are_members)
{
    expect("request=0123456789abcdef no answer", "request", "0123456789abcdef");
    expect("asked type=JoinReq trace=4bf9 request=00ff", "request", "00ff");
    expect("asked type=JoinReq trace=4bf9 request=00ff", "trace", "4bf9");
    /* Of what others said, nothing is taken. */
    expect("why=\"x request=beef\" n=1", "request", NULL);
    expect("why=\"request=beef\" request=00ff", "request", "00ff");
    expect("request=00ff broke off: request=beef", "request", "00ff");
    expect("a=\"b\" said request=beef then trace=1 request=00ff", "request", "00ff");
    expect("xrequest=1", "request", NULL);
    expect("request=", "request", NULL);
    expect("request=a\"b", "request", NULL);
    expect("request=a\x01"
           "b",
        "request", NULL);
    expect("request=0000000000000000000000000000000000000000000000000000000000000000f", "request",
        NULL);
}
END_TEST

START_TEST(what_is_no_utf8_is_replaced)
{
    expect("a\xff z", "message", "a\xef\xbf\xbd z");
    expect("\xc0\xaf", "message", "\xef\xbf\xbd\xef\xbf\xbd");
    expect("\xed\xa0\x80", "message", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect("\xe2\x82", "message", "\xef\xbf\xbd\xef\xbf\xbd");
    expect("\xf4\x90\x80\x80", "message", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}
END_TEST

START_TEST(any_bytes_make_one_line_of_json_and_one_of_text)
{
    static char message[2 * LOG_MESSAGE_MAX];
    char line[LOG_LINE_MAX];
    uint64_t state = 1;

    for (int round = 0; round < ROUNDS; round++) {
        size_t n = 0;

        state = state * 6364136223846793005u + 1442695040888963407u;
        for (size_t max = (state >> 33) % sizeof(message); n < max; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            /* Often what is special: quotes, escapes, controls, halves of characters. */
            message[n] =
                (char)((state >> 40) % 4 == 0 ? "\"\\\n\x01\x7f\xc3\xf0 ="[(state >> 50) % 9]
                                              : (int)((state >> 48) & 0xff));
            if (message[n] == '\0')
                message[n] = '\x01';
        }
        message[n] = '\0';
        json_decref(read_json(message));
        const struct log_event e = event(message);
        const size_t len = log_line_write(LOG_TEXT, &e, line);

        ck_assert_uint_le(len, LOG_LINE_MAX);
        ck_assert_ptr_eq(memchr(line, '\n', len), line + len - 1);
    }
    /* The worst there is fits whole. */
    memset(message, '\x01', LOG_MESSAGE_MAX);
    message[LOG_MESSAGE_MAX] = '\0';
    expect(message, "message", message);
}
END_TEST

START_TEST(the_journal_learns_the_level)
{
    char line[LOG_LINE_MAX];
    struct log_event e = event("x");

    e.for_journal = true;
    line[log_line_write(LOG_TEXT, &e, line)] = '\0';
    ck_assert_str_eq(line, "<4>2026-01-02T03:04:05.678Z warn cradle-joinserver[42] x\n");
    e.level = LOG_LEVEL_ERROR;
    (void)log_line_write(LOG_JSON, &e, line);
    ck_assert_int_eq(strncmp(line, "<3>{\"time\":", 11), 0);
}
END_TEST

SUITE_MAIN("base log line", 10, json_has_what_the_text_has, a_request_and_a_trace_are_members,
    what_is_no_utf8_is_replaced, any_bytes_make_one_line_of_json_and_one_of_text,
    the_journal_learns_the_level)
