#include "cli/files.h"

#include "base/error.h"
#include <unistd.h>

#define KEY_MAX 8192 /* bytes of the PEM file */

int cli_output_open(struct cli_output *output)
{
    /* Never over another one: that may be all that is left of what it tells. */
    if ((output->file = fopen(output->path, "wxe")) == NULL)
        return error_set_errno("cannot make %s", output->path);
    return 0;
}

int cli_output_end(struct cli_output *output)
{
    if (fflush(output->file) != 0 || fsync(fileno(output->file)) != 0)
        return error_set_errno("cannot write %s", output->path);
    if (ferror(output->file) != 0) /* before, and there was room again at the end */
        return error_set(ERROR_SYSTEM, "cannot write all of %s", output->path);
    output->whole = true;
    return 0;
}

void cli_output_done(struct cli_output *output)
{
    if (output->file != NULL)
        (void)fclose(output->file);
    if (output->file != NULL && !output->whole)
        (void)unlink(output->path);
}

int cli_audit_key_read(const char *path, struct audit_key **ret)
{
    char pem[KEY_MAX];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return error_set_errno("cannot read %s", path);
    n = fread(pem, 1, sizeof(pem), file);
    (void)fclose(file);
    return audit_key_read(pem, n, ret);
}
