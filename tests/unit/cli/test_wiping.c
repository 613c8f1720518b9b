#include "cli/wiping.h"

#include "base/secret.h"
#include "tests/support/suite.h"
#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

/* That secret_free wipes is test_secret's. */
START_TEST(what_the_libraries_give_back_goes_through_secret_free)
{
    json_malloc_t json_malloc = NULL;
    json_free_t json_free = NULL;
    json_t *value;
    char *text;

    ck_assert_int_eq(cli_wipe_libraries(), 0);
    json_get_alloc_funcs(&json_malloc, &json_free);
    ck_assert(json_free == secret_free);
    value = json_pack("{s:s}", "token", "abc");
    text = json_dumps(value, JSON_COMPACT);
    ck_assert_str_eq(text, "{\"token\":\"abc\"}");
    secret_free(text);
    json_decref(value);
    /* Allocated by the functions that libcurl was given, or this is no block of ours. */
    text = curl_easy_escape(NULL, "a/b", 0);
    ck_assert_str_eq(text, "a%2Fb");
    secret_free(text);
}
END_TEST

SUITE_MAIN("wiping", 10, what_the_libraries_give_back_goes_through_secret_free)
