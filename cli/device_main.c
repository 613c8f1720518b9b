/* cradle-device: a simulated device with its network server and application server. Its keys are in
 * clear, so it is for tests and trying things out, never for a real device's keys. */
#include "cli/device_join.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name;
    const char *help;
    int (*main)(int argc, char **argv);
} verbs[] = {
    {"join", "join once through a join server and check its answer", simdev_join_main},
};

static void usage(FILE *out)
{
    (void)fputs(
        "usage: cradle-device VERB OPTIONS\n\n"
        "A simulated LoRaWAN device, with the network server and the application server\n"
        "around it, to try a join server. Its keys are in clear: use it with test devices.\n\n",
        out);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        (void)fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].help);
    (void)fputs("\ncradle-device VERB --help tells more; --version prints the version.\n", out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return SIMDEV_EXIT_ERROR;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return SIMDEV_EXIT_AGREE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("cradle-device " CRADLE_VERSION);
        return SIMDEV_EXIT_AGREE;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
            (void)fputs("cradle-device: libcurl does not start\n", stderr);
            return SIMDEV_EXIT_ERROR;
        }
        int code = verbs[i].main(argc - 1, argv + 1);
        curl_global_cleanup();
        return code;
    }
    (void)fprintf(stderr, "cradle-device: no verb %s, see cradle-device --help\n", argv[1]);
    return SIMDEV_EXIT_ERROR;
}
