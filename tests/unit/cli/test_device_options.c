/* What may stand on the command line of `cradle-device join`, and what the fault is called. */
#include "base/error.h"
#include "cli/device_options.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ARGS_MAX 40
#define LINE_MAX 1000
#define KEY "000102030405060708090a0b0c0d0e0f"
#define DEVICE "--dev-eui 20635f00c4000017 --join-eui 20635f0000000100 --net-id 000013 "
#define TARGET "--url http://127.0.0.1:1/ --token t "
#define CLASSIC DEVICE TARGET "--mac-version 1.0.3 --app-key " KEY " "
#define UNTOLD DEVICE "--mac-version 1.0.3 --app-key " KEY " "
#define MODERN DEVICE TARGET "--mac-version 1.1 --app-key " KEY " --nwk-key " KEY " "

struct line {
    char text[LINE_MAX];
    char *argv[ARGS_MAX];
    int argc;
};

/* Splits at blanks, in memory that may be written to, as a process's arguments are. */
static struct line *line_of(const char *text)
{
    struct line *line = calloc(1, sizeof(*line));
    char *rest = NULL;

    ck_assert_ptr_nonnull(line);
    ck_assert_int_lt(snprintf(line->text, sizeof(line->text), "join %s", text), LINE_MAX);
    for (char *arg = strtok_r(line->text, " ", &rest); arg; arg = strtok_r(NULL, " ", &rest)) {
        ck_assert_int_lt(line->argc, ARGS_MAX - 1);
        line->argv[line->argc++] = arg;
    }
    return line;
}

static int read_line(const char *text, struct simdev_options *ret)
{
    struct line *line = line_of(text);
    int r = simdev_options_read(line->argc, line->argv, ret);

    free(line);
    return r;
}

START_TEST(a_classic_device_defaults_to_dl_settings_00)
{
    struct simdev_options o;

    ck_assert_int_eq(read_line(CLASSIC, &o), 0);
    ck_assert_uint_eq(o.network.dl_settings, 0);
    ck_assert_uint_eq(o.network.rx_delay, 1);
    ck_assert(!o.network.has_cf_list);
    ck_assert_uint_eq(o.timeout_s, SIMDEV_TIMEOUT_S);
    ck_assert_uint_eq(o.device.app_key.bytes[15], 0x0f);
}
END_TEST

START_TEST(a_1_1_device_asks_for_optneg_unless_told_otherwise)
{
    struct simdev_options o;

    ck_assert_int_eq(read_line(MODERN, &o), 0);
    ck_assert_uint_eq(o.network.dl_settings, 0x80);
    ck_assert_uint_eq(o.dev_nonce, 0);
    ck_assert_int_eq(read_line(MODERN "--dl-settings 03", &o), 0);
    ck_assert_uint_eq(o.network.dl_settings, 0x03);
}
END_TEST

START_TEST(a_default_dev_addr_lies_in_the_net_id)
{
    static const struct {
        const char *net_id;
        uint32_t mask, prefix;
    } cases[] = {
        {"000013", 0xFE000000, 0x26000000},
        {"60002d", 0xFFF80000, 0xE0000000 | 0x2Du << 17},
        {"e00001", 0xFFFFFF80, 0xFE000000 | 1u << 7},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[LINE_MAX];
        struct simdev_options o;
        uint32_t addr = 0;

        (void)snprintf(text, sizeof(text), CLASSIC "--net-id %s", cases[i].net_id);
        ck_assert_int_eq(read_line(text, &o), 0);
        for (size_t b = 0; b < 4; b++)
            addr = addr << 8 | o.network.dev_addr.bytes[b];
        ck_assert_uint_eq(addr & cases[i].mask, cases[i].prefix & cases[i].mask);
    }
}
END_TEST

START_TEST(each_fault_names_its_option)
{
    static const struct {
        const char *args;
        const char *named;
    } cases[] = {
        {DEVICE TARGET "--mac-version 1.0.3", "--app-key"},
        {TARGET "--mac-version 1.0.3 --app-key " KEY, "--dev-eui"},
        {DEVICE "--token t --mac-version 1.0.3 --app-key " KEY, "--url"},
        {DEVICE TARGET "--mac-version 1.1 --app-key " KEY, "--nwk-key"},
        {CLASSIC "--nwk-key " KEY, "--nwk-key"},
        {CLASSIC "--dev-eui 20635f00c400001", "--dev-eui"},
        {CLASSIC "--join-eui xx", "--join-eui"},
        {CLASSIC "--app-key 00", "--app-key"},
        {CLASSIC "--app-key @/nonexistent/key", "--app-key"},
        {CLASSIC "--mac-version 1.2", "--mac-version"},
        {CLASSIC "--net-id 13", "--net-id"},
        {CLASSIC "--url ftp://x/", "--url"},
        {CLASSIC "--ns-kek " KEY, "--ns-kek"},
        {CLASSIC "--ns-kek label=00", "--ns-kek"},
        {CLASSIC "--as-kek =" KEY, "--as-kek"},
        {CLASSIC "--dev-nonce 65536", "--dev-nonce"},
        {CLASSIC "--dev-nonce -1", "--dev-nonce"},
        {CLASSIC "--last-join-nonce 16777216", "--last-join-nonce"},
        {CLASSIC "--dev-addr 1", "--dev-addr"},
        {CLASSIC "--dl-settings 123", "--dl-settings"},
        {CLASSIC "--rx-delay 16", "--rx-delay"},
        {CLASSIC "--cf-list 00", "--cf-list"},
        {CLASSIC "--timeout 0", "--timeout"},
        {CLASSIC "--timeout 5s", "--timeout"},
        {UNTOLD "--url http://127.0.0.1:1/", "--token"},
        {UNTOLD "--url https://127.0.0.1:1/ --ca ca.pem", "--cert"},
        {UNTOLD "--url https://127.0.0.1:1/ --cert c.pem", "--key"},
        {CLASSIC "--url https://127.0.0.1:1/ --key k.pem", "--cert"},
        {UNTOLD "--url http://127.0.0.1:1/ --cert c.pem --key k.pem", "https"},
        {CLASSIC "--ca ca.pem", "https"},
        {CLASSIC "--rejoin 1", "--rejoin"},
        {MODERN "--rejoin 3 --session 1,1", "--rejoin"},
        {MODERN "--rejoin 1 --dev-nonce 0", "--dev-nonce does not go with --rejoin"},
        {MODERN "--rj-count 1", "--rj-count"},
        {MODERN "--rejoin 0", "need --session: the JoinNonce"},
        {MODERN "--rejoin 1 --session 1,1", "--session"},
        {MODERN "--rejoin 2 --session 1", "--session"},
        {MODERN "--rejoin 2 --session 16777216,1", "--session"},
        {MODERN "--rejoin 2 --session 1,65536", "--session"},
        {CLASSIC "--nonsense=1", "--nonsense"},
        {CLASSIC "--cf-list", "--cf-list"},
        {CLASSIC "stray", "argument"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct simdev_options o;

        ck_assert_msg(read_line(cases[i].args, &o) < 0, "%s is taken", cases[i].args);
        ck_assert_msg(
            strstr(error_text(), cases[i].named) != NULL, "%s: %s", cases[i].named, error_text());
    }
}
END_TEST

START_TEST(a_fault_never_repeats_a_secret)
{
    static const char *const cases[] = {CLASSIC "--app-key 5ec2e7", CLASSIC "--nwk-key=5ec2e7",
        CLASSIC "--as-kek a=5ec2e7", CLASSIC "--appkey=5ec2e7"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct simdev_options o;

        ck_assert_int_lt(read_line(cases[i], &o), 0);
        ck_assert_msg(strstr(error_text(), "5ec2e7") == NULL, "%s", error_text());
    }
}
END_TEST

START_TEST(secrets_do_not_stay_in_argv)
{
    struct line *line = line_of(MODERN "--ns-kek ns=" KEY " --as-kek=as=" KEY);
    struct simdev_options o;

    ck_assert_ptr_nonnull(memmem(line->text, sizeof(line->text), KEY, strlen(KEY)));
    ck_assert_int_eq(simdev_options_read(line->argc, line->argv, &o), 0);
    ck_assert_ptr_null(memmem(line->text, sizeof(line->text), KEY, strlen(KEY)));
    ck_assert_str_eq(o.network.ns.keks[0].label, "ns");
    ck_assert_str_eq(o.network.as.keks[0].label, "as");
    free(line);
}
END_TEST

START_TEST(a_key_is_read_from_a_file_only_its_owner_may_read)
{
    char path[] = "/tmp/cradle-test-key-XXXXXX";
    int fd = mkstemp(path);
    char text[LINE_MAX];
    struct simdev_options o;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, KEY "\n", strlen(KEY) + 1), (ssize_t)strlen(KEY) + 1);
    (void)snprintf(text, sizeof(text), DEVICE TARGET "--mac-version 1.0.4 --app-key @%s", path);
    ck_assert_int_eq(fchmod(fd, 0644), 0);
    int readable_by_all = read_line(text, &o);
    ck_assert_int_eq(fchmod(fd, 0600), 0);
    int private = read_line(text, &o);
    (void)close(fd);
    (void)unlink(path);
    ck_assert_int_lt(readable_by_all, 0);
    ck_assert_int_eq(private, 0);
    ck_assert_uint_eq(o.device.app_key.bytes[1], 1);
}
END_TEST

START_TEST(printing_the_request_needs_no_server)
{
    struct simdev_options o;

    ck_assert_int_eq(read_line(DEVICE "--mac-version 1.0.2 --print-request --app-key " KEY, &o), 0);
    ck_assert(o.print_request);
}
END_TEST

START_TEST(a_certificate_takes_the_place_of_a_token)
{
    struct simdev_options o;
    struct line *line =
        line_of(UNTOLD "--url https://localhost:1/ --cert c.pem --key k.pem --ca ca.pem");

    ck_assert_int_eq(simdev_options_read(line->argc, line->argv, &o), 0);
    ck_assert_str_eq(o.cert, "c.pem");
    ck_assert_str_eq(o.key, "k.pem");
    ck_assert_str_eq(o.ca, "ca.pem");
    ck_assert_str_eq(o.token, "");
    free(line);
}
END_TEST

START_TEST(a_rejoin_is_told_its_session)
{
    struct simdev_options o;

    ck_assert_int_eq(read_line(MODERN "--rejoin 2 --rj-count 7 --session 65537,258", &o), 0);
    ck_assert(o.device.rejoins);
    ck_assert_int_eq(o.device.rejoin_type, LW_REJOIN_2);
    ck_assert_uint_eq(o.dev_nonce, 7);
    ck_assert_uint_eq(o.device.session_join_nonce, 65537);
    ck_assert_uint_eq(o.device.session_nonce, 258);
    ck_assert_int_eq(read_line(MODERN "--rejoin 1", &o), 0);
    ck_assert_int_eq(o.device.rejoin_type, LW_REJOIN_1);
    ck_assert_uint_eq(o.dev_nonce, 0);
}
END_TEST

START_TEST(help_needs_nothing_else)
{
    struct simdev_options o;

    ck_assert_int_eq(read_line("--help", &o), 0);
    ck_assert(o.help);
    ck_assert_int_eq(read_line("-h", &o), 0);
    ck_assert(o.help);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli-device_options");
    TCase *tc = tcase_create("rules");

    tcase_add_test(tc, a_classic_device_defaults_to_dl_settings_00);
    tcase_add_test(tc, a_1_1_device_asks_for_optneg_unless_told_otherwise);
    tcase_add_test(tc, a_default_dev_addr_lies_in_the_net_id);
    tcase_add_test(tc, each_fault_names_its_option);
    tcase_add_test(tc, a_fault_never_repeats_a_secret);
    tcase_add_test(tc, secrets_do_not_stay_in_argv);
    tcase_add_test(tc, a_key_is_read_from_a_file_only_its_owner_may_read);
    tcase_add_test(tc, printing_the_request_needs_no_server);
    tcase_add_test(tc, a_certificate_takes_the_place_of_a_token);
    tcase_add_test(tc, a_rejoin_is_told_its_session);
    tcase_add_test(tc, help_needs_nothing_else);
    suite_add_tcase(suite, tc);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n_failed == 0 ? 0 : 1;
}
