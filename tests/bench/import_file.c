#include "tests/bench/verbs.h"

#include "base/error.h"
#include "base/hex.h"
#include "tests/bench/fleet.h"
#include <stdio.h>
#include <string.h>

/* What stands before, between and behind the fields of a row. Version and home are said once, by
 * the query of the call. */
static const struct shape {
    const char *name;
    bool has_head; /* a first line with the names of the columns */
    const char *dev_eui, *join_eui, *app_key, *nwk_key, *code, *end;
} shapes[] = {
    {"csv", true, "", ",", ",", ",", ",", "\n"},
    {"jsonl", false, "{\"dev_eui\":\"", "\",\"join_eui\":\"", "\",\"app_key\":\"",
        "\",\"nwk_key\":\"", "\",\"code\":\"", "\"}\n"},
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void add_row(
    struct text *row, const struct shape *shape, const struct simdev *device, const char *code)
{
    text_clear(row);
    text_add(row, shape->dev_eui);
    text_add_hex(row, device->dev_eui.bytes, sizeof(device->dev_eui.bytes));
    text_add(row, shape->join_eui);
    text_add_hex(row, device->join_eui.bytes, sizeof(device->join_eui.bytes));
    text_add(row, shape->app_key);
    text_add_hex(row, device->app_key.bytes, sizeof(device->app_key.bytes));
    if (device->mac_version == LW_MAC_1_1) {
        text_add(row, shape->nwk_key);
        text_add_hex(row, device->nwk_key.bytes, sizeof(device->nwk_key.bytes));
    }
    if (code != NULL) {
        text_add(row, shape->code);
        text_add(row, code);
    }
    text_add(row, shape->end);
}

static int write_file(
    FILE *file, const struct shape *shape, const struct bench_fleet *fleet, bool has_codes)
{
    CLEANUP(text_done) struct text row = {.data = NULL};
    char code[BENCH_CODE_LEN + 1];

    if (shape->has_head)
        (void)fprintf(file, "dev_eui,join_eui,app_key%s%s\n",
            fleet->version == LW_MAC_1_1 ? ",nwk_key" : "", has_codes ? ",code" : "");
    for (uint32_t i = 0; i < fleet->n; i++) {
        CLEANUP(bench_device_wipe) struct simdev device;

        bench_device_make(fleet, i, &device);
        bench_code_make(fleet, i, code);
        add_row(&row, shape, &device, has_codes ? code : NULL);
        if (row.failed)
            return error_set(ERROR_SYSTEM, "out of memory");
        (void)fwrite(row.data, 1, row.len, file);
    }
    return 0;
}

int bench_import_file(const struct bench_settings *settings)
{
    CLEANUP(bench_fleet_done) struct bench_fleet fleet = {.n = 0};
    const struct shape *shape = NULL;
    FILE *file;
    int r = bench_fleet_make(settings, &fleet);

    if (r < 0)
        return r;
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, settings->format) == 0)
            shape = &shapes[i];
    if (shape == NULL || fleet.mix)
        return error_set(ERROR_CONFIG, "a file is of csv or jsonl, and of one version");
    if ((file = fopen(settings->out, "we")) == NULL)
        return error_set_errno("cannot write %.200s", settings->out);
    r = write_file(file, shape, &fleet, settings->codes == 1);
    if (r == 0 && (fflush(file) != 0 || ferror(file) != 0))
        r = error_set_errno("cannot write %.200s", settings->out);
    (void)fclose(file);
    return r;
}
