#include "api/client.h"
#include "base/error.h"
#include "tests/support/suite.h"

#include <string.h>

static const char *const good[] = {
    "https://ns.example/answers",
    "https://ns.example:8443/a?b=c",
    "HTTPS://NS.EXAMPLE/",
    "https://192.0.2.1/",
    "http://127.0.0.1:8090/",
    "http://127.9.9.9/",
    "http://[::1]:8090/x",
};

static const char *const bad[] = {
    "",
    "ns.example/answers",
    "/answers",
    "http://ns.example/",
    "http://192.0.2.1/",
    "http://localhost/", /* a name: who knows what it stands for */
    "http://127.0.0.1.example/",
    "http://[::ffff:127.0.0.1]/",
    "http://[2001:db8::1]/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "https://user@ns.example/",
    "https://user:secret@ns.example/",
    "https://:secret@ns.example/",
    "https://ns.example/#part",
    "https://ns.example/\r\nX: y",
    "https://",
};

START_TEST(it_posts_to_https_or_to_loopback)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(api_client_check_url(good[i]) == 0, "%s: %s", good[i], error_text());
}
END_TEST

START_TEST(other_urls_are_refused_without_being_repeated)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(api_client_check_url(bad[i]) == ERROR_INPUT, "%s is taken", bad[i]);
        ck_assert_ptr_null(strstr(error_text(), "secret"));
    }
}
END_TEST

SUITE_MAIN("api-client-url", 10, it_posts_to_https_or_to_loopback,
    other_urls_are_refused_without_being_repeated)
