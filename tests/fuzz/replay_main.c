/* Runs a fuzz target over the files of a folder, so that a corpus is an ordinary test. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define INPUT_MAX ((size_t)1 << 20)
#define PATH_LEN_MAX 4096

static int replay(const char *path)
{
    FILE *file = fopen(path, "rbe");
    uint8_t *input = malloc(INPUT_MAX);
    uint8_t *exact; /* of the input's own size, so that a sanitizer sees one byte too far */
    size_t len;

    if (file == NULL || input == NULL) {
        (void)fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    len = fread(input, 1, INPUT_MAX, file);
    (void)fclose(file);
    exact = malloc(len > 0 ? len : 1);
    if (exact == NULL)
        return 1;
    memcpy(exact, input, len);
    (void)fprintf(stderr, "%s\n", path); /* the last one printed is the one that fails */
    (void)LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    free(input);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    size_t n = 0;
    DIR *folder;

    if (argc != 2 || (folder = opendir(argv[1])) == NULL) {
        (void)fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 1;
    }
    while ((entry = readdir(folder)) != NULL) {
        char path[PATH_LEN_MAX];

        if (entry->d_name[0] == '.')
            continue;
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name) >= sizeof(path) ||
            replay(path) != 0)
            return 1;
        n++;
    }
    (void)closedir(folder);
    (void)printf("%zu inputs\n", n);
    return n > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
